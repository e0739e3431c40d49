"""ONNX Runtime: inference alone, on the graph of the PyTorch model."""

import subprocess
import sys
import tempfile
from pathlib import Path

import onnxruntime

from benchmarks.case import Case, Step, Values
from benchmarks.contenders.inputs import make_batches


def make(case: Case) -> Step:
    """Set ``case`` up."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        command = [sys.executable, "-m", "benchmarks.contenders.onnx_export", case.to_json()]
        subprocess.run([*command, str(path)], check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    with_mask = any(node.name == "mask" for node in session.get_inputs())
    feeds = []
    for batch in make_batches(case):
        mask = {"mask": batch.keep[:, None, None, :]} if with_mask else {}
        feeds.append({"ids": batch.ids, **mask})

    def step(i: int, dropout: bool) -> Values:
        [logits] = session.run(None, feeds[i])
        return {"logits": logits.ravel().tolist()}

    return step


def about() -> dict[str, str]:
    """Return the version."""
    return {"version": onnxruntime.__version__}

"""Write a PyTorch model as ONNX: in a process of its own, so that its memory counts nowhere."""

import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.case import Case
from benchmarks.contenders.inputs import make_model
from benchmarks.contenders.torch_bert import TorchBert
from benchmarks.contenders.torch_steps import padded


class Logits(nn.Module):
    """The logits alone: an exported graph has arrays as its outputs."""

    def __init__(self, net: TorchBert) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return logits of shape (B, C)."""
        logits: Tensor = self.net(ids, mask).logits
        return logits


def export(case: Case, path: Path) -> None:
    """Write the model of ``case``, for batches of any size; with a mask if its batches have one."""
    net = Logits(TorchBert(make_model(case.shape))).eval()
    ids, mask, _ = padded(case)[0]
    free = {"ids": {0: "B", 1: "T"}, "mask": {0: "B", 3: "T"}}
    inputs = {"ids": ids} if mask is None else {"ids": ids, "mask": mask}
    with warnings.catch_warnings():
        # The newer exporter needs one more package, and gives the same graph of products.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            dynamic_axes={name: free[name] for name in inputs},
            opset_version=17,
            dynamo=False,
        )


if __name__ == "__main__":
    export(Case.from_json(sys.argv[1]), Path(sys.argv[2]))

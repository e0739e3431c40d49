"""SIGKILL, which no program can catch: a resumed run ends with the bits of an uninterrupted one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_pairs

from npformer.cli import main

OPTIONS = "--size 1x8x2 --batch-size 16 --steps 8 --dropout 0.1 --max-len 16".split()
# In a process of its own, which dies in the n-th call of a function of the package.
KILLED = """
import importlib, os, signal, sys, threading
from npformer.cli import main

owner, name, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
module, _, member = owner.partition(":")
place = importlib.import_module(module)
place = getattr(place, member) if member else place
real, lock, left = getattr(place, name), threading.Lock(), [calls]

def call(*args, **kwargs):
    with lock:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)

setattr(place, name, call)
sys.exit(main(sys.argv[4:]))
"""
STEP = ("npformer.train.objective:TranslationObjective", "__call__")  # two shards: twice a step
TRAIN = {
    "in the first step": (*STEP, 1),
    "in step 4": (*STEP, 8),  # checkpoints at 2, 4, 6 and 8
    "in step 8": (*STEP, 16),
    "as the model is written": ("npformer.train.job", "save_tokenizer", 1),
    "between the model and the note of it": ("npformer.train.run", "write_json", 2),
    "in the evaluation": ("npformer.jobs.translate.job", "compare", 2),
}
DISTILL = {
    "as the teacher translates": ("npformer.jobs.translate.evaluate", "beam_search", 1),
    "between the translations and the note of them": ("npformer.train.run", "write_json", 2),
    "as the student learns": (*STEP, 9),
    "between the student and the note of it": ("npformer.train.run", "write_json", 3),
    "as the student from scratch learns": (*STEP, 16 + 11),
    "in the evaluation": ("npformer.jobs.translate.job", "compare", 3),
}


def kill(options: list[str], where: tuple[str, str, int]) -> None:
    command = [sys.executable, "-c", KILLED, *map(str, where), "translate", *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def contents(run: Path) -> dict[str, bytes]:
    """Return the files that hold what came out; progress and pictures hold times or versions."""
    names = ["tokenizer.json", "metrics.jsonl", *(p.name for p in run.glob("*.tsv"))]
    weights = [str(path.relative_to(run)) for path in run.rglob("model.safetensors")]
    files = {name: (run / name).read_bytes() for name in [*names, *weights]}
    results = json.loads((run / "results.json").read_text())
    results.pop("seconds", None)
    return files | {"results": json.dumps(results).encode()}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pairs.write(tmp_path_factory.mktemp("data") / "pairs")


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    run = data.parent / "trained"
    assert main(["translate", "train", "--data", str(data), *OPTIONS, "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="module")
def distilled(data: Path, trained: Path) -> Path:
    run = data.parent / "distilled"
    assert main(["translate", *distill(data, trained), "--out", str(run)]) == 0
    return run


def distill(data: Path, teacher: Path) -> list[str]:
    return ["distill", "--data", str(data), "--teacher", str(teacher), *OPTIONS]


def check(options: list[str], where: tuple[str, str, int], whole: Path, run: Path) -> None:
    kill([*options, "--out", str(run)], where)
    assert not (run / "results.json").exists()
    assert main(["translate", options[0], "--resume", "--out", str(run)]) == 0
    assert contents(run) == contents(whole)
    assert {path.name for path in run.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.parametrize("where", TRAIN.values(), ids=TRAIN)
def test_train(where: tuple[str, str, int], data: Path, trained: Path, tmp_path: Path) -> None:
    check(["train", "--data", str(data), *OPTIONS], where, trained, tmp_path / "run")


@pytest.mark.parametrize("where", DISTILL.values(), ids=DISTILL)
def test_distill(
    where: tuple[str, str, int], data: Path, trained: Path, distilled: Path, tmp_path: Path
) -> None:
    check(distill(data, trained), where, distilled, tmp_path / "run")

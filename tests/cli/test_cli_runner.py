"""Every command that works in a run's folder: a full disk, and two that want the same folder."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_pairs
import tiny_task
from tiny_checkpoint import write_checkpoint

from npformer.cli import main
from npformer.train import phase


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """Return commands that train something tiny."""
    top = tmp_path_factory.mktemp("tiny")
    task = tiny_task.write_task(top / "task", "strings")
    pairs, text = tiny_pairs.write(top / "pairs"), top / "text.txt"
    text.write_text("a word of text\nand a few more words\n" * 8)
    model = write_checkpoint(top / "model")
    few = ["--batch-size", "4", "--max-len", "16"]
    translate = ["--data", pairs, "--size", "1x8x2", "--steps", "4", *few]
    lists = {
        "distill": ["distill", "--data", task, *tiny_task.OPTIONS, "--rate", "scratch=1e-3"],
        "finetune": ["finetune", "--data", task, "--model", model, *few],
        "mlm-head": ["mlm-head", "--unlabelled", text, "--model", model, *few],
        "translate": ["translate", "train", *translate],
    }
    return {name: [str(part) for part in parts] for name, parts in lists.items()}


NAMES = ["distill", "finetune", "mlm-head", "translate"]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_before_the_first_step(name, commands, tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(phase, "train", full)
        assert main([*commands[name], "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("somewhere: No space left on device")
    assert not out.exists()
    with monkeypatch.context() as patched:  # the next start is not in the way of the first
        patched.setattr(phase, "train", stop)
        assert main([*commands[name], "--out", str(out)]) == 130
    assert (out / "run.json").exists()


def stop(*args, **kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", NAMES)
def test_two_starts_at_once(name, commands, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "npformer", *commands[name], "--out", str(out)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    errors = [process.communicate()[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], errors
    lost = errors[codes.index(2)].splitlines()
    assert len(lost) == 1
    assert lost[0].startswith(f"npformer {name}: --out: got {out}, which ")
    assert (out / "results.json").exists()
    assert not (out / "run.lock").exists()


def test_another_run_in_the_folder_of_one_that_is_at_work(commands, tmp_path, capsys, monkeypatch):
    out, seen = tmp_path / "run", []

    def second(*args, **kwargs):
        before = {path: path.stat().st_size for path in out.rglob("*")}
        argv = [sys.executable, "-m", "npformer", "finetune", "--resume", "--out", str(out)]
        seen.append(subprocess.run(argv, check=False, capture_output=True, text=True))
        assert {path: path.stat().st_size for path in out.rglob("*")} == before
        raise KeyboardInterrupt

    monkeypatch.setattr(phase, "train", second)
    assert main([*commands["finetune"], "--out", str(out)]) == 130
    assert seen[0].returncode == 2
    assert seen[0].stderr.startswith(f"npformer finetune: --out: got {out}, which process ")
    assert len(seen[0].stderr.splitlines()) == 1
    assert not Path(out, "run.lock").exists()

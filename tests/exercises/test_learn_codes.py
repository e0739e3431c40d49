"""The exit code of ``npformer learn check --all``: 0 if what was begun is right."""

from npformer.cli import main
from npformer.exercises.learn.folder import Folder
from npformer.exercises.task import find

RIGHT = """
import numpy as np


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
"""


def test_it_counts_what_was_begun_and_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NPFORMER_LANG", "en")
    assert main(["learn", "init", str(tmp_path / "mine")]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    assert main(["learn", "check", "--all"]) == 1  # nothing was begun
    path = tmp_path / "mine" / find("softmax").place
    assert path == Folder.find(tmp_path / "mine").file(find("softmax"))
    path.write_text(RIGHT, "utf-8")
    assert main(["learn", "check", "--all"]) == 0
    path.write_text(RIGHT.replace("axis=-1", "axis=0"), "utf-8")
    assert main(["learn", "check", "--all"]) == 1
    assert "1 wrong" in capsys.readouterr().out

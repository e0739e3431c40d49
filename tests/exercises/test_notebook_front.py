"""The notebook's front: what it says and shows, and that NumPy is all it needs."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from answers import solved

import npformer.exercises
from npformer.checks import InputError
from npformer.exercises import Progress
from npformer.exercises.notebook import inline
from npformer.exercises.task import tasks


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def without_shift(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


class Balanced(HTMLParser):
    """Fails if tags are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def is_html(text: str) -> bool:
    parser = Balanced()
    parser.feed(text)
    parser.close()
    return not parser.open


def test_check_is_true_if_right_and_says_why_if_not():
    progress = Progress()
    wrong = progress.check("softmax", without_shift, lang="en")
    assert not wrong
    assert not wrong.passed
    assert "exp overflows: subtract the maximum" in repr(wrong)
    assert progress.solved == set()
    right = progress.check("softmax", softmax, lang="en")
    assert right
    assert "softmax: Softmax: solved" in repr(right)
    assert progress.solved == {"softmax"}


def test_an_exercise_may_be_called_by_its_file():
    progress = Progress()
    assert progress.check("07_softmax.py", softmax)
    progress.hint("log_softmax_backward", lang="en")
    progress.solution("embedding_backward")
    assert progress.solved == {"softmax"}
    assert progress.hints == {"log-softmax-backward": 1}
    assert progress.solutions == {"embedding-backward"}


def test_the_table_has_the_properties_and_the_shapes():
    html = (
        Progress().check("softmax-backward", lambda dprobs, probs: dprobs, lang="en")._repr_html_()
    )
    assert is_html(html)
    assert "<table>" in html
    assert "FAIL" in html
    assert "<code>dprobs</code></td><td>(2, 3) float64</td>" in html
    assert "<code>→ dx</code></td><td>(2, 3) float64</td>" in html


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.id)
def test_every_exercise_can_be_shown(task):
    progress = Progress()
    for lang in ("en", "zh"):
        shown = [
            progress.check(task.id, lambda: None, lang=lang),
            progress.hint(task.id, lang=lang),
            progress.solution(task.id, lang=lang),
            progress.status(lang=lang),
        ]
        assert all(is_html(one._repr_html_()) for one in shown)
        assert all(repr(one) == one.text for one in shown)
        assert not shown[0]
    assert task.title.zh in repr(shown[3])
    assert f"def {task.function}(" in repr(shown[2])


def test_hints_come_one_by_one():
    progress = Progress()
    shown = [progress.hint("softmax", lang="en") for _ in range(4)]
    assert [len(hint.text.splitlines()) for hint in shown] == [1, 2, 3, 3]
    assert [hint.html.count("<li>") for hint in shown] == [1, 2, 3, 3]
    assert "提示 3/3" in repr(progress.hint("softmax", lang="zh"))


def test_status_tells_what_was_done():
    progress = Progress()
    progress.check("softmax", softmax)
    progress.hint("softmax-backward")
    progress.solution("softmax-backward")
    lines = repr(progress.status(lang="en")).splitlines()
    (first,) = [line for line in lines if "  softmax  " in line]
    (second,) = [line for line in lines if "  softmax-backward  " in line]
    assert first.startswith("done  calculus  softmax  Softmax")
    assert second.startswith("open  calculus  softmax-backward")
    assert second.endswith("hints 1/3, solution seen")
    assert lines[-1] == f"1 of {len(tasks())} done"
    assert "  softmax  " not in repr(progress.status(track="gradcheck", lang="en"))


def test_the_language_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("NPFORMER_LANG", "zh")
    assert "完成 0/" in repr(Progress().status())


@pytest.mark.parametrize("name", ["check", "hint", "solution", "status"])
def test_bad_calls(name):
    call = getattr(Progress(), name)
    given = {"check": ("softmax", softmax), "status": ()}.get(name, ("softmax",))
    with pytest.raises(InputError, match="lang: got 'fr', expected one of en, zh"):
        call(*given, lang="fr")
    if name == "status":
        with pytest.raises(InputError, match="track: got 'x', expected one of interview"):
            call(track="x")
    else:
        with pytest.raises(
            InputError, match="id: got 'softmaxx', expected an exercise such as softmax"
        ):
            call("softmaxx", *given[1:])


def test_the_four_functions_are_of_one_progress():
    assert npformer.exercises.check.__self__ is npformer.exercises.PROGRESS
    assert npformer.exercises.status.__self__ is npformer.exercises.PROGRESS


def test_markdown_in_html():
    assert inline("**all** `a < b` $a < b$") == "<b>all</b> <code>a &lt; b</code> $a &lt; b$"


ABSENT = ("matplotlib", "tokenizers", "safetensors", "tqdm", "threadpoolctl", "nbformat", "IPython")
WITH_NUMPY_ALONE = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
try:
    import tqdm
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the hook does not work")

import numpy as np
from npformer.exercises import check, hint, solution, status

def softmax_backward(dprobs, probs):
    return probs * dprobs

report = check("softmax-backward", softmax_backward)
print(report)
print(report._repr_html_())
print(hint("softmax-backward"), solution("softmax-backward"), status())
import json
from npformer.exercises.task import tasks
answers = json.load(sys.stdin)
for task in tasks():
    space = {{}}
    exec(answers[task.id], space)
    report = check(task.id, space[task.function])
    assert report, report
print(status())
others = sorted({{name.partition(".")[0] for name in sys.modules}} - sys.stdlib_module_names)
print("loaded:", *others)
"""


def test_numpy_alone_is_enough():
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", WITH_NUMPY_ALONE],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "NPFORMER_LANG": "en"},
        input=json.dumps({task.id: solved(task.id) for task in tasks()}),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "subtract the mean of dprobs under probs" in done.stdout
    assert f"{len(tasks())} of {len(tasks())} done" in done.stdout
    (loaded,) = re.findall("loaded: (.*)", done.stdout)
    assert {"npformer", "numpy"} <= set(loaded.split())
    assert not set(loaded.split()) & {*ABSENT, "torch", "transformers"}

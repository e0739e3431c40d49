"""A course of one's own: written, verified, learned, graded; what is wrong with it is said."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from npformer.checks import InputError
from npformer.cli import main
from npformer.exercises import Progress, marks, open_course
from npformer.exercises.checker import grade
from npformer.exercises.learn import state
from npformer.exercises.learn.folder import Folder
from npformer.exercises.learn.pytest_front import ids
from npformer.exercises.learn.pytest_front import verify as verify_answer
from npformer.exercises.skeleton import EXAMPLE
from npformer.exercises.skeleton.weighted_mean import WEIGHTED_MEAN
from npformer.exercises.task import find, tasks
from npformer.exercises.verify import BATTERY

ROOT = Path(__file__).parents[2]
RIGHT = """
def {name}(x, weights):
    return (x * (weights / weights.sum())).sum(axis=-1)
"""
WRONG = """
def {name}(x, weights):
    return (x * weights).sum(axis=-1)
"""


@pytest.fixture
def learn(tmp_path, monkeypatch, capsys):
    """Return what runs a command in an empty folder and gives its exit code and output."""
    monkeypatch.setenv("NPFORMER_LANG", "en")
    monkeypatch.chdir(tmp_path)

    def command(line: str) -> tuple[int, str]:
        code = main(["learn", *line.split()])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return command


def text(name: str, *changes: tuple[str, str]) -> str:
    """Return the example under another name, changed."""
    made = EXAMPLE.read_text("utf-8").replace("weighted_mean", name)
    made = made.replace("WEIGHTED_MEAN", name.upper()).replace(
        "weighted-mean", name.replace("_", "-")
    )
    for old, new in changes:
        assert made.count(old) == 1, old
        made = made.replace(old, new)
    return made


def write(path: str, content: str | bytes) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


# Verify

STUB_PASSES = (
    "    minutes=5,\n",
    "    minutes=5,\n    start='return (x * weights).sum(axis=-1) / sum(weights)',\n",
)
REFERENCE_FAILS = (
    "    return (x * weights).sum(axis=-1) / weights.sum()\n",
    "    weights /= weights.sum()\n    return (x * weights).sum(axis=-1)\n",
)
TWO_ALIKE = (
    "    return (x * weights).mean(axis=-1)\n",
    "    return (x * weights).sum(axis=-1) * x.shape[-1] / len(weights)\n",
)


def test_a_flaw_of_each_kind_is_named_in_a_line(learn):
    write("mine/sums/stub.py", text("stub", STUB_PASSES))
    write("mine/sums/reference.py", text("reference", REFERENCE_FAILS))
    write("mine/sums/alike.py", text("alike", TWO_ALIKE))
    write("mine/sums/sound.py", text("sound"))
    code, out = learn("verify mine --seeds 3")
    assert code == 1
    assert out.splitlines() == [
        "alike: the mistake 'divided-by-the-number' is taken for 'not-divided' (seed 0): they are "
        "alike",
        "reference: the reference fails (seed 0): inputs untouched: it writes into weights: make a "
        "new array instead of +=, out= or x[...] = on an input",
        "sound: right (4 mistakes, 3 seeds)",
        "stub: the stub passes, expected it to fail: its body (start) is a solution",
        "1 right, 3 wrong.",
    ]


def test_a_sound_course_is_right_over_a_hundred_seeds(learn):
    write("mine/sums/sound.py", text("sound"))
    assert learn("verify mine") == (0, "sound: right (4 mistakes, 100 seeds)\n1 right, 0 wrong.\n")


MAKER = '    return [case(2, 3), case(2, 5, 7), case(5, 1, part="one feature")]\n'
FLAWS = {
    "no cases": ((MAKER, "    return []\n"), "the cases are no list of Case with one or more"),
    "no plain case": ((MAKER, '    return [case(2, 3, part="a")]\n'), "every case has a part"),
    "own randomness": (
        (MAKER, "    rng = np.random.default_rng()\n" + MAKER),
        "the cases of a seed differ from call to call",
    ),
    "a case of other names": (
        ('"x": rng.normal(size=shape),', '"z": rng.normal(size=shape),'),
        "a case has z, weights, expected x, weights",
    ),
    "float32 cases": (
        ('"x": rng.normal(size=shape),', '"x": rng.normal(size=shape).astype(np.float32),'),
        "a case has x of type float32, expected float64",
    ),
    "the cases stop": ((MAKER, "    return 1 / 0\n"), "it stops with ZeroDivisionError"),
    "the reference stops": (
        (REFERENCE_FAILS[0], "    return weights.nothing\n"),
        "the reference fails on its case: it raised AttributeError",
    ),
    "a reference of another file's": (
        (
            REFERENCE_FAILS[0],
            "    return np.asarray(weighted(x, weights))\n\n\n"
            "def weighted(x, weights):\n    return (x * weights).sum(axis=-1) / weights.sum()\n",
        ),
        "fails outside of its file, as an exported solution: y: it raised NameError",
    ),
    "float64 from float32": (
        (REFERENCE_FAILS[0], "    return np.array((x * weights).sum(-1) / weights.sum(), float)\n"),
        "the reference gives y in float64 from float32: cast, or float32=False",
    ),
    "a mistake that is none": (
        (TWO_ALIKE[0], "    return (x * weights).mean(axis=-1) / weights.mean()\n"),
        "the mistake 'divided-by-the-number' passes (seed 0): add a case that shows it",
    ),
    "terms": (
        (
            "    minutes=5,\n",
            "    minutes=5,\n    terms=lambda x, weights: {'y': {'a': x[..., 0]}},\n",
        ),
        "the terms of y do not add up to it",
    ),
    "a parameter nobody explains": (
        ("positive `weights` (D,)", "positive weightings (D,)"),
        "",
    ),
    "an empty hint": (('"A weight says how often a value counts."', '" "'), "hint-1 is empty"),
    "given away": (
        ("Row by row, with", "`return (x * weights).sum(axis=-1) / weights.sum()`, with"),
        "holds a line of the solution: return (x * weights).sum(axis=-1) / weights.sum()",
    ),
}


@pytest.mark.parametrize("name", FLAWS)
def test_other_flaws_are_named(name, learn):
    change, said = FLAWS[name]
    write("mine/sums/flawed.py", text("flawed", change))
    code, out = learn("verify mine --seeds 2")
    if not said:  # the docstring still names it
        assert code == 0
        gone = ("weights: (D,), the result", "the result")
        write("mine/sums/flawed.py", text("flawed", change, gone, ("$$y = ", "$$y := ")))
        code, out = learn("verify mine --seeds 2")
        said = "the statement does not name the parameter weights"
    assert code == 1
    assert out.endswith("\n0 right, 1 wrong.\n")
    assert f"flawed: {said}" in out or said in out
    assert all(len(line) <= 300 for line in out.splitlines())


def test_a_mistake_with_no_name_of_its_own_is_none(learn):
    """Of other numbers at every call: nobody makes it."""
    wrong = (TWO_ALIKE[0], "    return np.random.default_rng().normal(size=x.shape[:-1])\n")
    write("mine/sums/flawed.py", text("flawed", wrong))
    out = learn("verify mine --seeds 2")[1]
    assert "the mistake 'divided-by-the-number' fails, but not under its name (seed 0)" in out


def test_an_exercise_needs_a_mistake(learn):
    source = text("flawed").partition("# 4.")[0]
    write("mine/sums/flawed.py", source)
    assert learn("verify mine --seeds 1")[1].startswith("flawed: it has no mistake, expected one")


def test_stale_chinese_is_named_where_it_is_marked(learn, monkeypatch):
    learn("new one --course mine --zh")
    page = Path("mine/exercises/zh/one.md")
    assert learn("verify mine --seeds 1")[0] == 0  # nothing is marked
    (exercise,) = open_course("mine").exercises
    marks.write(exercise.file, "one", exercise.english)
    assert "of the English" in page.read_text("utf-8")
    assert learn("verify mine --seeds 1")[0] == 0
    path = Path("mine/exercises/one.py")
    path.write_text(path.read_text("utf-8").replace("how often", "how many times"), "utf-8")
    code, out = learn("verify mine --seeds 1")
    assert (code, out.splitlines()[0]) == (
        1,
        "one: one.md: hint-1 is of an English that has changed",
    )


# New


def test_what_new_writes_is_right_as_it_is(learn):
    code, out = learn("new row-mean --course mine --chapter 01_sums --zh")
    assert code == 0
    assert out.splitlines()[:2] == ["mine/01_sums/row_mean.py", "mine/01_sums/zh/row_mean.md"]
    assert learn("verify mine --seeds 5")[0] == 0
    (exercise,) = open_course("mine").exercises
    assert (exercise.id, exercise.function, exercise.topic) == ("row-mean", "row_mean", "sums")
    assert exercise.said["title"] == ("Weighted mean", "加权平均")
    assert learn("new other")[0] == 0  # the folder one is in
    assert Path("exercises/other.py").is_file()
    assert not Path("exercises/zh").exists()


HOSTILE = [
    "../x", "/etc/x", "a/b", "a\\b", "..", ".", "X", "a b", "a--b", "-a", "a-", "3d", "ä", "a\n",
    "x" * 5000, "import", "con", "com1", "softmax", "layer-norm-without-eps", "a\0b", "",
]  # fmt: skip


FOLDERS = ("import", "softmax")  # which may be called so


@pytest.mark.parametrize("given", HOSTILE, ids=lambda given: repr(given)[:20])
def test_new_refuses_ids_that_are_none(given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folders = [] if given in FOLDERS else [["fine", f"--chapter={given}"]]
    for arguments in (["--", given], *folders):
        assert main(["learn", "new", *arguments]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert len(said) <= 300
        assert "got" in said
    assert list(tmp_path.iterdir()) == []


def test_new_touches_no_file_that_is_there(learn):
    mine = write("mine/exercises/zh/one.md", "mine")
    for line in ("new one --course mine --zh", "new link --course mine"):
        Path("mine/exercises/link.py").unlink(missing_ok=True)
        Path("mine/exercises/link.py").symlink_to("nowhere.py")
        code, out = learn(line)
        assert code == 2
        assert "is there already" in out
    assert mine.read_text() == "mine"
    assert not Path("mine/exercises/one.py").exists()
    assert not Path("mine/exercises/nowhere.py").exists()
    write("file", "")
    code, out = learn("new one --course file")
    assert (code, len(out.splitlines())) == (2, 1)


# Bad courses


def plant(name: str) -> str:
    """Write a course with something wrong in it, and return its place."""
    good = text("good")
    write("mine/sums/good.py", good)
    match name:
        case "nothing there":
            return "elsewhere"
        case "a file":
            return "mine/sums/good.py"
        case "a name that is none":
            return "a\0b"
        case "a name too long":
            return "x" * 5000
        case "empty":
            Path("empty").mkdir()
            return "empty"
        case "the folder is a circle of links":
            Path("a").symlink_to("b")
            Path("b").symlink_to("a")
            return "a"
        case "a circle of links":
            Path("mine/a").symlink_to("b")
            Path("mine/b").symlink_to("a")
        case "a link to the course":
            Path("mine/more").symlink_to(Path.cwd() / "mine")
        case "a link upwards":
            Path("mine/sums/more").symlink_to("../..")
        case "a link to nothing":
            Path("mine/sums/more.py").symlink_to("nothing.py")
        case "imports in a circle":
            write("mine/sums/a.py", "from .b import y\nx = 1\n")
            write("mine/sums/b.py", "from .a import x\ny = 1\n")
        case "no reference":
            write("mine/sums/bad.py", text("bad", ("    reference=bad,\n", "")))
        case "a reference that is none":
            write("mine/sums/bad.py", text("bad", ("reference=bad,", "reference=None,")))
        case "a reference of ours":
            ours = ("reference=bad,", "reference=ops.softmax_forward,")
            write("mine/sums/bad.py", "from npformer import ops\n" + text("bad", ours))
        case "two hints":
            hint = '        "A weight says how often a value counts.",\n'
            write("mine/sums/bad.py", text("bad", (hint, "")))
        case "an output":
            write("mine/sums/bad.py", text("bad", ('outputs=("y",)', 'outputs="y"')))
        case "no syntax":
            write("mine/sums/bad.py", "x = 1\ndef f(:\n")
        case "no UTF-8":
            write("mine/sums/bad.py", b"x = '\xff'\n")
        case "an error":
            write("mine/sums/_rows.py", "x = 1\n1 / 0\n")
            write("mine/sums/bad.py", "\n\nfrom ._rows import x\n")
        case "ends Python":
            write("mine/sums/bad.py", "import sys\nsys.exit('bye')\n")
        case "a huge message":
            write("mine/sums/bad.py", "raise ValueError('x\\n' * 5000)\n")
        case "no exercise":
            write("mine/sums/bad.py", "x = 1\n")
        case "two exercises":
            write("mine/sums/bad.py", text("bad") + text("worse").partition("import numpy")[2][6:])
        case "an id twice":
            write("mine/more/good.py", good)
        case "an id of ours":
            write("mine/sums/softmax.py", text("softmax"))
        case "an id of a bug's":
            write("mine/sums/adam_without_bias_correction.py", text(BUG.replace("-", "_")))
            Path("mine/sums/adam_without_bias_correction.py").rename(
                f"mine/sums/{BUG.replace('-', '_')}.py"
            )
        case "an id that is not the file's":
            write("mine/sums/bad.py", text("other"))
        case "a chapter with a space":
            write("mine/week 1/bad.py", text("bad"))
        case "a chapter of ours":
            write("mine/find_the_bug/bad.py", text("bad"))
        case "a mistake twice":
            twice = ('mistake("weights-forgotten")', 'mistake("not-divided")')
            write("mine/sums/bad.py", text("bad", twice))
        case "a mistake that says nothing":
            silent = (
                '    """this is a weighted sum. Divide it by the sum of the weights."""\n',
                "",
            )
            write("mine/sums/bad.py", text("bad", silent))
        case _:
            page = (EXAMPLE.parent / "zh/weighted_mean.md").read_text("utf-8")
            page = page.replace("weighted-mean", "good", 1)
            match name:
                case "Chinese of no exercise":
                    write("mine/sums/zh/bad.md", page)
                case "Chinese of another id":
                    write("mine/sums/zh/good.md", page + "\n\n# bad\n\n**title** 坏\n")
                case "Chinese without the id":
                    write("mine/sums/zh/good.md", page.replace("# good", "# bad"))
                case "Chinese of no mistake":
                    write("mine/sums/zh/good.md", page + "\n\n**off-by-one** 差一。\n")
                case "Chinese that lacks a mistake":
                    write("mine/sums/zh/good.md", page.partition("**mean-of-everything**")[0])
                case "Chinese that is not UTF-8":
                    write("mine/sums/zh/good.md", page.encode("gbk"))
                case _:
                    raise AssertionError(name)
    return "mine"


BUG = next(task.id for task in tasks() if task.chapter == "find_the_bug")
BAD = {
    "nothing there": r"course: got 'elsewhere', expected a folder or an installed course",
    "a file": r"course: got 'mine/sums/good.py', expected a folder",
    "a name that is none": r"course: got 'a\\x00b', expected a folder",
    "a name too long": r"course: got 'xxx.*\.\.\.x+', expected a folder",
    "empty": r"course: got '.*empty' without an exercise, expected CHAPTER/NAME\.py in it: `npf",
    "the folder is a circle of links": r"course: got 'a', expected a folder",
    "a circle of links": r"mine/a: got a link to nowhere or in a circle, expected",
    "a link to the course": r"mine/more: got a link to nowhere or in a circle, expected",
    "a link upwards": r"sums/more: got a link to nowhere or in a circle, expected",
    "a link to nothing": r"sums/more\.py: got a link to nowhere or in a circle",
    "imports in a circle": r"sums/b\.py, line 1: ImportError: cannot import name 'x' .*circular",
    "no reference": r"sums/bad\.py, line 28: TypeError: .*'reference'",
    "a reference that is none": r"sums/bad\.py, line 28: 'bad': got reference None, expected a",
    "a reference of ours": r"sums/bad\.py: got a reference from another file, expected one writ",
    "two hints": r"sums/bad\.py, line 28: 'bad': got hints .*, expected three texts",
    "an output": r"sums/bad\.py, line 28: 'bad': got outputs 'y', expected names such as",
    "no syntax": r"sums/bad\.py, line 2: SyntaxError: invalid syntax",
    "no UTF-8": r"sums/bad\.py.*: SyntaxError: .*utf-8",
    "an error": r"sums/_rows\.py, line 2: ZeroDivisionError: division by zero",
    "ends Python": r"sums/bad\.py, line 2: SystemExit: bye",
    "a huge message": r"sums/bad\.py, line 1: ValueError: x x x",
    "no exercise": r"sums/bad\.py: bad\.py: got 0 exercises, expected one in each file",
    "two exercises": r"sums/bad\.py: bad\.py: got 2 exercises, expected one in each file",
    "an id twice": r"sums/good\.py: got the id 'good' again, expected one",
    "an id of ours": r"sums/softmax\.py: got the id 'softmax', which npformer itself has, expected",
    "an id of a bug's": rf"sums/.*\.py: got the id '{BUG}', which npformer itself has, expected",
    "an id that is not the file's": r"sums/bad\.py: got the id 'other', expected the file's name",
    "a chapter with a space": r"course: got the chapter 'week 1', expected a name of small letters",
    "a chapter of ours": r"course: got the chapter 'find_the_bug', expected .* not find_the_bug",
    "a mistake twice": r"sums/bad\.py, line \d+: bad: got two mistakes 'not-divided', expected",
    "a mistake that says nothing": r"sums/bad\.py, line \d+: bad: got no docstring of 'not-divid",
    "Chinese of no exercise": r"zh/bad\.md: got a translation of bad\.py, which is not there",
    "Chinese of another id": r"zh/good\.md: got the heading # bad, which is not its",
    "Chinese without the id": r"sums/good\.py: good\.md: got no heading # good, expected one",
    "Chinese of no mistake": r"sums/good\.py: good\.md, # good: got \*\*off-by-one\*\*, of which",
    "Chinese that lacks a mistake": r"sums/good\.py: good\.md, # good: got no \*\*mean-of",
    "Chinese that is not UTF-8": r"sums/good\.py: UnicodeDecodeError: ",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_course_is_one_sentence(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place = plant(name)
    for arguments in (["verify", place], ["init", "new", "--course", place],
                      ["export", "new", "--format", "py", "--course", place]):  # fmt: skip
        assert main(["learn", *arguments]) == 2
        said = capsys.readouterr().err
        assert re.match(f"npformer learn: {BAD[name]}", said), said
        assert said.count("\n") == 1
        assert len(said) <= 300
    assert not Path("new").exists()


# A learner


@pytest.fixture
def course(learn):
    """A course of two chapters, whose names give the order."""
    learn("new second --course mine --chapter 02_more")
    learn("new first --course mine --chapter 10_last")
    write("mine/02_more/01_shared.py", text("shared").replace(
        "import numpy as np\n", "import numpy as np\n\nfrom ._rows import NUMBER\n", 1
    ).replace("minutes=5", "minutes=NUMBER"))  # fmt: skip
    write("mine/02_more/_rows.py", "NUMBER = 7\n")
    return Path("mine").resolve()


def test_a_learners_folder_remembers_its_course(course, learn, monkeypatch):
    assert learn("init folder --course mine")[0] == 0
    monkeypatch.chdir("folder")
    places = ["01_more/01_shared.py", "01_more/02_second.py", "02_last/01_first.py"]
    assert [str(p) for p in sorted(Path().glob("*/*.py"))] == places
    assert state.load(Path()).course == str(course)
    code, out = learn("list")
    assert code == 0
    assert "0 of 3 done, about 17 min to go" in out
    assert "softmax" not in out
    answer = Path(places[0])
    answer.write_text("import numpy as np\n" + WRONG.format(name="shared"))
    code, out = learn("check shared")
    assert code == 1
    assert "this is a weighted sum. Divide it by the sum of the weights." in out
    assert learn("check --all")[1].endswith("0 right, 1 wrong, 2 not begun.\n")
    assert "Hint 1 of 3: A weight says" in learn("hint 01_more/01_shared.py")[1]
    shown = learn("solution shared")[1]
    assert "/ weights.sum()" in shown
    assert "What is behind it" not in shown
    assert "To read" not in shown + answer.with_name("02_second.py").read_text()
    answer.write_text(RIGHT.format(name="shared"))
    code, out = learn("check")
    assert code == 1
    assert "shared: Weighted mean: solved" in out
    assert "second: Weighted mean\n  not begun" in out
    assert learn("reset shared")[0] == 0
    code, out = learn("check softmax")
    assert (code, "id: got 'softmax', expected an exercise such as" in out) == (2, True)
    assert ids(Path()) == ["shared", "second", "first"]
    with pytest.raises(NotImplementedError):
        verify_answer(Path.cwd(), "shared")


def test_pytest_in_the_folder_has_the_courses_tests(course, learn, pytester_run):
    learn("init folder --course mine")
    assert "ids(FOLDER)" in Path("folder/test_exercises.py").read_text()
    Path("folder/02_last/01_first.py").write_text(RIGHT.format(name="first"))
    assert pytester_run("folder") == {"passed": 1, "failed": 2}


@pytest.fixture
def pytester_run():
    def run(folder: str) -> dict[str, int]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
        )
        counts = re.findall(r"(\d+) (passed|failed)", done.stdout.splitlines()[-1])
        return {kind: int(number) for number, kind in counts}

    return run


def test_a_course_that_has_moved_is_found_again(course, learn, monkeypatch):
    learn("init folder --course mine")
    Path("folder/02_last/01_first.py").write_text(RIGHT.format(name="first"))
    assert learn("check first --dir folder")[0] == 0
    Path("mine").rename("moved")
    code, out = learn("list --dir folder")
    assert (code, out.count("\n")) == (2, 1)
    assert re.match(r"npformer learn: course: got '.*mine', expected a folder", out)
    assert "1 of 3 done" in learn("list --dir folder --course moved")[1]  # for once
    assert learn("list --dir folder")[0] == 2
    assert learn("init folder --course moved")[0] == 0
    assert "1 of 3 done" in learn("list --dir folder")[1]
    code, out = learn("init folder --course=")
    assert (code, "has another course, expected a new folder" in out) == (2, True)
    assert learn("init ours")[0] == 0
    assert learn("init ours --course moved")[0] == 2
    assert "course" not in json.loads(Path("ours", state.STATE).read_text())


def test_a_folder_from_before_courses_is_ours(learn):
    assert learn("init ours")[0] == 0
    assert Folder.find(Path("ours")).course.place == ""
    assert ids() == ids(Path("ours")) == [task.id for task in tasks()]
    saved = json.loads(Path("ours", state.STATE).read_text())
    Path("ours", state.STATE).write_text(json.dumps(saved | {"course": 3}))
    code, out = learn("list --dir ours")
    assert (code, "got a broken file (TypeError: course 3)" in out) == (2, True)


def test_the_cases_may_hand_over_functions_that_call_the_library(learn):
    """What a case's function calls is its own matter: the learner has written by hand."""
    changes = (
        ("import numpy as np\n", "import numpy as np\n\nfrom npformer import ops\n"),
        ('"weights": rng', '"weights": lambda n: ops.softmax_forward(np.ones(n))[0], "w": rng'),
    )
    source = text("calls", *changes).replace("(x, weights)", "(x, weights, w)")
    source = source.replace("/ weights.sum()", "/ weights(3).sum() / w.sum()")
    source = source.replace("x * weights)", "x * w)").replace("weights=weights)", "weights=w)")
    write("mine/sums/calls.py", source)
    (exercise,) = open_course("mine").exercises
    found = Progress(open_course("mine")).check(
        "calls", lambda x, weights, w: (x * w).sum(axis=-1) / (weights(3).sum() * w.sum())
    )
    assert found, found.text
    assert not Progress(open_course("mine")).check(exercise.id, exercise.reference)


# An installed package


@pytest.fixture
def installed(course, learn, tmp_path, monkeypatch):
    """The same course as a package that says where it is."""
    site = tmp_path / "site"
    course.rename(write("site/sheet_of_mine/__init__.py", "").parent / "course")
    entries = (
        "[npformer.courses]\nsheet = sheet_of_mine.course\nbroken = nowhere_at_all.course\n"
        "function = json:dumps\n"
    )
    write("site/sheet_of_mine-1.0.dist-info/entry_points.txt", entries)
    about = "Metadata-Version: 2.1\nName: sheet-of-mine\nVersion: 1.0\n"
    write("site/sheet_of_mine-1.0.dist-info/METADATA", about)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    yield site
    for name in [name for name in sys.modules if name.startswith("sheet_of_mine")]:
        del sys.modules[name]


def test_an_installed_course_goes_by_its_name(installed, learn, monkeypatch):
    code, out = learn("verify sheet --seeds 2")
    assert (code, out.splitlines()[-1]) == (0, "3 right, 0 wrong.")
    assert learn("init folder --course sheet")[0] == 0
    monkeypatch.chdir("folder")
    assert state.load(Path()).course == "sheet"
    Path("02_last/01_first.py").write_text(WRONG.format(name="first"))
    code, out = learn("check first")  # in another process
    assert (code, "this is a weighted sum" in out) == (1, True)
    Path("02_last/01_first.py").write_text(RIGHT.format(name="first"))
    assert learn("check first")[0] == 0
    assert Progress(open_course("sheet")).check("first", lambda x, weights: x.mean(axis=-1)).text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", r"'nowhere_at_all\.course' fails \(ModuleNotFoundError: No module named"),
        ("function", r"'json:dumps' fails \(AttributeError: .*\), expected a package$"),
        ("other", r"got 'other', expected a folder or an installed course \(broken, function, sh"),
    ],
)
def test_an_entry_point_that_fails_is_a_sentence(installed, learn, name, said):
    code, out = learn(f"verify {name}")
    assert code == 2
    assert re.search(said, out.strip()), out
    assert len(out) <= 300


# A class


@pytest.mark.parametrize("fmt", ["py", "ipynb"])
def test_an_exported_solution_passes_and_the_stub_does_not(fmt, course, learn):
    code, out = learn(f"export out --format {fmt} --course mine --lang zh")
    assert (code, f"out: 6 files, the first is out/student/01_more/01_shared.{fmt}\n") == (0, out)
    for kind, passes in (("student", False), ("solutions", True)):
        path = Path(f"out/{kind}/02_last/01_first.{fmt}")
        assert "加权" not in path.read_text("utf-8")  # nobody has translated it
        namespace: dict = {}
        source = path.read_text("utf-8")
        if fmt == "ipynb":
            cells = nbformat.read(path, as_version=4).cells
            source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        elif not passes:  # how to check it stands in a comment
            source += "\n" + source.rpartition("raise NotImplementedError\n")[2].replace("# ", "")
            source = "\n".join(line for line in source.splitlines() if not line.startswith("在"))
        exec(source, namespace)
        progress = namespace["check"].__self__ if "check" in namespace else None
        if progress:
            assert (progress.solved == {"first"}) == passes
        assert (
            bool(Progress(open_course("mine")).check("first", namespace["first"], library=True))
            == passes
        )


def test_an_nbgrader_course_grades_by_the_course(course, learn):
    code, out = learn("export out --format nbgrader --course mine")
    assert code == 0
    assert out.endswith("then: cd out && nbgrader generate_assignment 01_more\n")
    cells = nbformat.read("out/source/02_last/01_first.ipynb", as_version=4).cells
    graded = [c.source for c in cells if c.metadata.get("nbgrader", {}).get("grade")]
    assert len(graded) == 6
    for wrong, body in ((False, RIGHT), (True, WRONG)):
        namespace: dict = {}
        exec(body.format(name="first"), namespace)
        for source in graded:
            if wrong:
                with pytest.raises(AssertionError):
                    exec(source, namespace)
            else:
                exec(source, namespace)
    with pytest.raises(InputError, match="id: got 'softmax', expected an exercise such as"):
        grade("softmax", len, "y", course=str(course))


def test_a_notebook_has_a_session_of_its_own(course):
    mine = Progress(open_course(str(course)))
    assert not mine.check("first", lambda x, weights: (x * weights).sum(axis=-1))
    assert "A weight says" in mine.hint("first").text
    assert mine.solution("first").text.rstrip().endswith("/ weights.sum()")
    assert "0 of 3 done" in mine.status().text
    assert [task.id for task in tasks(mine.course)] == ["shared", "second", "first"]
    assert find("first", mine.course).course == str(course)


def test_two_courses_stand_side_by_side(course, learn):
    """Nothing global is changed: each course has its own exercises, and ours are as they were."""
    before = [task.id for task in tasks()]
    learn("new first --course other")
    path = Path("other/exercises/first.py")
    path.write_text(path.read_text("utf-8").replace("weighted sum", "sum with weights"), "utf-8")
    one, other = (Progress(open_course(place)) for place in ("mine", "other"))
    for progress, said in (
        (one, "a weighted sum"),
        (other, "a sum with weights"),
        (one, "a weigh"),
    ):
        assert said in progress.check("first", lambda x, weights: (x * weights).sum(axis=-1)).text
    assert [task.id for task in tasks()] == before


@pytest.mark.parametrize("verify", BATTERY, ids=lambda verify: verify.__name__)
def test_the_example_holds_what_ours_hold(verify):
    assert list(verify(WEIGHTED_MEAN, range(2))) == []


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("id", "Weighted mean", "small letters and digits, with hyphens"),
        ("title", None, "a text"),
        ("statement", 3, "a text"),
        ("reference", "weighted_mean", "a function"),
        ("library", [], "a tuple of functions, or ()"),
        ("outputs", (), 'names such as ("dx",)'),
        ("cases", [], "a function of rng"),
        ("hints", ("one", "two", 3), "three texts"),
        ("tracks", ("exam",), "some of interview, class, gradcheck"),
        ("difficulty", 4, "1, 2 or 3"),
        ("minutes", 0, "a whole number"),
    ],
)
def test_a_field_that_is_not_of_its_kind_is_refused(field, value, wanted):
    with pytest.raises(InputError) as caught:
        replace(WEIGHTED_MEAN, **{field: value})
    name = repr(value if field == "id" else "weighted-mean")
    assert str(caught.value) == f"{name}: got {field} {value!r}, expected {wanted}"


# The page


PAGE = (ROOT / "docs/exercises.md").read_text("utf-8")


def commands(name: str) -> list[str]:
    """Return the lines of the block after ``<!-- own:NAME -->``."""
    (block,) = re.findall(rf"<!-- own:{name} -->\n```sh\n((?:.+\n)+)```", PAGE)
    return [line.removeprefix("npformer learn ") for line in block.splitlines()]


def test_the_commands_of_the_page_do_what_it_says(learn):
    for name in ("write", "learn", "class"):
        for line in commands(name):
            code, out = learn(line)
            assert code == 0, out
    assert Path("my-course/01_sums/row_mean.py").is_file()
    assert Path("sheet/01_sums/01_row_mean.py").is_file()
    assert Path("exported/source/01_sums/01_row_mean.ipynb").is_file()
    assert Progress(open_course("my-course")).check("row-mean", WEIGHTED_MEAN.reference)
    assert "from npformer.exercises import Progress, open_course" in PAGE


def test_what_the_page_says_verify_says_is_in_the_code():
    source = (ROOT / "npformer/exercises/verify.py").read_text("utf-8")
    said = re.findall(r"\| `row-mean: (.+)` \|", PAGE)
    assert len(said) == 8
    fields = r" z, weights|x, weights| 'no-axis'| 'sum'|0\)| y | weights$|: inputs"
    for line in said:
        words = re.split(fields, line)
        assert all(word in source for word in filter(None, words[:2])), line

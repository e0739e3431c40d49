"""The terminal's front: sessions, what files may do, and that no answer is ever lost."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from answers import solved

from npformer.cli import main
from npformer.exercises.exercise import TRACKS
from npformer.exercises.learn import checking, run, state
from npformer.exercises.learn.folder import Folder
from npformer.exercises.learn.layout import fill
from npformer.exercises.learn.load import Unusable, load_function
from npformer.exercises.learn.pytest_front import verify
from npformer.exercises.learn.sheet import sheet
from npformer.exercises.task import find, tasks
from npformer.exercises.text import width

FIRST = tasks()[0].id
SOFTMAX = """
import numpy as np

def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
"""
WITHOUT_SHIFT = """
import numpy as np

def softmax(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)
"""


@pytest.fixture
def learn(tmp_path, monkeypatch, capsys):
    """Return what runs a command in a fresh folder and gives its exit code and output."""
    monkeypatch.delenv("NPFORMER_LANG", raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.chdir(tmp_path)

    def command(*args: str) -> tuple[int, str]:
        code = main(["learn", *args])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    assert command("init", "mine")[0] == 0
    monkeypatch.chdir(tmp_path / "mine")
    return command


def answer(task_id: str, text: str | bytes) -> Path:
    path = Folder.find(Path()).file(find(task_id))
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# A whole session

SAID = {
    "en": {
        "not begun": "not begun: write",
        "wrong": "exp overflows: subtract the maximum",
        "hint": "Hint 1 of 3: Adding the same number",
        "right": "softmax: Softmax: solved",
        "done": "done  softmax ",
        "open": "open  softmax-backward ",
        "progress": f"] 1 of {len(tasks())} done, about ",
    },
    "zh": {
        "not begun": "还没有开始：请编辑",
        "wrong": "exp 溢出了：先减去每行的最大值",
        "hint": "提示 1/3：给一行的所有 logits",
        "right": "softmax：Softmax：已完成",
        "done": "完成    softmax ",
        "open": "未完成  softmax-backward ",
        "progress": f"] 完成 1/{len(tasks())}，还需约",
    },
}


@pytest.mark.parametrize("lang", SAID)
def test_a_session(lang, tmp_path, monkeypatch, capsys):
    said = SAID[lang]
    monkeypatch.delenv("NPFORMER_LANG", raising=False)
    monkeypatch.setenv("LC_ALL", {"en": "C.UTF-8", "zh": "zh_CN.UTF-8"}[lang])
    monkeypatch.chdir(tmp_path)

    def learn(*args: str) -> tuple[int, str]:
        code = main(["learn", *args])
        printed = capsys.readouterr()
        assert not printed.err
        return code, printed.out

    assert learn("init", "mine")[0] == 0
    monkeypatch.chdir("mine")
    path = Folder(tmp_path / "mine").file(find("softmax"))
    assert find("softmax").statement.to(lang)[:9] in path.read_text("utf-8")
    code, out = learn("check", "softmax")
    assert code == 1
    assert f"{said['not begun']} {path.relative_to(Path.cwd())}" in out

    path.write_text(WITHOUT_SHIFT)
    code, out = learn("check", "softmax")
    assert code == 1
    assert said["wrong"] in out
    monkeypatch.chdir(path.parent)  # the folder is the one above
    code, out = learn("hint", "softmax")
    assert code == 0
    assert said["hint"] in out
    path.write_text(SOFTMAX)
    code, out = learn("check", "softmax")
    assert code == 0
    assert said["right"] in out
    code, out = learn("list")
    assert code == 0
    assert said["done"] in out
    assert said["open"] in out
    assert said["progress"] in out


def test_a_terminal_without_chinese_letters(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "npformer", "learn", "init", "mine", "--lang", "zh"],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine/01_" in done.stdout


def test_check_goes_in_order_up_to_the_first_that_is_open(learn):
    assert learn("check") == (1, learn("check", FIRST)[1])
    answer(FIRST, solved(FIRST))
    code, out = learn("check")
    second = tasks()[1]
    assert code == 1
    assert f"{FIRST}: {find(FIRST).title.en}: solved" in out
    assert f"{second.id}: {second.title.en}\n  not begun" in out
    assert learn("check")[1].startswith(f"{second.id}:")  # the first has passed and is as it was
    answer(FIRST, solved(FIRST) + "\n1 / 0\n")
    assert "stops with an error" in learn("check")[1]


def test_check_all_is_a_line_for_each_file_that_was_written_in(learn):
    answer("softmax", SOFTMAX)
    answer("softmax-backward", "x = ")
    code, out = learn("check", "--all")
    left = len(tasks()) - 2
    assert code == 1
    assert out.splitlines() == [
        "right  softmax",
        "WRONG  softmax-backward",
        f"1 right, 1 wrong, {left} not begun.",
    ]


def test_hints_come_one_by_one_and_are_counted(learn):
    hints = [learn("hint", "softmax")[1] for _ in range(4)]
    assert [text.count(" of 3: ") for text in hints] == [1, 2, 3, 3]
    assert "That was the last one" in hints[3]
    assert "That was the last one" not in hints[2]
    assert "hints 3/3" in learn("list")[1]


def test_the_solution_is_shown_and_remembered(learn):
    code, out = learn("solution", "softmax")
    assert code == 0
    assert "ops.softmax_forward(x)" in out
    assert "def softmax_forward(" in out
    assert "solution seen" in learn("list")[1]


def test_list_takes_a_track(learn):
    out = learn("list", "--track", "gradcheck")[1]
    assert "softmax-backward" in out
    assert "  softmax " not in out
    assert learn("list", "--track", "x")[0] == 2


def test_a_language_may_be_changed(learn):
    assert "还没有开始" in learn("check", "softmax", "--lang", "zh")[1]
    assert "not begun" in learn("check", "softmax")[1]
    before = files(Path())
    assert learn("init", ".", "--lang", "zh")[0] == 0
    assert "还没有开始" in learn("check", "softmax")[1]
    after = files(Path())
    assert {p for p in before if before[p] != after[p]} == {Path(state.STATE)}
    assert learn("init", ".", "--lang", "fr") == (
        2,
        "npformer learn: lang: got 'fr', expected one of en, zh\n",
    )


def test_the_language_of_the_environment_beats_the_folders(learn, monkeypatch):
    answer("softmax", WITHOUT_SHIFT)
    monkeypatch.setenv("NPFORMER_LANG", "zh")
    assert learn("check", FIRST)[1].startswith(f"{FIRST}：{find(FIRST).title.zh}\n")
    assert learn("check", FIRST, "--lang", "en")[1].startswith(f"{FIRST}: ")
    with pytest.raises(AssertionError, match="exp 溢出了"):
        verify(Path.cwd(), "softmax")
    monkeypatch.setenv("NPFORMER_LANG", "fr")
    assert learn("list") == (
        2,
        "npformer learn: NPFORMER_LANG: got 'fr', expected one of en, zh\n",
    )


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise on Windows")
@pytest.mark.parametrize(
    "command", ["learn check softmax", "quiz --list", "quiz --state q.json", "cost bert-base"]
)
def test_a_reader_that_has_left_is_no_error(command, learn):
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "npformer", *command.split()],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    os.close(read)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 141


def test_the_tracks_are_explained(capsys):
    with pytest.raises(SystemExit):
        main(["learn", "list", "--help"])
    shown = capsys.readouterr().out
    assert all(f"{track} (" in shown for track in TRACKS)


def test_a_bug_says_what_there_is_to_do(learn):
    task = find("layer-norm-without-eps")
    for lang, words in (("en", ("on purpose", "is the test")), ("zh", ("故意", "任务是写测试"))):
        text = sheet(task, lang).replace("\n# ", " ")
        assert all(word in text for word in (*words, "np.allclose"))
    assert "_find_the_bug: write the test that catches it\n" in learn("list")[1]
    assert "_find_the_bug：写测试抓住错误\n" in learn("list", "--lang", "zh")[1]


def test_a_rejection_quotes_the_line(learn):
    answer("layer-norm-without-eps", "def test(fn):\n    assert fn is None, 'mine'\n")
    out = " ".join(learn("check", "layer-norm-without-eps")[1].split())
    assert "line 2 `assert fn is None, 'mine'` fails (mine). Right code may differ" in out


def test_a_bug_is_found_by_a_test(learn):
    bug = "layer-norm-without-eps"
    assert "not begun: write 0" in learn("check", bug)[1]
    answer(bug, "def test(fn):\n    pass\n")
    code, out = learn("check", bug)
    assert code == 1
    assert "never calls fn" in out
    answer(bug, solved(bug))
    code, out = learn("check", bug)
    assert code == 0
    assert "Found: your test passes on the right code" in out
    assert "right is beta; wrong is NaN" in out  # why
    shown = learn("solution", bug)[1]
    assert solved(bug) in shown
    assert find(bug).behind() in shown


# What a learner's file may do

UNUSABLE = {
    "does not parse": ("def softmax(x:\n", "line 1 `def softmax(x:`: this is not Python yet"),
    "no UTF-8": (b"x = '\xff'\n", "this is not Python yet"),
    "a zero byte": (b"x = 1\x00\n", "null bytes"),
    "does not import": ("import np\n", "in line 1 `import np`: ModuleNotFoundError"),
    "fails": ("x = 1\ny = x / 0\n", "in line 2 `y = x / 0`: ZeroDivisionError"),
    "ends Python": ("import sys\nsys.exit()\n", "line 2 `sys.exit()` ends Python"),
    "no function": ("def sofmax(x):\n    return x\n", "`def softmax(x):`; there is `sofmax`"),
    "no function at all": ("", "the function is missing, expected `def softmax(x):`."),
    "not a function": ("softmax = 3\n", "softmax is of type int, expected a function"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_files_without_a_function_get_a_sentence(name, learn):
    content, said = UNUSABLE[name]
    with pytest.raises(Unusable) as raised:
        load_function(answer("softmax", content), find("softmax"))
    assert said in raised.value.said.en
    assert re.search("[一-鿿]", raised.value.said.zh)


DEF = "import numpy as np\ndef softmax(x):\n"
BAD_FILES = {
    "fails": ("x = 1\ny = x / 0\n", "in line 2 `y = x / 0`: ZeroDivisionError"),
    "wrong signature": ("def softmax(x, y):\n    return x\n", "expected softmax(x)"),
    "exit in the function": (DEF + "    raise SystemExit\n", "line 3: raise SystemExit"),
    "os._exit": (
        "import os\ndef softmax(x):\n    os._exit(0)\n",
        "line 3: os._exit(0)",
    ),
    "raises": (DEF + "    return x.foo\n", "line 3: return x.foo"),
    "endless recursion": (DEF + "    return softmax(x)\n", "calls itself without end"),
    "too much memory": (
        DEF + "    return np.empty(1 << 31)\n",
        "line 3: return np.empty(1 << 31)",
    ),
    "input": (DEF + "    return float(input())\n", "EOFError"),
    "None": (DEF + "    x\n", "is there a return"),
    "list": (DEF + "    return x.tolist()\n", "list"),
    "two outputs": (DEF + "    return x, x\n", "tuple"),
    "complex": (DEF + "    return x * 1j\n", "complex"),
    "NaN": (DEF + "    return x * np.nan\n", "NaN"),
    "writes into x": (DEF + "    x *= 2\n    return x\n", "it writes into x"),
    "aborts": ("import os\ndef softmax(x):\n    os.abort()\n", "in line 3 `os.abort()`"),
    "crashes": (
        "import ctypes\ndef softmax(x):\n    ctypes.string_at(0)\n",
        "in line 3 `ctypes.string_at(0)`",
    ),
    "is killed": (
        "import os\ndef softmax(x):\n    os.kill(os.getpid(), 9)\n",
        "probably ran out of memory",
    ),
}
if not hasattr(signal, "SIGKILL"):
    del BAD_FILES["is killed"]


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_get_a_sentence(name, learn):
    content, said = BAD_FILES[name]
    answer("softmax", content)
    code, out = learn("check", "softmax")
    assert code == 1
    assert said in out.replace("\n        ", " ")
    assert "Traceback" not in out


ENDLESS = {
    "one that catches and prints": (
        DEF + "    while True:\n        try:\n            print('round', flush=True)\n"
        "        except BaseException:\n            pass\n",
        "in line ",
    ),
    "in the file": ("while True:\n    pass\n", "in line"),
    "in a lock": (
        "import threading\ndef softmax(x):\n    lock = threading.Lock()\n    lock.acquire()\n"
        "    lock.acquire()\n",
        "in line 5 `lock.acquire()`",
    ),
    "sleep": ("import time\ndef softmax(x):\n    time.sleep(60)\n", "in line 3 `time.sleep(60)`"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_files_are_stopped_and_the_others_go_on(name, learn):
    content, said = ENDLESS[name]
    answer("softmax", content)
    begin = time.monotonic()
    code, out = learn("check", "softmax", "--time-limit", "1s")
    assert code == 1
    assert "stopped after 1 s" in out
    assert said in out
    assert time.monotonic() - begin < 30


def test_a_thread_that_runs_on_is_not_waited_for(learn):
    answer(
        "softmax",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\n"
        + SOFTMAX,
    )
    begin = time.monotonic()
    assert learn("check", "softmax")[0] == 0
    assert time.monotonic() - begin < 30


def test_an_exception_that_is_no_exception_is_said(learn):
    answer("softmax", DEF + "    raise GeneratorExit\n")
    code, out = learn("check", "softmax")
    assert code == 1
    assert "Python itself ended (exit code 1)" in out


def test_a_bad_file_does_not_stop_the_others(learn):
    answer("softmax", "import os\nos.abort()\n")
    answer("softmax-backward", solved("softmax-backward"))
    out = learn("check", "--all")[1]
    assert "WRONG  softmax\nright  softmax-backward\n" in out


def test_what_started_the_file_is_ended_with_it(learn, tmp_path):
    sleeper = (
        "import subprocess\np = subprocess.Popen(['sleep', '77'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
    )
    answer("softmax", sleeper + SOFTMAX)
    assert learn("check", "softmax")[0] == 0
    pid = int((tmp_path / "pid").read_text())
    state_of = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        if not state_of.exists() or state_of.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("it is still there")


def test_what_a_file_prints_is_shown_up_to_ten_lines(learn):
    answer("softmax", SOFTMAX + "\nfor i in range(10**5):\n    print('line', i)\n")
    code, out = learn("check", "softmax")
    assert code == 0
    assert "Your file printed:\n    line 0\n" in out
    assert "    line 9\n    ...\n" in out
    assert "line 10\n" not in out


def test_a_file_called_like_numpy_is_not_numpy(learn):
    Path("numpy.py").write_text("1 / 0\n")
    answer("softmax", SOFTMAX)
    assert learn("check", "softmax")[0] == 0


def test_a_folder_with_a_chinese_name(tmp_path, monkeypatch, capsys):
    assert main(["learn", "init", str(tmp_path / "练 习")]) == 0
    monkeypatch.chdir(tmp_path / "练 习")
    answer("softmax", DEF + "    while True: pass\n")
    assert main(["learn", "check", "softmax", "--time-limit", "1s"]) == 1
    assert "line 3 `while True: pass`" in capsys.readouterr().out


# No answer is lost


def test_init_adds_what_is_missing_and_touches_nothing_else(learn):
    mine = answer("softmax", "# mine\n")
    Path("notes.txt").write_text("mine")
    Path("test_exercises.py").write_text("# mine\n")
    lost = Folder.find(Path()).file(find("softmax-backward"))
    lost.unlink()
    (mine.parent / f"{lost.name}.tmp-1").write_text("half")
    before = files(Path())
    assert ": 1 new file." in learn("init", ".")[1]
    after = files(Path())
    assert lost.relative_to(Path.cwd()) in after.keys() - before.keys()
    assert len(after) == len(before)  # one more, and the half-written one is gone
    assert all(after[path] == content for path, content in before.items() if path in after)


def test_an_answer_is_found_under_an_old_number(learn):
    path = answer("softmax", SOFTMAX)
    moved = path.with_name("99_softmax.py")
    path.rename(moved)
    assert learn("check", "softmax")[0] == 0
    assert ": 0 new files." in learn("init", ".")[1]


def test_reset_keeps_the_old_file_beside_the_new(learn):
    path = answer("softmax", SOFTMAX)
    assert learn("check", "softmax")[0] == 0
    assert learn("reset", "softmax")[0] == 0
    assert path.read_text() == sheet(find("softmax"), "en")
    assert path.with_name(f"{path.name}.old").read_text() == SOFTMAX
    assert "open  softmax " in learn("list")[1]


def test_no_reset_overwrites_what_another_kept(learn):
    path = answer("softmax", SOFTMAX)
    assert "is in 07_softmax.py.old." in learn("reset", "softmax")[1]
    before = files(Path())
    assert learn("reset", "softmax") == (
        0,
        "01_calculus/07_softmax.py is as it was at first: nothing to put back.\n",
    )
    assert files(Path()) == before
    answer("softmax", WITHOUT_SHIFT)
    assert "is in 07_softmax.py.old.2." in learn("reset", "softmax")[1]
    answer("softmax", "x = 3\n")
    assert "is in 07_softmax.py.old.3." in learn("reset", "softmax")[1]
    kept = [path.with_name(f"{path.name}.old{n}").read_text() for n in ("", ".2", ".3")]
    assert kept == [SOFTMAX, WITHOUT_SHIFT, "x = 3\n"]


def test_a_reset_in_another_language_keeps_no_stub(learn):
    path = Folder.find(Path()).file(find("softmax"))
    assert learn("reset", "softmax", "--lang", "zh") == (
        0,
        "01_calculus/07_softmax.py 已恢复原样。\n",
    )
    assert path.read_text("utf-8") == sheet(find("softmax"), "zh")
    assert not list(path.parent.glob("*.old*"))


def test_a_file_that_is_gone_comes_back_as_the_check_says(learn, monkeypatch):
    path = Folder.find(Path()).file(find("softmax"))
    path.unlink()
    monkeypatch.chdir(path.parent)
    said = "07_softmax.py is not there: `npformer learn init` puts it back."
    assert said in learn("check", "softmax")[1]
    code, out = learn("init")
    assert code == 0
    assert out.startswith(f"{path.parents[1]}: 1 new file.\n")
    assert out.endswith("then: npformer learn check\n")
    assert path.read_text() == sheet(find("softmax"), "en")


def test_init_outside_of_a_folder_asks_for_one(learn, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert learn("init") == (
        2,
        "npformer learn: DIR: got none, expected a folder to make, such as "
        "`npformer learn init my-exercises`\n",
    )


NAMES = (
    "01_calculus/08_softmax_backward.py",
    "08_softmax_backward.py",
    "softmax_backward.py",
    "softmax_backward",
    "01_calculus\\08_softmax_backward.py",
    "softmax-backward",
)


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_may_be_called_by_its_file(name, learn):
    path = answer("softmax-backward", solved("softmax-backward"))
    assert learn("check", name)[0] == 0
    assert learn("check", str(path))[0] == 0
    assert "Hint 1 of 3" in learn("hint", name)[1]
    assert learn("solution", name)[0] == 0
    assert learn("check", name, "--timed", "1s")[1].startswith("softmax-backward is done")
    assert learn("reset", name)[0] == 0
    assert state.load(Path()).records.keys() == {"softmax-backward"}


@pytest.mark.parametrize("moment", range(4))
def test_a_killed_init_leaves_no_half_file(moment, tmp_path, monkeypatch):
    calls = []

    def replace(self, target, original=Path.replace):
        calls.append(target)
        if len(calls) > moment:
            raise KeyboardInterrupt
        return original(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        assert main(["learn", "init", str(tmp_path), "--lang", "en"]) == 130
    whole = {Folder(tmp_path).file(task): sheet(task, "en") for task in tasks()}
    for path, content in files(tmp_path).items():
        assert path.suffix in (".py", ".json")
        assert path not in whole or content.decode() == whole[path]
    assert main(["learn", "init", str(tmp_path)]) == 0
    assert all(path.read_text("utf-8") == content for path, content in whole.items())


def test_a_killed_reset_or_hint_leaves_the_old(learn, monkeypatch):
    path = answer("softmax", SOFTMAX)
    before = files(Path())

    def stop(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    assert learn("hint", "softmax")[0] == 130
    assert files(Path()) == before
    assert learn("reset", "softmax")[0] == 130
    assert path.read_text() == SOFTMAX


# Watching


class Learner:
    """Stands in for `time.sleep`: at each look of the watch, the next thing is done."""

    def __init__(self, *acts) -> None:
        self.acts = list(acts)

    def __call__(self, seconds: float) -> None:
        if not self.acts:
            raise KeyboardInterrupt
        act = self.acts.pop(0)
        if act is not None:
            act()


def test_watch_checks_when_a_file_is_saved(learn, monkeypatch):
    learner = Learner(
        None,
        lambda: answer("softmax", WITHOUT_SHIFT),
        None,
        lambda: answer("softmax", SOFTMAX),
    )
    monkeypatch.setattr(checking, "sleep", learner)
    code, out = learn("check", "softmax", "--watch")
    assert code == 0
    assert not learner.acts
    assert [out.count(text) for text in ("not begun", "not solved", "Softmax: solved")] == [1, 1, 1]


def test_watch_goes_on_to_the_next_and_ends_politely(learn, monkeypatch):
    monkeypatch.setattr(checking, "sleep", Learner(lambda: answer(FIRST, solved(FIRST)), None))
    code, out = learn("check", "--watch")
    assert code == 130
    assert f"\n{tasks()[1].id}: {tasks()[1].title.en}\n  not begun" in out
    assert out.endswith("npformer learn: stopped\n")


def test_a_timed_session_that_is_won(learn, monkeypatch):
    monkeypatch.setattr(checking, "sleep", Learner(lambda: answer("softmax", SOFTMAX)))
    code, out = learn("check", "softmax", "--timed", "20m")
    assert code == 0
    assert "The clock runs: 20 min." in out
    assert "of 20 min." in out
    assert 0 < state.load(Path()).of("softmax").seconds < 1200
    assert learn("check", "softmax", "--timed", "20m") == (
        1,
        "softmax is done: `npformer learn reset softmax` opens it again.\n",
    )


def test_a_timed_session_that_is_lost(learn):
    code, out = learn("check", "softmax", "--timed", "0.4s", "--lang", "zh")
    assert code == 1
    assert out.endswith("时间到：0 分钟。\n")
    assert state.load(Path()).of("softmax").seconds is None


# Ctrl-C is ignored in what a shell has started in the background, this test perhaps among it.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from npformer.cli import main
sys.exit(main(["learn", "check", "softmax"]))
"""


def test_an_interrupted_check_leaves_no_process(learn, tmp_path):
    path = answer(
        "softmax",
        f"import os\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "while True: pass\n",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=path.parent,
        stderr=subprocess.PIPE,
        text=True,
    )
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "\nnpformer learn: stopped\n"
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


# Bad commands

BAD_COMMANDS = {
    "check nope": "id: got 'nope', expected an exercise such as",
    "hint softmaxx": "expected an exercise such as softmax",
    "reset nope": "id: got 'nope'",
    "solution nope": "id: got 'nope'",
    "check softmax --all": "ID: got 'softmax' and --all",
    "list --dir /": "--dir: got /, expected a folder with exercises",
    "init test_exercises.py": "DIR: got test_exercises.py, which is a file",
}


@pytest.mark.parametrize("command", BAD_COMMANDS)
def test_bad_commands_are_one_sentence(command, learn):
    before = files(Path())
    code, out = learn(*command.split())
    assert code == 2
    assert out.startswith("npformer learn: ")
    assert BAD_COMMANDS[command] in out
    assert out.count("\n") == 1
    assert files(Path()) == before


@pytest.mark.parametrize("time", ["0m", "20x", "-1s", "m", "5"])
def test_bad_times(time, learn, capsys):
    with pytest.raises(SystemExit):
        learn("check", f"--timed={time}")
    assert "expected a time such as 20m" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"version": 2}',
        '{"version": 1, "lang": "fr", "exercises": {}}',
        '{"version": 1, "lang": "en", "exercises": {"softmax": {"hint": 1}}}',
        '{"version": 1, "lang": "en", "exercises": {"softmax": {"hints": "1"}}}',
        '{"version": 1, "lang": "en", "exercises": 3}',
    ],
)
def test_a_broken_state_is_said_and_kept(content, learn):
    Path(state.STATE).write_text(content)
    for command in (["list"], ["check"], ["init", "."]):
        code, out = learn(*command)
        assert code == 2
        assert state.STATE in out
        assert Path(state.STATE).read_text() == content


def test_the_state_is_what_is_documented(learn):
    answer("softmax", SOFTMAX)
    learn("check", "softmax")
    saved = json.loads(Path(state.STATE).read_text())
    assert saved.keys() == {"version", "lang", "exercises"}
    assert saved["exercises"]["softmax"].keys() == {"passed", "hints", "solution", "seconds"}


# Lines


def test_lines_are_as_wide_as_they_look():
    assert width("ab中文") == 6
    chinese = fill("沿最后一个轴把 `logits` 变成概率，前面可以有任意多个轴；结果形状相同。" * 3, 30)
    assert all(width(line) <= 32 for line in chinese)  # a closing mark may hang
    assert not any(line[0] in "，；。" for line in chinese)
    assert "".join(chinese).replace(" ", "").count("`logits`") == 3
    assert fill("- one two three", 9) == ["- one two", "  three"]
    formula = "$$" + "x + " * 40 + "y$$"
    assert fill(f"a\n\n{formula}\n\nb") == ["a", "", formula, "", "b"]
    code = "```\n" + "x = 1  # " * 20 + "\n```"
    assert fill(code) == code.split("\n")


def test_the_chapters_of_a_folder():
    chapters = list(dict.fromkeys(task.place.partition("/")[0] for task in tasks()))
    assert [int(name[:2]) for name in chapters] == list(range(1, len(chapters) + 1))
    assert chapters[0] == "01_calculus"
    assert chapters[-1].endswith("_find_the_bug")
    assert (
        len({task.id for task in tasks()}) == len({task.place for task in tasks()}) == len(tasks())
    )


def test_every_sheet_runs_and_gives_away_nothing():
    for task in tasks():
        for lang in ("en", "zh"):
            text = sheet(task, lang)
            assert text.endswith("raise NotImplementedError\n")
            assert all(hint.to(lang) not in text for hint in task.hints)
            namespace: dict = {}
            exec(text, namespace)
            assert callable(namespace[task.function])


def test_the_worker_is_given_ten_seconds():
    assert run.SECONDS == 10


# The test file


def pytest_in(folder: Path, *only: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *only],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_pytest_on_an_unsolved_folder_and_a_solved_one(learn):
    count = len(tasks())
    code, out = pytest_in(Path.cwd())
    assert code == 1
    assert f"{count} failed" in out
    assert "passed" not in out
    assert out.count("E   NotImplementedError: write ") == count
    for task in tasks():
        answer(task.id, solved(task.id))
    code, out = pytest_in(Path.cwd())
    assert code == 0, out
    assert f"{count} passed" in out
    answer("softmax", WITHOUT_SHIFT)
    answer("softmax-backward", "x = ")
    code, out = pytest_in(Path.cwd(), "-k", f"[softmax] or [softmax-backward] or [{FIRST}]")
    assert code == 1
    assert "2 failed, 1 passed" in out
    assert "exp overflows" in out
    assert "this is not Python yet" in out

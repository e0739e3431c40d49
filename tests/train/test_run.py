"""A run's folder: new or resumed, never somebody else's."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_checkpoint import state

from npformer.checks import InputError
from npformer.train import run as module
from npformer.train.checkpoint import TrainerState, save_state
from npformer.train.lock import locked
from npformer.train.run import Run, open_run, read_settings, write_json


def test_a_new_run(tmp_path):
    run = Run.create(tmp_path / "a" / "b", {"seed": 3, "data": "影评"})
    assert read_settings(run.folder) == {"seed": 3, "data": "影评"}
    assert run.finished("pretrain") is None
    assert run.state_of("pretrain") is None
    assert (run.folder / "metrics.jsonl").read_bytes() == b""
    run.log.close()


def test_an_empty_folder_will_do_and_a_full_one_or_a_file_will_not(tmp_path):
    Run.create(tmp_path, {}).log.close()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match="not empty, expected a new folder"):
        Run.create(tmp_path, {})
    with pytest.raises(InputError, match="--out: got"):
        Run.create(tmp_path / "run.json", {})
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("what", ["nothing", "a file", "another folder", "no JSON", "a list"])
def test_no_run_to_resume_is_left_as_it_is(tmp_path, what):
    folder = tmp_path / "run"
    if what == "a file":
        folder.write_text("x")
    elif what != "nothing":
        folder.mkdir()
        (folder / "thesis.tmp-1").write_text("mine")
        if what == "no JSON":
            (folder / "run.json").write_text("{")
        if what == "a list":
            (folder / "run.json").write_text("[1]")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(InputError) as caught:
        Run.resume(folder)
    assert str(folder) in str(caught.value)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def started(folder):
    """Return a run with one finished phase (two lines) and three lines more."""
    run = Run.create(folder, {})
    for i in range(2):
        run.log.write({"phase": "pretrain", "step": i})
    run.finish("pretrain", {"steps": 2}, lambda: None)
    for i in range(3):
        run.log.write({"phase": "general", "step": i})
    return run


def lines(folder):
    return len((folder / "metrics.jsonl").read_text().splitlines())


def test_metrics_are_cut_back_to_the_last_finished_phase(tmp_path):
    run = started(tmp_path)
    assert run.finished("pretrain")["steps"] == 2
    run.log.close()
    assert lines(tmp_path) == 5
    again = Run.resume(tmp_path)
    assert lines(tmp_path) == 2
    assert again.finished("pretrain")["steps"] == 2
    again.log.close()


@pytest.mark.parametrize(("phase", "left"), [("general", 4), ("pretrain", 2)])
def test_metrics_are_cut_back_to_the_checkpoint_of_the_phase_under_way(tmp_path, phase, left):
    run = started(tmp_path)
    run.log.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    numbers = {"metrics_length": len("".join(text.splitlines(keepends=True)[:4])), "seen": {}}
    # A state of a phase that is finished says nothing about where the metrics stand.
    old = state()
    save_state(
        tmp_path / "state.safetensors",
        TrainerState(phase, old.params, old.optimizer, numbers, {}),
    )
    again = Run.resume(tmp_path)
    assert lines(tmp_path) == left
    assert (again.state_of("general") is not None) == (phase == "general")
    again.log.close()


def test_resuming_removes_stale_files(tmp_path):
    started(tmp_path).log.close()
    (tmp_path / "state.safetensors.tmp-7").write_bytes(b"half")
    Run.resume(tmp_path).log.close()
    assert not list(tmp_path.glob("*.tmp-*"))


def test_a_phase_is_finished_only_after_what_it_made(tmp_path):
    run = started(tmp_path)

    def make():
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run.finish("general", {"steps": 3}, make)
    assert run.finished("general") is None
    assert run.finished("pretrain") is not None
    run.log.close()


def test_json_is_written_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()

    def fail(self, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space") as caught:
        write_json(path, {"a": 2})
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def fail_in(folder, work=lambda run: None):
    """Open a new run in which something fails after some work."""

    def fail():
        with open_run(folder, {}) as run:
            work(run)
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()


def test_a_run_without_a_step_is_discarded_and_one_with_a_step_is_not(tmp_path):
    fail_in(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    fail_in(tmp_path / "seeds", work=lambda run: started(run.folder / "seed-0").log.close())
    assert (tmp_path / "seeds" / "seed-0" / "progress.json").exists()
    assert read_settings(tmp_path / "seeds") == {}
    fail_in(tmp_path / "step", work=lambda run: run.log.write({"step": 1}))
    with open_run(tmp_path / "step") as run:
        assert run.folder == tmp_path / "step"
    assert sorted(p.name for p in run.folder.iterdir()) == ["metrics.jsonl", "run.json"]


def test_a_failing_start_removes_what_it_wrote_and_nothing_else(tmp_path):
    def write(run):
        (run.folder / "tokenizer.json").write_text("{}")
        (run.folder / ".tmpAb12yZ").write_text("half")
        (run.folder / "note.txt").write_text("mine")

    fail_in(tmp_path / "run", work=write)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["note.txt"]
    (tmp_path / "empty").mkdir()
    fail_in(tmp_path / "empty")
    assert not list((tmp_path / "empty").iterdir())  # a folder that was there stays


@pytest.mark.parametrize("name", ["run.lock", "run.json", "metrics.jsonl"])
def test_a_disk_that_is_full_at_once(tmp_path, monkeypatch, name):
    real = Path.open, Path.write_bytes, Path.touch

    def full(number):
        def call(path, *args, **kwargs):
            if path.name.startswith(name):
                raise OSError(errno.ENOSPC, "No space left on device")
            return real[number](path, *args, **kwargs)

        return call

    for number, method in enumerate(("open", "write_bytes", "touch")):
        monkeypatch.setattr(Path, method, full(number))
    fail_in(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.undo()
    with open_run(tmp_path / "run", {"a": 1}):
        assert read_settings(tmp_path / "run") == {"a": 1}


def test_a_folder_has_one_owner(tmp_path):
    folder = tmp_path / "run"
    with open_run(folder, {}) as run:
        run.log.write({"step": 1})
        before = {p: p.read_bytes() for p in folder.iterdir()}
        owner = rf"process {os.getpid()} on \S+ is working in"
        with pytest.raises(InputError, match=owner), open_run(folder):
            pass
        with pytest.raises(InputError, match="not empty"), open_run(folder, {}):
            pass
        assert {p: p.read_bytes() for p in folder.iterdir()} == before
    with open_run(folder):
        pass
    assert not (folder / "run.lock").exists()


def test_a_start_that_comes_second_before_run_json_is_there(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with locked(folder):
        with pytest.raises(InputError, match="is working in"), open_run(folder, {}):
            pass
        assert [p.name for p in folder.iterdir()] == ["run.lock"]


# In a process of its own, which is killed as it writes run.json, or once it is at work.
KILLED = """
import os, pathlib, signal, sys
from npformer.train.run import open_run

def kill(*args):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "early":
    pathlib.Path.replace = kill
with open_run(pathlib.Path(sys.argv[1]), {"a": 1}) as run:
    (run.folder / ".tmpXyZ019").write_text("safetensors was here")
    kill()
"""


@pytest.mark.parametrize("when", ["early", "late"])
def test_what_a_killed_process_leaves_is_taken_over(tmp_path, when):
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", KILLED, folder, when], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (folder / "run.lock").exists()
    if when == "early":  # as good as new
        assert len(list(folder.glob("run.json.tmp-*"))) == 1
        with pytest.raises(InputError, match="expected the folder of a run"), open_run(folder):
            pass
    with open_run(folder, {"a": 2} if when == "early" else None):
        assert read_settings(folder) == {"a": 2 if when == "early" else 1}
    assert sorted(p.name for p in folder.iterdir()) == ["metrics.jsonl", "run.json"]


def test_strays_are_removed_and_files_that_look_like_them_are_not(tmp_path):
    started(tmp_path).log.close()
    for stray in (".tmpAbC123", "model.safetensors.tmp-12"):
        (tmp_path / stray).write_text("half")
    mine = ["notes.tmp", "thesis.tmp-final", ".tmpl", ".tmp-of-mine"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    Run.resume(tmp_path).log.close()
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"metrics.jsonl", "progress.json", "run.json", *mine}

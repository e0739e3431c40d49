"""Killed anywhere and resumed, a run ends with the bits of the run that was not.

In process a run dies at moments chosen from all those that matter: before a line of metrics, before
a file or a folder gets its name. Two runs more are processes of their own, ended by real signals.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_task

from npformer.jobs.distill import augmentation, tinybert
from npformer.jobs.distill.settings import Settings
from npformer.train.checkpoint import MetricsLog
from npformer.train.run import Run, open_run

SCRATCH = ("scratch-0.0003", "scratch-0.001", "scratch-0.003")
TRAINED = (*tiny_task.PHASES[:-1], *SCRATCH)


class Killed(BaseException):
    """What no ``except Exception`` catches."""


class Moments:
    """Names of the moments that a run went through; it dies before ``last``."""

    def __init__(self, monkeypatch):
        self.names, self.last, self.line = [], None, "start"

        def write(log, record):
            self.line = f"{record['phase']} {record['step']}" + " dev" * ("dev" in record)
            self.enter(self.line)
            real["write"](log, record)

        def replace(path, target):
            after = self.line
            if Path(target).name == "progress.json":
                after = list(json.loads(path.read_text("utf-8")))[-1]
            self.enter(f"{Path(target).name} replaced after {after}")
            return real["replace"](path, target)

        def rename(path, target):
            self.enter(f"{Path(target).name} renamed")
            return real["rename"](path, target)

        def augment(*args):
            self.enter("augment")
            return real["_augment"](*args)

        real = {}
        for owner, new in ((MetricsLog, write), (Path, replace), (Path, rename)):
            real[new.__name__] = getattr(owner, new.__name__)
            monkeypatch.setattr(owner, new.__name__, new)
        real["_augment"] = augmentation._augment
        monkeypatch.setattr(augmentation, "_augment", augment)

    def enter(self, name):
        if name == self.last:
            raise Killed
        self.names.append(name)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny_task.write_task(tmp_path_factory.mktemp("data") / "task")


def settings(task):
    return Settings.of({**tiny_task.SETTINGS, "data": str(task)})


def go(run, task):
    try:
        tinybert.distil(run, settings(task), lambda line: None)
    finally:
        run.log.close()


def without_comparison(monkeypatch):
    """Leave out what takes long and every run measures anew: times and figures."""
    monkeypatch.setattr(tinybert, "compare", lambda job, models: {})
    monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])


@pytest.fixture(scope="module")
def whole(task, tmp_path_factory):
    """Return what an uninterrupted run leaves, and its moments."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_comparison(monkeypatch)
        moments = Moments(monkeypatch)
        go(Run.create(folder, settings(task).to_dict()), task)
    return made(folder), moments.names


def made(folder):
    """Return the bytes of everything that training has made; nothing else may lie there."""
    files = tiny_task.contents(folder)
    assert not [n for n in files if ".tmp-" in n or ".new" in n or ".old" in n]
    new_every_time = ("results.json", "run.json", "progress.json", "state.safetensors")
    return {n: b for n, b in files.items() if n not in new_every_time and not n.endswith(".png")}


def assert_same(folder, whole):
    files = made(folder)
    assert files.keys() == whole.keys()
    assert files["metrics.jsonl"].splitlines() == whole["metrics.jsonl"].splitlines()
    assert [name for name in files if files[name] != whole[name]] == []


def chosen(names):
    """Choose moments of every kind, in their order: 9 or more of each phase."""
    steps = [f"{phase} {step}" for phase in TRAINED for step in (1, 4, 8)]
    evaluations = [f"{p} {s} dev" for p in ("finetune", "prediction", SCRATCH[1]) for s in (4, 9)]
    states = [n for n in names if n.startswith("state")]
    seconds = [[n for n in states if f" {phase} " in n][1] for phase in TRAINED]
    wanted = {*steps, *evaluations, *seconds, "augment"}
    return [
        name
        for name in names
        if name in wanted
        or name.endswith("renamed")
        or name.startswith(("progress", "tokenizer", "augmented", "answers"))
    ]


def test_there_are_moments_of_every_kind(whole):
    files, names = whole
    moments = chosen(names)
    assert len(moments) == len(set(moments)) > 50
    for phase in TRAINED:
        assert {f"{phase} 1", f"{phase} 4", f"{phase} 8"} <= set(moments)
        assert any(m.startswith(f"state.safetensors replaced after {phase} ") for m in moments)
    assert sum(m.endswith("renamed") for m in moments) == len(TRAINED) + 1
    assert (
        sum(m.startswith("progress") for m in moments) == len(TRAINED) + 3
    )  # augment, answer, scratch
    assert {"augment", "tokenizer.json replaced after start"} <= set(moments)
    weights = {name for name in files if name.endswith("model.safetensors")}
    assert {Path(w).parts[-2] for w in weights} == {
        *("pretrain", "general", "teacher", "intermediate", "student", "scratch"),
        *SCRATCH,
    }


def test_killed_at_every_kind_of_moment_and_resumed(whole, task, tmp_path, monkeypatch):
    files, names = whole
    without_comparison(monkeypatch)
    moments = Moments(monkeypatch)
    folder = tmp_path / "run"
    run = Run.create(folder, settings(task).to_dict())
    # One run with many lives: each goes on from what the last one left, to the next moment.
    for moments.last in chosen(names):
        with pytest.raises(Killed):
            go(run, task)
        run = Run.resume(folder)
    moments.last = None
    go(run, task)
    assert_same(folder, files)


@pytest.mark.parametrize("moment", ["general 8", "student renamed"])
def test_killed_once_and_resumed(whole, task, tmp_path, monkeypatch, moment):
    without_comparison(monkeypatch)
    moments = Moments(monkeypatch)
    moments.last = moment
    with pytest.raises(Killed):
        go(Run.create(tmp_path / "run", settings(task).to_dict()), task)
    before, moments.last, moments.names = len(moments.names), None, []
    go(Run.resume(tmp_path / "run"), task)
    # The resumed run does not start from the beginning.
    assert len(moments.names) < len(whole[1]) - before + 12
    assert_same(tmp_path / "run", whole[0])


def test_a_finished_run_does_nothing_again(whole, task, tmp_path, monkeypatch):
    without_comparison(monkeypatch)
    moments = Moments(monkeypatch)
    go(Run.create(tmp_path / "run", settings(task).to_dict()), task)
    moments.names = []
    go(Run.resume(tmp_path / "run"), task)
    assert [name.split()[0] for name in moments.names] == ["results.json"]
    assert_same(tmp_path / "run", whole[0])


def distill(folder, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "npformer", "distill", "--out", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MPLBACKEND": "Agg"},
    )


def stop(process, path, number):
    """Send a signal once there is a file."""
    give_up = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.002)
    process.send_signal(number)
    return process.communicate(timeout=60)


def test_a_real_kill(whole, task, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    process = distill(folder, "--data", str(task), *tiny_task.OPTIONS)
    stop(process, folder / "phases" / "general", signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    without_comparison(monkeypatch)
    with open_run(folder) as run:
        go(run, task)
    assert_same(folder, whole[0])


def test_a_real_ctrl_c(whole, task, tmp_path):
    folder = tmp_path / "run"
    process = distill(folder, "--data", str(task), *tiny_task.OPTIONS)
    _, err = stop(process, folder / "state.safetensors", signal.SIGINT)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"stopped; to go on: npformer distill --out {folder} --resume" in err
    process = distill(folder, "--resume")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert_same(folder, whole[0])

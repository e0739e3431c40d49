"""A tiny grid: the same bits on every executor, and after any interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_task
from tiny_grid import OPTIONS, SIZES, STEPS, Serial

from npformer.checks import InputError
from npformer.jobs.ablate import grid, runs
from npformer.jobs.ablate.grid import ablate, process_pool
from npformer.jobs.ablate.rows import FULL, Row, rows_of
from npformer.jobs.ablate.runs import Spec, execute
from npformer.jobs.distill.settings import RATES, Settings
from npformer.models import MaskedLM, SequenceClassifier
from npformer.models.huggingface import from_pretrained
from npformer.train.run import Run

ROWS = rows_of(
    {
        "stages": ["general", "task", "augmentation"],
        "losses": ["attention", "prediction"],
        "mapping": ["bottom"],
    }
)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny_task.write_task(tmp_path_factory.mktemp("data") / "task")


def settings(task, **changes):
    return Settings.of({**SIZES, "data": str(task), "shards": 1, **changes})


def go(folder, task, executor, **more):
    full = settings(task)
    run = Run.resume(folder) if folder.exists() else Run.create(folder, full.to_dict())
    lines = []
    try:
        found = ablate(run, full, ROWS, seeds=2, executor=executor, say=lines.append, **more)
    finally:
        run.log.close()
    return SimpleNamespace(found=found, lines=lines)


def made(folder):
    """Return what a grid has left but times and what holds the name of its folder."""
    files = tiny_task.contents(folder)
    assert not [n for n in files if ".tmp-" in n or ".new" in n or ".old" in n]
    left_out = ("run.json", "progress.json", "ablations.png")
    return {
        name: without_seconds(content) if name.endswith("results.json") else content
        for name, content in files.items()
        if not name.endswith(left_out)
    }


def without_seconds(content):
    results = json.loads(content)
    assert results.pop("seconds") > 0
    return results


def assert_same(folder, whole):
    files = made(folder)
    assert files.keys() == whole.keys()
    assert [name for name in files if files[name] != whole[name]] == []


@pytest.fixture(scope="module")
def serial(task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serial") / "grid"
    ran = go(folder, task, Serial())
    return SimpleNamespace(folder=folder, files=made(folder), **vars(ran))


def test_every_run_has_its_folder(serial):
    rows = {path.parent for path in serial.folder.rglob("seed-*")}
    expected = {serial.folder / row.folder for row in ROWS} | {serial.folder / "teachers"}
    assert rows == expected
    for folder in rows:
        for seed in range(2):
            assert (
                json.loads((folder / f"seed-{seed}" / "results.json").read_text())["seed"] == seed
            )
    assert [line.split()[0] for line in serial.lines[:-1]] == [f"{i}/16" for i in range(1, 17)]
    assert (serial.folder / "ablations.png").read_bytes().startswith(b"\x89PNG")


def test_the_rows_are_different_students(serial):
    for seed in range(2):
        hashes = {results(serial, row, seed)["sha256"] for row in ROWS}
        assert len(hashes) == len(ROWS)
    assert results(serial, FULL, 0)["sha256"] != results(serial, FULL, 1)["sha256"]


def results(serial, row, seed):
    return json.loads((serial.folder / row.folder / f"seed-{seed}" / "results.json").read_text())


def metrics(serial, row):
    """Return the lines of a row's metrics by phase, without evaluations."""
    path = serial.folder / row.folder / "seed-0" / "metrics.jsonl"
    found = {}
    for line in path.read_text("utf-8").splitlines():
        record = json.loads(line)
        if "dev" not in record:
            found.setdefault(record["phase"], []).append(record)
    return found


def terms(lines):
    return {name for line in lines for name in line} - {"phase", "step", "learning_rate", "loss"}


def test_what_each_row_trains(serial):
    general, middle, last = (STEPS[p] for p in ("general", "intermediate", "prediction"))
    layers = {"embedding", "hidden", "attention"}
    for row, steps, of_layers, of_last in (
        (FULL, (general, middle, last), layers, {"prediction"}),
        (Row("stages", "general"), (0, middle, last), layers, {"prediction"}),
        (Row("stages", "task"), (general, 0, middle + last), layers, {"hard_label"}),
        (Row("stages", "augmentation"), (general, middle, last), layers, {"prediction"}),
        (
            Row("losses", "attention"),
            (general, middle, last),
            layers - {"attention"},
            {"prediction"},
        ),
        (Row("losses", "prediction"), (general, middle, last), layers, {"hard_label"}),
        (Row("mapping", "bottom"), (general, middle, last), layers, {"prediction"}),
    ):
        phases = metrics(serial, row)
        names = ("general", "intermediate", "prediction")
        assert tuple(len(phases.get(name, [])) for name in names) == steps
        for name in names:
            values = {t for t in terms(phases.get(name, [])) if not t.startswith("norm.")}
            assert values in (set(), of_last if name == "prediction" else of_layers)
        saved = json.loads((serial.folder / row.folder / "seed-0" / "run.json").read_text())
        assert saved["mapping"] == ("bottom" if row.table == "mapping" else None)


def test_which_sentences_each_row_reads(serial):
    augmented = json.loads((serial.folder / "teachers" / "seed-0" / "results.json").read_text())
    assert augmented["sentences"] > 23
    for row in ROWS:
        plain = row.name in ("augmentation", "prediction")
        assert results(serial, row, 0)["sentences"] == (23 if plain else augmented["sentences"])
        folder = serial.folder / row.folder / "seed-0"
        # Those of the teacher's run, not made again.
        copied = "from" in json.loads((folder / "progress.json").read_text()).get("augment", {})
        assert copied == (folder / "augmented.jsonl").exists() == (row.name != "augmentation")


def test_a_seeds_teacher_is_trained_once(serial):
    for row in ROWS:
        assert set(metrics(serial, row)) <= {"general", "intermediate", "prediction"}
    for seed in range(2):
        folder = serial.folder / "teachers" / f"seed-{seed}"
        from_pretrained(folder / "teacher", SequenceClassifier)
        from_pretrained(folder / "phases" / "pretrain", MaskedLM)


def test_the_full_method_is_that_of_distill(serial, task, tmp_path):
    from npformer.jobs.distill import tinybert

    run = Run.create(tmp_path / "run", {})
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(tinybert, "compare", lambda job, models: {})
        monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
        full = settings(task, steps={**STEPS, "scratch": 1}, rates={"scratch": 1e-3})
        tinybert.distil(run, full, lambda line: None)
    run.log.close()
    ours = serial.folder / "full" / "seed-0" / "student" / "model.safetensors"
    assert ours.read_bytes() == (tmp_path / "run" / "student" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_process_pool_gives_the_same_bits(serial, task, tmp_path):
    with process_pool(2) as pool:
        ran = go(tmp_path / "grid", task, pool, at_once=2)
    assert_same(tmp_path / "grid", serial.files)
    assert ran.found["tables"] == serial.found["tables"]


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bits(serial, task, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        ran = go(tmp_path / "grid", task, client.get_executor())
    assert_same(tmp_path / "grid", serial.files)
    assert ran.found["tables"] == serial.found["tables"]


# --- interrupted --------------------------------------------------------------------------------


class Killed(BaseException):
    """What no ``except Exception`` catches."""


def test_killed_between_and_inside_runs_and_resumed(serial, task, tmp_path, monkeypatch):
    folder, real = tmp_path / "grid", runs.predict_logits
    for lives in (1, 2, 5):
        left = iter(range(lives))

        def predict(*args, left=left, **kwargs):
            # A run's last act but writing its results: all its phases are there.
            if next(left, None) is None:
                raise Killed
            return real(*args, **kwargs)

        monkeypatch.setattr(runs, "predict_logits", predict)
        with pytest.raises(Killed):
            go(folder, task, Serial())
    finished = {path: path.read_bytes() for path in folder.rglob("results.json")}
    assert len(finished) == 1 + 2 + 5
    monkeypatch.setattr(runs, "predict_logits", real)
    go(folder, task, Serial())
    assert_same(folder, serial.files)
    # The times in it show that no finished run was done again.
    assert all(path.read_bytes() == content for path, content in finished.items())


def test_a_run_cut_off_while_its_folder_was_made(serial, task, tmp_path):
    spec = Spec(str(tmp_path), settings(task), ROWS)
    spec.folder.mkdir(parents=True)
    (spec.folder / "run.json.tmp-1").write_text("{")
    execute(spec)
    assert_same(spec.folder, made(serial.folder / "teachers" / "seed-0"))


def command(folder, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "npformer", "ablate", "--out", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MPLBACKEND": "Agg"},
        start_new_session=True,
    )


CHOICE = [
    *("--stages", "general,task,augmentation", "--drop", "attention,prediction"),
    *("--mapping", "uniform,bottom", "--seeds", "2", "--jobs", "2"),
]


def wait_for(process, path):
    give_up = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_a_real_kill_leaves_no_process_and_can_be_resumed(serial, task, tmp_path):
    folder = tmp_path / "grid"
    process = command(folder, "--data", str(task), *OPTIONS, *CHOICE)
    wait_for(process, folder / "full" / "seed-0" / "phases")
    process.kill()
    process.communicate(timeout=60)
    # The pool's processes end by themselves, or they would write beside those of the next.
    give_up = time.monotonic() + 60
    while alive(process.pid) and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not alive(process.pid)
    assert not (folder / "results.json").exists()
    process = command(folder, "--resume", "--jobs", "1", "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert json.loads(out)["tables"] == serial.found["tables"]
    assert_same(folder, serial.files)


@pytest.mark.slow
def test_a_real_ctrl_c(serial, task, tmp_path):
    folder = tmp_path / "grid"
    process = command(folder, "--data", str(task), *OPTIONS, *CHOICE)
    wait_for(process, folder / "full" / "seed-0" / "phases")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"stopped; to go on: npformer ablate --out {folder} --resume" in err
    process = command(folder, "--resume")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "verdict: " in out
    assert_same(folder, serial.files)


# --- given teachers, bad input ------------------------------------------------------------------


def test_given_teachers_are_not_trained(serial, task, tmp_path):
    made = serial.folder / "teachers" / "seed-0"
    general = str(made / "phases" / "pretrain")
    for name, given, trained in (
        ("pretrained", {"teacher": general}, {"finetune"}),
        ("both", {"teacher": str(made / "teacher"), "general_teacher": general}, set()),
    ):
        # A model as teacher has other defaults: these are the ones of the grid.
        same = replace(settings(task), **given, rates=RATES["folder"])
        spec = Spec(str(tmp_path / name), same, ROWS)
        execute(spec)
        assert set(json.loads((spec.folder / "progress.json").read_text())) == {"augment", *trained}
        row = Row("losses", "attention")
        one = execute(replace(spec, row=row))
        assert one["sha256"] == results(serial, row, 0)["sha256"]


def test_a_run_that_fails_is_named(task, tmp_path, monkeypatch):
    def fail(spec):
        if spec.row == Row("losses", "attention"):
            raise InputError("learning rate: got 9")
        return {"measure": "accuracy", "dev": {"accuracy": 0.5}}

    monkeypatch.setattr(grid, "execute", fail)

    said = r"losses/attention/seed-\d: learning rate: got 9"
    with pytest.raises(InputError, match=said):
        go(tmp_path / "grid", task, Serial())


def test_no_more_runs_at_once_than_asked_for(task, tmp_path, monkeypatch):
    counts = []

    class Slow(Serial):
        def submit(self, function, /, *args, **kwargs):
            counts.append(1)
            return super().submit(function, *args, **kwargs)

    real = grid.wait

    def wait(running, **kwargs):
        counts.append(-len(running))
        return real(running, **kwargs)

    monkeypatch.setattr(grid, "wait", wait)
    monkeypatch.setattr(
        grid, "execute", lambda spec: {"measure": "accuracy", "dev": {"accuracy": 0.5}}
    )
    teachers = [Spec("out", settings(task, seed=seed), ROWS) for seed in range(3)]
    done = list(grid._finished(teachers, Slow(), 2))
    assert len(done) == 3 * (1 + len(ROWS))
    assert min(counts) == -2


@pytest.mark.parametrize(("seeds", "jobs"), [(1, 1), (2, 0)])
def test_too_few(seeds, jobs, task, tmp_path):
    run = Run.create(tmp_path / "grid", {})
    with pytest.raises(InputError, match=r"--seeds: got 1|--jobs: got 0"):
        ablate(
            run,
            settings(task),
            ROWS,
            seeds=seeds,
            executor=process_pool(jobs),
            say=lambda line: None,
        )
    run.log.close()


def test_without_the_full_method(task, tmp_path):
    run = Run.create(tmp_path / "grid", {})
    with pytest.raises(InputError, match="rows: got no full method"):
        ablate(run, settings(task), ROWS[1:], seeds=2, executor=Serial(), say=lambda line: None)
    run.log.close()

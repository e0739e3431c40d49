"""``npformer ablate``: what it prints, and what it refuses in one sentence."""

import json

import pytest
import tiny_task
from tiny_grid import OPTIONS, Serial

from npformer.cli import main
from npformer.jobs.ablate import grid
from npformer.jobs.distill import student, teacher

BAD = {
    "--drop beauty": "--drop: got 'beauty', expected one of embedding, hidden, attention",
    "--drop attention,attention": "--drop: got attention twice",
    "--drop attention+hidden+embedding": "leaves the general and intermediate phases without",
    "--drop ,": "got nothing to leave out",
    "--mapping uniform": "got nothing to leave out",
    "--mapping middle": "--mapping: got 'middle', expected one of uniform, top, bottom",
    "--stages finetune": "--stages: got 'finetune', expected one of general, task, augmentation",
    "--stages augmentation --copies 0": "--stages: got augmentation, of which there is none",
    "--mapping bottom --student 4x8x2": "--mapping: got bottom, which for a student of 4 and",
    "--mapping top --student 1x8x2": "--mapping: got top, which for a student of 1 and",
    "--seeds 1": "--seeds: got 1, expected at least 2, for an interval",
    "--seeds 0": "--seeds: got 0",
    "--jobs 0": "--jobs: got 0, expected at least 1",
    "--jobs -2": "--jobs: got -2",
    "--teacher nowhere": "--teacher: got nowhere",
    "--student 3x8x2": "layers",
    "--drop hidden --weight attention=0 --weight embedding=0": "for the general phase",
    "--steps warmup=3": "--steps: got phase 'warmup'",
    "--resume": "--resume: got ",
}


@pytest.fixture
def call(capsys):
    """Return a function that runs the command in this process: code, stdout, stderr."""

    def run(*argv):
        capsys.readouterr()
        code = main(["ablate", *(str(a) for a in argv)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture
def in_process(monkeypatch):
    real = grid.process_pool

    def pool(jobs):
        real(jobs).shutdown()  # it looks at the number
        return Serial()

    monkeypatch.setattr(grid, "process_pool", pool)


@pytest.fixture
def task(tmp_path):
    return tiny_task.write_task(tmp_path / "task")


@pytest.mark.parametrize("options", BAD)
def test_options(options, task, tmp_path, call, in_process, monkeypatch):
    def no_training(*args, **kwargs):
        raise AssertionError("trained")

    for module in (teacher, student):
        monkeypatch.setattr(module, "run_phase", no_training)
    before = tiny_task.contents(tmp_path)
    code, out, err = call("--data", task, *OPTIONS, "--out", tmp_path / "grid", *options.split())
    assert (code, out) == (2, "")
    assert err.startswith("npformer ablate: ")
    assert err.count("\n") == 1
    assert BAD[options] in err
    assert tiny_task.contents(tmp_path) == before
    assert not (tmp_path / "grid").exists()


@pytest.mark.slow
def test_bad_input_that_only_another_process_sees(task, tmp_path, call):
    options = ["--mapping", "bottom", "--student", "4x8x2"]
    code, out, err = call("--data", task, *OPTIONS, "--out", tmp_path / "grid", *options)
    assert (code, out) == (2, "")
    assert err.startswith("npformer ablate: --mapping: got bottom, which for a student of 4")
    assert err.count("\n") == 1
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize("options", ["--stages general", "--stages task", "--drop prediction"])
def test_rows_that_a_regression_has_and_has_not(options, tmp_path, call, in_process):
    data = tiny_task.write_task(tmp_path / "task", "regression")
    argv = ["--data", data, *OPTIONS, "--out", tmp_path / "grid", "--seeds", 2, *options.split()]
    code, out, err = call(*argv)
    if options == "--stages general":
        assert code == 0
        assert out.startswith("pearson x 100 on dev")
    else:
        assert code == 2
        assert "for a regression, expected it for classes only: it learns from hard labels" in err
        assert not (tmp_path / "grid").exists()


def test_what_it_prints(task, tmp_path, call, in_process):
    argv = ["--data", task, *OPTIONS, "--out", tmp_path / "grid", "--seeds", 2]
    code, out, err = call(*argv, "--drop", "attention, hidden", "--stages", "general")
    assert code == 0
    assert "stages, table 2 of the paper" in out
    assert "loss terms, table 3 of the paper" in out
    assert "table 4" not in out
    assert out.count("\nverdict: ") == 2
    assert "1/10 teachers/seed-0: accuracy" in err
    assert "10/10" in err
    assert out.splitlines()[-1].endswith(f"s; everything is in {tmp_path / 'grid'}")
    before = tiny_task.contents(tmp_path / "grid")
    # Finished runs are read; other numbers of processes make no difference.
    code, again, _ = call("--out", tmp_path / "grid", "--resume", "--jobs", 7, "--json")
    assert code == 0
    assert json.loads(again) == json.loads(before["results.json"])
    assert tiny_task.contents(tmp_path / "grid") == before


def test_without_a_choice_all_tables(task, tmp_path, call, in_process):
    code, out, _ = call(
        "--data", task, *OPTIONS, "--out", tmp_path / "grid", "--seeds", 2, "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert [len(table["rows"]) for table in found["tables"].values()] == [4, 6, 3]
    assert found["settings"]["shards"] == 1
    assert found["seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seeds", 4], "--seeds: got 4, expected what the run was started with, 2"),
        (["--drop", "hidden"], "--drop: got ['hidden'], expected what the run was started with"),
        (["--batch-size", 6], "--batch-size: got 6"),
        (["--mapping", "top"], "--mapping: got ['top']"),
    ],
)
def test_resume_with_other_options(options, said, task, tmp_path, call, in_process, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    argv = ["--data", task, *OPTIONS, "--out", tmp_path / "grid", "--seeds", 2]
    with monkeypatch.context() as patched:
        patched.setattr(grid, "_finished", stop)
        code, _, err = call(*argv, "--drop", "attention")
    assert code == 130
    assert f"stopped; to go on: npformer ablate --out {tmp_path / 'grid'} --resume" in err
    before = tiny_task.contents(tmp_path)
    code, out, err = call("--out", tmp_path / "grid", "--resume", *options)
    assert (code, out) == (2, "")
    assert said in err
    assert tiny_task.contents(tmp_path) == before


def test_resume_of_what_is_no_grid(tmp_path, call):
    assert "--resume: got no --out" in call("--resume")[2]
    (tmp_path / "run.json").write_text('{"seed": 0}')
    code, _, err = call("--out", tmp_path, "--resume")
    assert code == 2
    assert "expected a run of npformer ablate" in err


def test_an_out_that_is_not_empty(task, call):
    code, _, err = call("--data", task, *OPTIONS, "--out", task)
    assert code == 2
    assert "not empty, expected a new folder" in err

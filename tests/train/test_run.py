"""A run's folder: new or resumed, never somebody else's."""

import errno

import pytest
from test_checkpoint import state

from npformer.checks import InputError
from npformer.train import run as module
from npformer.train.checkpoint import TrainerState, save_state
from npformer.train.run import Run, read_settings, write_json


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


def test_a_run_without_a_step_is_discarded_and_one_with_a_step_is_not(tmp_path):
    Run.create(tmp_path / "none", {}).discard()
    assert not (tmp_path / "none").exists()
    outer = Run.create(tmp_path / "seeds", {})
    started(tmp_path / "seeds" / "seed-0").log.close()
    outer.discard()
    assert (tmp_path / "seeds" / "seed-0" / "progress.json").exists()

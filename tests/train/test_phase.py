"""A phase: its schedule, its checkpoints, Ctrl-C, and going on where it was left."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
from models import small

from npformer.checks import InputError
from npformer.data.batches import Batch
from npformer.optim import AdamW
from npformer.train import phase as module
from npformer.train.checkpoint import load_state
from npformer.train.objective import SupervisedObjective
from npformer.train.phase import Phase, run_phase
from npformer.train.run import Run

PHASE = Phase(
    "finetune",
    steps=7,
    learning_rate=0.05,
    optimizer=AdamW(),
    seed=(4, 2),
    evaluate_every=2,
    checkpoint_every=3,
)


def batches(start):
    for i in range(start, PHASE.steps):
        labels = np.random.default_rng(i).integers(0, small.CLASSES, 4)
        yield Batch(*small.inputs(seed=i), labels)


def model():
    return small.make("sequence", dtype=np.float32, dropout=0.2)


def go(run, one, phase=PHASE, wrap=None):
    objective = SupervisedObjective(one)
    if wrap is not None:
        objective = wrap(objective)

    def evaluate():
        # Up and down, so that the best is neither the first nor the last.
        return {"accuracy": float(np.sin(1e3 * one.params["pooler.w"].sum()))}

    with run_phase(run, phase, one.params, objective, batches, evaluate) as progress:
        for update in progress.updates:
            progress.record(update)
    return progress.info


class Killed(BaseException):
    pass


def killer(at):
    """Wrap an objective so that it dies in its ``at``-th step (two shards a step)."""
    calls = []

    def wrap(objective):
        def wrapped(batch, counts, rng):
            calls.append(0)
            if len(calls) > 2 * (at - 1):
                raise Killed
            return objective(batch, counts, rng)

        return wrapped

    return wrap


def whole(folder, phase=PHASE):
    run, one = Run.create(folder, {}), model()
    info = go(run, one, phase)
    run.log.close()
    info.pop("seconds")
    return one, info, (folder / "metrics.jsonl").read_text()


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 7])
def test_killed_and_resumed_is_uninterrupted(tmp_path, at, keep_best):
    phase = replace(PHASE, keep_best=keep_best)
    expected, info, metrics = whole(tmp_path / "whole", phase)
    run = Run.create(tmp_path / "cut", {})
    with pytest.raises(Killed):
        go(run, model(), phase, killer(at))
    run.log.close()
    run, one = Run.resume(tmp_path / "cut"), model()
    again = go(run, one, phase)
    run.log.close()
    again.pop("seconds")
    assert again == info
    assert (tmp_path / "cut" / "metrics.jsonl").read_text() == metrics
    for name, p in expected.params.items():
        assert p.tobytes() == one.params[name].tobytes(), name


def test_keep_best_ends_with_the_best_evaluation(tmp_path):
    _, last, metrics = whole(tmp_path / "last")
    one, best, _ = whole(tmp_path / "best", replace(PHASE, keep_best=True))
    seen = [r["dev"]["accuracy"] for r in map(json.loads, metrics.splitlines()) if "dev" in r]
    assert len(seen) == 4
    assert last["accuracy"] == seen[-1]
    assert best["accuracy"] == max(seen) > seen[-1]
    assert float(np.sin(1e3 * one.params["pooler.w"].sum())) == max(seen)


def test_metrics_have_a_line_for_each_step_and_each_evaluation(tmp_path):
    _, _, metrics = whole(tmp_path / "run")
    records = [json.loads(line) for line in metrics.splitlines()]
    steps = [r for r in records if "loss" in r]
    assert [r["step"] for r in steps] == [1, 2, 3, 4, 5, 6, 7]
    assert [r["step"] for r in records if "dev" in r] == [2, 4, 6, 7]
    assert steps[0].keys() == {"phase", "step", "learning_rate", "loss", "norm.loss"}


def test_a_checkpoint_is_of_its_step(tmp_path, monkeypatch):
    kept, run, one = [], Run.create(tmp_path, {}), model()
    save_state = module.save_state

    def save(path, state):
        save_state(path, state)
        lines = (tmp_path / "metrics.jsonl").read_bytes()[: state.numbers["metrics_length"]]
        kept.append((state.optimizer.step, json.loads(lines.splitlines()[-1])["step"]))
        for name, p in load_state(path).params.items():
            assert p.tobytes() == one.params[name].tobytes()

    monkeypatch.setattr(module, "save_state", save)
    go(run, one)
    run.log.close()
    assert kept == [(3, 3), (6, 6), (7, 7)]


def interrupter(at):
    calls = []

    def wrap(objective):
        def wrapped(batch, counts, rng):
            calls.append(0)
            if len(calls) == 2 * at:
                os.kill(os.getpid(), signal.SIGINT)
            return objective(batch, counts, rng)

        return wrapped

    return wrap


@pytest.mark.parametrize("at", [1, 4, 7])
def test_ctrl_c_saves_the_step_it_came_in(tmp_path, at):
    expected, info, metrics = whole(tmp_path / "whole")
    handler = signal.getsignal(signal.SIGINT)
    run = Run.create(tmp_path / "cut", {})
    with pytest.raises(KeyboardInterrupt):
        go(run, model(), wrap=interrupter(at))
    run.log.close()
    assert signal.getsignal(signal.SIGINT) is handler
    left = load_state(tmp_path / "cut" / "state.safetensors")
    # The signal may be seen one step later; the last step has no later one.
    assert left.optimizer.step in {at, min(at + 1, PHASE.steps)}
    run, one = Run.resume(tmp_path / "cut"), model()
    again = go(run, one)
    run.log.close()
    again.pop("seconds")
    assert again == info
    assert (tmp_path / "cut" / "metrics.jsonl").read_text() == metrics
    for name, p in expected.params.items():
        assert p.tobytes() == one.params[name].tobytes()


def test_a_phase_in_another_thread_leaves_signals_alone(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(whole, tmp_path / "run").result()


def test_the_state_of_another_phase_is_not_taken_up(tmp_path):
    whole(tmp_path / "run")
    run, one = Run.resume(tmp_path / "run"), model()
    go(run, one, replace(PHASE, name="other"))
    expected, _, _ = whole(tmp_path / "other", replace(PHASE, name="other"))
    run.log.close()
    assert one.params["pooler.w"].tobytes() == expected.params["pooler.w"].tobytes()


def test_another_seed_is_another_run(tmp_path):
    one, _, _ = whole(tmp_path / "one")
    two, _, _ = whole(tmp_path / "two", replace(PHASE, seed=(4, 3)))
    assert (one.params["pooler.w"] != two.params["pooler.w"]).any()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    run, save_state, calls = Run.create(tmp_path, {}), module.save_state, []

    def save(path, state):
        calls.append(0)
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(path))
        save_state(path, state)

    monkeypatch.setattr(module, "save_state", save)
    with pytest.raises(OSError, match="No space left"):
        go(run, model())
    run.log.close()
    assert load_state(tmp_path / "state.safetensors").optimizer.step == 3


# --- the learning rate -----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 9])
def test_few_steps_have_no_warm_up_and_every_step_moves(steps):
    rates = [replace(PHASE, steps=steps, learning_rate=2.0).rate(s) for s in range(steps)]
    assert rates == pytest.approx([2.0 * (steps - s) / steps for s in range(steps)])
    assert min(rates) > 0


def test_many_steps_warm_up_for_a_tenth_and_fall_to_zero():
    phase = replace(PHASE, steps=100, learning_rate=2.0)
    rates = [phase.rate(s) for s in (0, 5, 10, 55, 99)]
    assert rates == pytest.approx([0.0, 1.0, 2.0, 1.0, 2.0 / 90])


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_a_rate_is_never_above_the_peak_or_below_zero(steps, warmup):
    phase = replace(PHASE, steps=steps, learning_rate=2.0, warmup=warmup)
    assert all(0 <= phase.rate(s) <= 2.0 for s in range(steps))


def test_a_diverged_phase_is_an_error(tmp_path):
    run = Run.create(tmp_path, {})
    with pytest.raises(InputError, match="learning rate"):
        go(run, model(), replace(PHASE, learning_rate=1e32))
    run.log.close()

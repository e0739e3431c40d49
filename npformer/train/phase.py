"""One phase of training: the loop, with checkpoints, metrics, evaluation and a progress bar."""

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from npformer.optim import (
    Optimizer,
    clip_by_global_norm,
    clip_by_tensor_norm,
    linear_schedule,
)
from npformer.train.checkpoint import TrainerState, save_state
from npformer.train.loop import StepMetrics, train
from npformer.train.objective import Objective
from npformer.train.run import Run
from npformer.types import Params

Evaluate = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Phase:
    """How a phase trains; the batches, the objective and the parameters come beside it."""

    name: str
    steps: int
    learning_rate: float  # times what the schedule says; the peak of the usual one
    optimizer: Optimizer
    seed: tuple[int, ...]  # of the dropout masks
    schedule: Callable[[int], float] | None = None  # None: up and down in straight lines
    warmup: float = 0.1  # share of the steps, where the rate rises in a straight line
    clip: str = "global"  # or "per_tensor"
    max_norm: float = 1.0
    shards: int = 2
    evaluate_every: int = 100
    checkpoint_every: int = 200
    keep_best: bool = False  # end with the weights of the best evaluation, not the last

    def rate(self, step: int) -> float:
        """Return the learning rate after ``step`` updates."""
        if self.schedule is not None:
            return self.learning_rate * self.schedule(step)
        warmup = int(self.warmup * self.steps)
        return self.learning_rate * linear_schedule(step, warmup=warmup, total=self.steps)

    @property
    def clipper(self) -> Callable[[Params], float | dict[str, float]]:
        """Return the function that scales gradients in place."""
        if self.clip == "global":
            return partial(clip_by_global_norm, max_norm=self.max_norm)
        return partial(clip_by_tensor_norm, max_norm=self.max_norm)


class Progress(NamedTuple):
    """A phase under way."""

    updates: Iterator[StepMetrics]  # those of `train` that are left to do
    record: Callable[[StepMetrics], None]  # to be called after each of them
    info: dict[str, float]  # what came of the phase; empty until it has ended


@contextmanager
def run_phase(
    run: Run,
    phase: Phase,
    params: Params,
    objective: Objective,
    batches: Callable[[int], Iterable[Any]],
    evaluate: Evaluate | None = None,
) -> Iterator[Progress]:
    """Train ``params`` in place, from the start or from where the run was left.

    The loop stands where the phase is begun::

        with run_phase(...) as progress:
            for update in progress.updates:
                progress.record(update)

    Parameters
    ----------
    run : Run
    phase : Phase
    params : dict
        The arrays that this phase trains, written in place.
    objective : Objective
    batches : callable
        ``batches(step)`` gives the batches from that step on.
    evaluate : callable, optional
        Its first value is what `Phase.keep_best` compares.

    Yields
    ------
    Progress
        Whose ``info`` is in the end the last evaluation (with ``keep_best`` the best one), the
        steps, and the seconds taken since the phase was started or resumed.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, once the state is saved.
    """
    from tqdm import tqdm

    started = time.perf_counter()
    state, best, seen = phase.optimizer.init(params), {}, {}
    left = run.state_of(phase.name)
    if left is not None:
        for name, array in left.params.items():
            params[name][...] = array
        state, best, seen = left.optimizer, dict(left.extra), dict(left.numbers["seen"])
    updates = train(
        objective,
        params,
        phase.optimizer,
        state,
        batches(state.step),
        learning_rate=phase.rate,
        clip=phase.clipper,
        seed=phase.seed,
        shards=phase.shards,
    )
    with (
        tqdm(total=phase.steps, initial=state.step, desc=f"{phase.name:>12}", disable=None) as bar,
        _interrupts() as interrupted,
    ):

        def record(update: StepMetrics) -> None:
            """Write the update down; evaluate, and save the state, when it is time to."""
            nonlocal best, seen
            step, rate, values, norms = update
            line = {"phase": phase.name, "step": step, "learning_rate": rate, **values}
            run.log.write(line | {f"norm.{name}": n for name, n in norms.items()})
            last = step == phase.steps
            if evaluate is not None and (step % phase.evaluate_every == 0 or last):
                measured = evaluate()
                run.log.write({"phase": phase.name, "step": step, "dev": measured})
                key = next(iter(measured))
                if not phase.keep_best or measured[key] > seen.get(key, -float("inf")):
                    seen = measured
                    if phase.keep_best:
                        best = {name: array.copy() for name, array in params.items()}
            bar.set_postfix(
                loss=f"{values['loss']:.4f}",
                **{name: f"{v:.4f}" for name, v in list(seen.items())[:1]},
            )
            bar.update()
            stop = interrupted()
            if stop or last or step % phase.checkpoint_every == 0:
                numbers = {"metrics_length": run.log.length, "seen": seen}
                save_state(
                    run.folder / "state.safetensors",
                    TrainerState(phase.name, params, state, numbers, best),
                )
            if stop:
                raise KeyboardInterrupt

        info: dict[str, float] = {}
        yield Progress(updates, record, info)
    for name, array in best.items():
        params[name][...] = array
    info |= seen | {"steps": phase.steps, "seconds": time.perf_counter() - started}


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C into a question that is asked between two steps, never inside one."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)

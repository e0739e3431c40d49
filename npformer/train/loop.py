"""The training loop: a generator of metrics, with nothing hidden and no callbacks."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any, NamedTuple

from npformer.checks import InputError
from npformer.optim import Optimizer, OptimizerState
from npformer.train.objective import Objective, add_results
from npformer.train.parallel import shard_threads
from npformer.types import Params


class StepMetrics(NamedTuple):
    """What one update had to say."""

    step: int  # updates done, this one included
    learning_rate: float
    values: dict[str, float]  # "loss" is the weighted total, the others single terms
    norms: dict[str, float]  # of each term's gradient at the outputs of the model


def train(
    objective: Objective,
    params: Params,
    optimizer: Optimizer,
    state: OptimizerState,
    batches: Iterable[Any],
    *,
    learning_rate: Callable[[int], float],
    clip: Callable[[Params], float | dict[str, float]],
    seed: Sequence[int],
    shards: int = 2,
) -> Iterator[StepMetrics]:
    """Train ``params``, one update for each batch.

    Parameters
    ----------
    objective : Objective
        Its gradients must cover ``params``; gradients of other parameters are dropped, and
        those parameters neither move nor decay.
    params : dict
        The arrays to train, written in place.
    optimizer, state : Optimizer, OptimizerState
        The state is written in place; its step is the number of updates done before.
    batches : iterable of Batch or PairBatch
        Those still to come.
    learning_rate : callable
        Of the number of updates done before.
    clip : callable
        Scales gradients in place and returns the norm they had, of all or of each.
    seed : sequence of int
        Shard i of step s drops out with ``default_rng([*seed, s, i])``.
    shards : int
        See `npformer.train.parallel.shard_threads`.

    Yields
    ------
    StepMetrics
        After each update. To stop, stop asking.

    Raises
    ------
    InputError
        If the loss or a gradient is no longer finite.
    """

    with shard_threads(shards) as run:
        for batch in batches:
            step = state.step
            results = run(objective, batch, [*seed, step])
            values, squared_norms, all_grads = reduce(add_results, results)
            grads = {name: all_grads[name] for name in params}
            length = clip(grads)
            rate = learning_rate(step)
            lengths = length.values() if isinstance(length, dict) else [length]
            if not all(map(math.isfinite, (*values.values(), *squared_norms.values(), *lengths))):
                raise InputError(
                    f"learning rate: got {rate:.3g}, expected one at which the loss and its "
                    f"gradient stay finite (step {step + 1} gave a loss of {values['loss']:.3g})"
                )
            optimizer.update(params, grads, state, rate)
            del results, all_grads, grads  # gone when the next update begins to make its own
            norms = {name: math.sqrt(n) for name, n in squared_norms.items()}
            yield StepMetrics(state.step, rate, values, norms)

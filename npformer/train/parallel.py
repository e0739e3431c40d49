"""Two cores: a batch is cut into shards, each of which runs in a thread of its own."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from itertools import repeat
from typing import Any

import numpy as np

from npformer.checks import InputError
from npformer.train.objective import Objective, StepResult

RunShards = Callable[[Objective, Any, Sequence[int] | None], Iterator[StepResult]]


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which the matrix library uses one thread."""
    return blas_threads(1)


def blas_threads(threads: int) -> AbstractContextManager[Any]:
    """Return a context in which the matrix library uses so many threads."""
    limits: AbstractContextManager[Any] = _thread_pools().limit(limits=threads, user_api="blas")
    return limits


def blas_name() -> str:
    """Return which matrix library NumPy uses, its version and the kernels it chose."""
    found = {
        " ".join(
            str(pool[key]) for key in ("internal_api", "version", "architecture") if key in pool
        )
        for pool in _thread_pools().info()
        if pool["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or "unknown"


@cache
def _thread_pools() -> Any:
    # Looking for the libraries takes milliseconds: as long as a small model takes for a batch.
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def shard_threads(shards: int) -> Iterator[RunShards]:
    """Give a function that runs an objective on a batch in ``shards`` threads.

    Inside the context the matrix library uses one thread, so that the shards do not compete
    with its own threads. Results come in the order of the shards: their sum depends on the
    number of shards, in the last bits, but not on timing. NumPy releases Python's lock in
    its loops and matrix products, which is why threads are enough.

    Parameters
    ----------
    shards : int
        At least 1. A configuration value and not the machine's number of cores, so that a
        run gives the same bits on any machine with the same matrix library.

    Yields
    ------
    run : callable
        ``run(objective, batch, seed) -> iterator of StepResult``, to be added up, for any batch
        with ``counts`` and ``split`` (`Batch`, `PairBatch`). Shard i draws its dropout masks from
        ``default_rng([*seed, i])``; ``seed`` None means no dropout.
    """
    if shards < 1:
        raise InputError(f"shards: got {shards}, expected at least 1")
    # Whoever asked looks at the loss: a warning from a thread would only come first.
    quiet = partial(np.seterr, over="ignore", invalid="ignore")
    with one_blas_thread(), ThreadPoolExecutor(shards, initializer=quiet) as pool:

        def run(
            objective: Objective, batch: Any, seed: Sequence[int] | None
        ) -> Iterator[StepResult]:
            parts = batch.split(shards)
            rngs = [
                None if seed is None else np.random.default_rng([*seed, shard])
                for shard in range(len(parts))
            ]
            return pool.map(objective, parts, repeat(batch.counts), rngs)

        yield run

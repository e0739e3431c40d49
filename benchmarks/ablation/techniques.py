"""Each technique's plain alternative, put in its place in a process that then measures it.

They compute the same numbers; the first steps are compared before anything is timed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks import tricks
from npformer.data.batches import Batch
from npformer.ops.fast import ERF_FIT
from npformer.train.objective import Objective, StepResult
from npformer.train.parallel import RunShards
from npformer.types import FloatArray


def returned_memory() -> None:
    """Freed arrays go back to the system, and fresh ones are paid for page by page."""
    _put(lambda: False, "benchmarks.contenders.ours.keep_freed_memory")


def one_shard() -> None:
    """The batch is not split: only the matrix library uses both cores."""

    @contextmanager
    def whole_batch(_: int) -> Iterator[RunShards]:
        def run(
            objective: Objective, batch: Batch, seed: Sequence[int] | None
        ) -> Iterator[StepResult]:
            rng = None if seed is None else np.random.default_rng([*seed, 0])
            return iter([objective(batch, batch.counts, rng)])

        yield run

    _put(whole_batch, "benchmarks.contenders.ours.shard_threads")


def queries_first() -> None:
    """Scores lie in memory row by row, and the softmax sums along rows."""
    _put(tricks.dot_rows, "npformer.ops.attention.dot_rows")


def einsum() -> None:
    """Scores by einsum, which does not call the matrix library for them."""

    def product(a: FloatArray, b: FloatArray) -> Any:
        return np.einsum("...tk,...sk->...ts", a, b)

    _put(product, "npformer.ops.attention.dot_rows")


def softmax_in_fresh_arrays() -> None:
    """A fresh array for each operation of attention's softmax."""
    _put(tricks.exp_kept, "npformer.ops.softmax.exp_kept")


def gelu_as_an_expression() -> None:
    """A fresh array for each operation of GELU."""

    def normal_cdf(x: FloatArray) -> Any:
        polynomial = np.zeros_like(x)
        for coefficient in reversed(ERF_FIT):
            polynomial = polynomial * (x * x) + coefficient
        return 0.5 * (1 + np.tanh(x * polynomial))

    _put(normal_cdf, "npformer.ops.activations.normal_cdf")
    _put(tricks.normal_pdf, "npformer.ops.activations.normal_pdf")


def unblocked_gelu() -> None:
    """GELU goes over a whole array with each operation, through memory instead of cache."""
    _put(1 << 62, "npformer.ops.fast.BLOCK")


def sums_as_sums() -> None:
    """Sums over rows and means by NumPy's reductions instead of matrix-vector products."""
    _put(tricks.sum_rows, "npformer.ops.linear.sum_rows", "npformer.ops.layernorm.sum_rows")
    _put(tricks.mean, "npformer.ops.layernorm.mean")


def add_at() -> None:
    """The gradient of the embedding tables by `numpy.add.at`."""
    _put(tricks.sum_by_id, "npformer.ops.embedding.sum_by_id")


def unblocked_adamw() -> None:
    """AdamW goes over a whole array with each operation, through memory instead of cache."""
    _put(1 << 62, "npformer.optim.optimizer.BLOCK")


def _put(value: Any, *names: str) -> None:
    """Bind dotted names to ``value``, as long as each is bound already."""
    for name in names:
        module, _, attribute = name.rpartition(".")
        owner = import_module(module)
        getattr(owner, attribute)
        setattr(owner, attribute, value)


TECHNIQUES: dict[str, Callable[[], None]] = {
    "freed memory kept": returned_memory,
    "a shard for each core": one_shard,
    "scores with the keys first": queries_first,
    "matrix products, not einsum": einsum,
    "softmax in place": softmax_in_fresh_arrays,
    "GELU in place": gelu_as_an_expression,
    "GELU in blocks": unblocked_gelu,
    "sums as matrix-vector products": sums_as_sums,
    "embedding gradient by sorting": add_at,
    "AdamW in blocks": unblocked_adamw,
}

"""What a computation asks of the machine, counted and not timed.

A `Traced` array reports every NumPy function that touches it or anything computed from it. The
counts are the same on every machine and at every load, so a test can hold them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

LARGE = 1 << 20  # bytes: what is smaller stays in a core's own cache


@dataclass
class Counts:
    """What was counted."""

    products: int = 0  # matrix products, one for each call, whatever its number of matrices
    flops: int = 0  # 2 M N K for each product of an (M, K) with a (K, N) matrix
    large: int = 0  # fresh arrays of `LARGE` bytes or more
    moved: int = 0  # bytes of the arrays that elementwise work and reductions read and write


class Traced(np.ndarray[Any, Any]):
    """An array that adds to ``counts`` whatever is computed from it.

    A copy that no function asks for, such as that of a reshape, is not seen here; peak memory
    (`tracemalloc`) sees it.
    """

    counts: Counts

    def __array_finalize__(self, made_from: Any) -> None:
        self.counts = getattr(made_from, "counts", Counts())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        outputs = kwargs.pop("out", None)
        if outputs is not None:
            kwargs["out"] = tuple(_plain(a) for a in outputs)
        result = getattr(ufunc, method)(*(_plain(a) for a in inputs), **kwargs)
        counts = _counts_of((*inputs, *(outputs or ())))
        if ufunc is np.matmul:
            counts.products += 1
            counts.flops += 2 * result.size * inputs[0].shape[-1]
        else:
            counts.moved += _bytes((*inputs, result))
        if outputs is not None:
            return outputs[0]
        counts.large += _bytes([result]) >= LARGE
        return trace(result, counts)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        result = function(*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()})
        counts = _counts_of(args)
        if function is not np.empty_like:  # which moves nothing
            counts.moved += _bytes((*args, result))
        counts.large += _bytes([result]) >= LARGE
        return trace(result, counts)


def trace(result: Any, counts: Counts) -> Any:
    """Return a view of an array whose use is counted, or of each in a tuple; the rest as it is."""
    if isinstance(result, tuple):
        return tuple(trace(part, counts) for part in result)
    if not isinstance(result, np.ndarray):
        return result
    view = result.view(Traced)
    view.counts = counts
    return view


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.view(np.ndarray) if isinstance(value, Traced) else value


def _leaves(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, list) else [value]


def _bytes(values: Iterable[Any]) -> int:
    return sum(a.nbytes for a in _leaves(values) if isinstance(a, np.ndarray))


def _counts_of(values: Iterable[Any]) -> Counts:
    return next(a.counts for a in _leaves(values) if isinstance(a, Traced))

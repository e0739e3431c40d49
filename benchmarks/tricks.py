"""``python -m benchmarks.tricks``: each function of `npformer.ops.fast` beside its plain form.

The two run in turn, on the arrays of a training step of TinyBERT-4 (32 texts of 64 tokens), on one
core; the shortest time of each counts. MiB is what a call holds at most, its result included.
"""

import math
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.arguments import Parser, positive
from benchmarks.report import table
from npformer.ops import fast
from npformer.train.malloc import keep_freed_memory

B, T, D, F, H, V = 32, 64, 312, 1200, 12, 30522


def mean(x: Any) -> Any:
    """NumPy's own reduction."""
    return x.mean(axis=-1, keepdims=True)


def sum_rows(x: Any) -> Any:
    """NumPy's own reduction."""
    return x.reshape(-1, x.shape[-1]).sum(axis=0)


def dot_rows(a: Any, b: Any) -> Any:
    """The result lies in memory as it is read, row by row."""
    return a @ b.swapaxes(-1, -2)


def exp_kept(scores: Any, keep: Any) -> Any:
    """A fresh array for each operation."""
    low = scores if keep is None else fast.hide(scores, keep)
    weights = np.exp(low - low.max(axis=-1, keepdims=True))
    return weights if keep is None else weights * keep


def exp_over(x: Any, level: Any) -> Any:
    """A fresh array for the difference."""
    return np.exp(x - level)


def sum_by_id(x: Any, ids: Any, number: int) -> Any:
    """One row at a time."""
    sums = np.zeros((number, x.shape[-1]), x.dtype)
    np.add.at(sums, ids, x)
    return sums


def normal_cdf(x: Any) -> Any:
    """The error function entry by entry."""
    erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2))
    return 0.5 * (1 + np.asarray(erf, x.dtype))


def normal_pdf(x: Any) -> Any:
    """A fresh array for the exponent, and a warning where it is infinite."""
    return np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


class Trick(NamedTuple):
    """A function of `npformer.ops.fast`, its plain form, and what they are given."""

    fast: Callable[..., Any]
    plain: Callable[..., Any]
    arguments: tuple[Any, ...]


def tricks() -> list[Trick]:
    """Return all of them."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape, np.float32)

    x, inner = normal(B, T, D), normal(B, T, F)
    q, k = normal(B, H, T, D // H), normal(B, H, T, D // H)
    scores, keep = fast.dot_rows(q, k), np.arange(T) < rng.integers(T // 2, T, (B, 1, 1, 1))
    return [
        Trick(fast.mean, mean, (x,)),
        Trick(fast.sum_rows, sum_rows, (x,)),
        Trick(fast.dot_rows, dot_rows, (q, k)),
        Trick(fast.exp_kept, exp_kept, (scores, keep)),
        Trick(fast.exp_over, exp_over, (scores, scores.max(axis=-1, keepdims=True))),
        Trick(fast.sum_by_id, sum_by_id, (x, rng.integers(0, V, (B, T)), V)),
        Trick(fast.normal_cdf, normal_cdf, (inner,)),
        Trick(fast.normal_pdf, normal_pdf, (inner,)),
    ]


def fresh(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return copies that lie in memory as the arrays do: a trick may write over them."""
    return tuple(np.copy(a, order="K") if isinstance(a, np.ndarray) else a for a in arguments)


def in_turn(
    functions: Sequence[Callable[..., Any]], arguments: tuple[Any, ...], rounds: int
) -> Any:
    """Return the shortest time of each function."""
    shortest = [math.inf] * len(functions)
    for _ in range(rounds):
        for i, function in enumerate(functions):
            given = fresh(arguments)
            start = time.perf_counter()
            function(*given)
            shortest[i] = min(shortest[i], time.perf_counter() - start)
    return shortest


def peak(function: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    """Return the MiB that a call holds at most, its result included."""
    given = fresh(arguments)
    tracemalloc.start()
    function(*given)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / 2**20


def softmax_after(dot: Callable[..., Any]) -> Callable[..., Any]:
    """Return scores and their softmax: where `dot_rows` pays is behind it."""

    def weights(q: Any, k: Any) -> Any:
        probs = fast.exp_kept(dot(q, k), None)
        return probs / probs.sum(axis=-1, keepdims=True)

    return weights


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return 0."""
    parser = Parser(prog="python -m benchmarks.tricks", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=30)
    rounds = parser.parse_args(argv).rounds
    keep_freed_memory()
    rows = [["", "fast ms", "plain ms", "times", "fast MiB", "plain MiB"]]
    with threadpool_limits(1):
        for trick in tricks():
            functions = [trick.fast, trick.plain]
            name = trick.fast.__name__
            if trick.fast is fast.dot_rows:
                functions, name = [softmax_after(f) for f in functions], f"{name}, softmax"
            short, long = in_turn(functions, trick.arguments, rounds)
            least, most = (peak(function, trick.arguments) for function in functions)
            times = [f"{1e3 * short:.3f}", f"{1e3 * long:.3f}", f"{long / short:.1f}"]
            rows.append([name, *times, f"{least:.1f}", f"{most:.1f}"])
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What was measured, and the arithmetic on it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.case import Case, Values, flops
from benchmarks.libraries import LIBRARIES, OURS, Contender

QUIET = 0.2  # cores that others may keep busy
TOLERANCE = 1e-3  # relative; float32 in another order of sums differs by about 1e-6


@dataclass
class Measured:
    """One contender's figures in one case."""

    contender: Contender
    rounds: list[list[float]]  # seconds of each step, round by round
    others: list[float] = field(default_factory=list)  # cores busy elsewhere, round by round
    memory: int = 0  # bytes, the peak above imports
    values: list[Values] = field(default_factory=list)  # of the first steps
    about: dict[str, str] = field(default_factory=dict)

    @property
    def minimum(self) -> float:
        """The shortest step, in seconds."""
        return min(t for times in self.rounds for t in times)

    @property
    def median(self) -> float:
        """The median step, in seconds."""
        return median(t for times in self.rounds for t in times)

    @property
    def quiet(self) -> bool:
        """Whether the machine left this contender alone in one round at least."""
        return min(self.others, default=0.0) <= QUIET


@dataclass
class Result:
    """One case: every contender that finished, npformer first."""

    case: Case
    measured: list[Measured]

    def of(self, library: str, kernel: str | None = None) -> Measured | None:
        """Return the figures of a contender, or None if it took no part."""
        for m in self.measured:
            if m.contender == Contender(library, kernel):
                return m
        return None

    def ours(self) -> list[Measured]:
        """Return npformer's figures, one for each kernel."""
        return [m for m in self.measured if m.contender.library == OURS]

    def peer(self, library: str, ours: Measured) -> Measured | None:
        """Return the peer to compare with: where it has kernels, the one of the same kernel."""
        return self.of(library, ours.contender.kernel if LIBRARIES[library].numpy else None)

    def gflops(self, measured: Measured) -> float:
        """Return the rate of matrix arithmetic in the shortest step, in 10^9 a second."""
        return flops(self.case) / measured.minimum / 1e9


def ratio_of_minima(a: Measured, b: Measured) -> float:
    """Return the shortest step of a, as a multiple of the shortest of b."""
    return a.minimum / b.minimum


def median_of_ratios(a: Measured, b: Measured) -> float:
    """Return the median over the rounds of the ratio of the shortest steps in each.

    The two turns of a round are close in time: what disturbs the machine disturbs both.
    """
    return median(min(x) / min(y) for x, y in zip(a.rounds, b.rounds, strict=True))


def disagreement(a: Sequence[Values], b: Sequence[Values]) -> str | None:
    """Return the first quantity in which two contenders differ, with both values, or None.

    Only what both have counts. The error is relative to the largest entry.
    """
    for i, (mine, other) in enumerate(zip(a, b, strict=True)):
        for name in [n for n in mine if n in other]:
            x, y = mine[name], other[name]
            size = max((abs(v) for v in (*x, *y)), default=0.0)
            far = len(x) != len(y) or not _close(x, y, TOLERANCE * size)
            if far:
                return f"{name} of step {i + 1}: {_some(x)} against {_some(y)}"
    return None


def as_json(result: Result) -> dict[str, Any]:
    """Return everything, for a file."""
    case = result.case
    return {
        "mode": case.mode,
        "size": case.size,
        "batches": case.batches,
        "dropout": case.dropout,
        "threads": case.threads,
        "lengths": case.lengths,
        "gflop": flops(case) / 1e9,
        "contenders": [
            {
                "library": m.contender.library,
                "kernel": m.contender.kernel,
                "minimum_ms": 1e3 * m.minimum,
                "median_ms": 1e3 * m.median,
                "memory_mb": m.memory / 2**20,
                "seconds": m.rounds,
                "cores_of_others": m.others,
                "about": m.about,
            }
            for m in result.measured
        ],
    }


def _close(x: Iterable[float], y: Iterable[float], bound: float) -> bool:
    # Written so that a NaN is not close to anything.
    return all(abs(v - w) <= bound for v, w in zip(x, y, strict=True))


def _some(values: Sequence[float]) -> str:
    shown = ", ".join(f"{v:.6g}" for v in values[:3])
    return shown + (", ..." if len(values) > 3 else "")

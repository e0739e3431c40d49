"""Exponents of growth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.case import Case, flops


@dataclass(frozen=True)
class Point:
    """The cost of one case."""

    value: int  # of the dimension that grows
    case: Case
    seconds: float  # the shortest step
    memory: int  # bytes, the peak above imports

    @property
    def flops(self) -> float:
        """The arithmetic of its matrix products."""
        return flops(self.case)


def exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    r"""Return p of :math:`c = a v^p`, by least squares in logarithms over the larger half.

    What is constant, such as the price of calling a function at all, hides growth at small values.

    Parameters
    ----------
    values : sequence of N floats
        Rising.
    costs : sequence of N floats
    """
    half = len(values) // 2
    slope, _ = np.polyfit(np.log(values[half:]), np.log(costs[half:]), 1)
    return float(slope)

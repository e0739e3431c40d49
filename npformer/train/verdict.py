"""Is ours better than theirs, or was it luck? A verdict over several seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple

from npformer.checks import InputError


class Verdict(NamedTuple):
    """What `paired_verdict` found; every field goes into JSON as it is."""

    verdict: Literal["better", "not better", "inconclusive"]
    mean_difference: float  # ours - theirs
    low: float | None  # the interval of the mean difference; None: unbounded (one seed)
    high: float | None
    seeds: int


def paired_verdict(
    ours: Sequence[float], theirs: Sequence[float], *, confidence: float = 0.95
) -> Verdict:
    r"""Compare two methods, run with the same seeds, by Student's t interval.

    Element i of both is one seed: same data order, same labelled examples. Much of the
    luck of a seed is then in both results and drops out of their difference d:

    .. math::
        \bar d \pm t_{n-1} \frac{s_d}{\sqrt n}

    with :math:`s_d` the sample standard deviation of the n differences (divided by n - 1).
    "better": the whole interval is above 0. "not better": all of it is at or below 0.
    "inconclusive": 0 is inside, so more seeds are needed; one seed always is.

    Parameters
    ----------
    ours, theirs : sequence of float
        One score for each seed, more is better.
    confidence : float
        How often such an interval holds the true mean difference, if differences are normal.

    Returns
    -------
    Verdict
        The verdict with the mean difference and its interval. Differences that are all
        equal give an interval of width 0.

    Raises
    ------
    InputError
        If there are no scores, if their numbers differ, or if one is not finite.

    References
    ----------
    Student (1908), The probable error of a mean. Deviations: none.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence: got {confidence}, expected 0 < confidence < 1")
    if len(ours) != len(theirs) or len(ours) == 0:
        raise InputError(
            f"scores: got {len(ours)} of ours and {len(theirs)} of theirs, "
            "expected as many of both, one for each seed"
        )
    if not all(math.isfinite(score) for score in (*ours, *theirs)):
        raise InputError("scores: got NaN or infinity, expected finite numbers")
    differences = [float(a) - float(b) for a, b in zip(ours, theirs, strict=True)]
    seeds = len(differences)
    mean = statistics.fmean(differences)
    if seeds == 1:
        return Verdict("inconclusive", mean, None, None, seeds)
    spread = statistics.stdev(differences) / math.sqrt(seeds)
    reach = student_t_quantile(confidence, seeds - 1) * spread
    low, high = mean - reach, mean + reach
    if low > 0:
        return Verdict("better", mean, low, high, seeds)
    if high <= 0:
        return Verdict("not better", mean, low, high, seeds)
    return Verdict("inconclusive", mean, low, high, seeds)


def student_t_quantile(confidence: float, df: int) -> float:
    r"""Return the t for which ``P(-t < T < t) = confidence``.

    For whole degrees of freedom :math:`\nu` that probability is a finite sum in
    :math:`\theta = \arctan(t / \sqrt\nu)`. For even :math:`\nu` it is

    .. math::
        \sin\theta \left(1 + \tfrac12 \cos^2\theta + \tfrac{1 \cdot 3}{2 \cdot 4} \cos^4\theta
            + \dots \right) \qquad \text{up to } \cos^{\nu-2}\theta

    and for odd :math:`\nu` (the bracket is absent at 1)

    .. math::
        \frac2\pi \left(\theta + \sin\theta \left[\cos\theta + \tfrac23 \cos^3\theta
            + \tfrac{2 \cdot 4}{3 \cdot 5} \cos^5\theta + \dots \right]\right) .

    It rises with :math:`\theta`, so halving [0, pi/2] finds the one wanted.

    Parameters
    ----------
    confidence : float
        Two-sided: 0.95 gives the 97.5 % quantile.
    df : int
        :math:`\nu`, the degrees of freedom, at least 1.

    Returns
    -------
    float
        The quantile, to about 1e-12 of itself for the confidences in use.

    References
    ----------
    Abramowitz and Stegun (1964), Handbook of mathematical functions, 26.7.3 and 26.7.4.
    Deviations: none.
    """
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _inside(middle, df) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(df) * math.tan(low)


def _inside(theta: float, df: int) -> float:
    """Return ``P(|T| < sqrt(df) tan(theta))``."""
    odd = df % 2
    term, total = (math.cos(theta) if odd else 1.0), 0.0
    # Powers 0, 2, ... df - 2 of the cosine, or 1, 3, ... df - 2; none of either at df = 1.
    for power in range(odd, df - 1, 2):
        total += term
        term *= math.cos(theta) ** 2 * (power + 1) / (power + 2)
    total *= math.sin(theta)
    return (theta + total) * 2 / math.pi if odd else total

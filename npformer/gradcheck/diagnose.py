"""Names the mistake that a wrong gradient looks like."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from npformer.types import FloatArray

# Finite differences are good to about 1e-8; a mistake recognised at 1e-5 is no accident.
CLOSE = 1e-5


def diagnose(analytic: FloatArray, numeric: FloatArray, sizes: Iterable[int] = ()) -> str:
    """Return the likely mistake in one clause, kind first.

    Parameters
    ----------
    analytic, numeric : ndarray of shape (...)
        The two gradients, finite and of one shape.
    sizes : iterable of int
        The axis sizes in play: a factor equal to one (or to a product of two) means a sum
        where a mean belongs.
    """
    if not np.any(analytic):
        return "zero: backward returns zeros where the gradient is not zero"
    factor = float(np.sum(analytic * numeric) / np.sum(numeric * numeric)) if np.any(numeric) else 0
    if factor and _close(analytic, factor * numeric):
        return _factor(factor, set(sizes))
    for i, j in combinations(range(numeric.ndim), 2):
        if numeric.shape[i] == numeric.shape[j] and _close(analytic, numeric.swapaxes(i, j)):
            return f"transpose: analytic = numeric with axes {i} and {j} swapped"
    return _part(analytic, numeric) or "term: a missing or wrong term"


def diagnose_shape(got: Sequence[int], expected: Sequence[int]) -> str:
    """Return the likely mistake behind a gradient whose shape is not its argument's."""
    told = f"the gradient has shape {tuple(got)}, the argument {tuple(expected)}"
    if tuple(got) == tuple(expected)[::-1]:
        return f"transpose: {told}"
    if sorted(got) == sorted(expected):
        return f"transpose: {told}, the same axes in another order"
    lead = len(got) - len(expected)
    sizes = list(zip(got[lead:], expected, strict=False)) if lead >= 0 else []
    if (sizes and all(e in (1, g) for g, e in sizes)) or (lead > 0 and not expected):
        axes = [*range(lead), *(lead + i for i, (g, e) in enumerate(sizes) if g != e)]
        return f"missing broadcast sum: {told}; sum over {_axes(axes)}"
    return f"shape: {told}"


def _factor(factor: float, sizes: set[int]) -> str:
    told = f"analytic = {factor:.6g} x numeric"
    if abs(factor + 1) < CLOSE:
        return "sign: analytic = -numeric"
    if factor < 0:
        return f"sign and a constant factor: {told}"
    for value, sum_or_mean in (
        (factor, "summed instead of averaged"),
        (1 / factor, "averaged instead of summed"),
    ):
        n = round(value)
        if n > 1 and abs(value - n) < CLOSE * n:
            extra = "too many" if value is factor else "too few"
            over = _over(n, sizes)
            hint = f", or {sum_or_mean} over {over}" if over else ""
            return f"constant factor: {told}, a factor {n} {extra}{hint}"
    root = factor * factor
    for value in (root, 1 / root):
        if round(value) in sizes and abs(value - round(value)) < CLOSE * value:
            return f"constant factor: {told}, the square root of {round(value)} (a scale forgotten)"
    return f"constant factor: {told}"


def _over(n: int, sizes: set[int]) -> str:
    if n in sizes:
        return f"an axis of size {n}"
    for a, b in combinations(sorted(sizes), 2):
        if a * b == n and a > 1:
            return f"axes of sizes {a} and {b}"
    return ""


def _part(analytic: FloatArray, numeric: FloatArray) -> str:
    """Recognise a gradient that is right but for some entries, or for a factor along one axis."""
    wrong = np.abs(analytic - numeric) > CLOSE * np.abs(numeric).max()
    told = f"{int(wrong.sum())} of {wrong.size} entries are off, the others right"
    if not wrong.all() and not np.any(analytic[wrong]):
        return f"lost entries: {told}, and those are zero (an index that is overwritten, a mask?)"
    if not wrong.all() and _close(numeric[wrong], np.zeros(())):
        return f"mask ignored: {told}, and those should be zero"
    for axis in range(numeric.ndim) if numeric.ndim > 1 else ():
        others = tuple(i for i in range(numeric.ndim) if i != axis)
        norm = np.sum(numeric * numeric, axis=others, keepdims=True)
        factors = np.sum(analytic * numeric, axis=others, keepdims=True) / np.where(norm, norm, 1)
        if numeric.shape[axis] < numeric.size and _close(analytic, factors * numeric):
            return f"factor along an axis: each slice of axis {axis} is off by a factor of its own"
    return ""


def _close(a: FloatArray, b: FloatArray) -> bool:
    scale = max(float(np.abs(a).max()), float(np.abs(b).max()))
    return bool(np.abs(a - b).max() <= CLOSE * scale)


def _axes(axes: Sequence[int]) -> str:
    named = ", ".join(map(str, axes))
    return f"axis {named}" if len(axes) == 1 else f"axes ({named})"

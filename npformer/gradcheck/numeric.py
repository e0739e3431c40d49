"""Finite differences: the slopes that a gradient is compared with."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from npformer.checks import InputError
from npformer.types import FloatArray

# Where the error of cutting off the Taylor series meets that of rounding: h^2 = eps / h for
# two points, h^4 = eps / h for four.
TWO_POINT_STEP = float(np.finfo(np.float64).eps ** (1 / 3))
FOUR_POINT_STEP = float(np.finfo(np.float64).eps ** (1 / 5))

Outputs = Mapping[str, FloatArray]
Evaluate = Callable[[FloatArray], Outputs]


def numeric_gradient(
    f: Callable[[FloatArray], FloatArray | float],
    x: FloatArray,
    dy: FloatArray | float | None = None,
) -> FloatArray:
    r"""Gradient of ``sum(dy * f(x))`` by centred differences, entry by entry.

    .. math:: \frac{\partial}{\partial x_i} \langle dy, f(x) \rangle \approx
              \Bigl\langle dy, \frac{f(x + h e_i) - f(x - h e_i)}{2 h} \Bigr\rangle,
              \quad h = \epsilon^{1/3} \max(1, |x_i|)

    Parameters
    ----------
    f : callable
        Takes an array like ``x`` and returns an array or a float.
    x : ndarray of shape (...)
        The point, float64. It is not written to.
    dy : ndarray or float, optional
        The cotangent, of the shape of ``f(x)``; not needed where that is a single number.

    Returns
    -------
    ndarray of shape (...)
        As ``x``.

    Raises
    ------
    InputError
        If ``x`` is not float64 or ``dy`` has not the shape of ``f(x)``.
    """
    check_float64("x", x)
    shape = np.shape(f(x))
    weight = np.asarray(1.0 if dy is None and shape == () else dy, dtype=np.float64)
    if weight.shape != shape or (dy is None and shape != ()):
        got = "None" if dy is None else f"shape {weight.shape}"
        raise InputError(f"dy: got {got}, expected shape {shape}, that of f(x)")
    columns = entry_slopes(lambda z: {"f": np.asarray(f(z))}, x)
    flat = [float(np.sum(weight * column["f"])) for column in columns]
    return np.array(flat, dtype=np.float64).reshape(x.shape)


def entry_slopes(evaluate: Evaluate, x: FloatArray, shrink: float = 1.0) -> Iterator[Outputs]:
    """Yield the derivative of every output for each entry of ``x`` in C order, two points each."""
    for i, value in enumerate(x.flat):
        h = shrink * TWO_POINT_STEP * max(1.0, abs(float(value)))
        plus, minus = _with_entry(x, i, value + h), _with_entry(x, i, value - h)
        # The distance that was really moved: value + h is rounded.
        width = plus.flat[i] - minus.flat[i]
        yield {k: v / width for k, v in _difference(evaluate(plus), evaluate(minus)).items()}


def direction_slope(
    evaluate: Evaluate, x: FloatArray, direction: FloatArray, shrink: float = 1.0
) -> Outputs:
    r"""Return the derivative of every output along ``direction``, by four points.

    .. math:: \frac{8 (f(x + h u) - f(x - h u)) - (f(x + 2 h u) - f(x - 2 h u))}{12 h}
    """
    # Relative to the array, so that a table of entries near 0.02 is not moved by its own size.
    size = float(np.linalg.norm(x)) or 1.0
    h = shrink * FOUR_POINT_STEP * size / float(np.linalg.norm(direction))
    near = _difference(evaluate(x + h * direction), evaluate(x - h * direction))
    far = _difference(evaluate(x + 2 * h * direction), evaluate(x - 2 * h * direction))
    return {k: (8 * near[k] - far[k]) / (12 * h) for k in near}


def check_float64(name: str, x: FloatArray) -> None:
    """Require float64."""
    if x.dtype != np.float64:
        raise InputError(
            f"{name}: got {x.dtype}, expected float64: with a step h a {x.dtype} difference is off "
            f"by about eps / h = {np.finfo(x.dtype).eps / TWO_POINT_STEP:.0e}, so it proves nothing"
        )


def _with_entry(x: FloatArray, i: int, value: np.floating[Any]) -> FloatArray:
    moved = x.copy()
    moved.flat[i] = value
    return moved


def _difference(a: Outputs, b: Outputs) -> dict[str, FloatArray]:
    return {k: a[k] - b[k] for k in a}

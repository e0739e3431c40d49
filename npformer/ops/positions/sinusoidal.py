"""Absolute sinusoidal positions: a fixed table that is added."""

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_float
from npformer.types import FloatArray


def sinusoidal_table(
    length: int,
    d_model: int,
    *,
    base: float = 10000.0,
    interleaved: bool = True,
    dtype: DTypeLike = np.float64,
) -> FloatArray:
    r"""Return the table of sines and cosines.

    .. math:: P_{t,2i} = \sin(t\,\omega_i), \quad P_{t,2i+1} = \cos(t\,\omega_i), \qquad
              \omega_i = \mathrm{base}^{-2i/D}

    or, not ``interleaved``, the same columns in another order: first all sines, then all
    cosines, as Marian has them. The maps that read them are learned, so the order makes no
    difference, except to weights that are there already.

    Moving t by u rotates each pair (sin, cos) by the angle u omega_i: the shift is a
    linear map that does not depend on t.

    Parameters
    ----------
    length : int
        Number of positions T.
    d_model : int
        Width D; if odd, the last sine has no cosine.
    base : float
        10000 in the paper.
    interleaved : bool
        Sine and cosine of a frequency side by side, as in the paper's formula.
    dtype : dtype
        The table is computed in float64 and rounded once.

    Returns
    -------
    table : ndarray of shape (T, D)

    Raises
    ------
    InputError
        If the length is negative or the width is not at least 1.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", section 3.5.
    """
    if length < 0 or d_model < 1:
        raise InputError(
            f"length, d_model: got {length}, {d_model}, expected length >= 0 and d_model >= 1"
        )
    even = np.arange(0, d_model, 2)
    angles = np.arange(length)[:, None] * base ** (-even / d_model)  # (T, ceil(D / 2))
    table = np.empty((length, d_model), dtype)
    if interleaved:
        sines, cosines = slice(0, None, 2), slice(1, None, 2)
    else:
        sines, cosines = slice(len(even)), slice(len(even), None)
    table[:, sines] = np.sin(angles)
    table[:, cosines] = np.cos(angles[:, : d_model // 2])
    return table


class SinusoidalCache(NamedTuple):
    """Nothing: the derivative of adding a constant needs none."""


def sinusoidal_forward(
    x: FloatArray, *, first: int = 0, base: float = 10000.0, interleaved: bool = True
) -> tuple[FloatArray, SinusoidalCache]:
    r"""Add sinusoidal positions.

    .. math:: y_{btd} = x_{btd} + P_{f + t,\,d}

    Parameters
    ----------
    x : ndarray of shape (..., T, D)
    first : int
        f, the position of the first of the T vectors.
    base : float
    interleaved : bool
        As in `sinusoidal_table`.

    Returns
    -------
    y : ndarray of shape (..., T, D)
    cache : SinusoidalCache

    Raises
    ------
    InputError
        If x has fewer than two axes.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", section 3.5. Deviations: the paper
    multiplies the embeddings by sqrt(D) before; that is the caller's choice here.
    """
    check_float("x", x)
    if x.ndim < 2:
        raise InputError(f"x: got shape {x.shape}, expected (..., T, D)")
    length, d_model = x.shape[-2:]
    table = sinusoidal_table(
        first + length, d_model, base=base, interleaved=interleaved, dtype=x.dtype
    )
    y = x + table[first:]
    return y, SinusoidalCache()


def sinusoidal_backward(dy: FloatArray, cache: SinusoidalCache) -> FloatArray:
    r"""Undo `sinusoidal_forward`: :math:`dx = dy`.

    Parameters
    ----------
    dy : ndarray of shape (..., T, D)
    cache : SinusoidalCache

    Returns
    -------
    dx : ndarray of shape (..., T, D)
    """
    return dy.copy()  # y = x + table

"""Dropout, with its mask drawn from an explicit generator."""

from typing import NamedTuple

import numpy as np

from npformer.checks import check_float, check_fraction
from npformer.types import FloatArray


class DropoutCache(NamedTuple):
    """What `dropout_backward` needs."""

    r: FloatArray | None  # (...) 0 or 1 / (1 - p_drop); None: nothing was dropped


def dropout_forward(
    x: FloatArray, p_drop: float, rng: np.random.Generator | None
) -> tuple[FloatArray, DropoutCache]:
    r"""Zero each entry with probability ``p_drop`` and scale up the rest.

    .. math:: y = x\,r, \qquad r = [u \ge p] / (1 - p), \quad u \sim U[0, 1)

    so that the expectation of y is x and nothing needs to change when dropout is off.

    Parameters
    ----------
    x : ndarray of shape (...)
    p_drop : float
        Probability in [0, 1).
    rng : numpy.random.Generator or None
        None means no dropout.

    Returns
    -------
    y : ndarray of shape (...)
        ``x`` itself, not a copy, when nothing is dropped.
    cache : DropoutCache

    Raises
    ------
    InputError
        If ``p_drop`` is outside [0, 1).

    References
    ----------
    Srivastava et al. 2014, "Dropout", section 10 ("inverted" scaling at training time).
    Deviations: u is drawn in float32 for every type, so that float32 and float64 runs drop
    the same entries.
    """
    check_float("x", x)
    check_fraction("p_drop", p_drop)
    if rng is None or p_drop == 0:
        return x, DropoutCache(None)
    r = (rng.random(x.shape, dtype=np.float32) >= p_drop).astype(x.dtype)
    r *= 1 / (1 - p_drop)
    y = x * r
    return y, DropoutCache(r)


def dropout_backward(dy: FloatArray, cache: DropoutCache) -> FloatArray:
    r"""Undo `dropout_forward`: :math:`dx = dy\,r`, with the same r.

    Parameters
    ----------
    dy : ndarray of shape (...)
    cache : DropoutCache

    Returns
    -------
    dx : ndarray of shape (...)
        ``dy`` itself, not a copy, when nothing was dropped.
    """
    return dy if cache.r is None else dy * cache.r  # y = x * r

"""Mean squared error among the kept entries."""

from typing import NamedTuple

import numpy as np

from npformer.checks import check_float, check_keep, check_shape
from npformer.ops.losses.counting import divisor
from npformer.types import BoolArray, FloatArray


class MseCache(NamedTuple):
    """What `mse_backward` needs."""

    error: FloatArray  # (...) x - target, zero where not kept
    n: float  # the number divided by


def mse_forward(
    x: FloatArray,
    target: FloatArray,
    keep: BoolArray | None = None,
    *,
    count: int | None = None,
) -> tuple[float, MseCache]:
    r"""Mean squared error, mean over the kept entries.

    .. math:: L = \frac1n \sum_i \mathrm{keep}_i\,(x_i - t_i)^2, \qquad
              n = \sum_i \mathrm{keep}_i

    Parameters
    ----------
    x : ndarray of shape (...)
    target : ndarray of shape (...)
        A constant: it gets no gradient.
    keep : boolean ndarray that broadcasts to (...), optional
        Entries that count, with as many axes as x; default all.
    count : int, optional
        Divide by this instead of the number of entries kept here.

    Returns
    -------
    loss : float
        0.0 if nothing is kept.
    cache : MseCache

    Raises
    ------
    InputError
        If the shapes differ or ``keep`` is not boolean.
    """
    check_float("x", x)
    check_shape("target", target, x.shape)
    error = x - target
    kept = x.size
    if keep is not None:
        check_keep(keep, x.shape)
        error *= keep
        kept = int(np.broadcast_to(keep, x.shape).sum())
    n = divisor(count, kept)
    loss = float(np.vdot(error, error)) / n
    return loss, MseCache(error, n)


def mse_backward(dloss: float, cache: MseCache) -> FloatArray:
    r"""Undo `mse_forward`: :math:`dx_i = dL\,\frac{2}{n} \mathrm{keep}_i (x_i - t_i)`.

    Parameters
    ----------
    dloss : float
    cache : MseCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    return cache.error * (2 * dloss / cache.n)  # loss = float(np.vdot(error, error)) / n

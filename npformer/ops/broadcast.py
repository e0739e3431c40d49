"""Adding what broadcasts: the forward is one `+`, and all the work is in the backward."""

from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_float
from npformer.types import FloatArray


class BroadcastAddCache(NamedTuple):
    """What `broadcast_add_backward` needs."""

    bias: FloatArray  # (...)


def broadcast_add_forward(x: FloatArray, bias: FloatArray) -> tuple[FloatArray, BroadcastAddCache]:
    r"""Add an array to another one that is at least as large along every axis.

    .. math:: y_{n} = x_{n} + \mathrm{bias}_{s(n)}

    where s(n) is the entry of the bias that NumPy repeats at n: axes are matched from the last
    one on, and one that is missing or of length 1 is repeated.

    Parameters
    ----------
    x : ndarray of shape (...)
    bias : ndarray that broadcasts to (...)

    Returns
    -------
    y : ndarray of shape (...)
    cache : BroadcastAddCache

    Raises
    ------
    InputError
        If bias does not broadcast to the shape of x.
    """
    check_float("x", x)
    check_float("bias", bias)
    tail = x.shape[max(x.ndim - bias.ndim, 0) :]
    if len(tail) != bias.ndim or any(
        m not in (1, n) for n, m in zip(tail, bias.shape, strict=True)
    ):
        raise InputError(f"bias: got shape {bias.shape}, expected one that broadcasts to {x.shape}")
    y = np.add(x, bias)
    return y, BroadcastAddCache(bias)


def broadcast_add_backward(
    dy: FloatArray, cache: BroadcastAddCache
) -> tuple[FloatArray, FloatArray]:
    r"""Undo `broadcast_add_forward`: what was repeated is summed.

    An entry of the bias moves every y it was added to:

    .. math:: dx_n = dy_n, \qquad d\mathrm{bias}_m = \sum_{n:\,s(n) = m} dy_n

    Parameters
    ----------
    dy : ndarray of shape (...)
    cache : BroadcastAddCache

    Returns
    -------
    dx : ndarray of shape (...)
    dbias : ndarray of the shape of bias
    """
    return dy.copy(), sum_to(dy, cache.bias.shape)  # y = np.add(x, bias)


def sum_to(x: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Sum over the axes along which an array of ``shape`` was broadcast to that of x."""
    same_rank = (1,) * (x.ndim - len(shape)) + shape
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, same_rank, strict=True)) if m == 1 != n)
    summed = x.sum(axis=axes, keepdims=True) if axes else x.copy()
    return summed.reshape(shape)

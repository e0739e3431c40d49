"""The affine map: the only place where parameters meet most of the arithmetic."""

from typing import Any, NamedTuple

from npformer.checks import check_float, check_shape
from npformer.ops.fast import sum_rows
from npformer.types import FloatArray


class LinearCache(NamedTuple):
    """What `linear_backward` needs."""

    x: FloatArray  # (..., I)
    w: FloatArray  # (I, O)
    b: FloatArray | None  # (O,)


def linear_forward(
    x: FloatArray, w: FloatArray, b: FloatArray | None = None
) -> tuple[FloatArray, LinearCache]:
    r"""Affine map of the last axis.

    .. math:: y_{no} = \sum_i x_{ni} w_{io} + b_o

    Parameters
    ----------
    x : ndarray of shape (..., I)
    w : ndarray of shape (I, O)
        Input first: PyTorch's ``Linear.weight`` is the transpose.
    b : ndarray of shape (O,), optional

    Returns
    -------
    y : ndarray of shape (..., O)
    cache : LinearCache

    Raises
    ------
    InputError
        If the shapes do not fit each other.
    """
    check_float("x", x)
    check_shape("w", w, (x.shape[-1], "O"))
    if b is not None:
        check_shape("b", b, (w.shape[1],))
    rows = x.reshape(-1, x.shape[-1])  # (N, I)
    y = rows @ w  # (N, O)
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], w.shape[1]), LinearCache(x, w, b)  # (..., O)


def linear_backward(dy: FloatArray, cache: LinearCache) -> tuple[FloatArray, FloatArray, Any]:
    r"""Undo `linear_forward`.

    With :math:`n` running over all rows,

    .. math::
        db_o &= \sum_n dy_{no} \\
        dw_{io} &= \sum_n x_{ni}\, dy_{no} = (x^\top dy)_{io} \\
        dx_{ni} &= \sum_o dy_{no}\, w_{io} = (dy\, w^\top)_{ni}

    The transposes are nothing but "sum over the index that is not left".

    Parameters
    ----------
    dy : ndarray of shape (..., O)
    cache : LinearCache

    Returns
    -------
    dx : ndarray of shape (..., I)
    dw : ndarray of shape (I, O)
    db : ndarray of shape (O,), or None if there was no bias
    """
    x, w, b = cache
    rows = x.reshape(-1, x.shape[-1])  # (N, I)
    drows = dy.reshape(-1, dy.shape[-1])  # (N, O) y.reshape(...)
    db = sum_rows(drows) if b is not None else None  # y += b
    dw = rows.T @ drows  # (I, O) y = rows @ w
    dx = drows @ w.T  # (N, I) y = rows @ w
    return dx.reshape(x.shape), dw, db  # rows = x.reshape(-1, x.shape[-1])

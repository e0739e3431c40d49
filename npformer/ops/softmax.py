"""Softmax, its logarithm, and the masked softmax of attention."""

from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_float, check_keep
from npformer.ops.fast import exp_kept
from npformer.types import BoolArray, FloatArray


class SoftmaxCache(NamedTuple):
    """What `softmax_backward` needs."""

    probs: FloatArray  # (...)
    axis: int


def softmax_forward(x: FloatArray, *, axis: int = -1) -> tuple[FloatArray, SoftmaxCache]:
    r"""Softmax along one axis.

    .. math:: p_j = e^{x_j - m} / \sum_l e^{x_l - m}, \qquad m = \max_l x_l

    Subtracting m changes nothing but keeps every exponential at most 1.

    Parameters
    ----------
    x : ndarray of shape (...)
    axis : int
        The axis that sums to one.

    Returns
    -------
    probs : ndarray of shape (...)
    cache : SoftmaxCache

    Raises
    ------
    InputError
        If x is not floating, or the axis is empty or does not exist.
    """
    _check_axis("x", x, axis)
    weights = np.exp(x - x.max(axis=axis, keepdims=True))
    probs = weights / weights.sum(axis=axis, keepdims=True)
    return probs, SoftmaxCache(probs, axis)


def softmax_backward(dprobs: FloatArray, cache: SoftmaxCache) -> FloatArray:
    r"""Undo `softmax_forward`.

    The Jacobian is :math:`\partial p_j/\partial x_l = p_j(\delta_{jl} - p_l)`, so

    .. math:: dx_l = \sum_j dp_j\,p_j(\delta_{jl} - p_l)
                   = p_l\Bigl(dp_l - \sum_j dp_j\,p_j\Bigr)

    Parameters
    ----------
    dprobs : ndarray of shape (...)
    cache : SoftmaxCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    probs, axis = cache
    mean = (dprobs * probs).sum(axis=axis, keepdims=True)  # of dprobs, under probs
    return probs * (dprobs - mean)  # probs = weights / weights.sum(axis=axis, keepdims=True)


class LogSoftmaxCache(NamedTuple):
    """What `log_softmax_backward` needs."""

    log_probs: FloatArray  # (...)
    axis: int


def log_softmax_forward(x: FloatArray, *, axis: int = -1) -> tuple[FloatArray, LogSoftmaxCache]:
    r"""Logarithm of the softmax, never taking the logarithm of a rounded-off zero.

    .. math:: \ell_j = (x_j - m) - \log \sum_l e^{x_l - m}, \qquad m = \max_l x_l

    Parameters
    ----------
    x : ndarray of shape (...)
    axis : int
        The axis whose exponentials sum to one.

    Returns
    -------
    log_probs : ndarray of shape (...)
    cache : LogSoftmaxCache

    Raises
    ------
    InputError
        If x is not floating, or the axis is empty or does not exist.
    """
    _check_axis("x", x, axis)
    log_probs = x - x.max(axis=axis, keepdims=True)
    total = np.exp(log_probs).sum(axis=axis, keepdims=True)
    log_probs -= np.log(total)
    return log_probs, LogSoftmaxCache(log_probs, axis)


def log_softmax_backward(dlog_probs: FloatArray, cache: LogSoftmaxCache) -> FloatArray:
    r"""Undo `log_softmax_forward`.

    .. math:: dx_l = d\ell_l - p_l \sum_j d\ell_j, \qquad p = e^{\ell}

    Parameters
    ----------
    dlog_probs : ndarray of shape (...)
    cache : LogSoftmaxCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    log_probs, axis = cache
    probs = np.exp(log_probs)
    dlog_total = -dlog_probs.sum(axis=axis, keepdims=True)  # log_probs -= np.log(total)
    return dlog_probs + probs * dlog_total  # total = np.exp(log_probs).sum(...)


class MaskedSoftmaxCache(NamedTuple):
    """What `masked_softmax_backward` needs."""

    probs: FloatArray  # (..., T, S), zero where not kept


def masked_softmax_forward(
    scores: FloatArray, keep: BoolArray | None = None
) -> tuple[FloatArray, MaskedSoftmaxCache]:
    r"""Softmax over the last axis among the kept entries only.

    .. math:: p_{ts} = \mathrm{keep}_{ts}\,e^{a_{ts} - m_t} \Big/
              \sum_l \mathrm{keep}_{tl}\,e^{a_{tl} - m_t},
              \qquad m_t = \max_{s:\,\mathrm{keep}_{ts}=1} a_{ts}

    Parameters
    ----------
    scores : ndarray of shape (..., T, S)
    keep : boolean ndarray that broadcasts to (..., T, S), optional
        True = may attend. A row that keeps nothing gives zeros.

    Returns
    -------
    probs : ndarray of shape (..., T, S)
    cache : MaskedSoftmaxCache

    Raises
    ------
    InputError
        If ``keep`` is not boolean or has another rank, or if S = 0.

    Notes
    -----
    Deviation from Hugging Face, which adds a large negative number to the scores: there a row
    with nothing to attend to has uniform weights over the padding; here its weights are zero.
    """
    _check_axis("scores", scores, -1)
    if keep is not None:
        check_keep(keep, scores.shape)
    probs = exp_kept(scores, keep)
    total = probs.sum(axis=-1, keepdims=True)
    probs /= np.maximum(total, 1)  # at least 1 where a key is kept; a row of zeros stays so
    return probs, MaskedSoftmaxCache(probs)


def masked_softmax_backward(dprobs: FloatArray, cache: MaskedSoftmaxCache) -> FloatArray:
    r"""Undo `masked_softmax_forward`.

    The masked entries have p = 0, so that the formula of `softmax_backward` already gives
    them, and the rows that keep nothing, the gradient zero:

    .. math:: da_{ts} = p_{ts}\Bigl(dp_{ts} - \sum_l dp_{tl}\,p_{tl}\Bigr)

    Parameters
    ----------
    dprobs : ndarray of shape (..., T, S)
    cache : MaskedSoftmaxCache

    Returns
    -------
    dscores : ndarray of shape (..., T, S)
    """
    return softmax_backward(dprobs, SoftmaxCache(cache.probs, -1))  # exp_kept(scores, keep)


def _check_axis(name: str, x: FloatArray, axis: int) -> None:
    check_float(name, x)
    if not -x.ndim <= axis < x.ndim:
        raise InputError(f"axis: got {axis}, expected an axis of an array of shape {x.shape}")
    if x.shape[axis] == 0:
        raise InputError(f"{name}: got shape {x.shape}, expected axis {axis} not to be empty")

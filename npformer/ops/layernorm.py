"""Layer norm and RMS norm."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from npformer.checks import check_float, check_shape
from npformer.ops.linear import sum_rows
from npformer.types import FloatArray


class LayerNormCache(NamedTuple):
    """What `layernorm_backward` needs."""

    xhat: FloatArray  # (..., D) normalised x
    rstd: FloatArray  # (..., 1) one over the standard deviation
    gamma: FloatArray  # (D,)


def layernorm_forward(
    x: FloatArray, gamma: FloatArray, beta: FloatArray, *, eps: float = 1e-12
) -> tuple[FloatArray, LayerNormCache]:
    r"""Layer norm over the last axis.

    .. math::
        \mu = \tfrac1D \sum_j x_j, \quad
        \sigma^2 = \tfrac1D \sum_j (x_j - \mu)^2, \quad
        \hat x_i = (x_i - \mu)/\sqrt{\sigma^2 + \epsilon}, \quad
        y_i = \gamma_i \hat x_i + \beta_i

    Parameters
    ----------
    x : ndarray of shape (..., D)
    gamma, beta : ndarray of shape (D,)
    eps : float
        Inside the root; 1e-12 is BERT's.

    Returns
    -------
    y : ndarray of shape (..., D)
    cache : LayerNormCache

    Raises
    ------
    InputError
        If gamma or beta is not of shape (D,).

    References
    ----------
    Ba, Kiros and Hinton 2016, "Layer normalization", equation 4, there without eps.
    """
    check_float("x", x)
    check_shape("gamma", gamma, (x.shape[-1],))
    check_shape("beta", beta, (x.shape[-1],))
    centred = x - _mean(x)
    # Twice: in float32 the first mean is off by a rounding error of the size of x itself.
    centred -= _mean(centred)
    variance = _mean(centred * centred)  # (..., 1)
    rstd = 1 / np.sqrt(variance + x.dtype.type(eps))  # (..., 1)
    xhat = centred
    xhat *= rstd
    y = xhat * gamma
    y += beta
    return y, LayerNormCache(xhat, rstd, gamma)


def layernorm_backward(
    dy: FloatArray, cache: LayerNormCache
) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Undo `layernorm_forward`.

    With :math:`d\hat x = \gamma\,dy`. Every x_j moves every xhat_i, through the mean and
    through the variance:

    .. math::
        \partial\hat x_i/\partial x_j
            = \bigl(\delta_{ij} - \tfrac1D - \tfrac1D \hat x_i \hat x_j\bigr)
              /\sqrt{\sigma^2 + \epsilon}

    and so

    .. math::
        dx_j = \Bigl(d\hat x_j - \tfrac1D \sum_i d\hat x_i
               - \hat x_j\,\tfrac1D \sum_i d\hat x_i \hat x_i\Bigr)/\sqrt{\sigma^2 + \epsilon}

    Parameters
    ----------
    dy : ndarray of shape (..., D)
    cache : LayerNormCache

    Returns
    -------
    dx : ndarray of shape (..., D)
    dgamma, dbeta : ndarray of shape (D,)
    """
    xhat, rstd, gamma = cache
    along = dy * xhat
    dbeta = sum_rows(dy.reshape(-1, dy.shape[-1]))
    dgamma = sum_rows(along.reshape(-1, dy.shape[-1]))
    mean, mean_along = _mean(dy, gamma), _mean(along, gamma)  # (..., 1) of dxhat, dxhat * xhat
    dx = dy * gamma  # dxhat
    dx -= mean
    dx -= np.multiply(xhat, mean_along, out=along)
    dx *= rstd
    return dx, dgamma, dbeta


class RmsNormCache(NamedTuple):
    """What `rmsnorm_backward` needs."""

    xhat: FloatArray  # (..., D)
    rrms: FloatArray  # (..., 1) one over the root mean square
    gamma: FloatArray  # (D,)


def rmsnorm_forward(
    x: FloatArray, gamma: FloatArray, *, eps: float = 1e-6
) -> tuple[FloatArray, RmsNormCache]:
    r"""Root-mean-square norm over the last axis: layer norm without centring and without beta.

    .. math:: \hat x_i = x_i \Big/ \sqrt{\tfrac1D \sum_j x_j^2 + \epsilon}, \qquad
              y_i = \gamma_i \hat x_i

    Parameters
    ----------
    x : ndarray of shape (..., D)
    gamma : ndarray of shape (D,)
    eps : float
        Inside the root.

    Returns
    -------
    y : ndarray of shape (..., D)
    cache : RmsNormCache

    Raises
    ------
    InputError
        If gamma is not of shape (D,).

    References
    ----------
    Zhang and Sennrich 2019, "Root mean square layer normalization", equation 4, there
    without eps.
    """
    check_float("x", x)
    check_shape("gamma", gamma, (x.shape[-1],))
    rrms = 1 / np.sqrt(_mean(x * x) + x.dtype.type(eps))  # (..., 1)
    xhat = x * rrms
    return xhat * gamma, RmsNormCache(xhat, rrms, gamma)


def rmsnorm_backward(dy: FloatArray, cache: RmsNormCache) -> tuple[FloatArray, FloatArray]:
    r"""Undo `rmsnorm_forward`.

    .. math:: dx_j = \Bigl(d\hat x_j - \hat x_j\,\tfrac1D \sum_i d\hat x_i \hat x_i\Bigr)
              \Big/ \sqrt{\tfrac1D \sum_l x_l^2 + \epsilon}, \qquad d\hat x = \gamma\,dy

    Parameters
    ----------
    dy : ndarray of shape (..., D)
    cache : RmsNormCache

    Returns
    -------
    dx : ndarray of shape (..., D)
    dgamma : ndarray of shape (D,)
    """
    xhat, rrms, gamma = cache
    along = dy * xhat
    dgamma = sum_rows(along.reshape(-1, dy.shape[-1]))
    mean_along = _mean(along, gamma)  # (..., 1) of dxhat * xhat
    dx = dy * gamma  # dxhat
    dx -= np.multiply(xhat, mean_along, out=along)
    dx *= rrms
    return dx, dgamma


def _mean(x: FloatArray, gamma: FloatArray | None = None) -> FloatArray:
    """Mean of gamma x over the last axis, kept as an axis; a matrix-vector product is fast."""
    weights = _shares(x.shape[-1], x.dtype)
    if gamma is not None:
        weights = gamma * weights
    mean: FloatArray = (x @ weights)[..., None]  # (..., 1)
    return mean


@lru_cache
def _shares(size: int, dtype: "np.dtype[Any]") -> FloatArray:
    shares = np.full(size, 1 / max(size, 1), dtype)
    shares.flags.writeable = False  # it is everybody's
    return shares

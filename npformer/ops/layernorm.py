"""Layer norm and RMS norm."""

from typing import NamedTuple

import numpy as np

from npformer.checks import check_float, check_shape
from npformer.ops.fast import mean, sum_rows
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
    xhat, rstd = standardise(x, eps)
    y = gamma * xhat
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
    dbeta = sum_rows(dy)  # y += beta
    dgamma = sum_rows(dy * xhat)  # y = gamma * xhat
    dxhat = dy * gamma  # y = gamma * xhat
    dx = rstd * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))  # xhat = centred * rstd
    return dx, dgamma, dbeta


def standardise(x: FloatArray, eps: float) -> tuple[FloatArray, FloatArray]:
    """Return x with mean 0 and variance 1 over the last axis, and what centred x was times."""
    centred = x - mean(x)
    # Twice: in float32 the first mean is off by a rounding error of the size of x itself.
    centred -= mean(centred)
    variance = mean(centred * centred)  # (..., 1)
    rstd = 1 / np.sqrt(variance + float(eps))  # (..., 1)
    xhat = centred * rstd
    return xhat, rstd


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
    rrms = 1 / np.sqrt(mean(x * x) + float(eps))  # (..., 1)
    xhat = x * rrms
    y = gamma * xhat
    return y, RmsNormCache(xhat, rrms, gamma)


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
    dgamma = sum_rows(dy * xhat)  # y = gamma * xhat
    dxhat = dy * gamma  # y = gamma * xhat
    dx = rrms * (dxhat - xhat * mean(dxhat * xhat))  # xhat = x * rrms
    return dx, dgamma

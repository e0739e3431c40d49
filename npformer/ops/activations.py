"""The elementwise nonlinearities: relu, gelu (exact and by a tanh), tanh, sigmoid, silu."""

import math
from typing import NamedTuple

import numpy as np

from npformer.checks import check_float
from npformer.ops.fast import normal_cdf, normal_pdf, saturated
from npformer.types import BoolArray, FloatArray

ROOT = math.sqrt(2 / math.pi)  # the slope at 0 of GELU's tanh


class ReluCache(NamedTuple):
    """What `relu_backward` needs."""

    positive: BoolArray  # (...)


def relu_forward(x: FloatArray) -> tuple[FloatArray, ReluCache]:
    r"""Rectified linear unit.

    .. math:: y = \max(x, 0)

    Parameters
    ----------
    x : ndarray of shape (...)

    Returns
    -------
    y : ndarray of shape (...)
    cache : ReluCache

    References
    ----------
    Nair and Hinton 2010, "Rectified linear units improve restricted Boltzmann machines".
    """
    check_float("x", x)
    y = np.maximum(x, 0)
    return y, ReluCache(x > 0)


def relu_backward(dy: FloatArray, cache: ReluCache) -> FloatArray:
    r"""Undo `relu_forward`: :math:`dx = dy\,[x > 0]`, with the subgradient 0 at x = 0.

    Parameters
    ----------
    dy : ndarray of shape (...)
    cache : ReluCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    return dy * cache.positive  # y = np.maximum(x, 0)


class GeluCache(NamedTuple):
    """What `gelu_backward` needs."""

    x: FloatArray  # (...)
    cdf: FloatArray  # (...) Phi(x)


def gelu_forward(x: FloatArray) -> tuple[FloatArray, GeluCache]:
    r"""Gaussian error linear unit, the exact one, as in BERT.

    .. math:: y = x\,\Phi(x), \qquad
              \Phi(x) = \tfrac12\bigl(1 + \operatorname{erf}(x/\sqrt2)\bigr)

    Parameters
    ----------
    x : ndarray of shape (...)

    Returns
    -------
    y : ndarray of shape (...)
    cache : GeluCache

    References
    ----------
    Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2.
    Deviations: NumPy has no erf. float64 calls ``math.erf`` entry by entry; float32, and float16
    computed in it, uses :math:`\operatorname{erf}(x/\sqrt2) \approx \tanh(x P(x^2))` with a
    polynomial P, whose value and derivative are within 1e-6 of the exact ones on [-12, 12].
    """
    check_float("x", x)
    cdf = normal_cdf(x)
    y = x * cdf
    return y, GeluCache(x, cdf)


def gelu_backward(dy: FloatArray, cache: GeluCache) -> FloatArray:
    r"""Undo `gelu_forward`.

    .. math:: dx = dy\,\bigl(\Phi(x) + x\,\varphi(x)\bigr), \qquad
              \varphi(x) = \Phi'(x) = e^{-x^2/2}/\sqrt{2\pi}

    Parameters
    ----------
    dy : ndarray of shape (...)
    cache : GeluCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    x, cdf = cache
    return dy * (cdf + x * normal_pdf(x))  # cdf = normal_cdf(x); y = x * cdf


class GeluTanhCache(NamedTuple):
    """What `gelu_tanh_backward` needs."""

    x: FloatArray  # (...)
    tanh: FloatArray  # (...) of u(x)


@np.errstate(over="ignore")  # u may be infinite: tanh u is 1 there
def gelu_tanh_forward(x: FloatArray) -> tuple[FloatArray, GeluTanhCache]:
    r"""Gaussian error linear unit by a tanh, as in GPT-2: within 5e-4 of the exact one.

    .. math:: y = \tfrac12 x\,(1 + \tanh u), \qquad
              u = \sqrt{2/\pi}\,(x + 0.044715\,x^3)

    Parameters
    ----------
    x : ndarray of shape (...)

    Returns
    -------
    y : ndarray of shape (...)
    cache : GeluTanhCache

    References
    ----------
    Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2, the approximation.
    Deviations: none. Hugging Face calls it gelu_new, PyTorch ``approximate="tanh"``.
    """
    check_float("x", x)
    tanh = np.tanh(ROOT * (1 + 0.044715 * x**2) * x)  # of u
    y = 0.5 * (1 + tanh) * x
    return y, GeluTanhCache(x, tanh)


def gelu_tanh_backward(dy: FloatArray, cache: GeluTanhCache) -> FloatArray:
    r"""Undo `gelu_tanh_forward`: the product rule, then the chain through u.

    .. math:: dx = \tfrac12\,dy\,\bigl(1 + \tanh u + x\,(1 - \tanh^2 u)\,u'\bigr), \qquad
              u' = \sqrt{2/\pi}\,(1 + 3 \cdot 0.044715\,x^2)

    Parameters
    ----------
    dy : ndarray of shape (...)
    cache : GeluTanhCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    x, tanh = cache
    near = saturated(x)
    rise = ROOT * near * (1 + 3 * 0.044715 * near**2)  # np.tanh(ROOT * (1 + ...) * x)
    return 0.5 * (1 + tanh + (1 - tanh * tanh) * rise) * dy  # y = 0.5 * (1 + tanh) * x


class TanhCache(NamedTuple):
    """What `tanh_backward` needs."""

    y: FloatArray  # (...)


def tanh_forward(x: FloatArray) -> tuple[FloatArray, TanhCache]:
    r"""Hyperbolic tangent.

    .. math:: y = \tanh x

    Parameters
    ----------
    x : ndarray of shape (...)

    Returns
    -------
    y : ndarray of shape (...)
    cache : TanhCache
    """
    check_float("x", x)
    y = np.tanh(x)
    return y, TanhCache(y)


def tanh_backward(dy: FloatArray, cache: TanhCache) -> FloatArray:
    r"""Undo `tanh_forward`: :math:`dx = dy\,(1 - y^2)`.

    Parameters
    ----------
    dy : ndarray of shape (...)
    cache : TanhCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    return dy * (1 - cache.y * cache.y)  # y = np.tanh(x)


class SigmoidCache(NamedTuple):
    """What `sigmoid_backward` needs."""

    y: FloatArray  # (...)


def sigmoid_forward(x: FloatArray) -> tuple[FloatArray, SigmoidCache]:
    r"""Logistic function.

    .. math:: y = 1/(1 + e^{-x}) = \tfrac12\bigl(1 + \tanh(x/2)\bigr)

    The second form overflows for no x.

    Parameters
    ----------
    x : ndarray of shape (...)

    Returns
    -------
    y : ndarray of shape (...)
    cache : SigmoidCache
    """
    check_float("x", x)
    y = sigmoid(x)
    return y, SigmoidCache(y)


def sigmoid_backward(dy: FloatArray, cache: SigmoidCache) -> FloatArray:
    r"""Undo `sigmoid_forward`: :math:`dx = dy\,y(1 - y)`.

    Parameters
    ----------
    dy : ndarray of shape (...)
    cache : SigmoidCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    return dy * cache.y * (1 - cache.y)  # y = sigmoid(x)


class SiluCache(NamedTuple):
    """What `silu_backward` needs."""

    x: FloatArray  # (...)
    gate: FloatArray  # (...) sigmoid(x)


def silu_forward(x: FloatArray) -> tuple[FloatArray, SiluCache]:
    r"""Sigmoid linear unit, also called swish.

    .. math:: y = x\,\sigma(x)

    Parameters
    ----------
    x : ndarray of shape (...)

    Returns
    -------
    y : ndarray of shape (...)
    cache : SiluCache

    References
    ----------
    Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2.
    """
    check_float("x", x)
    gate = sigmoid(x)
    y = x * gate
    return y, SiluCache(x, gate)


def silu_backward(dy: FloatArray, cache: SiluCache) -> FloatArray:
    r"""Undo `silu_forward`: :math:`dx = dy\,\bigl(\sigma + x\,\sigma(1 - \sigma)\bigr)`.

    Parameters
    ----------
    dy : ndarray of shape (...)
    cache : SiluCache

    Returns
    -------
    dx : ndarray of shape (...)
    """
    x, gate = cache
    return dy * (gate + x * gate * (1 - gate))  # gate = sigmoid(x); y = x * gate


def sigmoid(x: FloatArray) -> FloatArray:
    return 0.5 * (1 + np.tanh(0.5 * x))

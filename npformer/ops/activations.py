"""The elementwise nonlinearities: relu, gelu (exact and by a tanh), tanh, sigmoid, silu."""

import math
from typing import Any, NamedTuple

import numpy as np

from npformer.checks import check_float
from npformer.types import BoolArray, FloatArray

# erf(x / sqrt 2) = tanh(x P(x^2)) to float32 accuracy: a least-squares fit of P, low order first.
# The leading coefficient is positive, so that large |x| saturates instead of turning back.
_ERF_FIT = (
    0.7978849414603578,
    0.03633308457410234,
    -3.259497586754635e-05,
    -5.530619353767497e-05,
    3.964744377581292e-06,
    -1.3226333571945747e-07,
    1.7561706146890437e-09,
)
# Floats in a block of `_normal_cdf`, which goes over them twenty times: they stay in cache.
# `python -m benchmarks ablation` measures the difference.
BLOCK = 32_768


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
    positive = x > 0
    return np.maximum(x, 0), ReluCache(positive)


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
    return dy * cache.positive


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
    cdf = _normal_cdf(x)
    return x * cdf, GeluCache(x, cdf)


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
    with np.errstate(over="ignore"):  # x^2 may be infinite: phi is 0 there
        slope = x * x
    slope *= -0.5
    np.exp(slope, out=slope)
    slope *= 1 / math.sqrt(2 * math.pi)  # phi(x)
    slope *= x
    slope += cdf
    slope *= dy
    return slope


def _normal_cdf(x: FloatArray) -> FloatArray:
    if x.dtype == np.float64:
        erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2))
        return 0.5 * (1 + np.asarray(erf, dtype=np.float64))
    near = x.astype(np.float32, copy=False).reshape(-1)  # (N,)
    whole = np.empty_like(near)
    with np.errstate(over="ignore"):  # of a power of x^2: tanh(inf) is 1
        for i in range(0, len(near), BLOCK):
            block, cdf = near[i : i + BLOCK], whole[i : i + BLOCK]
            square = block * block
            np.multiply(square, _ERF_FIT[-1], out=cdf)
            for coefficient in _ERF_FIT[-2:0:-1]:
                cdf += coefficient
                cdf *= square
            cdf += _ERF_FIT[0]
            cdf *= block
            np.tanh(cdf, out=cdf)
            cdf += 1
            cdf *= 0.5
    return whole.reshape(x.shape).astype(x.dtype, copy=False)


class GeluTanhCache(NamedTuple):
    """What `gelu_tanh_backward` needs."""

    x: FloatArray  # (...)
    tanh: FloatArray  # (...) of u(x)


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
    with np.errstate(over="ignore"):  # of a power of x: tanh(inf) is 1
        u = x * x
        u *= 0.044715
        u += 1
        u *= x
        u *= math.sqrt(2 / math.pi)
    tanh = np.tanh(u, out=u)
    y: FloatArray = 1 + tanh
    y *= x
    y *= 0.5
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
    near = np.clip(x, -20, 20)  # beyond, 1 - tanh^2 is 0 and x u' may be infinite
    slope = near * near
    slope *= 3 * 0.044715
    slope += 1
    slope *= math.sqrt(2 / math.pi)  # u'
    slope *= 1 - tanh * tanh
    slope *= near
    slope += tanh
    slope += 1
    slope *= 0.5
    slope *= dy
    return slope


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
    return dy * (1 - cache.y * cache.y)


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
    y = _sigmoid(x)
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
    return dy * cache.y * (1 - cache.y)


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
    gate = _sigmoid(x)
    return x * gate, SiluCache(x, gate)


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
    return dy * (gate + x * gate * (1 - gate))


def _sigmoid(x: FloatArray) -> FloatArray:
    y: np.ndarray[Any, np.dtype[np.floating[Any]]] = np.tanh(0.5 * x)
    y += 1
    y *= 0.5
    return y

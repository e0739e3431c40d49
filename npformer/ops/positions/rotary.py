"""Rotary positions (RoPE): queries and keys are turned by an angle that grows with the position."""

from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_array, check_float, check_positive, check_shape
from npformer.types import FloatArray, IntArray


class RotaryCache(NamedTuple):
    """What `rotary_backward` needs."""

    cos: FloatArray  # (..., T, R/2) the same for all heads
    sin: FloatArray  # (..., T, R/2)
    interleaved: bool


def rotary_forward(
    x: FloatArray,
    positions: IntArray | None = None,
    *,
    base: float = 10000.0,
    rotary_dim: int | None = None,
    interleaved: bool = False,
) -> tuple[FloatArray, RotaryCache]:
    r"""Turn pairs of features by angles proportional to the position.

    The first R features are R/2 planes. In plane i, with coordinates (a, b), position t is
    the rotation by :math:`\theta = t\,\omega_i`, with :math:`\omega_i = \mathrm{base}^{-2i/R}`:

    .. math::
        y_a &= x_a \cos\theta - x_b \sin\theta \\
        y_b &= x_a \sin\theta + x_b \cos\theta

    A rotation keeps the norm. Apply it to q and to k, not to v: the inner product of a vector
    turned by :math:`t\omega` and one turned by :math:`s\omega` depends on t - s only.

    Which features are the coordinates of plane i is the layout: i and i + R/2 (half-split:
    GPT-NeoX, Llama) or 2i and 2i + 1 (interleaved: the paper, GPT-J). One is a fixed
    permutation of the other's features; weights trained with one need that one.

    Parameters
    ----------
    x : ndarray of shape (B, H, T, K)
        Queries or keys.
    positions : integer ndarray that broadcasts to (B, T), optional
        Position of each token, of shape (T,), (1, T) or (B, T); default 0 .. T - 1. They
        may be negative: only differences matter.
    base : float
        10000 in the paper; a larger one turns more slowly.
    rotary_dim : int, optional
        R, the number of features that are turned; the others are returned as they are.
        Default K.
    interleaved : bool
        The layout.

    Returns
    -------
    y : ndarray of shape (B, H, T, K)
    cache : RotaryCache

    Raises
    ------
    InputError
        If x has not four axes, R is odd or not in 2 .. K, the positions are not integers or
        do not fit, or the base is not above 0.

    References
    ----------
    Su et al. 2021, "RoFormer: enhanced Transformer with rotary position embedding",
    equations 15 and 34. Deviations: the half-split layout is the default, as in most
    released models; the paper has the interleaved one and turns all K features.
    """
    check_float("x", x)
    check_shape("x", x, ("B", "H", "T", "K"))
    check_positive("base", base)
    width = x.shape[3] if rotary_dim is None else rotary_dim
    if width % 2 or not 2 <= width <= x.shape[3]:
        raise InputError(
            f"rotary_dim: got {width}, expected an even number, 2 to {x.shape[3]} (the head size)"
        )
    if positions is None:
        positions = np.arange(x.shape[2])
    _check_positions(positions, x.shape)
    rates = base ** (-np.arange(width // 2) / (width // 2))  # (R/2,)
    angles = positions[..., None, :, None] * rates  # (T, R/2) with an axis for the heads before
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    y = _turn(x, cos, sin, interleaved)
    return y, RotaryCache(cos, sin, interleaved)


def rotary_backward(dy: FloatArray, cache: RotaryCache) -> FloatArray:
    r"""Undo `rotary_forward`: turn back.

    .. math::
        dx_a &= dy_a \cos\theta + dy_b \sin\theta \\
        dx_b &= -dy_a \sin\theta + dy_b \cos\theta

    The gradient of a linear map is its transpose, and the transpose of a rotation by theta is
    the rotation by -theta: the same two lines with the other sign of the sine.

    Parameters
    ----------
    dy : ndarray of shape (B, H, T, K)
    cache : RotaryCache

    Returns
    -------
    dx : ndarray of shape (B, H, T, K)
    """
    return _turn(dy, cache.cos, -cache.sin, cache.interleaved)  # _turn(x, cos, sin, interleaved)


def _turn(x: FloatArray, cos: FloatArray, sin: FloatArray, interleaved: bool) -> FloatArray:
    """Return x with each plane of its first features turned; the others are copied."""
    half = cos.shape[-1]
    if interleaved:
        first, second = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    else:
        first, second = slice(0, half), slice(half, 2 * half)
    a, b = x[..., first], x[..., second]  # (B, H, T, R/2)
    y = x.copy()
    y[..., first] = a * cos - b * sin
    y[..., second] = a * sin + b * cos
    return y


def _check_positions(positions: IntArray, shape: tuple[int, ...]) -> None:
    """Require integers of shape (T,), (1, T) or (B, T)."""
    check_array("positions", positions)
    if not np.issubdtype(positions.dtype, np.integer):
        raise InputError(f"positions: got {positions.dtype} array, expected an integer array")
    batch, _, length, _ = shape
    if positions.shape not in ((length,), (1, length), (batch, length)):
        raise InputError(
            f"positions: got shape {positions.shape}, expected ({length},) or ({batch}, {length})"
        )

"""Grouped-query attention: several heads of queries read one head of keys and values."""

from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_float, check_shape
from npformer.types import FloatArray


class RepeatHeadsCache(NamedTuple):
    """What `repeat_heads_backward` needs."""

    group: int  # H / G, heads of queries that share a head of keys


def repeat_heads_forward(x: FloatArray, num_heads: int) -> tuple[FloatArray, RepeatHeadsCache]:
    r"""Give every head of queries its head of keys, or of values.

    .. math:: y_h = x_{\lfloor h / (H/G) \rfloor}

    With G = H this is multi-head attention, with G = 1 multi-query attention. What is saved is
    in the maps and in the KV cache, which hold G heads; attention itself sees H.

    Parameters
    ----------
    x : ndarray of shape (B, G, S, K)
    num_heads : int
        H, a multiple of G.

    Returns
    -------
    y : ndarray of shape (B, H, S, K)
    cache : RepeatHeadsCache

    Raises
    ------
    InputError
        If H is no multiple of G.

    References
    ----------
    Ainslie et al. 2023, "GQA: training generalized multi-query Transformer models", section 2.2.
    Deviations: none.
    """
    check_float("x", x)
    check_shape("x", x, ("B", "G", "S", "K"))
    if x.shape[1] == 0 or num_heads % x.shape[1]:
        raise InputError(f"num_heads: got {num_heads}, expected a multiple of G = {x.shape[1]}")
    group = num_heads // x.shape[1]
    y = np.repeat(x, group, axis=1)  # (B, H, S, K)
    return y, RepeatHeadsCache(group)


def repeat_heads_backward(dy: FloatArray, cache: RepeatHeadsCache) -> FloatArray:
    r"""Undo `repeat_heads_forward`: a head that was read several times gets the sum.

    .. math:: dx_g = \sum_{h:\,\lfloor h / (H/G) \rfloor = g} dy_h

    Parameters
    ----------
    dy : ndarray of shape (B, H, S, K)
    cache : RepeatHeadsCache

    Returns
    -------
    dx : ndarray of shape (B, G, S, K)
    """
    batch, num_heads, length, size = dy.shape
    groups = num_heads // cache.group
    shape = batch, groups, cache.group, length, size
    return dy.reshape(shape).sum(axis=2)  # (B, G, S, K) y = np.repeat(x, group, axis=1)

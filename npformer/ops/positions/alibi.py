"""Attention with linear biases (ALiBi): a penalty that grows with the distance, nothing learned."""

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError
from npformer.ops.positions.by_distance import distances
from npformer.types import FloatArray


def alibi_slopes(num_heads: int, *, dtype: DTypeLike = np.float64) -> FloatArray:
    r"""Return how steeply each head penalizes distance.

    .. math:: m_h = 2^{-8h/H}, \qquad h = 1, \ldots, H

    for H a power of two. Otherwise, with P the power of two below H: the slopes of P heads, then
    every other one of 2P heads (the 1st, the 3rd, ...) until there are H.

    Parameters
    ----------
    num_heads : int
        H.
    dtype : dtype

    Returns
    -------
    slopes : ndarray of shape (H,)

    Raises
    ------
    InputError
        If H is not at least 1.

    References
    ----------
    Press et al. 2022, "Train short, test long: attention with linear biases enables input
    length extrapolation", section 3. Deviations: none; for H not a power of two the paper is
    silent, and this is its released code and BLOOM.
    """
    if num_heads < 1:
        raise InputError(f"num_heads: got {num_heads}, expected at least 1")
    power = 1 << (num_heads.bit_length() - 1)  # the largest power of two up to H
    slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)  # (P,)
    between = 2.0 ** (-8 * np.arange(1, 2 * power, 2) / (2 * power))  # (P,)
    return np.concatenate([slopes, between[: num_heads - power]]).astype(dtype)  # (H,)


def alibi_bias(
    num_heads: int,
    query_len: int,
    key_len: int,
    *,
    offset: int = 0,
    symmetric: bool = False,
    dtype: DTypeLike = np.float64,
) -> FloatArray:
    r"""Return the bias that `attention_forward` adds to the scores.

    .. math:: \mathrm{bias}_{hts} = -m_h\,(t - s)

    That is for causal attention: a key after the query would get a reward for its distance, so
    the caller's ``keep`` must hide it. An encoder, which sees both sides, takes ``symmetric``:
    :math:`-m_h\,|t - s|`. Where s <= t the two are the same.

    The bias depends on distances alone and has no size of its own: any length can be asked
    for, also one that no training sequence had.

    Parameters
    ----------
    num_heads : int
        H.
    query_len, key_len : int
        T and S.
    offset : int
        Position of the first query among the keys: the number of keys before it.
    symmetric : bool
        Penalize keys on both sides.
    dtype : dtype
        Computed in float64 and rounded once.

    Returns
    -------
    bias : ndarray of shape (1, H, T, S)

    Raises
    ------
    InputError
        If H is not at least 1 or a length is negative.

    References
    ----------
    Press et al. 2022, section 3. Deviations: the released code and BLOOM add m_h s, which
    differs by m_h t, the same number along a row: softmax does not see it, a loss on the
    scores would. The paper is causal only; ``symmetric`` is for encoders.
    """
    distance = -distances(query_len, key_len, offset)  # (T, S) t - s
    if symmetric:
        distance = np.abs(distance)
    slopes = alibi_slopes(num_heads)[:, None, None]  # (H, 1, 1)
    return (-slopes * distance)[None].astype(dtype)  # (1, H, T, S)

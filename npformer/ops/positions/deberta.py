"""DeBERTa's disentangled positions: the distance is asked for by the query and by the key."""

import math
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_float, check_shape
from npformer.ops.positions.by_distance import distances, look_up, sum_by_row
from npformer.types import FloatArray, IntArray


class DisentangledBiasCache(NamedTuple):
    """What `disentangled_bias_backward` needs."""

    q: FloatArray  # (B, H, T, K)
    k: FloatArray  # (B, H, S, K)
    q_r: FloatArray  # (H, R, K)
    k_r: FloatArray  # (H, R, K)
    row: IntArray  # (T, S)
    scale: float


def disentangled_bias_forward(
    q: FloatArray,
    k: FloatArray,
    q_r: FloatArray,
    k_r: FloatArray,
    *,
    offset: int = 0,
    scale: float | None = None,
) -> tuple[FloatArray, DisentangledBiasCache]:
    r"""Score the distances: what `attention_forward` takes as its bias, with the same scale.

    .. math::
        \mathrm{bias}_{ts} &= c \Bigl( \underbrace{\sum_d q_{td}\,
            k^r_{\delta(t, s)\,d}}_{\text{content to position}} + \underbrace{\sum_d k_{sd}\,
            q^r_{\delta(t, s)\,d}}_{\text{position to content}} \Bigr) \\
        \delta(t, s) &= \max(0, \min(2\,\mathrm{far} - 1,\; t - s + \mathrm{far}))

    A token and its place are two vectors, so their product has four terms. Content to content
    is `attention_scores_forward` as ever; position to position, which is the same in every
    text, is left out. Three terms of variance K are left, hence c.

    Parameters
    ----------
    q : ndarray of shape (B, H, T, K)
        What the tokens ask.
    k : ndarray of shape (B, H, S, K)
        What the tokens answer.
    q_r : ndarray of shape (H, R, K)
        What the distances ask: R = 2 far of them, from s - t = far (row 0) to -(far - 1).
        Distances beyond take the row at the end.
    k_r : ndarray of shape (H, R, K)
        What the distances answer.
    offset : int
        Position of the first query among the keys: the number of keys before it.
    scale : float, optional
        c; default 1/sqrt(3 K), which attention must then be given too.

    Returns
    -------
    bias : ndarray of shape (B, H, T, S)
    cache : DisentangledBiasCache

    Raises
    ------
    InputError
        If the shapes do not fit or R is odd.

    References
    ----------
    He et al. 2021, "DeBERTa: decoding-enhanced BERT with disentangled attention", equations 3
    and 4. Deviations: equation 4 has :math:`\delta(s, t)` in position to content; the released
    code, and so all released models, :math:`\delta(t, s)` in both, as here.
    """
    check_float("q", q)
    check_shape("q", q, ("B", "H", "T", "K"))
    check_shape("k", k, (*q.shape[:2], "S", q.shape[3]))
    check_float("q_r", q_r)
    check_shape("q_r", q_r, (q.shape[1], "R", q.shape[3]))
    check_float("k_r", k_r)
    check_shape("k_r", k_r, q_r.shape)
    scale = disentangled_scale(q.shape[3]) if scale is None else float(scale)
    row = _rows(q_r.shape[1], q.shape[2], k.shape[2], offset)  # (T, S)
    asked = q @ k_r.swapaxes(1, 2)  # (B, H, T, R)
    content_to_position = look_up(asked, row)  # (B, H, T, S)
    answered = k @ q_r.swapaxes(1, 2)  # (B, H, S, R)
    position_to_content = look_up(answered, row.T)  # (B, H, S, T)
    bias = scale * (content_to_position + position_to_content.swapaxes(2, 3))  # (B, H, T, S)
    return bias, DisentangledBiasCache(q, k, q_r, k_r, row, scale)


def disentangled_bias_backward(
    dbias: FloatArray, cache: DisentangledBiasCache
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    r"""Undo `disentangled_bias_forward`, line by line from the last.

    A product gets the sum over the queries and keys that read it; then the matrix products. With
    :math:`a_{tr} = c \sum_{s:\,\delta(t, s) = r} d\mathrm{bias}_{ts}` and
    :math:`b_{sr} = c \sum_{t:\,\delta(t, s) = r} d\mathrm{bias}_{ts}`

    .. math::
        dk_{sd} &= \sum_r b_{sr}\, q^r_{rd}, \qquad
        dq^r_{rd} = \sum_s b_{sr}\, k_{sd} \text{, summed over the batch} \\
        dq_{td} &= \sum_r a_{tr}\, k^r_{rd}, \qquad
        dk^r_{rd} = \sum_t a_{tr}\, q_{td} \text{, summed over the batch}

    Parameters
    ----------
    dbias : ndarray of shape (B, H, T, S)
    cache : DisentangledBiasCache

    Returns
    -------
    dq : ndarray of shape (B, H, T, K)
    dk : ndarray of shape (B, H, S, K)
    dq_r : ndarray of shape (H, R, K)
    dk_r : ndarray of shape (H, R, K)
    """
    q, k, q_r, k_r, row, scale = cache
    number = q_r.shape[1]
    dread = scale * dbias  # bias = scale * (...)
    dread_t = dread.swapaxes(2, 3)  # (B, H, S, T) position_to_content.swapaxes(2, 3)
    danswered = sum_by_row(dread_t, row.T, number)  # (B, H, S, R) look_up(answered, row.T)
    dk = danswered @ q_r  # (B, H, S, K) answered = k @ q_r.swapaxes(1, 2)
    dq_r = (danswered.swapaxes(2, 3) @ k).sum(axis=0)  # (H, R, K) k @ q_r.swapaxes(1, 2)
    dasked = sum_by_row(dread, row, number)  # (B, H, T, R) look_up(asked, row)
    dq = dasked @ k_r  # (B, H, T, K) asked = q @ k_r.swapaxes(1, 2)
    dk_r = (dasked.swapaxes(2, 3) @ q).sum(axis=0)  # (H, R, K) q @ k_r.swapaxes(1, 2)
    return dq, dk, dq_r, dk_r


def disentangled_scale(head_size: int) -> float:
    """Return 1/sqrt(3 K): three inner products are added instead of one."""
    return 1 / math.sqrt(3 * head_size)


def _rows(number: int, query_len: int, key_len: int, offset: int) -> IntArray:
    """Return the row of the tables that each query and key take: (T, S)."""
    if number % 2:
        raise InputError(f"q_r: got {number} rows, expected an even number, 2 far")
    far = number // 2
    return np.clip(-distances(query_len, key_len, offset), -far, far - 1) + far

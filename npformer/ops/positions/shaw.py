"""Relative positions of Shaw et al.: a learned vector for each distance, added to the key."""

import math
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_float, check_shape
from npformer.types import FloatArray, IntArray


class ShawKeyCache(NamedTuple):
    """What `shaw_key_backward` needs."""

    scaled_q: FloatArray  # (B, H, T, K) c q
    table: FloatArray  # (R, K)
    row: IntArray  # (T, S)
    scale: float


def shaw_key_forward(
    q: FloatArray,
    table: FloatArray,
    key_len: int,
    *,
    offset: int = 0,
    scale: float | None = None,
) -> tuple[FloatArray, ShawKeyCache]:
    r"""Score the distance of each key: what `attention_forward` takes as its bias.

    .. math:: e_{ts} = c \sum_d q_{td}\, w_{\operatorname{clip}(s - t)\,d}, \qquad
              \operatorname{clip}(n) = \max(-k, \min(k, n))

    The paper adds a vector to each key, different for each query: c q (k + w). The sum splits,
    and the first part is `attention_scores_forward` as ever. Of the second only R = 2k + 1
    products a query are different, so they are computed first and then handed out.

    Parameters
    ----------
    q : ndarray of shape (B, H, T, K)
    table : ndarray of shape (R, K)
        w, for the distances -k to k in this order; all heads share it. Distances beyond k
        take the vector of k.
    key_len : int
        S.
    offset : int
        Position of the first query among the keys: the number of keys before it.
    scale : float, optional
        c; default 1/sqrt(K), as in attention.

    Returns
    -------
    scores : ndarray of shape (B, H, T, S)
    cache : ShawKeyCache

    Raises
    ------
    InputError
        If the shapes do not fit, R is even or S is negative.

    References
    ----------
    Shaw et al. 2018, "Self-attention with relative position representations", equations 4
    and 5. Deviations: none; the values' equation 3 is not here.
    """
    check_float("q", q)
    check_shape("q", q, ("B", "H", "T", "K"))
    check_float("table", table)
    check_shape("table", table, ("R", q.shape[3]))
    if len(table) % 2 == 0:
        raise InputError(f"table: got {len(table)} rows, expected an odd number: -k to k")
    if key_len < 0:
        raise InputError(f"key_len: got {key_len}, expected at least 0")
    if scale is None:
        scale = 1 / math.sqrt(q.shape[3])
    farthest = len(table) // 2  # k
    queries = np.arange(offset, offset + q.shape[2])[:, None]  # (T, 1)
    row = np.clip(np.arange(key_len) - queries, -farthest, farthest) + farthest  # (T, S)
    scaled_q = q * q.dtype.type(scale)
    products = scaled_q @ table.T  # (B, H, T, R)
    scores = np.take_along_axis(products, row[None, None], axis=-1)  # (B, H, T, S)
    return scores, ShawKeyCache(scaled_q, table, row, scale)


def shaw_key_backward(dscores: FloatArray, cache: ShawKeyCache) -> tuple[FloatArray, FloatArray]:
    r"""Undo `shaw_key_forward`.

    The lookup first: a product gets the sum over the keys that read it. Then the matrix
    product of queries and table, and last the scale.

    .. math::
        dp_{tr} &= \sum_{s:\,\operatorname{clip}(s - t) = r} de_{ts} \\
        dw_{rd} &= c \sum_t dp_{tr}\, q_{td} \text{, summed over batch and heads} \\
        dq_{td} &= c \sum_r dp_{tr}\, w_{rd}

    Parameters
    ----------
    dscores : ndarray of shape (B, H, T, S)
    cache : ShawKeyCache

    Returns
    -------
    dq : ndarray of shape (B, H, T, K)
    dtable : ndarray of shape (R, K)
    """
    scaled_q, table, row, scale = cache
    products = (*dscores.shape[:3], len(table))
    dproducts = np.empty(products, dscores.dtype)  # (B, H, T, R)
    for r in range(len(table)):
        dproducts[..., r] = np.where(row == r, dscores, 0).sum(axis=-1)
    dscaled_q = dproducts @ table  # (B, H, T, K)
    # The rows of all heads and sequences as one: (R, N) @ (N, K).
    dtable = dproducts.reshape(-1, len(table)).T @ scaled_q.reshape(-1, table.shape[1])
    dq = dscaled_q
    dq *= scale
    return dq, dtable

"""Shaw et al.'s relative positions: one learned vector per distance, added to keys and values."""

import math
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_float, check_shape
from npformer.ops.positions.by_distance import distances, look_up, sum_by_row
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
              \operatorname{clip}(n) = \max(-\mathrm{far}, \min(\mathrm{far}, n))

    The paper adds a vector to each key, different for each query: c q (k + w). The sum splits,
    and the first part is `attention_scores_forward` as ever. Of the second only R = 2 far + 1
    products per query are different, so they are computed first and then handed out.

    Parameters
    ----------
    q : ndarray of shape (B, H, T, K)
    table : ndarray of shape (R, K)
        w, for the distances -far to far in this order; all heads share it. Distances beyond
        take the vector at the end.
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
    and 5. Deviations: none; equation 3 is `shaw_value_forward`.
    """
    check_float("q", q)
    check_shape("q", q, ("B", "H", "T", "K"))
    check_float("table", table)
    check_shape("table", table, ("R", q.shape[3]))
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else float(scale)
    row = _rows(table, q.shape[2], key_len, offset)  # (T, S)
    scaled_q = scale * q
    products = scaled_q @ table.T  # (B, H, T, R)
    scores = look_up(products, row)  # (B, H, T, S)
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
    size, width = table.shape
    dproducts = sum_by_row(dscores, row, size)  # (B, H, T, R) look_up(products, row)
    # The rows of all heads and sequences as one: (R, N) @ (N, K). products = scaled_q @ table.T
    dtable = dproducts.reshape(-1, size).T @ scaled_q.reshape(-1, width)
    dscaled_q = dproducts @ table  # (B, H, T, K) products = scaled_q @ table.T
    dq = scale * dscaled_q  # scaled_q = scale * q
    return dq, dtable


class ShawValueCache(NamedTuple):
    """What `shaw_value_backward` needs."""

    table: FloatArray  # (R, K)
    row: IntArray  # (T, S)
    weight: FloatArray  # (B, H, T, R) the probability of each distance


def shaw_value_forward(
    probs: FloatArray, table: FloatArray, *, offset: int = 0
) -> tuple[FloatArray, ShawValueCache]:
    r"""Average the vectors of the distances: what is added to `attention_mix_forward`'s ctx.

    .. math:: \mathrm{ctx}_{td} = \sum_s p_{ts}\, w_{\operatorname{clip}(s - t)\,d}

    The paper adds a vector to each value, different for each query: p (v + w). The sum splits,
    and the first part is `attention_mix_forward` as ever. The second needs only the
    probability of each of the R = 2 far + 1 distances.

    Parameters
    ----------
    probs : ndarray of shape (B, H, T, S)
        After dropout, as the mix sees them.
    table : ndarray of shape (R, K)
        As in `shaw_key_forward`, but another table.
    offset : int
        Position of the first query among the keys: the number of keys before it.

    Returns
    -------
    ctx : ndarray of shape (B, H, T, K)
    cache : ShawValueCache

    Raises
    ------
    InputError
        If the shapes do not fit or R is even.

    References
    ----------
    Shaw et al. 2018, "Self-attention with relative position representations", equation 3.
    Deviations: none.
    """
    check_float("probs", probs)
    check_shape("probs", probs, ("B", "H", "T", "S"))
    check_float("table", table)
    check_shape("table", table, ("R", "K"))
    row = _rows(table, probs.shape[2], probs.shape[3], offset)  # (T, S)
    weight = sum_by_row(probs, row, len(table))  # (B, H, T, R)
    ctx = weight @ table  # (B, H, T, K)
    return ctx, ShawValueCache(table, row, weight)


def shaw_value_backward(dctx: FloatArray, cache: ShawValueCache) -> tuple[FloatArray, FloatArray]:
    r"""Undo `shaw_value_forward`: the matrix product, then the sum, whose gradient is a lookup.

    .. math::
        dw_{rd} &= \sum_t \mathrm{weight}_{tr}\, d\mathrm{ctx}_{td}
                   \text{, summed over batch and heads} \\
        dp_{ts} &= \sum_d d\mathrm{ctx}_{td}\, w_{\operatorname{clip}(s - t)\,d}

    Parameters
    ----------
    dctx : ndarray of shape (B, H, T, K)
    cache : ShawValueCache

    Returns
    -------
    dprobs : ndarray of shape (B, H, T, S)
    dtable : ndarray of shape (R, K)
    """
    table, row, weight = cache
    size, width = table.shape
    # The rows of all heads and sequences as one: (R, N) @ (N, K). ctx = weight @ table
    dtable = weight.reshape(-1, size).T @ dctx.reshape(-1, width)
    dweight = dctx @ table.T  # (B, H, T, R) ctx = weight @ table
    dprobs = look_up(dweight, row)  # (B, H, T, S) sum_by_row(probs, row, len(table))
    return dprobs, dtable


def _rows(table: FloatArray, query_len: int, key_len: int, offset: int) -> IntArray:
    """Return the row of the table that each query and key take: (T, S)."""
    if len(table) % 2 == 0:
        raise InputError(f"table: got {len(table)} rows, expected an odd number, 2 far + 1")
    far = len(table) // 2
    return np.clip(distances(query_len, key_len, offset), -far, far) + far

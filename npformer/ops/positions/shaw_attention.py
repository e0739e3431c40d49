"""Attention with Shaw et al.'s relative positions: plain attention between two pairs."""

from typing import NamedTuple

import numpy as np

from npformer.ops.attention import AttentionCache, attention_backward, attention_forward
from npformer.ops.dropout import dropout_backward
from npformer.ops.positions.shaw import (
    ShawKeyCache,
    ShawValueCache,
    shaw_key_backward,
    shaw_key_forward,
    shaw_value_backward,
    shaw_value_forward,
)
from npformer.ops.softmax import masked_softmax_backward
from npformer.types import BoolArray, FloatArray


class ShawAttentionCache(NamedTuple):
    """What `shaw_attention_backward` needs: the caches of the three steps."""

    key: ShawKeyCache
    attention: AttentionCache
    value: ShawValueCache


def shaw_attention_forward(
    q: FloatArray,
    k: FloatArray,
    v: FloatArray,
    rel_k: FloatArray,
    rel_v: FloatArray,
    keep: BoolArray | None = None,
    *,
    offset: int = 0,
    scale: float | None = None,
    p_drop: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[FloatArray, FloatArray, ShawAttentionCache]:
    r"""Scaled dot-product attention whose keys and values know their distance.

    .. math::
        p_t &= \operatorname{softmax}_{\mathrm{keep}}\Bigl(c \sum_d q_{td}\,
               (k_{sd} + w^K_{\operatorname{clip}(s - t)\,d})\Bigr) \\
        \mathrm{ctx}_{td} &= \sum_s r_{ts}\, p_{ts}\,
               (v_{sd} + w^V_{\operatorname{clip}(s - t)\,d})

    with the dropout factor r of `dropout_forward`. Both sums split: the tables' parts are
    `shaw_key_forward`, a bias on the scores, and `shaw_value_forward`.

    Parameters
    ----------
    q : ndarray of shape (B, H, T, K)
    k : ndarray of shape (B, H, S, K)
    v : ndarray of shape (B, H, S, K)
    rel_k : ndarray of shape (R, K)
        One vector for each distance from -far to far, R = 2 far + 1; all heads share it.
    rel_v : ndarray of shape (R, K)
    keep : boolean ndarray that broadcasts to (B, H, T, S), optional
        True = may attend. A query with nothing to attend to gets the context zero.
    offset : int
        Position of the first query among the keys: the number of keys before it.
    scale : float, optional
        c; default 1/sqrt(K).
    p_drop : float
        Dropout on the probabilities.
    rng : numpy.random.Generator, optional
        None means no dropout.

    Returns
    -------
    ctx : ndarray of shape (B, H, T, K)
    scores : ndarray of shape (B, H, T, S)
        Before the mask and the softmax.
    cache : ShawAttentionCache

    Raises
    ------
    InputError
        If the shapes do not fit, R is even, ``keep`` is not boolean, or S = 0.

    References
    ----------
    Shaw et al. 2018, "Self-attention with relative position representations", equations 3 to 5.
    Deviations: none.
    """
    bias, key_cache = shaw_key_forward(q, rel_k, k.shape[2], offset=offset, scale=scale)
    mixed, scores, attention_cache = attention_forward(
        q, k, v, keep, bias, scale=scale, p_drop=p_drop, rng=rng
    )
    dropped = attention_cache.mix.probs
    moved, value_cache = shaw_value_forward(dropped, rel_v, offset=offset)
    ctx = mixed + moved
    return ctx, scores, ShawAttentionCache(key_cache, attention_cache, value_cache)


def shaw_attention_backward(
    dctx: FloatArray | None, dscores: FloatArray | None, cache: ShawAttentionCache
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    r"""Undo `shaw_attention_forward`, step by step from its last line to its first.

    The dropped probabilities went two ways, to the values and to their table, and so did q, to
    the keys and to theirs: each gradient is a sum of two. What comes from the table of the values
    goes back through dropout and softmax to the scores, and joins there, as a loss on them does.

    Parameters
    ----------
    dctx : ndarray of shape (B, H, T, K), or None for zero
    dscores : ndarray of shape (B, H, T, S), or None for zero
    cache : ShawAttentionCache

    Returns
    -------
    dq : ndarray of shape (B, H, T, K)
    dk : ndarray of shape (B, H, S, K)
    dv : ndarray of shape (B, H, S, K)
    drel_k : ndarray of shape (R, K)
    drel_v : ndarray of shape (R, K)
    """
    if dctx is None:
        dctx = np.zeros_like(cache.key.scaled_q)
    attention = cache.attention
    ddropped, drel_v = shaw_value_backward(dctx, cache.value)  # shaw_value_forward(dropped, ...)
    dprobs = dropout_backward(ddropped, attention.dropout)  # attention_forward(...)
    total = masked_softmax_backward(dprobs, attention.softmax)  # attention_forward(...)
    if dscores is not None:
        total += dscores
    dq, dk, dv, dbias = attention_backward(dctx, total, attention)  # attention_forward(...)
    assert dbias is not None  # there was a bias
    dq_key, drel_k = shaw_key_backward(dbias, cache.key)  # shaw_key_forward(q, rel_k, ...)
    return dq + dq_key, dk, dv, drel_k, drel_v

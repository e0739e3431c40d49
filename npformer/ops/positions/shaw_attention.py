"""Attention with Shaw et al.'s relative positions: the five pairs put together."""

from typing import NamedTuple

import numpy as np

from npformer.ops.attention import (
    AttentionMixCache,
    AttentionScoresCache,
    attention_mix_backward,
    attention_mix_forward,
    attention_scores_backward,
    attention_scores_forward,
)
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.ops.positions.shaw import (
    ShawKeyCache,
    ShawValueCache,
    shaw_key_backward,
    shaw_key_forward,
    shaw_value_backward,
    shaw_value_forward,
)
from npformer.ops.softmax import (
    MaskedSoftmaxCache,
    masked_softmax_backward,
    masked_softmax_forward,
)
from npformer.types import BoolArray, FloatArray


class ShawAttentionCache(NamedTuple):
    """What `shaw_attention_backward` needs: the caches of the six steps."""

    key: ShawKeyCache
    scores: AttentionScoresCache
    softmax: MaskedSoftmaxCache
    dropout: DropoutCache
    mix: AttentionMixCache
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
    scores, scores_cache = attention_scores_forward(q, k, bias, scale=scale)
    probs, softmax_cache = masked_softmax_forward(scores, keep)
    dropped, dropout_cache = dropout_forward(probs, p_drop, rng)
    mixed, mix_cache = attention_mix_forward(dropped, v)
    moved, value_cache = shaw_value_forward(dropped, rel_v, offset=offset)
    ctx = mixed + moved
    cache = ShawAttentionCache(
        key_cache, scores_cache, softmax_cache, dropout_cache, mix_cache, value_cache
    )
    return ctx, scores, cache


def shaw_attention_backward(
    dctx: FloatArray | None, dscores: FloatArray | None, cache: ShawAttentionCache
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    r"""Undo `shaw_attention_forward`, step by step from its last line to its first.

    The dropped probabilities went two ways, to the values and to their table, and so did q, to
    the keys and to theirs: each gradient is a sum of two. A loss on the scores joins where they
    left, as in `attention_backward`.

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
    dmoved, drel_v = shaw_value_backward(dctx, cache.value)  # shaw_value_forward(dropped, ...)
    dmixed, dv = attention_mix_backward(dctx, cache.mix)  # attention_mix_forward(dropped, v)
    dprobs = dropout_backward(dmoved + dmixed, cache.dropout)  # dropout_forward(probs, ...)
    total = masked_softmax_backward(dprobs, cache.softmax)  # masked_softmax_forward(scores, keep)
    if dscores is not None:
        total += dscores
    dq, dk, dbias = attention_scores_backward(total, cache.scores)  # attention_scores_forward(...)
    assert dbias is not None  # the scores had a bias
    dq_key, drel_k = shaw_key_backward(dbias, cache.key)  # shaw_key_forward(q, rel_k, ...)
    return dq + dq_key, dk, dv, drel_k, drel_v

"""From queries to the values they find: all scores at once, or block by block.

Everything of attention that has no maps of its own: grouped heads, the bias of a position scheme,
scores, softmax, dropout, the average of the values.
"""

from typing import Any, NamedTuple, Self

import numpy as np

from npformer.checks import InputError
from npformer.layers.relative import Scheme
from npformer.ops.attention import (
    AttentionMixCache,
    AttentionScoresCache,
    attention_mix_backward,
    attention_mix_forward,
    attention_scores_backward,
    attention_scores_forward,
)
from npformer.ops.blockwise_attention import (
    BlockwiseAttentionCache,
    blockwise_attention_backward,
    blockwise_attention_forward,
)
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.ops.grouped_heads import (
    RepeatHeadsCache,
    repeat_heads_backward,
    repeat_heads_forward,
)
from npformer.ops.softmax import (
    MaskedSoftmaxCache,
    masked_softmax_backward,
    masked_softmax_forward,
)
from npformer.types import BoolArray, FloatArray, IntArray, Params

# T S from which on attention goes block by block if nobody asks for its scores. Here both take the
# same time, with a tenth of the memory; at twice the length, on four sequences, half the time. At
# 512 x 512 blocks cost a tenth (`python -m benchmarks.long_sequences`, with and without --keep).
BLOCKWISE_FROM = 1024 * 1024


class KeyValues(NamedTuple):
    """Keys and values of a sequence, G heads of each. Those of earlier tokens are the KV cache."""

    k: FloatArray  # (B, G, S, K)
    v: FloatArray  # (B, G, S, K)

    @property
    def length(self) -> int:
        """The number of tokens, S."""
        return int(self.k.shape[2])

    def take(self, rows: IntArray) -> Self:
        """Return those of these rows of the batch, in this order."""
        return type(self)(self.k[rows], self.v[rows])

    def then(self, more: Self) -> Self:
        """Return these and then those of further tokens."""
        k, v = (np.concatenate(pair, axis=2) for pair in zip(self, more, strict=True))
        return type(self)(k, v)


class PlainCache(NamedTuple):
    """What it takes to undo attention that had all scores at once."""

    scores: AttentionScoresCache
    softmax: MaskedSoftmaxCache
    dropout: DropoutCache
    mix: AttentionMixCache
    moved: Any  # of the scheme's `mix_forward`


class AttendCache(NamedTuple):
    """What `attend_backward` needs."""

    groups: tuple[RepeatHeadsCache, RepeatHeadsCache] | None  # of k and v
    bias: Any  # of the scheme's `bias_forward`
    attention: PlainCache | BlockwiseAttentionCache


def attend_forward(
    scheme: Scheme,
    q: FloatArray,
    keys: KeyValues,
    keep: BoolArray | None = None,
    shared: FloatArray | None = None,
    offset: int = 0,
    *,
    rng: np.random.Generator | None = None,
    output_scores: bool = False,
) -> tuple[FloatArray, FloatArray | None, AttendCache]:
    r"""Attend from queries to keys and values.

    .. math:: \mathrm{ctx} = \operatorname{dropout}\bigl(\operatorname{softmax}_{\mathrm{keep}}
              (c\,q k^\top + \mathrm{bias})\bigr)\,v

    where the scheme of relative positions says what c and the bias are, and may add to ctx.

    Parameters
    ----------
    scheme : Scheme
    q : ndarray of shape (B, H, T, K)
    keys : KeyValues
        G heads, a divisor of H: each is read by H/G heads of queries.
    keep : boolean ndarray that broadcasts to (B, H, T, S), optional
        True = may be attended to.
    shared : ndarray, optional
        What the scheme has made for all layers of the stack.
    offset : int
        How many keys come before the first query.
    rng : numpy.random.Generator, optional
        None means no dropout.
    output_scores : bool
        Return the scores before the mask. Without them a long sequence goes block by block, if
        the scheme can: the same result to rounding, but dropout draws other masks.

    Returns
    -------
    ctx : ndarray of shape (B, H, T, K)
    scores : ndarray of shape (B, H, T, S), or None
    cache : AttendCache
    """
    p_drop = scheme.config.attention_dropout
    k, v = keys
    groups = None
    if k.shape[1] != q.shape[1]:
        k, repeated_k = repeat_heads_forward(k, q.shape[1])  # (B, H, S, K)
        v, repeated_v = repeat_heads_forward(v, q.shape[1])  # (B, H, S, K)
        groups = repeated_k, repeated_v
    bias, bias_cache = scheme.bias_forward(q, k, shared, offset)
    if scheme.blockwise and not output_scores and q.shape[2] * k.shape[2] >= BLOCKWISE_FROM:
        ctx, blocks = blockwise_attention_forward(
            q, k, v, keep, bias, scale=scheme.scale, p_drop=p_drop, rng=rng
        )
        return ctx, None, AttendCache(groups, bias_cache, blocks)
    scores, scores_cache = attention_scores_forward(q, k, bias, scale=scheme.scale)
    probs, softmax_cache = masked_softmax_forward(scores, keep)
    dropped, dropout_cache = dropout_forward(probs, p_drop, rng)
    ctx, mix_cache = attention_mix_forward(dropped, v)  # (B, H, T, K)
    moved, moved_cache = scheme.mix_forward(dropped, offset)
    if moved is not None:
        ctx = ctx + moved
    plain = PlainCache(scores_cache, softmax_cache, dropout_cache, mix_cache, moved_cache)
    return ctx, scores if output_scores else None, AttendCache(groups, bias_cache, plain)


def attend_backward(
    scheme: Scheme, dctx: FloatArray, dscores: FloatArray | None, cache: AttendCache
) -> tuple[FloatArray, KeyValues, FloatArray | None, Params]:
    """Undo `attend_forward`.

    Parameters
    ----------
    scheme : Scheme
    dctx : ndarray of shape (B, H, T, K)
    dscores : ndarray of shape (B, H, T, S), or None
    cache : AttendCache

    Returns
    -------
    dq : ndarray of shape (B, H, T, K)
    dkeys : KeyValues
        Gradients of k and v.
    dshared : ndarray or None
    grads : dict
        Of the scheme's arrays in this layer.

    Raises
    ------
    InputError
        If there is a cotangent of scores that a long sequence never had.
    """
    grads: Params = {}
    attention = cache.attention
    if isinstance(attention, BlockwiseAttentionCache):
        if dscores is not None:
            raise InputError("scores: got a cotangent, expected None without output_scores=True")
        dq, dk, dv, dbias = blockwise_attention_backward(dctx, attention)
    else:
        dmoved, mix_grads = scheme.mix_backward(dctx, attention.moved)
        ddropped, dv = attention_mix_backward(dctx, attention.mix)
        if dmoved is not None:
            ddropped = ddropped + dmoved
        dprobs = dropout_backward(ddropped, attention.dropout)
        dsoftmax = masked_softmax_backward(dprobs, attention.softmax)
        dtotal = dsoftmax if dscores is None else dsoftmax + dscores
        dq, dk, dbias = attention_scores_backward(dtotal, attention.scores)
        grads |= mix_grads
    dq_bias, dk_bias, dshared, bias_grads = scheme.bias_backward(dbias, cache.bias)
    if dq_bias is not None:
        dq = dq + dq_bias
    if dk_bias is not None:
        dk = dk + dk_bias
    if cache.groups is not None:
        dv = repeat_heads_backward(dv, cache.groups[1])  # (B, G, S, K)
        dk = repeat_heads_backward(dk, cache.groups[0])  # (B, G, S, K)
    return dq, KeyValues(dk, dv), dshared, grads | bias_grads

"""Attention for long sequences: block by block, with a softmax that never sees a whole row."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_bias, check_float, check_keep, check_shape
from npformer.ops.attention import (
    AttentionMixCache,
    AttentionScoresCache,
    attention_mix_backward,
    attention_mix_forward,
    attention_scores_backward,
    attention_scores_forward,
)
from npformer.ops.dropout import dropout_backward, dropout_forward
from npformer.ops.fast import exp_over, hide
from npformer.types import BoolArray, FloatArray

# 512 x 512 float32 are 1 MiB, which a core's own cache holds: with 256 and with 1024 the pass takes
# longer from 1024 tokens on (`python -m benchmarks.long_sequences --blocks 256 512 1024`).
BLOCK = 512


class BlockwiseAttentionCache(NamedTuple):
    """What `blockwise_attention_backward` needs: nothing of shape (T, S) but what was given."""

    q: FloatArray  # (B, H, T, K)
    k: FloatArray  # (B, H, S, K)
    v: FloatArray  # (B, H, S, K)
    keep: BoolArray | None  # broadcasts to (B, H, T, S)
    bias: FloatArray | None  # broadcasts to (B, H, T, S)
    scale: float
    p_drop: float
    seed: int | None  # of the dropout masks; None: nothing was dropped
    block: int
    ctx: FloatArray  # (B, H, T, K)
    lse: FloatArray  # (B, H, T, 1) log of the sum of exp(scores), over the kept keys


def blockwise_attention_forward(
    q: FloatArray,
    k: FloatArray,
    v: FloatArray,
    keep: BoolArray | None = None,
    bias: FloatArray | None = None,
    *,
    scale: float | None = None,
    p_drop: float = 0.0,
    rng: np.random.Generator | None = None,
    block: int = BLOCK,
) -> tuple[FloatArray, BlockwiseAttentionCache]:
    r"""Scaled dot-product attention in memory that grows with T + S instead of T S.

    The result is that of `attention_forward`. The keys come in blocks, and three numbers or rows
    are carried from block to block for each query: the maximum m so far, the sum
    :math:`\ell` of the exponentials and the mix o of the values, both relative to that maximum.
    When a block J raises the maximum to m', what was summed before shrinks:

    .. math::
        m'_t &= \max\bigl(m_t, \max_{s \in J} a_{ts}\bigr) \\
        w_{ts} &= e^{a_{ts} - m'_t}, \quad s \in J \\
        \ell'_t &= e^{m_t - m'_t}\,\ell_t + \sum_{s \in J} w_{ts} \\
        o'_{td} &= e^{m_t - m'_t}\,o_{td} + \sum_{s \in J} r_{ts}\,w_{ts}\,v_{sd}

    and after the last block :math:`\mathrm{ctx}_{td} = o_{td} / \ell_t`. Backward needs of all
    this only :math:`\mathrm{lse}_t = m_t + \log \ell_t`.

    Parameters
    ----------
    q : ndarray of shape (B, H, T, K)
    k : ndarray of shape (B, H, S, K)
    v : ndarray of shape (B, H, S, K)
        Its last axis may have another size than that of q and k.
    keep : boolean ndarray that broadcasts to (B, H, T, S), optional
        True = may attend. A query with nothing to attend to gets the context zero.
    bias : ndarray that broadcasts to (B, H, T, S), optional
    scale : float, optional
        c; default 1/sqrt(K).
    p_drop : float
        Dropout on the probabilities.
    rng : numpy.random.Generator, optional
        None means no dropout. It gives one number, the seed; the mask r of a block is drawn from
        the seed and the block's place, and so is never kept: backward draws it again.
    block : int
        Queries and keys in a block; no larger array than (block, block) is made for a head.

    Returns
    -------
    ctx : ndarray of shape (B, H, T, K)
    cache : BlockwiseAttentionCache

    Raises
    ------
    InputError
        If the shapes do not fit, ``keep`` is not boolean, S = 0, or block < 1.

    References
    ----------
    Milakov and Gimelshein 2018, "Online normalizer calculation for softmax", algorithm 3; Dao et
    al. 2022, "FlashAttention", algorithm 2; Dao 2023, "FlashAttention-2", algorithm 1 (divides
    once, at the end, and keeps lse). Deviations: one head at a time; blocks that the mask hides
    altogether are not skipped; a query with nothing to attend to gives zeros.
    """
    check_float("q", q)
    check_shape("q", q, ("B", "H", "T", "K"))
    check_shape("k", k, (*q.shape[:2], "S", q.shape[3]))
    check_shape("v", v, (*k.shape[:3], "K"))
    shape = (*q.shape[:3], k.shape[2])
    if k.shape[2] == 0:
        raise InputError(f"k: got shape {k.shape}, expected axis 2 not to be empty")
    if keep is not None:
        check_keep(keep, shape)
    if bias is not None:
        check_bias(bias, shape)
    if block < 1:
        raise InputError(f"block: got {block}, expected at least 1")
    if scale is None:
        scale = 1 / math.sqrt(q.shape[3])
    seed = None if rng is None or p_drop == 0 else int(rng.integers(2**63))
    ctx = np.empty((*q.shape[:3], v.shape[3]), q.dtype)
    lse = np.empty((*q.shape[:3], 1), q.dtype)
    cache = BlockwiseAttentionCache(q, k, v, keep, bias, scale, p_drop, seed, block, ctx, lse)
    for b, h, rows in _query_blocks(cache):
        # Far below any score, and far above what stands for a masked one: until a key is kept,
        # each exponential is 0.
        top = np.full_like(lse[b, h, rows], np.finfo(q.dtype).min / 4)
        total = np.zeros_like(top)
        mixed = np.zeros_like(ctx[b, h, rows])
        for cols in _blocks(k.shape[2], block):
            scores, _ = _masked_scores(cache, b, h, rows, cols)
            higher = np.maximum(top, scores.max(axis=-1, keepdims=True))
            weights = exp_over(scores, higher)
            shrink = np.exp(top - higher)
            total = shrink * total + weights.sum(axis=-1, keepdims=True)
            dropped, _ = dropout_forward(weights, p_drop, _block_rng(cache, b, h, rows, cols))
            mix, _ = attention_mix_forward(dropped, v[b, h, cols])
            mixed = shrink * mixed + mix
            top = higher
        total[total == 0] = 1
        ctx[b, h, rows] = mixed / total
        lse[b, h, rows] = top + np.log(total)
    return ctx, cache


def blockwise_attention_backward(
    dctx: FloatArray, cache: BlockwiseAttentionCache
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray | None]:
    r"""Undo `blockwise_attention_forward`, block by block.

    The scores of a block are computed again; with the sum over the whole row known, they give the
    probabilities without another pass:

    .. math:: p_{ts} = e^{a_{ts} - \mathrm{lse}_t}

    The softmax's backward, :math:`da_{ts} = p_{ts}(dp_{ts} - \delta_t)`, needs the mean of dp under
    p, again over the whole row. It is known too, because the mix was over the same row: with
    :math:`dp_{ts} = r_{ts} \sum_d d\mathrm{ctx}_{td} v_{sd}`,

    .. math:: \delta_t = \sum_s p_{ts}\,dp_{ts}
                       = \sum_d d\mathrm{ctx}_{td} \sum_s r_{ts}\,p_{ts}\,v_{sd}
                       = \sum_d d\mathrm{ctx}_{td}\,\mathrm{ctx}_{td}

    The rest is `attention_backward` on a block. A query's gradient is a sum over the blocks of
    keys, a key's and a value's one over the blocks of queries.

    Parameters
    ----------
    dctx : ndarray of shape (B, H, T, K)
    cache : BlockwiseAttentionCache

    Returns
    -------
    dq : ndarray of shape (B, H, T, K)
    dk : ndarray of shape (B, H, S, K)
    dv : ndarray of shape (B, H, S, K)
    dbias : ndarray of the shape of bias, or None if there was none
    """
    v = cache.v
    dq, dk, dv = np.zeros_like(cache.q), np.zeros_like(cache.k), np.zeros_like(v)
    dbias = None if cache.bias is None else np.zeros_like(cache.bias)
    for b, h, rows in _query_blocks(cache):
        dmix = dctx[b, h, rows]  # ctx[b, h, rows] = mixed / total
        delta = (dmix * cache.ctx[b, h, rows]).sum(axis=-1, keepdims=True)  # mixed / total
        for cols in _blocks(v.shape[2], cache.block):
            scores, scores_cache = _masked_scores(cache, b, h, rows, cols)
            probs = exp_over(scores, cache.lse[b, h, rows])
            dropped, dropout_cache = dropout_forward(
                probs, cache.p_drop, _block_rng(cache, b, h, rows, cols)
            )
            mix_cache = AttentionMixCache(dropped, v[b, h, cols])
            # attention_mix_forward(dropped, ...)
            ddropped, dv_block = attention_mix_backward(dmix, mix_cache)
            dprobs = dropout_backward(ddropped, dropout_cache)  # dropout_forward(weights, ...)
            dscores = probs * (dprobs - delta)  # weights = exp_over(scores, higher)
            # scores, _ = _masked_scores(...)
            dq_block, dk_block, dbias_block = attention_scores_backward(dscores, scores_cache)
            dv[b, h, cols] += dv_block
            dq[b, h, rows] += dq_block
            dk[b, h, cols] += dk_block
            if dbias is not None and dbias_block is not None:
                dbias[_part(dbias.shape, b, h, rows, cols)] += dbias_block
    return dq, dk, dv, dbias


def _masked_scores(
    cache: BlockwiseAttentionCache, *place: slice
) -> tuple[FloatArray, AttentionScoresCache]:
    """Return the scores of a block, those of masked keys so low that their exponential is 0."""
    b, h, rows, cols = place
    bias = None if cache.bias is None else cache.bias[_part(cache.bias.shape, *place)]
    scores, scores_cache = attention_scores_forward(
        cache.q[b, h, rows], cache.k[b, h, cols], bias, scale=cache.scale
    )
    if cache.keep is not None:
        keep = cache.keep[_part(cache.keep.shape, *place)]
        scores = hide(scores, keep)
    return scores, scores_cache


def _block_rng(cache: BlockwiseAttentionCache, *place: slice) -> np.random.Generator | None:
    if cache.seed is None:
        return None
    return np.random.default_rng([cache.seed, *(part.start for part in place)])


def _query_blocks(cache: BlockwiseAttentionCache) -> Iterator[tuple[slice, slice, slice]]:
    """Yield sequence, head and queries; one head at a time, so that a block stays in cache."""
    batch, heads, length, _ = cache.q.shape
    for b in _blocks(batch, 1):
        for h in _blocks(heads, 1):
            for rows in _blocks(length, cache.block):
                yield b, h, rows


def _blocks(length: int, block: int) -> Iterator[slice]:
    return (slice(i, min(i + block, length)) for i in range(0, length, block))


def _part(shape: tuple[int, ...], *place: slice) -> tuple[slice, ...]:
    """Return where a block lies in an array of ``shape``, which broadcasts to (B, H, T, S)."""
    return tuple(slice(None) if n == 1 else part for n, part in zip(shape, place, strict=True))

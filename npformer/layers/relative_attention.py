"""Attention between heads, in the way that its relative positions ask for."""

from typing import Any, NamedTuple

import numpy as np

from npformer.layers.attention_config import AttentionConfig
from npformer.ops.attention import AttentionCache, attention_backward, attention_forward
from npformer.ops.blockwise_attention import (
    BlockwiseAttentionCache,
    blockwise_attention_backward,
    blockwise_attention_forward,
)
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.ops.positions.alibi import alibi_bias
from npformer.ops.positions.deberta import (
    DisentangledBiasCache,
    disentangled_bias_backward,
    disentangled_bias_forward,
    disentangled_scale,
)
from npformer.ops.positions.rotary import RotaryCache, rotary_forward
from npformer.ops.positions.shaw_attention import (
    ShawAttentionCache,
    shaw_attention_backward,
    shaw_attention_forward,
)
from npformer.types import BoolArray, FloatArray, Params, given

# T S from which on attention goes block by block if nobody asks for its scores. Here both take the
# same time, with a tenth of the memory; at twice the length, on four sequences, half the time. At
# 512 x 512 blocks cost a tenth (`python -m benchmarks.long_sequences`, with and without --keep).
BLOCKWISE_FROM = 1024 * 1024


class DisentangledAttentionCache(NamedTuple):
    """What it takes to undo DeBERTa's attention."""

    q_r: LinearCache
    k_r: LinearCache
    bias: DisentangledBiasCache
    attention: AttentionCache


RelativeAttentionCache = (
    AttentionCache | BlockwiseAttentionCache | ShawAttentionCache | DisentangledAttentionCache
)


def relative_attention_forward(
    config: AttentionConfig,
    params: Params,
    q: FloatArray,
    k: FloatArray,
    v: FloatArray,
    keep: BoolArray | None,
    shared: FloatArray | None,
    *,
    relative: str,
    offset: int = 0,
    rng: np.random.Generator | None = None,
    output_scores: bool = True,
) -> tuple[FloatArray, FloatArray | None, RelativeAttentionCache]:
    """Attend; rotary positions are in q and k already, the others enter here.

    Parameters
    ----------
    config : AttentionConfig
    params : dict
        Those of `MultiHeadAttention`, for the tables and maps of the positions.
    q : ndarray of shape (B, H, T, K)
    k : ndarray of shape (B, H, S, K)
    v : ndarray of shape (B, H, S, K)
    keep : boolean ndarray that broadcasts to (B, H, T, S), optional
    shared : ndarray, optional
        What all layers share: T5's bias (1, H, T, S) or DeBERTa's table (2k, D).
    relative : str
        The positions in force: those of ``config``, or "none" in cross-attention.
    offset : int
        Position of the first query among the keys.
    rng : numpy.random.Generator, optional
        None means no dropout.
    output_scores : bool
        Without them a long sequence is attended to block by block.

    Returns
    -------
    ctx : ndarray of shape (B, H, T, K)
    scores : ndarray of shape (B, H, T, S), or None if it went block by block
    cache : RelativeAttentionCache
    """
    scale, p_drop = config.attention_scale, config.attention_dropout
    if relative == "shaw":
        tables = params["rel_k"], params["rel_v"]
        return shaw_attention_forward(
            q, k, v, *tables, keep, offset=offset, scale=scale, p_drop=p_drop, rng=rng
        )
    if relative == "deberta":
        assert shared is not None  # MultiHeadAttention has seen to it
        scale = scale or disentangled_scale(config.head_size)
        q_r, q_r_cache = linear_forward(shared, params["w_qr"], params.get("b_qr"))  # (2k, D)
        k_r, k_r_cache = linear_forward(shared, params["w_kr"], params.get("b_kr"))  # (2k, D)
        q_r, k_r = _heads(q_r, config), _heads(k_r, config)  # (H, 2k, K)
        bias, bias_cache = disentangled_bias_forward(q, k, q_r, k_r, offset=offset, scale=scale)
        ctx, scores, attention = attention_forward(
            q, k, v, keep, bias, scale=scale, p_drop=p_drop, rng=rng
        )
        return ctx, scores, DisentangledAttentionCache(q_r_cache, k_r_cache, bias_cache, attention)
    if relative == "alibi":
        lengths = q.shape[2], k.shape[2]
        shared = alibi_bias(q.shape[1], *lengths, offset=offset, symmetric=True, dtype=q.dtype)
    if output_scores or q.shape[2] * k.shape[2] < BLOCKWISE_FROM:
        return attention_forward(q, k, v, keep, shared, scale=scale, p_drop=p_drop, rng=rng)
    ctx, blocks = blockwise_attention_forward(
        q, k, v, keep, shared, scale=scale, p_drop=p_drop, rng=rng
    )
    return ctx, None, blocks


def relative_attention_backward(
    config: AttentionConfig,
    dctx: FloatArray,
    dscores: FloatArray | None,
    cache: RelativeAttentionCache,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray | None, Params]:
    """Undo `relative_attention_forward`.

    Parameters
    ----------
    config : AttentionConfig
    dctx : ndarray of shape (B, H, T, K)
    dscores : ndarray of shape (B, H, T, S), or None for zero
    cache : RelativeAttentionCache

    Returns
    -------
    dq : ndarray of shape (B, H, T, K)
    dk : ndarray of shape (B, H, S, K)
    dv : ndarray of shape (B, H, S, K)
    dshared : ndarray of the shape of ``shared``, or None if there was none
    grads : dict
        Of the tables and maps of the positions.
    """
    g: dict[str, Any] = {}
    if isinstance(cache, ShawAttentionCache):
        dq, dk, dv, g["rel_k"], g["rel_v"] = shaw_attention_backward(dctx, dscores, cache)
        return dq, dk, dv, None, g
    if isinstance(cache, DisentangledAttentionCache):
        dq, dk, dv, dbias = attention_backward(dctx, dscores, cache.attention)
        assert dbias is not None  # the scores had a bias
        dq_bias, dk_bias, dq_r, dk_r = disentangled_bias_backward(dbias, cache.bias)
        dq += dq_bias
        dk += dk_bias
        dk_r, dq_r = _rows(dk_r), _rows(dq_r)  # (2k, D)
        dshared_k, g["w_kr"], g["b_kr"] = linear_backward(dk_r, cache.k_r)
        dshared_q, g["w_qr"], g["b_qr"] = linear_backward(dq_r, cache.q_r)
        return dq, dk, dv, dshared_q + dshared_k, given(g)
    if isinstance(cache, BlockwiseAttentionCache):
        assert dscores is None  # MultiHeadAttention has seen to it
        dq, dk, dv, dshared = blockwise_attention_backward(dctx, cache)
    else:
        dq, dk, dv, dshared = attention_backward(dctx, dscores, cache)
    if config.relative == "alibi":
        dshared = None  # a constant
    return dq, dk, dv, dshared, g


def turn(config: AttentionConfig, x: FloatArray, first: int) -> tuple[FloatArray, RotaryCache]:
    """Apply rotary positions from ``first`` on to queries or keys (B, H, T, K)."""
    return rotary_forward(
        x,
        np.arange(first, first + x.shape[2]),
        rotary_dim=config.rotary_size,
        interleaved=config.rotary_layout == "interleaved",
    )


def _heads(x: FloatArray, config: AttentionConfig) -> FloatArray:
    """(R, D) -> (H, R, K), a view."""
    return x.reshape(len(x), config.num_heads, config.head_size).swapaxes(0, 1)


def _rows(x: FloatArray) -> FloatArray:
    """(H, R, K) -> (R, D); undoes `_heads`."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)

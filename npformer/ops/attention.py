"""Scaled dot-product attention, composed of three pairs that other schemes compose anew."""

import math
from typing import NamedTuple

import numpy as np

from npformer.checks import check_bias, check_float, check_shape
from npformer.ops.broadcast import sum_to
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.ops.fast import dot_rows
from npformer.ops.softmax import (
    MaskedSoftmaxCache,
    masked_softmax_backward,
    masked_softmax_forward,
)
from npformer.types import BoolArray, FloatArray


class AttentionScoresCache(NamedTuple):
    """What `attention_scores_backward` needs."""

    scaled_q: FloatArray  # (B, H, T, K) c q
    k: FloatArray  # (B, H, S, K)
    bias: FloatArray | None  # broadcasts to (B, H, T, S)
    scale: float


def attention_scores_forward(
    q: FloatArray,
    k: FloatArray,
    bias: FloatArray | None = None,
    *,
    scale: float | None = None,
) -> tuple[FloatArray, AttentionScoresCache]:
    r"""Compute how much each query asks for each key, before any mask: TinyBERT's A.

    .. math:: a_{ts} = c \sum_d q_{td} k_{sd} + \mathrm{bias}_{ts}

    If the entries of q and k are independent with variance 1, their inner product has
    variance K; c = 1/sqrt(K) brings it back to 1, so that the softmax does not saturate.

    Parameters
    ----------
    q : ndarray of shape (B, H, T, K)
    k : ndarray of shape (B, H, S, K)
    bias : ndarray that broadcasts to (B, H, T, S), optional
        Added after scaling: relative positions enter here.
    scale : float, optional
        c; default 1/sqrt(K).

    Returns
    -------
    scores : ndarray of shape (B, H, T, S)
    cache : AttentionScoresCache

    Raises
    ------
    InputError
        If the shapes do not fit each other.

    References
    ----------
    Vaswani et al. 2017, equation 1 (the argument of the softmax); Jiao et al. 2020,
    equation 7 (A, "unnormalized").
    """
    check_float("q", q)
    check_shape("q", q, ("B", "H", "T", "K"))
    check_shape("k", k, (*q.shape[:2], "S", q.shape[3]))
    scale = 1 / math.sqrt(q.shape[3]) if scale is None else float(scale)
    scaled_q = scale * q
    scores = dot_rows(scaled_q, k)  # (B, H, T, S)
    if bias is not None:
        check_bias(bias, scores.shape)
        scores += bias
    return scores, AttentionScoresCache(scaled_q, k, bias, scale)


def attention_scores_backward(
    dscores: FloatArray, cache: AttentionScoresCache
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    r"""Undo `attention_scores_forward`.

    .. math::
        d\mathrm{bias}_{ts} &= da_{ts} \text{, summed over the axes it was broadcast along} \\
        dq_{td} &= c \sum_s da_{ts} k_{sd} \\
        dk_{sd} &= c \sum_t da_{ts} q_{td}

    Parameters
    ----------
    dscores : ndarray of shape (B, H, T, S)
    cache : AttentionScoresCache

    Returns
    -------
    dq : ndarray of shape (B, H, T, K)
    dk : ndarray of shape (B, H, S, K)
    dbias : ndarray of the shape of bias, or None if there was none
    """
    scaled_q, k, bias, scale = cache
    dbias = sum_to(dscores, bias.shape) if bias is not None else None  # scores += bias
    dk = dscores.swapaxes(-1, -2) @ scaled_q  # (B, H, S, K) scores = dot_rows(scaled_q, k)
    dq = dscores @ k  # (B, H, T, K) scores = dot_rows(scaled_q, k)
    dq *= scale  # scaled_q = scale * q
    return dq, dk, dbias


class AttentionMixCache(NamedTuple):
    """What `attention_mix_backward` needs."""

    probs: FloatArray  # (B, H, T, S)
    v: FloatArray  # (B, H, S, K)


def attention_mix_forward(probs: FloatArray, v: FloatArray) -> tuple[FloatArray, AttentionMixCache]:
    r"""Average the values with the attention weights.

    .. math:: \mathrm{ctx}_{td} = \sum_s p_{ts} v_{sd}

    Parameters
    ----------
    probs : ndarray of shape (B, H, T, S)
    v : ndarray of shape (B, H, S, K)

    Returns
    -------
    ctx : ndarray of shape (B, H, T, K)
    cache : AttentionMixCache

    Raises
    ------
    InputError
        If the shapes do not fit each other.
    """
    check_float("probs", probs)
    check_shape("probs", probs, ("B", "H", "T", "S"))
    check_shape("v", v, (*probs.shape[:2], probs.shape[3], "K"))
    ctx = probs @ v  # (B, H, T, K)
    return ctx, AttentionMixCache(probs, v)


def attention_mix_backward(
    dctx: FloatArray, cache: AttentionMixCache
) -> tuple[FloatArray, FloatArray]:
    r"""Undo `attention_mix_forward`.

    .. math:: dp_{ts} = \sum_d d\mathrm{ctx}_{td} v_{sd}, \qquad
              dv_{sd} = \sum_t p_{ts}\, d\mathrm{ctx}_{td}

    Parameters
    ----------
    dctx : ndarray of shape (B, H, T, K)
    cache : AttentionMixCache

    Returns
    -------
    dprobs : ndarray of shape (B, H, T, S)
    dv : ndarray of shape (B, H, S, K)
    """
    probs, v = cache
    dprobs = dot_rows(dctx, v)  # (B, H, T, S) ctx = probs @ v
    dv = probs.swapaxes(-1, -2) @ dctx  # (B, H, S, K) ctx = probs @ v
    return dprobs, dv


class AttentionCache(NamedTuple):
    """What `attention_backward` needs: the caches of the four steps."""

    scores: AttentionScoresCache
    softmax: MaskedSoftmaxCache
    dropout: DropoutCache
    mix: AttentionMixCache


def attention_forward(
    q: FloatArray,
    k: FloatArray,
    v: FloatArray,
    keep: BoolArray | None = None,
    bias: FloatArray | None = None,
    *,
    scale: float | None = None,
    p_drop: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[FloatArray, FloatArray, AttentionCache]:
    r"""Scaled dot-product attention.

    .. math:: \mathrm{ctx} = \bigl(r \odot
              \operatorname{softmax}_{\mathrm{keep}}(c\,q k^\top + \mathrm{bias})\bigr)\,v

    with the dropout factor r of `dropout_forward` on the probabilities.

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
        None means no dropout.

    Returns
    -------
    ctx : ndarray of shape (B, H, T, K)
    scores : ndarray of shape (B, H, T, S)
        Scaled and biased, before the mask and the softmax: the A of TinyBERT.
    cache : AttentionCache

    Raises
    ------
    InputError
        If the shapes do not fit, ``keep`` is not boolean, or S = 0.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", equation 1. Deviations: a query with
    nothing to attend to gives zeros (Hugging Face: the mean of all values).
    """
    scores, scores_cache = attention_scores_forward(q, k, bias, scale=scale)
    probs, softmax_cache = masked_softmax_forward(scores, keep)
    dropped, dropout_cache = dropout_forward(probs, p_drop, rng)
    ctx, mix_cache = attention_mix_forward(dropped, v)
    return ctx, scores, AttentionCache(scores_cache, softmax_cache, dropout_cache, mix_cache)


def attention_backward(
    dctx: FloatArray | None, dscores: FloatArray | None, cache: AttentionCache
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray | None]:
    r"""Undo `attention_forward`, step by step from its last line to its first.

    The mix saw the dropped probabilities, so dv uses them; the softmax is undone with the
    undropped ones. A loss on the scores themselves, as TinyBERT's, joins where the scores
    left: its cotangent is added to the one that comes down through the softmax.

    Without it dk summed over the keys is zero, and with it the gradient of a layer's key bias: a
    constant added to every key of a row shifts that row's scores alike, and the softmax does not
    see a shift.

    Parameters
    ----------
    dctx : ndarray of shape (B, H, T, K), or None for zero
    dscores : ndarray of shape (B, H, T, S), or None for zero
    cache : AttentionCache

    Returns
    -------
    dq : ndarray of shape (B, H, T, K)
    dk : ndarray of shape (B, H, S, K)
    dv : ndarray of shape (B, H, S, K)
    dbias : ndarray of the shape of bias, or None if there was none
    """
    if dctx is None:
        dv = np.zeros_like(cache.mix.v)
        total = np.zeros_like(cache.softmax.probs) if dscores is None else dscores
    else:
        ddropped, dv = attention_mix_backward(dctx, cache.mix)  # attention_mix_forward(dropped, v)
        dprobs = dropout_backward(ddropped, cache.dropout)  # dropout_forward(probs, ...)
        total = masked_softmax_backward(dprobs, cache.softmax)  # masked_softmax_forward(...)
        if dscores is not None:
            total += dscores
    dq, dk, dbias = attention_scores_backward(total, cache.scores)  # attention_scores_forward(...)
    return dq, dk, dv, dbias

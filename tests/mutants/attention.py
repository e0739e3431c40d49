"""Wrong backwards of the softmaxes and of attention."""

import math

import numpy as np

from mutants.registry import mutant
from npformer import ops


@mutant("softmax")
def softmax_mean_term_missing(dprobs, cache):
    """Only the diagonal of the Jacobian."""
    return dprobs * cache.probs


@mutant("softmax")
def softmax_unweighted_sum(dprobs, cache):
    """The sum of dprobs where their mean under probs belongs."""
    return cache.probs * (dprobs - dprobs.sum(axis=-1, keepdims=True))


@mutant("softmax")
def softmax_sigmoid_derivative(dprobs, cache):
    """p (1 - p), as if every entry were a sigmoid of its own."""
    return dprobs * cache.probs * (1 - cache.probs)


@mutant("softmax/first axis")
def softmax_always_the_last_axis(dprobs, cache):
    """The axis is forgotten."""
    return ops.softmax_backward(dprobs, cache._replace(axis=-1))


@mutant("softmax")
def softmax_mean_over_everything(dprobs, cache):
    """The mean runs over all rows together (keepdims and axis forgotten)."""
    return cache.probs * (dprobs - (dprobs * cache.probs).sum())


@mutant("log_softmax")
def log_softmax_uniform(dlog_probs, cache):
    """1/C instead of p."""
    return dlog_probs - dlog_probs.mean(axis=-1, keepdims=True)


@mutant("log_softmax")
def log_softmax_undone_as_softmax(dlog_probs, cache):
    """The softmax's formula on the logarithm."""
    probs = np.exp(cache.log_probs)
    return probs * (dlog_probs - (dlog_probs * probs).sum(axis=-1, keepdims=True))


@mutant("log_softmax/middle axis")
def log_softmax_always_the_last_axis(dlog_probs, cache):
    """The axis is forgotten."""
    return ops.log_softmax_backward(dlog_probs, cache._replace(axis=-1))


@mutant("masked_softmax/padding")
def masked_softmax_mean_over_all(dprobs, cache):
    """The mean of dprobs is a plain one, the masked entries included."""
    return cache.probs * (dprobs - dprobs.mean(axis=-1, keepdims=True))


@mutant("masked_softmax/empty row")
def masked_softmax_mask_ignored(dprobs, cache):
    """The masked entries get a gradient as if they had a little probability."""
    return ops.softmax_backward(dprobs, ops.SoftmaxCache(cache.probs + 1e-3, -1))


@mutant("attention_scores", "constant factor")
def scores_scale_forgotten_in_dq(dscores, cache):
    """1/sqrt(K) is missing from dq."""
    dq, dk, dbias = ops.attention_scores_backward(dscores, cache)
    return dq / cache.scale, dk, dbias


@mutant("attention_scores", "constant factor")
def scores_scale_forgotten_in_dk(dscores, cache):
    """1/sqrt(K) is missing from dk."""
    dq, dk, dbias = ops.attention_scores_backward(dscores, cache)
    return dq, dk / cache.scale, dbias


@mutant("attention_scores", "constant factor")
def scores_multiplied_instead_of_divided(dscores, cache):
    """sqrt(K) instead of 1/sqrt(K)."""
    scale = math.sqrt(cache.k.shape[-1])
    return ops.attention_scores_backward(dscores, cache._replace(scale=scale))


@mutant("attention_scores/bias", "constant factor")
def scores_given_scale_ignored(dscores, cache):
    """Backward scales by 1/sqrt(K) whatever forward was told."""
    scale = 1 / math.sqrt(cache.k.shape[-1])
    return ops.attention_scores_backward(dscores, cache._replace(scale=scale))


@mutant("attention_scores", "shape")
def scores_q_and_k_swapped(dscores, cache):
    """The two gradients in the wrong order."""
    dq, dk, dbias = ops.attention_scores_backward(dscores, cache)
    return dk, dq, dbias


@mutant("attention_scores/bias", "missing broadcast sum")
def scores_dbias_not_summed(dscores, cache):
    """The bias gradient keeps the axes along which the bias was broadcast."""
    dq, dk, _ = ops.attention_scores_backward(dscores, cache)
    return dq, dk, dscores.copy()


@mutant("attention_scores/bias")
def scores_dbias_of_the_first_sequence(dscores, cache):
    """The bias gradient is cut to shape instead of summed."""
    dq, dk, _ = ops.attention_scores_backward(dscores, cache)
    return dq, dk, dscores[:1].copy()


@mutant("attention_scores/bias", "constant factor")
def scores_dbias_scaled(dscores, cache):
    """The bias gradient is scaled, though the bias is added after scaling."""
    dq, dk, dbias = ops.attention_scores_backward(dscores, cache)
    return dq, dk, dbias * cache.scale


@mutant("attention_mix", "constant factor")
def mix_dv_averaged(dctx, cache):
    """dv is the mean over the queries."""
    dprobs, dv = ops.attention_mix_backward(dctx, cache)
    return dprobs, dv / dctx.shape[-2]


@mutant("attention_mix")
def mix_heads_mixed(dctx, cache):
    """Every head gets the gradient of the sum of the heads."""
    return ops.attention_mix_backward(
        np.broadcast_to(dctx.sum(1, keepdims=True), dctx.shape), cache
    )


@mutant("attention_mix")
def mix_dprobs_weighted(dctx, cache):
    """dprobs is multiplied by probs, which is the softmax's business."""
    dprobs, dv = ops.attention_mix_backward(dctx, cache)
    return dprobs * cache.probs, dv


def undo_attention(dctx, dscores, cache, *, dropped_to_dv=True, drop_dprobs=True, probs=None):
    """`attention_backward` with its steps open to mistakes."""
    p = cache.softmax.probs if probs is None else probs
    dv = np.zeros_like(cache.mix.v)
    total = np.zeros_like(p)
    if dctx is not None:
        mix = cache.mix if dropped_to_dv else cache.mix._replace(probs=cache.softmax.probs)
        dprobs, dv = ops.attention_mix_backward(dctx, mix)
        if drop_dprobs:
            dprobs = ops.dropout_backward(dprobs, cache.dropout)
        total = ops.masked_softmax_backward(dprobs, ops.MaskedSoftmaxCache(p))
    if dscores is not None:
        total = total + dscores
    dq, dk, dbias = ops.attention_scores_backward(total, cache.scores)
    return dq, dk, dv, dbias


@mutant("attention/padding and dropout")
def attention_undropped_probs_in_dv(dctx, dscores, cache):
    """dv uses the probabilities before dropout."""
    return undo_attention(dctx, dscores, cache, dropped_to_dv=False)


@mutant("attention/padding and dropout")
def attention_dropout_not_undone(dctx, dscores, cache):
    """The gradient of the probabilities passes the dropout untouched."""
    return undo_attention(dctx, dscores, cache, drop_dprobs=False)


@mutant("attention/padding and dropout")
def attention_dropped_probs_in_the_softmax(dctx, dscores, cache):
    """The softmax is undone with the dropped probabilities."""
    return undo_attention(dctx, dscores, cache, probs=cache.mix.probs)


@mutant("attention/padding and dropout")
def attention_dropout_mask_not_reused(dctx, dscores, cache):
    """Backward draws a dropout mask of its own."""
    _, fresh = ops.dropout_forward(cache.softmax.probs, 0.3, np.random.default_rng(8))
    return undo_attention(dctx, dscores, cache._replace(dropout=fresh))


@mutant("attention/mask and bias")
def attention_mask_ignored(dctx, dscores, cache):
    """The softmax is undone as if every key had been attended to."""
    scores, _ = ops.attention_scores_forward(*cache.scores[:3], scale=cache.scores.scale)
    return undo_attention(dctx, dscores, cache, probs=ops.softmax_forward(scores)[0])


@mutant("attention/mask and bias")
def attention_empty_row_uniform(dctx, dscores, cache):
    """A query with nothing to attend to is undone with uniform weights."""
    probs = cache.softmax.probs.copy()
    probs[probs.sum(axis=-1) == 0] = 1 / probs.shape[-1]
    return undo_attention(dctx, dscores, cache, probs=probs)


@mutant("attention")
def attention_softmax_skipped(dctx, dscores, cache):
    """The gradient of the probabilities is taken for that of the scores."""
    dprobs, dv = ops.attention_mix_backward(dctx, cache.mix) if dctx is not None else (0, None)
    dq, dk, dbias = ops.attention_scores_backward(
        dprobs + (0 if dscores is None else dscores), cache.scores
    )
    return dq, dk, np.zeros_like(cache.mix.v) if dv is None else dv, dbias


@mutant("attention")
def attention_loss_on_scores_ignored(dctx, dscores, cache):
    """The cotangent of the scores never arrives."""
    return undo_attention(dctx, None, cache)


@mutant("attention")
def attention_loss_on_scores_replaces_the_rest(dctx, dscores, cache):
    """The cotangent of the scores overwrites the one from above instead of joining it."""
    _, _, dv, _ = undo_attention(dctx, None, cache)
    dq, dk, _, dbias = undo_attention(dctx if dscores is None else None, dscores, cache)
    return dq, dk, dv, dbias


@mutant("attention")
def attention_loss_on_scores_through_the_softmax(dctx, dscores, cache):
    """The cotangent of the scores is treated as one of the probabilities."""
    dq, dk, dv, dbias = undo_attention(dctx, None, cache)
    if dscores is None:
        return dq, dk, dv, dbias
    through = ops.masked_softmax_backward(dscores, cache.softmax)
    more_dq, more_dk, _ = ops.attention_scores_backward(through, cache.scores)
    return dq + more_dq, dk + more_dk, dv, dbias


@mutant("attention/mask and bias")
def attention_loss_on_scores_masked(dctx, dscores, cache):
    """The scores' cotangent is masked, though the scores left before the mask."""
    kept = None if dscores is None else dscores * (cache.softmax.probs > 0)
    return undo_attention(dctx, kept, cache)


@mutant("attention")
def attention_loss_on_scores_unscaled(dctx, dscores, cache):
    """The scores' cotangent is taken for that of q k^T, before the scale."""
    unscaled = None if dscores is None else dscores / cache.scores.scale
    return undo_attention(dctx, unscaled, cache)


@mutant("blockwise_attention")
def blocks_delta_forgotten(dctx, cache):
    """The mean of dprobs under probs is missing: only the diagonal of the softmax's Jacobian."""
    return ops.blockwise_attention_backward(dctx, cache._replace(ctx=np.zeros_like(cache.ctx)))


@mutant("blockwise_attention")
def blocks_with_the_lse_of_another_block(dctx, cache):
    """The probabilities of a query are computed with the row sum of one in the next block."""
    lse = np.roll(cache.lse, cache.block, axis=2)
    return ops.blockwise_attention_backward(dctx, cache._replace(lse=lse))


@mutant("blockwise_attention")
def blocks_lse_without_the_sum(dctx, cache):
    """The maximum is kept, the logarithm of the sum is not."""
    scores, _ = ops.attention_scores_forward(cache.q, cache.k, scale=cache.scale)
    top = scores.max(axis=-1, keepdims=True)
    return ops.blockwise_attention_backward(dctx, cache._replace(lse=top))


@mutant("blockwise_attention")
def blocks_sum_not_rescaled(dctx, cache):
    """A sum over blocks, each relative to its own maximum: the rescaling factor is forgotten."""
    scores, _ = ops.attention_scores_forward(cache.q, cache.k, scale=cache.scale)
    parts = np.split(scores, range(cache.block, scores.shape[-1], cache.block), axis=-1)
    tops = [part.max(axis=-1, keepdims=True) for part in parts]
    total = sum(
        np.exp(part - top).sum(axis=-1, keepdims=True)
        for part, top in zip(parts, tops, strict=True)
    )
    lse = np.maximum(*tops) + np.log(total)
    return ops.blockwise_attention_backward(dctx, cache._replace(lse=lse))


@mutant("blockwise_attention")
def blocks_with_a_softmax_of_their_own(dctx, cache):
    """Each block of keys is normalised by itself, as if it were the whole row."""
    dq, parts = 0, []
    for start in range(0, cache.k.shape[2], cache.block):
        k, v = (x[:, :, start : start + cache.block] for x in (cache.k, cache.v))
        _, _, block = ops.attention_forward(cache.q, k, v, scale=cache.scale)
        dq_block, *dkv, _ = ops.attention_backward(dctx, None, block)
        dq = dq + dq_block
        parts.append(dkv)
    dk, dv = (np.concatenate(blocks, axis=2) for blocks in zip(*parts, strict=True))
    return dq, dk, dv, None


@mutant("blockwise_attention")
def blocks_of_queries_overwrite_each_other(dctx, cache):
    """dk and dv are set by each block of queries instead of added to: the last one is left."""
    last = dctx.copy()
    last[:, :, : cache.block] = 0
    dq, _, _, dbias = ops.blockwise_attention_backward(dctx, cache)
    _, dk, dv, _ = ops.blockwise_attention_backward(last, cache)
    return dq, dk, dv, dbias


@mutant("blockwise_attention/mask and bias")
def blocks_mask_ignored(dctx, cache):
    """The probabilities of a block are computed again, the mask is not applied again."""
    some = cache.keep.any(axis=-1, keepdims=True)  # else exp overflows, and gives it away
    return ops.blockwise_attention_backward(dctx, cache._replace(keep=some))


@mutant("blockwise_attention/mask and bias")
def blocks_bias_ignored(dctx, cache):
    """The scores of a block are computed again without the bias."""
    blind = cache._replace(bias=np.zeros_like(cache.bias))
    return ops.blockwise_attention_backward(dctx, blind)


@mutant("blockwise_attention/padding and dropout")
def blocks_bias_gradient_of_the_last_queries(dctx, cache):
    """The gradient of a bias that broadcasts over the queries is that of their last block."""
    last = dctx.copy()
    last[:, :, : cache.block] = 0
    *grads, _ = ops.blockwise_attention_backward(dctx, cache)
    return *grads, ops.blockwise_attention_backward(last, cache)[-1]


@mutant("blockwise_attention/padding and dropout")
def blocks_dropout_drawn_afresh(dctx, cache):
    """Backward draws masks from another seed."""
    return ops.blockwise_attention_backward(dctx, cache._replace(seed=cache.seed + 1))


@mutant("blockwise_attention/padding and dropout")
def blocks_dropout_not_undone(dctx, cache):
    """The masks are not drawn again at all."""
    return ops.blockwise_attention_backward(dctx, cache._replace(seed=None))


@mutant("repeat_heads", "constant factor")
def repeat_heads_averaged(dy, cache):
    """The mean over the heads of a group instead of the sum."""
    return ops.repeat_heads_backward(dy, cache) / cache.group


@mutant("repeat_heads")
def repeat_heads_tiled(dy, cache):
    """Forward puts a group's heads side by side, backward takes every G-th head."""
    batch, heads, length, size = dy.shape
    return dy.reshape(batch, cache.group, heads // cache.group, length, size).sum(axis=1)

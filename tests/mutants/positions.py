"""Wrong backwards of the position encodings."""

import math

import numpy as np

from mutants.registry import mutant
from npformer import ops
from npformer.ops import sinusoidal_table


@mutant("sinusoidal")
def sinusoidal_table_in_the_gradient(dy, cache):
    """The table is added to the gradient too."""
    return dy + sinusoidal_table(*dy.shape[-2:])


@mutant("sinusoidal", "constant factor")
def sinusoidal_scaled(dy, cache):
    """The paper's sqrt(D), which this forward does not have."""
    return dy * math.sqrt(dy.shape[-1])


@mutant("rotary")
def rotary_turned_on(dy, cache):
    """The gradient is turned by theta once more, not back."""
    return ops.rotary_backward(dy, cache._replace(sin=-cache.sin))


@mutant("rotary")
def rotary_not_turned(dy, cache):
    """The norm is kept, so the gradient is taken to be."""
    return dy.copy()


@mutant("rotary")
def rotary_planes_taken_for_scales(dy, cache):
    """Each coordinate gets its own cosine; the sines, across the plane, are forgotten."""
    return ops.rotary_backward(dy, cache._replace(sin=np.zeros_like(cache.sin)))


@mutant("rotary/interleaved")
def rotary_other_layout(dy, cache):
    """Forward interleaves its planes, backward splits in halves."""
    return ops.rotary_backward(dy, cache._replace(interleaved=False))


@mutant("rotary/partial")
def rotary_rest_forgotten(dy, cache):
    """The features that are not turned get nothing."""
    dx = ops.rotary_backward(dy, cache)
    dx[..., 2 * cache.cos.shape[-1] :] = 0
    return dx


@mutant("rotary/partial")
def rotary_positions_of_the_first_sequence(dy, cache):
    """All sequences are turned back by the positions of the first."""
    return ops.rotary_backward(dy, cache._replace(cos=cache.cos[:1], sin=cache.sin[:1]))


@mutant("rotary/partial, interleaved")
def rotary_positions_from_zero(dy, cache):
    """Backward counts the positions from 0, whatever forward was given."""
    options = {"base": 100.0, "rotary_dim": 4, "interleaved": True}
    return ops.rotary_backward(dy, ops.rotary_forward(dy, **options)[1])


@mutant("t5_bias")
def t5_bias_repeats_overwritten(dbias, cache):
    """Of all the pairs in a bucket the last one alone counts."""
    dtable = np.zeros_like(cache.lookup.table)
    dtable[cache.lookup.ids] = dbias[0].transpose(1, 2, 0)
    return dtable


@mutant("t5_bias")
def t5_bias_repeats_averaged(dbias, cache):
    """A bucket gets the mean over its pairs."""
    counts = np.bincount(cache.lookup.ids.reshape(-1), minlength=len(cache.lookup.table))
    return ops.t5_bias_backward(dbias, cache) / np.maximum(counts, 1)[:, None]


@mutant("t5_bias")
def t5_bias_directions_swapped(dbias, cache):
    """Keys before the query and keys after it change places."""
    half = len(cache.lookup.table) // 2
    return np.roll(ops.t5_bias_backward(dbias, cache), half, axis=0)


@mutant("t5_bias")
def t5_bias_heads_share(dbias, cache):
    """Each head gets the gradient of all of them."""
    dtable = ops.t5_bias_backward(dbias, cache)
    return np.broadcast_to(dtable.sum(axis=1, keepdims=True), dtable.shape).copy()


@mutant("t5_bias/causal")
def t5_bias_offset_forgotten(dbias, cache):
    """Backward looks the buckets up as if the first query stood before all keys."""
    options = {"num_buckets": 10, "max_distance": 6, "bidirectional": False}
    wrong = ops.t5_bias_forward(cache.lookup.table, *dbias.shape[2:], **options)[1]
    return ops.t5_bias_backward(dbias, wrong)


@mutant("shaw_key")
def shaw_key_clipped_pairs_dropped(dscores, cache):
    """A distance beyond the clip gives its vector nothing."""
    inside = np.arange(cache.row.shape[1]) - np.arange(cache.row.shape[0])[:, None]
    farthest = len(cache.table) // 2
    return ops.shaw_key_backward(np.where(abs(inside) <= farthest, dscores, 0), cache)


@mutant("shaw_key")
def shaw_key_distances_mirrored(dscores, cache):
    """t - s is taken for s - t."""
    return ops.shaw_key_backward(dscores, cache._replace(row=len(cache.table) - 1 - cache.row))


@mutant("shaw_key", "constant factor")
def shaw_key_dtable_unscaled(dscores, cache):
    """The table's gradient sees q, not c q."""
    dq, dtable = ops.shaw_key_backward(dscores, cache)
    return dq, dtable / cache.scale


@mutant("shaw_key", "constant factor")
def shaw_key_dq_unscaled(dscores, cache):
    """The scale is not undone."""
    dq, dtable = ops.shaw_key_backward(dscores, cache)
    return dq / cache.scale, dtable


@mutant("shaw_key")
def shaw_key_dtable_of_the_first_head(dscores, cache):
    """The heads share the table, and only the first one's gradient reaches it."""
    dq, _ = ops.shaw_key_backward(dscores, cache)
    first = cache._replace(scaled_q=cache.scaled_q[:, :1])
    return dq, ops.shaw_key_backward(dscores[:, :1], first)[1]


@mutant("shaw_key/offset")
def shaw_key_offset_forgotten(dscores, cache):
    """Backward looks the distances up as if the first query stood before all keys."""
    wrong = ops.shaw_key_forward(cache.scaled_q, cache.table, dscores.shape[3], scale=1.0)[1]
    return ops.shaw_key_backward(dscores, wrong._replace(scale=cache.scale))


@mutant("shaw_value")
def shaw_value_distances_mirrored(dctx, cache):
    """t - s is taken for s - t."""
    return ops.shaw_value_backward(dctx, cache._replace(row=len(cache.table) - 1 - cache.row))


@mutant("shaw_value")
def shaw_value_dtable_of_the_first_head(dctx, cache):
    """The heads share the table, and only the first one's gradient reaches it."""
    dprobs, _ = ops.shaw_value_backward(dctx, cache)
    first = cache._replace(weight=cache.weight[:, :1])
    return dprobs, ops.shaw_value_backward(dctx[:, :1], first)[1]


@mutant("shaw_value/offset")
def shaw_value_offset_forgotten(dctx, cache):
    """The probabilities' gradient is looked up as if the first query stood before all keys."""
    queries, keys = np.indices(cache.row.shape)
    farthest = len(cache.table) // 2
    row = np.clip(keys - queries, -farthest, farthest) + farthest
    return ops.shaw_value_backward(dctx, cache._replace(row=row))


@mutant("shaw_attention")
def shaw_attention_queries_of_the_keys_alone(dctx, dscores, cache):
    """q asked for keys and for distances; the second way is forgotten."""
    still = cache.key._replace(table=np.zeros_like(cache.key.table))
    return ops.shaw_attention_backward(dctx, dscores, cache._replace(key=still))


@mutant("shaw_attention/mask and dropout")
def shaw_attention_probs_of_the_values_alone(dctx, dscores, cache):
    """The probabilities weighed values and distances; the second way is forgotten."""
    still = cache.value._replace(table=np.zeros_like(cache.value.table))
    return ops.shaw_attention_backward(dctx, dscores, cache._replace(value=still))


@mutant("shaw_attention")
def shaw_attention_tables_swapped(dctx, dscores, cache):
    """Of one shape, so that nothing but the numbers tells."""
    dq, dk, dv, drel_k, drel_v = ops.shaw_attention_backward(dctx, dscores, cache)
    return dq, dk, dv, drel_v, drel_k


@mutant("sinusoidal/half-split", "constant factor")
def sinusoidal_halves_halved(dy, cache):
    """Two halves, so half the gradient."""
    return dy / 2


@mutant("disentangled_bias", "constant factor")
def disentangled_bias_scaled_as_attention(dbias, cache):
    """1/sqrt(K) instead of 1/sqrt(3K)."""
    return ops.disentangled_bias_backward(dbias * math.sqrt(3), cache)


@mutant("disentangled_bias")
def disentangled_bias_keys_do_not_answer(dbias, cache):
    """Position to content is forgotten for the keys."""
    dq, dk, dq_r, dk_r = ops.disentangled_bias_backward(dbias, cache)
    return dq, np.zeros_like(dk), dq_r, dk_r


@mutant("disentangled_bias")
def disentangled_bias_distances_mirrored(dbias, cache):
    """delta(s, t) in the place of delta(t, s)."""
    number = cache.q_r.shape[1]
    return ops.disentangled_bias_backward(dbias, cache._replace(row=number - 1 - cache.row))


@mutant("disentangled_bias/offset")
def disentangled_bias_clipped_pairs_dropped(dbias, cache):
    """What is farther than the last row counts for nothing, in the place of that row."""
    last = cache.q_r.shape[1] - 1
    first = (cache.row == last).argmax(axis=1)  # the keys before it are beyond, or it
    inside = (cache.row < last) | (np.arange(cache.row.shape[1]) == first[:, None])
    return ops.disentangled_bias_backward(np.where(inside, dbias, 0), cache)


@mutant("disentangled_bias/offset")
def disentangled_bias_tables_of_one_sequence(dbias, cache):
    """The tables get the gradient of the first sequence only."""
    dq, dk, _, _ = ops.disentangled_bias_backward(dbias, cache)
    one = cache._replace(q=cache.q[:1], k=cache.k[:1])
    return dq, dk, *ops.disentangled_bias_backward(dbias[:1], one)[2:]

"""Properties of the position encodings."""

import numpy as np
import pytest
from dims import B, H, I, K, R, S, T

from npformer import ops
from npformer.checks import InputError


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def turned(x, positions=None, **options):
    return ops.rotary_forward(x, positions, **options)[0]


LAYOUTS = [
    {},
    {"interleaved": True},
    {"rotary_dim": 4, "base": 50.0},
    {"rotary_dim": 2, "interleaved": True},
]
every_layout = pytest.mark.parametrize("options", LAYOUTS, ids=str)


# Rotary


@every_layout
def test_rotary_keeps_the_norm(options):
    x = normal(1, B, H, T, K)
    y = turned(x, **options)
    assert np.abs(y - x)[:, :, 1:].max() > 0.1
    np.testing.assert_allclose(
        np.linalg.norm(y, axis=-1), np.linalg.norm(x, axis=-1), rtol=0, atol=1e-13
    )


@every_layout
def test_rotary_scores_depend_on_the_distance_only(options):
    q, k = normal(2, B, H, T, K), normal(3, B, H, S, K)

    def scores(shift, more=0):
        queries = turned(q, np.arange(T) + shift, **options)
        keys = turned(k, np.arange(S) + shift + more, **options)
        return ops.attention_scores_forward(queries, keys)[0]

    for shift in (1, 100, -7):
        np.testing.assert_allclose(scores(shift), scores(0), rtol=0, atol=1e-12)
    assert np.abs(scores(0, more=1) - scores(0)).max() > 0.1


@every_layout
def test_rotary_backward_is_the_rotation_by_minus_theta(options):
    dy = normal(4, B, H, T, K)
    positions = np.array([5, 0, 2, 31])
    _, cache = ops.rotary_forward(normal(5, B, H, T, K), positions, **options)
    dx = ops.rotary_backward(dy, cache)
    np.testing.assert_allclose(dx, turned(dy, -positions, **options), rtol=0, atol=1e-14)
    np.testing.assert_allclose(turned(dx, positions, **options), dy, rtol=0, atol=1e-14)


def test_rotary_of_a_plane_is_a_complex_product():
    """Su et al. 2021, equation 12: (a + ib) times exp(i t omega)."""
    x = normal(6, B, H, T, K)
    rates = 10000.0 ** (-2 * np.arange(K // 2) / K)
    expected = (x[..., ::2] + 1j * x[..., 1::2]) * np.exp(1j * np.outer(np.arange(T), rates))
    y = turned(x, interleaved=True)
    np.testing.assert_allclose(y[..., ::2], expected.real, rtol=0, atol=1e-14)
    np.testing.assert_allclose(y[..., 1::2], expected.imag, rtol=0, atol=1e-14)


@pytest.mark.parametrize("width", [2, 4, 6])
def test_rotary_layouts_are_a_permutation_of_each_other(width):
    x = normal(7, B, H, T, K)
    order = [*range(0, width, 2), *range(1, width, 2), *range(width, K)]
    halves = turned(x[..., order], rotary_dim=width)
    np.testing.assert_array_equal(turned(x, rotary_dim=width, interleaved=True)[..., order], halves)


def test_rotary_leaves_the_features_beyond_rotary_dim_alone():
    x = normal(8, B, H, T, K)
    y = turned(x, rotary_dim=4)
    np.testing.assert_array_equal(y[..., 4:], x[..., 4:])
    np.testing.assert_array_equal(y[..., :4], turned(x[..., :4].copy()))
    assert (y[:, :, 1:, :4] != x[:, :, 1:, :4]).all()


def test_rotary_positions_of_each_sequence():
    x = normal(9, B, H, T, K)
    positions = np.array([[3, 0, 17, 5], [-2, 9, 1, 30]])
    y = turned(x, positions)
    for i in range(B):
        np.testing.assert_array_equal(y[i : i + 1], turned(x[i : i + 1], positions[i]))
    np.testing.assert_array_equal(turned(x), turned(x, np.arange(T)[None]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotary_dim": 3}, r"rotary_dim: got 3, expected an even number, 2 to 6"),
        ({"rotary_dim": 0}, r"rotary_dim: got 0, "),
        ({"rotary_dim": 8}, r"rotary_dim: got 8, "),
        ({"base": 0.0}, r"base: got 0.0, "),
        ({"positions": np.arange(5)}, r"positions: got shape \(5,\), expected \(4,\) or \(2, 4\)"),
        ({"positions": np.arange(4.0)}, r"positions: got float64 array, expected an integer"),
        ({"positions": [0, 1, 2, 3]}, r"positions: got list, expected an array"),
    ],
)
def test_rotary_refuses(options, message):
    with pytest.raises(InputError, match=message):
        ops.rotary_forward(normal(10, B, H, T, K), **options)


def test_rotary_refuses_an_odd_head_size():
    with pytest.raises(InputError, match="rotary_dim: got 5, expected an even number"):
        ops.rotary_forward(normal(11, B, H, T, 5))
    with pytest.raises(InputError, match="x: got shape"):
        ops.rotary_forward(normal(12, B, T, K))


# ALiBi


def test_alibi_slopes_of_a_power_of_two_are_a_geometric_sequence():
    np.testing.assert_allclose(ops.alibi_slopes(8), 2.0 ** -np.arange(1, 9), rtol=1e-15)
    slopes = ops.alibi_slopes(16)
    np.testing.assert_allclose(slopes[1:] / slopes[:-1], 2**-0.5, rtol=1e-14)
    assert ops.alibi_slopes(1) == [2.0**-8]


@pytest.mark.parametrize("num_heads", [*range(1, 20), 112])
def test_alibi_slopes_of_any_number_of_heads(num_heads):
    slopes = ops.alibi_slopes(num_heads)
    assert slopes.shape == (num_heads,)
    assert len(set(slopes)) == num_heads
    assert ((slopes > 0) & (slopes < 1)).all()
    assert ops.alibi_slopes(num_heads, dtype=np.float32).dtype == np.float32


def test_alibi_penalizes_in_proportion_to_the_distance():
    causal, symmetric = (ops.alibi_bias(H, T, S, symmetric=s) for s in (False, True))
    slopes = ops.alibi_slopes(H)
    assert causal.shape == symmetric.shape == (1, H, T, S)
    for h, t, s in np.ndindex(H, T, S):
        assert causal[0, h, t, s] == -slopes[h] * (t - s)
        assert symmetric[0, h, t, s] == -slopes[h] * abs(t - s)


def test_alibi_offset_is_the_rows_of_a_longer_bias():
    """The last queries alone, as with cached keys."""
    whole = ops.alibi_bias(H, S, S, symmetric=True)
    np.testing.assert_array_equal(
        ops.alibi_bias(H, 2, S, offset=S - 2, symmetric=True), whole[:, :, -2:]
    )


def test_alibi_extrapolates():
    """A longer text leaves the bias of the pairs that were there as it was."""
    short, long = ops.alibi_bias(H, T, T), ops.alibi_bias(H, 64, 64)
    np.testing.assert_array_equal(long[:, :, 60:, 60:], short)
    keep = np.tri(64, dtype=bool)[None, None]
    probs, _ = ops.masked_softmax_forward(long.repeat(B, axis=0), keep)
    # Without content the weight falls by the factor exp(-m) a step back.
    steps = probs[0, :, -1, 1:] / probs[0, :, -1, :-1]
    np.testing.assert_allclose(
        steps, np.exp(ops.alibi_slopes(H))[:, None].repeat(63, 1), rtol=1e-12
    )


def test_alibi_enters_attention_as_a_bias():
    q, k, v = normal(13, B, H, T, K), normal(14, B, H, S, K), normal(15, B, H, S, K)
    bias = ops.alibi_bias(H, T, S, dtype=np.float32)
    assert bias.dtype == np.float32
    plain = ops.attention_forward(q, k, v)[1]
    np.testing.assert_allclose(
        ops.attention_forward(q, k, v, bias=bias)[1] - plain,
        np.broadcast_to(bias, plain.shape),
        atol=1e-14,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, T, S), "num_heads: got 0, expected at least 1"),
        ((H, -1, S), "query_len, key_len: got -1, 5, expected at least 0"),
        ((H, T, -2), "query_len, key_len: got 4, -2, expected at least 0"),
    ],
)
def test_alibi_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        ops.alibi_bias(*arguments)


# T5


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (R, 6), (4, 20), (12, 100)])
def test_buckets_widen_with_the_distance(num_buckets, max_distance, bidirectional):
    n = np.arange(3 * max_distance)
    options = {"num_buckets": num_buckets, "max_distance": max_distance}
    bucket = ops.relative_bucket(-n, **options, bidirectional=bidirectional)
    one_way = num_buckets // 2 if bidirectional else num_buckets
    near = one_way // 2
    np.testing.assert_array_equal(bucket[:near], n[:near])
    assert (np.diff(bucket) >= 0).all()
    assert (bucket[max_distance:] == one_way - 1).all()
    formula = near + (one_way - near) * np.log(n[near:] / near) / np.log(max_distance / near)
    # Not where rounding decides.
    clear = np.abs(formula - np.round(formula)) > 1e-9
    assert clear.sum() > max_distance
    expected = np.minimum(np.floor(formula), one_way - 1)
    np.testing.assert_array_equal(bucket[near:][clear], expected[clear])
    after = ops.relative_bucket(n[1:], **options, bidirectional=bidirectional)
    if bidirectional:
        np.testing.assert_array_equal(after, bucket[1:] + one_way)
    else:
        assert not after.any()


def test_bucket_edges_are_exact():
    """16, 32 and 64 are 2, 4 and 6 steps of the default's logarithm: rounding must not decide."""
    buckets = ops.relative_bucket(-np.array([15, 16, 31, 32, 63, 64]))
    np.testing.assert_array_equal(buckets, [9, 10, 11, 12, 13, 14])


def test_buckets_keep_the_shape_and_take_any_integers():
    distance = np.arange(-6, 6).reshape(3, 4)
    bucket = ops.relative_bucket(distance)
    assert bucket.shape == (3, 4)
    np.testing.assert_array_equal(ops.relative_bucket(distance.astype(np.int8)), bucket)
    unsigned = np.arange(6, dtype=np.uint8)
    assert not ops.relative_bucket(unsigned, bidirectional=False).any()


@pytest.mark.parametrize("bidirectional", [True, False])
def test_t5_bias_is_the_table_at_the_bucket_of_each_pair(bidirectional):
    table = normal(16, R, H)
    options = {"num_buckets": R, "max_distance": 6, "bidirectional": bidirectional}
    bias, _ = ops.t5_bias_forward(table, T, S, offset=2, **options)
    assert bias.shape == (1, H, T, S)
    for h, t, s in np.ndindex(H, T, S):
        bucket = ops.relative_bucket(np.array(s - (t + 2)), **options)
        assert bias[0, h, t, s] == table[bucket, h]


def test_t5_bias_depends_on_the_distance_only():
    bias, _ = ops.t5_bias_forward(normal(17, 32, H), S, S)
    np.testing.assert_array_equal(bias[:, :, 1:, 1:], bias[:, :, :-1, :-1])


def test_t5_bias_gradient_is_the_sum_over_the_pairs_of_a_bucket():
    table, dbias = normal(18, 32, H), np.ones((1, H, T, S))
    _, cache = ops.t5_bias_forward(table, T, S)
    dtable = ops.t5_bias_backward(dbias, cache)
    bucket = ops.relative_bucket(np.arange(S) - np.arange(T)[:, None])
    counts = np.bincount(bucket.reshape(-1), minlength=32)
    np.testing.assert_array_equal(dtable, np.repeat(counts[:, None], H, axis=1))


def test_t5_layers_share_the_table_and_their_gradients_add():
    """Two attentions with one bias: the gradient of the sum of their losses, by differences."""
    table = normal(19, 32, H)
    inputs = [[normal(20 + 3 * i + j, B, H, T, K) for j in range(3)] for i in range(2)]
    dctx = [normal(30 + i, B, H, T, K) for i in range(2)]

    def loss(table):
        bias, _ = ops.t5_bias_forward(table, T, T)
        return sum(
            (ops.attention_forward(*qkv, bias=bias, scale=1.0)[0] * d).sum()
            for qkv, d in zip(inputs, dctx, strict=True)
        )

    bias, cache = ops.t5_bias_forward(table, T, T)
    dbias = np.zeros_like(bias)
    for qkv, d in zip(inputs, dctx, strict=True):
        attention = ops.attention_forward(*qkv, bias=bias, scale=1.0)[2]
        dbias += ops.attention_backward(d, None, attention)[3]
    direction = normal(40, 32, H)
    slope = (loss(table + 1e-6 * direction) - loss(table - 1e-6 * direction)) / 2e-6
    assert abs(slope) > 0.01
    np.testing.assert_allclose(
        (ops.t5_bias_backward(dbias, cache) * direction).sum(), slope, rtol=1e-7
    )


def test_t5_bias_of_nothing():
    table = normal(41, 32, H)
    for lengths in ((0, S), (T, 0)):
        bias, cache = ops.t5_bias_forward(table, *lengths)
        assert bias.shape == (1, H, *lengths)
        dtable = ops.t5_bias_backward(np.zeros_like(bias), cache)
        assert dtable.shape == table.shape
        assert not dtable.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_buckets": 7}, "num_buckets: got 7, expected an even number"),
        ({"num_buckets": 2}, "num_buckets: got 2, expected at least 4"),
        ({"num_buckets": 1, "bidirectional": False}, "num_buckets: got 1, expected at least 2"),
        ({"max_distance": 8}, "max_distance: got 8, expected more than 8"),
        ({"max_distance": 16, "bidirectional": False}, "max_distance: got 16, expected more than"),
    ],
)
def test_buckets_refuse(options, message):
    with pytest.raises(InputError, match=message):
        ops.relative_bucket(np.arange(3), **options)


def test_t5_refuses():
    with pytest.raises(InputError, match="distance: got float64 array, expected an integer"):
        ops.relative_bucket(np.arange(3.0))
    with pytest.raises(InputError, match=r"table: got shape \(31, 3\), expected \(32, H\)"):
        ops.t5_bias_forward(normal(42, 31, H), T, S)
    with pytest.raises(InputError, match="query_len, key_len: got -1, 5, expected at least 0"):
        ops.t5_bias_forward(normal(43, 32, H), -1, S)


# Shaw et al.


def test_shaw_key_is_a_vector_added_to_each_key():
    """Equation 4 as it stands: the key of a pair is k_s + w_clip(s - t)."""
    q, k, table = normal(44, B, H, T, K), normal(45, B, H, S, K), normal(46, 5, K)
    bias, _ = ops.shaw_key_forward(q, table, S)
    scores, _ = ops.attention_scores_forward(q, k, bias)
    for t, s in np.ndindex(T, S):
        pair = k[:, :, s] + table[max(-2, min(2, s - t)) + 2]
        expected = (q[:, :, t] * pair).sum(-1) / np.sqrt(K)
        np.testing.assert_allclose(scores[:, :, t, s], expected, rtol=0, atol=1e-13)


def test_shaw_key_beyond_the_clip_is_alike():
    """With one query at each position, all keys from k on get the same score."""
    q = normal(47, B, H, 1, K).repeat(9, axis=2)
    scores, _ = ops.shaw_key_forward(q, normal(48, 7, K), 9)
    np.testing.assert_array_equal(scores[..., 1:, 1:], scores[..., :-1, :-1])
    np.testing.assert_array_equal(scores[..., 0, 3:], scores[..., 0, 3:4].repeat(6, -1))
    assert (np.diff(scores[..., 0, :4]) != 0).all()
    last, _ = ops.shaw_key_forward(q[:, :, :2], normal(48, 7, K), 9, offset=7)
    np.testing.assert_allclose(last, scores[:, :, -2:], rtol=0, atol=1e-14)


def test_shaw_key_refuses():
    q = normal(49, B, H, T, K)
    with pytest.raises(InputError, match="table: got 4 rows, expected an odd number"):
        ops.shaw_key_forward(q, normal(50, 4, K), S)
    with pytest.raises(InputError, match=r"table: got shape \(7, 5\), expected \(R, 6\)"):
        ops.shaw_key_forward(q, normal(51, I, 5), S)
    with pytest.raises(InputError, match="query_len, key_len: got 4, -1, expected at least 0"):
        ops.shaw_key_forward(q, normal(52, I, K), -1)


def test_shaw_value_is_a_vector_added_to_each_value():
    """Equation 3 as it stands: the value of a pair is v_s + w_clip(s - t)."""
    probs, v, table = normal(53, B, H, T, S), normal(54, B, H, S, K), normal(55, 5, K)
    ctx, _ = ops.attention_mix_forward(probs, v)
    ctx = ctx + ops.shaw_value_forward(probs, table)[0]
    for t in range(T):
        expected = sum(
            probs[:, :, t, s, None] * (v[:, :, s] + table[max(-2, min(2, s - t)) + 2])
            for s in range(S)
        )
        np.testing.assert_allclose(ctx[:, :, t], expected, rtol=0, atol=1e-13)


def test_shaw_value_gradient_of_the_probabilities_is_the_score_of_the_gradient():
    """Values undo as keys do: dprobs is what `shaw_key_forward` makes of dctx, unscaled."""
    probs, table, dctx = normal(56, B, H, T, S), normal(57, 7, K), normal(58, B, H, T, K)
    _, cache = ops.shaw_value_forward(probs, table, offset=3)
    dprobs, _ = ops.shaw_value_backward(dctx, cache)
    expected, _ = ops.shaw_key_forward(dctx, table, S, offset=3, scale=1.0)
    np.testing.assert_allclose(dprobs, expected, rtol=0, atol=1e-14)


def test_shaw_value_refuses():
    probs = normal(59, B, H, T, S)
    with pytest.raises(InputError, match="table: got 4 rows, expected an odd number"):
        ops.shaw_value_forward(probs, normal(60, 4, K))
    with pytest.raises(InputError, match=r"probs: got shape .*, expected \(B, H, T, S\)"):
        ops.shaw_value_forward(probs[0], normal(61, I, K))


# DeBERTa


def test_disentangled_bias_is_the_papers_sum():
    """He et al. 2021, equation 4, entry by entry, with the released code's delta."""
    q, k = normal(50, B, H, T, K), normal(51, B, H, S, K)
    q_r, k_r = normal(52, H, 4, K), normal(53, H, 4, K)
    bias, _ = ops.disentangled_bias_forward(q, k, q_r, k_r, scale=0.7)
    for b, h, t, s in np.ndindex(B, H, T, S):
        delta = min(max(t - s + 2, 0), 3)
        expected = 0.7 * (q[b, h, t] @ k_r[h, delta] + k[b, h, s] @ q_r[h, delta])
        assert abs(bias[b, h, t, s] - expected) < 1e-12


def test_disentangled_bias_with_an_offset_is_the_last_rows():
    """As with cached keys: the last queries alone."""
    q, k = normal(54, B, H, S, K), normal(55, B, H, S, K)
    tables = normal(56, H, 4, K), normal(57, H, 4, K)
    whole, _ = ops.disentangled_bias_forward(q, k, *tables)
    last, _ = ops.disentangled_bias_forward(q[:, :, -2:], k, *tables, offset=S - 2)
    np.testing.assert_allclose(last, whole[:, :, -2:], rtol=0, atol=1e-13)


def test_disentangled_scale_keeps_the_variance_of_the_scores():
    """Three inner products of variance K, so 1/sqrt(3 K)."""
    size, many = 64, 300
    q, k = normal(58, 1, 1, many, size), normal(59, 1, 1, many, size)
    q_r, k_r = normal(60, 1, 2 * many, size), normal(61, 1, 2 * many, size)
    scale = ops.disentangled_scale(size)
    bias, _ = ops.disentangled_bias_forward(q, k, q_r, k_r)
    scores, _ = ops.attention_scores_forward(q, k, bias, scale=scale)
    assert abs(scores.var() - 1) < 0.05


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ((normal(62, H, 5, K), normal(63, H, 5, K)), "q_r: got 5 rows, expected an even number"),
        ((normal(62, H, 4, K), normal(63, H, 6, K)), "k_r: got shape"),
        ((normal(62, 1, 4, K), normal(63, 1, 4, K)), "q_r: got shape"),
    ],
)
def test_disentangled_bias_refuses(tables, message):
    q, k = normal(64, B, H, T, K), normal(65, B, H, S, K)
    with pytest.raises(InputError, match=message):
        ops.disentangled_bias_forward(q, k, *tables)


# Marian's order of the sinusoids


def test_half_split_sinusoids_are_a_permutation():
    """First the even columns, the sines, then the odd ones; also of an odd width."""
    for width in (6, 7):
        interleaved = ops.sinusoidal_table(S, width)
        order = [*range(0, width, 2), *range(1, width, 2)]
        halves = ops.sinusoidal_table(S, width, interleaved=False)
        np.testing.assert_array_equal(halves, interleaved[:, order])

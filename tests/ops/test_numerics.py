"""What finite differences cannot see: precision, extremes, masks, invariances."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npformer import ops
from npformer.checks import InputError
from npformer.ops import fast

# Underflow is silent by design: exp of a large negative number is 0.
STRICT = {"over": "raise", "invalid": "raise", "divide": "raise"}
SEEDS = st.integers(0, 2**32 - 1)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


# Precision


@pytest.mark.parametrize("mean", [0.0, 1e5, -3e4])
@pytest.mark.parametrize("width", [11, 312, 768])
def test_float32_layernorm_is_as_good_as_float64(mean, width):
    x = (normal(0, 64, width) + mean).astype(np.float32)
    gamma, beta = np.ones(width, np.float32), np.zeros(width, np.float32)
    y, _ = ops.layernorm_forward(x, gamma, beta)
    exact, _ = ops.layernorm_forward(*(a.astype(np.float64) for a in (x, gamma, beta)))
    assert y.dtype == np.float32
    assert np.abs(y - exact).max() <= 2e-6


def test_layernorm_of_a_constant_row_is_beta():
    x = np.full((3, 7), 123.456, np.float32)
    beta = normal(1, 7).astype(np.float32)
    y, cache = ops.layernorm_forward(x, np.ones(7, np.float32), beta)
    np.testing.assert_allclose(y, np.broadcast_to(beta, y.shape), atol=2e-6)
    assert all(np.isfinite(g).all() for g in ops.layernorm_backward(np.ones_like(x), cache))


def test_float32_gelu_and_its_slope_on_a_dense_grid():
    x = np.linspace(-12, 12, 120_001, dtype=np.float32)
    y, cache = ops.gelu_forward(x)
    exact, exact_cache = ops.gelu_forward(x.astype(np.float64))
    slope = ops.gelu_backward(np.ones_like(x), cache)
    exact_slope = ops.gelu_backward(np.ones_like(exact), exact_cache)
    assert y.dtype == slope.dtype == np.float32
    assert np.abs(y - exact).max() <= 1e-6
    assert np.abs(slope - exact_slope).max() <= 1e-6


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_gelu_in_blocks_is_gelu_at_once(dtype, monkeypatch):
    x = np.random.default_rng(7).normal(0, 3, (5, 211)).astype(dtype)
    whole, cache = ops.gelu_forward(x)
    monkeypatch.setattr(fast, "BLOCK", 64)  # does not divide 1,055
    for order in (x, np.asfortranarray(x)):
        y, again = ops.gelu_forward(order)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, whole)
        np.testing.assert_array_equal(again.cdf, cache.cdf)
    assert ops.gelu_forward(x[:0])[0].shape == (0, 211)


def test_float64_gelu_is_the_exact_one():
    x = np.array([-3.0, -1.0, -0.1, 0.2, 1.5, 4.0])
    expected = [v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x]
    np.testing.assert_allclose(ops.gelu_forward(x)[0], expected, rtol=0, atol=1e-15)


def test_log_softmax_keeps_the_smallest_probabilities():
    x = normal(2, 50, 9) * 200
    got, _ = ops.log_softmax_forward(x)
    for row, logs in zip(x, got, strict=True):
        total = math.fsum(math.exp(v - row.max()) for v in row)
        expected = [(v - row.max()) - math.log(total) for v in row]
        np.testing.assert_allclose(logs, expected, rtol=1e-14, atol=1e-14)
    assert got.min() < -700  # where the logarithm of a probability would be -inf
    rounded = x.astype(np.float32)
    single, _ = ops.log_softmax_forward(rounded)
    double, _ = ops.log_softmax_forward(rounded.astype(np.float64))
    np.testing.assert_allclose(single, double, rtol=1e-6, atol=1e-6)


# Extremes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "high", "slope_high"),
    [
        ("gelu", 1e20, 1),
        ("gelu_tanh", 1e20, 1),
        ("relu", 1e20, 1),
        ("silu", 1e20, 1),
        ("sigmoid", 1, 0),
        ("tanh", 1, 0),
    ],
)
def test_activations_saturate(dtype, name, high, slope_high):
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    x = np.array([1e20, -1e20, 300.0, -300.0], dtype)
    with np.errstate(**STRICT):
        y, cache = forward(x)
        slope = backward(np.ones_like(x), cache)
    assert y[0] == dtype(high)
    assert y[1] == (-1 if name == "tanh" else 0)
    np.testing.assert_array_equal(slope, [slope_high, 0, slope_high, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_of_huge_logits(dtype):
    x = np.array([[1e30, 1e30, -1e30], [-1e30, 0, 2], [88, 89, 90], [-1e4, -1e4, -1e4]], dtype)
    with np.errstate(**STRICT):
        probs, _ = ops.softmax_forward(x)
        logs, _ = ops.log_softmax_forward(x)
        masked, _ = ops.masked_softmax_forward(x)
    np.testing.assert_allclose(probs.sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(probs[0], [0.5, 0.5, 0])
    np.testing.assert_allclose(probs[3], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(masked, probs)
    np.testing.assert_allclose(np.exp(logs), probs, rtol=1e-6, atol=1e-30)


def test_softmax_along_another_axis():
    x = normal(3, 2, 5, 3)
    for axis in (0, 1, -2):
        moved = np.moveaxis(x, axis, -1)
        for forward in (ops.softmax_forward, ops.log_softmax_forward):
            expected = np.moveaxis(forward(moved)[0], -1, axis)
            np.testing.assert_allclose(forward(x, axis=axis)[0], expected, rtol=1e-14)


# Masks


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_that_keeps_nothing_is_zero(dtype):
    scores = (normal(4, 2, 3, 5) * 10).astype(dtype)
    keep = np.random.default_rng(5).random((2, 3, 5)) < 0.6
    keep[0, 1] = keep[1, 2] = False
    with np.errstate(**STRICT):
        probs, cache = ops.masked_softmax_forward(scores, keep)
        dscores = ops.masked_softmax_backward(normal(6, 2, 3, 5).astype(dtype), cache)
    assert not probs[~keep].any()
    assert not dscores[~keep].any()
    assert not probs[0, 1].any()
    assert not dscores[1, 2].any()
    np.testing.assert_allclose(probs.sum(axis=-1), keep.any(axis=-1), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("masked", [1e30, -1e30, np.inf, -np.inf, np.nan])
def test_masked_entries_do_not_matter(dtype, masked):
    scores = normal(7, 3, 6).astype(dtype)
    keep = np.ones((3, 6), bool)
    keep[:, 4:] = False
    expected, _ = ops.softmax_forward(scores[:, :4])
    scores[:, 4:] = masked
    with np.errstate(**STRICT):
        probs, _ = ops.masked_softmax_forward(scores, keep)
    np.testing.assert_allclose(probs[:, :4], expected, rtol=1e-6)
    assert not probs[:, 4:].any()


def test_kept_scores_far_below_zero_still_compete():
    scores = np.array([[-1e30, -1e30, 5.0]], np.float32)
    probs, _ = ops.masked_softmax_forward(scores, np.array([[True, True, False]]))
    np.testing.assert_array_equal(probs, [[0.5, 0.5, 0]])


def test_ignored_labels_count_for_nothing():
    logits = normal(8, 4, 6, 5)
    labels = np.random.default_rng(9).integers(0, 5, (4, 6))
    labels[1, 2:] = labels[3] = -100
    kept = labels != -100
    loss, cache = ops.cross_entropy_forward(logits, labels, label_smoothing=0.1)
    expected, _ = ops.cross_entropy_forward(logits[kept], labels[kept], label_smoothing=0.1)
    assert loss == pytest.approx(expected, rel=1e-14)
    dlogits = ops.cross_entropy_backward(1.7, cache)
    assert not dlogits[~kept].any()
    assert dlogits[kept].any(axis=-1).all()


def test_losses_with_nothing_kept():
    x, target, no = normal(10, 3, 5), normal(11, 3, 5), np.zeros(3, bool)
    cases = {
        "cross_entropy": ops.cross_entropy_forward(x, np.full(3, -100)),
        "soft_cross_entropy": ops.soft_cross_entropy_forward(x, target, 2.0, keep=no),
        "kl": ops.kl_forward(x, target, 2.0, keep=no),
        "mse": ops.mse_forward(x, target, no[:, None]),
        "cosine": ops.cosine_forward(x, target, no),
        "patient": ops.patient_forward(x, target, no),
        "attention_kl": ops.attention_kl_forward(
            x[None, None], target[None, None], no[None, None, :, None]
        ),
        "value_relation": ops.value_relation_forward(x[None, None], target[None, None], no[None]),
    }
    for name, (loss, cache) in cases.items():
        dx = getattr(ops, f"{name}_backward")(1.3, cache)
        assert loss == 0.0, name
        assert dx.size == x.size, name
        assert not dx.any(), name


def test_the_kl_of_a_student_that_agrees_is_zero():
    x = normal(12, 4, 7) * 30
    loss, cache = ops.kl_forward(x, x + 5, 3.0, tau_squared=True)
    assert loss == pytest.approx(0, abs=1e-13)
    assert np.abs(ops.kl_backward(1.0, cache)).max() < 1e-14


def test_pkd_is_a_multiple_of_the_cosine():
    x, target, keep = normal(30, 3, 4, 7), normal(31, 3, 4, 7), np.tri(3, 4, 1, dtype=bool)
    loss, cache = ops.patient_forward(x, target, keep)
    cosine, cosine_cache = ops.cosine_forward(x, target, keep)
    assert loss == pytest.approx(2 / 7 * cosine, rel=1e-11)
    dx, expected = ops.patient_backward(1.3, cache), ops.cosine_backward(1.3 * 2 / 7, cosine_cache)
    np.testing.assert_allclose(dx, expected, rtol=0, atol=1e-13)


def test_minilm_does_not_see_padding_nor_a_rotation_of_a_head():
    v, teacher = normal(32, 2, 3, 5, 4), normal(33, 2, 3, 5, 7)
    keep = np.arange(5) < np.array([[3], [5]])
    loss, cache = ops.value_relation_forward(v, teacher, keep)
    dv = ops.value_relation_backward(1.3, cache)
    wild = np.where(keep[:, None, :, None], v, 300 * v)
    other, other_cache = ops.value_relation_forward(wild, teacher, keep)
    assert other == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(ops.value_relation_backward(1.3, other_cache), dv, atol=1e-15)
    assert not dv.swapaxes(1, 2)[~keep].any()
    turn, _ = np.linalg.qr(normal(34, 4, 4))
    assert ops.value_relation_forward(v @ turn, teacher, keep)[0] == pytest.approx(loss, rel=1e-12)
    same, _ = ops.value_relation_forward(v, v, keep)
    assert same == 0


def test_attention_kl_of_huge_scores_and_masked_ones():
    scores = np.array([[[[0.0, 1000, -1000], [500, -500, 3]]]])
    keep = np.array([[[[True, True, False], [True, False, True]]]])
    for dtype in (np.float32, np.float64):
        a = scores.astype(dtype)
        loss, cache = ops.attention_kl_forward(a, -a, keep)
        assert loss == pytest.approx((1000 + 497) / 2)
        assert np.isfinite(ops.attention_kl_backward(1.0, cache)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.patient_forward(x, x[:1]), "target: got shape"),
        (lambda x: ops.patient_forward(x, x, np.ones((2, 3))), "keep: got float64"),
        (lambda x: ops.patient_forward(x, x, eps=0.0), "eps: got 0.0"),
        (lambda x: ops.attention_kl_forward(x, x[:1]), "teacher_scores: got shape"),
        (lambda x: ops.attention_kl_forward(x, x, np.ones((2, 5), bool)), "keep: got shape"),
        (lambda x: ops.value_relation_forward(x, x[:, :1]), "teacher_v: got shape"),
        (lambda x: ops.value_relation_forward(x, x, np.ones((2, 3), bool)), "keep: got bool"),
    ],
)
def test_losses_refuse_what_does_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call(normal(35, 2, 3, 4, 5))


# Structure


def test_a_shift_of_sinusoidal_positions_is_a_rotation():
    table = ops.sinusoidal_table(40, 12)
    sines, cosines = table[:, 0::2], table[:, 1::2]
    k = 7
    angles = k * 10000.0 ** (-np.arange(0, 12, 2) / 12)
    np.testing.assert_allclose(
        table[k:, 0::2], sines[:-k] * np.cos(angles) + cosines[:-k] * np.sin(angles), atol=1e-13
    )
    np.testing.assert_allclose(
        table[k:, 1::2], cosines[:-k] * np.cos(angles) - sines[:-k] * np.sin(angles), atol=1e-13
    )


def test_attention_does_not_see_the_order_of_keys_and_follows_that_of_queries():
    rng = np.random.default_rng(13)
    q, k, v = normal(14, 2, 3, 4, 5), normal(15, 2, 3, 6, 5), normal(16, 2, 3, 6, 7)
    keep = rng.random((2, 1, 4, 6)) < 0.7
    bias = normal(17, 1, 3, 4, 6)
    ctx, scores, _ = ops.attention_forward(q, k, v, keep, bias)
    s, t = rng.permutation(6), rng.permutation(4)
    moved, moved_scores, _ = ops.attention_forward(
        q, k[:, :, s], v[:, :, s], keep[..., s], bias[..., s]
    )
    np.testing.assert_allclose(moved, ctx, rtol=0, atol=1e-14)
    np.testing.assert_allclose(moved_scores, scores[..., s], rtol=0, atol=1e-14)
    moved, _, _ = ops.attention_forward(q[:, :, t], k, v, keep[:, :, t], bias[:, :, t])
    np.testing.assert_allclose(moved, ctx[:, :, t], rtol=0, atol=1e-14)


def test_dropout_keeps_the_expectation():
    p, n = 0.3, 200_000
    y, cache = ops.dropout_forward(np.full(n, 2.0), p, np.random.default_rng(18))
    deviation = 2 * math.sqrt(p / (1 - p) / n)
    assert abs(y.mean() - 2) < 5 * deviation
    assert abs((y == 0).mean() - p) < 5 * math.sqrt(p * (1 - p) / n)
    assert set(np.unique(y)) == {0.0, 2 / (1 - p)}
    np.testing.assert_array_equal(ops.dropout_backward(np.full(n, 2.0), cache), y)


def test_both_types_drop_the_same_entries():
    x = normal(19, 50, 40)
    double, _ = ops.dropout_forward(x, 0.4, np.random.default_rng(20))
    single, _ = ops.dropout_forward(x.astype(np.float32), 0.4, np.random.default_rng(20))
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single == 0, double == 0)


def test_repeated_ids_add_up():
    ids = np.random.default_rng(21).integers(0, 4, (5, 6))
    dy = normal(22, 5, 6, 3)
    expected = np.zeros((9, 3))
    np.add.at(expected, ids, dy)
    _, cache = ops.embedding_forward(ids, normal(23, 9, 3))
    np.testing.assert_allclose(ops.embedding_backward(dy, cache), expected, atol=1e-13)


# Invariances


@given(SEEDS, st.tuples(*[st.booleans()] * 4), st.tuples(*[st.booleans()] * 4))
def test_a_broadcast_mask_or_bias_is_the_explicit_one(seed, mask_axes, bias_axes):
    full = (2, 3, 4, 5)
    rng = np.random.default_rng(seed)

    def shape(axes):
        return tuple(n if kept else 1 for n, kept in zip(full, axes, strict=True))

    q, k, v = (rng.standard_normal((2, 3, n, m)) for n, m in ((4, 6), (5, 6), (5, 7)))
    keep, bias = rng.random(shape(mask_axes)) < 0.6, rng.standard_normal(shape(bias_axes))
    dctx, dscores = rng.standard_normal((2, 3, 4, 7)), rng.standard_normal(full)
    ctx, scores, cache = ops.attention_forward(q, k, v, keep, bias)
    wide_ctx, wide_scores, wide_cache = ops.attention_forward(
        q, k, v, np.broadcast_to(keep, full), np.broadcast_to(bias, full)
    )
    np.testing.assert_array_equal(ctx, wide_ctx)
    np.testing.assert_array_equal(scores, wide_scores)
    *grads, dbias = ops.attention_backward(dctx, dscores, cache)
    *wide_grads, wide_dbias = ops.attention_backward(dctx, dscores, wide_cache)
    for g, wide in zip(grads, wide_grads, strict=True):
        np.testing.assert_array_equal(g, wide)
    axes = tuple(i for i, kept in enumerate(bias_axes) if not kept)
    np.testing.assert_allclose(dbias, wide_dbias.sum(axis=axes, keepdims=True), atol=1e-12)


@given(SEEDS, st.floats(-1e6, 1e6))
def test_softmax_does_not_see_a_shift(seed, shift):
    x = normal(seed, 3, 5)
    for forward in (ops.softmax_forward, ops.log_softmax_forward, ops.masked_softmax_forward):
        np.testing.assert_allclose(forward(x + shift)[0], forward(x)[0], rtol=1e-8, atol=1e-8)


@given(SEEDS, st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_layernorm_does_not_see_shift_and_scale(seed, shift, scale):
    x, gamma, beta = normal(seed, 3, 7), normal(seed + 1, 7), normal(seed + 2, 7)
    y, _ = ops.layernorm_forward(x, gamma, beta)
    z, _ = ops.layernorm_forward(x * scale + shift, gamma, beta)
    np.testing.assert_allclose(z, y, rtol=0, atol=1e-6)


@given(SEEDS, st.floats(0.01, 100))
def test_rmsnorm_does_not_see_scale(seed, scale):
    x, gamma = normal(seed, 3, 7), normal(seed + 1, 7)
    y, _ = ops.rmsnorm_forward(x, gamma, eps=1e-14)
    z, _ = ops.rmsnorm_forward(x * scale, gamma, eps=1e-14)
    np.testing.assert_allclose(z, y, rtol=0, atol=1e-6)

"""Blockwise attention is attention: the plain pair is what it is held against."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npformer import ops
from npformer.checks import InputError

STRICT = {"over": "raise", "invalid": "raise", "divide": "raise"}
GIB = 2**30


def normal(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def inputs(shape, *, dtype=np.float64, bias=True):
    """Return q, k, v, keep and bias; one query of each sequence may attend to nothing."""
    batch, heads, t, s, width = shape
    q, k = normal(1, batch, heads, t, width, dtype=dtype), normal(2, batch, heads, s, width)
    v = normal(3, batch, heads, s, width + 1, dtype=dtype)
    keep = np.random.default_rng(4).random((batch, 1, t, s)) < 0.7
    keep[:, :, t // 2] = False
    added = normal(5, 1, heads, t, s, dtype=dtype) if bias else None
    return q, k.astype(dtype), v, keep, added


def both(arguments, **options):
    """Return context and gradients, the plain ones and those by blocks."""
    ctx, _, cache = ops.attention_forward(*arguments)
    dctx = normal(6, *ctx.shape, dtype=ctx.dtype)
    plain = ctx, *ops.attention_backward(dctx, None, cache)
    ctx, cache = ops.blockwise_attention_forward(*arguments, **options)
    return plain, (ctx, *ops.blockwise_attention_backward(dctx, cache))


def assert_close(got, expected, tolerance):
    for x, y in zip(got, expected, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * np.abs(y).max())


@pytest.mark.parametrize("block", [1, 2, 3, 7, 12, 100])
def test_any_size_of_block_gives_the_plain_result(block):
    plain, blockwise = both(inputs((2, 3, 7, 11, 5)), block=block)
    assert_close(blockwise, plain, 1e-13)


def test_float32_is_within_1e_6_of_the_plain_one():
    plain, blockwise = both(inputs((1, 2, 700, 900, 64), dtype=np.float32))  # blocks of 512
    assert blockwise[0].dtype == np.float32
    assert_close(blockwise, plain, 1e-6)


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.booleans()] * 4), st.tuples(*[st.booleans()] * 4))
def test_broadcast_masks_and_biases(seed, mask_axes, bias_axes):
    rng = np.random.default_rng(seed)

    def shape(axes):
        return tuple(n if kept else 1 for n, kept in zip((2, 3, 4, 5), axes, strict=True))

    q, k, v, _, _ = inputs((2, 3, 4, 5, 6))
    keep, bias = rng.random(shape(mask_axes)) < 0.6, rng.standard_normal(shape(bias_axes))
    plain, blockwise = both((q, k, v, keep, bias), block=3)
    for x, y in zip(blockwise, plain, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("step", [60.0, -60.0, 1e4])
def test_scores_that_rise_and_fall_from_block_to_block(dtype, step):
    """Each block's maximum is far from the last one's; exp of the difference is nothing."""
    q, k, v, keep, _ = inputs((1, 2, 4, 11, 3), dtype=dtype)
    bias = (step * np.arange(11, dtype=dtype))[None, None, None]
    with np.errstate(**STRICT):
        plain, blockwise = both((q, k, v, keep, bias), block=2)
    assert np.isfinite(blockwise[0]).all()
    assert_close(blockwise[:1], plain[:1], 1e-12 if dtype == np.float64 else 1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_query_that_keeps_nothing_is_zero(dtype):
    arguments = inputs((2, 3, 7, 11, 5), dtype=dtype)
    with np.errstate(**STRICT):
        ctx, cache = ops.blockwise_attention_forward(*arguments, block=4)
        dq, *rest = ops.blockwise_attention_backward(normal(7, *ctx.shape, dtype=dtype), cache)
    assert not ctx[:, :, 3].any()
    assert not dq[:, :, 3].any()
    assert ctx[:, :, 4].all()
    assert all(np.isfinite(g).all() for g in rest)


@pytest.mark.parametrize("masked", [1e30, -1e30, np.inf, -np.inf, np.nan])
def test_masked_scores_do_not_matter(masked):
    q, k, v, _, bias = inputs((2, 3, 4, 9, 5), dtype=np.float32)
    keep = np.broadcast_to(np.arange(9) < 6, (1, 1, 1, 9))
    bias[..., 6:] = masked
    expected, _ = ops.blockwise_attention_forward(q, k, v, keep, np.where(keep, bias, 0), block=4)
    with np.errstate(**STRICT):
        ctx, _ = ops.blockwise_attention_forward(q, k, v, keep, bias, block=4)
    np.testing.assert_array_equal(ctx, expected)


def factors(seed, *, p_drop=0.3, block=16, dtype=np.float64):
    """Return the dropout factors r: with equal scores, ctx = r / S if v is the identity."""
    s = 40
    nothing = np.zeros((2, 3, 50, 4), dtype)
    v = np.broadcast_to(np.eye(s, dtype=dtype), (2, 3, s, s))
    ctx, _ = ops.blockwise_attention_forward(
        nothing, nothing[:, :, :s], v, p_drop=p_drop, rng=np.random.default_rng(seed), block=block
    )
    return ctx * s


def test_dropout_draws_a_mask_for_each_block():
    r = factors(8)
    np.testing.assert_allclose(np.unique(r.round(12)), [0, 1 / (1 - 0.3)])
    assert abs(r.mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / r.size)
    blocks = [
        r[b, h, i : i + 16, j : j + 8].tobytes()
        for b in range(2)
        for h in range(3)
        for i in range(0, 48, 16)
        for j in range(0, 40, 16)
    ]
    assert len(set(blocks)) == len(blocks)


def test_dropout_is_the_generator_and_nothing_else():
    np.testing.assert_array_equal(factors(8), factors(8))
    assert (factors(8) != factors(9)).any()
    np.testing.assert_array_equal(factors(8) == 0, factors(8, dtype=np.float32) == 0)
    rng = np.random.default_rng(10)
    first, second = factors(rng), factors(rng)
    assert (first != second).any()


def test_4096_tokens_in_little_memory():
    """12 heads, forward and backward; one (T, S) array of the plain pair would be 768 MiB."""
    q, k, v, dctx = (normal(i, 1, 12, 4096, 64, dtype=np.float32) for i in range(4))
    tracemalloc.start()
    _, cache = ops.blockwise_attention_forward(q, k, v)
    grads = ops.blockwise_attention_backward(dctx, cache)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(np.isfinite(g).all() for g in grads[:3])
    assert peak < GIB / 16  # the claim is 1 GiB


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": np.zeros((2, 3, 0, 5)), "v": np.zeros((2, 3, 0, 5))}, "k: got shape .* empty"),
        ({"k": np.zeros((2, 3, 11, 4))}, r"k: got shape .*, expected \(2, 3, S, 5\)"),
        ({"v": np.zeros((2, 3, 10, 5))}, r"v: got shape .*, expected \(2, 3, 11, K\)"),
        ({"q": np.zeros((2, 3, 7, 5), int)}, "q: got int64 array"),
        ({"keep": np.ones((2, 11), bool)}, "keep: got shape .* expected 4 axes"),
        ({"keep": np.ones((2, 1, 1, 11), int)}, "keep: got int64 array"),
        ({"bias": np.ones((3, 7, 11))}, "bias: got shape .* expected 4 axes"),
        ({"bias": np.ones((1, 3, 7, 10))}, "bias: got shape .* broadcast to"),
        ({"block": 0}, "block: got 0, expected at least 1"),
        ({"p_drop": 1.0}, "p_drop: got 1.0"),
        ({"p_drop": -0.1, "rng": np.random.default_rng(0)}, "p_drop: got -0.1"),
    ],
)
def test_bad_input(change, message):
    q, k, v, _, _ = inputs((2, 3, 7, 11, 5))
    with pytest.raises(InputError, match=message) as raised:
        ops.blockwise_attention_forward(**{"q": q, "k": k, "v": v, **change})
    assert "\n" not in str(raised.value)

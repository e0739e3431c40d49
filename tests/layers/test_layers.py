"""Layers alone: gradients entry by entry, names, types, masks, bad input."""

import numpy as np
import pytest
from dims import B, D, F, H, S, T, V

from npformer import ops
from npformer.checks import InputError
from npformer.gradcheck import check_model
from npformer.layers import (
    AttentionConfig,
    AttentionOutput,
    BlockConfig,
    Embeddings,
    EmbeddingsConfig,
    EncoderBlock,
    FeedForward,
    FeedForwardConfig,
    MultiHeadAttention,
    attend,
)
from npformer.layers.block import ATTENTIONS

WIDTH = H * 4  # of the layers with heads; D need not divide
LENGTH = 8  # longest sequence of the position table
SCORES = {"output_scores": True}


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def mask(seed, *shape):
    keep = np.random.default_rng(seed).random(shape) < 0.7
    keep[..., 0] = True
    return keep


def moved(layer, seed=0):
    """The layer with biases and norms drawn too, and weights large enough to matter."""
    rng = np.random.default_rng(seed)
    params = {
        name: p + (0.3 if p.ndim == 1 else p.shape[0] ** -0.5) * rng.standard_normal(p.shape)
        for name, p in layer.params.items()
    }
    return type(layer)(layer.config, params)


def attention(**changes):
    config = AttentionConfig(d_model=WIDTH, num_heads=H, **changes)
    kind = ATTENTIONS[config.attention]
    return moved(kind.init(config, np.random.default_rng(0), np.float64))


def feedforward(activation="gelu", **changes):
    config = FeedForwardConfig(d_model=D, d_ff=F, activation=activation, **changes)
    return moved(FeedForward.init(config, np.random.default_rng(0), np.float64))


def embeddings(**changes):
    sizes = {"vocab_size": V, "d_model": D, "max_len": LENGTH, "num_segments": 3}
    config = EmbeddingsConfig(**{**sizes, **changes})
    return moved(Embeddings.init(config, np.random.default_rng(0), np.float64))


def block(**changes):
    config = BlockConfig(d_model=WIDTH, num_heads=H, d_ff=F, **changes)
    return moved(EncoderBlock.init(config, np.random.default_rng(0), np.float64))


def make_rng():
    return np.random.default_rng(3)


# Gradients


def test_self_attention():
    inputs = normal(1, B, T, WIDTH), None, mask(2, B, T)
    layer = attention(attention_dropout=0.3)
    report = check_model(layer, inputs, SCORES, make_rng=make_rng, entrywise=True)
    assert set(report.errors) == {"x", *layer.params}


def test_cross_attention():
    inputs = normal(1, B, T, WIDTH), normal(2, B, S, WIDTH), mask(3, B, S)
    layer = attention(attention_dropout=0.3)
    report = check_model(layer, inputs, SCORES, make_rng=make_rng, entrywise=True)
    assert set(report.errors) == {"x", "memory", *layer.params}


def test_attention_with_a_mask_for_each_query():
    inputs = normal(1, B, T, WIDTH), normal(2, B, S, WIDTH), mask(3, B, 1, T, S)
    assert check_model(attention(), inputs, SCORES).ok


def test_average_attention():
    layer = attention(attention="average", attention_dropout=0.3)
    for memory, keep in ((None, mask(2, B, T)), (normal(2, B, S, WIDTH), mask(3, B, 1, T, S))):
        inputs = normal(1, B, T, WIDTH), memory, keep
        report = check_model(
            layer, inputs, make_rng=make_rng, zero=() if memory is None else ("x",), entrywise=True
        )
        assert (
            set(layer.params)
            == {"w_v", "b_v", "w_o", "b_o"}
            == set(report.errors)
            - {
                "x",
                "memory",
            }
        )


def test_shaw_attention_never_goes_block_by_block():
    layer = attention(relative="shaw", relative_clip=2, attention_dropout=0.3)
    assert layer.params["rel_k"].shape == layer.params["rel_v"].shape == (5, 4)
    inputs = normal(1, B, T, WIDTH), None, mask(2, B, T)
    assert check_model(layer, inputs, SCORES, make_rng=make_rng, entrywise=True).ok


def test_a_bias_and_a_memory_have_their_place():
    x, bias = normal(1, B, T, WIDTH), normal(2, 1, H, T, T)
    report = check_model(attention(relative="t5"), (x, None, mask(2, B, T), bias), SCORES)
    assert "shared" in report.errors
    for relative, memory, given, message in (
        ("t5", None, None, "shared: got None, expected an array, because relative='t5' shares one"),
        ("t5", x, bias, "shared: got an array"),
        ("none", None, bias, "shared: got an array"),
        ("alibi", None, bias, "shared: got an array"),
        ("deberta", None, None, "shared: got None"),
        ("shaw", x, None, "memory: got an array, expected None with the arrays of relative"),
    ):
        with pytest.raises(InputError, match=message):
            attention(relative=relative).forward(x, memory, None, given)


def test_deberta_attention():
    x, table = normal(1, B, T, WIDTH), normal(2, 4, WIDTH)
    layer = attention(relative="deberta", relative_clip=2, attention_dropout=0.3)
    inputs = x, None, mask(3, B, T), table
    report = check_model(layer, inputs, SCORES, make_rng=make_rng, entrywise=True)
    assert set(report.errors) == {"x", "shared", *layer.params}
    assert {"w_qr", "b_qr", "w_kr", "b_kr"} <= layer.params.keys()


def test_grouped_queries_are_heads_that_share_keys():
    """A layer of H heads whose columns of w_k and w_v repeat gives the same as one of G."""
    few = attention(num_kv_heads=1, attention_dropout=0.3)
    assert few.params["w_k"].shape == few.params["w_v"].shape == (WIDTH, 4)
    params = few.params | {
        name: np.tile(few.params[name], H) for name in ("w_k", "b_k", "w_v", "b_v")
    }
    many = MultiHeadAttention(attention(attention_dropout=0.3).config, params)
    inputs = normal(1, B, T, WIDTH), normal(2, B, S, WIDTH), mask(3, B, S)
    ours, cache = few.forward(*inputs, rng=make_rng(), **SCORES)
    theirs, their_cache = many.forward(*inputs, rng=make_rng(), **SCORES)
    np.testing.assert_allclose(ours.y, theirs.y, rtol=0, atol=1e-13)
    doutput = AttentionOutput(normal(4, B, T, WIDTH), normal(5, B, H, T, S))
    _, grads = few.backward(doutput, cache)
    _, their_grads = many.backward(doutput, their_cache)
    for name in ("w_k", "b_k", "w_v", "b_v"):
        parts = np.split(their_grads[name], H, axis=-1)
        np.testing.assert_allclose(grads[name], sum(parts), rtol=0, atol=1e-12, err_msg=name)


def test_without_biases_a_layer_is_one_with_biases_of_zero():
    x = normal(1, B, T, WIDTH)
    bare = block(use_bias=False)
    assert not [n for n in bare.params if n.rsplit(".", 1)[-1].startswith("b_")]
    full = block()
    zero = {n: np.zeros_like(p) for n, p in full.params.items()}
    same = EncoderBlock(full.config, zero | bare.params)
    np.testing.assert_array_equal(bare.forward(x)[0].y, same.forward(x)[0].y)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_gated_feed_forward(activation):
    layer = feedforward(activation, gated=True)
    report = check_model(layer, (normal(1, B, T, D),), entrywise=True)
    assert set(report.errors) == {"x", *layer.params}
    p, x = layer.params, normal(1, B, T, D)
    forward = getattr(ops, f"{activation}_forward")
    hidden = forward(x @ p["w_1"] + p["b_1"])[0] * (x @ p["w_3"] + p["b_3"])
    np.testing.assert_allclose(
        layer.forward(x)[0], hidden @ p["w_2"] + p["b_2"], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (attention, {"num_kv_heads": 2}, "num_kv_heads: got 2, expected a divisor of num_heads"),
        (attention, {"num_kv_heads": 0}, "num_kv_heads: got 0, expected a whole number"),
        (attention, {"relative": "bucket"}, "relative: got 'bucket', expected one of none"),
        (attention, {"relative_clip": 3}, "relative_clip: got 3, expected 16 without relative"),
        (attention, {"relative": "deberta", "relative_clip": 0}, "relative_clip: got 0"),
        (block, {"norm": "batch"}, "norm: got 'batch', expected one of layer, rms"),
        (embeddings, {"positions": "rotary"}, "positions: got 'rotary', expected one of sinus"),
        (embeddings, {"sinusoidal_layout": "half-split"}, "sinusoidal_layout: got 'half-split'"),
        (
            embeddings,
            {"positions": "sinusoidal", "sinusoidal_layout": "halves"},
            "sinusoidal_layout: got 'halves', expected one of interleaved, half-split",
        ),
    ],
)
def test_options_that_do_not_fit(make, changes, message):
    with pytest.raises(InputError, match=message):
        make(**changes)


def test_an_attention_scale_scales_the_scores():
    x = normal(1, B, T, WIDTH)
    one, two = (attention(attention_scale=c).forward(x, output_scores=True)[0] for c in (1.0, 2.0))
    default, _ = attention().forward(x, output_scores=True)
    np.testing.assert_allclose(two.scores, 2 * one.scores, rtol=1e-13)
    np.testing.assert_allclose(2 * default.scores, one.scores, rtol=1e-13)  # sqrt(K) = 2


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_feedforward(activation):
    assert check_model(feedforward(activation), (normal(1, B, T, D),), entrywise=True).ok


def test_embeddings():
    rng = np.random.default_rng(4)
    inputs = rng.integers(0, V, (B, T)), rng.integers(0, 3, (B, T))
    layer = embeddings(dropout=0.2)
    report = check_model(layer, inputs, make_rng=make_rng, entrywise=True)
    assert set(report.errors) == set(layer.params)


@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
def test_block(norm_first):
    layer = block(norm_first=norm_first, dropout=0.2, attention_dropout=0.3)
    inputs = normal(1, B, T, WIDTH), mask(2, B, T)
    report = check_model(layer, inputs, SCORES, make_rng=make_rng)
    assert set(report.errors) == {"x", *layer.params}


# What they compute


def test_one_head_is_plain_attention():
    layer = MultiHeadAttention.init(
        AttentionConfig(d_model=D, num_heads=1), np.random.default_rng(0), np.float64
    )
    p, x = layer.params, normal(1, B, T, D)
    q, k, v = ((x @ p[f"w_{n}"] + p[f"b_{n}"])[:, None] for n in "qkv")  # (B, 1, T, D)
    ctx, scores, _ = ops.attention_forward(q, k, v)
    output, _ = layer.forward(x, output_scores=True)
    np.testing.assert_allclose(output.scores, scores, rtol=0, atol=1e-13)
    np.testing.assert_allclose(output.y, ctx[:, 0] @ p["w_o"] + p["b_o"], rtol=0, atol=1e-13)


def test_an_average_is_the_mean_of_the_kept_values():
    layer, x, keep = attention(attention="average"), normal(1, B, T, WIDTH), mask(2, B, 1, T, T)
    p = layer.params
    weights = keep[:, 0] / keep[:, 0].sum(axis=-1, keepdims=True)  # (B, T, T)
    expected = weights @ (x @ p["w_v"] + p["b_v"]) @ p["w_o"] + p["b_o"]
    np.testing.assert_allclose(layer.forward(x, None, keep)[0].y, expected, rtol=0, atol=1e-13)


def test_heads_are_blocks_of_columns():
    layer, x = attention(), normal(1, B, T, WIDTH)
    output, _ = layer.forward(x, output_scores=True)
    p = layer.params
    for h in range(H):
        own = slice(4 * h, 4 * h + 4)
        q, k = (x @ p[f"w_{n}"][:, own] + p[f"b_{n}"][own] for n in "qk")
        expected = q @ k.swapaxes(1, 2) / 2  # sqrt(K) = 2
        np.testing.assert_allclose(output.scores[:, h], expected, rtol=0, atol=1e-12)


def test_a_memory_of_oneself_is_self_attention():
    layer, x, keep = attention(), normal(1, B, T, WIDTH), mask(2, B, T)
    doutput = AttentionOutput(normal(3, B, T, WIDTH), normal(4, B, H, T, T))
    own, own_cache = layer.forward(x, None, keep, output_scores=True)
    cross, cross_cache = layer.forward(x, x, keep, output_scores=True)
    np.testing.assert_array_equal(own.y, cross.y)
    (dx, dmemory, _), grads = layer.backward(doutput, own_cache)
    (dx_cross, dx_memory, _), cross_grads = layer.backward(doutput, cross_cache)
    assert dmemory is None
    np.testing.assert_allclose(dx, dx_cross + dx_memory, rtol=0, atol=1e-12)
    for name in grads:
        np.testing.assert_array_equal(grads[name], cross_grads[name])


def test_a_row_that_may_attend_to_nothing():
    layer, x = attention(), normal(1, B, T, WIDTH)
    keep = mask(2, B, T)
    keep[0] = False
    output, cache = layer.forward(x, None, keep)
    np.testing.assert_allclose(output.y[0], np.tile(layer.params["b_o"], (T, 1)), atol=1e-15)
    (dx, *_), _ = layer.backward(AttentionOutput(normal(3, B, T, WIDTH), None), cache)
    assert not dx[0].any()
    assert dx[1].any()


def test_post_ln_is_normalised_and_pre_ln_is_not():
    x = 5 * normal(1, B, T, WIDTH)
    for norm_first in (False, True):
        config = BlockConfig(d_model=WIDTH, num_heads=H, d_ff=F, norm_first=norm_first)
        layer = EncoderBlock.init(config, np.random.default_rng(0), np.float64)
        y = layer.forward(x)[0].y
        normalised = np.allclose(y.mean(axis=-1), 0) and np.allclose(y.std(axis=-1), 1)
        assert normalised is not norm_first
        # With its two output maps at zero, a pre-LN block is the identity.
        for name in ("attention.w_o", "feedforward.w_2"):
            layer.params[name][:] = 0
        assert np.array_equal(layer.forward(x)[0].y, x) is norm_first


def test_embeddings_add_three_tables():
    layer = embeddings()
    p = layer.params
    ids, segments = np.array([[1, 0, 1]]), np.array([[0, 2, 2]])
    total = p["token"][ids] + p["position"][:3] + p["segment"][segments]
    expected, _ = ops.layernorm_forward(total, p["gamma"], p["beta"])
    np.testing.assert_allclose(layer.forward(ids, segments)[0], expected, rtol=0, atol=1e-14)
    default, _ = layer.forward(ids)
    np.testing.assert_array_equal(default, layer.forward(ids, np.zeros_like(ids))[0])


def test_narrow_embeddings_are_those_of_that_width_and_a_map():
    layer = embeddings(embedding_size=5, dropout=0.25)
    assert {name: p.shape for name, p in layer.params.items()} == {
        "token": (V, 5),
        "position": (LENGTH, 5),
        "segment": (3, 5),
        "gamma": (5,),
        "beta": (5,),
        "projection.w": (5, D),
        "projection.b": (D,),
    }
    ids, segments = np.array([[1, 0, 1]]), np.array([[0, 2, 2]])
    config = EmbeddingsConfig(vocab_size=V, d_model=5, max_len=LENGTH, num_segments=3, dropout=0.25)
    narrow = Embeddings(config, {n: p for n, p in layer.params.items() if "proj" not in n})
    x, _ = narrow.forward(ids, segments, rng=np.random.default_rng(8))
    y, _ = layer.forward(ids, segments, rng=np.random.default_rng(8))
    assert y.shape == (1, 3, D)
    assert (x == 0).any()
    expected = x @ layer.params["projection.w"] + layer.params["projection.b"]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("positions", ["sinusoidal", "none"])
def test_narrow_embeddings_with_other_positions_and_norm(positions):
    layer = embeddings(embedding_size=5, positions=positions, norm="rms", num_segments=0)
    assert set(layer.params) == {"token", "gamma", "projection.w", "projection.b"}
    assert check_model(layer, (np.array([[1, 0, 1]]),)).ok


def test_rows_nobody_looked_up_get_nothing():
    layer = embeddings()
    ids, segments = np.array([[4, 2, 4]]), np.array([[0, 0, 2]])
    _, cache = layer.forward(ids, segments)
    _, grads = layer.backward(normal(1, 1, 3, D), cache)
    for name, used in (("token", {2, 4}), ("position", {0, 1, 2}), ("segment", {0, 2})):
        assert set(np.flatnonzero(grads[name].any(axis=1))) == used


# Long sequences


@pytest.fixture
def every_length_is_long(monkeypatch):
    monkeypatch.setattr(attend, "BLOCKWISE_FROM", 1)


@pytest.mark.usefixtures("every_length_is_long")
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_blockwise_attention_in_a_layer(dropout):
    for memory, keep in ((None, mask(2, B, T)), (normal(2, B, S, WIDTH), mask(3, B, 1, T, S))):
        inputs = normal(1, B, T, WIDTH), memory, keep
        layer = attention(attention_dropout=dropout)
        output, cache = layer.forward(*inputs)
        assert isinstance(cache.attend.attention, ops.BlockwiseAttentionCache)
        plain, _ = layer.forward(*inputs, output_scores=True)
        np.testing.assert_allclose(output.y, plain.y, rtol=0, atol=1e-12)
        dropped, _ = layer.forward(*inputs, rng=make_rng())
        assert (dropped.y != output.y).any() == (dropout > 0)
        assert check_model(layer, inputs, make_rng=make_rng, zero=("b_k",)).ok


def test_a_long_sequence_goes_block_by_block_unless_its_scores_are_asked_for():
    layer = attention()
    x = normal(1, 1, 1024, WIDTH)
    caches = [
        layer.forward(x)[1],
        layer.forward(x, output_scores=True)[1],
        layer.forward(x, x[:, 1:])[1],
    ]
    kinds = [isinstance(cache.attend.attention, ops.BlockwiseAttentionCache) for cache in caches]
    assert kinds == [True, False, False]
    dy = AttentionOutput(normal(3, *x.shape), None)
    ((dx, *_), grads), ((plain_dx, *_), plain) = (layer.backward(dy, c) for c in caches[:2])
    for got, expected in [(dx, plain_dx), *((grads[n], plain[n]) for n in grads if n != "b_k")]:
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.usefixtures("every_length_is_long")
@pytest.mark.parametrize("relative", ["t5", "none"])
def test_blockwise_attention_with_a_bias_and_as_an_average(relative):
    bias = normal(4, 1, H, T, T) if relative == "t5" else None
    layer = attention(relative=relative, attention="softmax" if relative == "t5" else "average")
    inputs = normal(1, B, T, WIDTH), None, mask(2, B, T), bias
    output, cache = layer.forward(*inputs)
    assert isinstance(cache.attend.attention, ops.BlockwiseAttentionCache)
    plain, _ = layer.forward(*inputs, output_scores=True)
    np.testing.assert_allclose(output.y, plain.y, rtol=0, atol=1e-12)
    report = check_model(layer, inputs, zero=("b_k",) if relative == "t5" else ())
    assert ("shared" in report.errors) == (relative == "t5")


@pytest.mark.usefixtures("every_length_is_long")
def test_a_loss_on_scores_that_were_not_asked_for():
    layer = attention()
    output, cache = layer.forward(normal(1, B, T, WIDTH))
    with pytest.raises(InputError, match="scores: got a cotangent, expected None"):
        layer.backward(AttentionOutput(output.y, normal(2, B, H, T, T)), cache)


# The contract

CASES = {
    "attention": (attention, (normal(1, B, T, WIDTH), normal(2, B, S, WIDTH), mask(3, B, S))),
    "feedforward": (feedforward, (normal(1, B, T, D),)),
    "embeddings": (embeddings, (np.full((B, T), 2), np.full((B, T), 1))),
    "block": (block, (normal(1, B, T, WIDTH), mask(2, B, T))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_names_shapes_and_types(case, dtype):
    make, inputs = CASES[case]
    double = make()
    layer = type(double)(double.config, {n: p.astype(dtype) for n, p in double.params.items()})
    inputs = [x.astype(dtype) if x.dtype == np.float64 else x for x in inputs]
    for a in (*layer.params.values(), *inputs):
        a.flags.writeable = False
    output, cache = layer.forward(*inputs)
    y = getattr(output, "y", output)
    assert y.dtype == dtype
    dy = normal(5, *y.shape).astype(dtype)
    doutput = output._replace(y=dy) if hasattr(output, "y") else dy
    results = [layer.backward(doutput, cache) for _ in range(2)]
    for dinput, grads in results:
        assert set(grads) == set(layer.params)
        for name, p in layer.params.items():
            assert grads[name].shape == p.shape, name
            assert grads[name].dtype == dtype, name
            np.testing.assert_array_equal(grads[name], results[0][1][name])
        floating = [x for x in inputs if x.dtype == dtype]
        given = dinput if isinstance(dinput, tuple) else (dinput,)
        given = [dx for dx in given if dx is not None]
        assert [(dx.shape, dx.dtype) for dx in given] == [(x.shape, dtype) for x in floating]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((normal(1, B, T, D),), f"x: got shape .*, expected \\(B, T, {WIDTH}\\)"),
        ((normal(1, T, WIDTH),), "x: got shape"),
        ((normal(1, B, T, WIDTH), normal(2, B + 1, S, WIDTH)), "memory: got shape"),
        ((normal(1, B, T, WIDTH), normal(2, B, S, WIDTH), mask(1, B, T)), "keep: got shape"),
        ((normal(1, B, T, WIDTH), None, np.ones((B, T), int)), "keep: got int64 array"),
        ((normal(1, B, T, WIDTH), None, mask(1, B, T, 1)), "keep: got shape .* 4 axes"),
        ((normal(1, B, T, WIDTH), None, mask(1, B, 1, T + 1, T)), "keep: got shape .* 4 axes"),
    ],
)
def test_bad_input_of_attention(inputs, message):
    with pytest.raises(InputError, match=message):
        attention().forward(*inputs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttentionConfig(d_model=10, num_heads=3), "d_model: got 10"),
        (lambda: AttentionConfig(d_model=10, num_heads=-2), "num_heads: got -2"),
        (lambda: AttentionConfig.from_dict({"d_model": 4, "heads": 2}), "got unknown heads"),
        (lambda: AttentionConfig.from_dict({"d_model": 4}), "num_heads"),
        (lambda: FeedForwardConfig(d_model=4, d_ff=0), "d_ff: got 0"),
        (lambda: FeedForwardConfig(d_model=4, d_ff=8, activation="gelu_new"), "activation: got"),
        (lambda: embeddings(dropout=2.0), "dropout: got 2.0"),
        (lambda: block(layer_norm_eps=-1.0), "layer_norm_eps: got -1.0"),
        (lambda: attention(initializer_range=-1.0), "initializer_range: got -1.0"),
        (lambda: attention(initializer_range=float("nan")), "initializer_range: got nan"),
        (lambda: block(initializer_range=0.0), "initializer_range: got 0.0"),
    ],
)
def test_bad_configurations(make, message):
    with pytest.raises(InputError, match=message):
        make()

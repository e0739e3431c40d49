"""What every model gives on request, and that it knows its own shapes."""

import sys
from pathlib import Path

import numpy as np
import pytest
from models import small, small_causal_lm, small_seq2seq

import npformer
from npformer.layers import AttentionConfig, MultiHeadAttention
from npformer.layers.attention import split_heads
from npformer.layers.block import EncoderBlock
from npformer.layers.shapes import sizes
from npformer.models import ModelOutput, output_arrays
from npformer.selfcheck import model_cases

DROPOUT = {"dropout": 0.2, "attention_dropout": 0.1}
CASES = {case.name: case for case in model_cases()}


@pytest.mark.parametrize("name", CASES)
def test_a_model_knows_its_shapes(name):
    model = CASES[name].model
    shapes = type(model).shapes(model.config)
    assert {n: sizes(axes) for n, axes in shapes.items()} == {
        n: p.shape for n, p in model.params.items()
    }
    assert list(shapes) == list(model.params)  # in the order in which they are drawn
    found: dict[str, set[int]] = {}
    for axes in shapes.values():
        for axis in axes:
            found.setdefault(axis.letter, set()).add(axis.size)
    # A letter means one size; only a target's vocabulary may be another V.
    assert all(len(s) == 1 for letter, s in found.items() if letter != "V")


@pytest.mark.parametrize("num_kv_heads", [None, 1])
def test_values_are_those_that_attention_averages(num_kv_heads):
    config = AttentionConfig(d_model=12, num_heads=3, num_kv_heads=num_kv_heads)
    rng = np.random.default_rng(0)
    layer = MultiHeadAttention.init(config, rng, np.float64)
    x, memory = rng.standard_normal((2, 4, 12)), rng.standard_normal((2, 5, 12))
    for source in (None, memory):
        output, _ = layer.forward(x, source, output_values=True)
        told = (x if source is None else source) @ layer.params["w_v"] + layer.params["b_v"]
        expected = split_heads(told, config.kv_heads)
        np.testing.assert_allclose(output.values, expected, rtol=0, atol=1e-15)
        assert layer.forward(x, source)[0].values is None


def test_an_encoder_decoder_gives_everything_of_both_sides():
    model, data = small_seq2seq.make(), small_seq2seq.batch()
    plain, _ = model.forward(*data[:4])
    output, _ = model.forward(*data[:4], output_scores=True, output_values=True)
    np.testing.assert_allclose(output.logits, plain.logits, rtol=0, atol=1e-12)
    assert [h.shape for h in output.hidden] == [(4, 6, 12)] * 4
    assert [s.shape for s in output.scores] == [(4, 3, 6, 6)] * 3
    assert [v.shape for v in output.values] == [(4, 3, 6, 4)] * 3
    assert [s.shape for s in output.cross_scores] == [(4, 3, 6, 7)] * 3
    assert [h.shape for h in output.encoder.hidden] == [(4, 7, 12)] * 3
    assert [s.shape for s in output.encoder.scores] == [(4, 3, 7, 7)] * 2
    assert [v.shape for v in output.encoder.values] == [(4, 3, 7, 4)] * 2
    assert output.encoder.logits is None
    assert plain.scores is plain.values is plain.cross_scores is None
    assert len(output_arrays(output)) == 4 + 3 + 3 + 3 + 1 + 3 + 2 + 2


@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_recomputation_gives_the_same_bits(kind):
    if kind == "causal":
        model = small_causal_lm.make(relative="t5", positions="none", **DROPOUT)
        inputs = (np.random.default_rng(2).integers(0, 23, (2, 6)),)
    else:
        model, inputs = small_seq2seq.make(norm_first=True, **DROPOUT), small_seq2seq.batch()[:4]
    results = []
    for recompute in (False, True):
        output, cache = model.forward(
            *inputs, rng=np.random.default_rng(6), output_scores=True, recompute=recompute
        )
        draw = np.random.default_rng(7).standard_normal
        dlogits, dscores = draw(output.logits.shape), tuple(draw(s.shape) for s in output.scores)
        _, grads = model.backward(ModelOutput(logits=dlogits, scores=dscores), cache)
        results.append([*output_arrays(output), *(grads[name] for name in model.params)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_of_a_language_model_are_those_of_the_whole():
    model, ids = small_causal_lm.make(), np.random.default_rng(2).integers(0, 23, (2, 6))
    whole = model.forward(ids)[0].logits
    some, _ = model.forward(ids, positions=np.array([3, 11, 3]))
    np.testing.assert_allclose(some.logits, whole.reshape(12, -1)[[3, 11, 3]], rtol=0, atol=1e-12)


def passed_on(argument, run, inside):
    """Return the functions of the library that get this argument below ``inside``, in order."""
    found, depth = [], 0
    root = str(Path(npformer.__file__).parent)

    def watch(frame, event, _):
        nonlocal depth
        code = frame.f_code
        if not code.co_filename.startswith(root):
            return
        if code is inside:
            depth += {"call": 1, "return": -1}.get(event, 0)
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if event == "call" and depth and argument in names and frame.f_locals[argument] is not None:
            found.append(code.co_qualname)

    sys.setprofile(watch)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


def test_a_mask_is_handed_on_a_few_times_only():
    model = small.make("encoder", num_layers=1)
    ids, keep, segments = small.inputs()
    found = passed_on(
        "keep", lambda: model.forward(ids, keep, segments), EncoderBlock.forward.__code__
    )
    assert found[0] == "EncoderBlock.forward"
    assert "masked_softmax_forward" in found
    assert len(found) <= 10

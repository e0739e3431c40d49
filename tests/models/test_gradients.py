"""Whole models against finite differences, with padding, dropout and gradients from everywhere."""

import numpy as np
import pytest
from models.small import MODELS, inputs, make, random_like

from npformer.gradcheck import GradientError, check_model
from npformer.models import ModelOutput, add_outputs, output_arrays
from npformer.ops import gelu_backward, layernorm_backward, linear_backward

DROPOUT = {"dropout": 0.2, "attention_dropout": 0.3}
# A key bias shifts a row of scores, which the softmax does not see; only scores feel it.
KEY_BIASES = tuple(f"layers.{i}.attention.b_k" for i in range(2))


def make_rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
@pytest.mark.parametrize("kind", MODELS)
def test_every_output(kind, norm_first):
    model = make(kind, norm_first=norm_first, **DROPOUT)
    report = check_model(model, inputs(), {"output_scores": True}, make_rng=make_rng)
    assert set(report.errors) == set(model.params)
    assert report.error <= 1e-6


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("kind", ["encoder", "masked_lm"])
def test_other_activations(kind, activation):
    model = make(kind, activation=activation, num_layers=1)
    assert check_model(model, inputs(), {"output_scores": True}).ok


def test_a_relu_before_the_classifier():
    model = make("sequence", relu_before_classifier=True, num_layers=1)
    assert check_model(model, inputs(), {"output_scores": True}).ok


def test_the_head_of_distilbert():
    """A relu in the place of the tanh, a dropout of its own, no segments."""
    model = make(
        "sequence",
        tanh_pooler=False,
        relu_before_classifier=True,
        num_segments=0,
        num_layers=1,
        dropout=0.2,
        classifier_dropout=0.4,
    )
    report = check_model(model, inputs(), {"output_scores": True}, make_rng=make_rng)
    assert set(report.errors) == set(model.params)
    assert not any("segment" in name for name in report.errors)
    assert report.error <= 1e-6


def test_masked_lm_positions():
    # Also one that is asked for twice.
    kwargs = {"positions": np.array([8, 0, 2, 8, 21])}
    model = make("masked_lm", num_layers=1)
    assert check_model(model, inputs(), kwargs, zero=("encoder.layers.0.attention.b_k",)).ok


def test_without_scores_the_key_biases_are_declared_zero():
    model = make("encoder")
    assert check_model(model, inputs(), zero=KEY_BIASES).ok
    with pytest.raises(GradientError, match="b_k"):
        check_model(model, inputs())


def test_one_layer_entry_by_entry():
    model = make("encoder", num_layers=1, vocab_size=8, max_len=4, num_segments=2, d_ff=5)
    ids = np.random.default_rng(4).integers(0, 8, (2, 4))
    keep = np.array([[True] * 4, [True] * 3 + [False]])
    segments = np.random.default_rng(5).integers(0, 2, (2, 4))
    arguments = (ids, keep, segments), {"output_scores": True}
    assert check_model(model, *arguments, entrywise=True).ok


@pytest.mark.parametrize("kind", MODELS)
def test_gradients_add_over_cotangents(kind):
    """The backward is linear: the gradient of all cotangents is the sum of each alone."""
    model = make(kind)
    output, cache = model.forward(*inputs(), output_scores=True)
    full = random_like(output)
    _, expected = model.backward(full, cache)
    hidden, scores = list(full.hidden), list(full.scores)
    single = [ModelOutput(hidden=(*[None] * i, hidden[i], *[None] * (2 - i))) for i in range(3)]
    single += [ModelOutput(scores=(*[None] * i, scores[i], *[None] * (1 - i))) for i in range(2)]
    if full.logits is not None:
        single.append(ModelOutput(logits=full.logits))
    total = {name: np.zeros_like(p) for name, p in model.params.items()}
    for doutput in single:
        _, grads = model.backward(doutput, cache)
        for name in total:
            total[name] += grads[name]
    for name in total:
        np.testing.assert_allclose(total[name], expected[name], rtol=0, atol=1e-12, err_msg=name)
    joined = ModelOutput()
    for doutput in single:
        joined = add_outputs(joined, doutput)
    for a, b in zip(output_arrays(joined), output_arrays(full), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_silent_cotangent_gives_zeros():
    for kind in MODELS:
        model = make(kind, dtype=np.float32)
        _, cache = model.forward(*inputs())
        _, grads = model.backward(ModelOutput(), cache)
        for name, p in model.params.items():
            assert grads[name].dtype == p.dtype, name
            assert grads[name].shape == p.shape, name
            assert not grads[name].any(), name


def test_the_tied_table_gets_both_gradients():
    model = make("masked_lm")
    output, cache = model.forward(*inputs())
    doutput = ModelOutput(logits=random_like(output).logits)
    _, grads = model.backward(doutput, cache)
    # As the output matrix: logits = n E^T + b.
    as_output = np.einsum("btv,bte->ve", doutput.logits, cache.head.decoder.x)
    # As the input table: what the encoder alone is told to do by the same gradient.
    dn = doutput.logits @ model.params["encoder.embeddings.token"]
    dt = gelu_backward(layernorm_backward(dn, cache.head.norm)[0], cache.head.activation)
    dstates, _, _ = linear_backward(dt, cache.head.transform)
    dlast = ModelOutput(hidden=(None, None, dstates))
    _, below = model.encoder.backward(dlast, cache.encoder)
    expected = as_output + below["embeddings.token"]
    assert np.abs(below["embeddings.token"]).max() > 1e-3
    np.testing.assert_allclose(grads["encoder.embeddings.token"], expected, rtol=0, atol=1e-12)

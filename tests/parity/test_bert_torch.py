"""Whole BERT models against transformers: folders, outputs, scores and gradients."""

import math
from typing import Any

import numpy as np
import pytest
from models.small import CLASSES, MODELS, inputs, make
from safetensors.numpy import load_file

from npformer import ops
from npformer.models import Encoder, ModelOutput
from npformer.models.huggingface import from_pretrained, save_pretrained
from npformer.models.huggingface.tensors import array_rows

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
transformers.utils.logging.disable_progress_bar()

THEIRS = {
    "encoder": transformers.BertModel,
    "sequence": transformers.BertForSequenceClassification,
    "token": transformers.BertForTokenClassification,
    "masked_lm": transformers.BertForMaskedLM,
}
every_kind = pytest.mark.parametrize("kind", THEIRS)


def batch():
    # transformers gives the row of its padding id, 0, no gradient.
    ids, keep, segments = inputs()
    return np.maximum(ids, 1), keep, segments


def options(kind):
    return {"add_pooling_layer": False} if kind == "encoder" else {}


def theirs_of(model, kind, folder) -> Any:
    """The same model in PyTorch and float64, by way of a folder that we have written."""
    save_pretrained(model, folder)
    config = transformers.BertConfig.from_pretrained(folder, attn_implementation="eager")
    theirs = THEIRS[kind](config, **options(kind)).double().eval()
    stored = load_file(folder / "model.safetensors")
    result = theirs.load_state_dict({n: torch.tensor(a) for n, a in stored.items()}, strict=False)
    assert not result.unexpected_keys
    # Tied to arrays that are there.
    assert all(name.startswith("cls.predictions.decoder.") for name in result.missing_keys)
    return theirs


def call(theirs, ids, keep, segments, **more):
    """Outputs of transformers, and its attention scores from queries and keys."""
    projections: dict[str, list[Any]] = {"query": [], "key": []}
    hooks = [
        getattr(layer.attention.self, name).register_forward_hook(
            lambda module, args, y, name=name: projections[name].append(y)
        )
        for layer in theirs.base_model.encoder.layer
        for name in projections
    ]
    output = theirs(
        input_ids=torch.tensor(ids),
        attention_mask=torch.tensor(keep.astype(np.int64)),
        token_type_ids=torch.tensor(segments),
        output_hidden_states=True,
        **more,
    )
    for hook in hooks:
        hook.remove()
    heads = theirs.config.num_attention_heads

    def split(x):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, H, T, K)

    size = theirs.config.hidden_size // heads
    pairs = zip(projections["query"], projections["key"], strict=True)
    return output, [split(q) @ split(k).mT / math.sqrt(size) for q, k in pairs]


def close(ours, theirs, keep=None, tolerance=1e-10):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    error = np.abs(ours - theirs)
    assert (error if keep is None else error[keep]).max() <= tolerance


@every_kind
@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_outputs(kind, activation, tmp_path):
    model = make(kind, activation=activation)
    ids, keep, segments = batch()
    output, _ = model.forward(ids, keep, segments, output_scores=True)
    expected, scores = call(theirs_of(model, kind, tmp_path / "m"), ids, keep, segments)
    assert len(output.hidden) == len(expected.hidden_states)
    for ours, theirs in zip(output.hidden, expected.hidden_states, strict=True):
        close(ours, theirs, keep)
    for ours, theirs in zip(output.scores, scores, strict=True):
        queries = np.broadcast_to(keep[:, None, :, None], ours.shape)
        close(ours, theirs, queries)
    if kind == "sequence":
        close(output.logits, expected.logits)
    elif kind == "token":
        close(output.logits, expected.logits, keep)
    elif kind == "masked_lm":
        close(output.logits.reshape(*ids.shape, -1), expected.logits, keep)


def loss_and_labels(kind, model, keep):
    """Labels for each of our models, and our loss with its gradient on the logits."""
    rng = np.random.default_rng(11)
    if kind == "sequence":
        labels = rng.integers(0, CLASSES, len(keep))
    else:
        classes = CLASSES if kind == "token" else model.config.vocab_size
        labels = np.where(keep & (rng.random(keep.shape) < 0.8), 1, -100)
        labels = np.where(labels == 1, rng.integers(0, classes, keep.shape), -100)

    def loss(logits):
        value, cache = ops.cross_entropy_forward(logits, labels)
        return value, ops.cross_entropy_backward(1.0, cache)

    return labels, loss


def their_gradients(theirs, kind, model):
    """Every gradient of transformers, by our name and in our order of axes."""
    named = dict(theirs.named_parameters())
    grads = {}
    for row in array_rows(MODELS[kind], model.config):
        g = named[row.theirs].grad.numpy()
        grads[row.ours] = g.T if row.transposed else g
    assert len(grads) == len(named) == len(model.params)
    return grads


@pytest.mark.parametrize("kind", ["sequence", "token", "masked_lm"])
def test_gradients_of_the_cross_entropy(kind, tmp_path):
    model = make(kind)
    ids, keep, segments = batch()
    labels, loss = loss_and_labels(kind, model, keep)
    output, cache = model.forward(ids, keep, segments)
    value, dlogits = loss(output.logits)
    _, grads = model.backward(ModelOutput(logits=dlogits), cache)
    theirs = theirs_of(model, kind, tmp_path / "m")
    expected, _ = call(theirs, ids, keep, segments, labels=torch.tensor(labels))
    assert value == pytest.approx(float(expected.loss.detach()), abs=1e-10)
    expected.loss.backward()
    for name, g in their_gradients(theirs, kind, model).items():
        np.testing.assert_allclose(grads[name], g, rtol=0, atol=1e-9, err_msg=name)


def test_gradients_of_a_regression(tmp_path):
    model = make("sequence", num_classes=1, problem="regression")
    ids, keep, segments = batch()
    labels = np.random.default_rng(12).standard_normal(len(ids))
    output, cache = model.forward(ids, keep, segments)
    value, mse_cache = ops.mse_forward(output.logits, labels[:, None])
    _, grads = model.backward(ModelOutput(logits=ops.mse_backward(1.0, mse_cache)), cache)
    theirs = theirs_of(model, "sequence", tmp_path / "m")
    expected, _ = call(theirs, ids, keep, segments, labels=torch.tensor(labels))
    assert value == pytest.approx(float(expected.loss.detach()), abs=1e-10)
    expected.loss.backward()
    for name, g in their_gradients(theirs, "sequence", model).items():
        np.testing.assert_allclose(grads[name], g, rtol=0, atol=1e-9, err_msg=name)


def test_gradients_from_hidden_states_and_scores(tmp_path):
    """What a distillation loss sends back: random cotangents everywhere but at the logits."""
    model = make("encoder")
    ids, keep, segments = batch()
    output, cache = model.forward(ids, keep, segments, output_scores=True)
    rng = np.random.default_rng(13)
    dhidden = [rng.standard_normal(h.shape) * keep[..., None] for h in output.hidden]
    pairs = keep[:, None, :, None] & keep[:, None, None, :]
    dscores = [rng.standard_normal(s.shape) * pairs for s in output.scores]
    _, grads = model.backward(ModelOutput(tuple(dhidden), tuple(dscores)), cache)
    theirs = theirs_of(model, "encoder", tmp_path / "m")
    expected, scores = call(theirs, ids, keep, segments)
    torch.autograd.backward(
        (*expected.hidden_states, *scores), [torch.tensor(d) for d in (*dhidden, *dscores)]
    )
    for name, g in their_gradients(theirs, "encoder", model).items():
        assert np.abs(g).max() > 1e-3
        np.testing.assert_allclose(grads[name], g, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("kind", ["sequence", "token", "masked_lm"])
def test_float32_gradients(kind, tmp_path):
    """Within 1e-6 of each non-zero array's maximum, of PyTorch's in float64."""
    single = make(kind, dtype=np.float32)
    double = type(single)(
        single.config, {name: p.astype(np.float64) for name, p in single.params.items()}
    )
    ids, keep, segments = batch()
    labels, loss = loss_and_labels(kind, single, keep)
    output, cache = single.forward(ids, keep, segments)
    _, grads = single.backward(ModelOutput(logits=loss(output.logits)[1]), cache)
    theirs = theirs_of(double, kind, tmp_path / "m")
    call(theirs, ids, keep, segments, labels=torch.tensor(labels))[0].loss.backward()
    expected = their_gradients(theirs, kind, single)
    largest = max(np.abs(g).max() for g in expected.values())
    zero = {name for name, g in expected.items() if np.abs(g).max() < 1e-12 * largest}
    assert {name.split(".", 1)[1] for name in zero} == {
        f"layers.{i}.attention.b_k" for i in range(2)
    }
    for name in expected.keys() - zero:
        assert grads[name].dtype == np.float32
        error = np.abs(grads[name] - expected[name]).max() / np.abs(expected[name]).max()
        assert error <= 1e-6, name


# Folders


@every_kind
def test_transformers_reads_our_folder(kind, tmp_path):
    model = make(kind, dtype=np.float32, dropout=0.1, attention_dropout=0.2)
    save_pretrained(model, tmp_path / "m")
    theirs, report = THEIRS[kind].from_pretrained(
        tmp_path / "m",
        attn_implementation="eager",
        output_loading_info=True,
        **options(kind),
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[what], what
    config = theirs.config
    assert config.hidden_dropout_prob == 0.1
    assert config.attention_probs_dropout_prob == 0.2
    assert config.max_position_embeddings == 11
    assert kind not in ("sequence", "token") or config.num_labels == CLASSES
    ids, keep, segments = batch()
    expected, _ = call(theirs.eval(), ids, keep, segments)
    output, _ = model.forward(ids, keep, segments)
    close(output.hidden[-1], expected.hidden_states[-1], keep, tolerance=1e-4)


@every_kind
def test_we_read_a_folder_of_transformers(kind, tmp_path):
    config = transformers.BertConfig(
        vocab_size=29,
        hidden_size=12,
        num_attention_heads=3,
        num_hidden_layers=2,
        intermediate_size=10,
        max_position_embeddings=11,
        type_vocab_size=6,
        num_labels=CLASSES,
        hidden_dropout_prob=0.3,
        initializer_range=0.3,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    # With the pooler that a BertModel has by default, and that our encoder has no use for.
    theirs = THEIRS[kind](config).eval()
    theirs.save_pretrained(tmp_path / "m")
    model = from_pretrained(tmp_path / "m", MODELS[kind], dtype=np.float64)
    assert model.config.dropout == 0.3
    ids, keep, segments = batch()
    output, _ = model.forward(ids, keep, segments)
    expected, _ = call(theirs.double(), ids, keep, segments)
    close(output.hidden[-1], expected.hidden_states[-1], keep)
    if kind == "sequence":
        close(output.logits, expected.logits)
    elif kind == "token":
        close(output.logits, expected.logits, keep)
    elif kind == "masked_lm":
        close(output.logits.reshape(*ids.shape, -1), expected.logits, keep)
    encoder = from_pretrained(tmp_path / "m", Encoder, dtype=np.float64)
    hidden = encoder.forward(ids, keep, segments)[0].hidden
    np.testing.assert_array_equal(hidden[-1], output.hidden[-1])


def test_the_label_names_reach_transformers(tmp_path):
    save_pretrained(make("sequence"), tmp_path / "m", labels=["a", "b", "c", "d", "e"])
    config = transformers.BertConfig.from_pretrained(tmp_path / "m")
    assert config.id2label == dict(enumerate("abcde"))
    assert config.label2id["d"] == 3
    assert config.problem_type == "single_label_classification"


def test_the_frozen_vectors_are_true():
    from models import frozen
    from parity import freeze

    flat, expected = (_numbers(tree) for tree in (frozen.read(), freeze.numbers()))
    assert [path for path, _ in flat] == [path for path, _ in expected]
    ours, theirs = (np.array([x for _, x in tree]) for tree in (flat, expected))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)
    assert len(ours) > 500


def _numbers(tree, path=""):
    if isinstance(tree, float):
        return [(path, tree)]
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return [leaf for key, child in children for leaf in _numbers(child, f"{path}.{key}")]

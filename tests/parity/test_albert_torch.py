"""Factorised tables against ALBERT of transformers: folders both ways, outputs, gradients."""

from typing import Any

import numpy as np
import pytest
from models.small import CLASSES, MODELS

from npformer import ops
from npformer.models import (
    ClassifierConfig,
    EncoderConfig,
    ModelOutput,
    from_pretrained,
    save_pretrained,
)
from npformer.models.huggingface.tensors import array_rows

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
transformers.utils.logging.disable_progress_bar()

THEIRS = {
    "encoder": "AlbertModel",
    "sequence": "AlbertForSequenceClassification",
    "token": "AlbertForTokenClassification",
    "masked_lm": "AlbertForMaskedLM",
}
every_kind = pytest.mark.parametrize("kind", THEIRS)
every_size = pytest.mark.parametrize("seed", range(4))


def draw_sizes(seed) -> dict[str, Any]:
    """Return sizes by our names, those of arrays all different; the last one's tables are wide."""
    rng = np.random.default_rng(seed)
    heads = int(rng.integers(2, 5))
    d_model = heads * int(rng.integers(3, 6))
    e, f, v, p = rng.choice(np.arange(21, 60), 4, replace=False).tolist()
    return {
        "vocab_size": v,
        "embedding_size": e if seed == 3 else 7 + seed,
        "d_model": d_model,
        "num_heads": heads,
        "num_layers": 2 + seed,  # of 3 and 4 layers too, each a group of its own
        "d_ff": f,
        "max_len": p,
        "num_segments": 2 + seed,
        "activation": ("gelu", "relu", "silu", "gelu_tanh")[seed],
        "layer_norm_eps": (1e-12, 1e-5, 1e-7, 1e-12)[seed],
    }


def make(kind, seed) -> Any:
    """Make one of our models, its biases and norms off their initial values."""
    sizes = draw_sizes(seed)
    classifier = kind in ("sequence", "token")
    config = ClassifierConfig(**sizes, num_classes=CLASSES) if classifier else None
    rng = np.random.default_rng(100 + seed)
    kind_: Any = MODELS[kind]
    model = kind_.init(config or EncoderConfig(**sizes), rng, np.float64)
    for name, p in model.params.items():
        model.params[name] = p + 0.3 * rng.standard_normal(p.shape)
    return model


def batch(model, lengths=(3, 10, 1, 6, 2, 4)):
    """Padded ids, without the padding id 0, whose row gets no gradient in transformers."""
    rng = np.random.default_rng(1)
    shape = len(lengths), max(lengths)
    ids = rng.integers(1, model.config.vocab_size, shape)
    ids[1, 4] = ids[1, 0]
    keep = np.arange(shape[1]) < np.array(lengths)[:, None]
    return ids, keep, rng.integers(0, model.config.num_segments, shape)


def read_by_them(kind, folder) -> Any:
    """Nothing may be missing, unexpected or of another shape; no pooler where we have none."""
    options = {"add_pooling_layer": False} if kind == "encoder" else {}
    theirs, report = getattr(transformers, THEIRS[kind]).from_pretrained(
        folder,
        dtype=torch.float64,
        attn_implementation="eager",
        output_loading_info=True,
        **options,
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[what], what
    return theirs.eval()


def call(theirs, ids, keep, segments, **more):
    return theirs(
        input_ids=torch.tensor(ids),
        attention_mask=torch.tensor(keep.astype(np.int64)),
        token_type_ids=torch.tensor(segments),
        output_hidden_states=True,
        **more,
    )


def agree(kind, output, expected, keep, tolerance=1e-9):
    """Hidden states, the embeddings after their map among them, and logits; where kept."""
    for ours, theirs in zip(output.hidden, expected.hidden_states, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs.detach().numpy())[keep].max() <= tolerance
    if kind != "encoder":
        theirs = expected.logits.detach().numpy()
        error = np.abs(output.logits.reshape(theirs.shape) - theirs)
        assert (error if kind == "sequence" else error[keep]).max() <= tolerance


@every_kind
@every_size
def test_they_read_what_we_write(kind, seed, tmp_path):
    model = make(kind, seed)
    save_pretrained(model, tmp_path / "m")
    theirs = read_by_them(kind, tmp_path / "m")
    named = {"gelu_tanh": "gelu_new"}.get(model.config.activation, model.config.activation)
    assert theirs.config.hidden_act == named
    arguments = batch(model)
    agree(kind, model.forward(*arguments)[0], call(theirs, *arguments), arguments[1])


@every_kind
def test_we_read_what_they_write(kind, tmp_path):
    model = make(kind, 1)
    save_pretrained(model, tmp_path / "m")
    theirs = read_by_them(kind, tmp_path / "m")
    theirs.save_pretrained(tmp_path / "again")
    again = from_pretrained(tmp_path / "again", dtype=np.float64)
    assert type(again) is type(model)
    assert again.config == model.config
    assert again.params.keys() == model.params.keys()
    for name, p in model.params.items():
        np.testing.assert_array_equal(again.params[name], p, err_msg=name)


def their_gradients(theirs, kind, model):
    """Every gradient of transformers, by our name and in our order of axes."""
    named = dict(theirs.named_parameters())
    rows = array_rows(MODELS[kind], model.config)
    assert {row.theirs for row in rows} == named.keys()
    found = {row.ours: (named[row.theirs].grad.numpy(), row.transposed) for row in rows}
    return {name: g.T if transposed else g for name, (g, transposed) in found.items()}


@pytest.mark.parametrize("kind", ["sequence", "token", "masked_lm"])
@every_size
def test_gradients_of_the_cross_entropy(kind, seed, tmp_path):
    model = make(kind, seed)
    ids, keep, segments = batch(model)
    rng = np.random.default_rng(2)
    labels = rng.integers(0, CLASSES, len(ids))
    if kind != "sequence":
        classes = CLASSES if kind == "token" else model.config.vocab_size
        labels = np.where(keep, rng.integers(0, classes, ids.shape), -100)
    output, cache = model.forward(ids, keep, segments)
    value, loss_cache = ops.cross_entropy_forward(output.logits, labels)
    dlogits = ops.cross_entropy_backward(1.0, loss_cache)
    _, grads = model.backward(ModelOutput(logits=dlogits), cache)
    save_pretrained(model, tmp_path / "m")
    theirs = read_by_them(kind, tmp_path / "m")
    expected = call(theirs, ids, keep, segments, labels=torch.tensor(labels))
    assert value == pytest.approx(float(expected.loss.detach()), abs=1e-10)
    expected.loss.backward()
    for name, g in their_gradients(theirs, kind, model).items():
        np.testing.assert_allclose(grads[name], g, rtol=0, atol=1e-9, err_msg=name)


@every_size
def test_gradients_from_every_hidden_state(seed, tmp_path):
    """As distillation has them: the map of the tables hears from the embeddings' loss too."""
    model = make("encoder", seed)
    ids, keep, segments = batch(model)
    output, cache = model.forward(ids, keep, segments)
    rng = np.random.default_rng(3)
    dhidden = tuple(rng.standard_normal(h.shape) * keep[..., None] for h in output.hidden)
    _, grads = model.backward(ModelOutput(hidden=dhidden), cache)
    save_pretrained(model, tmp_path / "m")
    theirs = read_by_them("encoder", tmp_path / "m")
    hidden = call(theirs, ids, keep, segments).hidden_states
    sum((torch.tensor(d) * h).sum() for d, h in zip(dhidden, hidden, strict=True)).backward()
    for name, g in their_gradients(theirs, "encoder", model).items():
        np.testing.assert_allclose(grads[name], g, rtol=0, atol=1e-9, err_msg=name)


def test_layers_that_share_their_weights_are_refused(tmp_path):
    config = transformers.AlbertConfig(
        vocab_size=29,
        embedding_size=5,
        hidden_size=12,
        num_attention_heads=3,
        intermediate_size=10,
        num_hidden_layers=4,
    )
    transformers.AlbertForMaskedLM(config).save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="num_hidden_groups: got 1, expected num_hidden_layers = "):
        from_pretrained(tmp_path / "m")


def test_the_heads_of_pretraining_are_read_without_the_order_of_sentences(tmp_path):
    config = transformers.AlbertConfig(
        vocab_size=29,
        embedding_size=5,
        hidden_size=12,
        num_attention_heads=3,
        intermediate_size=10,
        num_hidden_layers=3,
        num_hidden_groups=3,
        hidden_act="gelu",
        max_position_embeddings=11,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    theirs = transformers.AlbertForPreTraining(config).double().eval()
    theirs.save_pretrained(tmp_path / "m")
    model = from_pretrained(tmp_path / "m", dtype=np.float64)
    arguments = batch(model)
    output, expected = model.forward(*arguments)[0], call(theirs, *arguments)
    logits = expected.prediction_logits.detach().numpy()
    keep = arguments[1]
    assert np.abs(output.logits.reshape(logits.shape) - logits)[keep].max() <= 1e-9

"""DistilBERT and RoBERTa against transformers: folders both ways, outputs and gradients."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from models.small import CLASSES, MODELS

from npformer import ops
from npformer.models import ModelOutput, from_pretrained, save_pretrained
from npformer.models.huggingface.registry import FAMILIES
from npformer.models.huggingface.tensors import array_rows

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
transformers.utils.logging.disable_progress_bar()

SIZES = {
    "vocab_size": 29,
    "num_labels": CLASSES,
    "max_position_embeddings": 11,
    "initializer_range": 0.3,
    "attn_implementation": "eager",
}
BERT_SIZES = {
    "hidden_size": 12,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "intermediate_size": 10,
}
CONFIGS = {
    "distilbert": lambda: transformers.DistilBertConfig(
        dim=12, n_heads=3, n_layers=2, hidden_dim=10, seq_classif_dropout=0.4, **SIZES
    ),
    "roberta": lambda: transformers.RobertaConfig(
        type_vocab_size=1, layer_norm_eps=1e-5, **BERT_SIZES, **SIZES
    ),
    # Another padding id, another activation.
    "roberta/3": lambda: transformers.RobertaConfig(
        type_vocab_size=2, pad_token_id=3, hidden_act="relu", **BERT_SIZES, **SIZES
    ),
}
CLASSES_OF = {"encoder": "Model", "sequence": "ForSequenceClassification"}
CLASSES_OF |= {"token": "ForTokenClassification", "masked_lm": "ForMaskedLM"}
# The one that is left out is refused: see below.
CASES = [(c, k) for c in CONFIGS for k in MODELS if (c, k) != ("roberta/3", "masked_lm")]
every_case = pytest.mark.parametrize(("config_name", "kind"), CASES)


def make(config_name, kind) -> Any:
    """A model of transformers in float64, its biases and norms off their initial values."""
    config = CONFIGS[config_name]()
    prefix = {"distilbert": "DistilBert", "roberta": "Roberta"}[config.model_type]
    torch.manual_seed(0)
    theirs = getattr(transformers, prefix + CLASSES_OF[kind])(config).double().eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p += 0.2 * torch.randn_like(p)
    return theirs


def batch(pad, lengths=(3, 7, 1, 5), *, left=False):
    """Ids without the padding id, which RoBERTa would count as padding."""
    rng = np.random.default_rng(1)
    ids = rng.integers(pad + 1, 29, (len(lengths), max(lengths)))
    keep = np.arange(max(lengths)) < np.array(lengths)[:, None]
    if left:
        keep = keep[:, ::-1].copy()
    return np.where(keep, ids, pad), keep


def call(theirs, ids, keep, **more):
    mask = torch.tensor(keep.astype(np.int64))
    return theirs(
        input_ids=torch.tensor(ids), attention_mask=mask, output_hidden_states=True, **more
    )


def agree(kind, output, expected, keep, tolerance=1e-9):
    """Hidden states and logits, at kept positions."""
    assert len(output.hidden) == len(expected.hidden_states) == 3
    for ours, theirs in zip(output.hidden, expected.hidden_states, strict=True):
        assert np.abs(ours - theirs.detach().numpy())[keep].max() <= tolerance
    if kind != "encoder":
        theirs = expected.logits.detach().numpy()
        error = np.abs(output.logits.reshape(theirs.shape) - theirs)
        assert (error if kind == "sequence" else error[keep]).max() <= tolerance


@every_case
def test_we_read_their_folders(config_name, kind, tmp_path):
    theirs = make(config_name, kind)
    theirs.save_pretrained(tmp_path / "m")
    model = from_pretrained(tmp_path / "m", dtype=np.float64)
    assert type(model) is MODELS[kind]
    ids, keep = batch(theirs.config.pad_token_id)
    agree(kind, model.forward(ids, keep)[0], call(theirs, ids, keep), keep)


@every_case
def test_they_read_what_we_write(config_name, kind, tmp_path):
    """DistilBERT as DistilBERT; RoBERTa as the BERT that it is."""
    theirs = make(config_name, kind)
    theirs.save_pretrained(tmp_path / "m")
    model = from_pretrained(tmp_path / "m", dtype=np.float64)
    save_pretrained(model, tmp_path / "again")
    prefix = "DistilBert" if config_name == "distilbert" else "Bert"
    options = {"add_pooling_layer": False} if (prefix, kind) == ("Bert", "encoder") else {}
    again, report = getattr(transformers, prefix + CLASSES_OF[kind]).from_pretrained(
        tmp_path / "again",
        dtype=torch.float64,
        attn_implementation="eager",
        output_loading_info=True,
        **options,
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[what], what
    ids, keep = batch(theirs.config.pad_token_id)
    agree(kind, model.forward(ids, keep)[0], call(again.eval(), ids, keep), keep)
    once_more = from_pretrained(tmp_path / "again", dtype=np.float64)
    assert once_more.config == model.config
    assert once_more.params.keys() == model.params.keys()
    for name, p in model.params.items():
        np.testing.assert_array_equal(once_more.params[name], p, err_msg=name)
    if (config_name, kind) == ("distilbert", "sequence"):
        assert again.config.seq_classif_dropout == 0.4
        assert model.config.head_dropout == 0.4


@pytest.mark.parametrize(
    ("config_name", "kind"), [case for case in CASES if case[1] in ("sequence", "masked_lm")]
)
def test_gradients(config_name, kind, tmp_path):
    theirs = make(config_name, kind)
    theirs.save_pretrained(tmp_path / "m")
    model = from_pretrained(tmp_path / "m", dtype=np.float64)
    pad = theirs.config.pad_token_id
    ids, keep = batch(pad)
    rng = np.random.default_rng(2)
    labels = rng.integers(0, CLASSES, len(ids))
    if kind == "masked_lm":
        labels = np.where(keep, rng.integers(0, 29, ids.shape), -100)
    output, cache = model.forward(ids, keep)
    value, loss_cache = ops.cross_entropy_forward(output.logits, labels)
    dlogits = ops.cross_entropy_backward(1.0, loss_cache)
    _, grads = model.backward(ModelOutput(logits=dlogits), cache)
    expected = call(theirs, ids, keep, labels=torch.tensor(labels))
    assert value == pytest.approx(float(expected.loss.detach()), abs=1e-10)
    expected.loss.backward()
    named = dict(theirs.named_parameters())
    family = FAMILIES[theirs.config.model_type]
    rows = array_rows(type(model), model.config, family)
    assert {row.theirs for row in rows} == named.keys()
    for row in rows:
        g = named[row.theirs].grad.numpy()
        if row.ours.endswith("embeddings.position"):
            g = g[len(g) - model.config.max_len :]
        g = g.T if row.transposed else g
        np.testing.assert_allclose(grads[row.ours], g, rtol=0, atol=1e-9, err_msg=row.ours)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_and_shards(dtype, tmp_path):
    theirs = make("distilbert", "sequence").to(getattr(torch, dtype))
    theirs.save_pretrained(tmp_path / "m", max_shard_size="2KB")
    assert len(list((tmp_path / "m").glob("model-*.safetensors"))) > 2
    assert (tmp_path / "m" / "model.safetensors.index.json").is_file()
    model = from_pretrained(tmp_path / "m", dtype=np.float64)
    ids, keep = batch(0)
    agree("sequence", model.forward(ids, keep)[0], call(theirs.double(), ids, keep), keep)


def test_left_padding(tmp_path):
    """DistilBERT's positions count padding, as BERT's; RoBERTa's begin at the first token."""
    for name, same in (("distilbert", True), ("roberta", False)):
        theirs = make(name, "encoder")
        theirs.save_pretrained(tmp_path / name)
        model = from_pretrained(tmp_path / name, dtype=np.float64)
        ids, keep = batch(theirs.config.pad_token_id, left=True)
        ours = model.forward(ids, keep)[0].hidden[-1]
        expected = call(theirs, ids, keep).hidden_states[-1].detach().numpy()
        assert bool(np.abs(ours - expected)[keep].max() <= 1e-9) is same


def test_a_roberta_head_of_another_activation_is_refused(tmp_path):
    make("roberta/3", "masked_lm").save_pretrained(tmp_path / "m")
    with pytest.raises(ValueError, match="hidden_act: got 'relu', expected 'gelu'"):
        from_pretrained(tmp_path / "m")


def test_the_advice_on_pickles_works(tmp_path):
    folder, out = tmp_path / "pickled", tmp_path / "converted"
    theirs = make("distilbert", "masked_lm").float()
    theirs.config.architectures = ["DistilBertForMaskedLM"]
    theirs.config.save_pretrained(folder)
    torch.save(theirs.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="weights, expected model") as refused:
        from_pretrained(folder)
    code = str(refused.value).split('`python -c "')[1].removesuffix('"`')
    code = code.replace("'DIR'", f"'{out}'")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    model = from_pretrained(out)
    np.testing.assert_array_equal(
        model.params["head.w"], theirs.vocab_transform.weight.detach().numpy().T
    )

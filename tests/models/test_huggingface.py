"""Folders in the Hugging Face shape: what is written is read, what is not understood refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
from models.small import CLASSES, MODELS, inputs, make
from safetensors.numpy import load_file, save_file

from npformer.checks import InputError
from npformer.models import (
    ClassifierConfig,
    Encoder,
    EncoderConfig,
    MaskedLM,
    SequenceClassifier,
    read_projections,
)
from npformer.models.huggingface import from_pretrained, load_labels, save_pretrained

every_kind = pytest.mark.parametrize("kind", MODELS)


def change_config(folder, **changes):
    path = folder / "config.json"
    fields = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in fields.items() if v is not ...}))


def change_arrays(folder, change):
    path = folder / "model.safetensors"
    arrays = load_file(path)
    change(arrays)
    save_file({k: np.ascontiguousarray(a) for k, a in arrays.items()}, path)


def refused(folder, *words, **options):
    with pytest.raises(InputError) as raised:
        from_pretrained(folder, **options)
    message = str(raised.value)
    assert "\n" not in message
    assert len(message.replace(str(folder), "")) < 600
    for word in words:
        assert word in message, message


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_round_trip(tmp_path, kind, dtype):
    model = make(kind, dtype=dtype, dropout=0.25, attention_dropout=0.125, activation="silu")
    save_pretrained(model, tmp_path / "model")
    again = from_pretrained(tmp_path / "model", dtype=dtype)
    assert type(again) is type(model)
    assert again.config == model.config
    assert list(again.params) != []
    assert set(again.params) == set(model.params)
    for name, p in model.params.items():
        q = again.params[name]
        np.testing.assert_array_equal(q, p, err_msg=name)
        assert q.dtype == dtype
        assert q.flags.writeable
        assert q.flags.c_contiguous
    save_pretrained(again, tmp_path / "again")
    for file in ("config.json", "model.safetensors"):
        first, second = (tmp_path / f / file for f in ("model", "again"))
        assert first.read_bytes() == second.read_bytes()


def test_loaded_into_the_type_asked_for(tmp_path):
    model = make("sequence", dtype=np.float64)
    save_pretrained(model, tmp_path / "model")
    single = from_pretrained(tmp_path / "model")
    for name, p in model.params.items():
        assert single.params[name].dtype == np.float32
        np.testing.assert_array_equal(single.params[name], p.astype(np.float32))
    with pytest.raises(InputError, match="dtype: got int32, expected a floating-point type"):
        from_pretrained(tmp_path / "model", dtype=np.int32)


def test_other_configurations(tmp_path):
    regressor = make("sequence", num_classes=1, problem="regression")
    released = make("sequence", relu_before_classifier=True, num_classes=2)
    single = make("sequence", num_classes=1)
    dropped = make("token", dropout=0.25, classifier_dropout=0.5)
    for i, model in enumerate((regressor, released, single, dropped)):
        save_pretrained(model, tmp_path / str(i))
        assert from_pretrained(tmp_path / str(i)).config == model.config
    assert "npformer_relu_before_classifier" not in (tmp_path / "0" / "config.json").read_text()
    fields = json.loads((tmp_path / "1" / "config.json").read_text())
    assert fields["npformer_relu_before_classifier"] is True


def test_a_new_classifier_can_be_saved_on_any_encoder(tmp_path):
    for segments, head in ((6, (True, False)), (0, (False, True))):
        encoder = make("encoder", num_segments=segments)
        config = ClassifierConfig.on(encoder.config, num_classes=3)
        assert (config.tanh_pooler, config.relu_before_classifier) == head
        rng = np.random.default_rng(0)
        model = SequenceClassifier.on(config, encoder.params, rng, np.float32)
        save_pretrained(model, tmp_path / "model")
        assert from_pretrained(tmp_path / "model").config == config
        fields = json.loads((tmp_path / "model" / "config.json").read_text())
        assert fields["model_type"] == ("bert" if segments else "distilbert")
        wrong = make("sequence", num_segments=segments, tanh_pooler=not head[0])
        with pytest.raises(InputError, match=f"tanh_pooler: got {not head[0]}, expected {head[0]}"):
            save_pretrained(wrong, tmp_path / "wrong")


def test_the_names_of_the_classes(tmp_path):
    names = ["zero", "une", "двa", "三", "vier"]
    save_pretrained(make("sequence"), tmp_path / "named", labels=names)
    assert load_labels(tmp_path / "named") == tuple(names)
    assert from_pretrained(tmp_path / "named").config.num_classes == CLASSES
    save_pretrained(make("token"), tmp_path / "plain")
    assert load_labels(tmp_path / "plain")[-1] == "LABEL_4"
    for wrong in (["a", "b"], ["a", "b", "c", "d", "a"]):
        with pytest.raises(InputError, match="labels: got"):
            save_pretrained(make("sequence"), tmp_path / "wrong", labels=wrong)
    with pytest.raises(InputError, match="labels: got"):
        save_pretrained(make("encoder"), tmp_path / "wrong", labels=["a"])
    assert not (tmp_path / "wrong").exists()


@every_kind
def test_the_encoder_of_any(tmp_path, kind):
    model = make(kind)
    save_pretrained(model, tmp_path / "model")
    encoder = from_pretrained(tmp_path / "model", Encoder, dtype=np.float64)
    assert type(encoder) is Encoder
    assert type(encoder.config) is EncoderConfig
    hidden = encoder.forward(*inputs())[0].hidden
    for got, expected in zip(hidden, model.forward(*inputs())[0].hidden, strict=True):
        np.testing.assert_array_equal(got, expected)
    other = MaskedLM if kind != "masked_lm" else SequenceClassifier
    name = type(model).__name__
    words = f"got {'an' if kind == 'encoder' else 'a'} {name}, expected a {other.__name__}"
    refused(tmp_path / "model", words, head=other)


def test_what_bert_is_not_is_refused(tmp_path):
    unsaid = {
        "norm_first: got True, expected False, because": {"norm_first": True},
        "attention: got 'average', expected 'softmax', because": {"attention": "average"},
        "attention_scale: got 1.0, expected None, because": {"attention_scale": 1.0},
        "relative: got 'alibi', expected 'none', because": {"relative": "alibi"},
    }
    for kind in MODELS:
        for message, changes in unsaid.items():
            with pytest.raises(InputError, match=message):
                save_pretrained(make(kind, **changes), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_arrays_that_do_not_fit_their_configuration_are_not_written(tmp_path):
    def saved(change):
        model = make("token", dtype=np.float32)
        change(model.params)
        save_pretrained(model, tmp_path / "model")

    for message, change in {
        "classifier.b: got shape None": lambda p: p.pop("classifier.b"),
        "extra: got shape": lambda p: p.update(extra=np.zeros(3, np.float32)),
        "classifier.b: got shape": lambda p: p.update({"classifier.b": np.zeros(3, np.float32)}),
        "got float16, float32, expected": lambda p: p.update(
            {"classifier.b": np.zeros(5, np.float16)}
        ),
    }.items():
        with pytest.raises(InputError, match=message):
            saved(change)
    assert not (tmp_path / "model").exists()


# Broken folders


def test_missing_and_broken_files(tmp_path):
    folder = tmp_path / "model"
    refused(folder, "got no such folder, expected a model folder")
    folder.mkdir()
    refused(folder, "got a folder without config.json")
    save_pretrained(make("encoder"), folder)
    refused(folder / "config.json", "got a file, expected a model folder")
    (folder / "model.safetensors").unlink()
    refused(folder, "got a folder without model.safetensors")
    (folder / "model.safetensors").mkdir()
    refused(folder, "got a folder without model.safetensors")


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"a": 1,}', b"\xff\xfe{}", b"[" * 100_000], ids=lambda t: repr(t[:9])
)
def test_broken_json(tmp_path, text):
    save_pretrained(make("encoder"), tmp_path / "model")
    (tmp_path / "model" / "config.json").write_bytes(text)
    refused(tmp_path / "model", "config.json: got no JSON")
    (tmp_path / "model" / "config.json").write_text("[1]")
    refused(tmp_path / "model", "config.json: got a JSON list, expected an object")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("architectures", ..., "architectures: got None"),
        ("architectures", ["BertForNextSentencePrediction"], "got 'BertForNextSentencePrediction'"),
        ("architectures", ["BertForMaskedLM"], "missing cls.predictions.transform.dense.weight"),
        ("architectures", ["BertModel", "BertModel"], "architectures: got ['BertModel', 'Bert"),
        ("model_type", "gpt_neo", "model_type: got 'gpt_neo', expected one of bert"),
        ("model_type", ["bert"], "model_type: got ['bert'], expected one of bert"),
        ("position_embedding_type", "relative_key", "got 'relative_key', expected 'absolute'"),
        ("is_decoder", True, "is_decoder: got True, expected False"),
        ("is_decoder", 0, "is_decoder: got 0, expected False"),
        ("tie_word_embeddings", False, "tie_word_embeddings: got False, expected True"),
        ("pruned_heads", {"1": [0]}, "pruned_heads: got {'1': [0]}"),
        ("classifier_dropout", 1.5, "classifier_dropout: got 1.5, expected 0 <= "),
        ("classifier_dropout", "0.5", "classifier_dropout: got '0.5', expected float"),
        ("hidden_act", "mish", "hidden_act: got 'mish', expected one of gelu"),
        ("hidden_act", 3, "hidden_act: got 3, expected str"),
        ("hidden_size", ..., "hidden_size: got nothing, expected int"),
        ("num_hidden_layers", 10**9, "num_hidden_layers: got 1000000000, expected at most 10000"),
        ("vocab_size", 30, "word_embeddings.weight (29, 12) instead of (30, 12)"),
        ("quantization_config", {}, "quantization_config: got {}, expected no such field"),
        ("hidden_size", None, "hidden_size: got nothing, expected int"),
        ("hidden_size", "12", "hidden_size: got '12', expected int"),
        ("hidden_size", 12.0, "hidden_size: got 12.0, expected int"),
        ("hidden_size", 13, "hidden_size: got 13, expected a multiple of num_attention_heads = 3"),
        ("hidden_dropout_prob", 1.5, "hidden_dropout_prob: got 1.5"),
        ("hidden_dropout_prob", float("nan"), "hidden_dropout_prob: got nan"),
        ("attention_probs_dropout_prob", True, "attention_probs_dropout_prob: got True"),
        ("layer_norm_eps", -1, "layer_norm_eps: got -1"),
        ("problem_type", "multi_label_classification", "got 'multi_label_classification'"),
        ("problem_type", "regression", "num_classes: got 5, expected 1"),
        ("num_labels", 4, "num_labels: got 4, expected 5"),
        ("id2label", {"0": "a", "2": "b"}, "id2label: got"),
        ("id2label", [], "id2label: got []"),
        (
            "id2label",
            {"0": "a", "1": "b", "2": "a", "3": "c", "4": "d"},
            "expected another name for each class",
        ),
        (
            "label2id",
            {f"LABEL_{c}": 4 - c for c in range(5)},
            "label2id: got {'LABEL_0': 4, 'LABEL_1': 3, 'LABEL_2': 2, 'LABEL_3': 1, ...}, expected "
            "what id2label says, {'LABEL_0': 0, 'LABEL_1': 1, 'LABEL_2': 2, 'LABEL_3': 3, ...}",
        ),
        ("label2id", ["LABEL_0"], "label2id: got ['LABEL_0'], expected what id2label says"),
        ("no_such_field", [1] * 1000, "got [1, 1, 1, 1, 1, 1, ...], expected no such field"),
        pytest.param("x" * 1000, 0, "x: got 0, expected no such field", id="long"),
        pytest.param("hidden_size", -(10**4200), "00, expected at most 2147483647 in", id="huge"),
        ("hidden_act", "gelu" * 1000, "gelu', expected one of"),
        ("architectures", ["BertModel"] * 1000, "expected one name in a list"),
        ("problem_type", {"a": ["b" * 1000] * 1000}, "expected one of single_label_cl"),
        ("is_decoder", [[0] * 1000] * 1000, ", expected False"),
        ("id2label", {str(c + 1): "x" * 1000 for c in range(1000)}, "expected a name for each of"),
        ("npformer_relu_before_classifier", 1, "npformer_relu_before_classifier: got 1"),
        ("embedding_size", 128, "embedding_size: got 128, expected no such field"),
        ("num_hidden_groups", 2, "num_hidden_groups: got 2, expected no such field"),
    ],
)
def test_fields_that_would_change_the_numbers(tmp_path, field, value, message):
    save_pretrained(make("sequence"), tmp_path / "model")
    change_config(tmp_path / "model", **{field: value})
    refused(tmp_path / "model", "config.json", message)


@every_kind
def test_a_factorised_table_is_written_as_an_albert(tmp_path, kind):
    model = make(kind, embedding_size=7, dropout=0.25, activation="relu")
    save_pretrained(model, tmp_path / "model")
    fields = json.loads((tmp_path / "model" / "config.json").read_text())
    assert fields["model_type"] == "albert"
    assert (fields["embedding_size"], fields["hidden_size"]) == (7, 12)
    assert fields["num_hidden_groups"] == fields["num_hidden_layers"] == 2
    again = from_pretrained(tmp_path / "model", dtype=np.float64)
    assert type(again) is type(model)
    assert again.config == model.config
    assert again.params.keys() == model.params.keys()
    for name, p in model.params.items():
        np.testing.assert_array_equal(again.params[name], p, err_msg=name)
    encoder = from_pretrained(tmp_path / "model", Encoder, dtype=np.float64)
    np.testing.assert_array_equal(
        encoder.forward(*inputs())[0].hidden[-1], model.forward(*inputs())[0].hidden[-1]
    )


def test_the_classifier_dropout_of_an_albert(tmp_path):
    for own in (None, 0.5):
        model = make("token", embedding_size=7, dropout=0.25, classifier_dropout=own)
        save_pretrained(model, tmp_path / "model")
        fields = json.loads((tmp_path / "model" / "config.json").read_text())
        assert fields["classifier_dropout_prob"] == (own or 0.25)
        assert from_pretrained(tmp_path / "model").config == model.config
    change_config(tmp_path / "model", classifier_dropout_prob=...)
    assert from_pretrained(tmp_path / "model").config.classifier_dropout == 0.1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "num_hidden_groups",
            1,
            "num_hidden_groups: got 1, expected num_hidden_layers = 2, because layers that share "
            "their weights cannot be read",
        ),
        ("num_hidden_groups", ..., "num_hidden_groups: got 1, expected num_hidden_layers = 2"),
        ("num_hidden_groups", "2", "num_hidden_groups: got '2', expected int"),
        ("inner_group_num", 2, "inner_group_num: got 2, expected 1"),
        ("hidden_act", "mish", "hidden_act: got 'mish', expected one of gelu"),
        ("embedding_size", ..., "embedding_size: got nothing, expected int"),
        ("embedding_size", 8, "albert.embeddings.word_embeddings.weight (29, 7) instead of (29, 8"),
        ("type_vocab_size", 0, "type_vocab_size: got 0, expected at least 1"),
        ("classifier_dropout", 0.5, "classifier_dropout: got 0.5, expected no such field"),
    ],
)
def test_fields_of_an_albert_that_would_change_the_numbers(tmp_path, field, value, message):
    save_pretrained(make("sequence", embedding_size=7), tmp_path / "model")
    change_config(tmp_path / "model", **{field: value})
    refused(tmp_path / "model", "config.json", message)


def test_a_factorised_table_without_segments_is_not_written(tmp_path):
    with pytest.raises(InputError, match="num_segments: got 0, expected at least 1, because every"):
        save_pretrained(make("encoder", embedding_size=7, num_segments=0), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_fields_that_do_not(tmp_path):
    model = make("sequence", dropout=0.25)
    save_pretrained(model, tmp_path / "model")
    change_config(
        tmp_path / "model",
        classifier_dropout=0.25,
        model_type=...,
        emb_size=12,
        directionality="bidi",
        transformers_version="4.6.0",
        pad_token_id=3,
        use_cache=True,
        position_embedding_type="absolute",
        num_labels=5,
        torch_dtype="float32",
        layer_norm_eps=...,
        type_vocab_size=6,
        hidden_act=...,
    )
    assert from_pretrained(tmp_path / "model").config == model.config


def test_what_transformers_means_by_no_labels(tmp_path):
    save_pretrained(make("sequence", num_classes=2), tmp_path / "two")
    change_config(tmp_path / "two", id2label=..., label2id=..., problem_type=...)
    config = from_pretrained(tmp_path / "two").config
    assert (config.num_classes, config.problem) == (2, "classification")
    for kind, problem in (("sequence", "regression"), ("token", "classification")):
        save_pretrained(make(kind, num_classes=1), tmp_path / kind)
        change_config(tmp_path / kind, id2label=..., num_labels=1, problem_type=None)
        config = from_pretrained(tmp_path / kind).config
        assert isinstance(config, ClassifierConfig)
        assert (config.num_classes, config.problem) == (1, problem)
    for wrong in (0, True, "3", 10**9):
        change_config(tmp_path / "two", num_labels=wrong)
        refused(tmp_path / "two", f"num_labels: got {wrong!r}")


def test_arrays_that_are_missing_unexpected_or_of_another_shape(tmp_path):
    save_pretrained(make("sequence", dtype=np.float32), tmp_path / "model")

    def spoil(arrays):
        del arrays["classifier.bias"]
        arrays["bert.extra"] = np.zeros(3, np.float32)
        name = "bert.encoder.layer.1.intermediate.dense.weight"
        arrays[name] = arrays[name].T

    change_arrays(tmp_path / "model", spoil)
    refused(
        tmp_path / "model",
        "missing classifier.bias",
        "unexpected bert.extra",
        "bert.encoder.layer.1.intermediate.dense.weight (12, 10) instead of (10, 12)",
    )
    change_config(tmp_path / "model", num_hidden_layers=3)
    refused(tmp_path / "model", "missing bert.encoder.layer.2", " and 14 more")


def test_names_of_older_checkpoints(tmp_path):
    model = make("masked_lm", dtype=np.float32)
    save_pretrained(model, tmp_path / "model")

    def age(arrays):
        for name in list(arrays):
            for new, old in (("weight", "gamma"), ("bias", "beta")):
                if name.endswith(f"LayerNorm.{new}"):
                    arrays[name.removesuffix(new) + old] = arrays.pop(name)
        arrays["bert.embeddings.position_ids"] = np.arange(11)[None]
        arrays["bert.pooler.dense.weight"] = np.zeros((12, 12), np.float32)
        arrays["bert.pooler.dense.bias"] = np.zeros(12, np.float32)
        arrays["cls.seq_relationship.weight"] = np.zeros((2, 12), np.float32)
        arrays["cls.seq_relationship.bias"] = np.zeros(2, np.float32)
        arrays["cls.predictions.decoder.weight"] = arrays["bert.embeddings.word_embeddings.weight"]
        arrays["cls.predictions.decoder.bias"] = arrays["cls.predictions.bias"]

    change_arrays(tmp_path / "model", age)
    again = from_pretrained(tmp_path / "model")
    for name, p in model.params.items():
        np.testing.assert_array_equal(again.params[name], p, err_msg=name)

    def untie(arrays):
        arrays["cls.predictions.decoder.weight"] += 1

    change_arrays(tmp_path / "model", untie)
    refused(tmp_path / "model", "cls.predictions.decoder.weight, expected it to be equal to bert.")


def test_names_with_and_without_the_prefix(tmp_path):
    encoder, head = make("encoder", dtype=np.float32), make("masked_lm", dtype=np.float32)

    def add(arrays):
        for name in list(arrays):
            arrays["bert." + name] = arrays.pop(name)

    def remove(arrays):
        for name in list(arrays):
            arrays[name.removeprefix("bert.")] = arrays.pop(name)

    for model, change in ((encoder, add), (head, remove)):
        save_pretrained(model, tmp_path / "model")
        change_arrays(tmp_path / "model", change)
        again = from_pretrained(tmp_path / "model")
        assert type(again) is type(model)
        for name, p in model.params.items():
            np.testing.assert_array_equal(again.params[name], p, err_msg=name)

    def both(arrays):
        arrays["bert.embeddings.LayerNorm.gamma"] = arrays["embeddings.LayerNorm.weight"]

    change_arrays(tmp_path / "model", both)
    refused(
        tmp_path / "model",
        "got bert.embeddings.LayerNorm.gamma and embeddings.LayerNorm.weight, expected one of them",
    )


def test_without_architectures_the_call_says_which_model(tmp_path):
    model = make("masked_lm", dtype=np.float32)
    save_pretrained(model, tmp_path / "model")
    change_config(tmp_path / "model", architectures=...)
    refused(tmp_path / "model", "architectures: got None", "a call that says which model to read")
    again = from_pretrained(tmp_path / "model", MaskedLM)
    np.testing.assert_array_equal(again.params["head.w"], model.params["head.w"])
    below = from_pretrained(tmp_path / "model", Encoder)
    np.testing.assert_array_equal(
        below.params["embeddings.token"], model.params["encoder.embeddings.token"]
    )
    refused(tmp_path / "model", "missing bert.pooler.dense.weight", head=SequenceClassifier)


def with_projections(folder, names):
    """A folder as TinyBERT's first and second release; the arrays are returned by name."""
    save_pretrained(make("sequence", dtype=np.float32), folder)
    rng = np.random.default_rng(5)
    extra = {}
    for name in names:
        extra[f"{name}.weight"] = rng.standard_normal((20, 12)).astype(np.float32)
        extra[f"{name}.bias"] = rng.standard_normal(20).astype(np.float32)
    change_arrays(folder, lambda arrays: arrays.update(extra))
    return extra


@pytest.mark.parametrize(
    "names", [["fit_dense"], [f"fit_denses.{i}" for i in range(12)]], ids=["first", "second"]
)
def test_the_projections_of_tinybert(tmp_path, names):
    extra = with_projections(tmp_path / "model", names)
    with pytest.warns(UserWarning, match=r"fit_dense.* unused: .*read_projections"):
        from_pretrained(tmp_path / "model")
    levels = read_projections(tmp_path / "model", dtype=np.float64)
    assert len(levels) == len(names)
    for name, level in zip(names, levels, strict=True):
        np.testing.assert_array_equal(level["w"], extra[f"{name}.weight"].T.astype(np.float64))
        np.testing.assert_array_equal(level["b"], extra[f"{name}.bias"])
        assert level["w"].dtype == np.float64
        assert level["w"].flags.c_contiguous
    change_arrays(tmp_path / "model", lambda arrays: arrays.pop(f"{names[0]}.bias"))
    with pytest.raises(InputError, match="projections, expected weights and biases"):
        read_projections(tmp_path / "model")


def test_no_projections(tmp_path):
    save_pretrained(make("encoder", dtype=np.float32), tmp_path / "model")
    with pytest.raises(InputError, match="got 0 projections"):
        read_projections(tmp_path / "model")


def test_weights_that_are_not_finite(tmp_path):
    for value, message in ((np.nan, "got NaN in"), (-np.inf, "got infinity (in float32) in")):
        model = make("token", dtype=np.float32)
        model.params["encoder.layers.1.attention.w_k"][3, 2] = value
        save_pretrained(model, tmp_path / "model")
        refused(tmp_path / "model", message, "bert.encoder.layer.1.attention.self.key.weight")
    model = make("token")
    model.params["classifier.b"][0] = 1e39
    save_pretrained(model, tmp_path / "model")
    refused(tmp_path / "model", "got infinity (in float32) in classifier.bias")
    again = from_pretrained(tmp_path / "model", dtype=np.float64)
    np.testing.assert_array_equal(again.params["classifier.b"], model.params["classifier.b"])


def test_an_interrupted_write_is_read(tmp_path):
    save_pretrained(make("encoder", dtype=np.float32), tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.old")
    assert isinstance(from_pretrained(tmp_path / "model"), Encoder)


def test_importing_loads_no_safetensors():
    code = "import sys, npformer.models.huggingface; print('safetensors' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr

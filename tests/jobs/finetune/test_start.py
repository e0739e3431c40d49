"""What fine-tuning begins with: which arrays are read, which are drawn, what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tiny_task
from safetensors.numpy import load_file, save_file
from tiny_checkpoint import write_checkpoint

from npformer.checks import InputError
from npformer.data.glue import load_folder
from npformer.jobs.finetune.start import class_order, start_classifier
from npformer.models import Encoder, SequenceClassifier, from_pretrained, save_pretrained
from npformer.models.huggingface import read_pooler

KINDS = ("single", "pair", "strings", "regression", "three")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    top = tmp_path_factory.mktemp("tasks")
    return {kind: load_folder(tiny_task.write_task(top / kind, kind)) for kind in KINDS}


def start(folder, task, seed=0, **more):
    return start_classifier(folder, task, np.random.default_rng(seed), **more)


@pytest.mark.parametrize("kind", KINDS)
def test_the_encoder_and_its_pooler_are_read_and_the_classifier_is_drawn(kind, tasks, tmp_path):
    folder = write_checkpoint(tmp_path / "m")
    (model, origin), (other, _) = start(folder, tasks[kind]), start(folder, tasks[kind], seed=1)
    assert origin == "encoder and pooler read, classifier drawn"
    for name, a in from_pretrained(folder, Encoder).params.items():
        np.testing.assert_array_equal(model.params[f"encoder.{name}"], a)
    stored = load_file(folder / "model.safetensors")
    np.testing.assert_array_equal(model.params["pooler.w"], stored["pooler.dense.weight"].T)
    np.testing.assert_array_equal(model.params["pooler.b"], stored["pooler.dense.bias"])
    classes = {"regression": 1, "three": 3}.get(kind, 2)
    assert model.params["classifier.w"].shape == (12, classes)
    assert model.config.problem == tasks[kind].kind
    same = {n for n, a in model.params.items() if (a == other.params[n]).all()}
    assert model.params.keys() - same == {"classifier.w"}


@pytest.mark.parametrize("kind", ["encoder", "masked_lm"])
def test_a_pooler_that_is_not_there_is_drawn(kind, tasks, tmp_path):
    folder = write_checkpoint(tmp_path / "m", kind, pooler=False)
    (model, origin), (other, _) = start(folder, tasks["three"]), start(folder, tasks["three"], 1)
    assert origin == "encoder read, pooler and classifier drawn"
    assert read_pooler(folder) == {}
    same = {n for n, a in model.params.items() if (a == other.params[n]).all()}
    assert model.params.keys() - same == {"pooler.w", "classifier.w"}


def test_a_classifier_of_the_same_labels_is_taken_as_it_is(tasks, tmp_path):
    folder = write_checkpoint(tmp_path / "m", "sequence", num_classes=2)
    # Its labels have no names, which says nothing against them.
    model, origin = start(folder, tasks["strings"])
    assert origin == "all weights read"
    for name, a in from_pretrained(folder, SequenceClassifier).params.items():
        np.testing.assert_array_equal(model.params[name], a)


def test_other_classifiers_are_refused(tasks, tmp_path):
    two = write_checkpoint(tmp_path / "two", "sequence", num_classes=2)
    with pytest.raises(InputError, match="of 2 outputs, expected classification with 3"):
        start(two, tasks["three"])
    with pytest.raises(InputError, match="got a classification model of 2 outputs, expected reg"):
        start(two, tasks["regression"])
    words = tmp_path / "words"
    save_pretrained(from_pretrained(two, SequenceClassifier), words, labels=["yes", "no"])
    with pytest.raises(InputError, match=r"labels yes, no, expected .* in their order, no, yes"):
        start(words, tasks["strings"])
    token = write_checkpoint(tmp_path / "token", "token")
    with pytest.raises(InputError, match="a TokenClassifier, expected a pretrained model"):
        start(token, tasks["single"])


def test_the_columns_of_the_labels(tasks, tmp_path):
    two = write_checkpoint(tmp_path / "two", "sequence", num_classes=2)
    model, task = from_pretrained(two, SequenceClassifier), tasks["strings"]
    for labels, order in {
        ("no", "yes"): [0, 1],
        ("yes", "no"): [1, 0],
        ("LABEL_0", "LABEL_1"): [0, 1],
    }.items():
        assert class_order(model, labels, task, source="m") == order
    for labels in (("NEGATIVE", "POSITIVE"), ("LABEL_1", "LABEL_0"), ("no", "LABEL_1")):
        with pytest.raises(InputError, match=r"those of the data, no, yes \(if they mean"):
            class_order(model, labels, task, source="m")


def test_dropout_is_the_checkpoints_or_what_is_asked_for(tasks, tmp_path):
    folder = write_checkpoint(tmp_path / "m", dropout=0.1, attention_dropout=0.2)
    config = start(folder, tasks["single"]).model.config
    assert (config.dropout, config.attention_dropout, config.head_dropout) == (0.1, 0.2, 0.1)
    config = start(folder, tasks["single"], dropout=0.3).model.config
    assert (config.dropout, config.attention_dropout, config.head_dropout) == (0.3, 0.3, 0.3)


def test_distilberts_classifier_is_its_own(tasks, tmp_path):
    folder = write_checkpoint(tmp_path / "m", pooler=False, num_segments=0)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "distilbert"
    model, _ = start(folder, tasks["single"])
    assert (model.config.tanh_pooler, model.config.relu_before_classifier) == (False, True)
    save_pretrained(model, tmp_path / "saved")  # which refuses what DistilBERT does not have
    assert from_pretrained(tmp_path / "saved").config.num_classes == 2


@pytest.mark.parametrize("change", ["half", "square"])
def test_a_broken_pooler_is_refused(change, tasks, tmp_path):
    folder = write_checkpoint(tmp_path / "m")
    arrays = load_file(folder / "model.safetensors")
    if change == "half":
        del arrays["pooler.dense.bias"]
    else:
        arrays["pooler.dense.weight"] = arrays["pooler.dense.weight"][:5].copy()
    save_file(arrays, folder / "model.safetensors")
    said = {"half": "missing bert.pooler.dense.bias", "square": "mis-shaped pooler.dense.weight"}
    with pytest.raises(InputError, match=said[change]):
        start(folder, tasks["single"])


def test_the_measure_that_counts(tasks):
    assert tasks["regression"].measure == "pearson"
    assert tasks["three"].measure == "accuracy"
    assert replace(tasks["single"], name="CoLA").measure == "matthews"

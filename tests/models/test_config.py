"""What a configuration refuses, and how many parameters the published ones have."""

import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from models.small import MODELS, SIZES, make

from npformer.checks import InputError
from npformer.layers.shapes import sizes
from npformer.models import ClassifierConfig, Encoder, EncoderConfig, SequenceClassifier, preset


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 13}, "d_model: got 13, expected a multiple of num_heads = 3"),
        ({"num_heads": 0}, "num_heads: got 0"),
        ({"num_layers": 0}, "num_layers: got 0"),
        ({"num_layers": 2.0}, "num_layers: got 2.0"),
        ({"num_layers": True}, "num_layers: got True"),
        ({"vocab_size": -1}, "vocab_size: got -1"),
        ({"d_ff": "10"}, "d_ff: got '10'"),
        ({"max_len": 0}, "max_len: got 0"),
        ({"embedding_size": 0}, "embedding_size: got 0, expected a whole number of at least 1"),
        ({"embedding_size": 4.0}, "embedding_size: got 4.0"),
        ({"num_segments": -1}, "num_segments: got -1"),
        ({"num_segments": False}, "num_segments: got False"),
        ({"dropout": -0.1}, "dropout: got -0.1"),
        ({"dropout": math.nan}, "dropout: got nan"),
        ({"dropout": 1.0}, "dropout: got 1.0"),
        ({"attention_dropout": -1e-9}, "attention_dropout: got -1e-09"),
        ({"attention_dropout": math.nan}, "attention_dropout: got nan"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps: got 0.0"),
        ({"layer_norm_eps": math.inf}, "layer_norm_eps: got inf"),
        ({"initializer_range": -0.02}, "initializer_range: got -0.02"),
        ({"activation": "swish2"}, "activation: got 'swish2'"),
        ({"hidden_size": 12}, "got unknown hidden_size"),
        ({"dropout": "0.1"}, "EncoderConfig"),
    ],
)
def test_refused(change, message):
    with pytest.raises(InputError, match=message) as raised:
        EncoderConfig.from_dict({**SIZES, **change})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 2, "problem": "regression"}, "num_classes: got 2, expected 1"),
        ({"num_classes": 0}, "num_classes: got 0"),
        ({"num_classes": 3, "problem": "ranking"}, "problem: got 'ranking'"),
        ({}, "num_classes"),
    ],
)
def test_refused_of_a_classifier(change, message):
    with pytest.raises(InputError, match=message):
        ClassifierConfig.from_dict({**SIZES, **change})


def test_a_configuration_is_frozen_and_goes_through_a_dict():
    config = ClassifierConfig(**SIZES, num_classes=3, dropout=0.1, norm_first=True)
    assert ClassifierConfig.from_dict(config.to_dict()) == config
    with pytest.raises(FrozenInstanceError):
        config.d_model = 24
    with pytest.raises(InputError, match="got 'bert-large', expected one of bert-base"):
        preset("bert-large")


@pytest.mark.parametrize("embedding_size", [None, 7, 12])
@pytest.mark.parametrize("kind", MODELS)
def test_shapes_are_those_of_the_arrays(kind, embedding_size):
    model = make(kind, embedding_size=embedding_size)
    assert ("projection.w" in str(list(model.params))) is (embedding_size is not None)
    shapes = {n: sizes(axes) for n, axes in MODELS[kind].shapes(model.config).items()}
    assert shapes == {name: p.shape for name, p in model.params.items()}


def count(name, kind):
    config = preset(name)
    if kind is SequenceClassifier:
        config = ClassifierConfig(**config.to_dict(), num_classes=1)
    return sum(math.prod(sizes(axes)) for axes in kind.shapes(config).values())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("bert-base", 109_482_240), ("tinybert-4", 14_350_248), ("tinybert-6", 66_955_008)],
)
def test_published_parameter_counts(name, parameters):
    """Published with the pooler and without a classifier."""
    config = preset(name)
    pooler = config.d_model * (config.d_model + 1)
    assert count(name, Encoder) + pooler == parameters
    assert count(name, SequenceClassifier) == parameters + config.d_model + 1


def test_the_smallest_preset_has_that_many_in_memory():
    config = preset("tinybert-4", vocab_size=50)
    model = Encoder.init(config, np.random.default_rng(0), np.float32)
    pooler = 312 * 313
    held = sum(p.size for p in model.params.values())
    assert held + pooler + (30522 - 50) * 312 == 14_350_248

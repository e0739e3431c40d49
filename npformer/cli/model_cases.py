"""The whole models that ``npformer gradcheck`` checks, with padding, segments and dropout."""

from typing import Any

import numpy as np

from npformer.cli.cases import SIZES, ModelCase
from npformer.models.config import ClassifierConfig
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.masked_lm import MaskedLM

IDS = np.array([[1, 5, 3, 3], [0, 7, 5, 10]])
KEEP = np.array([[True, True, True, False], [True, True, True, True]])
SEGMENTS = np.array([[0, 0, 1, 1], [0, 1, 1, 1]])


def model_cases() -> list[ModelCase]:
    """Return one case or more for every kind of model."""
    scores = {"output_scores": True}
    some = {"positions": np.array([1, 5, 5, 6])}
    return [
        _case("teacher", SequenceClassifier, scores, num_layers=4),
        _case("student", SequenceClassifier, scores, d_model=12, d_ff=17),
        _case("student/no scores", SequenceClassifier, {}, relu_before_classifier=True),
        _case("regressor", SequenceClassifier, scores, num_classes=1, problem="regression"),
        _case("pre-LN", SequenceClassifier, scores, norm_first=True, activation="silu"),
        _case("token classifier", TokenClassifier, scores),
        _case("masked LM", MaskedLM, {**scores, **some}),
        _case("masked LM/no scores", MaskedLM, {**some}),
    ]


def _case(name: str, kind: Any, options: dict[str, Any], **config: Any) -> ModelCase:
    """Make a model on a batch of two; without scores the key biases have no gradient."""
    sizes: dict[str, Any] = {
        "vocab_size": SIZES["V"],
        "max_len": SIZES["T"] + 3,
        "d_model": SIZES["D"],
        "num_heads": SIZES["H"],
        "d_ff": SIZES["F"],
        "num_layers": 2,
        "num_classes": SIZES["C"],
        "dropout": 0.2,
        "attention_dropout": 0.2,
    }
    sizes |= config
    rng = np.random.default_rng(list(name.encode()))
    model = kind.init(ClassifierConfig(**sizes), rng, np.float64)
    silent = [n for n in model.params if n.endswith(".b_k") and "output_scores" not in options]
    inputs = (IDS, KEEP, SEGMENTS)
    return ModelCase(name, model, inputs, options, zero=tuple(silent), dropout=True)

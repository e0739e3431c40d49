"""The distillation terms that ``npformer gradcheck`` checks, with padding and learned projections.

Student and teacher are drawn, not computed: every entry of the student's output is an input, and
those that a term does not read must get the gradient None.
"""

from typing import Any

import numpy as np

from npformer.cli.cases import SIZES, ModelCase
from npformer.data.batches import Counts
from npformer.distill.terms import (
    AttentionScoresTerm,
    EmbeddingTerm,
    HardLabelTerm,
    HiddenTerm,
    LogitMseTerm,
    PredictionTerm,
)
from npformer.models.output import ModelOutput
from npformer.types import Params

KEEP = np.array([[True, True, True, False], [True, False, True, True]])
LABELS = np.array([5, 0])
LEVELS = ((1, 2), (2, 4))
D_STUDENT = 10
# Of a batch of which this one is a part.
COUNTS = Counts(sequences=5, tokens=14, pairs=43, targets=5)


def term_cases() -> list[ModelCase]:
    """Return one case or more for every term."""
    shared, one, each = ("w_h", "w_h"), _projections("w_h"), _projections("w_1", "w_2")
    counts = {"counts": COUNTS}
    labels = {"labels": LABELS}
    return [
        _case("embedding term", EmbeddingTerm("w_e", _projections("w_e"))),
        _case("hidden term", HiddenTerm(LEVELS, shared, one)),
        _case("hidden term/a projection each", HiddenTerm(LEVELS, ("w_1", "w_2"), each), counts),
        _case("hidden term/padding", HiddenTerm(LEVELS, shared, one, include_padding=True)),
        _case("scores term", AttentionScoresTerm(LEVELS)),
        _case("scores term/counts", AttentionScoresTerm(LEVELS, mask_queries=False), counts),
        _case("scores term/area", AttentionScoresTerm(LEVELS, divide_by_area=True)),
        _case("prediction term", PredictionTerm(tau=2.3)),
        _case("prediction term/tau squared", PredictionTerm(2.3, tau_squared=True), counts),
        _case("prediction term/kl", PredictionTerm(0.6, kind="kl", divide_by_classes=True)),
        _case("hard label term", HardLabelTerm(), labels),
        _case("logit mse term", LogitMseTerm()),
    ]


def _case(name: str, term: Any, options: dict[str, Any] | None = None) -> ModelCase:
    rng = np.random.default_rng(list(name.encode()))
    outputs = (_output(rng, 2, D_STUDENT), _output(rng, 4, SIZES["D"]))
    return ModelCase(name, term, (*outputs, KEEP), options or {}, constants=("teacher",))


def _output(rng: np.random.Generator, num_layers: int, d_model: int) -> ModelOutput:
    batch, heads, length = SIZES["B"], SIZES["H"], SIZES["T"]
    return ModelOutput(
        tuple(rng.standard_normal((batch, length, d_model)) for _ in range(num_layers + 1)),
        tuple(rng.standard_normal((batch, heads, length, length)) for _ in range(num_layers)),
        rng.standard_normal((batch, SIZES["C"])),
    )


def _projections(*names: str) -> Params:
    """Zeros, which the check moves: W_h of shape (D_S, D_T) and a bias for the first."""
    params: Params = {f"{name}.w": np.zeros((D_STUDENT, SIZES["D"])) for name in names}
    params[f"{names[0]}.b"] = np.zeros(SIZES["D"])
    return params

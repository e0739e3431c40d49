"""A student and a teacher that differ in every size that may differ, and a ragged batch."""

from dataclasses import replace
from typing import Any

import numpy as np

from npformer.data.batches import Batch
from npformer.distill.build import build_terms, init_projections
from npformer.distill.objective import DistillObjective
from npformer.distill.recipes import Recipe
from npformer.distill.terms import (
    AttentionScoresTerm,
    EmbeddingTerm,
    HardLabelTerm,
    HiddenTerm,
    LogitMseTerm,
    PredictionTerm,
)
from npformer.models import ClassifierConfig, ModelOutput, SequenceClassifier
from npformer.types import Params

# Twice BERT's spread and more, or random models agree too well to show a difference.
COMMON: dict[str, Any] = {
    "vocab_size": 13,
    "max_len": 12,
    "num_heads": 3,
    "num_classes": 4,
    "initializer_range": 0.3,
    "dropout": 0.2,
}
TEACHER = ClassifierConfig(**COMMON, d_model=12, num_layers=4, d_ff=10)
STUDENT = ClassifierConfig(**COMMON, d_model=6, num_layers=2, d_ff=11)
LENGTHS = (7, 3, 5, 1, 6, 4, 2)
LAYERS = ((1, 2), (2, 4))

rng = np.random.default_rng(17)
W, V = rng.standard_normal((2, STUDENT.d_model, TEACHER.d_model))
BIAS = rng.standard_normal(TEACHER.d_model)

TERMS = {
    "embedding": EmbeddingTerm("embedding", {"embedding.w": W}),
    "embedding, bias": EmbeddingTerm("shared", {"shared.w": W, "shared.b": BIAS}),
    "hidden": HiddenTerm(LAYERS, ("hidden", "hidden"), {"hidden.w": W}),
    "hidden, per level": HiddenTerm(
        LAYERS, ("level_1", "level_2"), {"level_1.w": W, "level_2.w": V, "level_2.b": BIAS}
    ),
    "attention": AttentionScoresTerm(LAYERS),
    "prediction": PredictionTerm(2.3, tau_squared=True, kind="kl"),
    "prediction, soft cross-entropy": PredictionTerm(divide_by_classes=True),
    "hard label": HardLabelTerm(),
    "logit mse": LogitMseTerm(),
}
# These read the padded width of the batch.
PADDED_TERMS = {
    "embedding, padding": replace(TERMS["embedding"], include_padding=True),
    "hidden, padding": replace(TERMS["hidden"], include_padding=True),
    "attention, queries": AttentionScoresTerm(LAYERS, mask_queries=False),
    "attention, area": AttentionScoresTerm(LAYERS, divide_by_area=True),
    "attention, released": AttentionScoresTerm(LAYERS, mask_queries=False, divide_by_area=True),
}


def models(
    *, student: ClassifierConfig = STUDENT, teacher: ClassifierConfig = TEACHER
) -> tuple[SequenceClassifier, SequenceClassifier]:
    """Draw a student and a teacher in float64."""
    rng = np.random.default_rng(23)
    return (
        SequenceClassifier.init(student, rng, np.float64),
        SequenceClassifier.init(teacher, rng, np.float64),
    )


def ragged_batch(lengths: tuple[int, ...] = LENGTHS, width: int | None = None) -> Batch:
    """Make sequences of these lengths; ids differ in padding too, where nobody may look."""
    rng = np.random.default_rng(29)
    width = width or max(lengths)
    ids = rng.integers(0, COMMON["vocab_size"], (len(lengths), 20))[:, :width]
    segments = rng.integers(0, 2, (len(lengths), 20))[:, :width]
    labels = rng.integers(0, COMMON["num_classes"], len(lengths))
    keep = np.arange(width) < np.array(lengths)[:, None]
    return Batch(ids, keep, segments, labels)


def outputs(batch: Batch) -> tuple[ModelOutput, ModelOutput]:
    """Run student and teacher, without dropout."""
    student, teacher = models()
    inputs = batch.ids, batch.keep, batch.segments
    return (
        student.forward(*inputs, output_scores=True)[0],
        teacher.forward(*inputs, output_scores=True)[0],
    )


def objective(
    recipe: Recipe,
    phase: str,
    *,
    student: ClassifierConfig = STUDENT,
    teacher: ClassifierConfig = TEACHER,
    weights: dict[str, float] | None = None,
) -> tuple[DistillObjective, Params]:
    """Make an objective of a recipe, and its projections."""
    small, large = models(student=student, teacher=teacher)
    rng = np.random.default_rng(31)
    projections = init_projections(recipe, student, teacher, rng, np.float64, weights=weights)
    terms = build_terms(recipe, phase, student, teacher, projections, weights=weights)
    return DistillObjective(small, large, terms, recipe.teacher_dropout), projections


def rows(output: ModelOutput, chosen: slice, width: int) -> ModelOutput:
    """Return what the models would have given for a part of the batch, trimmed to a width."""
    return ModelOutput(
        tuple(h[chosen, :width] for h in output.hidden),
        tuple(a[chosen, :, :width, :width] for a in output.scores),
        output.logits[chosen],
    )

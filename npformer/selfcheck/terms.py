"""Every distillation term, and the losses of the phases.

Padding, repeated ids and dropout are on, and student and teacher differ in every size that may
differ.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npformer.data.batches import Batch, Counts
from npformer.distill.build import build_terms, init_projections
from npformer.distill.objective import (
    PROJECTION,
    STUDENT,
    DistillObjective,
    joint_params,
    trainable,
)
from npformer.distill.recipes import RECIPES, Recipe
from npformer.distill.terms import (
    AttentionScoresTerm,
    EmbeddingTerm,
    HardLabelTerm,
    HiddenTerm,
    LogitMseTerm,
    PredictionTerm,
)
from npformer.layers.output import ModelOutput
from npformer.models.config import ClassifierConfig
from npformer.models.heads import SequenceClassifier
from npformer.selfcheck.case import ModelCase
from npformer.types import Params, part

COMMON: dict[str, Any] = {
    "vocab_size": 11,
    "max_len": 8,
    "num_heads": 3,
    "num_classes": 4,
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "initializer_range": 0.3,
}
TEACHER = ClassifierConfig(**COMMON, d_model=12, num_layers=4, d_ff=10)
SMALLER = ClassifierConfig(**COMMON, d_model=6, num_layers=2, d_ff=13)

KEEP = np.arange(5) < np.array([[5], [2], [4]])  # (B, T)
IDS = np.array([[1, 7, 7, 3, 2], [1, 2, 0, 0, 0], [1, 10, 3, 2, 0]])
SEGMENTS = np.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0]])
BATCH = Batch(IDS, KEEP, SEGMENTS, np.array([3, 0, 1]))
NUMBERS = np.array([1.7, -0.4, 2.2])  # what a regressor learns
# As if this batch were a part of a larger one.
COUNTS = Counts(sequences=7, tokens=23, pairs=91, targets=7)


@dataclass(frozen=True)
class Distillation:
    """The loss of one phase as a function of what that phase trains."""

    recipe: Recipe
    phase: str
    student: SequenceClassifier
    teacher: SequenceClassifier
    projections: Params
    params: Params

    @classmethod
    def of(cls, recipe: Recipe, phase: str, config: ClassifierConfig) -> "Distillation":
        """Draw a student and a teacher."""
        rng = np.random.default_rng(11)
        config = replace(config, relu_before_classifier=recipe.relu_before_classifier)
        above = replace(
            config,
            d_model=TEACHER.d_model,
            num_heads=config.num_heads * (2 if recipe.heads == "group_mean" else 1),
            num_layers=TEACHER.num_layers,
            d_ff=TEACHER.d_ff,
        )
        student = SequenceClassifier.init(config, rng, np.float64)
        teacher = SequenceClassifier.init(above, rng, np.float64)
        projections = init_projections(recipe, config, above, rng, np.float64)
        joint = joint_params(student.params, projections)
        params = {name: joint[name] for name in trainable(joint, phase)}
        return cls(recipe, phase, student, teacher, projections, params)

    def forward(
        self, batch: Batch, counts: Counts, *, rng: np.random.Generator | None = None
    ) -> tuple[float, Params]:
        """Return the loss and, as the cache, its gradients."""
        projections = self.projections | part(self.params, PROJECTION)
        student = replace(self.student, params=self.student.params | part(self.params, STUDENT))
        terms = build_terms(
            self.recipe, self.phase, student.config, self.teacher.config, projections
        )
        objective = DistillObjective(student, self.teacher, terms, self.recipe.teacher_dropout)
        result = objective(batch, counts, rng)
        return result.values["loss"], {name: result.grads[name] for name in self.params}

    def backward(self, dloss: float, cache: Params) -> tuple[None, Params]:
        """Return the gradients of ``params``."""
        return None, {name: dloss * grad for name, grad in cache.items()}


def distill_cases() -> list[ModelCase]:
    """Return every distillation term, and the losses of the phases."""
    return [*_layer_terms(), *_logit_terms(), *_losses()]


def _layer_terms() -> list[ModelCase]:
    rng = np.random.default_rng(5)
    layers = ((1, 2), (2, 4))
    below, first, second = rng.standard_normal((3, 3, 5, SMALLER.d_model))
    embeddings = ModelOutput(hidden=(below, None, None))
    states = ModelOutput(hidden=(None, first, second))
    targets = ModelOutput(hidden=tuple(rng.standard_normal((5, 3, 5, TEACHER.d_model))))
    low, high = rng.standard_normal((2, 3, 3, 5, 5))
    scores = (
        ModelOutput(scores=(low, high)),
        ModelOutput(scores=tuple(rng.standard_normal((4, 3, 3, 5, 5)))),
    )
    many_heads = ModelOutput(scores=tuple(rng.standard_normal((4, 3, 6, 5, 5))))
    w, v = rng.standard_normal((2, SMALLER.d_model, TEACHER.d_model))
    b = rng.standard_normal(TEACHER.d_model)
    embedding = EmbeddingTerm("embedding", {"embedding.w": w})
    biased = EmbeddingTerm("shared", {"shared.w": w, "shared.b": b}, include_padding=True)
    shared = HiddenTerm(layers, ("hidden", "hidden"), {"hidden.w": w})
    apart = HiddenTerm(
        layers, ("level_1", "level_2"), {"level_1.w": w, "level_1.b": b, "level_2.w": v}
    )
    released = AttentionScoresTerm(layers, mask_queries=False, divide_by_area=True)
    return [
        _term("embedding", embedding, embeddings, targets),
        _term("embedding/padding and bias", biased, embeddings, targets),
        _term("hidden", shared, states, targets),
        _term("hidden/per level", apart, states, targets),
        _term(
            "hidden/a layer from two",
            replace(shared, levels=((1, 2), (1, 4))),
            ModelOutput(hidden=(None, first, None)),
            targets,
        ),
        _term("hidden/padding", replace(shared, include_padding=True), states, targets),
        _term("attention", AttentionScoresTerm(layers), *scores),
        _term(
            "attention/a layer from two",
            AttentionScoresTerm(((1, 2), (1, 4))),
            ModelOutput(scores=(low, None)),
            scores[1],
        ),
        _term(
            "attention/groups of heads",
            AttentionScoresTerm(layers, heads="group_mean"),
            scores[0],
            many_heads,
        ),
        _term("attention/queries", AttentionScoresTerm(layers, mask_queries=False), *scores),
        _term("attention/released", released, *scores),
    ]


def _logit_terms() -> list[ModelCase]:
    rng = np.random.default_rng(6)

    def both(*shape: int) -> tuple[ModelOutput, ModelOutput]:
        student, teacher = rng.standard_normal((2, *shape))
        return ModelOutput(logits=student), ModelOutput(logits=teacher)

    return [
        _term("prediction", PredictionTerm(2.3, True, "kl"), *both(3, 4)),
        _term("prediction/released", PredictionTerm(divide_by_classes=True), *both(3, 4)),
        _term("prediction/tokens", PredictionTerm(2.3), *both(3, 5, 4)),
        _term("hard label", HardLabelTerm(), *both(3, 4), labels=BATCH.labels),
        _term("logit mse", LogitMseTerm(), *both(3, 1)),
        _term("logit mse/label", LogitMseTerm("label"), *both(3, 1), labels=NUMBERS),
    ]


def _losses() -> list[ModelCase]:
    corrected, released = RECIPES["corrected"], RECIPES["released"]
    explicit = replace(corrected, projection="per_level", projection_bias=True, mapping=(3, 3))
    grouped = replace(corrected, heads="group_mean")
    to_label = replace(corrected, regression_target="label")
    regressor = replace(SMALLER, num_classes=1, problem="regression")
    numbers = BATCH._replace(labels=NUMBERS)
    return [
        _loss("general distillation", corrected, "general"),
        _loss("general distillation/explicit", explicit, "general"),
        _loss("general distillation/groups of heads", grouped, "general"),
        _loss("task distillation/layers, released", released, "intermediate"),
        _loss("task distillation/prediction", corrected, "prediction"),
        _loss("task distillation/prediction, released", released, "prediction"),
        _loss("task distillation/regression", corrected, "prediction", regressor, numbers),
        _loss("task distillation/label", to_label, "prediction", regressor, numbers),
    ]


def _term(
    name: str, term: Any, student: ModelOutput, teacher: ModelOutput, **options: Any
) -> ModelCase:
    options = {"counts": COUNTS, **options}
    head, slash, case = name.partition("/")
    return ModelCase(
        f"{head} term{slash}{case}", term, (student, teacher, KEEP), options, ("teacher",)
    )


def _loss(
    name: str,
    recipe: Recipe,
    phase: str,
    config: ClassifierConfig = SMALLER,
    batch: Batch = BATCH,
) -> ModelCase:
    loss = Distillation.of(recipe, phase, config)
    # Softmax ignores what is added to all scores of a query: only the attention term moves b_k.
    silent = [n for n in loss.params if n.endswith(".b_k") and phase == "prediction"]
    inputs = batch, batch.counts
    return ModelCase(name, loss, inputs, {}, ("batch",), tuple(silent), dropout=True)

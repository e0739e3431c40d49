"""The terms of a phase, as a recipe has them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError
from npformer.distill.mapping import LayerMapping, layer_mapping
from npformer.distill.objective import check_phase
from npformer.distill.recipes import Recipe
from npformer.distill.terms import (
    AttentionScoresTerm,
    EmbeddingTerm,
    HardLabelTerm,
    HiddenTerm,
    LogitMseTerm,
    PredictionTerm,
    Term,
)
from npformer.distill.terms.scores import check_heads
from npformer.layers.init import normal
from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.types import Params

# lambda and gamma of the paper's equation 11 are 1; TinyBERT has no hard-label term.
WEIGHTS = {"embedding": 1.0, "hidden": 1.0, "attention": 1.0, "prediction": 1.0, "hard_label": 0.0}


def init_projections(
    recipe: Recipe,
    student: EncoderConfig,
    teacher: EncoderConfig,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
    *,
    weights: Mapping[str, float] | None = None,
) -> Params:
    """Draw the projections that the intermediate terms of these weights learn.

    Returns
    -------
    dict
        ``<name>.w`` of shape (D_S, D_T) and, with ``projection_bias``, ``<name>.b`` (D_T,). They
        carry over from general distillation to the task's, and are dropped after that.
    """
    weight = _weights(weights)
    names = _projection_names(recipe, student.num_layers)
    used = [*(names[:1] if weight["embedding"] else ()), *(names[1:] if weight["hidden"] else ())]
    params: Params = {}
    for name in dict.fromkeys(used):
        params[f"{name}.w"] = normal(
            rng, student.d_model, teacher.d_model, std=student.initializer_range, dtype=dtype
        )
        if recipe.projection_bias:
            params[f"{name}.b"] = np.zeros(teacher.d_model, dtype)
    return params


def build_terms(
    recipe: Recipe,
    phase: str,
    student: EncoderConfig,
    teacher: EncoderConfig,
    projections: Params,
    *,
    weights: Mapping[str, float] | None = None,
) -> dict[str, tuple[float, Term]]:
    """Make the terms of a phase.

    Parameters
    ----------
    recipe : Recipe
    phase : str
        "general" and "intermediate": embedding, hidden, attention. "prediction": prediction,
        hard_label.
    student, teacher : EncoderConfig
        The student's is a `ClassifierConfig` in the prediction phase.
    projections : dict
        From `init_projections`; the terms hold these arrays themselves.
    weights : mapping of str to float, optional
        Overrides of `WEIGHTS`; a term of weight 0 is left out.

    Returns
    -------
    dict of str to (float, Term)

    Raises
    ------
    InputError
        If the two models do not fit each other: depths, numbers of heads.
    """
    check_phase(phase)
    weight = _weights(weights)
    if phase == "prediction":
        terms = _prediction_terms(recipe, student)
    else:
        levels = layer_mapping(recipe.mapping, student.num_layers, teacher.num_layers)
        if weight["attention"]:
            check_heads(student.num_heads, teacher.num_heads, recipe.heads)
        terms = _intermediate_terms(recipe, levels, projections)
    return {name: (weight[name], term) for name, term in terms.items() if weight[name]}


def _intermediate_terms(
    recipe: Recipe, levels: LayerMapping, projections: Params
) -> dict[str, Term]:
    names = _projection_names(recipe, len(levels) - 1)
    padding = not recipe.mask_hidden
    return {
        "embedding": EmbeddingTerm(names[0], _named(projections, names[:1]), padding),
        "hidden": HiddenTerm(levels[1:], names[1:], _named(projections, names[1:]), padding),
        "attention": AttentionScoresTerm(
            levels[1:],
            mask_queries=recipe.mask_queries,
            divide_by_area=recipe.divide_by_area,
            heads=recipe.heads,
        ),
    }


def _prediction_terms(recipe: Recipe, student: EncoderConfig) -> dict[str, Term]:
    prediction: Term = PredictionTerm(
        recipe.tau, recipe.tau_squared, recipe.prediction_kind, recipe.divide_by_classes
    )
    if isinstance(student, ClassifierConfig) and student.problem == "regression":
        prediction = LogitMseTerm(recipe.regression_target)
    return {"prediction": prediction, "hard_label": HardLabelTerm()}


def _projection_names(recipe: Recipe, num_layers: int) -> tuple[str, ...]:
    """Return the projection of each level 0 .. M."""
    if recipe.projection == "shared":
        return ("shared",) * (num_layers + 1)
    if recipe.projection == "per_level":
        return tuple(f"level_{m}" for m in range(num_layers + 1))
    return ("embedding", *("hidden",) * num_layers)


def _named(projections: Params, names: tuple[str, ...]) -> Params:
    keys = [f"{name}.{kind}" for name in dict.fromkeys(names) for kind in ("w", "b")]
    return {key: projections[key] for key in keys if key in projections}


def _weights(given: Mapping[str, float] | None) -> dict[str, float]:
    weights = {**WEIGHTS, **(given or {})}
    for name, weight in weights.items():
        if name not in WEIGHTS:
            raise InputError(f"weights: got {name!r}, expected one of {', '.join(WEIGHTS)}")
        if not 0 <= weight < float("inf"):
            raise InputError(f"weights: got {name} = {weight}, expected a finite number >= 0")
    return weights

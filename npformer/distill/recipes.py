"""Recipes: every choice in which TinyBERT's paper and its released code differ, by name.

``paper`` is what the paper says, and plain BERT where it says nothing. ``released`` is what
``huawei-noah/Pretrained-Language-Model/TinyBERT`` does at commit 0598f02. ``corrected``, the
default, follows the paper and mends what is a mistake in either.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_positive
from npformer.distill.mapping import LayerMapping, layer_mapping
from npformer.distill.objective import check_phase
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
from npformer.layers.config import Config
from npformer.layers.init import normal
from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.optim import AdamW, BertAdam, Optimizer
from npformer.types import Params

# lambda and gamma of the paper's equation 11 are 1; TinyBERT has no hard-label term.
WEIGHTS = {"embedding": 1.0, "hidden": 1.0, "attention": 1.0, "prediction": 1.0, "hard_label": 0.0}

CHOICES = {
    "projection": ("separate", "shared", "per_level"),
    "prediction_kind": ("kl", "soft_cross_entropy"),
    "regression_target": ("teacher", "label"),
    "optimizer": ("adamw", "bert_adam"),
    "clipping": ("global", "per_tensor"),
    "intermediate_schedule": ("linear", "constant"),
}


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """One flag for each discrepancy; the defaults are those of ``corrected``.

    "Code" is the released one, "issue" a thread of its repository, "corrected" says why the
    default is what it is.
    """

    mapping: str | tuple[int, ...] = "uniform"
    """Which teacher layer each student layer learns from: see `npformer.distill.mapping`.

    Paper and code: uniform; paper, table 4: better than top and bottom. The code refuses depths
    that do not divide (issues 56 and 166). Corrected: uniform.
    """

    projection: str = "separate"
    """Which levels share a projection of the student's states.

    Paper, equations 8 and 9: ``separate``, W_e for the embeddings and one W_h for all layers.
    Code: ``shared``, one ``fit_dense`` for both; its second release has ``per_level`` ones,
    ``fit_denses``. Corrected: as the paper.
    """

    projection_bias: bool = False
    """Whether a projection has a bias. Paper: no. Code: yes. Corrected: as the paper."""

    mask_hidden: bool = True
    """Whether padded tokens are left out of the embedding and hidden losses.

    Paper: silent, read as yes. Code: no, a padded token counts like any other. Corrected: yes,
    or the loss of a sentence depends on what it is batched with.
    """

    mask_queries: bool = True
    """Whether padded queries are left out of the attention loss; padded keys always are.

    Paper: silent, read as yes. Code: no; with 32 tokens padded to 128 they make up 75 % of the
    loss. Corrected: yes, nobody reads what padding attends to.
    """

    divide_by_area: bool = False
    """Whether the attention loss is divided by B H T T, padding included, instead of by kept pairs.

    Paper: silent, read as no. Code: yes, ``.mean()`` after zeroing; with 32 tokens padded to 128
    the real pairs count a sixteenth, and the whole, padded queries included, a quarter.
    Corrected: no.
    """

    prediction_kind: str = "kl"
    """What compares the probabilities: ``kl`` or ``soft_cross_entropy``; the gradient is the same.

    Paper, equation 10, and code: soft cross-entropy, whose least value is the teacher's entropy.
    Corrected: KL, so that 0 means agreement.
    """

    divide_by_classes: bool = False
    """Whether the prediction loss is divided by the number of classes too.

    Paper: no. Code: yes, ``.mean()`` over (B, C), which halves it for two classes (issue 176).
    Corrected: no.
    """

    tau: float = 1.0
    """Temperature of the prediction loss. Paper, section 4.2, and code: 1. Corrected: 1."""

    tau_squared: bool = True
    """Whether the prediction loss is multiplied by tau^2; without effect at tau = 1.

    Paper and code: no. Corrected: yes, or the gradient vanishes as 1 / tau^2 (Hinton et al. 2015).
    """

    regression_target: str = "teacher"
    """What a regressor's logit is compared with: ``teacher`` or ``label``.

    Paper: its authors say the teacher (issue 128). Code: the label, which distils nothing.
    Corrected: the teacher.
    """

    relu_before_classifier: bool = False
    """Whether a relu follows the pooler's tanh, in teacher and student.

    Paper: silent; its authors say that its figures have one (issue 14). Code: yes, which changes
    the logits of every teacher that was fine-tuned without (issues 115 and 229). Corrected: no,
    as in BERT.
    """

    teacher_dropout: bool = False
    """Whether the teacher runs with dropout.

    Paper: silent, read as no. Code: yes, ``teacher_model.eval()`` is called nowhere. Corrected: no,
    targets should not be noise.
    """

    optimizer: str = "adamw"
    """``adamw``, or ``bert_adam``, which has no bias correction.

    Paper: silent. Code: ``bert_adam``, whose first steps are up to 6.57 times too long where the
    rate is constant. Corrected: ``adamw``.
    """

    clipping: str = "global"
    """Whether gradients are clipped at norm 1 all together (``global``) or each ``per_tensor``.

    Paper: silent. Code: per tensor, which turns the direction of the step. Corrected: global.
    """

    intermediate_schedule: str = "linear"
    """The learning rate of the task's intermediate phase: ``linear`` or ``constant``.

    Paper: silent. Code: constant there, and warm-up with linear decay in the other two phases.
    Corrected: linear in all.
    """

    drop_last: bool = False
    """Whether an epoch's incomplete batch is dropped. Paper: silent. Code: yes. Corrected: no."""

    mlm_at_least_one: bool = False
    """Whether general distillation masks one token of each text although it means to mask none.

    Paper: general distillation has no masked-LM loss. Code: ``--masked_lm_prob`` is 0, "no [mask]
    in corpus", but ``max(1, round(len * p))`` masks one. Corrected: no.
    """

    show_original: bool = False
    """Whether augmentation shows the model the original sentence beside the masked one.

    Paper, algorithm 1: no. Code: yes, as the second sentence of a pair, so the model can copy the
    word that it is asked for. Corrected: no.
    """

    candidates_once: bool = True
    """Whether the candidates for a word are computed once, on the original sentence.

    Paper, algorithm 1: no, the partly edited sentence is masked again for every copy. Code: yes.
    Corrected: yes; asking again costs about p_t N_a times as much, eight times with the paper's.
    """

    skip_non_latin: bool = False
    """Whether words that do not match ``^[a-z]+$`` are never replaced.

    Paper: no. Code: yes, so Chinese text is silently not augmented. Corrected: no.
    """

    reuse_last_first: bool = False
    """Whether each augmented second sentence is paired with the last augmented first one.

    Paper: silent, read as no. Code: yes, the first sentence is not put back. Corrected: no.
    """

    select_best: bool = False
    """Whether the prediction phase keeps the weights of its best dev score, not the last ones.

    Paper: silent (it chooses rate and batch size on dev). Code: yes, looking every 50 to 100 steps,
    which makes the dev score too good. Corrected: no.
    """

    def __post_init__(self) -> None:
        check_positive("tau", self.tau)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise InputError(
                    f"{name}: got {getattr(self, name)!r}, expected one of {', '.join(choices)}"
                )
        super().__post_init__()

    def make_optimizer(self) -> Optimizer:
        """Return the optimizer of all phases."""
        return AdamW() if self.optimizer == "adamw" else BertAdam()

    def shards(self, wanted: int) -> int:
        """Return ``wanted``, or 1 if a loss is defined on the padded batch and cannot be split."""
        padded = self.divide_by_area or not self.mask_queries or not self.mask_hidden
        return 1 if padded else wanted


RECIPES = {
    "corrected": Recipe(),
    "paper": Recipe(prediction_kind="soft_cross_entropy", tau_squared=False, candidates_once=False),
    "released": Recipe(
        projection="shared",
        projection_bias=True,
        mask_hidden=False,
        mask_queries=False,
        divide_by_area=True,
        prediction_kind="soft_cross_entropy",
        divide_by_classes=True,
        tau_squared=False,
        regression_target="label",
        relu_before_classifier=True,
        teacher_dropout=True,
        optimizer="bert_adam",
        clipping="per_tensor",
        intermediate_schedule="constant",
        drop_last=True,
        mlm_at_least_one=True,
        show_original=True,
        skip_non_latin=True,
        reuse_last_first=True,
        select_best=True,
    ),
}


def find_recipe(name: str) -> Recipe:
    """Return a preset.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in RECIPES:
        raise InputError(f"recipe: got {name!r}, expected one of {', '.join(RECIPES)}")
    return RECIPES[name]


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
            check_heads(student.num_heads, teacher.num_heads)
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
            levels[1:], mask_queries=recipe.mask_queries, divide_by_area=recipe.divide_by_area
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

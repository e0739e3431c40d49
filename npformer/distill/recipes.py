"""Recipes: every choice in which TinyBERT's paper and its released code differ, by name.

``paper`` is what the paper says, and plain BERT where it says nothing. ``released`` is what
``huawei-noah/Pretrained-Language-Model/TinyBERT`` does at commit 0598f02. ``corrected``, the
default, follows the paper and mends what is a mistake in either.
"""

from collections.abc import Callable
from dataclasses import dataclass

from npformer.checks import InputError, check_positive
from npformer.distill.terms.scores import HEADS
from npformer.layers.config import Config
from npformer.optim import AdamW, BertAdam, Optimizer, constant_schedule

CHOICES = {
    "heads": HEADS,
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

    heads: str = "equal"
    """What a student's head is compared with: ``equal``, the teacher's head of that number, or
    ``group_mean``, the mean over a group of the teacher's heads.

    Paper and code: equal numbers of heads; the code fails on others. Corrected: ``equal``, and
    ``group_mean`` only where it is asked for, as ``npformer distill --heads`` does: it is another
    loss, though the same one where the numbers are equal.
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

    @property
    def schedule(self) -> Callable[[int], float] | None:
        """The schedule of the intermediate phase, as `npformer.train.phase.Phase` takes it."""
        return constant_schedule if self.intermediate_schedule == "constant" else None

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

"""What a distillation run is asked to do: sizes, amounts, rates."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from npformer.checks import InputError, check_fraction, check_positive
from npformer.distill.terms.scores import HEADS
from npformer.jobs.distill.tables import INITIAL_TABLES
from npformer.layers.config import Config, check_choice, check_sizes
from npformer.layers.feedforward import ACTIVATIONS
from npformer.layers.init import initializer_range
from npformer.models.config import EncoderConfig, size

# In this order. "augment" trains nothing; the last two are the baselines.
PHASES = (
    "pretrain",
    "general",
    "finetune",
    "augment",
    "intermediate",
    "prediction",
    "scratch",
    "soft",
)
TRAINED = tuple(phase for phase in PHASES if phase != "augment")
AUGMENTERS = ("teacher", "neighbours", "none")
BASELINES = ("scratch", "soft")

# Passes over the phase's data: for the reviews, what fits in three minutes on two cores; for a
# folder, chosen on SST-2; for a checkpoint, a teacher in a folder that learned from more than this
# task, what fits in an hour on two cores. A baseline has none: it makes as many updates as the
# student in all.
EPOCHS: dict[str, dict[str, float]] = {
    "reviews": {
        "pretrain": 1.5,
        "general": 0.6,
        "finetune": 3,
        "intermediate": 1,
        "prediction": 1,
    },
    "folder": {
        "pretrain": 1.5,
        "general": 1,
        "finetune": 1,
        "intermediate": 1,
        "prediction": 1,
    },
    "checkpoint": {
        "general": 1,
        "finetune": 1.5,
        "intermediate": 1,
        "prediction": 2,  # cheap: the teacher has answered
    },
}
# Without --steps or --epochs, a phase of the task makes at least so many updates.
LEAST_STEPS = 500
TASK_PHASES = ("finetune", "intermediate", "prediction")
# Phases that a run may leave out, by 0 steps or epochs.
OPTIONAL = ("general", "intermediate")
# Where defaults differ from those of the reviews, which stand in `Settings`.
DEFAULTS: dict[str, dict[str, Any]] = {
    "reviews": {},
    "folder": {
        "teacher": "4x128x4",
        "student": "2x96",
        "batch_size": 64,
        "vocab_size": 16_000,
        "dropout": 0.2,
    },
    "checkpoint": {
        "student": "3x128x4x384",
        "activation": "relu",
        "batch_size": 64,
        "heads": "group_mean",
        "init_table": "pca",
        "augmenter": "neighbours",
        "copies": 3,
        "long_copies": 6,
    },
}
# --quick, for a checkpoint: meant for a quarter of an hour on two cores.
QUICK: dict[str, Any] = {
    "epochs": {"general": 0.0, "intermediate": 1.0, "prediction": 1.0},
    "copies": 1,
    "long_copies": 1,
    "baselines": [],
}
RATES: dict[str, dict[str, float]] = {
    "reviews": {
        "pretrain": 1e-3,
        "general": 2e-3,
        "finetune": 7e-4,
        "intermediate": 2e-3,
        "prediction": 1e-3,
    },
    "folder": {
        "pretrain": 1e-3,
        "general": 1e-3,
        "finetune": 5e-4,
        "intermediate": 1e-3,
        "prediction": 1e-3,
    },
    "checkpoint": {
        "general": 1e-3,
        "finetune": 4e-5,
        "intermediate": 1e-3,
        "prediction": 1e-3,
    },
}
LABELLED_REVIEWS = 8_000
# The best of them on dev counts. A checkpoint's student makes so many updates that one must do.
SCRATCH_RATES = {
    "reviews": (3e-4, 1e-3, 3e-3),
    "folder": (3e-4, 1e-3, 3e-3),
    "checkpoint": (1e-3,),
}


@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """Everything that decides the result of a run; ``run.json`` holds it.

    Make one with `Settings.of`, which fills in the `DEFAULTS`; those below are the reviews'.
    """

    data: str | None = None  # a folder; None: the embedded reviews
    teacher: str = "4x96x4"  # a size, or a fine-tuned or pretrained model, as `find_model` has it
    general_teacher: str | None = None  # the weights before fine-tuning, as `find_model` has them
    student: str = "2x64"
    embedding_size: int | None = None  # of the student's word table; None: the student's width
    activation: str = "gelu"  # of the student's feed-forward layers; a teacher has its own
    heads: str = "equal"  # or "group_mean": see `Recipe.heads`
    init_table: str = "drawn"  # or "pca": see `npformer.jobs.distill.tables`
    labelled: int | None = None  # how many examples; None: `LABELLED_REVIEWS`, or all there are
    unlabelled: list[str] = field(default_factory=list)  # files of more text, beside the task's
    reviews: int = 20_000  # how many unlabelled reviews, where these are the task
    recipe: str = "corrected"
    mapping: str | None = None  # which teacher layers; None: as the recipe has it
    seed: int = 0
    steps: dict[str, int] = field(default_factory=dict)  # of a phase; some may be left out by 0
    epochs: dict[str, float] = field(default_factory=dict)  # of a phase without steps
    rates: dict[str, float] = field(default_factory=dict)  # peak learning rate of a phase
    weights: dict[str, float] = field(default_factory=dict)  # of a term; 0 leaves it out
    batch_size: int = 32
    vocab_size: int = 8_000  # at most
    max_len: int = 128
    dropout: float = 0.0
    augmenter: str = "teacher"  # whose masked-LM head; or "neighbours", "none", or another model
    copies: int | None = None  # N_a, augmented sentences an example; None: see `copies_of`
    long_copies: int = 0  # and so many more of an example of at least long_pieces pieces
    long_pieces: int = 20
    baselines: list[str] = field(default_factory=lambda: ["scratch"])
    shards: int = 2

    def __post_init__(self) -> None:
        check_sizes(
            batch_size=self.batch_size,
            vocab_size=self.vocab_size,
            max_len=self.max_len,
            shards=self.shards,
            long_pieces=self.long_pieces,
        )
        check_choice("--activation", self.activation, ACTIVATIONS)
        check_choice("--heads", self.heads, HEADS)
        check_choice("--init-table", self.init_table, INITIAL_TABLES)
        for name in self.baselines:
            check_choice("--baselines", name, BASELINES)
        check_fraction("dropout", self.dropout)
        for option, amounts in (("steps", self.steps), ("epochs", self.epochs)):
            for phase, amount in amounts.items():
                _check_phase(option, phase)
                if amount == 0 and phase in OPTIONAL:
                    continue
                check_positive(f"--{option} {phase}", amount)
        for name in BASELINES:
            if name in self.epochs:
                raise InputError(
                    f"--epochs: got {name}={self.epochs[name]}, expected --steps for it "
                    "(by default it makes as many updates as the student)"
                )
        for phase, rate in self.rates.items():
            _check_phase("rate", phase)
            check_positive(f"--rate {phase}", rate)
        if not isinstance(self.unlabelled, list):
            raise InputError(f"--unlabelled: got {self.unlabelled!r}, expected names of files")
        check_sizes(reviews=self.reviews)
        for name in ("labelled", "embedding_size"):
            if getattr(self, name) is not None:
                check_sizes(**{name: getattr(self, name)})
        for option, copies in (("copies", self.copies or 0), ("long-copies", self.long_copies)):
            if copies < 0:
                raise InputError(f"--{option}: got {copies}, expected 0 or more")
        if self.seed < 0:
            raise InputError(f"--seed: got {self.seed}, expected 0 or more")
        if self.has_teacher_size:
            heads = size(self.teacher)["num_heads"]
            size(self.student, heads=heads)
        super().__post_init__()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the settings asked for, the others as suits the task.

        Raises
        ------
        InputError
            If a name is unknown, a value is out of range, or two do not agree.
        """
        if given.get("data") and "reviews" in given:
            raise InputError(
                "--reviews: got it beside --data, expected it for the embedded reviews only "
                "(more unlabelled text: --unlabelled FILE)"
            )
        kind = kind_of(given.get("data"), given.get("teacher", cls.teacher))
        return cls.from_dict({**DEFAULTS[kind], **given})

    @property
    def has_teacher_size(self) -> bool:
        """Whether ``teacher`` is the size of one to be trained."""
        return is_size(self.teacher)

    @property
    def kind(self) -> str:
        """Whose defaults hold."""
        return kind_of(self.data, self.teacher)

    @property
    def skips_general(self) -> bool:
        """Whether general distillation is left out, by 0 steps or epochs."""
        return self.steps.get("general", self.epochs.get("general")) == 0

    def steps_of(self, phase: str, steps_per_epoch: int) -> int:
        """Return how many updates a phase makes."""
        if phase in self.steps:
            return self.steps[phase]
        if phase in self.epochs:
            least = 1 if self.epochs[phase] else 0
            return max(least, round(self.epochs[phase] * steps_per_epoch))
        steps = round(EPOCHS[self.kind][phase] * steps_per_epoch)
        return max(steps, LEAST_STEPS if phase in TASK_PHASES else 1)

    def rate_of(self, phase: str) -> float:
        """Return the peak learning rate of a phase."""
        return self.rates.get(phase, RATES[self.kind][phase])

    def copies_of(self, examples: int) -> int:
        """Return N_a: as asked for, or so many that there are about 10,000, but 1 to 20."""
        if self.augmenter == "none":
            return 0
        if self.copies is not None:
            return self.copies
        return min(20, max(1, round(10_000 / max(examples, 1))))

    def encoder_config(self, text: str, vocab_size: int, **more: Any) -> EncoderConfig:
        """Return the configuration of a model of this size."""
        sizes = size(text, **more)
        return EncoderConfig(
            vocab_size=vocab_size,
            max_len=self.max_len,
            dropout=self.dropout,
            attention_dropout=self.dropout,
            **sizes,
            initializer_range=initializer_range(sizes["d_model"]),
        )


def quick(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for, on top of `QUICK`.

    Raises
    ------
    InputError
        If the teacher is not a model that is there.
    """
    if kind_of(given.get("data"), given.get("teacher", Settings.teacher)) != "checkpoint":
        raise InputError("--quick: got no --data with a model as --teacher, expected both")
    epochs = {**QUICK["epochs"], **given.get("epochs", {})}
    return {**QUICK, **given, "epochs": epochs}


def is_size(teacher: str) -> bool:
    """Whether this is a size such as 4x128x4, and not the name of a model."""
    return re.match(r"\d+x", teacher) is not None


def kind_of(data: str | None, teacher: str) -> str:
    """Return "reviews", "folder" or, if a model is to be the teacher of a folder, "checkpoint"."""
    if data is None:
        return "reviews"
    return "folder" if is_size(teacher) else "checkpoint"


def _check_phase(option: str, phase: str) -> None:
    if phase not in TRAINED:
        raise InputError(f"--{option}: got phase {phase!r}, expected one of {', '.join(TRAINED)}")

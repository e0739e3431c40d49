"""What a distillation run is asked to do: sizes, amounts, rates."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from npformer.checks import InputError, check_fraction, check_positive
from npformer.layers.config import Config, check_sizes
from npformer.layers.init import initializer_range
from npformer.models.config import EncoderConfig, size

# In this order. "augment" trains nothing; "scratch" is the baseline.
PHASES = (
    "pretrain",
    "general",
    "finetune",
    "augment",
    "intermediate",
    "prediction",
    "scratch",
)
TRAINED = tuple(phase for phase in PHASES if phase != "augment")

# Passes over the phase's data: for the reviews, what fits in three minutes on two cores; for a
# folder, chosen on SST-2. "scratch" has none: it makes as many updates as the student in all.
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
}
# Without --steps or --epochs, a phase of the task makes at least so many updates.
LEAST_STEPS = 500
TASK_PHASES = ("finetune", "intermediate", "prediction")
# Phases that a run may leave out, by 0 steps.
OPTIONAL = ("general", "intermediate")
# Where a folder's defaults differ from those of the reviews, which stand in `Settings`.
FOLDER = {
    "teacher": "4x128x4",
    "student": "2x96",
    "batch_size": 64,
    "vocab_size": 16_000,
    "dropout": 0.2,
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
}
LABELLED_REVIEWS = 8_000
SCRATCH_RATES = (3e-4, 1e-3, 3e-3)


@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """Everything that decides the result of a run; ``run.json`` holds it.

    Make one with `Settings.of`, which fills in a folder's defaults; those below are the reviews'.
    """

    data: str | None = None  # a folder; None: the embedded reviews
    teacher: str = "4x96x4"  # a size, or the folder of a fine-tuned or pretrained model
    general_teacher: str | None = None  # the folder of the weights before fine-tuning
    student: str = "2x64"
    labelled: int | None = None  # how many examples; None: `LABELLED_REVIEWS`, or all there are
    unlabelled: int = 20_000  # reviews only: a folder's texts are what they are
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
    copies: int | None = None  # N_a, augmented sentences an example; None: see `copies_of`
    shards: int = 2

    def __post_init__(self) -> None:
        check_sizes(
            batch_size=self.batch_size,
            vocab_size=self.vocab_size,
            max_len=self.max_len,
            shards=self.shards,
        )
        check_fraction("dropout", self.dropout)
        for option, amounts in (("steps", self.steps), ("epochs", self.epochs)):
            for phase, amount in amounts.items():
                _check_phase(option, phase)
                if (option, amount) == ("steps", 0) and phase in OPTIONAL:
                    continue
                check_positive(f"--{option} {phase}", amount)
        if "scratch" in self.epochs:
            raise InputError(
                f"--epochs: got scratch={self.epochs['scratch']}, expected --steps for it "
                "(by default it makes as many updates as the student)"
            )
        for phase, rate in self.rates.items():
            _check_phase("rate", phase)
            check_positive(f"--rate {phase}", rate)
        for name in ("labelled", "unlabelled"):
            amount = getattr(self, name)
            if amount is not None:
                check_sizes(**{name: amount})
        if self.copies is not None and self.copies < 0:
            raise InputError(f"--copies: got {self.copies}, expected 0 or more")
        if self.seed < 0:
            raise InputError(f"--seed: got {self.seed}, expected 0 or more")
        if not self.teacher_folder:
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
        if given.get("data") and "unlabelled" in given:
            raise InputError(
                "--unlabelled: got it beside --data, expected it for the reviews only "
                "(a folder's unlabelled text is its unlabelled.txt)"
            )
        return cls.from_dict({**(FOLDER if given.get("data") else {}), **given})

    @property
    def teacher_folder(self) -> Path | None:
        """The folder that ``teacher`` names, if it is not a size."""
        return None if re.match(r"\d+x", self.teacher) else Path(self.teacher)

    @property
    def kind(self) -> str:
        """Whose defaults hold."""
        return "reviews" if self.data is None else "folder"

    def steps_of(self, phase: str, steps_per_epoch: int) -> int:
        """Return how many updates a phase makes."""
        if phase in self.steps:
            return self.steps[phase]
        if phase in self.epochs:
            return max(1, round(self.epochs[phase] * steps_per_epoch))
        steps = round(EPOCHS[self.kind][phase] * steps_per_epoch)
        return max(steps, LEAST_STEPS if phase in TASK_PHASES else 1)

    def rate_of(self, phase: str) -> float:
        """Return the peak learning rate of a phase."""
        return self.rates.get(phase, RATES[self.kind][phase])

    def copies_of(self, examples: int) -> int:
        """Return N_a: as asked for, or so many that there are about 10,000, but 1 to 20."""
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


def _check_phase(option: str, phase: str) -> None:
    if phase not in TRAINED:
        raise InputError(f"--{option}: got phase {phase!r}, expected one of {', '.join(TRAINED)}")

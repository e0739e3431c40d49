"""What a translation run is asked to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from npformer.checks import InputError, check_fraction, check_positive
from npformer.data.vocabulary import KINDS
from npformer.layers.config import Config, check_sizes
from npformer.layers.init import initializer_range
from npformer.models.config import Seq2SeqConfig, size
from npformer.optim import noam_schedule

SCHEDULES = ("linear", "noam")
# Where a folder's defaults differ from those of the embedded pairs, which stand in `Settings`.
FOLDER: dict[str, Any] = {
    "epochs": 12.0,
    "schedule": "noam",
    "rate": 0.25,
    "dropout": 0.1,
    "label_smoothing": 0.1,
}
# An average takes no relative positions.
AVERAGE = {"positions": "sinusoidal", "relative": "none"}


@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """Everything that decides the result of a run; ``run.json`` holds it.

    Make one with `Settings.of`, which fills in a folder's defaults.
    """

    data: str | None = None  # a folder of pairs; None: the embedded dates and numbers
    size: str = "2x96x4"  # layers of each side, width, heads, d_ff
    vocab: str = "char"
    vocab_size: int = 4_000  # at most, for pieces of words
    max_len: int = 256
    attention: str = "softmax"  # or "average", the baseline without attention
    positions: str = "none"
    relative: str = "rotary"
    norm_first: bool = True
    seed: int = 0
    pairs: int = 60_000  # embedded pairs to generate
    epochs: float = 2.0
    steps: int | None = None  # instead of epochs
    batch_size: int = 64
    schedule: str = "linear"  # or "noam"
    rate: float = 2e-3  # the peak; with "noam" the factor of its rate
    warmup: float = 0.1  # share of the updates
    label_smoothing: float = 0.0
    dropout: float = 0.0
    beams: int = 1
    shards: int = 2

    def __post_init__(self) -> None:
        check_sizes(
            vocab_size=self.vocab_size,
            max_len=self.max_len,
            pairs=self.pairs,
            batch_size=self.batch_size,
            beams=self.beams,
            shards=self.shards,
        )
        if self.steps is not None:
            check_sizes(steps=self.steps)
        check_positive("epochs", self.epochs)
        check_positive("rate", self.rate)
        check_fraction("warmup", self.warmup)
        check_fraction("label_smoothing", self.label_smoothing)
        if self.vocab not in KINDS:
            raise InputError(f"vocab: got {self.vocab!r}, expected one of {', '.join(KINDS)}")
        if self.schedule not in SCHEDULES:
            raise InputError(
                f"schedule: got {self.schedule!r}, expected one of {', '.join(SCHEDULES)}"
            )
        if self.seed < 0:
            raise InputError(f"seed: got {self.seed}, expected 0 or more")
        self.model_config(8)  # refuses what the model would refuse
        super().__post_init__()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the settings asked for, the others as suits the data.

        Raises
        ------
        InputError
            If a name is unknown, a value is out of range, or two do not agree.
        """
        if given.get("data") and "pairs" in given:
            raise InputError("pairs: got it beside data, expected it for the embedded pairs only")
        average = AVERAGE if given.get("attention") == "average" else {}
        return cls.from_dict({**(FOLDER if given.get("data") else {}), **average, **given})

    def schedule_of(self, steps: int) -> Callable[[int], float] | None:
        """Return the schedule of so many updates, as `npformer.train.phase.Phase` takes it."""
        if self.schedule == "linear":
            return None
        warmup = max(1, int(self.warmup * steps))
        return partial(noam_schedule, warmup=warmup, d_model=size(self.size)["d_model"])

    def model_config(self, vocab_size: int) -> Seq2SeqConfig:
        """Return the configuration of the model, with one table for both sides."""
        sizes = size(self.size)
        layers = sizes.pop("num_layers")
        return Seq2SeqConfig(
            vocab_size=vocab_size,
            target_vocab_size=vocab_size,
            shared_embeddings=True,
            num_encoder_layers=layers,
            num_decoder_layers=layers,
            max_len=self.max_len,
            attention=self.attention,
            positions=self.positions,
            relative=self.relative,
            norm_first=self.norm_first,
            dropout=self.dropout,
            attention_dropout=self.dropout,
            initializer_range=initializer_range(sizes["d_model"]),
            **sizes,
        )

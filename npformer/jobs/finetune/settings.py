"""What a run on a pretrained checkpoint is asked to do."""

from dataclasses import dataclass, field

from npformer.checks import InputError, check_fraction, check_positive
from npformer.layers.config import Config, check_sizes


@dataclass(frozen=True, kw_only=True)
class Training(Config):
    """What every run decides; ``run.json`` holds it."""

    model: str = "minilm"  # a folder, a package, or a name on the hub
    epochs: float = 1.0
    rate: float  # the peak
    batch_size: int = 32
    warmup: float = 0.06  # share of the updates
    max_len: int = 128
    seed: int = 0
    shards: int = 2

    def __post_init__(self) -> None:
        check_sizes(batch_size=self.batch_size, max_len=self.max_len, shards=self.shards)
        check_positive("epochs", self.epochs)
        check_positive("rate", self.rate)
        check_fraction("warmup", self.warmup)
        if self.seed < 0:
            raise InputError(f"seed: got {self.seed}, expected 0 or more")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class Settings(Training):
    """Fine-tuning; the defaults are for pretrained checkpoints of a few million parameters."""

    data: str  # a GLUE-style folder
    rate: float = 4e-5
    dropout: float | None = None  # None: the checkpoint's
    labelled: int | None = None  # how many examples; None: all there are

    def __post_init__(self) -> None:
        if self.dropout is not None:
            check_fraction("dropout", self.dropout)
        if self.labelled is not None:
            check_sizes(labelled=self.labelled)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class HeadSettings(Training):
    """A masked-LM head; the defaults are for one that begins at random on a frozen encoder."""

    unlabelled: list[str] = field(default_factory=list)  # files to learn from
    heldout: str | None = None  # a file to be measured on
    rate: float = 1e-3

    def __post_init__(self) -> None:
        if not self.unlabelled:
            raise InputError("unlabelled: got no file, expected at least one .txt or .tsv")
        super().__post_init__()

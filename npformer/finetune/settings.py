"""What a fine-tuning run is asked to do."""

from dataclasses import dataclass

from npformer.checks import InputError, check_fraction, check_positive
from npformer.layers.config import Config, check_sizes


@dataclass(frozen=True, kw_only=True)
class Settings(Config):
    """Everything that decides the result of a run; ``run.json`` holds it.

    The defaults are for pretrained checkpoints of a few million parameters and more.
    """

    data: str  # a GLUE-style folder
    model: str = "minilm"  # a folder, a package, or a name on the hub
    epochs: float = 1.0
    rate: float = 4e-5  # the peak
    batch_size: int = 32
    warmup: float = 0.06  # share of the updates
    dropout: float | None = None  # None: the checkpoint's
    max_len: int = 128
    labelled: int | None = None  # how many examples; None: all there are
    seed: int = 0
    shards: int = 2

    def __post_init__(self) -> None:
        check_sizes(batch_size=self.batch_size, max_len=self.max_len, shards=self.shards)
        check_positive("epochs", self.epochs)
        check_positive("rate", self.rate)
        check_fraction("warmup", self.warmup)
        if self.dropout is not None:
            check_fraction("dropout", self.dropout)
        if self.labelled is not None:
            check_sizes(labelled=self.labelled)
        if self.seed < 0:
            raise InputError(f"seed: got {self.seed}, expected 0 or more")
        super().__post_init__()

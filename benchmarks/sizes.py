"""The models that are timed, by name."""

from dataclasses import dataclass

from npformer.models.config import ClassifierConfig


@dataclass(frozen=True)
class Shape:
    """The dimensions of a BERT classifier with two classes."""

    vocab_size: int
    max_len: int
    d_model: int
    num_heads: int
    num_layers: int
    d_ff: int
    num_classes: int = 2

    def config(self, dropout: float = 0.0) -> ClassifierConfig:
        """Return npformer's configuration of this model."""
        return ClassifierConfig(
            vocab_size=self.vocab_size,
            max_len=self.max_len,
            d_model=self.d_model,
            num_heads=self.num_heads,
            num_layers=self.num_layers,
            d_ff=self.d_ff,
            num_classes=self.num_classes,
            dropout=dropout,
            attention_dropout=dropout,
        )


@dataclass(frozen=True)
class Size:
    """A model, and the full batch it is given: rows of ``length`` tokens."""

    shape: Shape
    rows: int
    length: int


_TINYBERT4 = Shape(30522, 512, d_model=312, num_heads=12, num_layers=4, d_ff=1200)
_MINILM = Shape(30522, 512, d_model=384, num_heads=12, num_layers=6, d_ff=1536)
_BASE = Shape(30522, 512, d_model=768, num_heads=12, num_layers=12, d_ff=3072)

SIZES = {
    "micro": Size(Shape(1000, 128, d_model=64, num_heads=4, num_layers=2, d_ff=256), 32, 16),
    "tinybert4": Size(_TINYBERT4, 32, 64),
    "minilm": Size(_MINILM, 32, 64),
    "base": Size(_BASE, 32, 64),
    "base8x128": Size(_BASE, 8, 128),
}

# Distillation is measured on one pair.
STUDENT, TEACHER = "tinybert4", "minilm"
# Six teacher layers do not divide by four: the layers that stand nearest to an even spread.
MAPPING = (2, 3, 5, 6)

# One sentence is what a demo or a server asks for; micro has no use as either.
SENTENCE_SIZES = ("tinybert4", "minilm", "base")
SENTENCE_LENGTH = 64

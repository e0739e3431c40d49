"""Configurations of whole models, and the presets."""

from dataclasses import dataclass
from typing import Any

from npformer.checks import InputError
from npformer.layers.block import BlockConfig
from npformer.layers.config import check_sizes
from npformer.layers.embeddings import EmbeddingsConfig


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(BlockConfig, EmbeddingsConfig):
    """Sizes of an `Encoder`: those of its blocks and embeddings, and how many blocks."""

    num_layers: int

    def __post_init__(self) -> None:
        check_sizes(num_layers=self.num_layers)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(EncoderConfig):
    """Sizes of a `SequenceClassifier` or `TokenClassifier`."""

    num_classes: int
    problem: str = "classification"  # or "regression", with one class
    relu_before_classifier: bool = False  # TinyBERT's released code has one there

    def __post_init__(self) -> None:
        check_sizes(num_classes=self.num_classes)
        if self.problem not in ("classification", "regression"):
            raise InputError(
                f"problem: got {self.problem!r}, expected 'classification' or 'regression'"
            )
        if self.problem == "regression" and self.num_classes != 1:
            raise InputError(
                f"num_classes: got {self.num_classes}, expected 1, the number of a regression"
            )
        super().__post_init__()


# The blog post's sizes are BERT-base's. TinyBERT: Jiao et al. 2020, section 4.1.
PRESETS: dict[str, dict[str, Any]] = {
    "bert-base": {"d_model": 768, "num_heads": 12, "num_layers": 12, "d_ff": 3072},
    "tinybert-4": {"d_model": 312, "num_heads": 12, "num_layers": 4, "d_ff": 1200},
    "tinybert-6": {"d_model": 768, "num_heads": 12, "num_layers": 6, "d_ff": 3072},
}


def preset(
    name: str, *, vocab_size: int = 30522, max_len: int = 512, dropout: float = 0.1
) -> EncoderConfig:
    """Return a published size: "bert-base", "tinybert-4" or "tinybert-6".

    Raises
    ------
    InputError
        If there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"name: got {name!r}, expected one of {', '.join(PRESETS)}")
    return EncoderConfig(
        vocab_size=vocab_size,
        max_len=max_len,
        dropout=dropout,
        attention_dropout=dropout,
        **PRESETS[name],
    )

"""Configurations of whole models, and the presets."""

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from npformer.checks import InputError, check_fraction
from npformer.layers.block import BlockConfig
from npformer.layers.config import check_sizes
from npformer.layers.embeddings import EmbeddingsConfig
from npformer.layers.token_embeddings import TokenEmbeddingsConfig


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
    tanh_pooler: bool = True  # DistilBERT's has none
    relu_before_classifier: bool = False  # TinyBERT's released code and DistilBERT have one there
    classifier_dropout: float | None = None  # None: as everywhere else

    def __post_init__(self) -> None:
        check_sizes(num_classes=self.num_classes)
        if self.classifier_dropout is not None:
            check_fraction("classifier_dropout", self.classifier_dropout)
        if self.problem not in ("classification", "regression"):
            raise InputError(
                f"problem: got {self.problem!r}, expected 'classification' or 'regression'"
            )
        if self.problem == "regression" and self.num_classes != 1:
            raise InputError(
                f"num_classes: got {self.num_classes}, expected 1, the number of a regression"
            )
        super().__post_init__()

    @classmethod
    def on(
        cls,
        config: EncoderConfig,
        *,
        num_classes: int,
        problem: str = "classification",
        relu_before_classifier: bool = False,
    ) -> Self:
        """Return the configuration of a new classifier on an encoder.

        An encoder without segments is DistilBERT's, and so is its head: a relu, no tanh.
        """
        segments = config.num_segments > 0
        return cls(
            **{name: getattr(config, name) for name in EncoderConfig.__dataclass_fields__},
            num_classes=num_classes,
            problem=problem,
            tanh_pooler=segments,
            relu_before_classifier=relu_before_classifier or not segments,
        )

    @property
    def head_dropout(self) -> float:
        """The share of what enters the classifier that is dropped in training."""
        return self.dropout if self.classifier_dropout is None else self.classifier_dropout


@dataclass(frozen=True, kw_only=True)
class CausalLMConfig(BlockConfig, TokenEmbeddingsConfig):
    """Sizes of a `CausalLM`; the defaults are GPT-2's."""

    num_layers: int
    positions: str = "learned"
    scale_embeddings: bool = False
    norm_first: bool = True
    layer_norm_eps: float = 1e-5

    has_source: ClassVar[bool] = False  # it goes on from a prompt

    def __post_init__(self) -> None:
        check_sizes(num_layers=self.num_layers)
        super().__post_init__()

    @property
    def target_size(self) -> int:
        """V, the number of tokens it chooses from."""
        return self.vocab_size


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig(BlockConfig, TokenEmbeddingsConfig):
    """Sizes of a `Seq2Seq`; both sides have the same width, heads and d_ff."""

    target_vocab_size: int
    num_encoder_layers: int
    num_decoder_layers: int
    shared_embeddings: bool = False  # one table for source, target and output
    scale_output: bool = False  # divide by sqrt(D) before the output, as T5 with a shared table
    activation: str = "relu"
    layer_norm_eps: float = 1e-5

    has_source: ClassVar[bool] = True  # it looks at one, and begins with a start token

    def __post_init__(self) -> None:
        check_sizes(
            target_vocab_size=self.target_vocab_size,
            num_encoder_layers=self.num_encoder_layers,
            num_decoder_layers=self.num_decoder_layers,
        )
        if self.shared_embeddings and self.target_vocab_size != self.vocab_size:
            raise InputError(
                f"target_vocab_size: got {self.target_vocab_size}, expected vocab_size = "
                f"{self.vocab_size}, because shared_embeddings have one table for both"
            )
        super().__post_init__()

    @property
    def target_size(self) -> int:
        """V, the number of tokens it chooses from."""
        return self.target_vocab_size

    @property
    def of_target(self) -> Self:
        """The sizes of the target's tables."""
        return replace(self, vocab_size=self.target_vocab_size)

    @property
    def source_tables(self) -> str:
        """Where the source's tables are among the parameters."""
        return "embeddings" if self.shared_embeddings else "source"

    @property
    def target_tables(self) -> str:
        """Where the target's tables are among the parameters."""
        return "embeddings" if self.shared_embeddings else "target"


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


def size(text: str, *, heads: int | None = None) -> dict[str, Any]:
    """Read ``LxD[xH[xF]]``: layers, width, heads, feed-forward width.

    Parameters
    ----------
    text : str
        Such as "4x312x12x1200".
    heads : int, optional
        H if it is not given; else the width in heads of 64, BERT's.

    Returns
    -------
    dict
        num_layers, d_model, num_heads, d_ff (4 D if it is not given).

    Raises
    ------
    InputError
        If it does not read so, or D is no multiple of H.
    """
    if not re.fullmatch(r"\d+x\d+(x\d+(x\d+)?)?", text):
        raise InputError(f"size: got {text!r}, expected LxD, LxDxH or LxDxHxF, such as 4x128x4")
    layers, width, *rest = (int(n) for n in text.split("x"))
    num_heads = rest[0] if rest else heads or max(1, width // 64)
    d_ff = rest[1] if len(rest) > 1 else 4 * width
    check_sizes(layers=layers, width=width, heads=num_heads, d_ff=d_ff)
    if width % num_heads:
        raise InputError(
            f"size: got {text!r}, expected a width that divides into {num_heads} heads "
            f"({width} does not)"
        )
    return {"num_layers": layers, "d_model": width, "num_heads": num_heads, "d_ff": d_ff}

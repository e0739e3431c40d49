"""What one family of checkpoints calls its fields and arrays: the shape of a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.masked_lm import MaskedLM

Model = Encoder | SequenceClassifier | TokenClassifier | MaskedLM

REQUIRED: Any = object()


class Field(NamedTuple):
    """A field of ours, its name in config.json, its type and what a missing one means there."""

    ours: str
    theirs: str
    kind: type
    default: Any = REQUIRED


class ArrayName(NamedTuple):
    """A parameter of ours, its name in model.safetensors, and its axes here."""

    ours: str
    theirs: str
    # D d_model, E table_width, F d_ff, V vocab_size, P max_len, G num_segments, C num_classes
    axes: str


@dataclass(frozen=True)
class Family:
    """How one kind of checkpoint speaks.

    Every field of its config.json is in one of ``fields``, ``classifier_dropout``, ``padding``
    (read), ``own_weights``, ``fixed`` (refused unless it has this value) and ``neutral`` (no effect
    on the numbers), or it is a label's; any other is refused.
    """

    model_type: str
    prefix: str  # before the encoder's arrays in every model but the bare encoder
    architectures: Mapping[str, type[Model]]
    fields: tuple[Field, ...]
    classifier_dropout: Mapping[type[Model], Field]
    fixed: Mapping[str, Any]
    neutral: frozenset[str]
    embeddings: tuple[ArrayName, ...]
    layer: tuple[ArrayName, ...]
    heads: Mapping[type[Model], tuple[ArrayName, ...]]
    tied: Mapping[str, str]  # copies of arrays, which some versions of transformers wrote as well
    unused: frozenset[str]  # arrays, named without the prefix, that change no output of ours
    layers: str = "encoder.layer"
    # Fields of ours for which config.json has no word: the value that they must have.
    constants: Mapping[str, Any] = field(default_factory=dict)
    fixed_for: Mapping[type[Model], Mapping[str, Any]] = field(default_factory=dict)
    own_weights: str | None = None  # how many layers have weights of their own: all, or refused
    padding: Field | None = None  # rows of the position table up to this id are never read

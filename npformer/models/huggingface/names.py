"""Which arrays a model has in a folder, what they are called, and their shapes."""

import re

from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.huggingface.families import written_family
from npformer.models.huggingface.family import ArrayName, Family, Model
from npformer.models.masked_lm import MaskedLM

# What TinyBERT's distillation learned beside the student: only training needs it.
PROJECTION = re.compile(r"fit_dense(?:s\.(\d+))?\.(weight|bias)")


def array_names(
    kind: type[Model], config: EncoderConfig, family: Family | None = None
) -> list[ArrayName]:
    """Return every array of a model: our name, Hugging Face's, the axes."""
    family = family or written_family(config)
    layers = [
        ArrayName(f"layers.{i}.{row.ours}", f"{family.layers}.{i}.{row.theirs}", row.axes)
        for i in range(config.num_layers)
        for row in family.layer
    ]
    encoder = [*family.embeddings, *layers]
    if kind is Encoder:
        return encoder
    below = [ArrayName(f"encoder.{r.ours}", family.prefix + r.theirs, r.axes) for r in encoder]
    return [*below, *family.heads[kind]]


def parameter_shapes(kind: type[Model], config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of a post-LN model, without making any."""
    return {row.ours: shape_of(row, config) for row in array_names(kind, config)}


def plain_name(name: str, family: Family) -> str:
    """Return today's name without the prefix; TensorFlow's layer norms have gamma and beta."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return name.removeprefix(family.prefix)


def other_names(kind: type[Model], family: Family) -> set[str]:
    """Return the plain names that a folder may hold beside the arrays of such a model.

    Whoever asks for an encoder can have it from below any head.
    """
    tied = family.tied if kind in (Encoder, MaskedLM) else {}
    heads = family.heads.values() if kind is Encoder else ()
    return {
        *family.unused,
        *tied,
        *(row.theirs.removeprefix(family.prefix) for rows in heads for row in rows),
    }


def is_transposed(row: ArrayName) -> bool:
    """Tell whether an array is a weight, ``w`` or ``w_...``, and not a table."""
    return row.ours.rsplit(".", 1)[-1].split("_")[0] == "w"


def shape_of(row: ArrayName, config: EncoderConfig) -> tuple[int, ...]:
    sizes = {
        "D": config.d_model,
        "E": config.table_width,
        "F": config.d_ff,
        "V": config.vocab_size,
        "P": config.max_len,
        "G": config.num_segments,
        "C": config.num_classes if isinstance(config, ClassifierConfig) else 0,
    }
    return tuple(sizes[axis] for axis in row.axes)

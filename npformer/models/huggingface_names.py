"""What Hugging Face calls the arrays of a BERT: one table of names, with their axes."""

from typing import NamedTuple

from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface_config import Model
from npformer.models.masked_lm import MaskedLM


class ArrayName(NamedTuple):
    """A parameter of ours, its name in model.safetensors, and its axes here."""

    ours: str
    theirs: str
    axes: str  # D d_model, F d_ff, V vocab_size, P max_len, G num_segments, C num_classes


EMBEDDING_ARRAYS = (
    ArrayName("embeddings.token", "embeddings.word_embeddings.weight", "VD"),
    ArrayName("embeddings.position", "embeddings.position_embeddings.weight", "PD"),
    ArrayName("embeddings.segment", "embeddings.token_type_embeddings.weight", "GD"),
    ArrayName("embeddings.gamma", "embeddings.LayerNorm.weight", "D"),
    ArrayName("embeddings.beta", "embeddings.LayerNorm.bias", "D"),
)
LAYER_ARRAYS = (
    ArrayName("attention.w_q", "attention.self.query.weight", "DD"),
    ArrayName("attention.b_q", "attention.self.query.bias", "D"),
    ArrayName("attention.w_k", "attention.self.key.weight", "DD"),
    ArrayName("attention.b_k", "attention.self.key.bias", "D"),
    ArrayName("attention.w_v", "attention.self.value.weight", "DD"),
    ArrayName("attention.b_v", "attention.self.value.bias", "D"),
    ArrayName("attention.w_o", "attention.output.dense.weight", "DD"),
    ArrayName("attention.b_o", "attention.output.dense.bias", "D"),
    ArrayName("norm_1.gamma", "attention.output.LayerNorm.weight", "D"),
    ArrayName("norm_1.beta", "attention.output.LayerNorm.bias", "D"),
    ArrayName("feedforward.w_1", "intermediate.dense.weight", "DF"),
    ArrayName("feedforward.b_1", "intermediate.dense.bias", "F"),
    ArrayName("feedforward.w_2", "output.dense.weight", "FD"),
    ArrayName("feedforward.b_2", "output.dense.bias", "D"),
    ArrayName("norm_2.gamma", "output.LayerNorm.weight", "D"),
    ArrayName("norm_2.beta", "output.LayerNorm.bias", "D"),
)
CLASSIFIER_ARRAYS = (
    ArrayName("classifier.w", "classifier.weight", "DC"),
    ArrayName("classifier.b", "classifier.bias", "C"),
)
HEAD_ARRAYS: dict[type[Model], tuple[ArrayName, ...]] = {
    Encoder: (),
    TokenClassifier: CLASSIFIER_ARRAYS,
    SequenceClassifier: (
        ArrayName("pooler.w", "bert.pooler.dense.weight", "DD"),
        ArrayName("pooler.b", "bert.pooler.dense.bias", "D"),
        *CLASSIFIER_ARRAYS,
    ),
    MaskedLM: (
        ArrayName("head.w", "cls.predictions.transform.dense.weight", "DD"),
        ArrayName("head.b", "cls.predictions.transform.dense.bias", "D"),
        ArrayName("head.gamma", "cls.predictions.transform.LayerNorm.weight", "D"),
        ArrayName("head.beta", "cls.predictions.transform.LayerNorm.bias", "D"),
        ArrayName("head.b_decoder", "cls.predictions.bias", "V"),
    ),
}
# Arrays that a folder may hold and this model has no use for: they do not change its outputs.
UNUSED = (
    "pooler.dense.weight",
    "pooler.dense.bias",
    "embeddings.position_ids",
    "cls.seq_relationship.weight",
    "cls.seq_relationship.bias",
)
# Copies of tied arrays, which some versions of transformers wrote as well.
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def array_names(kind: type[Model], config: EncoderConfig) -> list[ArrayName]:
    """Return every array of a model: our name, Hugging Face's, the axes."""
    layers = [
        ArrayName(f"layers.{i}.{row.ours}", f"encoder.layer.{i}.{row.theirs}", row.axes)
        for i in range(config.num_layers)
        for row in LAYER_ARRAYS
    ]
    encoder = [*EMBEDDING_ARRAYS, *layers]
    if kind is Encoder:
        return encoder
    below = [ArrayName(f"encoder.{r.ours}", f"bert.{r.theirs}", r.axes) for r in encoder]
    return [*below, *HEAD_ARRAYS[kind]]


def parameter_shapes(kind: type[Model], config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter of a post-LN model, without making any."""
    return {row.ours: shape_of(row, config) for row in array_names(kind, config)}


def current_name(name: str) -> str:
    """Return today's name: layer norms converted from TensorFlow have gamma and beta."""
    for old, new in (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")):
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def is_unused(name: str) -> bool:
    return name.removeprefix("bert.") in UNUSED


def is_transposed(row: ArrayName) -> bool:
    """Tell whether an array is a weight, ``w`` or ``w_...``, and not a table."""
    return row.ours.rsplit(".", 1)[-1].split("_")[0] == "w"


def shape_of(row: ArrayName, config: EncoderConfig) -> tuple[int, ...]:
    sizes = {
        "D": config.d_model,
        "F": config.d_ff,
        "V": config.vocab_size,
        "P": config.max_len,
        "G": config.num_segments,
        "C": config.num_classes if isinstance(config, ClassifierConfig) else 0,
    }
    return tuple(sizes[axis] for axis in row.axes)

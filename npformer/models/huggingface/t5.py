"""T5's names: one table for both sides and the output, no biases, positions in layer 0."""

from collections.abc import Mapping
from typing import Any

from npformer.checks import InputError, shown
from npformer.models.config import Seq2SeqConfig
from npformer.models.huggingface.bert import NEUTRAL
from npformer.models.huggingface.config import ACTIVATION_NAMES, THEIR_ACTIVATIONS
from npformer.models.huggingface.family import Field
from npformer.models.huggingface.generator import GeneratorFamily, Place
from npformer.models.seq2seq import Seq2Seq

PARTS = {
    "encoder": ("attention", "feedforward"),
    "decoder": ("self_attention", "cross_attention", "feedforward"),
}


def _place(name: str, config: Seq2SeqConfig) -> Place:
    if name == "embeddings.token":
        return Place("shared.weight")
    side, *path, last = name.split(".")
    if path == ["norm"]:
        return Place(f"{side}.final_layer_norm.weight")
    if last == "relative_bias":
        return Place(f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    _, i, part = path
    if part.startswith("norm_"):
        return Place(f"{side}.block.{i}.layer.{int(part[-1]) - 1}.layer_norm.weight")
    at = f"{side}.block.{i}.layer.{PARTS[side].index(part)}"
    if part == "feedforward":
        theirs = {"w_1": "wi_0" if config.gated else "wi", "w_3": "wi_1", "w_2": "wo"}[last]
        return Place(f"{at}.DenseReluDense.{theirs}.weight", transposed=True)
    kind = "EncDecAttention" if part == "cross_attention" else "SelfAttention"
    return Place(f"{at}.{kind}.{last[-1]}.weight", transposed=True)


def _read(fields: Mapping[str, Any]) -> dict[str, Any]:
    width, heads = fields["d_model"], fields["num_heads"]
    if fields["d_kv"] * heads != width:
        raise InputError(
            f"d_kv: got {fields['d_kv']}, expected d_model / num_heads, {width} / {heads}"
        )
    *gated, activation = fields["feed_forward_proj"].split("-")
    if gated not in ([], ["gated"]):
        raise InputError(
            f"feed_forward_proj: got {shown(fields['feed_forward_proj'])}, expected gated-"
        )
    if gated and activation == "gelu":
        activation = "gelu_new"  # what transformers takes it for
    return {
        "target_vocab_size": fields["vocab_size"],
        "num_decoder_layers": fields["num_decoder_layers"] or fields["num_layers"],
        "attention_dropout": fields["dropout_rate"],
        "gated": bool(gated),
        "activation": ACTIVATION_NAMES.get(activation, activation),
        "scale_output": fields["scale_decoder_outputs"],
    }


def _write(config: Seq2SeqConfig) -> dict[str, Any]:
    activation = THEIR_ACTIVATIONS.get(config.activation, config.activation)
    if config.gated:
        activation = "gated-" + {"gelu_new": "gelu", "gelu": "gelu_python"}.get(
            activation, activation
        )
    return {
        "d_kv": config.head_size,
        "num_decoder_layers": config.num_decoder_layers,
        "feed_forward_proj": activation,
        "scale_decoder_outputs": config.scale_output,
    }


T5 = GeneratorFamily(
    model_type="t5",
    architecture="T5ForConditionalGeneration",
    kind=Seq2Seq,
    fields=(
        Field("vocab_size", "vocab_size", int),
        Field("d_model", "d_model", int),
        Field("num_heads", "num_heads", int),
        Field("num_encoder_layers", "num_layers", int),
        Field("d_ff", "d_ff", int),
        Field("max_len", "n_positions", int, 512),
        Field("num_buckets", "relative_attention_num_buckets", int, 32),
        Field("max_distance", "relative_attention_max_distance", int, 128),
        Field("dropout", "dropout_rate", float, 0.1),
        Field("layer_norm_eps", "layer_norm_epsilon", float, 1e-6),
    ),
    read=_read,
    write=_write,
    more=(
        Field("", "d_kv", int, 64),
        Field("", "num_decoder_layers", int, None),
        Field("", "feed_forward_proj", str, "relu"),
        Field("", "scale_decoder_outputs", bool, True),
    ),
    fixed={"is_encoder_decoder": True, "is_decoder": False, "tie_word_embeddings": True},
    neutral=(NEUTRAL - {"is_decoder"})
    | {
        "classifier_dropout",
        "decoder_start_token_id",
        "dense_act_fn",
        "initializer_factor",
        "is_gated_act",
        "task_specific_params",
    },
    constants={
        "relative": "t5",
        "positions": "none",
        "attention_scale": 1.0,
        "norm": "rms",
        "norm_first": True,
        "use_bias": False,
        "shared_embeddings": True,
        "scale_embeddings": False,
    },
    place=_place,
    copies=dict.fromkeys(
        ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"),
        "shared.weight",
    ),
    # Old files have a table for cross-attention that nothing reads.
    unused=lambda name: name.endswith("EncDecAttention.relative_attention_bias.weight"),
)

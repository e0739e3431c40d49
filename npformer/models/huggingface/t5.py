"""T5's names: one table for both sides and the output, no biases, positions in layer 0."""

from collections.abc import Mapping
from typing import Any

from npformer.checks import InputError, shown
from npformer.models.config import Seq2SeqConfig
from npformer.models.huggingface.bert import NEUTRAL
from npformer.models.huggingface.family import (
    ACTIVATION_NAMES,
    THEIR_ACTIVATIONS,
    Family,
    Field,
    Row,
    rows,
)
from npformer.models.seq2seq import Seq2Seq

FIXED = {"is_encoder_decoder": True, "is_decoder": False, "tie_word_embeddings": True}
HEAD_SIZE = "the heads of this library share d_model"


def _side(side: str, attentions: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of the "encoder" or "decoder": attentions, then the feed-forward layer."""
    ours, theirs = f"{side}.layers.{{i}}.", f"{side}.block.{{i}}.layer."
    names: dict[str, str] = {}
    for n, (attention, their_name) in enumerate(attentions.items()):
        names[f"norm_{n + 1}.gamma"] = f"{n}.layer_norm"
        names |= {f"{attention}.w_{map_}": f"{n}.{their_name}.{map_}" for map_ in "qkvo"}
    last = len(attentions)
    dense = f"{last}.DenseReluDense"
    names |= {
        f"norm_{last + 1}.gamma": f"{last}.layer_norm",
        "feedforward.w_2": f"{dense}.wo",
        "feedforward.w_3": f"{dense}.wi_1",
    }
    first = f"{ours}feedforward.w_1", f"{theirs}{dense}"
    return (
        *rows(ours, theirs, names),
        Row(first[0], f"{first[1]}.wi.weight", transposed=True, when={"gated": False}),
        Row(first[0], f"{first[1]}.wi_0.weight", transposed=True, when={"gated": True}),
        *rows(f"{side}.", f"{side}.", {"norm.gamma": "final_layer_norm"}),
        Row(
            f"{side}.relative_bias",
            f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        ),
    )


def _read(fields: Mapping[str, Any]) -> dict[str, Any]:
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
    }


def _write(config: Seq2SeqConfig) -> dict[str, Any]:
    activation = THEIR_ACTIVATIONS.get(config.activation, config.activation)
    if config.gated:
        ours = {"gelu_new": "gelu", "gelu": "gelu_python"}
        activation = f"gated-{ours.get(activation, activation)}"
    return {"feed_forward_proj": activation}


T5 = Family(
    model_type="t5",
    architectures={"T5ForConditionalGeneration": Seq2Seq},
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
        Field("head_size", "d_kv", int, 64, because=HEAD_SIZE),
        Field("num_decoder_layers", "num_decoder_layers", int, None),
        Field("", "feed_forward_proj", str, "relu"),
        Field("scale_output", "scale_decoder_outputs", bool, True),
    ),
    read=_read,
    write=_write,
    fixed=FIXED,
    neutral=(NEUTRAL - {"is_decoder"}).union(
        """
        classifier_dropout decoder_start_token_id dense_act_fn initializer_factor
        is_gated_act task_specific_params
        """.split()
    ),
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
    written=FIXED,
    rows=(
        Row("embeddings.token", "shared.weight"),
        *_side("encoder", {"attention": "SelfAttention"}),
        *_side(
            "decoder", {"self_attention": "SelfAttention", "cross_attention": "EncDecAttention"}
        ),
    ),
    copies=dict.fromkeys(
        ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"),
        "shared.weight",
    ),
    # Old files have a table for cross-attention that nothing reads.
    unused=("*EncDecAttention.relative_attention_bias.weight",),
)

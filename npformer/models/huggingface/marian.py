"""Marian's names: the original Transformer with one table for both sides and the output."""

from collections.abc import Mapping
from typing import Any

from npformer.checks import InputError
from npformer.models.config import Seq2SeqConfig
from npformer.models.huggingface.bert import NEUTRAL
from npformer.models.huggingface.config import ACTIVATION_NAMES, THEIR_ACTIVATIONS
from npformer.models.huggingface.family import Field
from npformer.models.huggingface.generator import GeneratorFamily, Place
from npformer.models.seq2seq import Seq2Seq

NORMS = {
    "encoder": ("self_attn_layer_norm", "final_layer_norm"),
    "decoder": ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"),
}
BOTH_SIDES = ("attention_heads", "ffn_dim")


def _place(name: str, config: Seq2SeqConfig) -> Place:
    if name == "embeddings.token":
        return Place("model.shared.weight")
    if name == "output.b":
        return Place("final_logits_bias", row=True)
    side, _, i, part, last = name.split(".")
    at = f"model.{side}.layers.{i}"
    if part.startswith("norm_"):
        kind = "weight" if last == "gamma" else "bias"
        return Place(f"{at}.{NORMS[side][int(part[-1]) - 1]}.{kind}")
    weight = last.startswith("w_")
    kind = "weight" if weight else "bias"
    if part == "feedforward":
        return Place(f"{at}.fc{last[-1]}.{kind}", transposed=weight)
    attention = "encoder_attn" if part == "cross_attention" else "self_attn"
    projection = "out_proj" if last[-1] == "o" else f"{last[-1]}_proj"
    return Place(f"{at}.{attention}.{projection}.{kind}", transposed=weight)


def _read(fields: Mapping[str, Any]) -> dict[str, Any]:
    for name in BOTH_SIDES:
        if fields[f"decoder_{name}"] != fields[f"encoder_{name}"]:
            raise InputError(
                f"decoder_{name}: got {fields[f'decoder_{name}']}, expected that of the encoder, "
                f"{fields[f'encoder_{name}']}"
            )
    if fields["decoder_vocab_size"] not in (None, fields["vocab_size"]):
        raise InputError(
            f"decoder_vocab_size: got {fields['decoder_vocab_size']}, expected vocab_size, "
            f"{fields['vocab_size']}"
        )
    activation = fields["activation_function"]
    return {
        "target_vocab_size": fields["vocab_size"],
        "activation": ACTIVATION_NAMES.get(activation, activation),
        "scale_embeddings": fields["scale_embedding"],
    }


def _write(config: Seq2SeqConfig) -> dict[str, Any]:
    return {
        "decoder_vocab_size": config.vocab_size,
        # Which ids pad, start and end is the tokenizer's business; theirs would be 58100.
        "pad_token_id": None,
        "decoder_start_token_id": 0,
        "decoder_attention_heads": config.num_heads,
        "decoder_ffn_dim": config.d_ff,
        "activation_function": THEIR_ACTIVATIONS.get(config.activation, config.activation),
        "scale_embedding": config.scale_embeddings,
    }


MARIAN = GeneratorFamily(
    model_type="marian",
    architecture="MarianMTModel",
    kind=Seq2Seq,
    fields=(
        Field("vocab_size", "vocab_size", int),
        Field("d_model", "d_model", int),
        Field("num_heads", "encoder_attention_heads", int),
        Field("d_ff", "encoder_ffn_dim", int),
        Field("num_encoder_layers", "encoder_layers", int),
        Field("num_decoder_layers", "decoder_layers", int),
        Field("max_len", "max_position_embeddings", int, 1024),
        Field("dropout", "dropout", float, 0.1),
        Field("attention_dropout", "attention_dropout", float, 0.0),
        Field("initializer_range", "init_std", float, 0.02),
    ),
    read=_read,
    write=_write,
    more=(
        Field("", "activation_function", str, "gelu"),
        Field("", "decoder_attention_heads", int),
        Field("", "decoder_ffn_dim", int),
        Field("", "decoder_vocab_size", int, None),
        Field("", "scale_embedding", bool, False),
    ),
    fixed={
        "activation_dropout": 0.0,
        "add_bias_logits": False,
        "add_final_layer_norm": False,
        "decoder_layerdrop": 0.0,
        "encoder_layerdrop": 0.0,
        "is_decoder": False,
        "is_encoder_decoder": True,
        "normalize_before": False,
        "normalize_embedding": False,
        "share_encoder_decoder_embeddings": True,
        "static_position_embeddings": True,
        "tie_word_embeddings": True,
    },
    neutral=NEUTRAL
    | {
        "bad_words_ids",
        "classif_dropout",
        "classifier_dropout",
        "decoder_start_token_id",
        "extra_pos_embeddings",
        "forced_eos_token_id",
        "id2label",
        "label2id",
        "max_length",
        "num_beams",
        "num_hidden_layers",
    },
    constants={
        "positions": "sinusoidal",
        "sinusoidal_layout": "half-split",
        "shared_embeddings": True,
        "layer_norm_eps": 1e-5,
    },
    place=_place,
    copies=dict.fromkeys(
        (
            "model.encoder.embed_tokens.weight",
            "model.decoder.embed_tokens.weight",
            "lm_head.weight",
        ),
        "model.shared.weight",
    ),
    # The sinusoids: computed here.
    unused=lambda name: name.endswith(".embed_positions.weight"),
)

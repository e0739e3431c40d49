"""GPT-2's names: fused queries, keys and values; weights stored (in, out), as here."""

from collections.abc import Mapping
from typing import Any

from npformer.checks import InputError
from npformer.models.causal_lm import CausalLM
from npformer.models.config import CausalLMConfig
from npformer.models.huggingface.bert import NEUTRAL
from npformer.models.huggingface.config import ACTIVATION_NAMES, THEIR_ACTIVATIONS
from npformer.models.huggingface.family import Field
from npformer.models.huggingface.generator import GeneratorFamily, Place

OUTSIDE = {
    "embeddings.token": "transformer.wte.weight",
    "embeddings.position": "transformer.wpe.weight",
    "norm.gamma": "transformer.ln_f.weight",
    "norm.beta": "transformer.ln_f.bias",
}
LAYER = {
    "norm_1.gamma": "ln_1.weight",
    "norm_1.beta": "ln_1.bias",
    "norm_2.gamma": "ln_2.weight",
    "norm_2.beta": "ln_2.bias",
    "attention.w_o": "attn.c_proj.weight",
    "attention.b_o": "attn.c_proj.bias",
    "feedforward.w_1": "mlp.c_fc.weight",
    "feedforward.b_1": "mlp.c_fc.bias",
    "feedforward.w_2": "mlp.c_proj.weight",
    "feedforward.b_2": "mlp.c_proj.bias",
}


def _place(name: str, config: CausalLMConfig) -> Place:
    if name in OUTSIDE:
        return Place(OUTSIDE[name])
    _, i, rest = name.split(".", 2)
    if rest in LAYER:
        return Place(f"transformer.h.{i}.{LAYER[rest]}")
    kind = "weight" if rest.startswith("attention.w") else "bias"
    return Place(f"transformer.h.{i}.attn.c_attn.{kind}", third="qkv".index(rest[-1]))


def _read(fields: Mapping[str, Any]) -> dict[str, Any]:
    if fields["embd_pdrop"] != fields["resid_pdrop"]:
        raise InputError(
            f"embd_pdrop: got {fields['embd_pdrop']}, expected resid_pdrop, "
            f"{fields['resid_pdrop']}: there is one dropout"
        )
    activation = fields["activation_function"]
    return {
        "d_ff": fields["n_inner"] or 4 * fields["n_embd"],
        "activation": ACTIVATION_NAMES.get(activation, activation),
    }


def _write(config: CausalLMConfig) -> dict[str, Any]:
    return {
        "n_inner": config.d_ff,
        "embd_pdrop": config.dropout,
        "activation_function": THEIR_ACTIVATIONS.get(config.activation, config.activation),
    }


def _is_mask(name: str) -> bool:
    """Old files hold the causal mask of each layer."""
    return name.endswith((".attn.bias", ".attn.masked_bias"))


GPT2 = GeneratorFamily(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    kind=CausalLM,
    fields=(
        Field("vocab_size", "vocab_size", int),
        Field("max_len", "n_positions", int),
        Field("d_model", "n_embd", int),
        Field("num_layers", "n_layer", int),
        Field("num_heads", "n_head", int),
        Field("dropout", "resid_pdrop", float, 0.1),
        Field("attention_dropout", "attn_pdrop", float, 0.1),
        Field("layer_norm_eps", "layer_norm_epsilon", float, 1e-5),
        Field("initializer_range", "initializer_range", float, 0.02),
    ),
    read=_read,
    write=_write,
    more=(
        Field("", "embd_pdrop", float, 0.1),
        Field("", "n_inner", int, None),
        Field("", "activation_function", str, "gelu_new"),
    ),
    fixed={
        "add_cross_attention": False,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "tie_word_embeddings": True,
    },
    neutral=NEUTRAL
    | {
        "n_ctx",
        "reorder_and_upcast_attn",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
        "task_specific_params",
    },
    constants={"positions": "learned", "scale_embeddings": False, "norm_first": True},
    place=_place,
    copies={"lm_head.weight": "transformer.wte.weight"},
    unused=_is_mask,
)

"""A new family is a table: one like Llama's goes through the reader and the writer as it is."""

import dataclasses
import json

import numpy as np
import pytest
from models import small_causal_lm
from safetensors.numpy import load_file, save_file

from npformer.checks import InputError
from npformer.models import CausalLM, from_pretrained
from npformer.models.huggingface.bert import BERT, NEUTRAL
from npformer.models.huggingface.config import write_config
from npformer.models.huggingface.family import Family, Field, rows
from npformer.models.huggingface.registry import FAMILIES
from npformer.models.huggingface.tensors import lay_out

# Grouped heads, RMS norm, a gate of SwiGLU, rotary positions, no biases. A CausalLM of ours has
# its output tied to the table and turns by 10000, so these two are fixed.
LLAMA = Family(
    model_type="llama",
    architectures={"LlamaForCausalLM": CausalLM},
    fields=(
        Field("vocab_size", "vocab_size", int),
        Field("d_model", "hidden_size", int),
        Field("num_heads", "num_attention_heads", int),
        Field("num_kv_heads", "num_key_value_heads", int, None),
        Field("head_size", "head_dim", int, None, because="heads share hidden_size"),
        Field("num_layers", "num_hidden_layers", int),
        Field("d_ff", "intermediate_size", int),
        Field("max_len", "max_position_embeddings", int, 2048),
        Field("activation", "hidden_act", str, "silu"),
        Field("layer_norm_eps", "rms_norm_eps", float, 1e-6),
        Field("attention_dropout", "attention_dropout", float, 0.0),
        Field("initializer_range", "initializer_range", float, 0.02),
    ),
    fixed={"attention_bias": False, "mlp_bias": False, "rope_theta": 10000.0}
    | {"rope_scaling": None, "tie_word_embeddings": True},
    neutral=NEUTRAL | {"pretraining_tp"},
    constants={
        "relative": "rotary",
        "positions": "none",
        "norm": "rms",
        "norm_first": True,
        "gated": True,
        "use_bias": False,
        "scale_embeddings": False,
    },
    rows=(
        *rows("", "model.", {"embeddings.token": "embed_tokens", "norm.gamma": "norm"}),
        *rows(
            "layers.{i}.",
            "model.layers.{i}.",
            {
                **{f"attention.w_{map_}": f"self_attn.{map_}_proj" for map_ in "qkvo"},
                "norm_1.gamma": "input_layernorm",
                "feedforward.w_1": "mlp.gate_proj",
                "feedforward.w_3": "mlp.up_proj",
                "feedforward.w_2": "mlp.down_proj",
                "norm_2.gamma": "post_attention_layernorm",
            },
        ),
    ),
    copies={"lm_head.weight": "model.embed_tokens.weight"},
)
# Phi-3 has the same arrays, some of which lie side by side in one.
FUSED = dataclasses.replace(
    LLAMA,
    model_type="phi3",
    rows=(
        *LLAMA.rows[:2],
        *rows(
            "layers.{i}.",
            "model.layers.{i}.",
            {
                **dict.fromkeys([f"attention.w_{m}" for m in "qkv"], "self_attn.qkv_proj"),
                "attention.w_o": "self_attn.o_proj",
                "norm_1.gamma": "input_layernorm",
                **dict.fromkeys([f"feedforward.w_{n}" for n in "13"], "mlp.gate_up_proj"),
                "feedforward.w_2": "mlp.down_proj",
                "norm_2.gamma": "post_attention_layernorm",
            },
        ),
    ),
)


def make():
    return small_causal_lm.make(
        **LLAMA.constants, num_heads=6, num_kv_heads=2, activation="silu", layer_norm_eps=1e-6
    )


def save(model, family, folder):
    """What `save_pretrained` does, for a family that is not registered."""
    folder.mkdir()
    arrays = lay_out(model.params, CausalLM, model.config, family)
    save_file(arrays, folder / "model.safetensors")
    fields = write_config(model.config, CausalLM, family)
    (folder / "config.json").write_text(json.dumps(fields))


@pytest.mark.parametrize("family", [LLAMA, FUSED], ids=["llama", "fused"])
def test_round_trip(family, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, family.model_type, family)
    model = make()
    save(model, family, tmp_path / "model")
    again = from_pretrained(tmp_path / "model", dtype=np.float64)
    assert again.config == model.config
    assert again.params.keys() == model.params.keys()
    for name, p in model.params.items():
        np.testing.assert_array_equal(again.params[name], p, err_msg=name)
        assert again.params[name].flags.writeable


def test_grouped_heads_have_their_own_width_there(tmp_path):
    model = make()
    save(model, LLAMA, tmp_path / "llama")
    save(model, FUSED, tmp_path / "fused")
    llama, fused = (load_file(tmp_path / f / "model.safetensors") for f in ("llama", "fused"))
    at, d, kv, f = "model.layers.1.", 12, 4, 10
    shapes = {name.removeprefix(at): a.shape for name, a in llama.items() if at in name}
    assert shapes == {
        "self_attn.q_proj.weight": (d, d),
        "self_attn.k_proj.weight": (kv, d),
        "self_attn.v_proj.weight": (kv, d),
        "self_attn.o_proj.weight": (d, d),
        "mlp.gate_proj.weight": (f, d),
        "mlp.up_proj.weight": (f, d),
        "mlp.down_proj.weight": (d, f),
        "input_layernorm.weight": (d,),
        "post_attention_layernorm.weight": (d,),
    }
    whole = fused[at + "self_attn.qkv_proj.weight"]
    assert whole.shape == (d + 2 * kv, d)
    parts = [llama[f"{at}self_attn.{m}_proj.weight"] for m in "qkv"]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert sum(a.size for a in llama.values()) == sum(a.size for a in fused.values())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("head_dim", 3, "head_dim: got 3, expected 2, because heads share hidden_size"),
        ("num_key_value_heads", 4, "num_key_value_heads: got 4, expected a divisor of num_att"),
        ("num_key_value_heads", 3, "mis-shaped model.layers.0.self_attn.k_proj.weight (4, 12) "),
        ("rope_theta", 500000.0, "rope_theta: got 500000.0, expected 10000.0"),
        ("tie_word_embeddings", False, "tie_word_embeddings: got False, expected True"),
        ("sliding_window", 7, "sliding_window: got 7, expected no such field"),
    ],
)
def test_refused(field, value, message, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "llama", LLAMA)
    save(make(), LLAMA, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InputError) as caught:
        from_pretrained(tmp_path / "model")
    assert message in str(caught.value)


def test_a_table_with_a_missing_row_is_an_error(tmp_path, monkeypatch):
    save(make(), LLAMA, tmp_path / "model")
    less = [row for row in LLAMA.rows if not row.ours.endswith("w_3")]
    monkeypatch.setitem(FAMILIES, "llama", dataclasses.replace(LLAMA, rows=tuple(less)))
    with pytest.raises(
        InputError,
        match=r"^llama: got no row for layers.0.feedforward.w_3, expected one for every "
        r"parameter of a CausalLM$",
    ):
        from_pretrained(tmp_path / "model")


def test_an_unknown_family_is_told_which_are_read(tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "llama", LLAMA)
    save(make(), dataclasses.replace(LLAMA, model_type="mamba"), tmp_path / "model")
    with pytest.raises(InputError) as caught:
        from_pretrained(tmp_path / "model")
    *_, named = str(caught.value).partition("model_type: got 'mamba', expected one of ")
    assert named.split(", ") == [*FAMILIES]
    assert {"bert", "gpt2", "t5", "marian", "llama"} <= FAMILIES.keys()
    assert BERT.model_type in named

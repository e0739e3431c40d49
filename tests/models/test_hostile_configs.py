"""config.json that asks for the absurd: refused before anything of that size is made."""

import json
import tracemalloc

import numpy as np
import pytest
from models import small_causal_lm, small_seq2seq
from models.small import make
from models.test_huggingface import change_config, refused

from npformer.models import from_pretrained, save_pretrained

MODELS = {
    "gpt2": small_causal_lm.make(positions="learned", scale_embeddings=False, norm_first=True),
    "marian": small_seq2seq.make(
        target_vocab_size=23, sinusoidal_layout="half-split", shared_embeddings=True
    ),
    "t5": small_seq2seq.make(
        target_vocab_size=23,
        relative="t5",
        num_buckets=8,
        max_distance=5,
        positions="none",
        attention_scale=1.0,
        norm="rms",
        norm_first=True,
        use_bias=False,
        shared_embeddings=True,
        scale_embeddings=False,
        dropout=0.0,
    ),
    "bert": make("encoder"),
    "distilbert": make("encoder", num_segments=0),
    "albert": make("encoder", embedding_size=7),
}
BUCKETS, DISTANCE = "relative_attention_num_buckets", "relative_attention_max_distance"
# The family, its fields, what is said.
ABSURD = [
    ("gpt2", {"n_layer": 10**9}, "n_layer: got 1000000000, expected at most 10000"),
    ("t5", {"num_layers": 10_001}, "num_layers: got 10001, expected at most 10000"),
    ("t5", {"num_decoder_layers": 10**8}, "num_decoder_layers: got 100000000, expected at most"),
    ("marian", {"encoder_layers": 10**8}, "encoder_layers: got 100000000, expected at most 10000"),
    ("marian", {"decoder_layers": 10**8}, "decoder_layers: got 100000000, expected at most 10000"),
    ("distilbert", {"n_layers": 10**8}, "n_layers: got 100000000, expected at most 10000"),
    ("gpt2", {"n_head": 10**5, "n_embd": 2 * 10**5}, "mis-shaped transformer.wte.weight (23, 12)"),
    (
        "marian",
        {"encoder_attention_heads": 10**6, "decoder_attention_heads": 10**6, "d_model": 2 * 10**6},
        "mis-shaped model.shared.weight (23, 12) instead of (23, 2000000)",
    ),
    ("t5", {"num_heads": 10**6, "d_kv": 2, "d_model": 2 * 10**6}, "mis-shaped shared.weight"),
    ("t5", {BUCKETS: 512, DISTANCE: 1000}, "mis-shaped encoder.block.0.layer.0.SelfAttention"),
    ("t5", {BUCKETS: 10**10}, f"{BUCKETS}: got 10000000000, expected at most 1024"),
    ("t5", {DISTANCE: 10**9}, f"{DISTANCE}: got 1000000000, expected at most 32768"),
    ("gpt2", {"n_inner": 10**30}, "n_inner: got 1000000000000000000000000000000, expected at most"),
    ("gpt2", {"layer_norm_epsilon": 10**400}, "expected at most 2147483647"),
    ("bert", {"layer_norm_eps": 10**400}, "expected at most 2147483647"),
    ("bert", {"max_position_embeddings": 2**31}, "got 2147483648, expected at most 2147483647"),
    ("albert", {"num_hidden_groups": 2**31}, "got 2147483648, expected at most 10000"),
]


@pytest.mark.parametrize("name", MODELS)
def test_what_is_not_absurd_is_read(name, tmp_path):
    save_pretrained(MODELS[name], tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model_type"] == name
    again = from_pretrained(tmp_path / "model", dtype=np.float64)
    assert again.config == MODELS[name].config
    assert again.params.keys() == MODELS[name].params.keys()
    for key, p in MODELS[name].params.items():
        np.testing.assert_array_equal(again.params[key], p, err_msg=key)


@pytest.mark.parametrize(("name", "fields", "message"), ABSURD)
def test_absurd_sizes(name, fields, message, tmp_path):
    save_pretrained(MODELS[name], tmp_path / "model")
    change_config(tmp_path / "model", **fields)
    tracemalloc.start()
    try:
        refused(tmp_path / "model", message)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["gpt2", "t5", "marian"])
def test_as_many_layers_as_may_be(name, tmp_path):
    save_pretrained(MODELS[name], tmp_path / "model")
    change_config(
        tmp_path / "model",
        **{
            "gpt2": {"n_layer": 10_000},
            "t5": {"num_layers": 10_000, "num_decoder_layers": 10_000},
            "marian": {"encoder_layers": 10_000, "decoder_layers": 10_000},
        }[name],
    )
    refused(tmp_path / "model", "missing ")

"""The decoder-only model against GPT-2 and Llama: logits, loss and every gradient."""

import numpy as np
import pytest
from models.small_causal_lm import make

from npformer.models import ModelOutput
from npformer.ops import cross_entropy_backward, cross_entropy_forward

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

BLOCK = {
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
OUTSIDE = {
    "embeddings.token": "wte.weight",
    "embeddings.position": "wpe.weight",
    "norm.gamma": "ln_f.weight",
    "norm.beta": "ln_f.bias",
}


def view(arrays, name, d):
    """Return the array of GPT-2 that is ours of this name; its weights are (in, out) too."""
    if name in OUTSIDE:
        return arrays[f"transformer.{OUTSIDE[name]}"]
    _, i, rest = name.split(".", 2)
    if rest in BLOCK:
        return arrays[f"transformer.h.{i}.{BLOCK[rest]}"]
    third = "qkv".index(rest[-1])
    kind = "weight" if rest[-3] == "w" else "bias"
    return arrays[f"transformer.h.{i}.attn.c_attn.{kind}"][..., third * d : (third + 1) * d]


def test_gpt2():
    model = make()
    c = model.config
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=c.vocab_size,
            n_positions=c.max_len,
            n_embd=c.d_model,
            n_layer=c.num_layers,
            n_head=c.num_heads,
            n_inner=c.d_ff,
            activation_function="gelu",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            attn_implementation="eager",
        )
    ).double()
    arrays = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, p in model.params.items():
            view(arrays, name, c.d_model).copy_(torch.tensor(p))
    assert sum(p.size for p in model.params.values()) == sum(p.numel() for p in arrays.values())
    compare(model, theirs, lambda arrays, name: view(arrays, name, c.d_model))


def compare(model, theirs, their_array):
    """Assert the same logits, loss and gradients on a batch padded at its end."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 23, (4, 7))
    keep = np.arange(7) < np.array([3, 7, 1, 5])[:, None]
    labels = np.where(keep, rng.integers(0, 23, (4, 7)), -100)
    output, cache = model.forward(ids, keep)
    logits = output.logits
    loss, loss_cache = cross_entropy_forward(logits, labels)
    _, grads = model.backward(ModelOutput(logits=cross_entropy_backward(1.0, loss_cache)), cache)
    expected = theirs(torch.tensor(ids), attention_mask=torch.tensor(keep)).logits
    their_loss = torch.nn.functional.cross_entropy(
        expected.transpose(1, 2), torch.tensor(labels), ignore_index=-100
    )
    their_loss.backward()
    np.testing.assert_allclose(logits[keep], expected.detach().numpy()[keep], rtol=0, atol=1e-9)
    assert abs(loss - their_loss.item()) <= 1e-12
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, g in grads.items():
        np.testing.assert_allclose(
            g, their_array(gradients, name).numpy(), rtol=0, atol=1e-9, err_msg=name
        )


LLAMA = {
    "attention.w_q": "self_attn.q_proj",
    "attention.w_k": "self_attn.k_proj",
    "attention.w_v": "self_attn.v_proj",
    "attention.w_o": "self_attn.o_proj",
    "norm_1.gamma": "input_layernorm",
    "norm_2.gamma": "post_attention_layernorm",
    "feedforward.w_1": "mlp.gate_proj",
    "feedforward.w_3": "mlp.up_proj",
    "feedforward.w_2": "mlp.down_proj",
}


def llama_name(name):
    if name in ("embeddings.token", "norm.gamma"):
        return {"e": "model.embed_tokens.weight", "n": "model.norm.weight"}[name[0]]
    _, i, rest = name.split(".", 2)
    return f"model.layers.{i}.{LLAMA[rest]}.weight"


def rms_norm(self, x):
    """Llama's norm, which otherwise is taken in float32 whatever the input is."""
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


def softmax(scores, dim, dtype=None):
    """Softmax in the type of the scores; Llama asks for float32."""
    return torch.softmax(scores, dim)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_llama(kv_heads, monkeypatch):
    """RMS norm, rotary positions, grouped queries, SwiGLU, no biases."""
    model = make(
        d_model=24,
        num_heads=4,
        num_kv_heads=kv_heads,
        relative="rotary",
        positions="none",
        norm="rms",
        activation="silu",
        gated=True,
        use_bias=False,
    )
    c = model.config
    llama = transformers.models.llama.modeling_llama
    monkeypatch.setattr(llama.LlamaRMSNorm, "forward", rms_norm)
    monkeypatch.setattr(llama.nn.functional, "softmax", softmax)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=c.vocab_size,
            hidden_size=c.d_model,
            intermediate_size=c.d_ff,
            num_hidden_layers=c.num_layers,
            num_attention_heads=c.num_heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=c.max_len,
            rms_norm_eps=c.layer_norm_eps,
            tie_word_embeddings=True,
            attn_implementation="eager",
        )
    ).double()
    # The angles in float64: theirs are float32 even here.
    rates = 10000.0 ** (-np.arange(0, c.head_size, 2) / c.head_size)

    def angles(self, x, position_ids):
        turns = position_ids[..., None].double() * torch.tensor(np.tile(rates, 2))
        return turns.cos(), turns.sin()

    monkeypatch.setattr(llama.LlamaRotaryEmbedding, "forward", angles)
    arrays = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, p in model.params.items():
            weight = name.rsplit(".", 1)[-1].startswith("w_")
            arrays[llama_name(name)].copy_(torch.tensor(p.T if weight else p))
    assert {llama_name(name) for name in model.params} == set(arrays)

    def their_array(arrays, name):
        array = arrays[llama_name(name)]
        return array.T if name.rsplit(".", 1)[-1].startswith("w_") else array

    compare(model, theirs, their_array)

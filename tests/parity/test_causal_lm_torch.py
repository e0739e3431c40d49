"""The decoder-only model against GPT-2 of transformers: logits, loss and every gradient."""

import numpy as np
import pytest
from models.small_causal_lm import make

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
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 23, (4, 7))
    keep = np.arange(7) < np.array([3, 7, 1, 5])[:, None]
    labels = np.where(keep, rng.integers(0, 23, (4, 7)), -100)
    logits, cache = model.forward(ids, keep)
    loss, loss_cache = cross_entropy_forward(logits, labels)
    _, grads = model.backward(cross_entropy_backward(1.0, loss_cache), cache)
    expected = theirs(torch.tensor(ids), attention_mask=torch.tensor(keep)).logits
    their_loss = torch.nn.functional.cross_entropy(
        expected.transpose(1, 2), torch.tensor(labels), ignore_index=-100
    )
    their_loss.backward()
    np.testing.assert_allclose(logits[keep], expected.detach().numpy()[keep], rtol=0, atol=1e-9)
    assert abs(loss - their_loss.item()) <= 1e-12
    gradients = {name: p.grad for name, p in arrays.items()}
    for name, g in grads.items():
        np.testing.assert_allclose(
            g, view(gradients, name, c.d_model).numpy(), rtol=0, atol=1e-9, err_msg=name
        )

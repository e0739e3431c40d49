"""The encoder-decoder against torch.nn.Transformer: logits, loss and every gradient."""

import math

import numpy as np
import pytest
from models.small_seq2seq import SIZES, batch, make

from npformer.models import ModelOutput
from npformer.ops import cross_entropy_backward, cross_entropy_forward

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

# The names of a block's arrays in PyTorch, where weights are (out, in).
NAMES = {
    "w_o": "out_proj.weight",
    "b_o": "out_proj.bias",
    "gamma": "weight",
    "beta": "bias",
    "w_1": "linear1.weight",
    "b_1": "linear1.bias",
    "w_2": "linear2.weight",
    "b_2": "linear2.bias",
}
PARTS = {
    "attention": "self_attn",
    "self_attention": "self_attn",
    "cross_attention": "multihead_attn",
}


def their_name(name):
    """Return PyTorch's name of ``encoder.layers.0.attention.w_q``, and the third of it."""
    *path, last = name.split(".")
    part = PARTS.get(path[-1], path[-1].replace("norm_", "norm"))
    if last[0] in "wb" and last[2:] in ("q", "k", "v"):
        kind = "weight" if last[0] == "w" else "bias"
        return ".".join([*path[:-1], part, f"in_proj_{kind}"]), "qkv".index(last[2])
    where = path[:-1] if part == "feedforward" else [*path[:-1], part]
    return ".".join([*where, NAMES[last]]), None


def theirs_of(model):
    c = model.config
    theirs = torch.nn.Transformer(
        c.d_model,
        c.num_heads,
        c.num_encoder_layers,
        c.num_decoder_layers,
        c.d_ff,
        dropout=0.0,
        activation=c.activation,
        layer_norm_eps=c.layer_norm_eps,
        batch_first=True,
        norm_first=c.norm_first,
        dtype=torch.float64,
    )
    if not c.norm_first:  # PyTorch ends post-LN with a further norm; the paper does not
        theirs.encoder.norm = theirs.decoder.norm = None
    arrays = dict(theirs.named_parameters())
    inside = {n: p for n, p in model.params.items() if n.startswith(("encoder.", "decoder."))}
    filled = set()
    with torch.no_grad():
        for name, p in inside.items():
            array, third = view(arrays, name, c.d_model)
            array.copy_(torch.tensor(p.T if p.ndim == 2 else p))
            filled.add((their_name(name)[0], third))
    assert {name for name, _ in filled} == set(arrays)
    return theirs


def view(arrays, name, d):
    their, third = their_name(name)
    array = arrays[their]
    return (array if third is None else array[third * d : (third + 1) * d]), third


def embed(tables, config, ids, side):
    token = tables[f"{side}.token"][torch.tensor(ids)] * math.sqrt(config.d_model)
    if config.positions == "learned":
        return token + tables[f"{side}.position"][: ids.shape[1]]
    t, even = np.arange(ids.shape[1])[:, None], np.arange(0, config.d_model, 2)
    angle = t / 10000 ** (even / config.d_model)
    table = np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(len(t), -1)
    return token + torch.tensor(table)


# A faster path of PyTorch for inference, which these sizes do not have.
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
@pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer(norm_first, shared, positions, activation):
    more = {"target_vocab_size": SIZES["vocab_size"]} if shared else {}
    model = make(
        norm_first=norm_first,
        shared_embeddings=shared,
        positions=positions,
        activation=activation,
        **more,
    )
    source, target, source_keep, target_keep, labels = batch()
    output, cache = model.forward(source, target, source_keep, target_keep)
    loss, loss_cache = cross_entropy_forward(output.logits, labels, label_smoothing=0.1)
    dlogits = cross_entropy_backward(1.0, loss_cache)
    _, grads = model.backward(ModelOutput(logits=dlogits), cache)

    theirs = theirs_of(model)
    outside = {
        n: torch.tensor(p, requires_grad=True)
        for n, p in model.params.items()
        if not n.startswith(("encoder.", "decoder."))
    }
    sides = ("embeddings", "embeddings") if shared else ("source", "target")
    states = theirs(
        embed(outside, model.config, source, sides[0]),
        embed(outside, model.config, target, sides[1]),
        tgt_mask=torch.tensor(~np.tri(target.shape[1], dtype=bool)),
        src_key_padding_mask=torch.tensor(~source_keep),
        tgt_key_padding_mask=torch.tensor(~target_keep),
        memory_key_padding_mask=torch.tensor(~source_keep),
    )
    w = outside["embeddings.token"].T if shared else outside["output.w"]
    logits = states @ w + outside["output.b"]
    their_loss = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), torch.tensor(labels), ignore_index=-100, label_smoothing=0.1
    )
    their_loss.backward()
    np.testing.assert_allclose(
        output.logits[target_keep], logits.detach().numpy()[target_keep], rtol=0, atol=1e-9
    )
    assert abs(loss - their_loss.item()) <= 1e-12
    arrays = {n: p.grad for n, p in theirs.named_parameters()}
    for name, g in grads.items():
        if name in outside:
            expected = outside[name].grad.numpy()
        else:
            expected = view(arrays, name, model.config.d_model)[0].numpy()
            expected = expected.T if g.ndim == 2 else expected
        np.testing.assert_allclose(g, expected, rtol=0, atol=1e-9, err_msg=name)

"""Disentangled attention against DeBERTa-v2 of transformers: every state and every gradient."""

import numpy as np
import pytest
from models.small import inputs, make

from npformer.models import ModelOutput
from npformer.ops import disentangled_scale

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

LAYER = {
    "attention.w_q": "attention.self.query_proj.weight",
    "attention.b_q": "attention.self.query_proj.bias",
    "attention.w_k": "attention.self.key_proj.weight",
    "attention.b_k": "attention.self.key_proj.bias",
    "attention.w_v": "attention.self.value_proj.weight",
    "attention.b_v": "attention.self.value_proj.bias",
    "attention.w_qr": "attention.self.pos_query_proj.weight",
    "attention.b_qr": "attention.self.pos_query_proj.bias",
    "attention.w_kr": "attention.self.pos_key_proj.weight",
    "attention.b_kr": "attention.self.pos_key_proj.bias",
    "attention.w_o": "attention.output.dense.weight",
    "attention.b_o": "attention.output.dense.bias",
    "norm_1.gamma": "attention.output.LayerNorm.weight",
    "norm_1.beta": "attention.output.LayerNorm.bias",
    "feedforward.w_1": "intermediate.dense.weight",
    "feedforward.b_1": "intermediate.dense.bias",
    "feedforward.w_2": "output.dense.weight",
    "feedforward.b_2": "output.dense.bias",
    "norm_2.gamma": "output.LayerNorm.weight",
    "norm_2.beta": "output.LayerNorm.bias",
}
OUTSIDE = {
    "embeddings.token": "embeddings.word_embeddings.weight",
    "embeddings.segment": "embeddings.token_type_embeddings.weight",
    "embeddings.gamma": "embeddings.LayerNorm.weight",
    "embeddings.beta": "embeddings.LayerNorm.bias",
    "relative_embeddings": "encoder.rel_embeddings.weight",
}


def their_name(name):
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, i, rest = name.split(".", 2)
    return f"encoder.layer.{i}.{LAYER[rest]}"


def is_weight(name):
    return name.rsplit(".", 1)[-1].startswith("w_")


@pytest.mark.parametrize("clip", [3, 9], ids=["clipped", "all distances"])
def test_deberta(clip):
    model = make(
        "encoder",
        relative="deberta",
        relative_clip=clip,
        positions="none",
        # Theirs is this in float32, also when all else is float64.
        attention_scale=1 / float(np.sqrt(np.float32(3 * 4))),
    )
    c = model.config
    assert np.isclose(c.attention_scale, disentangled_scale(c.head_size), rtol=1e-7)
    theirs = transformers.DebertaV2Model(
        transformers.DebertaV2Config(
            vocab_size=c.vocab_size,
            hidden_size=c.d_model,
            num_hidden_layers=c.num_layers,
            num_attention_heads=c.num_heads,
            intermediate_size=c.d_ff,
            type_vocab_size=c.num_segments,
            max_position_embeddings=c.max_len,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            layer_norm_eps=c.layer_norm_eps,
            relative_attention=True,
            max_relative_positions=clip,
            position_buckets=-1,
            pos_att_type=["c2p", "p2c"],
            share_att_key=False,
            position_biased_input=False,
        )
    ).double()
    arrays = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, p in model.params.items():
            arrays[their_name(name)].copy_(torch.tensor(p.T if is_weight(name) else p))
    assert {their_name(name) for name in model.params} == set(arrays)

    ids, keep, segments = inputs()
    output, cache = model.forward(ids, keep, segments)
    rng = np.random.default_rng(3)
    dlast = rng.standard_normal(output.hidden[-1].shape) * keep[..., None]
    dhidden = [None] * c.num_layers + [dlast]
    _, grads = model.backward(ModelOutput(tuple(dhidden)), cache)

    expected = theirs(
        torch.tensor(ids),
        attention_mask=torch.tensor(keep).long(),
        token_type_ids=torch.tensor(segments),
        output_hidden_states=True,
    ).hidden_states
    expected[-1].backward(torch.tensor(dlast))
    for ours, state in zip(output.hidden, expected, strict=True):
        np.testing.assert_allclose(ours[keep], state.detach().numpy()[keep], rtol=0, atol=1e-9)
    for name, g in grads.items():
        their_grad = arrays[their_name(name)].grad.numpy()
        their_grad = their_grad.T if is_weight(name) else their_grad
        np.testing.assert_allclose(g, their_grad, rtol=0, atol=1e-9, err_msg=name)

"""The encoder-decoder against T5 and Marian of transformers: logits, loss and every gradient."""

import re

import numpy as np
import pytest
from models.small_seq2seq import SIZES, batch, make

from npformer.models import ModelOutput
from npformer.ops import cross_entropy_backward, cross_entropy_forward, sinusoidal_table

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

T5 = {
    "relative": "t5",
    "num_buckets": 8,
    "max_distance": 5,
    "positions": "none",
    "attention_scale": 1.0,
    "norm": "rms",
    "norm_first": True,
    "layer_norm_eps": 1e-6,
    "use_bias": False,
    "shared_embeddings": True,
    "scale_embeddings": False,
    "scale_output": True,
}
MARIAN = {
    "positions": "sinusoidal",
    "sinusoidal_layout": "half-split",
    "activation": "silu",
    "shared_embeddings": True,
    "target_vocab_size": SIZES["vocab_size"],
}


def t5_name(name, gated):
    """Return T5's name of one of our arrays."""
    if name == "embeddings.token":
        return "shared.weight"
    side, *path, last = name.split(".")
    if path == ["norm"]:
        return f"{side}.final_layer_norm.weight"
    if last == "relative_bias":
        return f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    _, i, part = path
    parts = ["self_attention", "cross_attention", "feedforward"]
    if side == "encoder":
        parts = ["attention", "feedforward"]
    if part.startswith("norm_"):
        return f"{side}.block.{i}.layer.{int(part[-1]) - 1}.layer_norm.weight"
    at = f"{side}.block.{i}.layer.{parts.index(part)}"
    if part == "feedforward":
        names = {"w_1": "wi_0" if gated else "wi", "w_3": "wi_1", "w_2": "wo"}
        return f"{at}.DenseReluDense.{names[last]}.weight"
    kind = "EncDecAttention" if part == "cross_attention" else "SelfAttention"
    return f"{at}.{kind}.{last[-1]}.weight"


def marian_name(name):
    """Return Marian's name of one of our arrays."""
    if name == "embeddings.token":
        return "model.shared.weight"
    if name == "output.b":
        return "final_logits_bias"
    kind = "weight" if re.search(r"\.(w_\w+|gamma)$", name) else "bias"
    side, _, i, part, last = name.split(".")
    at = f"model.{side}.layers.{i}"
    if part == "feedforward":
        return f"{at}.fc{last[-1]}.{kind}"
    if part.startswith("norm_"):
        norms = ["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"]
        if side == "encoder":
            del norms[1]
        return f"{at}.{norms[int(part[-1]) - 1]}.{kind}"
    attention = "encoder_attn" if part == "cross_attention" else "self_attn"
    projection = "out_proj" if last[-1] == "o" else f"{last[-1]}_proj"
    return f"{at}.{attention}.{projection}.{kind}"


def is_weight(name):
    return name.rsplit(".", 1)[-1].split("_")[0] == "w"


def fill(model, arrays, their_name):
    with torch.no_grad():
        for name, p in model.params.items():
            array = arrays[their_name(name)]
            array.copy_(torch.tensor(p.T if is_weight(name) else p).reshape(array.shape))


def compare(model, theirs, arrays, their_name, label_smoothing=0.0):
    """Assert the same logits, loss and gradients on a batch that is padded on both sides."""
    source, target, source_keep, target_keep, labels = batch()
    output, cache = model.forward(source, target, source_keep, target_keep)
    loss, loss_cache = cross_entropy_forward(output.logits, labels, label_smoothing=label_smoothing)
    _, grads = model.backward(ModelOutput(logits=cross_entropy_backward(1.0, loss_cache)), cache)

    logits = theirs(
        input_ids=torch.tensor(source),
        attention_mask=torch.tensor(source_keep).long(),
        decoder_input_ids=torch.tensor(target),
        decoder_attention_mask=torch.tensor(target_keep).long(),
    ).logits
    their_loss = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2),
        torch.tensor(labels),
        ignore_index=-100,
        label_smoothing=label_smoothing,
    )
    their_loss.backward()
    np.testing.assert_allclose(
        output.logits[target_keep], logits.detach().numpy()[target_keep], rtol=0, atol=1e-9
    )
    assert abs(loss - their_loss.item()) <= 1e-12
    for name, g in grads.items():
        their_grad = arrays[their_name(name)].grad.numpy()
        their_grad = their_grad.T if is_weight(name) else their_grad.reshape(g.shape)
        np.testing.assert_allclose(g, their_grad, rtol=0, atol=1e-9, err_msg=name)


def norm_in_float64(self, x):
    """T5's norm, which otherwise takes its variance in float32 whatever the input is."""
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


@pytest.mark.parametrize("kind", ["relu", "gated-silu"])
def test_t5(kind, monkeypatch):
    *gated, activation = kind.split("-")
    model = make(
        **T5,
        activation=activation,
        gated=bool(gated),
        target_vocab_size=SIZES["vocab_size"],
    )
    c = model.config
    monkeypatch.setattr(transformers.models.t5.modeling_t5.T5LayerNorm, "forward", norm_in_float64)
    theirs = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=c.vocab_size,
            d_model=c.d_model,
            d_kv=c.head_size,
            d_ff=c.d_ff,
            num_layers=c.num_encoder_layers,
            num_decoder_layers=c.num_decoder_layers,
            num_heads=c.num_heads,
            relative_attention_num_buckets=c.num_buckets,
            relative_attention_max_distance=c.max_distance,
            dropout_rate=0.0,
            layer_norm_epsilon=c.layer_norm_eps,
            feed_forward_proj=kind,
            decoder_start_token_id=0,
        )
    ).double()
    arrays = dict(theirs.named_parameters())

    def their_name(name):
        return t5_name(name, bool(gated))

    fill(model, arrays, their_name)
    assert {their_name(name) for name in model.params} == set(arrays)
    compare(model, theirs, arrays, their_name)


def test_marian():
    model = make(**MARIAN)
    c = model.config
    theirs = transformers.MarianMTModel(
        transformers.MarianConfig(
            vocab_size=c.vocab_size,
            d_model=c.d_model,
            encoder_layers=c.num_encoder_layers,
            decoder_layers=c.num_decoder_layers,
            encoder_attention_heads=c.num_heads,
            decoder_attention_heads=c.num_heads,
            encoder_ffn_dim=c.d_ff,
            decoder_ffn_dim=c.d_ff,
            activation_function="silu",
            max_position_embeddings=c.max_len,
            dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.0,
            scale_embedding=True,
            share_encoder_decoder_embeddings=True,
            pad_token_id=0,
            decoder_start_token_id=0,
        )
    ).double()
    table = sinusoidal_table(c.max_len, c.d_model, interleaved=False)
    arrays = {n: p for n, p in theirs.named_parameters() if "embed_positions" not in n}
    for side in (theirs.model.encoder, theirs.model.decoder):
        positions = side.embed_positions.weight
        np.testing.assert_allclose(positions.numpy(), table, rtol=0, atol=1e-7)  # theirs: float32
        with torch.no_grad():
            positions.copy_(torch.tensor(table))
    for module in theirs.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None  # else the table's row of it gets no gradient
    bias = torch.zeros(1, c.vocab_size, dtype=torch.float64, requires_grad=True)
    theirs.final_logits_bias = bias  # a buffer there, trained here
    arrays["final_logits_bias"] = bias
    fill(model, arrays, marian_name)
    assert {marian_name(name) for name in model.params} == set(arrays)
    compare(model, theirs, arrays, marian_name, label_smoothing=0.1)

"""The relative position encodings against Hugging Face's models, values and gradients."""

import numpy as np
import pytest
from dims import B, H, I, K, R, S, T

from npformer import ops

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def rates(width, base):
    return base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


def close(ours, theirs, tolerance=1e-12):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def compare_rotary(theirs, positions=None, **options):
    x, dy = normal(1, B, H, T, K), normal(2, B, H, T, K)
    leaf = torch.tensor(x, requires_grad=True)
    expected = theirs(leaf)
    expected.backward(torch.tensor(dy))
    y, cache = ops.rotary_forward(x, positions, **options)
    assert np.abs(y - x).max() > 0.1
    close(y, expected)
    close(ops.rotary_backward(dy, cache), leaf.grad)


SCATTERED = np.array([[3, 0, 17, 5], [2, 9, 1, 30]])


@pytest.mark.parametrize("base", [10000.0, 50.0])
def test_rotary_in_halves_is_that_of_llama(base):
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    angles = torch.tensor(SCATTERED)[..., None] * rates(K, base)
    angles = torch.cat([angles, angles], -1)

    def theirs(x):
        return apply_rotary_pos_emb(x, x, angles.cos(), angles.sin())[0]

    compare_rotary(theirs, SCATTERED, base=base)


def test_rotary_angles_are_those_of_llama():
    """Their table is made in float32."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    config = transformers.LlamaConfig(
        hidden_size=H * K, num_attention_heads=H, head_dim=K, num_key_value_heads=H
    )
    x = normal(3, B, H, T, K).astype(np.float32)
    tensor = torch.tensor(x)
    cos, sin = LlamaRotaryEmbedding(config)(tensor, torch.tensor(SCATTERED))
    y, _ = ops.rotary_forward(x, SCATTERED)
    assert y.dtype == np.float32
    close(y, apply_rotary_pos_emb(tensor, tensor, cos, sin)[0], 1e-5)


def test_partial_rotary_is_that_of_gpt_neox():
    from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

    angles = torch.arange(T)[None, :, None] * rates(4, 10000.0)
    angles = torch.cat([angles, angles], -1)

    def theirs(x):
        return apply_rotary_pos_emb(x, x, angles.cos(), angles.sin())[0]

    compare_rotary(theirs, rotary_dim=4)


def test_interleaved_rotary_is_that_of_gptj():
    """Partial, as there: the features beyond are appended."""
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb

    angles = torch.tensor(SCATTERED)[..., None] * rates(4, 10000.0)

    def theirs(x):
        tokens = x.transpose(1, 2)
        front = apply_rotary_pos_emb(tokens[..., :4], angles.sin(), angles.cos())
        return torch.cat([front, tokens[..., 4:]], -1).transpose(1, 2)

    compare_rotary(theirs, SCATTERED, rotary_dim=4, interleaved=True)


def test_interleaved_rotary_is_that_of_roformer():
    from transformers.models.roformer.modeling_roformer import RoFormerSelfAttention

    angles = torch.arange(T)[:, None] * rates(K, 10000.0)
    table = torch.cat([angles.sin(), angles.cos()], -1)[None, None]

    def theirs(x):
        return RoFormerSelfAttention.apply_rotary_position_embeddings(table, x, x)[0]

    compare_rotary(theirs, interleaved=True)


@pytest.mark.parametrize("num_heads", [1, 2, 3, 8, 12, 16, 71, 112])
def test_alibi_is_that_of_bloom_up_to_a_shift_of_rows(num_heads):
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    length = 9
    theirs = build_alibi_tensor(torch.ones(2, length), num_heads, torch.float32)
    theirs = theirs.reshape(2, num_heads, 1, length)[:1].numpy()
    ours = ops.alibi_bias(num_heads, length, length)
    np.testing.assert_allclose(ops.alibi_slopes(num_heads), theirs[0, :, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(ours[:, :, :1], theirs, rtol=1e-6)
    shift = ours - theirs  # (1, H, T, S), the same along each row
    np.testing.assert_allclose(shift, np.broadcast_to(shift[..., :1], shift.shape), atol=1e-5)
    scores = normal(4, 1, num_heads, length, length)
    keep = np.tri(length, dtype=bool)[None, None]
    probs = [ops.masked_softmax_forward(scores + bias, keep)[0] for bias in (ours, theirs)]
    np.testing.assert_allclose(*probs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_buckets", [4, 8, R, 32, 64])
@pytest.mark.parametrize("max_distance", [40, 100, 128, 256])
def test_buckets_are_those_of_t5(bidirectional, num_buckets, max_distance):
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = np.arange(-300, 301)
    theirs = T5Attention._relative_position_bucket(
        torch.tensor(distance), bidirectional, num_buckets, max_distance
    )
    ours = ops.relative_bucket(
        distance, num_buckets=num_buckets, max_distance=max_distance, bidirectional=bidirectional
    )
    np.testing.assert_array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("offset", [0, 3])
def test_t5_bias(bidirectional, offset):
    from transformers.models.t5.modeling_t5 import T5Attention

    config = transformers.T5Config(
        d_model=H * K,
        d_kv=K,
        num_heads=H,
        relative_attention_num_buckets=R,
        relative_attention_max_distance=6,
        is_decoder=not bidirectional,
    )
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0).double()
    table, dbias = normal(5, R, H), normal(6, 1, H, T, S)
    weight = theirs.relative_attention_bias.weight
    weight.data = torch.tensor(table)
    expected = theirs.compute_bias(T, S, past_seen_tokens=offset)
    expected.backward(torch.tensor(dbias))
    bias, cache = ops.t5_bias_forward(
        table, T, S, offset=offset, num_buckets=R, max_distance=6, bidirectional=bidirectional
    )
    close(bias, expected)
    close(ops.t5_bias_backward(dbias, cache), weight.grad)


@pytest.mark.parametrize("offset", [0, 3])
def test_shaw_key_against_autograd(offset):
    """Equation 4 with a vector for each pair; transformers has no model with this order."""
    q, table, dscores = normal(7, B, H, T, K), normal(8, I, K), normal(9, B, H, T, S)
    leaves = [torch.tensor(a, requires_grad=True) for a in (q, table)]
    distance = torch.arange(S) - torch.arange(offset, offset + T)[:, None]
    vectors = torch.nn.functional.embedding(distance.clamp(-(I // 2), I // 2) + I // 2, leaves[1])
    expected = torch.einsum("bhtk,tsk->bhts", leaves[0], vectors) / K**0.5
    grads = torch.autograd.grad(expected, leaves, torch.tensor(dscores))
    scores, cache = ops.shaw_key_forward(q, table, S, offset=offset)
    close(scores, expected)
    for ours, theirs in zip(ops.shaw_key_backward(dscores, cache), grads, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("offset", [0, 3])
def test_shaw_value_against_autograd(offset):
    """Equation 3 with a vector for each pair."""
    probs, table, dctx = normal(10, B, H, T, S), normal(11, I, K), normal(12, B, H, T, K)
    leaves = [torch.tensor(a, requires_grad=True) for a in (probs, table)]
    distance = torch.arange(S) - torch.arange(offset, offset + T)[:, None]
    vectors = torch.nn.functional.embedding(distance.clamp(-(I // 2), I // 2) + I // 2, leaves[1])
    expected = torch.einsum("bhts,tsk->bhtk", leaves[0], vectors)
    grads = torch.autograd.grad(expected, leaves, torch.tensor(dctx))
    ctx, cache = ops.shaw_value_forward(probs, table, offset=offset)
    close(ctx, expected)
    for ours, theirs in zip(ops.shaw_value_backward(dctx, cache), grads, strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("offset", [0, 3])
def test_shaw_attention_against_autograd(offset):
    """Equations 3 to 5 as they stand: a key and a value for every pair."""
    arrays = normal(13, B, H, T, K), normal(14, B, H, S, K), normal(15, B, H, S, K)
    arrays += normal(16, I, K), normal(17, I, K)
    dctx, dscores = normal(18, B, H, T, K), normal(19, B, H, T, S)
    keep = np.arange(S) < np.array([3, S])[:, None, None, None]
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    distance = torch.arange(S) - torch.arange(offset, offset + T)[:, None]
    row = distance.clamp(-(I // 2), I // 2) + I // 2
    keys = leaves[1][:, :, None] + leaves[3][row]  # (B, H, T, S, K)
    values = leaves[2][:, :, None] + leaves[4][row]
    scores = torch.einsum("bhtk,bhtsk->bhts", leaves[0], keys) / K**0.5
    probs = scores.masked_fill(torch.tensor(~keep), -torch.inf).softmax(-1)
    ctx = torch.einsum("bhts,bhtsk->bhtk", probs, values)
    grads = torch.autograd.grad((ctx, scores), leaves, (torch.tensor(dctx), torch.tensor(dscores)))
    found, found_scores, cache = ops.shaw_attention_forward(*arrays, keep, offset=offset)
    close(found, ctx)
    close(found_scores, scores)
    ours = ops.shaw_attention_backward(dctx, dscores, cache)
    for own, theirs in zip(ours, grads, strict=True):
        close(own, theirs)


# DeBERTa


@pytest.mark.parametrize("offset", [0, 3])
def test_disentangled_bias_against_autograd(offset):
    """He et al. 2021, equation 4, by gathering whole vectors; test_deberta_torch has the model."""
    q, k = normal(40, B, H, T, K), normal(41, B, H, S, K)
    q_r, k_r = normal(42, H, 4, K), normal(43, H, 4, K)
    dbias = normal(44, B, H, T, S)
    leaves = [torch.tensor(a, requires_grad=True) for a in (q, k, q_r, k_r)]
    distance = np.arange(offset, offset + T)[:, None] - np.arange(S)
    row = torch.tensor(np.clip(distance + 2, 0, 3))
    asked = torch.einsum("bhtd,htsd->bhts", leaves[0], leaves[3][:, row])
    answered = torch.einsum("bhsd,htsd->bhts", leaves[1], leaves[2][:, row])
    expected = 0.7 * (asked + answered)
    grads = torch.autograd.grad(expected, leaves, torch.tensor(dbias))
    bias, cache = ops.disentangled_bias_forward(q, k, q_r, k_r, offset=offset, scale=0.7)
    close(bias, expected)
    for ours, theirs in zip(ops.disentangled_bias_backward(dbias, cache), grads, strict=True):
        close(ours, theirs)

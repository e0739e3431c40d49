"""Attention: what it computes, and why in this way."""

import numpy as np

from npformer import layers, ops
from npformer.exercises.quiz.card import card


@card("transformer-idea", exercises=("scaled-dot-product",), docs="interview.md")
def one_step_whatever_the_distance():
    """What is the core idea of the Transformer?

    Every position reads every other one directly: its new state is an average of all values,
    weighted by how well its query matches their keys. Any two tokens are one step apart and all
    positions are computed at once; the price grows with T^2. Feed-forward layers, residuals and
    layer norm make it a deep network.

    Is a Transformer an encoder-decoder? The first one was. BERT is an encoder alone, GPT a decoder
    alone."""
    rng = np.random.default_rng(0)
    config = layers.BlockConfig(d_model=12, num_heads=3, d_ff=20, initializer_range=0.5)
    block = layers.EncoderBlock.init(config, rng, np.float64)
    x = rng.normal(size=(1, 60, 12))  # (B, T, D)
    _, cache = block.forward(x)
    dlast = np.zeros_like(x)
    dlast[:, -1] = rng.normal(size=12)  # only the last position has a loss
    (dx, _), _ = block.backward(layers.AttentionOutput(dlast, None), cache)
    assert np.abs(dx).max(axis=(0, 2)).min() > 1e-6  # one layer reaches every position

    kernel = rng.normal(size=3)  # a convolution sees its neighbours alone
    signal = rng.normal(size=60)
    moved = signal.copy()
    moved[0] += 1
    change = np.convolve(moved, kernel, "same") - np.convolve(signal, kernel, "same")
    assert np.flatnonzero(change).max() == 1


@card("multi-head-steps", exercises=("multi-head-attention", "split-heads"), docs="interview.md")
def multi_head_by_hand():
    """Go through multi-head self-attention step by step.

    Project x to q, k, v; split each into H heads of K = D/H features; scores `q k^T / sqrt(K)`;
    hide padded keys; softmax over the keys; average the values with these weights; join the heads;
    multiply by w_o.

    Which steps do circulating answers leave out? The scale, the mask and the output projection; and
    each head has D/H features, not D."""
    rng = np.random.default_rng(1)
    batch, length, width, heads = 2, 5, 12, 3
    config = layers.AttentionConfig(d_model=width, num_heads=heads, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(batch, length, width))
    keep = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
    p, parts = layer.params, {}
    for name in "qkv":  # 1 project, 2 split: (B, T, D) -> (B, H, T, K)
        projected = x @ p[f"w_{name}"] + p[f"b_{name}"]
        parts[name] = projected.reshape(batch, length, heads, 4).transpose(0, 2, 1, 3)
    scores = parts["q"] @ parts["k"].swapaxes(2, 3) / np.sqrt(4)  # 3 scaled scores
    scores = np.where(keep[:, None, None, :], scores, -1e30)  # 4 no padded keys
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)  # 5 softmax over the keys
    context = (weights @ parts["v"]).transpose(0, 2, 1, 3).reshape(x.shape)  # 6 average, join
    expected = context @ p["w_o"] + p["b_o"]  # 7 mix the heads
    output, _ = layer.forward(x, keep=keep)
    assert np.allclose(output.y, expected, atol=1e-12)


@card(
    "scaled-dot-product",
    exercises=("scaled-dot-product", "softmax"),
    docs="derivations/attention.md",
)
def context_is_an_average():
    """Write down scaled dot-product attention, with shapes. What kind of object is its output?

    `softmax(q k^T / sqrt(K)) v` with q (T, K), k (S, K), v (S, K'): weights (T, S), output (T, K').
    Each row is a weighted average of the values: positive weights that sum to 1.

    Over which axis is the softmax? Over the keys, the last one. Over the queries the shapes would
    fit as well, but the rows would no longer be averages."""
    rng = np.random.default_rng(2)
    q, k = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 6, 5))  # (B, H, T or S, K)
    v = rng.normal(size=(2, 3, 6, 7))
    context, scores, _ = ops.attention_forward(q, k, v)
    weights = np.exp(np.einsum("bhtd,bhsd->bhts", q, k) / np.sqrt(5))
    weights /= weights.sum(axis=-1, keepdims=True)
    assert np.allclose(context, np.einsum("bhts,bhsd->bhtd", weights, v))
    assert scores.shape == (2, 3, 4, 6)
    lowest, highest = v.min(axis=2, keepdims=True), v.max(axis=2, keepdims=True)
    assert np.all((lowest < context) & (context < highest))  # an average leaves no range


@card(
    "why-sqrt-d",
    exercises=("scaled-dot-product", "attention-backward"),
    docs="derivations/attention.md",
)
def variance_of_a_dot_product():
    """Why are the scores divided by sqrt(d_k)? Give the argument, not the name.

    If the entries of q and k are independent with mean 0 and variance 1, each product of two has
    variance 1 and their sum has variance d_k. Undivided, scores of size sqrt(d_k) drive the softmax
    towards one-hot, where its gradient vanishes; divided, the variance is 1 for every head size.

    Why not divide by d_k? Then the variance would be 1/d_k: at the start all weights would be
    nearly equal. Dividing by d_k fits if q and k are aligned rather than independent."""
    rng = np.random.default_rng(3)
    for size in (16, 64, 256):
        q, k = rng.normal(size=(1, 1, 900, size)), rng.normal(size=(1, 1, 12, size))
        raw, _ = ops.attention_scores_forward(q, k, scale=1.0)
        scaled, _ = ops.attention_scores_forward(q, k)
        assert abs(raw.var() / size - 1) < 0.2
        assert abs(scaled.var() - 1) < 0.2
    dprobs = rng.normal(size=raw.shape)  # of the largest size, 256
    back = []
    for scores in (raw, scaled):
        _, cache = ops.softmax_forward(scores)
        back.append(np.median(np.linalg.norm(ops.softmax_backward(dprobs, cache), axis=-1)))
    assert back[0] < back[1] / 10  # saturated: hardly anything comes back


@card("separate-q-and-k", exercises=("scores-gradient",), docs="derivations/attention.md")
def one_matrix_is_symmetric():
    """Why do queries and keys have different weight matrices?

    With one matrix the scores `x W W^T x^T` are symmetric and positive semidefinite: t cares for s
    exactly as s for t, and each token always has a positive score with itself. Two matrices give
    any bilinear form of rank K: a verb can look for its subject without the converse.

    Are the *weights* symmetric with one matrix? No: the scores are, but the softmax divides each
    row by its own sum."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(7, 5))
    w_q, w_k = rng.normal(size=(2, 5, 5))
    shared = (x @ w_q) @ (x @ w_q).T
    separate = (x @ w_q) @ (x @ w_k).T
    assert np.allclose(shared, shared.T)  # s matters to t as much as t to s
    assert np.linalg.eigvalsh(shared).min() > -1e-9  # and no token can turn away from itself
    assert np.diag(shared).min() > 0
    assert np.abs(separate - separate.T).max() > 1
    assert np.diag(separate).min() < 0


@card("dot-or-additive", exercises=("scaled-dot-product",), docs="derivations/attention.md")
def dot_grows_additive_does_not():
    """Dot-product or additive attention: how do cost and quality compare?

    The same order of multiply-adds, but the dot product is one matrix product, while
    `u . tanh(q + k)` needs K numbers for every pair in memory. Additive scores are bounded by tanh;
    dot products grow with the head size, so unscaled they do worse for large K. The factor
    1/sqrt(K) mends that.

    Is additive attention more expressive? Its score of a single pair is nonlinear, but the sum
    inside tanh sees q and k only through q + k; in practice scaled dot products lose nothing."""
    rng = np.random.default_rng(5)
    q, k, u = rng.normal(size=(6, 8)), rng.normal(size=(9, 8)), rng.normal(size=8)

    def additive(factor):
        hidden = np.tanh(factor * q[:, None, :] + factor * k[None, :, :])  # (T, S, K)
        return hidden @ u, hidden

    scores, hidden = additive(1.0)
    assert hidden.size == 8 * scores.size  # K numbers for each pair instead of one
    assert np.abs(additive(100.0)[0]).max() <= np.abs(u).sum()  # bounded by tanh
    assert np.allclose((100 * q) @ (100 * k).T, 1e4 * (q @ k.T))  # grows with the square

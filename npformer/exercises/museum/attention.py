"""Attention: who asks whom, and who asks nobody."""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import bug


def cross_attention(x, memory, w_q, w_k, w_v):
    """Attend from x (B, T, D) to memory (B, S, D), one head; weights (D, K), result (B, T, K)."""
    q, k, v = x @ w_q, memory @ w_k, memory @ w_v
    ctx, _, _ = ops.attention_forward(q[:, None], k[:, None], v[:, None])
    return ctx[:, 0]


def test_a_shorter_memory(fn):
    rng = np.random.default_rng(0)
    w_q, w_k, w_v = rng.normal(size=(3, 6, 4))
    y = fn(rng.normal(size=(2, 5, 6)), rng.normal(size=(2, 3, 6)), w_q, w_k, w_v)
    assert y.shape == (2, 5, 4)


@bug(
    "cross-attention-swapped",
    right=cross_attention,
    witness=test_a_shorter_memory,
    exercise="cross-attention",
    tracks=("interview", "class"),
)
def asked_the_wrong_way_round(x, memory, w_q, w_k, w_v):
    r"""The decoder is asked by the encoder

    An encoder-decoder notebook passed three sequences to its attention in the wrong order: queries
    and keys came from the encoder, values from the decoder. Where both are padded to one length the
    shapes fit and nothing is heard of it, though the decoder reads its own values only. With two
    lengths it crashes.

    `cross_attention(x, memory, w_q, w_k, w_v)`: one head, no mask, no biases. Queries come from `x`
    (B, T, D), keys and values from `memory` (B, S, D); the weights are (D, K). Returns
    $\operatorname{softmax}(q k^\top/\sqrt K)\,v$ of shape (B, T, K).

    T and S of different size. At equal sizes: the result must not depend on x if memory is one and
    the same vector at every place."""
    q, k, v = memory @ w_q, memory @ w_k, x @ w_v
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ v


def attention_weights(scores, keep):
    """Return the weights (B, T, S) over kept keys; scores: (B, T, S), keep: (B, S) booleans."""
    probs, _ = ops.masked_softmax_forward(scores, keep[:, None, :])
    return probs


def test_a_sentence_without_tokens(fn):
    scores = np.random.default_rng(0).normal(size=(2, 3, 4))
    keep = np.array([[True, True, False, False], [False, False, False, False]])
    probs = fn(scores, keep)
    assert np.allclose(probs.sum(axis=-1), [[1, 1, 1], [0, 0, 0]])


@bug(
    "fully-masked-row-of-nan",
    right=attention_weights,
    witness=test_a_sentence_without_tokens,
    exercise="fully-masked-row",
    tracks=("interview", "class"),
)
def minus_infinity(scores, keep):
    """Nobody to attend to

    Masked scores are set to minus infinity, also in the attention of the blog post that this
    project answers. In a row where nothing is left the softmax divides 0 by 0, the sentence becomes
    NaN, and its gradient turns the weights of all others to NaN.

    `attention_weights(scores, keep)` returns the softmax over the last axis of `scores` (B, T, S)
    among the kept keys only. `keep` is boolean, (B, S), True = real token. Other keys get weight 0.
    A sentence that keeps nothing has weights 0 everywhere.

    A sentence whose keep is all False: right is zeros, wrong is NaN. A NaN is not equal to itself,
    so `assert not (a != b).any()` finds it and `assert not (a > b).any()` does not."""
    masked = np.where(keep[:, None, :], scores, -np.inf)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)

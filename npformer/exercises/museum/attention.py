"""Attention: who asks whom, and who asks nobody."""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.text import Text


def cross_attention(x, memory, w_q, w_k, w_v):
    """Attend from x (B, T, D) to memory (B, S, D), one head; weights (D, K), result (B, T, K)."""
    q, k, v = x @ w_q, memory @ w_k, memory @ w_v
    ctx, _, _ = ops.attention_forward(q[:, None], k[:, None], v[:, None])
    return ctx[:, 0]


def asked_the_wrong_way_round(x, memory, w_q, w_k, w_v):
    q, k, v = memory @ w_q, memory @ w_k, x @ w_v
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ v


def test_a_shorter_memory(fn):
    rng = np.random.default_rng(0)
    w_q, w_k, w_v = rng.normal(size=(3, 6, 4))
    y = fn(rng.normal(size=(2, 5, 6)), rng.normal(size=(2, 3, 6)), w_q, w_k, w_v)
    assert y.shape == (2, 5, 4)


CROSS_ATTENTION_SWAPPED = Bug(
    id="cross-attention-swapped",
    title=Text("The decoder is asked by the encoder", "编码器反过来向解码器提问"),
    story=Text(
        "An encoder-decoder notebook passed three sequences to its attention in the wrong order: "
        "queries and keys came from the encoder, values from the decoder. Where both are padded to "
        "one length the shapes fit and nothing is heard of it, though the decoder reads its own "
        "values only. With two lengths it crashes.",
        "一个编码器–解码器的笔记本把三个序列按错误的顺序传给注意力：query 和 key 来自编码器，value 来自"
        "解码器。两边若填充到同一长度，形状正好吻合，不会报错，但解码器读到的只是自己的 value。"
        "两边长度不同就会崩溃。",
    ),
    statement=Text(
        "`cross_attention(x, memory, w_q, w_k, w_v)`: one head, no mask, no biases. Queries come "
        "from `x` (B, T, D), keys and values from `memory` (B, S, D); the weights are (D, K). "
        "Returns $\\operatorname{softmax}(q k^\\top/\\sqrt K)\\,v$ of shape (B, T, K).",
        "`cross_attention(x, memory, w_q, w_k, w_v)`：单头，无掩码，无偏置。query 来自 `x` "
        "(B, T, D)，key 与 value 来自 `memory` (B, S, D)，权重为 (D, K)。"
        "返回 $\\operatorname{softmax}(q k^\\top/\\sqrt K)\\,v$，形状 (B, T, K)。",
    ),
    right=cross_attention,
    wrong=asked_the_wrong_way_round,
    symptom=Text(
        "T and S of different size. At equal sizes: the result must not depend on x if memory is "
        "one and the same vector at every place.",
        "让 T 与 S 不同。若二者相等：memory 各处是同一个向量时，结果应与 x 无关。",
    ),
    witness=test_a_shorter_memory,
    topic="attention",
    tracks=("interview", "class"),
    exercise="cross-attention",
)


def attention_weights(scores, keep):
    """Return the weights (B, T, S) over kept keys; scores: (B, T, S), keep: (B, S) booleans."""
    probs, _ = ops.masked_softmax_forward(scores, keep[:, None, :])
    return probs


def minus_infinity(scores, keep):
    masked = np.where(keep[:, None, :], scores, -np.inf)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_a_sentence_without_tokens(fn):
    scores = np.random.default_rng(0).normal(size=(2, 3, 4))
    keep = np.array([[True, True, False, False], [False, False, False, False]])
    probs = fn(scores, keep)
    assert np.allclose(probs.sum(axis=-1), [[1, 1, 1], [0, 0, 0]])


FULLY_MASKED_ROW = Bug(
    id="fully-masked-row-of-nan",
    title=Text("Nobody to attend to", "没有任何可以关注的位置"),
    story=Text(
        "Masked scores are set to minus infinity, also in the attention of the blog post that this "
        "project answers. In a row where nothing is left the softmax divides 0 by 0, the "
        "sentence becomes NaN, and its gradient turns the weights of all others to NaN.",
        "被屏蔽的分数设为负无穷，本项目所回应的那篇博客的注意力也是如此。若一行什么也没剩下，"
        "softmax 就是 0 除以 0，这个句子变成 NaN，它的梯度再把所有权重变成 NaN。",
    ),
    statement=Text(
        "`attention_weights(scores, keep)` returns the softmax over the last axis of `scores` "
        "(B, T, S) among the kept keys only. `keep` is boolean, (B, S), True = real token. Other "
        "keys get weight 0. A sentence that keeps nothing has weights 0 everywhere.",
        "`attention_weights(scores, keep)` 对 `scores` (B, T, S) 的最后一个轴做 softmax，只在保留的 "
        "key 之间进行。`keep` 为布尔数组 (B, S)，True = 真实词元。其余 key 的权重为 0；"
        "一个词元也不保留的句子，权重全部为 0。",
    ),
    right=attention_weights,
    wrong=minus_infinity,
    symptom=Text(
        "A sentence whose keep is all False: right is zeros, wrong is NaN. A NaN is not equal to "
        "itself, so `assert not (a != b).any()` finds it and `assert not (a > b).any()` does not.",
        "取一个 keep 全为 False 的句子：正确的结果是零，错误的结果是 NaN。NaN 不等于自身，"
        "所以 `assert not (a != b).any()` 能发现它，`assert not (a > b).any()` 发现不了。",
    ),
    witness=test_a_sentence_without_tokens,
    topic="attention",
    tracks=("interview", "class"),
    exercise="fully-masked-row",
)

BUGS = (CROSS_ATTENTION_SWAPPED, FULLY_MASKED_ROW)

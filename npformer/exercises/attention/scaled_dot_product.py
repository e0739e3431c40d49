"""Scaled dot-product attention, forward and without a mask."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.by_hand import softmax, transpose
from npformer.exercises.attention.draw import qkv
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def scaled_dot_product(q, k, v):
    """Return ctx (B, H, T, K) and probs (B, H, T, S).

    q: (B, H, T, K); k, v: (B, H, S, K).
    """
    ctx, _, cache = ops.attention_forward(q, k, v)
    return ctx, cache.softmax.probs


def scaled_dot_product_cases(rng):
    """Return queries, keys and values of several shapes, some with huge scores."""
    huge = qkv(rng, 2, 3, 5, 7, 11)
    return [
        Case(qkv(rng, 2, 3, 5, 7, 11)),
        Case(qkv(rng, 3, 2, 11, 5, 13)),
        Case(qkv(rng, 2, 1, 5, 7, 3), "one head"),
        Case(qkv(rng, 2, 3, 1, 7, 5), "one query"),
        Case(qkv(rng, 2, 3, 5, 1, 7), "one key"),
        Case({**huge, "q": 1000 * huge["q"]}, "huge scores"),
    ]


def without_scale(q, k, v):
    probs = softmax(q @ transpose(k))
    return probs @ v, probs


def divided_by_k(q, k, v):
    probs = softmax(q @ transpose(k) / q.shape[-1])
    return probs @ v, probs


def multiplied_by_sqrt_k(q, k, v):
    probs = softmax(q @ transpose(k) * np.sqrt(q.shape[-1]))
    return probs @ v, probs


def divided_by_sqrt_d(q, k, v):
    d_model = q.shape[1] * q.shape[-1]
    probs = softmax(q @ transpose(k) / np.sqrt(d_model))
    return probs @ v, probs


def divided_by_sqrt_s(q, k, v):
    probs = softmax(q @ transpose(k) / np.sqrt(k.shape[-2]))
    return probs @ v, probs


def scaled_after_the_softmax(q, k, v):
    probs = softmax(q @ transpose(k)) / np.sqrt(q.shape[-1])
    return probs @ v, probs


def softmax_over_queries(q, k, v):
    scores = q @ transpose(k) / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max(axis=-2, keepdims=True))
    probs = e / e.sum(axis=-2, keepdims=True)
    return probs @ v, probs


def without_shift(q, k, v):
    e = np.exp(q @ transpose(k) / np.sqrt(q.shape[-1]))
    probs = e / e.sum(axis=-1, keepdims=True)
    return probs @ v, probs


def without_softmax(q, k, v):
    scores = q @ transpose(k) / np.sqrt(q.shape[-1])
    return scores @ v, scores


def scaled_dot_product_steps(q, k, v):
    scores = q @ transpose(k) / np.sqrt(q.shape[-1])
    return {"scores": scores, "probs": softmax(scores)}


SCALED_DOT_PRODUCT = Exercise(
    id="scaled-dot-product",
    title=Text("Scaled dot-product attention", "缩放点积注意力"),
    statement=Text(
        "Each of T queries takes an average of S values. How much of each is decided by the inner "
        "product of the query with the value's key:\n\n"
        "$$\\mathrm{scores}_{ts} = \\frac{1}{\\sqrt K}\\sum_d q_{td}\\,k_{sd}, \\qquad "
        "\\mathrm{probs} = \\operatorname{softmax}(\\mathrm{scores}), \\qquad "
        "\\mathrm{ctx}_{td} = \\sum_s \\mathrm{probs}_{ts}\\,v_{sd}$$\n\n"
        "`q` is (B, H, T, K), `k` and `v` are (B, H, S, K); every sequence and every head is on "
        "its own, and T need not be S. The weights of a query sum to 1 over the keys. Return "
        "`ctx` (B, H, T, K) and `probs` (B, H, T, S), in this order. Huge scores must not overflow.",
        "T 个 query 各自对 S 个 value 求加权平均，权重由 query 与各个 key 的内积决定：\n\n"
        "$$\\mathrm{scores}_{ts} = \\frac{1}{\\sqrt K}\\sum_d q_{td}\\,k_{sd}, \\qquad "
        "\\mathrm{probs} = \\operatorname{softmax}(\\mathrm{scores}), \\qquad "
        "\\mathrm{ctx}_{td} = \\sum_s \\mathrm{probs}_{ts}\\,v_{sd}$$\n\n"
        "`q` 的形状为 (B, H, T, K)，`k` 和 `v` 为 (B, H, S, K)；各序列、各头互不相干，T 不必等于 S。"
        "每个 query 的权重沿 key 求和为 1。依次返回 `ctx` (B, H, T, K) 和 `probs` (B, H, T, S)。"
        "分数很大时不能溢出。",
    ),
    reference=scaled_dot_product,
    library=(ops.attention_scores_forward, ops.attention_mix_forward, ops.attention_forward),
    outputs=("ctx", "probs"),
    cases=scaled_dot_product_cases,
    hints=(
        Text(
            "Three steps: scores from q and k, a softmax over the keys, a product with v. `@` "
            "works on the last two axes and carries B and H along.",
            "分三步：由 q 和 k 算分数，沿 key 做 softmax，再与 v 相乘。`@` 只作用于最后两个轴，B 和 H 自动跟随。",
        ),
        Text(
            "$\\mathrm{scores} = q k^\\top/\\sqrt K$ is (T, S) for each head. The keys are its last "
            "axis: the softmax goes over that one, after the row's maximum has been subtracted.",
            "$\\mathrm{scores} = q k^\\top/\\sqrt K$，每个头一个 (T, S) 矩阵。最后一个轴是 key：先减去每行的最大值，"
            "再沿这个轴做 softmax。",
        ),
        Text(
            "`scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5`, "
            "`e = np.exp(scores - scores.max(axis=-1, keepdims=True))`, "
            "`probs = e / e.sum(axis=-1, keepdims=True)`, and `ctx = probs @ v`.",
            "`scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5`，"
            "`e = np.exp(scores - scores.max(axis=-1, keepdims=True))`，"
            "`probs = e / e.sum(axis=-1, keepdims=True)`，最后 `ctx = probs @ v`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "scale-missing",
            without_scale,
            Text(
                "the scores are not scaled: an inner product of K terms has variance K, and the "
                "softmax saturates. Divide by $\\sqrt K$.",
                "分数没有缩放：K 项内积的方差是 K，softmax 会饱和。要除以 $\\sqrt K$。",
            ),
        ),
        Misconception(
            "scaled-by-K",
            divided_by_k,
            Text(
                "the scores are divided by K, expected $\\sqrt K$: their variance is K, so their "
                "standard deviation is $\\sqrt K$.",
                "分数除以了 K，应当除以 $\\sqrt K$：方差是 K，标准差才是 $\\sqrt K$。",
            ),
        ),
        Misconception(
            "multiplied-by-sqrt-K",
            multiplied_by_sqrt_k,
            Text(
                "the scores are multiplied by $\\sqrt K$, expected divided.",
                "分数乘了 $\\sqrt K$，应当除以它。",
            ),
        ),
        Misconception(
            "scaled-by-sqrt-D",
            divided_by_sqrt_d,
            Text(
                "the scores are divided by $\\sqrt D$ with D = H K, the width of all heads "
                "together: a head's inner product has only K terms, so it is $\\sqrt K$.",
                "分数除以了 $\\sqrt D$，D = H K 是所有头合起来的宽度：一个头的内积只有 K 项，应当除以 $\\sqrt K$。",
            ),
        ),
        Misconception(
            "scaled-by-sqrt-S",
            divided_by_sqrt_s,
            Text(
                "the scores are divided by the root of the number of keys; K is the last axis of "
                "q, the length of a key.",
                "分数除以了 key 的个数的平方根；K 是 q 的最后一个轴，也就是每个 key 的维数。",
            ),
        ),
        Misconception(
            "scaled-after-the-softmax",
            scaled_after_the_softmax,
            Text(
                "the scale comes after the softmax, so the weights of a query sum to "
                "$1/\\sqrt K$. It belongs to the scores, before the softmax.",
                "缩放放在了 softmax 之后，于是每个 query 的权重之和是 $1/\\sqrt K$。应当在 softmax 之前缩放分数。",
            ),
        ),
        Misconception(
            "softmax-over-queries",
            softmax_over_queries,
            Text(
                "the softmax goes over the queries (axis -2): the weights must sum to 1 over the "
                "keys, the last axis.",
                "softmax 沿 query（轴 -2）做了：权重应当沿 key 求和为 1，即最后一个轴。",
            ),
        ),
        Misconception(
            "no-shift",
            without_shift,
            Text(
                "exp overflows: subtract the maximum of each row of scores before it.",
                "exp 溢出了：先减去分数每行的最大值。",
            ),
        ),
        Misconception(
            "softmax-missing",
            without_softmax,
            Text(
                "the values are mixed with the scores themselves: a softmax over the keys makes "
                "weights of them first.",
                "直接用分数去混合 value 了：要先沿 key 做 softmax，把分数变成权重。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=6,
    steps=scaled_dot_product_steps,
    factors=lambda q, k, v: {"sqrt(K)": np.sqrt(q.shape[-1]), "T": q.shape[-2], "S": k.shape[-2]},
    docs="derivations/attention.md",
)

EXERCISES = (SCALED_DOT_PRODUCT,)

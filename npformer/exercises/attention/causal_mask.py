"""Attention that does not see the future."""

import numpy as np

from npformer import layers, ops
from npformer.exercises.attention.by_hand import masked_softmax, softmax, transpose
from npformer.exercises.attention.draw import qkv
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def causal_attention(q, k, v):
    """Return ctx (B, H, T, K) and probs (B, H, T, S).

    q: (B, H, T, K), of the last T tokens; k, v: (B, H, S, K), of all S of them; T <= S.
    """
    t, s = q.shape[2], k.shape[2]
    keep = layers.attention.causal_keep(None, s)[:, :, s - t :]
    ctx, _, cache = ops.attention_forward(q, k, v, keep)
    return ctx, cache.softmax.probs


def causal_attention_cases(rng):
    """Return texts read at once, and texts of which a part was read before."""
    low = qkv(rng, 2, 3, 5, 5, 7)
    return [
        Case(qkv(rng, 2, 3, 5, 5, 7)),
        Case(qkv(rng, 3, 2, 5, 7, 11)),
        Case(qkv(rng, 2, 3, 1, 5, 7), "one new token"),
        Case(qkv(rng, 2, 3, 1, 1, 7), "the first token"),
        Case(qkv(rng, 2, 1, 3, 7, 5), "one head"),
        Case({**low, "q": 1000 * low["q"]}, "huge scores"),
    ]


def _scores(q, k):
    return q @ transpose(k) / np.sqrt(q.shape[-1])


def without_offset(q, k, v):
    probs = masked_softmax(_scores(q, k), np.tri(q.shape[2], k.shape[2], dtype=bool))
    return probs @ v, probs


def offset_reversed(q, k, v):
    scores = _scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-2] - scores.shape[-1], dtype=bool)
    probs = softmax(np.where(keep, scores, -1e30))
    return probs @ v, probs


def future_only(q, k, v):
    scores = _scores(q, k)
    keep = np.triu(np.ones(scores.shape[-2:], bool), scores.shape[-1] - scores.shape[-2])
    probs = masked_softmax(scores, keep)
    return probs @ v, probs


def without_itself(q, k, v):
    scores = _scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2] - 1, dtype=bool)
    probs = softmax(np.where(keep, scores, -1e30))
    return probs @ v, probs


def with_the_next(q, k, v):
    scores = _scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2] + 1, dtype=bool)
    probs = masked_softmax(scores, keep)
    return probs @ v, probs


def after_the_softmax(q, k, v):
    scores = _scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2])
    probs = softmax(scores) * keep
    return probs @ v, probs


def multiplied(q, k, v):
    scores = _scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2])
    probs = softmax(scores * keep)
    return probs @ v, probs


def without_mask(q, k, v):
    probs = softmax(_scores(q, k))
    return probs @ v, probs


def causal_attention_steps(q, k, v):
    keep = np.tri(q.shape[2], k.shape[2], k.shape[2] - q.shape[2], dtype=bool)
    return {"probs": masked_softmax(_scores(q, k), keep)}


CAUSAL_MASK = Exercise(
    id="causal-mask",
    title=Text("The causal mask", "因果掩码"),
    statement=Text(
        "In a decoder a token attends to itself and to those before it. The S keys are those of "
        "all tokens so far; the T queries are those of the **last** T of them, T ≤ S, because "
        "the others may have been read earlier. So query $t$ stands at position $S - T + t$:\n\n"
        "$$\\mathrm{keep}_{ts} = [\\,s \\le S - T + t\\,], \\qquad "
        "\\mathrm{probs} = \\operatorname{softmax}_{\\mathrm{keep}}\\Bigl(\\frac{q k^\\top}{\\sqrt K}"
        "\\Bigr), \\qquad \\mathrm{ctx} = \\mathrm{probs}\\,v$$\n\n"
        "`q` is (B, H, T, K), `k` and `v` are (B, H, S, K). Hidden keys have weight exactly 0. "
        "Return `ctx` (B, H, T, K) and `probs` (B, H, T, S), in this order.",
        "在解码器中，每个词元只关注自己和它之前的词元。S 个 key 来自到目前为止的所有词元；T 个 query 来自其中**最后** "
        "T 个 (T ≤ S)，因为更前面的可能已经处理过了。所以 query $t$ 位于位置 $S - T + t$：\n\n"
        "$$\\mathrm{keep}_{ts} = [\\,s \\le S - T + t\\,], \\qquad "
        "\\mathrm{probs} = \\operatorname{softmax}_{\\mathrm{keep}}\\Bigl(\\frac{q "
        "k^\\top}{\\sqrt K}\\Bigr), \\qquad \\mathrm{ctx} = \\mathrm{probs}\\,v$$\n\n"
        "`q` 的形状为 (B, H, T, K)，`k` 和 `v` 为 (B, H, S, K)。被屏蔽的 key 权重恰好为 0。"
        "依次返回 `ctx` (B, H, T, K) 和 `probs` (B, H, T, S)。",
    ),
    reference=causal_attention,
    library=(layers.attention.causal_keep, ops.masked_softmax_forward, ops.attention_forward),
    outputs=("ctx", "probs"),
    cases=causal_attention_cases,
    hints=(
        Text(
            "Draw the T by S mask for T = 2, S = 5: the last row is all True, and each row above "
            "has one True less.",
            "画出 T = 2、S = 5 时的掩码：最后一行全为 True，往上每一行少一个 True。",
        ),
        Text(
            "It is a lower triangle aligned with the bottom right corner: $s \\le t + (S - T)$. "
            "Scores outside get a number below any score, then comes the softmax.",
            "这是一个与右下角对齐的下三角：$s \\le t + (S - T)$。三角以外的分数换成极低的数，再做 softmax。",
        ),
        Text(
            "`keep = np.tri(t, s, s - t, dtype=bool)` with t, s the two lengths; "
            "`scores = np.where(keep, scores, -1e30)`; the softmax over the last axis; `probs @ v`.",
            "`keep = np.tri(t, s, s - t, dtype=bool)`，t、s 为两个长度；"
            "`scores = np.where(keep, scores, -1e30)`；沿最后一个轴做 softmax；`probs @ v`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "offset-missing",
            without_offset,
            Text(
                "the triangle is aligned with the top left corner, as if the queries were the "
                "first T tokens. They are the last T: shift the diagonal by S - T.",
                "三角与左上角对齐了，好像 query 是最前面的 T 个词元。它们是最后 T 个：对角线要平移 S - T。",
            ),
        ),
        Misconception(
            "offset-reversed",
            offset_reversed,
            Text(
                "the diagonal is shifted to the wrong side, by T - S, expected S - T: the last "
                "query must see all keys.",
                "对角线平移的方向反了，移了 T - S，应为 S - T：最后一个 query 必须看到所有的 key。",
            ),
        ),
        Misconception(
            "future-only",
            future_only,
            Text(
                "the triangle is the upper one: tokens see the future and not the past.",
                "用成了上三角：词元看到的是未来而不是过去。",
            ),
        ),
        Misconception(
            "own-token-hidden",
            without_itself,
            Text(
                "a token does not see itself: the diagonal belongs to the kept keys ($\\le$, "
                "not $<$). The first token has nothing else.",
                "词元看不到自己：对角线也要保留（是 $\\le$ 而不是 $<$）。第一个词元除了自己什么都没有。",
            ),
        ),
        Misconception(
            "next-token-seen",
            with_the_next,
            Text(
                "a token sees the next one, which is what it is to predict: the diagonal is one "
                "too high.",
                "词元看到了下一个词元，而那正是要预测的：对角线高了一格。",
            ),
        ),
        Misconception(
            "after-the-softmax",
            after_the_softmax,
            Text(
                "the mask comes after the softmax: the weights of a query sum to less than 1, and "
                "the future is still in the denominator. Mask the scores before it.",
                "掩码放在了 softmax 之后：权重之和小于 1，而且分母里仍有未来的信息。应当在 softmax 之前屏蔽分数。",
            ),
        ),
        Misconception(
            "scores-multiplied",
            multiplied,
            Text(
                "the scores are multiplied by the mask: a hidden key has the score 0, and "
                "exp(0) = 1. Make it very low instead.",
                "分数乘了掩码：被屏蔽的 key 分数为 0，而 exp(0) = 1。应当换成极低的数。",
            ),
        ),
        Misconception(
            "mask-missing",
            without_mask,
            Text(
                "there is no mask: every token sees the future.",
                "没有掩码：每个词元都看到了未来。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=8,
    steps=causal_attention_steps,
    factors=lambda q, k, v: {"sqrt(K)": np.sqrt(q.shape[-1]), "T": q.shape[2], "S": k.shape[2]},
    docs="derivations/cross_attention.md",
)

EXERCISES = (CAUSAL_MASK,)

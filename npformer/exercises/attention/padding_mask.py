"""Attention that does not see padding."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.by_hand import masked_softmax, softmax, transpose
from npformer.exercises.attention.draw import padding, qkv
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def padding_mask(q, k, v, keep):
    """Return ctx (B, H, T, K) and probs (B, H, T, S).

    q: (B, H, T, K); k, v: (B, H, S, K); keep: boolean (B, S), True = real token.
    """
    ctx, _, cache = ops.attention_forward(q, k, v, keep[:, None, None, :])
    return ctx, cache.softmax.probs


def padding_mask_cases(rng):
    """Return masks with holes, with one real key and with none hidden, and huge masked scores."""

    def case(b, h, t, s, k, part=""):
        return Case({**qkv(rng, b, h, t, s, k), "keep": padding(rng, b, s)}, part)

    nothing = case(2, 3, 5, 7, 11, "no padding").args
    single = case(2, 3, 5, 7, 11, "one real key").args
    high = case(2, 3, 5, 7, 11).args
    # Keys along the queries' direction; in one sequence those of the padding are 10000 times as long.
    short = high["keep"][:, None, :, None] | np.array([False, True])[:, None, None, None]
    long = np.where(short, 1.0, 1e4) * (1 + rng.random((2, 3, 7, 11)))
    return [
        case(2, 3, 5, 7, 11),
        case(3, 2, 11, 5, 13),
        case(2, 1, 7, 7, 5, "equal lengths"),
        Case({**nothing, "keep": np.ones((2, 7), bool)}, "no padding"),
        Case({**single, "keep": np.arange(7) == np.array([[2], [5]])}, "one real key"),
        Case({**high, "q": 1 + rng.random((2, 3, 5, 11)), "k": long}, "huge hidden scores"),
    ]


def _scores(q, k):
    return q @ transpose(k) / np.sqrt(q.shape[-1])


def inverted(q, k, v, keep):
    scores = np.where(keep[:, None, None, :], -1e30, _scores(q, k))
    probs = softmax(scores)
    return probs @ v, probs


def multiplied(q, k, v, keep):
    probs = softmax(_scores(q, k) * keep[:, None, None, :])
    return probs @ v, probs


def added_as_it_is(q, k, v, keep):
    probs = softmax(_scores(q, k) + keep[:, None, None, :])
    return probs @ v, probs


def after_the_softmax(q, k, v, keep):
    probs = softmax(_scores(q, k)) * keep[:, None, None, :]
    return probs @ v, probs


def after_the_softmax_renormalized(q, k, v, keep):
    probs = softmax(_scores(q, k)) * keep[:, None, None, :]
    probs = probs / probs.sum(axis=-1, keepdims=True)
    return probs @ v, probs


def penalty_too_small(q, k, v, keep):
    probs = softmax(_scores(q, k) - 1e4 * ~keep[:, None, None, :])
    return probs @ v, probs


def queries_masked(q, k, v, keep):
    scores = np.where(keep[:, None, :, None], _scores(q, k), -1e30)
    probs = softmax(scores)
    return probs @ v, probs


def without_scale(q, k, v, keep):
    scores = np.where(keep[:, None, None, :], q @ transpose(k), -1e30)
    probs = softmax(scores)
    return probs @ v, probs


def mask_of_the_first_sequence(q, k, v, keep):
    probs = masked_softmax(_scores(q, k), keep[0])
    return probs @ v, probs


def padding_mask_steps(q, k, v, keep):
    return {"probs": masked_softmax(_scores(q, k), keep[:, None, None, :])}


PADDING_MASK = Exercise(
    id="padding-mask",
    title=Text("The padding mask", "填充掩码"),
    statement=Text(
        "The sequences of a batch are padded to the same length, and no query may attend to "
        "padding. `keep` is boolean of shape (B, S): True = real token. With "
        "`scores` $= q k^\\top/\\sqrt K$, the softmax runs over the kept keys only:\n\n"
        "$$\\mathrm{probs}_{ts} = \\frac{\\mathrm{keep}_s\\,e^{\\mathrm{scores}_{ts}}}"
        "{\\sum_l \\mathrm{keep}_l\\,e^{\\mathrm{scores}_{tl}}}, \\qquad "
        "\\mathrm{ctx} = \\mathrm{probs}\\,v$$\n\n"
        "`q` is (B, H, T, K), `k` and `v` are (B, H, S, K). A padded key has weight exactly 0, "
        "however large its score is (up to $10^6$ here), and the others sum to 1. Queries are not "
        "masked. Every sequence has at least one real token. Return `ctx` (B, H, T, K) and `probs` "
        "(B, H, T, S), in this order.",
        "同一批次的序列被填充到相同长度，任何 query 都不能关注填充位置。`keep` 是形状为 (B, S) 的布尔数组："
        "True = 真实词元。令 `scores` $= q k^\\top/\\sqrt K$，softmax 只在保留的 key 上进行：\n\n"
        "$$\\mathrm{probs}_{ts} = \\frac{\\mathrm{keep}_s\\,e^{\\mathrm{scores}_{ts}}}"
        "{\\sum_l \\mathrm{keep}_l\\,e^{\\mathrm{scores}_{tl}}}, \\qquad "
        "\\mathrm{ctx} = \\mathrm{probs}\\,v$$\n\n"
        "`q` 的形状为 (B, H, T, K)，`k` 和 `v` 为 (B, H, S, K)。填充的 key 权重必须恰好为 0，无论它的分数有多大"
        "（这里可达 $10^6$），其余权重之和为 1。query 不做掩码。每个序列至少有一个真实词元。"
        "依次返回 `ctx` (B, H, T, K) 和 `probs` (B, H, T, S)。",
    ),
    reference=padding_mask,
    library=(ops.masked_softmax_forward, ops.attention_forward),
    outputs=("ctx", "probs"),
    cases=padding_mask_cases,
    hints=(
        Text(
            "Make the scores of padded keys so low, before the softmax, that their exponentials "
            "vanish. Which axes of the scores does `keep` lack?",
            "在 softmax 之前把填充的 key 的分数压到极低，使其指数变为 0。`keep` 比分数少了哪些轴？",
        ),
        Text(
            "(B, S) becomes (B, 1, 1, S), which broadcasts over heads and queries. Replace the "
            "masked scores; adding a penalty to them only works if it is larger than any score.",
            "(B, S) 变成 (B, 1, 1, S)，沿头和 query 广播。要替换被屏蔽的分数；若是加惩罚项，它必须比任何分数都大才有效。",
        ),
        Text(
            "`scores = np.where(keep[:, None, None, :], scores, -1e30)`, then the softmax over "
            "the last axis, its maximum subtracted, and `probs @ v`.",
            "`scores = np.where(keep[:, None, None, :], scores, -1e30)`，再沿最后一个轴做 softmax（先减最大值），"
            "最后 `probs @ v`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "inverted",
            inverted,
            Text(
                "the real tokens are hidden and the padding is seen: True in `keep` means "
                "*may* be attended to.",
                "真实词元被屏蔽了，反而看到了填充：`keep` 中的 True 表示**可见**。",
            ),
        ),
        Misconception(
            "scores-multiplied",
            multiplied,
            Text(
                "the scores are multiplied by the mask: a padded key then has the score 0, and "
                "exp(0) = 1 is no small weight. Make it very low instead.",
                "分数乘了掩码：填充的 key 分数变成 0，而 exp(0) = 1 并不是小权重。应当换成极低的数。",
            ),
        ),
        Misconception(
            "mask-added-as-it-is",
            added_as_it_is,
            Text(
                "the mask is added as 0 and 1: padding is only 1 lower than the rest. An additive "
                "mask has 0 for real tokens and a very negative number for padding.",
                "掩码按 0 和 1 直接加上去了：填充只比别的低 1。加性掩码应当在真实词元处为 0，在填充处为绝对值极大的负数。",
            ),
        ),
        Misconception(
            "after-the-softmax",
            after_the_softmax,
            Text(
                "the mask comes after the softmax: what the padding had is lost, and the weights "
                "of a query sum to less than 1. Mask the scores before it.",
                "掩码放在了 softmax 之后：填充占的那份权重丢了，每个 query 的权重之和小于 1。应当在 softmax 之前屏蔽分数。",
            ),
        ),
        Misconception(
            "renormalized-after-the-softmax",
            after_the_softmax_renormalized,
            Text(
                "the mask comes after a softmax over all keys, and the rest is divided by its sum: "
                "if a padded key has the highest score, the others have rounded to 0 and "
                "0/0 is left. Mask the scores before the softmax.",
                "先对所有 key 做 softmax，再屏蔽并重新归一化：若某个填充的 key 分数最高，其余权重已舍入为 0，只剩 0/0。"
                "应当在 softmax 之前屏蔽分数。",
            ),
        ),
        Misconception(
            "penalty-of-10000",
            penalty_too_small,
            Text(
                "padded scores are lowered by 10000 only, and a score may be higher than that. "
                "Replace them (`np.where`) by a number below any score.",
                "填充处的分数只降低了 10000，而分数可能比这还大。应当用 `np.where` 把它们替换成低于任何分数的数。",
            ),
        ),
        Misconception(
            "queries-masked",
            queries_masked,
            Text(
                "the queries are masked instead of the keys: S is the last axis of the scores, so "
                "`keep` becomes (B, 1, 1, S). With T = S the shapes do not tell.",
                "屏蔽的是 query 而不是 key：S 是分数的最后一个轴，所以 `keep` 要变成 (B, 1, 1, S)。T = S 时形状看不出错。",
            ),
        ),
        Misconception(
            "scale-missing",
            without_scale,
            Text(
                "the mask is right, but the scores are not divided by $\\sqrt K$.",
                "掩码是对的，但分数没有除以 $\\sqrt K$。",
            ),
        ),
        Misconception(
            "one-mask-for-all",
            mask_of_the_first_sequence,
            Text(
                "all sequences get the mask of the first one: `keep` needs new axes in the "
                "middle, (B, 1, 1, S), so that its B stays the batch.",
                "所有序列都用了第一个序列的掩码：`keep` 要在中间插入新轴，变成 (B, 1, 1, S)，这样 B 仍然对应批次。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=6,
    steps=padding_mask_steps,
    factors=lambda q, k, v, keep: {"sqrt(K)": np.sqrt(q.shape[-1]), "S": k.shape[-2]},
    docs="derivations/softmax.md",
)

EXERCISES = (PADDING_MASK,)

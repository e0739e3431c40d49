"""A query with nothing to attend to."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.by_hand import masked_softmax as right
from npformer.exercises.attention.by_hand import softmax
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def masked_softmax(scores, keep):
    """Return probs (B, H, T, S), with zeros in a row that keeps nothing.

    scores: (B, H, T, S); keep: boolean (B, 1, T, S), True = may attend.
    """
    probs, _ = ops.masked_softmax_forward(scores, keep)
    return probs


def masked_softmax_cases(rng):
    """Return masks in which some rows, or all, keep nothing."""

    def case(b, h, t, s, part="", scale=1.0):
        keep = rng.random((b, 1, t, s)) < 0.5
        keep[:, :, 1:, 0], keep[:, :, 0] = True, False
        return Case({"scores": scale * rng.normal(size=(b, h, t, s)), "keep": keep}, part)

    high = case(2, 3, 5, 7).args
    return [
        case(2, 3, 5, 7),
        case(3, 2, 7, 5, scale=3.0),
        case(2, 3, 1, 7, "nothing to attend to"),
        case(2, 3, 5, 1, "one key"),
        Case({**high, "keep": np.ones((2, 1, 5, 7), bool)}, "no padding"),
        Case(
            {**high, "scores": np.where(high["keep"], 0, 1e4) + high["scores"]},
            "huge hidden scores",
        ),
        case(2, 3, 5, 7, "huge scores", 500.0),
    ]


def with_minus_infinity(scores, keep):
    return softmax(np.where(keep, scores, -np.inf))


def with_a_large_negative(scores, keep):
    return softmax(np.where(keep, scores, -1e30))


def multiplied_after(scores, keep):
    return softmax(scores) * keep


def with_an_epsilon(scores, keep):
    low = np.where(keep, scores, -1e30)
    e = np.exp(low - low.max(axis=-1, keepdims=True)) * keep
    return e / (e.sum(axis=-1, keepdims=True) + 1e-6)


def with_the_maximum_of_all(scores, keep):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True)) * keep
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def without_shift(scores, keep):
    e = np.exp(scores) * keep
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def all_rows_of_such_a_sequence(scores, keep):
    return right(scores, keep) * keep.any(axis=-1, keepdims=True).all(axis=-2, keepdims=True)


FULLY_MASKED_ROW = Exercise(
    id="fully-masked-row",
    title=Text("A row that keeps nothing", "全被屏蔽的行"),
    statement=Text(
        "Write the softmax of masked attention over the last axis:\n\n"
        "$$p_{ts} = \\frac{\\mathrm{keep}_{ts}\\,e^{\\mathrm{scores}_{ts}}}"
        "{\\sum_l \\mathrm{keep}_{tl}\\,e^{\\mathrm{scores}_{tl}}}$$\n\n"
        "`scores` is (B, H, T, S); `keep` is boolean (B, 1, T, S), True = may attend. A query with "
        "nothing to attend to (left padding under a causal mask, a sequence that is all padding) "
        "would be 0/0: its row is **zeros**, not NaN and not uniform. All other rows sum to 1; "
        "hidden keys have weight exactly 0. Scores of size 10000, kept or hidden, must do no harm. "
        "Return `probs` (B, H, T, S).",
        "写出带掩码的注意力中沿最后一个轴的 softmax：\n\n"
        "$$p_{ts} = \\frac{\\mathrm{keep}_{ts}\\,e^{\\mathrm{scores}_{ts}}}"
        "{\\sum_l \\mathrm{keep}_{tl}\\,e^{\\mathrm{scores}_{tl}}}$$\n\n"
        "`scores` 的形状为 (B, H, T, S)；`keep` 是 (B, 1, T, S) 的布尔数组，True = 可见。"
        "如果一个 query 没有任何可见的 key（因果掩码下的左侧填充，或整个序列都是填充），公式变成 0/0："
        "这一行应当**全为零**，既不是 NaN，也不是均匀分布。其余各行之和为 1；被屏蔽的 key 权重恰好为 0。"
        "无论是否被屏蔽，绝对值达到 10000 的分数都不能出问题。返回 `probs` (B, H, T, S)。",
    ),
    reference=masked_softmax,
    library=(ops.masked_softmax_forward,),
    outputs=("probs",),
    cases=masked_softmax_cases,
    hints=(
        Text(
            "Two places can go wrong in an empty row: the maximum that is subtracted, and the sum "
            "that is divided by.",
            "在空行里有两处会出问题：被减去的最大值，以及作除数的和。",
        ),
        Text(
            "Replace hidden scores by a *finite* low number, so that the maximum is finite; the "
            "exponentials of an empty row are then all 1, and must be made 0.",
            "用一个**有限**但极低的数替换被屏蔽的分数，这样最大值是有限的；此时空行的指数全为 1，必须再置为 0。",
        ),
        Text(
            "`low = np.where(keep, scores, -1e30)`, "
            "`e = np.exp(low - low.max(axis=-1, keepdims=True)) * keep`, "
            "`total = e.sum(axis=-1, keepdims=True)`, and `e / np.where(total == 0, 1, total)`.",
            "`low = np.where(keep, scores, -1e30)`，"
            "`e = np.exp(low - low.max(axis=-1, keepdims=True)) * keep`，"
            "`total = e.sum(axis=-1, keepdims=True)`，最后 `e / np.where(total == 0, 1, total)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "minus-infinity",
            with_minus_infinity,
            Text(
                "with -inf an empty row has the maximum -inf, and -inf minus -inf is NaN. Take a "
                "finite low number, and set the empty rows to zero.",
                "用 -inf 时空行的最大值是 -inf，而 -inf 减 -inf 得 NaN。应当用有限但极低的数，并把空行置零。",
            ),
        ),
        Misconception(
            "uniform",
            with_a_large_negative,
            Text(
                "an empty row is uniform over what is hidden: all its scores are the same low "
                "number. Here it must be zeros.",
                "空行变成了在被屏蔽的 key 上的均匀分布：它的分数全是同一个极低的数。这里要求它全为零。",
            ),
        ),
        Misconception(
            "after-the-softmax",
            multiplied_after,
            Text(
                "the mask comes after a softmax over all keys: empty rows are zeros, but the other "
                "rows sum to less than 1.",
                "先对所有 key 做 softmax 再乘掩码：空行确实为零，但其他行之和小于 1。",
            ),
        ),
        Misconception(
            "epsilon",
            with_an_epsilon,
            Text(
                "a small number added to the sum avoids 0/0 but makes every row sum to less "
                "than 1. Replace the sum only where it is 0.",
                "给分母加一个小数能避免 0/0，却使每一行之和都小于 1。只在和为 0 处替换分母。",
            ),
        ),
        Misconception(
            "maximum-of-hidden-scores",
            with_the_maximum_of_all,
            Text(
                "the maximum is taken over hidden keys too: if one of them is far above the kept "
                "ones, those round to 0 and the row looks empty. Mask before the maximum.",
                "求最大值时把被屏蔽的 key 也算进去了：若其中某个远高于保留的 key，后者会舍入为 0，这一行看起来就像空行。"
                "要先屏蔽再求最大值。",
            ),
        ),
        Misconception(
            "no-shift",
            without_shift,
            Text(
                "exp overflows: subtract the maximum of the kept scores of each row before it.",
                "exp 溢出了：先减去每行保留分数的最大值。",
            ),
        ),
        Misconception(
            "whole-sequence-zeroed",
            all_rows_of_such_a_sequence,
            Text(
                "one empty row makes all rows of its sequence zero: ask row by row, over the keys "
                "(`axis=-1, keepdims=True`).",
                "一个空行使整个序列的各行都变成了零：应当逐行判断，即沿 key 的轴 (`axis=-1, keepdims=True`)。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=8,
    factors=lambda scores, keep: {"S": scores.shape[-1]},
    docs="derivations/softmax.md",
)

EXERCISES = (FULLY_MASKED_ROW,)

"""The learning rate's warm-up and decay."""

import math

from npformer import optim
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def warmup_schedule(step, warmup, total):
    """Return the factor of the peak rate at a step, a float.

    step: from 0; warmup, total: numbers of steps, 0 <= warmup <= total; all integers.
    """
    return optim.linear_schedule(step, warmup=warmup, total=total)


def warmup_schedule_cases(rng):
    """Return steps before, at and behind the ends of the two slopes."""

    def case(step, warmup, total, part=""):
        return Case({"step": int(step), "warmup": int(warmup), "total": int(total)}, part)

    warmup = int(rng.integers(11, 40))
    total = int(rng.integers(101, 200))
    return [
        case(3, 7, 31),
        case(rng.integers(1, warmup - 1), warmup, total),
        case(rng.integers(warmup + 5, total - 5), warmup, total),
        case(rng.integers(warmup + 5, total - 5), warmup, total),
        case(0, warmup, total, "the ends"),
        case(warmup - 1, warmup, total, "the ends"),
        case(warmup, warmup, total, "the ends"),
        case(warmup + 1, warmup, total, "the ends"),
        case(total - 1, warmup, total, "the ends"),
        case(total, warmup, total, "the ends"),
        case(total + rng.integers(1, 50), warmup, total, "after the end"),
        case(0, 0, total, "no warm-up"),
        case(rng.integers(1, total), 0, total, "no warm-up"),
        case(warmup - 2, warmup, warmup, "warm-up alone"),
        case(warmup, warmup, warmup, "warm-up alone"),
    ]


def counting_from_one(step, warmup, total):
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def jumping(step, warmup, total):
    if step < warmup:
        return step / warmup
    return max(0.0, 1 - step / total)


def constant_after_warmup(step, warmup, total):
    return step / warmup if step < warmup else 1.0


def without_warmup(step, warmup, total):
    return max(0.0, (total - step) / total)


def below_zero(step, warmup, total):
    if step < warmup:
        return step / warmup
    return (total - step) / max(1, total - warmup)


def as_a_cosine(step, warmup, total):
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1 + math.cos(math.pi * progress))


def as_an_inverse_root(step, warmup, total):
    return step / warmup if step < warmup else math.sqrt(max(1, warmup) / max(1, step))


def counting_decay_from_warmup(step, warmup, total):
    if step < warmup:
        return step / warmup
    return max(0.0, 1 - (step - warmup) / total)


def zero_without_warmup(step, warmup, total):
    if step <= warmup:
        return step / max(1, warmup) if step < total else 0.0
    return max(0.0, (total - step) / max(1, total - warmup))


WARMUP_SCHEDULE = Exercise(
    id="warmup-schedule",
    title=Text("Warm-up and linear decay", "预热与线性衰减"),
    statement=Text(
        "BERT's learning rate rises linearly from 0 to its peak in W steps and then falls "
        "linearly to 0 at step T. Return its factor of the peak, a float:\n\n"
        "$$f(t) = \\begin{cases} t / W & t < W \\\\ (T - t) / (T - W) & W \\le t < T \\\\ "
        "0 & t \\ge T \\end{cases}$$\n\n"
        "`step` is t, the number of updates done before, so 0 at the first; `warmup` is W, from 0 "
        "to T; `total` is T, at least 1. All are integers. The three lines are tried from the top: "
        "W = 0 begins at 1, and with W = T there is no decay, only the 0 from T on.",
        "BERT 的学习率先在 W 步内从 0 线性升到峰值，再线性降到第 T 步的 0。返回它相对峰值的系数（float）：\n\n"
        "$$f(t) = \\begin{cases} t / W & t < W \\\\ (T - t) / (T - W) & W \\le t < T \\\\ "
        "0 & t \\ge T \\end{cases}$$\n\n"
        "`step` 是 t，即此前已做的更新次数，第一次为 0；`warmup` 是 W，从 0 到 T；`total` 是 T，至少为 1。"
        "都是整数。三行从上往下依次判断：W = 0 时从 1 开始；W = T 时没有衰减段，从 T 起直接为 0。",
    ),
    reference=warmup_schedule,
    library=(optim.linear_schedule,),
    outputs=("factor",),
    cases=warmup_schedule_cases,
    hints=(
        Text(
            "Two straight lines that meet in the point (W, 1), and zero behind the second.",
            "两条直线相交于点 (W, 1)，第二条之后为零。",
        ),
        Text(
            "The second line falls from 1 at W to 0 at T: its length is T - W, not T.",
            "第二条线从 W 处的 1 降到 T 处的 0：它的长度是 T - W，不是 T。",
        ),
        Text(
            "`if step < warmup: return step / warmup`; `if step >= total: return 0.0`; else "
            "`return (total - step) / (total - warmup)`.",
            "`if step < warmup: return step / warmup`；`if step >= total: return 0.0`；否则 "
            "`return (total - step) / (total - warmup)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "steps-from-1",
            counting_from_one,
            Text(
                "the warm-up is (t + 1) / W: steps count from 0, and the first has factor 0.",
                "预热写成了 (t + 1) / W：步数从 0 开始，第一步的系数为 0。",
            ),
        ),
        Misconception(
            "decay-from-the-start",
            jumping,
            Text(
                "the decay is 1 - t / T, as in BERT's released code, which jumps down at the end "
                "of the warm-up: from (W, 1) to (T, 0) it is (T - t) / (T - W).",
                "衰减写成了 1 - t / T（BERT 发布的代码就是这样），预热结束时会突然下跳："
                "从 (W, 1) 到 (T, 0) 应为 (T - t) / (T - W)。",
            ),
        ),
        Misconception(
            "no-decay",
            constant_after_warmup,
            Text(
                "the factor stays 1 after the warm-up: it falls to 0 at T.",
                "预热之后系数一直是 1：应线性降到 T 处的 0。",
            ),
        ),
        Misconception(
            "no-warmup",
            without_warmup,
            Text(
                "there is no warm-up: below W the factor is t / W, and the decay begins at W.",
                "没有预热：t 小于 W 时系数为 t / W，衰减从 W 开始。",
            ),
        ),
        Misconception(
            "below-zero",
            below_zero,
            Text(
                "after T the factor is negative, which climbs uphill: it stays 0.",
                "T 之后系数成了负数，更新会沿梯度上坡：应保持为 0。",
            ),
        ),
        Misconception(
            "cosine",
            as_a_cosine,
            Text(
                "the decay is half a cosine: here it is a straight line.",
                "衰减用了半个余弦：这里应是直线。",
            ),
        ),
        Misconception(
            "inverse-root",
            as_an_inverse_root,
            Text(
                "the decay is one over a root, as in the original Transformer: here it is a "
                "straight line to 0 at T.",
                "衰减用了平方根的倒数（最初的 Transformer 的做法）：这里应是到 T 处降为 0 的直线。",
            ),
        ),
        Misconception(
            "decay-length",
            counting_decay_from_warmup,
            Text(
                "the decay takes T steps counted from W and does not reach 0 at T: it has T - W "
                "steps.",
                "衰减从 W 起用了 T 步，到 T 时还没降到 0：衰减段只有 T - W 步。",
            ),
        ),
        Misconception(
            "zero-without-warmup",
            zero_without_warmup,
            Text(
                "with W = 0 the first factor is 0: there is no warm-up, so it begins at 1; t / W is "
                "for t < W only.",
                "W = 0 时第一个系数是 0：没有预热，应从 1 开始；t / W 只用于 t < W。",
            ),
        ),
    ),
    topic="optimization",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    float32=False,
    docs="derivations/optimizers.md",
)

EXERCISES = (WARMUP_SCHEDULE,)

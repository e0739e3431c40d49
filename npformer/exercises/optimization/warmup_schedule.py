"""The learning rate's warm-up and decay."""

import math

from npformer import optim
from npformer.exercises.exercise import Case, Exercise


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


WARMUP_SCHEDULE = Exercise(
    id="warmup-schedule",
    title="Warm-up and linear decay",
    statement=r"""
        BERT's learning rate rises linearly from 0 to its peak in W steps and then falls linearly to
        0 at step T. Return its factor of the peak, a float:

        $$f(t) = \begin{cases} t / W & t < W \\ (T - t) / (T - W) & W \le t < T \\ 0 & t \ge T
        \end{cases}$$

        `step` is t, the number of updates done before, so 0 at the first; `warmup` is W, from 0 to
        T; `total` is T, at least 1. All are integers. The three lines are tried from the top: W = 0
        begins at 1, and with W = T there is no decay, only the 0 from T on.""",
    reference=warmup_schedule,
    library=(optim.linear_schedule,),
    outputs=("factor",),
    cases=warmup_schedule_cases,
    hints=(
        "Two straight lines that meet in the point (W, 1), and zero behind the second.",
        "The second line falls from 1 at W to 0 at T: its length is T - W, not T.",
        """`if step < warmup: return step / warmup`; `if step >= total: return 0.0`; else `return
        (total - step) / (total - warmup)`.""",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    float32=False,
    docs="derivations/optimizers.md",
)


@WARMUP_SCHEDULE.mistake("steps-from-1")
def counting_from_one(step, warmup, total):
    """the warm-up is (t + 1) / W: steps count from 0, and the first has factor 0."""
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


@WARMUP_SCHEDULE.mistake("decay-from-the-start")
def jumping(step, warmup, total):
    """the decay is 1 - t / T, as in BERT's released code, which jumps down at the end of the
    warm-up: from (W, 1) to (T, 0) it is (T - t) / (T - W)."""
    if step < warmup:
        return step / warmup
    return max(0.0, 1 - step / total)


@WARMUP_SCHEDULE.mistake("no-decay")
def constant_after_warmup(step, warmup, total):
    """the factor stays 1 after the warm-up: it falls to 0 at T."""
    return step / warmup if step < warmup else 1.0


@WARMUP_SCHEDULE.mistake("no-warmup")
def without_warmup(step, warmup, total):
    """there is no warm-up: below W the factor is t / W, and the decay begins at W."""
    return max(0.0, (total - step) / total)


@WARMUP_SCHEDULE.mistake("below-zero")
def below_zero(step, warmup, total):
    """after T the factor is negative, which climbs uphill: it stays 0."""
    if step < warmup:
        return step / warmup
    return (total - step) / max(1, total - warmup)


@WARMUP_SCHEDULE.mistake("cosine")
def as_a_cosine(step, warmup, total):
    """the decay is half a cosine: here it is a straight line."""
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1 + math.cos(math.pi * progress))


@WARMUP_SCHEDULE.mistake("inverse-root")
def as_an_inverse_root(step, warmup, total):
    """the decay is one over a root, as in the original Transformer: here it is a straight line to 0
    at T."""
    return step / warmup if step < warmup else math.sqrt(max(1, warmup) / max(1, step))


@WARMUP_SCHEDULE.mistake("decay-length")
def counting_decay_from_warmup(step, warmup, total):
    """the decay takes T steps counted from W and does not reach 0 at T: it has T - W steps."""
    if step < warmup:
        return step / warmup
    return max(0.0, 1 - (step - warmup) / total)


@WARMUP_SCHEDULE.mistake("zero-without-warmup")
def zero_without_warmup(step, warmup, total):
    """with W = 0 the first factor is 0: there is no warm-up, so it begins at 1; t / W is for t < W
    only."""
    if step <= warmup:
        return step / max(1, warmup) if step < total else 0.0
    return max(0.0, (total - step) / max(1, total - warmup))

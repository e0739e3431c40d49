"""Dropout, backward, with the mask of the forward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def dropout_backward(dy, keep, p_drop):
    """Return dx of y = x * keep / (1 - p_drop); dy, keep and the result: (...)."""
    r = keep.astype(dy.dtype) / (1 - p_drop)
    return ops.dropout_backward(dy, ops.DropoutCache(r))


def dropout_backward_cases(rng):
    """Return masks of several rates; with a rate of 0 all is kept."""

    def case(*shape, p_drop, part=""):
        # One entry is dropped and one kept, whatever was drawn.
        keep = rng.random(shape) >= p_drop
        keep.flat[:2] = [True, p_drop == 0]
        return Case({"dy": rng.normal(size=shape), "keep": keep, "p_drop": p_drop}, part)

    return [
        case(2, 3, p_drop=0.3),
        case(2, 3, 5, p_drop=0.1),
        case(5, 7, p_drop=0.6),
        case(11, p_drop=0.25),
        case(3, 5, p_drop=0.0, part="p_drop = 0"),
    ]


def scale_forgotten(dy, keep, p_drop):
    return dy * keep


def mask_forgotten(dy, keep, p_drop):
    return dy / (1 - p_drop)


def dropout_forgotten(dy, keep, p_drop):
    return dy


def mask_the_wrong_way_round(dy, keep, p_drop):
    return dy * ~keep / (1 - p_drop)


def multiplied_by_what_is_kept(dy, keep, p_drop):
    return dy * keep * (1 - p_drop)


def divided_by_what_is_dropped(dy, keep, p_drop):
    return dy * keep / p_drop


def scaled_everywhere_but_where_kept(dy, keep, p_drop):
    return np.where(keep, dy, dy / (1 - p_drop))


def scale_and_mask_of_its_own(dy, keep, p_drop):
    fresh = np.random.default_rng(0).random(dy.shape) >= p_drop
    return dy * fresh / (1 - p_drop)


def scaled_by_the_mask_itself(dy, keep, p_drop):
    return dy * keep * keep.size / max(keep.sum(), 1)


DROPOUT_BACKWARD = Exercise(
    id="dropout-backward",
    title=Text("Dropout backward", "Dropout 的反向传播"),
    statement=Text(
        "The forward was inverted dropout: what is kept is scaled up, so that the expectation stays the same,\n\n"
        "$$y = \\frac{x \\odot \\mathrm{keep}}{1 - p}.$$\n\n"
        "Given `dy` (...), the gradient of the loss with respect to y, the mask of the forward, `keep` (...), boolean, "
        "**True = kept**, and `p_drop`, the probability p of dropping, in [0, 1), return `dx` (...).",
        "前向是 inverted dropout：保留下来的元素会放大，使期望不变，\n\n"
        "$$y = \\frac{x \\odot \\mathrm{keep}}{1 - p}.$$\n\n"
        "给定损失对 y 的梯度 `dy` (...)，前向所用的布尔掩码 `keep` (...)，**True 表示保留**，"
        "以及丢弃概率 `p_drop`，即 p，取值 [0, 1)，返回 `dx` (...)。",
    ),
    reference=dropout_backward,
    library=(ops.dropout_backward,),
    outputs=("dx",),
    cases=dropout_backward_cases,
    hints=(
        Text(
            "Once the mask is drawn, dropout is a product with a constant array.",
            "掩码一旦采样确定，dropout 就只是与一个常数数组相乘。",
        ),
        Text(
            "The gradient goes through the same product: the same mask, and the same factor $1/(1 - p)$.",
            "梯度经过同样的乘法：同一个掩码，同一个因子 $1/(1 - p)$。",
        ),
        Text("`dy * keep / (1 - p_drop)`.", "`dy * keep / (1 - p_drop)`。"),
    ),
    misconceptions=(
        Misconception(
            "scale-forgotten",
            scale_forgotten,
            Text(
                "the factor 1/(1 - p) is missing. The forward scaled what it kept, so the gradient is scaled as well.",
                "少了因子 1/(1 - p)。前向放大了保留的部分，梯度也要同样放大。",
            ),
        ),
        Misconception(
            "mask-forgotten",
            mask_forgotten,
            Text(
                "what was dropped gets a gradient, too. It did not reach y: multiply by keep.",
                "被丢弃的元素也得到了梯度。它们没有到达 y：要乘以 keep。",
            ),
        ),
        Misconception(
            "dropout-forgotten",
            dropout_forgotten,
            Text(
                "dy goes through as if there were no dropout: it needs the mask and the factor 1/(1 - p).",
                "dy 原样通过，就像没有 dropout：需要乘以掩码和因子 1/(1 - p)。",
            ),
        ),
        Misconception(
            "mask-inverted",
            mask_the_wrong_way_round,
            Text(
                "the mask is used the wrong way round: True means kept.",
                "掩码用反了：True 表示保留。",
            ),
        ),
        Misconception(
            "multiplied-by-1-p",
            multiplied_by_what_is_kept,
            Text(
                "it is multiplied by 1 - p. The forward divided by it, and the backward of a division by a constant is "
                "the same division.",
                "乘以了 1 - p。前向是除以它；除以常数的反向，仍是除以同一个常数。",
            ),
        ),
        Misconception(
            "divided-by-p",
            divided_by_what_is_dropped,
            Text(
                "it is divided by p, the probability of dropping. The factor is one over the probability of keeping, 1 - p.",
                "除以了丢弃概率 p。因子应是保留概率 1 - p 的倒数。",
            ),
        ),
        Misconception(
            "scaled-where-dropped",
            scaled_everywhere_but_where_kept,
            Text(
                "what was kept is left as it is, and what was dropped is scaled. Kept: dy/(1 - p); dropped: 0.",
                "保留的没有缩放，被丢弃的反而缩放了。应为：保留处 dy/(1 - p)，丢弃处 0。",
            ),
        ),
        Misconception(
            "new-mask",
            scale_and_mask_of_its_own,
            Text(
                "a new mask is drawn. The gradient has to pass where the values passed: use the mask of the forward.",
                "重新采样了一个掩码。值从哪里通过，梯度就从哪里通过：要用前向的掩码。",
            ),
        ),
        Misconception(
            "share-of-the-mask",
            scaled_by_the_mask_itself,
            Text(
                "the factor is one over the share that happened to be kept. The forward used the probability: 1/(1 - p).",
                "因子用的是实际保留比例的倒数。前向用的是概率：1/(1 - p)。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    steps=lambda dy, keep, p_drop: {"r": keep / (1 - p_drop)},
    factors=lambda dy, keep, p_drop: {"1 - p": 1 - p_drop, "p": p_drop},
    docs="derivations/activations.md",
)

EXERCISES = (DROPOUT_BACKWARD,)

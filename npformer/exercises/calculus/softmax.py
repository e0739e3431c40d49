"""The softmax, forward and backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def softmax(x):
    """Return the softmax of x over the last axis; x and the result: (..., C)."""
    probs, _ = ops.softmax_forward(x)
    return probs


def softmax_cases(rng):
    """Return logits of several shapes, some of them huge."""
    return [
        Case({"x": rng.normal(size=(2, 3))}),
        Case({"x": rng.normal(size=(2, 4, 3)) * 3}),
        Case({"x": rng.normal(size=(5, 1))}, "one class"),
        Case({"x": rng.normal(size=(3, 4)) + 1000}, "huge logits"),
        Case({"x": rng.normal(size=(3, 4)) - 1000}, "huge logits"),
        Case({"x": rng.normal(size=(3, 4)) * 500}, "huge logits"),
        Case({"x": rng.normal(size=(3, 4)) + np.array([[0], [-2000], [2000]])}, "huge logits"),
    ]


def without_shift(x):
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


def over_everything(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def over_first_axis(x):
    e = np.exp(x - x.max(axis=0, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)


def shifted_by_global_maximum(x):
    e = np.exp(x - x.max())
    return e / e.sum(axis=-1, keepdims=True)


SOFTMAX = Exercise(
    id="softmax",
    title=Text("Softmax", "Softmax"),
    statement=Text(
        "Turn logits into probabilities along the **last** axis:\n\n"
        "$$p_j = \\frac{e^{x_j}}{\\sum_l e^{x_l}}$$\n\n"
        "`x` has shape (..., C), with one or more axes in front; so has the result. Logits of "
        "size 1000 must neither overflow nor give NaN.",
        "沿**最后一个**轴把 logits 变成概率：\n\n"
        "$$p_j = \\frac{e^{x_j}}{\\sum_l e^{x_l}}$$\n\n"
        "`x` 的形状为 (..., C)，前面有一个或多个轴；结果形状相同。logits 达到 1000 时不能溢出，也不能出现 NaN。",
    ),
    reference=softmax,
    library=(ops.softmax_forward,),
    outputs=("probs",),
    cases=softmax_cases,
    hints=(
        Text(
            "Adding the same number to all logits of a row does not change its softmax.",
            "给一行的所有 logits 加上同一个数，softmax 不变。",
        ),
        Text(
            "Subtract the row's maximum first: then every exponential is at most 1.",
            "先减去该行的最大值：这样每个指数都不超过 1。",
        ),
        Text(
            "`e = np.exp(x - x.max(axis=-1, keepdims=True))`, and divide `e` by its sum over the "
            "same axis, again with `keepdims=True`.",
            "`e = np.exp(x - x.max(axis=-1, keepdims=True))`，再除以 `e` 沿同一轴的和，"
            "同样要 `keepdims=True`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "no-shift",
            without_shift,
            Text(
                "exp overflows: subtract the maximum of each row before it. The result is the "
                "same, since a common factor cancels.",
                "exp 溢出了：先减去每行的最大值。公因子会约掉，结果不变。",
            ),
        ),
        Misconception(
            "sum-over-everything",
            over_everything,
            Text(
                "all entries together sum to 1, expected each row: give the sum and the maximum "
                "`axis=-1, keepdims=True`.",
                "现在是所有元素之和为 1，应当每行之和为 1：求和与求最大值都要写 "
                "`axis=-1, keepdims=True`。",
            ),
        ),
        Misconception(
            "first-axis",
            over_first_axis,
            Text(
                "the columns sum to 1, expected the rows: the axis is -1, not 0.",
                "现在是各列之和为 1，应当各行之和为 1：轴是 -1，不是 0。",
            ),
        ),
        Misconception(
            "global-maximum",
            shifted_by_global_maximum,
            Text(
                "one maximum is subtracted from all rows: a row far below it becomes 0/0. Each "
                "row needs its own maximum.",
                "所有行都减去了同一个最大值：远小于它的行会变成 0/0。每行要减去自己的最大值。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    steps=lambda x: {
        "x - max": x - x.max(axis=-1, keepdims=True),
        "exp": np.exp(x - x.max(axis=-1, keepdims=True)),
    },
    factors=lambda x: {"C": x.shape[-1]},
    docs="derivations/softmax.md",
)


def softmax_backward(dprobs, probs):
    """Return dx, given the gradient of the softmax's output and that output; all (..., C)."""
    return ops.softmax_backward(dprobs, ops.SoftmaxCache(probs, axis=-1))


def softmax_backward_cases(rng):
    """Return probabilities of several shapes; in some rows one class has nearly all."""

    def case(*shape, scale=1.0, part=""):
        probs = softmax(scale * rng.normal(size=shape))
        return Case({"dprobs": rng.normal(size=shape), "probs": probs}, part)

    return [
        case(2, 3),
        case(2, 4, 3),
        case(4, 5, scale=3),
        case(3, 1, part="one class"),
        case(4, 3, scale=200, part="saturated rows"),
    ]


def only_the_diagonal(dprobs, probs):
    return dprobs * probs


def as_independent_sigmoids(dprobs, probs):
    return dprobs * probs * (1 - probs)


def with_a_plain_sum(dprobs, probs):
    return probs * (dprobs - dprobs.sum(axis=-1, keepdims=True))


def with_a_plain_mean(dprobs, probs):
    return probs * (dprobs - dprobs.mean(axis=-1, keepdims=True))


def with_one_mean_for_all(dprobs, probs):
    return probs * (dprobs - (dprobs * probs).sum())


def as_the_cross_entropy(dprobs, probs):
    return probs - dprobs


SOFTMAX_BACKWARD = Exercise(
    id="softmax-backward",
    title=Text("Softmax: the vector-Jacobian product", "Softmax：向量–雅可比积"),
    statement=Text(
        "The output of a softmax over the last axis is `probs`, and the gradient of the loss with "
        "respect to it is `dprobs`; both are (..., C). Return the gradient `dx` of the logits. "
        "The Jacobian of a row is\n\n"
        "$$\\frac{\\partial p_j}{\\partial x_l} = p_j(\\delta_{jl} - p_l).$$\n\n"
        "You need not build it, and should not: C may be 30,000. (This is not checked.)",
        "最后一个轴上的 softmax 输出为 `probs`，损失对它的梯度为 `dprobs`，形状都是 (..., C)。"
        "返回 logits 的梯度 `dx`。一行的雅可比矩阵为\n\n"
        "$$\\frac{\\partial p_j}{\\partial x_l} = p_j(\\delta_{jl} - p_l).$$\n\n"
        "不需要、也不应该把它真的建出来：C 可能是 30,000。（这一点不作检查。）",
    ),
    reference=softmax_backward,
    library=(ops.softmax_backward,),
    outputs=("dx",),
    cases=softmax_backward_cases,
    hints=(
        Text(
            "Multiply dprobs by the Jacobian: sum over j for a fixed l. The delta leaves one term, "
            "the other is a sum that does not depend on l.",
            "用 dprobs 乘雅可比矩阵：固定 l，对 j 求和。δ 只留下一项，另一项是与 l 无关的和。",
        ),
        Text(
            "$dx_l = p_l (dp_l - \\sum_j dp_j p_j)$: the sum is the mean of dprobs under probs.",
            "$dx_l = p_l (dp_l - \\sum_j dp_j p_j)$：这个和是 dprobs 在 probs 下的平均值。",
        ),
        Text(
            "`mean = (dprobs * probs).sum(axis=-1, keepdims=True)`; then `probs * (dprobs - mean)`.",
            "`mean = (dprobs * probs).sum(axis=-1, keepdims=True)`，然后 `probs * (dprobs - mean)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "mean-term-missing",
            only_the_diagonal,
            Text(
                "only $p_l\\,dp_l$ is there. Every logit also lowers the other probabilities: "
                "subtract the mean of dprobs under probs, $\\sum_j dp_j p_j$.",
                "只有 $p_l\\,dp_l$。每个 logit 还会压低其他概率：要减去 dprobs 在 probs 下的平均值 "
                "$\\sum_j dp_j p_j$。",
            ),
        ),
        Misconception(
            "independent-sigmoids",
            as_independent_sigmoids,
            Text(
                "p (1 - p) is the derivative of a sigmoid, the diagonal of the softmax's "
                "Jacobian. The entries beside the diagonal, $-p_j p_l$, are missing.",
                "p (1 - p) 是 sigmoid 的导数，也就是 softmax 雅可比矩阵的对角线；缺了非对角元素 $-p_j p_l$。",
            ),
        ),
        Misconception(
            "unweighted-sum",
            with_a_plain_sum,
            Text(
                "dprobs is summed without weights: the sum must be of dprobs * probs.",
                "dprobs 求和时没有加权：应当对 dprobs * probs 求和。",
            ),
        ),
        Misconception(
            "unweighted-mean",
            with_a_plain_mean,
            Text(
                "the mean of dprobs is taken with equal weights: the weights are the probabilities.",
                "dprobs 的平均用了相等的权重：权重应当是 probs。",
            ),
        ),
        Misconception(
            "mean-over-everything",
            with_one_mean_for_all,
            Text(
                "one sum is taken over all rows: each row has its own, `axis=-1, keepdims=True`.",
                "对所有行只求了一个和：每行各有各的，`axis=-1, keepdims=True`。",
            ),
        ),
        Misconception(
            "cross-entropy-instead",
            as_the_cross_entropy,
            Text(
                "p - y is the gradient of softmax and cross-entropy together, with a target y. "
                "Here dprobs is any gradient, not a target.",
                "p - y 是 softmax 与交叉熵合在一起的梯度，y 是标签。这里的 dprobs 是任意梯度，不是标签。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    terms=lambda dprobs, probs: {
        "dx": {
            "p * dp": probs * dprobs,
            "- p * sum(dp * p)": -probs * (dprobs * probs).sum(axis=-1, keepdims=True),
        }
    },
    steps=lambda dprobs, probs: {"sum(dp * p)": (dprobs * probs).sum(axis=-1, keepdims=True)},
    factors=lambda dprobs, probs: {"C": probs.shape[-1]},
    docs="derivations/softmax.md",
)

EXERCISES = (SOFTMAX, SOFTMAX_BACKWARD)

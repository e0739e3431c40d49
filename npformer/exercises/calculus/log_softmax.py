"""The logarithm of the softmax, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def log_softmax_backward(dlog_probs, log_probs):
    """Return dx, given the gradient of the log-softmax's output and that output; all (..., C)."""
    return ops.log_softmax_backward(dlog_probs, ops.LogSoftmaxCache(log_probs, axis=-1))


def log_softmax_backward_cases(rng):
    """Return log-probabilities of several shapes; in some rows one class has nearly all."""

    def case(*shape, scale=1.0, part=""):
        log_probs, _ = ops.log_softmax_forward(scale * rng.normal(size=shape))
        return Case({"dlog_probs": rng.normal(size=shape), "log_probs": log_probs}, part)

    return [
        case(2, 3),
        case(2, 5, 3),
        case(4, 7, scale=3),
        case(3, 1, part="one class"),
        case(4, 3, scale=500, part="saturated rows"),
    ]


def sum_term_missing(dlog_probs, log_probs):
    return dlog_probs


def as_the_plain_softmax(dlog_probs, log_probs):
    probs = np.exp(log_probs)
    return probs * (dlog_probs - (dlog_probs * probs).sum(axis=-1, keepdims=True))


def with_a_weighted_sum(dlog_probs, log_probs):
    probs = np.exp(log_probs)
    return dlog_probs - probs * (dlog_probs * probs).sum(axis=-1, keepdims=True)


def jacobian_transposed(dlog_probs, log_probs):
    return dlog_probs - (dlog_probs * np.exp(log_probs)).sum(axis=-1, keepdims=True)


def with_a_mean(dlog_probs, log_probs):
    return dlog_probs - np.exp(log_probs) * dlog_probs.mean(axis=-1, keepdims=True)


def with_one_sum_for_all(dlog_probs, log_probs):
    return dlog_probs - np.exp(log_probs) * dlog_probs.sum()


def exp_forgotten(dlog_probs, log_probs):
    return dlog_probs - log_probs * dlog_probs.sum(axis=-1, keepdims=True)


def sum_without_probs(dlog_probs, log_probs):
    return dlog_probs - dlog_probs.sum(axis=-1, keepdims=True)


def as_the_cross_entropy(dlog_probs, log_probs):
    return dlog_probs + np.exp(log_probs)


LOG_SOFTMAX_BACKWARD = Exercise(
    id="log-softmax-backward",
    title=Text("Log-softmax: the vector-Jacobian product", "Log-softmax：向量–雅可比积"),
    statement=Text(
        "The log-softmax of a row is\n\n"
        "$$\\ell_j = x_j - \\log \\sum_l e^{x_l}.$$\n\n"
        "Its output over the last axis is `log_probs`, and the gradient of the loss with respect to it is "
        "`dlog_probs`; both are (..., C). Return the gradient `dx` of the logits. A probability may be so "
        "small that it is 0 in floating point; its logarithm is still finite.",
        "一行的 log-softmax 为\n\n"
        "$$\\ell_j = x_j - \\log \\sum_l e^{x_l}.$$\n\n"
        "它在最后一个轴上的输出为 `log_probs`，损失对它的梯度为 `dlog_probs`，形状都是 (..., C)。"
        "返回 logits 的梯度 `dx`。概率可能小到在浮点数中等于 0，但它的对数仍是有限的。",
    ),
    reference=log_softmax_backward,
    library=(ops.log_softmax_backward,),
    outputs=("dx",),
    cases=log_softmax_backward_cases,
    hints=(
        Text(
            "What is the derivative of $\\log \\sum_l e^{x_l}$ with respect to $x_l$?",
            "$\\log \\sum_l e^{x_l}$ 对 $x_l$ 的导数是什么？",
        ),
        Text(
            "It is the softmax. So $\\partial\\ell_j/\\partial x_l = \\delta_{jl} - p_l$, and "
            "$dx_l = d\\ell_l - p_l \\sum_j d\\ell_j$.",
            "正是 softmax。因此 $\\partial\\ell_j/\\partial x_l = \\delta_{jl} - p_l$，"
            "$dx_l = d\\ell_l - p_l \\sum_j d\\ell_j$。",
        ),
        Text(
            "`total = dlog_probs.sum(axis=-1, keepdims=True)`; then "
            "`dlog_probs - np.exp(log_probs) * total`.",
            "`total = dlog_probs.sum(axis=-1, keepdims=True)`，然后 "
            "`dlog_probs - np.exp(log_probs) * total`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "sum-term-missing",
            sum_term_missing,
            Text(
                "only $d\\ell_l$ is there. Every logit also moves the log-sum-exp of its row: subtract "
                "$p_l \\sum_j d\\ell_j$.",
                "只有 $d\\ell_l$。每个 logit 还会改变该行的 log-sum-exp：要减去 $p_l \\sum_j d\\ell_j$。",
            ),
        ),
        Misconception(
            "softmax-instead",
            as_the_plain_softmax,
            Text(
                "this is the backward of the softmax. dlog_probs is the gradient of the **logarithm**: its "
                "Jacobian is $\\delta_{jl} - p_l$, without the $p_j$ in front.",
                "这是 softmax 的反向传播。dlog_probs 是对**对数**的梯度：雅可比是 $\\delta_{jl} - p_l$，前面没有 $p_j$。",
            ),
        ),
        Misconception(
            "weighted-sum",
            with_a_weighted_sum,
            Text(
                "dlog_probs is weighted by the probabilities in the sum, as in the backward of the softmax. "
                "Here it is summed as it is.",
                "求和时用概率给 dlog_probs 加了权，那是 softmax 反向传播的写法。这里直接求和即可。",
            ),
        ),
        Misconception(
            "jacobian-transposed",
            jacobian_transposed,
            Text(
                "the Jacobian is used the wrong way round: $\\sum_l p_l\\,d\\ell_l$ sums over the wrong index. "
                "The sum runs over the outputs j, and $p_l$, of the input, stands before it.",
                "雅可比用反了：$\\sum_l p_l\\,d\\ell_l$ 对错误的下标求了和。应对输出 j 求和，属于输入的 $p_l$ 留在求和号外面。",
            ),
        ),
        Misconception(
            "mean-instead-of-sum",
            with_a_mean,
            Text(
                "the mean of dlog_probs is taken where the sum belongs.",
                "该对 dlog_probs 求和的地方取了平均。",
            ),
        ),
        Misconception(
            "sum-over-everything",
            with_one_sum_for_all,
            Text(
                "one sum is taken over all rows: each row has its own, `axis=-1, keepdims=True`.",
                "对所有行只求了一个和：每行各有各的，`axis=-1, keepdims=True`。",
            ),
        ),
        Misconception(
            "exp-forgotten",
            exp_forgotten,
            Text(
                "the sum is multiplied by the log-probabilities; it belongs to the probabilities, "
                "`np.exp(log_probs)`.",
                "求和乘的是对数概率，应当乘概率 `np.exp(log_probs)`。",
            ),
        ),
        Misconception(
            "probs-missing",
            sum_without_probs,
            Text(
                "the sum is subtracted in full from every class; the share of class l is $p_l$ of it.",
                "从每一类都减去了整个和；第 l 类应减去的份额是它的 $p_l$ 倍。",
            ),
        ),
        Misconception(
            "cross-entropy-instead",
            as_the_cross_entropy,
            Text(
                "p + dlog_probs is right only if dlog_probs sums to -1, as under a cross-entropy (p - y). "
                "Here it is any gradient: multiply p by minus its sum.",
                "只有 dlog_probs 之和为 -1 时（例如交叉熵，p - y），p + dlog_probs 才成立。"
                "这里它是任意梯度：p 要乘以它的和的相反数。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    terms=lambda dlog_probs, log_probs: {
        "dx": {
            "dl": dlog_probs,
            "- p * sum(dl)": -np.exp(log_probs) * dlog_probs.sum(axis=-1, keepdims=True),
        }
    },
    steps=lambda dlog_probs, log_probs: {
        "probs": np.exp(log_probs),
        "total": dlog_probs.sum(axis=-1, keepdims=True),
    },
    factors=lambda dlog_probs, log_probs: {"C": log_probs.shape[-1]},
    docs="derivations/softmax.md",
)

EXERCISES = (LOG_SOFTMAX_BACKWARD,)

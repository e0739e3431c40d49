"""AdamW: Adam with decoupled weight decay."""

import numpy as np

from npformer import optim
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.optimization.adam import (
    adam_args,
    adam_step,
    adam_steps,
    adam_terms,
    means,
)
from npformer.exercises.text import Text


def adamw(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """Return the parameter and both means after one step, as new arrays.

    param, grad, m, v: arrays of one shape; step: this step's number, from 1; the others: numbers.
    """
    params = {"param": param.copy()}
    means = {"m": {"param": m.copy()}, "v": {"param": v.copy()}}
    optimizer = optim.AdamW(betas=(beta_1, beta_2), eps=eps, weight_decay=weight_decay)
    optimizer.update(params, {"param": grad}, optim.OptimizerState(step - 1, means), lr)
    return params["param"], means["m"]["param"], means["v"]["param"]


def adamw_cases(rng):
    """Return steps of matrices and of a bias."""

    def case(shape, step, weight_decay, part="", **kwargs):
        return Case({**adam_args(rng, shape, step, **kwargs), "weight_decay": weight_decay}, part)

    return [
        case((2, 3), 2, 0.1),
        case((2, 5), 7, 0.3, betas=(0.8, 0.95), eps=0.1),
        case((3, 2, 7), 11, 0.07, lr=1.3, betas=(0.7, 0.98), eps=0.3),
        case((3, 2), 1, 0.1, eps=0.3, part="first step"),
        case((7,), 5, 0.3, part="bias"),
        case((2, 3), 5, 0.0, part="no decay"),
    ]


def as_l2(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    if param.ndim > 1:
        grad = grad + weight_decay * param
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def divided_by_the_root(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    decay = weight_decay * param if param.ndim > 1 else 0.0
    return param - lr * (m_hat + decay) / (np.sqrt(v_hat) + eps), m, v


def without_the_rate(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    decayed = param * (1 - weight_decay) if param.ndim > 1 else param
    step_size = adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    return decayed - step_size, *means(grad, m, v, beta_1, beta_2)


def after_the_step(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    moved = param - adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    moved = moved * (1 - lr * weight_decay) if param.ndim > 1 else moved
    return moved, *means(grad, m, v, beta_1, beta_2)


def for_biases_too(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    decayed = param * (1 - lr * weight_decay)
    step_size = adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    return decayed - step_size, *means(grad, m, v, beta_1, beta_2)


def growing(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    decayed = param * (1 + lr * weight_decay) if param.ndim > 1 else param
    step_size = adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    return decayed - step_size, *means(grad, m, v, beta_1, beta_2)


def without_decay(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    step_size = adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    return param - step_size, *means(grad, m, v, beta_1, beta_2)


def as_bert(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    decayed = param * (1 - lr * weight_decay) if param.ndim > 1 else param
    m, v = means(grad, m, v, beta_1, beta_2)
    return decayed - lr * m / (np.sqrt(v) + eps), m, v


def adamw_terms(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """Return the addends of all three results; a bias has no decay."""
    terms = adam_terms(param, grad, m, v, step, lr, beta_1, beta_2, eps)
    decay = -lr * weight_decay * param * (param.ndim > 1)
    return {**terms, "param": {**terms["param"], "- lr * weight_decay * param": decay}}


ADAMW = Exercise(
    id="adamw",
    title=Text("AdamW: decoupled weight decay", "AdamW：解耦的权重衰减"),
    statement=Text(
        "An L2 penalty adds $\\lambda\\theta$ to the gradient, and Adam divides it by "
        "$\\sqrt{\\hat v}$ like the rest: weights with large gradients hardly decay. AdamW takes "
        "the decay out of the gradient:\n\n"
        "$$\\theta_t = (1 - \\eta\\lambda)\\,\\theta_{t-1} - "
        "\\eta\\,\\frac{\\hat m}{\\sqrt{\\hat v} + \\epsilon}$$\n\n"
        "with $\\hat m = m_t / (1 - \\beta_1^t)$, $\\hat v = v_t / (1 - \\beta_2^t)$ and the "
        "running means $m_t = \\beta_1 m_{t-1} + (1 - \\beta_1) g_t$ and "
        "$v_t = \\beta_2 v_{t-1} + (1 - \\beta_2) g_t^2$ of the plain gradient.\n\n"
        "Do one step. `param`, `grad`, `m` and `v` are $\\theta_{t-1}$, $g_t$, $m_{t-1}$ and "
        "$v_{t-1}$, arrays of one shape; `step` is t, 1 at the first step; `lr` is $\\eta$ and "
        "`weight_decay` is $\\lambda$. Decay is for arrays of **more than one axis**: biases and "
        "a norm's gamma and beta, arrays of one axis, do not decay. Return $\\theta_t, m_t, v_t$ "
        "as `param, m, v`, new arrays, the means not corrected.",
        "L2 惩罚把 $\\lambda\\theta$ 加进梯度，Adam 会连同它一起除以 $\\sqrt{\\hat v}$：梯度大的权重几乎不衰减。"
        "AdamW 把衰减从梯度中拿了出来：\n\n"
        "$$\\theta_t = (1 - \\eta\\lambda)\\,\\theta_{t-1} - "
        "\\eta\\,\\frac{\\hat m}{\\sqrt{\\hat v} + \\epsilon}$$\n\n"
        "其中 $\\hat m = m_t / (1 - \\beta_1^t)$，$\\hat v = v_t / (1 - \\beta_2^t)$，"
        "$m_t = \\beta_1 m_{t-1} + (1 - \\beta_1) g_t$ 和 "
        "$v_t = \\beta_2 v_{t-1} + (1 - \\beta_2) g_t^2$ 是原始梯度的滑动平均。\n\n"
        "做一步更新。`param`、`grad`、`m`、`v` 分别是 $\\theta_{t-1}$、$g_t$、$m_{t-1}$、$v_{t-1}$，形状相同；"
        "`step` 是 t，第一步为 1；`lr` 是 $\\eta$，`weight_decay` 是 $\\lambda$。"
        "只有**多于一个轴**的数组才衰减：偏置以及归一化的 gamma 和 beta 只有一个轴，不衰减。"
        "以新数组返回 $\\theta_t, m_t, v_t$，即 `param, m, v`；返回的滑动平均是未校正的。",
    ),
    reference=adamw,
    library=(optim.AdamW.update, optim.decays),
    outputs=("param", "m", "v"),
    cases=adamw_cases,
    hints=(
        Text(
            "Write Adam, then shrink the parameter: two changes that do not know of each other.",
            "先写 Adam，再让参数缩小一点：这两个变化互不相干。",
        ),
        Text(
            "Both use the parameter of before: "
            "$\\theta - \\eta\\lambda\\theta - \\eta\\,\\hat m / (\\sqrt{\\hat v} + \\epsilon)$; "
            "the middle term only if `param.ndim > 1`.",
            "两者用的都是更新前的参数："
            "$\\theta - \\eta\\lambda\\theta - \\eta\\,\\hat m / (\\sqrt{\\hat v} + \\epsilon)$；"
            "中间一项只在 `param.ndim > 1` 时才有。",
        ),
        Text(
            "`decay = weight_decay if param.ndim > 1 else 0.0`; "
            "`param * (1 - lr * decay) - lr * m_hat / (np.sqrt(v_hat) + eps)`, with means of "
            "`grad` alone.",
            "`decay = weight_decay if param.ndim > 1 else 0.0`；"
            "`param * (1 - lr * decay) - lr * m_hat / (np.sqrt(v_hat) + eps)`，滑动平均只用 `grad`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "l2-in-the-gradient",
            as_l2,
            Text(
                "weight_decay * param is added to the gradient: that is Adam with an L2 penalty, "
                "which enters m and v. Decoupled, the decay acts on the parameter alone.",
                "把 weight_decay * param 加进了梯度：那是带 L2 惩罚的 Adam，它会进入 m 和 v。"
                "解耦的衰减只作用在参数上。",
            ),
        ),
        Misconception(
            "decay-divided-by-the-root",
            divided_by_the_root,
            Text(
                "the decay is divided by sqrt(v_hat) + eps along with m_hat: it belongs outside "
                "the fraction.",
                "衰减和 m_hat 一起除以了 sqrt(v_hat) + eps：它应在分式之外。",
            ),
        ),
        Misconception(
            "decay-without-the-rate",
            without_the_rate,
            Text(
                "the parameter shrinks by weight_decay: the rate is missing, 1 - lr * weight_decay.",
                "参数按 weight_decay 缩小：漏了学习率，应为 1 - lr * weight_decay。",
            ),
        ),
        Misconception(
            "decay-after-the-step",
            after_the_step,
            Text(
                "the decay is applied to the parameter after Adam's step: it is of the parameter "
                "before it.",
                "衰减作用在 Adam 更新之后的参数上：应作用在更新之前的参数上。",
            ),
        ),
        Misconception(
            "bias-decays",
            for_biases_too,
            Text(
                "an array of one axis decays: biases, gamma and beta do not, `param.ndim > 1` only.",
                "一个轴的数组也衰减了：偏置、gamma、beta 不衰减，只有 `param.ndim > 1` 才衰减。",
            ),
        ),
        Misconception(
            "decay-sign",
            growing,
            Text(
                "the parameter grows: decay pulls towards zero, 1 - lr * weight_decay.",
                "参数变大了：衰减是拉向零的，应为 1 - lr * weight_decay。",
            ),
        ),
        Misconception(
            "decay-missing",
            without_decay,
            Text(
                "this is Adam: the parameter does not decay.",
                "这是 Adam：参数没有衰减。",
            ),
        ),
        Misconception(
            "no-bias-correction",
            as_bert,
            Text(
                "the bias correction is missing, as in BERT's released optimizer: divide m by "
                "1 - beta_1^t and v by 1 - beta_2^t.",
                "缺少偏差校正（BERT 发布的优化器就是这样）：m 要除以 1 - beta_1^t，v 要除以 1 - beta_2^t。",
            ),
        ),
    ),
    topic="optimization",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=10,
    terms=adamw_terms,
    steps=lambda param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay: adam_steps(
        param, grad, m, v, step, lr, beta_1, beta_2, eps
    ),
    factors=lambda param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay: {
        "lr": lr,
        "1 - beta_1": 1 - beta_1,
        "1 - beta_2": 1 - beta_2,
    },
    docs="derivations/optimizers.md",
)

EXERCISES = (ADAMW,)

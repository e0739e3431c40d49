"""The rectified linear unit, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def relu_backward(dy, x):
    """Return dx of y = max(x, 0), with 0 where x = 0; dy, x and the result: (...)."""
    return ops.relu_backward(dy, ops.ReluCache(x > 0))


def relu_backward_cases(rng):
    """Return inputs of both signs, and some that are exactly zero."""

    def case(*shape):
        return {"dy": rng.normal(size=shape), "x": rng.normal(size=shape)}

    kink = case(3, 5)
    kink["x"][:, ::2] = 0
    return [
        Case(case(2, 5)),
        Case(case(2, 3, 7)),
        Case(case(11)),
        Case(kink, "x = 0"),
    ]


def gated_by_the_gradient(dy, x):
    return dy * (dy > 0)


def gated_by_both(dy, x):
    return dy * (dy > 0) * (x > 0)


def multiplied_by_the_output(dy, x):
    return dy * np.maximum(x, 0)


def relu_of_the_product(dy, x):
    return np.maximum(dy * x, 0)


def gate_without_dy(dy, x):
    return (x > 0).astype(dy.dtype)


def everything_passes(dy, x):
    return dy


def gate_open_at_zero(dy, x):
    return dy * (x >= 0)


def gate_half_open_at_zero(dy, x):
    return dy * np.heaviside(x, 0.5)


RELU_BACKWARD = Exercise(
    id="relu-backward",
    title=Text("ReLU backward", "ReLU 的反向传播"),
    statement=Text(
        "Forward is $y = \\max(x, 0)$, entry by entry. Given `dy`, the gradient of the loss with respect "
        "to y, and the input `x`, both (...), return `dx`.\n\n"
        "At x = 0 there is no derivative; take the subgradient 0, as PyTorch does.",
        "前向是逐元素的 $y = \\max(x, 0)$。给定损失对 y 的梯度 `dy` 和输入 `x`，形状都是 (...)，返回 `dx`。\n\n"
        "x = 0 处不可导；与 PyTorch 一样，取次梯度 0。",
    ),
    reference=relu_backward,
    library=(ops.relu_backward,),
    outputs=("dx",),
    cases=relu_backward_cases,
    hints=(
        Text(
            "The slope of the function is 1 on one side and 0 on the other: a gate.",
            "函数的斜率一边是 1，另一边是 0：像一道门。",
        ),
        Text("$dx = dy\\,[x > 0]$.", "$dx = dy\\,[x > 0]$。"),
        Text(
            "`x > 0` is an array of booleans; multiply dy by it.",
            "`x > 0` 是布尔数组，用 dy 乘以它。",
        ),
    ),
    misconceptions=(
        Misconception(
            "gated-by-the-gradient",
            gated_by_the_gradient,
            Text(
                "the gate looks at the sign of dy. It was the input that opened it: `x > 0`.",
                "门看的是 dy 的符号。决定门开关的是输入：`x > 0`。",
            ),
        ),
        Misconception(
            "gated-by-both",
            gated_by_both,
            Text(
                "negative gradients are held back, too: that is guided backpropagation, a way to draw "
                "pictures. The gradient of the loss has both signs.",
                "负的梯度也被挡住了：那是 guided backpropagation，用来画图的方法。损失的梯度有正有负。",
            ),
        ),
        Misconception(
            "multiplied-by-the-output",
            multiplied_by_the_output,
            Text(
                "dy is multiplied by the output max(x, 0). The slope is 1 where x > 0, not x.",
                "dy 乘上了输出 max(x, 0)。x > 0 时斜率是 1，不是 x。",
            ),
        ),
        Misconception(
            "relu-of-the-product",
            relu_of_the_product,
            Text(
                "the ReLU of dy * x is no derivative: dy passes unchanged where x > 0.",
                "对 dy * x 取 ReLU 不是求导：x > 0 处 dy 应原样通过。",
            ),
        ),
        Misconception(
            "dy-forgotten",
            gate_without_dy,
            Text(
                "this is the derivative of ReLU alone. The chain rule multiplies it by dy.",
                "这只是 ReLU 自身的导数。按链式法则还要乘以 dy。",
            ),
        ),
        Misconception(
            "gate-forgotten",
            everything_passes,
            Text(
                "everything passes. Where x was negative y is constant, and dx is 0.",
                "梯度全部通过了。x 为负处 y 是常数，dx 应为 0。",
            ),
        ),
        Misconception(
            "open-at-zero",
            gate_open_at_zero,
            Text(
                "at x = 0 the gate is open: take the subgradient 0, `x > 0` instead of `x >= 0`.",
                "x = 0 处门是开着的：这里取次梯度 0，用 `x > 0`，而不是 `x >= 0`。",
            ),
        ),
        Misconception(
            "half-open-at-zero",
            gate_half_open_at_zero,
            Text(
                "at x = 0 half of dy passes. One half is a subgradient as well, but the one asked for "
                "is 0.",
                "x = 0 处通过了一半的 dy。1/2 也是次梯度，但这里要求取 0。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    docs="derivations/activations.md",
)

EXERCISES = (RELU_BACKWARD,)

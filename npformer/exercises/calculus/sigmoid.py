"""Sigmoid and tanh: their derivatives are functions of their outputs."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def sigmoid_backward(dy, y):
    """Return dx of the sigmoid y = 1 / (1 + exp(-x)), given y; dy, y and the result: (...)."""
    return ops.sigmoid_backward(dy, ops.SigmoidCache(y))


def sigmoid_backward_cases(rng):
    """Return outputs of a sigmoid, some of them saturated."""

    def case(*shape, scale=1.0, part=""):
        y, _ = ops.sigmoid_forward(scale * rng.normal(size=shape))
        return Case({"dy": rng.normal(size=shape), "y": y}, part)

    return [
        case(2, 3),
        case(2, 3, 5, scale=3),
        case(7),
        case(3, 4, scale=100, part="saturated"),
    ]


def complement_forgotten(dy, y):
    return dy * y


def complement_alone(dy, y):
    return dy * (1 - y)


def sigmoid_taken_twice(dy, y):
    again = 1 / (1 + np.exp(-y))
    return dy * again * (1 - again)


def as_a_tanh(dy, y):
    return dy * (1 - y * y)


def sigmoid_without_dy(dy, y):
    return y * (1 - y)


def complement_squared(dy, y):
    return dy * y * (1 - y) ** 2


SIGMOID_BACKWARD = Exercise(
    id="sigmoid-backward",
    title=Text("Sigmoid backward", "Sigmoid 的反向传播"),
    statement=Text(
        "Forward is $y = \\sigma(x) = 1/(1 + e^{-x})$, entry by entry. Given `dy`, the gradient of the "
        "loss with respect to y, and the **output** `y`, both (...), return `dx`. You do not need x.",
        "前向是逐元素的 $y = \\sigma(x) = 1/(1 + e^{-x})$。给定损失对 y 的梯度 `dy` 和**输出** `y`，"
        "形状都是 (...)，返回 `dx`。不需要 x。",
    ),
    reference=sigmoid_backward,
    library=(ops.sigmoid_backward,),
    outputs=("dx",),
    cases=sigmoid_backward_cases,
    hints=(
        Text(
            "Differentiate $1/(1 + e^{-x})$, and write what comes out in terms of y: "
            "$e^{-x}/(1 + e^{-x}) = 1 - y$.",
            "对 $1/(1 + e^{-x})$ 求导，再用 y 表示结果：$e^{-x}/(1 + e^{-x}) = 1 - y$。",
        ),
        Text("$\\sigma'(x) = y (1 - y)$.", "$\\sigma'(x) = y (1 - y)$。"),
        Text("`dy * y * (1 - y)`.", "`dy * y * (1 - y)`。"),
    ),
    misconceptions=(
        Misconception(
            "complement-forgotten",
            complement_forgotten,
            Text(
                "the slope is y (1 - y): the factor 1 - y is missing. Without it a saturated sigmoid "
                "would have slope 1.",
                "斜率是 y (1 - y)，少了因子 1 - y。没有它，饱和的 sigmoid 斜率会是 1。",
            ),
        ),
        Misconception(
            "complement-alone",
            complement_alone,
            Text(
                "the slope is y (1 - y): the factor y is missing.",
                "斜率是 y (1 - y)，少了因子 y。",
            ),
        ),
        Misconception(
            "sigmoid-taken-twice",
            sigmoid_taken_twice,
            Text(
                "the sigmoid is applied to `y`, which is its output already: use y as it is.",
                "对 `y` 又取了一次 sigmoid，而 y 已经是它的输出：直接用 y 即可。",
            ),
        ),
        Misconception(
            "slope-of-tanh",
            as_a_tanh,
            Text(
                "1 - y^2 is the slope of tanh. That of the sigmoid is y (1 - y).",
                "1 - y^2 是 tanh 的斜率。sigmoid 的斜率是 y (1 - y)。",
            ),
        ),
        Misconception(
            "dy-forgotten",
            sigmoid_without_dy,
            Text(
                "this is the slope alone. The chain rule multiplies it by dy.",
                "这只是斜率本身。按链式法则还要乘以 dy。",
            ),
        ),
        Misconception(
            "complement-squared",
            complement_squared,
            Text(
                "1 - y is a factor once too often: $e^{-x}/(1 + e^{-x})^2$ is y (1 - y), one power of "
                "the denominator going to each.",
                "多乘了一次 1 - y：$e^{-x}/(1 + e^{-x})^2$ 等于 y (1 - y)，分母的两个幂各归一个因子。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    terms=lambda dy, y: {"dx": {"dy * y": dy * y, "- dy * y^2": -dy * y * y}},
    steps=lambda dy, y: {"slope": y * (1 - y)},
    docs="derivations/activations.md",
)


def tanh_backward(dy, y):
    """Return dx of y = tanh(x), given y; dy, y and the result: (...)."""
    return ops.tanh_backward(dy, ops.TanhCache(y))


def tanh_backward_cases(rng):
    """Return outputs of a tanh, some of them saturated."""

    def case(*shape, scale=1.0, part=""):
        y = np.tanh(scale * rng.normal(size=shape))
        return Case({"dy": rng.normal(size=shape), "y": y}, part)

    return [
        case(2, 3),
        case(2, 3, 5, scale=2),
        case(7),
        case(3, 4, scale=100, part="saturated"),
    ]


def square_forgotten(dy, y):
    return dy * (1 - y)


def square_of_the_difference(dy, y):
    return dy * (1 - y) ** 2


def tanh_taken_twice(dy, y):
    return dy * (1 - np.tanh(y) ** 2)


def as_a_sigmoid(dy, y):
    return dy * y * (1 - y)


def one_plus_the_square(dy, y):
    return dy * (1 + y * y)


def tanh_without_dy(dy, y):
    return 1 - y * y


TANH_BACKWARD = Exercise(
    id="tanh-backward",
    title=Text("Tanh backward", "Tanh 的反向传播"),
    statement=Text(
        "Forward is $y = \\tanh x$, entry by entry; BERT's pooler ends with it. Given `dy`, the gradient of "
        "the loss with respect to y, and the **output** `y`, both (...), return `dx`. You do not need x.",
        "前向是逐元素的 $y = \\tanh x$，BERT 的 pooler 就以它结尾。给定损失对 y 的梯度 `dy` 和**输出** `y`，"
        "形状都是 (...)，返回 `dx`。不需要 x。",
    ),
    reference=tanh_backward,
    library=(ops.tanh_backward,),
    outputs=("dx",),
    cases=tanh_backward_cases,
    hints=(
        Text(
            "tanh is a quotient, sinh over cosh; their derivatives are each other.",
            "tanh 是 sinh 与 cosh 的商，而这两者的导数就是彼此。",
        ),
        Text(
            "$\\tanh'(x) = 1 - \\tanh^2(x) = 1 - y^2$.",
            "$\\tanh'(x) = 1 - \\tanh^2(x) = 1 - y^2$。",
        ),
        Text("`dy * (1 - y * y)`.", "`dy * (1 - y * y)`。"),
    ),
    misconceptions=(
        Misconception(
            "square-forgotten",
            square_forgotten,
            Text(
                "the slope is 1 - y^2: the square is missing.",
                "斜率是 1 - y^2，少了平方。",
            ),
        ),
        Misconception(
            "square-of-the-difference",
            square_of_the_difference,
            Text(
                "(1 - y)^2 is not 1 - y^2: only y is squared.",
                "(1 - y)^2 不等于 1 - y^2：只有 y 要平方。",
            ),
        ),
        Misconception(
            "tanh-taken-twice",
            tanh_taken_twice,
            Text(
                "tanh is applied to `y`, which is its output already: use y as it is.",
                "对 `y` 又取了一次 tanh，而 y 已经是它的输出：直接用 y 即可。",
            ),
        ),
        Misconception(
            "slope-of-the-sigmoid",
            as_a_sigmoid,
            Text(
                "y (1 - y) is the slope of the sigmoid. That of tanh is 1 - y^2.",
                "y (1 - y) 是 sigmoid 的斜率。tanh 的斜率是 1 - y^2。",
            ),
        ),
        Misconception(
            "plus-the-square",
            one_plus_the_square,
            Text(
                "1 + y^2 is how the derivative of tan goes. For tanh the sign is minus.",
                "1 + y^2 是 tan 求导的形式。tanh 要用减号。",
            ),
        ),
        Misconception(
            "dy-forgotten",
            tanh_without_dy,
            Text(
                "this is the slope alone. The chain rule multiplies it by dy.",
                "这只是斜率本身。按链式法则还要乘以 dy。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    terms=lambda dy, y: {"dx": {"dy": dy, "- dy * y^2": -dy * y * y}},
    steps=lambda dy, y: {"slope": 1 - y * y},
    docs="derivations/activations.md",
)

EXERCISES = (SIGMOID_BACKWARD, TANH_BACKWARD)

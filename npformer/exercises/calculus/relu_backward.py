"""The rectified linear unit, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def relu_backward(dy, x):
    """Return dx of y = max(x, 0), with 0 where x = 0; dy, x and the result: (...)."""
    return ops.relu_backward(dy, ops.ReluCache(x > 0))


def relu_backward_cases(rng):
    """Return inputs of both signs, and some that are exactly zero."""

    def case(*shape):
        return {"dy": rng.normal(size=shape), "x": rng.normal(size=shape)}

    kink = case(3, 5)
    kink["x"][:, ::2] = 0
    return [Case(case(2, 5)), Case(case(2, 3, 7)), Case(case(11)), Case(kink, "x = 0")]


RELU_BACKWARD = Exercise(
    id="relu-backward",
    title="ReLU backward",
    statement=r"""
        Forward is $y = \max(x, 0)$, entry by entry. Given `dy`, the gradient of the loss with
        respect to y, and the input `x`, both (...), return `dx`.

        At x = 0 there is no derivative; take the subgradient 0, as PyTorch does.""",
    reference=relu_backward,
    library=(ops.relu_backward,),
    outputs=("dx",),
    cases=relu_backward_cases,
    hints=(
        "The slope of the function is 1 on one side and 0 on the other: a gate.",
        r"$dx = dy\,[x > 0]$.",
        "`x > 0` is an array of booleans; multiply dy by it.",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    docs="derivations/activations.md",
)


@RELU_BACKWARD.mistake("gated-by-the-gradient")
def gated_by_the_gradient(dy, x):
    """the gate looks at the sign of dy. It was the input that opened it: `x > 0`."""
    return dy * (dy > 0)


@RELU_BACKWARD.mistake("gated-by-both")
def gated_by_both(dy, x):
    """negative gradients are held back, too: that is guided backpropagation, a way to draw
    pictures. The gradient of the loss has both signs."""
    return dy * (dy > 0) * (x > 0)


@RELU_BACKWARD.mistake("multiplied-by-the-output")
def multiplied_by_the_output(dy, x):
    """dy is multiplied by the output max(x, 0). The slope is 1 where x > 0, not x."""
    return dy * np.maximum(x, 0)


@RELU_BACKWARD.mistake("relu-of-the-product")
def relu_of_the_product(dy, x):
    """the ReLU of dy * x is no derivative: dy passes unchanged where x > 0."""
    return np.maximum(dy * x, 0)


@RELU_BACKWARD.mistake("dy-forgotten")
def gate_without_dy(dy, x):
    """this is the derivative of ReLU alone. The chain rule multiplies it by dy."""
    return (x > 0).astype(dy.dtype)


@RELU_BACKWARD.mistake("gate-forgotten")
def everything_passes(dy, x):
    """everything passes. Where x was negative y is constant, and dx is 0."""
    return dy


@RELU_BACKWARD.mistake("open-at-zero")
def gate_open_at_zero(dy, x):
    """at x = 0 the gate is open: take the subgradient 0, `x > 0` instead of `x >= 0`."""
    return dy * (x >= 0)


@RELU_BACKWARD.mistake("half-open-at-zero")
def gate_half_open_at_zero(dy, x):
    """at x = 0 half of dy passes. One half is a subgradient as well, but the one asked for is 0."""
    return dy * np.heaviside(x, 0.5)

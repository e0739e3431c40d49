"""The sigmoid, backward: its derivative is a function of its output."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def sigmoid_backward(dy, y):
    """Return dx of the sigmoid y = 1 / (1 + exp(-x)), given y; dy, y and the result: (...)."""
    return ops.sigmoid_backward(dy, ops.SigmoidCache(y))


def sigmoid_backward_cases(rng):
    """Return outputs of a sigmoid, some of them saturated."""

    def case(*shape, scale=1.0, part=""):
        y, _ = ops.sigmoid_forward(scale * rng.normal(size=shape))
        return Case({"dy": rng.normal(size=shape), "y": y}, part)

    return [case(2, 3), case(2, 3, 5, scale=3), case(7), case(3, 4, scale=100, part="saturated")]


SIGMOID_BACKWARD = Exercise(
    id="sigmoid-backward",
    title="Sigmoid backward",
    statement=r"""
        Forward is $y = \sigma(x) = 1/(1 + e^{-x})$, entry by entry. Given `dy`, the gradient of the
        loss with respect to y, and the **output** `y`, both (...), return `dx`. You do not need
        x.""",
    reference=sigmoid_backward,
    library=(ops.sigmoid_backward,),
    outputs=("dx",),
    cases=sigmoid_backward_cases,
    hints=(
        """Differentiate $1/(1 + e^{-x})$, and write what comes out in terms of y:
        $e^{-x}/(1 + e^{-x}) = 1 - y$.""",
        r"$\sigma'(x) = y (1 - y)$.",
        "`dy * y * (1 - y)`.",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    terms=lambda dy, y: {"dx": {"dy * y": dy * y, "- dy * y^2": -dy * y * y}},
    steps=lambda dy, y: {"slope": y * (1 - y)},
    docs="derivations/activations.md",
)


@SIGMOID_BACKWARD.mistake("complement-forgotten")
def complement_forgotten(dy, y):
    """the slope is y (1 - y): the factor 1 - y is missing. Without it a saturated sigmoid would
    have slope 1."""
    return dy * y


@SIGMOID_BACKWARD.mistake("complement-alone")
def complement_alone(dy, y):
    """the slope is y (1 - y): the factor y is missing."""
    return dy * (1 - y)


@SIGMOID_BACKWARD.mistake("sigmoid-taken-twice")
def sigmoid_taken_twice(dy, y):
    """the sigmoid is applied to `y`, which is its output already: use y as it is."""
    again = 1 / (1 + np.exp(-y))
    return dy * again * (1 - again)


@SIGMOID_BACKWARD.mistake("slope-of-tanh")
def as_a_tanh(dy, y):
    """1 - y^2 is the slope of tanh. That of the sigmoid is y (1 - y)."""
    return dy * (1 - y * y)


@SIGMOID_BACKWARD.mistake("dy-forgotten")
def sigmoid_without_dy(dy, y):
    """this is the slope alone. The chain rule multiplies it by dy."""
    return y * (1 - y)


@SIGMOID_BACKWARD.mistake("complement-squared")
def complement_squared(dy, y):
    """1 - y is a factor once too often: $e^{-x}/(1 + e^{-x})^2$ is y (1 - y), one power of the
    denominator going to each."""
    return dy * y * (1 - y) ** 2

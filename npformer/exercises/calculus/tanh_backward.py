"""Tanh, backward: its derivative is a function of its output."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def tanh_backward(dy, y):
    """Return dx of y = tanh(x), given y; dy, y and the result: (...)."""
    return ops.tanh_backward(dy, ops.TanhCache(y))


def tanh_backward_cases(rng):
    """Return outputs of a tanh, some of them saturated."""

    def case(*shape, scale=1.0, part=""):
        y = np.tanh(scale * rng.normal(size=shape))
        return Case({"dy": rng.normal(size=shape), "y": y}, part)

    return [case(2, 3), case(2, 3, 5, scale=2), case(7), case(3, 4, scale=100, part="saturated")]


TANH_BACKWARD = Exercise(
    id="tanh-backward",
    title="Tanh backward",
    statement=r"""
        Forward is $y = \tanh x$, entry by entry; BERT's pooler ends with it. Given `dy`, the
        gradient of the loss with respect to y, and the **output** `y`, both (...), return `dx`. You
        do not need x.""",
    reference=tanh_backward,
    library=(ops.tanh_backward,),
    outputs=("dx",),
    cases=tanh_backward_cases,
    hints=(
        "tanh is a quotient, sinh over cosh; their derivatives are each other.",
        r"$\tanh'(x) = 1 - \tanh^2(x) = 1 - y^2$.",
        "`dy * (1 - y * y)`.",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    terms=lambda dy, y: {"dx": {"dy": dy, "- dy * y^2": -dy * y * y}},
    steps=lambda dy, y: {"slope": 1 - y * y},
    docs="derivations/activations.md",
)


@TANH_BACKWARD.mistake("square-forgotten")
def square_forgotten(dy, y):
    """the slope is 1 - y^2: the square is missing."""
    return dy * (1 - y)


@TANH_BACKWARD.mistake("square-of-the-difference")
def square_of_the_difference(dy, y):
    """(1 - y)^2 is not 1 - y^2: only y is squared."""
    return dy * (1 - y) ** 2


@TANH_BACKWARD.mistake("tanh-taken-twice")
def tanh_taken_twice(dy, y):
    """tanh is applied to `y`, which is its output already: use y as it is."""
    return dy * (1 - np.tanh(y) ** 2)


@TANH_BACKWARD.mistake("slope-of-the-sigmoid")
def as_a_sigmoid(dy, y):
    """y (1 - y) is the slope of the sigmoid. That of tanh is 1 - y^2."""
    return dy * y * (1 - y)


@TANH_BACKWARD.mistake("plus-the-square")
def one_plus_the_square(dy, y):
    """1 + y^2 is how the derivative of tan goes. For tanh the sign is minus."""
    return dy * (1 + y * y)


@TANH_BACKWARD.mistake("dy-forgotten")
def tanh_without_dy(dy, y):
    """this is the slope alone. The chain rule multiplies it by dy."""
    return 1 - y * y

"""The softmax, forward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


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


SOFTMAX = Exercise(
    id="softmax",
    title="Softmax",
    statement=r"""
        Turn logits into probabilities along the **last** axis:

        $$p_j = \frac{e^{x_j}}{\sum_l e^{x_l}}$$

        `x` has shape (..., C), with one or more axes in front; so has the result. Logits of size
        1000 must neither overflow nor give NaN.""",
    reference=softmax,
    library=(ops.softmax_forward,),
    outputs=("probs",),
    cases=softmax_cases,
    hints=(
        "Adding the same number to all logits of a row does not change its softmax.",
        "Subtract the row's maximum first: then every exponential is at most 1.",
        """`e = np.exp(x - x.max(axis=-1, keepdims=True))`, and divide `e` by its sum over the same
        axis, again with `keepdims=True`.""",
    ),
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


@SOFTMAX.mistake("no-shift")
def without_shift(x):
    """exp overflows: subtract the maximum of each row before it. The result is the same, since a
    common factor cancels."""
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


@SOFTMAX.mistake("sum-over-everything")
def over_everything(x):
    """all entries together sum to 1, expected each row: give the sum and the maximum
    `axis=-1, keepdims=True`."""
    e = np.exp(x - x.max())
    return e / e.sum()


@SOFTMAX.mistake("first-axis")
def over_first_axis(x):
    """the columns sum to 1, expected the rows: the axis is -1, not 0."""
    e = np.exp(x - x.max(axis=0, keepdims=True))
    return e / e.sum(axis=0, keepdims=True)


@SOFTMAX.mistake("global-maximum")
def shifted_by_global_maximum(x):
    """one maximum is subtracted from all rows: a row far below it becomes 0/0. Each row needs its
    own maximum."""
    e = np.exp(x - x.max())
    return e / e.sum(axis=-1, keepdims=True)

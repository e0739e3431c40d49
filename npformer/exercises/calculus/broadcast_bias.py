"""The broadcast bias, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def broadcast_bias_backward(dy, bias):
    """Return dbias of y = x + bias, in the shape of bias; dy: the shape of y and x."""
    _, dbias = ops.broadcast_add_backward(dy, ops.BroadcastAddCache(bias))
    return dbias


def broadcast_bias_cases(rng):
    """Return biases that lack axes, that have axes of length 1, and both."""

    def case(shape, bias, part=""):
        return Case({"dy": rng.normal(size=shape), "bias": rng.normal(size=bias)}, part)

    return [
        case((2, 3), (3,)),
        case((2, 3, 5), (5,)),
        case((4, 3, 5, 7), (5, 7)),
        case((2, 3, 5), (2, 1, 5), "axes of length 1"),
        case((2, 5, 4, 3), (1, 5, 4, 3), "axes of length 1"),
        case((2, 5, 3), (5, 1), "axes missing and of length 1"),
        case((2, 3, 7, 5), (3, 1, 1), "axes missing and of length 1"),
        case((3, 1, 4), (1, 4), "nothing to sum"),
        case((3, 4), (3, 4), "nothing to sum"),
    ]


BROADCAST_BIAS = Exercise(
    id="broadcast-bias",
    title="Broadcast bias: what was repeated is summed",
    statement="""
        Forward is `y = x + bias`, and NumPy repeats the bias until it has the shape of `x`: axes
        are matched from the **last** one on; an axis that the bias lacks, or that has length 1, is
        repeated.

        Given `dy`, of the shape of y, and `bias`, return `dbias`, **of the shape of bias**. It must
        work for every shape of one axis or more that broadcasts: with y of (B, T, D) the bias may
        be (D,), (T, D), (T, 1), (B, 1, D), (B, T, D), ... (dx is dy, and is not asked for.)""",
    reference=broadcast_bias_backward,
    library=(ops.broadcast_add_backward,),
    outputs=("dbias",),
    cases=broadcast_bias_cases,
    hints=(
        "An entry of the bias was added to many y: each of them sends its gradient back.",
        """Sum dy over the axes that were repeated: those that the bias lacks, and those where it
        has length 1. An axis of length 1 stays in the result.""",
        """`lead = dy.ndim - bias.ndim`; first `dy.sum(axis=tuple(range(lead)))`, then sum over the
        axes `i` with `bias.shape[i] == 1`, with `keepdims=True`.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    factors=lambda dy, bias: {"the number of copies": dy.size // bias.size},
    docs="derivations/linear.md",
)


@BROADCAST_BIAS.mistake("not-summed")
def bias_not_summed(dy, bias):
    """dy is handed back as it is. What broadcasting repeated has to be summed, down to the shape of
    the bias."""
    return dy


@BROADCAST_BIAS.mistake("first-axis-only")
def bias_over_the_first_axis(dy, bias):
    """only the first axis is summed. Which axes were repeated follows from the shapes of dy and
    bias; it may be several or none."""
    return dy.sum(axis=0)


@BROADCAST_BIAS.mistake("length-1-forgotten")
def bias_over_missing_axes(dy, bias):
    """the axes that the bias lacks are summed, those where it has length 1 are not: they were
    repeated as well."""
    return dy.sum(axis=tuple(range(dy.ndim - bias.ndim)))


@BROADCAST_BIAS.mistake("keepdims-forgotten")
def bias_without_keepdims(dy, bias):
    """the sums are right, but the axes of length 1 are gone: sum over those with `keepdims=True`,
    or reshape the result to bias.shape."""
    shape = (1,) * (dy.ndim - bias.ndim) + bias.shape
    return dy.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1))


@BROADCAST_BIAS.mistake("mean-instead-of-sum")
def bias_averaged(dy, bias):
    """the mean is taken where the sum belongs: every y that the entry was added to adds its whole
    gradient."""
    shape = (1,) * (dy.ndim - bias.ndim) + bias.shape
    repeated = tuple(i for i, n in enumerate(shape) if n == 1)
    return dy.mean(axis=repeated, keepdims=True).reshape(bias.shape)


@BROADCAST_BIAS.mistake("summed-to-a-number")
def bias_summed_to_a_number(dy, bias):
    """all of dy is summed to one number. Only the axes that were repeated are summed."""
    return np.full_like(bias, dy.sum())


@BROADCAST_BIAS.mistake("first-copy-only")
def bias_cut_out(dy, bias):
    """only the first of the repeated copies is taken. All of them count: sum, do not slice."""
    shape = (1,) * (dy.ndim - bias.ndim) + bias.shape
    return dy[tuple(slice(n) for n in shape)].reshape(bias.shape)

"""The residual connection, backward: an array that is used twice."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def residual_backward(dy, x, w, h):
    """Return dx, dw of y = x + h, where h = tanh(x @ w); dy, x, h: (..., D), w: (D, D)."""
    da = ops.tanh_backward(dy, ops.TanhCache(h))
    dx, dw, _ = ops.linear_backward(da, ops.LinearCache(x, w, None))
    return dy + dx, dw


def residual_backward_cases(rng):
    """Return a branch of several shapes; w is square, so that no shape tells its transpose."""

    def case(*shape, scale=1.0, part=""):
        x, w = rng.normal(size=shape), scale * rng.normal(size=(shape[-1], shape[-1]))
        args = {"dy": rng.normal(size=shape), "x": x, "w": w, "h": np.tanh(x @ w)}
        return Case(args, part)

    return [
        case(2, 3),
        case(2, 5, 3, scale=0.5),
        case(5, 7, scale=0.4),
        case(1, 5, scale=0.5, part="one row"),
        case(1, 1, 7, scale=0.4, part="one row"),
        case(3, 1, part="one feature"),
        case(3, 5, scale=200, part="saturated"),
    ]


def through_the_branch(dy, x, w, h):
    """Return what comes back through tanh(x @ w): dx without the sum, and dw."""
    da = dy * (1 - h * h)
    return da @ w.T, x.reshape(-1, x.shape[-1]).T @ da.reshape(-1, x.shape[-1])


def residual_terms(dy, x, w, h):
    """Return the addends of dx."""
    return {"dx": {"dy": dy, "through the branch": through_the_branch(dy, x, w, h)[0]}}


RESIDUAL_BACKWARD = Exercise(
    id="residual-backward",
    title="Residual connection: gradients add up where paths part",
    statement=r"""
        Forward is a residual connection around a small branch,

        $$y = x + h, \qquad h = \tanh(x\,w),$$

        with the product over the last axis: `x`, `h` and y are (..., D), `w` is (D, D). Given `dy`,
        the gradient of the loss with respect to y, and `x`, `w`, `h` of the forward, return
        `dx, dw`, of shapes (..., D) and (D, D).

        x is used twice.""",
    reference=residual_backward,
    library=(ops.tanh_backward, ops.linear_backward),
    outputs=("dx", "dw"),
    cases=residual_backward_cases,
    hints=(
        "What is used twice gets two gradients, and their sum is its gradient.",
        r"""Along the skip dy arrives unchanged. Through the branch it passes the tanh,
        $da = dy \odot (1 - h^2)$, then the product: $da\,w^\top$.""",
        """`da = dy * (1 - h * h)`, `dx = dy + da @ w.T`, and `dw = rows.T @ da` with x and da
        flattened to (N, D).""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    terms=residual_terms,
    steps=lambda dy, x, w, h: {"da": dy * (1 - h * h)},
    factors=lambda dy, x, w, h: {
        "D": x.shape[-1],
        "the number of rows": x.size // x.shape[-1],
        "B": len(x),
    },
    docs="derivations/linear.md",
)


@RESIDUAL_BACKWARD.mistake("skip-forgotten")
def skip_forgotten(dy, x, w, h):
    """only the branch sends a gradient back. x also went around it: add dy."""
    return through_the_branch(dy, x, w, h)


@RESIDUAL_BACKWARD.mistake("branch-forgotten")
def branch_forgotten(dy, x, w, h):
    """only the skip sends a gradient back. x also went into the branch: add da @ w.T."""
    return dy, through_the_branch(dy, x, w, h)[1]


@RESIDUAL_BACKWARD.mistake("averaged")
def averaged(dy, x, w, h):
    """the two gradients are averaged. Where paths part in the forward, the gradients of both add up
    in full."""
    dx, dw = through_the_branch(dy, x, w, h)
    return (dy + dx) / 2, dw


@RESIDUAL_BACKWARD.mistake("multiplied")
def multiplied(dy, x, w, h):
    """the two gradients are multiplied. Along one path factors multiply; different paths add."""
    dx, dw = through_the_branch(dy, x, w, h)
    return dy * dx, dw


@RESIDUAL_BACKWARD.mistake("one-instead-of-dy")
def one_plus_instead_of_dy_plus(dy, x, w, h):
    """the skip's slope 1 is added as it is. The chain rule multiplies it by dy: dy + da @ w.T."""
    dx, dw = through_the_branch(dy, x, w, h)
    return 1 + dx, dw


@RESIDUAL_BACKWARD.mistake("skip-inside-the-branch")
def skip_inside_the_branch(dy, x, w, h):
    """dy of the skip is added too early and goes through w. It goes around the branch: add it at
    the end."""
    da = dy * (1 - h * h)
    return (dy + da) @ w.T, through_the_branch(dy, x, w, h)[1]


@RESIDUAL_BACKWARD.mistake("w-not-transposed")
def w_not_transposed(dy, x, w, h):
    """da is multiplied by w. Its shape is square and does not tell, but the sum runs over the
    outputs: w.T."""
    return dy + dy * (1 - h * h) @ w, through_the_branch(dy, x, w, h)[1]


@RESIDUAL_BACKWARD.mistake("dw-transposed")
def dw_transposed(dy, x, w, h):
    """dw is transposed. w is (in, out): rows.T @ da, not da.T @ rows."""
    dx, dw = through_the_branch(dy, x, w, h)
    return dy + dx, dw.T


@RESIDUAL_BACKWARD.mistake("tanh-forgotten")
def tanh_slope_missing(dy, x, w, h):
    """the branch lacks the slope of the tanh: da = dy * (1 - h^2)."""
    return dy + dy @ w.T, x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, x.shape[-1])


@RESIDUAL_BACKWARD.mistake("dw-with-the-output")
def dw_with_the_output(dy, x, w, h):
    """dw uses y. What was multiplied by w is x."""
    dx, _ = through_the_branch(dy, x, w, h)
    return dy + dx, through_the_branch(dy, x + h, w, h)[1]


@RESIDUAL_BACKWARD.mistake("skip-in-dw")
def skip_in_dw(dy, x, w, h):
    """dw has a share of the skip. w lies on the branch alone."""
    dx, dw = through_the_branch(dy, x, w, h)
    rows = x.reshape(-1, x.shape[-1])
    return dy + dx, dw + rows.T @ dy.reshape(-1, x.shape[-1])

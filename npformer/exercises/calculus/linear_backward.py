"""The affine map, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def linear_backward(dy, x, w):
    """Return dx, dw, db of y = x @ w + b; dy: (..., O), x: (..., I), w: (I, O), b: (O,)."""
    b = np.zeros_like(w[0])
    return ops.linear_backward(dy, ops.LinearCache(x, w, b))


def linear_backward_cases(rng):
    """Return inputs with one, two and three axes in front of the last."""

    def case(*lead, i, o, part=""):
        args = {
            "dy": rng.normal(size=(*lead, o)),
            "x": rng.normal(size=(*lead, i)),
            "w": rng.normal(size=(i, o)),
        }
        return Case(args, part)

    return [
        case(5, i=2, o=3),
        case(2, 5, i=7, o=3),
        case(3, 4, i=5, o=7),
        case(2, 3, 5, i=4, o=7),
        case(1, i=3, o=4, part="one row"),
        case(1, 1, i=5, o=2, part="one row"),
        case(3, 5, i=1, o=4, part="one feature"),
    ]


LINEAR_BACKWARD = Exercise(
    id="linear-backward",
    title="Linear map: where the transpose comes from",
    statement=r"""
        Forward, the last axis goes through an affine map, the same one in every row $n$:

        $$y_{no} = \sum_i x_{ni} w_{io} + b_o$$

        `x` is (..., I), `w` is (I, O), `b` is (O,), and `dy`, the gradient of the loss with respect
        to y, is (..., O). There may be one or more axes in front: all of them count as rows. The
        bias is not handed over, since its gradient does not depend on it.

        Return `dx, dw, db`, each of the shape of what it is the gradient of.""",
    reference=linear_backward,
    library=(ops.linear_backward,),
    outputs=("dx", "dw", "db"),
    cases=linear_backward_cases,
    hints=(
        """Write y with all its indices. The gradient of an entry is the sum over every y it occurs
        in: the indices that it does not carry itself are summed.""",
        r"""$dx_{ni} = \sum_o dy_{no} w_{io}$, $dw_{io} = \sum_n x_{ni} dy_{no}$,
        $db_o = \sum_n dy_{no}$, with $n$ over all rows.""",
        """Flatten first: `rows = x.reshape(-1, I)`, `drows = dy.reshape(-1, O)`. Then `dy @ w.T`,
        `rows.T @ drows`, `drows.sum(axis=0)`.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    steps=lambda dy, x, w: {
        "rows": x.reshape(-1, x.shape[-1]),
        "drows": dy.reshape(-1, dy.shape[-1]),
    },
    factors=lambda dy, x, w: {
        "B": len(x),
        "the number of rows": x.size // x.shape[-1],
        "I": w.shape[0],
        "O": w.shape[1],
    },
    docs="derivations/linear.md",
)


@LINEAR_BACKWARD.mistake("dw-transposed")
def dw_transposed(dy, x, w):
    """dw is (O, I), as PyTorch stores its weight. Here `w` is (I, O), and a gradient has the shape
    of its array: `rows.T @ drows`."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, drows.T @ rows, drows.sum(axis=0)


@LINEAR_BACKWARD.mistake("dw-not-summed")
def dw_not_summed(dy, x, w):
    """there is one dw for every row. All rows use the same w, so their gradients are added: the
    matrix product `rows.T @ drows` does it."""
    return dy @ w.T, x[..., :, None] * dy[..., None, :], dy.reshape(-1, dy.shape[-1]).sum(axis=0)


@LINEAR_BACKWARD.mistake("dw-of-each-sequence")
def dw_of_each_sequence(dy, x, w):
    """`@` multiplied the last two axes and kept the ones in front, so that there is one dw for each
    sequence. Flatten x and dy to two axes first: w is shared by the batch, too."""
    return dy @ w.T, x.swapaxes(-1, -2) @ dy, dy.reshape(-1, dy.shape[-1]).sum(axis=0)


@LINEAR_BACKWARD.mistake("dw-of-the-first-entry")
def dw_of_the_first_entry(dy, x, w):
    """dw comes from the first entry of the batch alone. Sum over all of them."""
    first, dfirst = x[0].reshape(-1, x.shape[-1]), dy[0].reshape(-1, dy.shape[-1])
    return dy @ w.T, first.T @ dfirst, dy.reshape(-1, dy.shape[-1]).sum(axis=0)


@LINEAR_BACKWARD.mistake("db-not-summed")
def db_not_summed(dy, x, w):
    """db is dy itself. b was added in every row, so db is the sum over the rows, of shape (O,)."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows, dy


@LINEAR_BACKWARD.mistake("db-over-the-first-axis")
def db_over_the_first_axis(dy, x, w):
    """db is summed over the first axis alone. With (B, T, O) the tokens are rows as well: sum over
    all axes but the last."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows, dy.sum(axis=0)


@LINEAR_BACKWARD.mistake("db-over-the-last-axis")
def db_over_the_last_axis(dy, x, w):
    """db is summed over the outputs, the only axis that b does have. Sum over all others."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows, dy.sum(axis=-1)


@LINEAR_BACKWARD.mistake("mean-over-the-rows")
def averaged_over_the_rows(dy, x, w):
    """the mean over the rows was taken where the sum belongs. If the loss is a mean, dy holds that
    factor already."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows / len(rows), drows.mean(axis=0)


@LINEAR_BACKWARD.mistake("divided-by-the-batch")
def divided_by_the_batch(dy, x, w):
    """the result is divided by the batch size. Only the loss takes means; dy holds that factor
    already, and it would count twice."""
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows / len(x), drows.sum(axis=0) / len(x)

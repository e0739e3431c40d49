"""The pooler, backward."""

import numpy as np

from npformer import models, ops
from npformer.exercises.exercise import Case, Exercise


def pooler_backward(dpooled, hidden, w, b):
    """Return dhidden, dw, db of pooled = tanh(hidden[:, 0] w + b).

    dpooled: (B, D); hidden: (B, T, D); w: (D, D); b: (D,).
    """
    z, linear = ops.linear_forward(hidden[:, 0], w, b)
    _, tanh = ops.tanh_forward(z)
    dfirst, dw, db = ops.linear_backward(ops.tanh_backward(dpooled, tanh), linear)
    dhidden = np.zeros_like(hidden)
    dhidden[:, 0] = dfirst
    return dhidden, dw, db


def pooler_backward_cases(rng):
    """Return states of several sizes; in some the tanh is nearly 1 or -1."""

    def case(*shape, scale=1.0, part=""):
        batch, _, d_model = shape
        args = {
            "dpooled": rng.normal(size=(batch, d_model)),
            "hidden": scale * rng.normal(size=shape),
            "w": rng.normal(size=(d_model, d_model)) / np.sqrt(d_model),
            "b": rng.normal(size=d_model),
        }
        return Case(args, part)

    return [
        case(2, 3, 5),
        case(5, 2, 3),
        case(3, 7, 5),
        case(2, 1, 3, part="one token"),
        case(1, 2, 3, part="one sequence"),
        case(2, 3, 5, scale=100, part="extreme values"),
    ]


def at_first_token(dfirst, hidden):
    """Return the gradient of all states, zero but at the first token."""
    dhidden = np.zeros_like(hidden)
    dhidden[:, 0] = dfirst
    return dhidden


def pooler_terms(dpooled, hidden, w, b):
    """Return what comes through each term of the tanh's derivative."""
    first = hidden[:, 0]
    pooled = np.tanh(first @ w + b)
    parts = {"dpooled": dpooled, "- dpooled * pooled^2": -dpooled * pooled**2}
    return {
        "dhidden": {name: at_first_token(dz @ w.T, hidden) for name, dz in parts.items()},
        "dw": {name: first.T @ dz for name, dz in parts.items()},
        "db": {name: dz.sum(axis=0) for name, dz in parts.items()},
    }


def pooler_steps(dpooled, hidden, w, b):
    """Return the pooled state, and the gradient before the tanh."""
    pooled = np.tanh(hidden[:, 0] @ w + b)
    return {"z": hidden[:, 0] @ w + b, "pooled": pooled, "dz": dpooled * (1 - pooled**2)}


POOLER_BACKWARD = Exercise(
    id="pooler-backward",
    title="BERT's pooler, backward",
    statement=r"""
        To classify a sequence, BERT takes the last layer's state of its first token, [CLS]:

        $$z = h_{[\mathrm{CLS}]}\,w + b, \qquad \mathrm{pooled} = \tanh(z)$$

        where $h_{[\mathrm{CLS}]}$ is `hidden[:, 0]`, of shape (B, D). Given `dpooled` (B, D), the
        gradient of the loss with respect to pooled, and `hidden` (B, T, D), `w` (D, D), `b` (D,),
        return `dhidden, dw, db`. dhidden is the gradient of **all** states, (B, T, D).""",
    reference=pooler_backward,
    library=(models.SequenceClassifier.backward, ops.tanh_backward),
    outputs=("dhidden", "dw", "db"),
    cases=pooler_backward_cases,
    hints=(
        "What is the derivative of the loss with respect to a state that was not read?",
        r"""$dz = dpooled\,(1 - \tanh^2 z)$; the first token's state gets $dz\,w^\top$, the other
        positions get zero.""",
        """`dhidden = np.zeros_like(hidden)`, `dhidden[:, 0] = dz @ w.T`;
        `dw = hidden[:, 0].T @ dz`; `db = dz.sum(axis=0)`.""",
    ),
    tracks=("class", "gradcheck"),
    difficulty=1,
    minutes=10,
    terms=pooler_terms,
    steps=pooler_steps,
    factors=lambda dpooled, hidden, w, b: {
        "B": hidden.shape[0],
        "T": hidden.shape[1],
        "D": hidden.shape[2],
    },
    docs="derivations/activations.md",
)


@POOLER_BACKWARD.mistake("tanh-derivative-missing")
def without_the_derivative(dpooled, hidden, w, b):
    """dpooled is passed on as dz: multiply it by the tanh's derivative, 1 - pooled^2."""
    first = hidden[:, 0]
    return at_first_token(dpooled @ w.T, hidden), first.T @ dpooled, dpooled.sum(axis=0)


@POOLER_BACKWARD.mistake("derivative-of-the-input")
def with_z_instead_of_tanh(dpooled, hidden, w, b):
    r"""the factor is 1 - z^2: in $1 - \tanh^2 z$ it is the output that is squared."""
    first = hidden[:, 0]
    dz = dpooled * (1 - (first @ w + b) ** 2)
    return at_first_token(dz @ w.T, hidden), first.T @ dz, dz.sum(axis=0)


@POOLER_BACKWARD.mistake("square-missing")
def without_the_square(dpooled, hidden, w, b):
    r"""the factor is 1 - tanh z: the derivative of tanh is $1 - \tanh^2 z$."""
    first = hidden[:, 0]
    dz = dpooled * (1 - np.tanh(first @ w + b))
    return at_first_token(dz @ w.T, hidden), first.T @ dz, dz.sum(axis=0)


@POOLER_BACKWARD.mistake("sigmoid-derivative")
def with_the_slope_of_a_sigmoid(dpooled, hidden, w, b):
    """p (1 - p) is the derivative of a sigmoid; the tanh's is 1 - p^2."""
    first = hidden[:, 0]
    pooled = np.tanh(first @ w + b)
    dz = dpooled * pooled * (1 - pooled)
    return at_first_token(dz @ w.T, hidden), first.T @ dz, dz.sum(axis=0)


@POOLER_BACKWARD.mistake("every-position")
def at_every_position(dpooled, hidden, w, b):
    """every position gets the gradient: only the first token was read, so all others get zero."""
    first = hidden[:, 0]
    dz = dpooled * (1 - np.tanh(first @ w + b) ** 2)
    dhidden = np.zeros_like(hidden) + (dz @ w.T)[:, None]
    return dhidden, first.T @ dz, dz.sum(axis=0)


@POOLER_BACKWARD.mistake("mean-pooling")
def as_the_mean_of_all(dpooled, hidden, w, b):
    """this is mean pooling: the states are averaged over the positions. BERT's pooler reads the
    first token alone."""
    mean = hidden.mean(axis=1)
    dz = dpooled * (1 - np.tanh(mean @ w + b) ** 2)
    dhidden = np.zeros_like(hidden) + (dz @ w.T)[:, None] / hidden.shape[1]
    return dhidden, mean.T @ dz, dz.sum(axis=0)


@POOLER_BACKWARD.mistake("last-token")
def from_the_last_token(dpooled, hidden, w, b):
    """the last token is read: [CLS] is the first, `hidden[:, 0]`."""
    last = hidden[:, -1]
    dz = dpooled * (1 - np.tanh(last @ w + b) ** 2)
    dhidden = np.zeros_like(hidden)
    dhidden[:, -1] = dz @ w.T
    return dhidden, last.T @ dz, dz.sum(axis=0)


@POOLER_BACKWARD.mistake("w-not-transposed")
def without_the_transpose(dpooled, hidden, w, b):
    """dz is multiplied by w: the way back through h w is dz w^T."""
    first = hidden[:, 0]
    dz = dpooled * (1 - np.tanh(first @ w + b) ** 2)
    return at_first_token(dz @ w, hidden), first.T @ dz, dz.sum(axis=0)

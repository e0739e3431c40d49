"""The feed-forward layer, backward."""

import math

import numpy as np

from npformer import layers
from npformer.exercises.exercise import Case, Exercise


def feed_forward_backward(dy, x, w_1, b_1, w_2):
    """Return dx, dw_1, db_1, dw_2, db_2 of y = gelu(x w_1 + b_1) w_2 + b_2.

    dy, x: (..., D); w_1: (D, F); b_1: (F,); w_2: (F, D).
    """
    d_model, d_ff = w_1.shape
    config = layers.FeedForwardConfig(d_model=d_model, d_ff=d_ff)
    params = {"w_1": w_1, "b_1": b_1, "w_2": w_2, "b_2": np.zeros(d_model, x.dtype)}
    layer = layers.FeedForward(config, params)
    _, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)
    return dx, grads["w_1"], grads["b_1"], grads["w_2"], grads["b_2"]


def feed_forward_backward_cases(rng):
    """Return layers of several sizes; in one GELU is nearly 0 or nearly the identity."""

    def case(*shape, d_ff, scale=1.0, part=""):
        d_model = shape[-1]
        args = {
            "dy": rng.normal(size=shape),
            "x": scale * rng.normal(size=shape),
            "w_1": rng.normal(size=(d_model, d_ff)),
            "b_1": rng.normal(size=d_ff),
            "w_2": rng.normal(size=(d_ff, d_model)),
        }
        return Case(args, part)

    return [
        case(3, 2, d_ff=5),
        case(2, 3, 5, d_ff=7),
        case(5, 4, 3, d_ff=11),
        case(3, 1, 2, d_ff=5, part="one token"),
        case(4, 3, d_ff=7, scale=100, part="extreme values"),
    ]


def cdf(h):
    return (1 + np.vectorize(math.erf)(h / np.sqrt(2))) / 2


def pdf(h):
    return np.exp(-h * h / 2) / np.sqrt(2 * np.pi)


def gelu(h):
    return h * cdf(h)


def gelu_slope(h):
    return cdf(h) + h * pdf(h)


def around_gelu(dy, x, w_1, w_2, a, slope):
    """Return all gradients, given GELU's output and its derivative."""
    dh = (dy @ w_2.T) * slope
    rows, dys = tuple(range(x.ndim - 1)), dy.reshape(-1, dy.shape[-1])
    xs, activations, dhs = (z.reshape(-1, z.shape[-1]) for z in (x, a, dh))
    return dh @ w_1.T, xs.T @ dhs, dh.sum(axis=rows), activations.T @ dys, dy.sum(axis=rows)


def feed_forward_terms(dy, x, w_1, b_1, w_2):
    """Return what comes through each term of GELU's derivative."""
    h = x @ w_1 + b_1
    through_cdf = around_gelu(dy, x, w_1, w_2, gelu(h), cdf(h))
    through_pdf = around_gelu(dy, x, w_1, w_2, gelu(h), h * pdf(h))
    return {
        name: {"da * Phi(h)": through_cdf[i], "da * h * phi(h)": through_pdf[i]}
        for i, name in enumerate(("dx", "dw_1", "db_1"))
    }


def feed_forward_steps(dy, x, w_1, b_1, w_2):
    """Return the hidden values, and their gradients."""
    h = x @ w_1 + b_1
    da = dy @ w_2.T
    return {"h": h, "a": gelu(h), "da": da, "dh": da * gelu_slope(h)}


FEED_FORWARD_BACKWARD = Exercise(
    id="feed-forward-backward",
    title="Feed-forward layer, backward",
    statement=r"""
        Every encoder layer ends in two affine maps with a GELU between them, the same at every
        position:

        $$h = x w_1 + b_1, \qquad a = h\,\Phi(h), \qquad y = a w_2 + b_2$$

        $\Phi$ is the exact distribution function of the standard normal, $\Phi(h) = \frac12(1 +
        \mathrm{erf}(h/\sqrt2))$. NumPy has no erf: `np.vectorize(math.erf)` is one.

        Given `dy` (..., D), the gradient of the loss with respect to y, and `x` (..., D), `w_1`
        (D, F), `b_1` (F,), `w_2` (F, D), return `dx, dw_1, db_1, dw_2, db_2`, each of the shape of
        what it belongs to. x has one or more axes in front; weights and biases get the sum over all
        of them. b_2 is not needed for any of these.""",
    reference=feed_forward_backward,
    library=(layers.FeedForward.backward,),
    outputs=("dx", "dw_1", "db_1", "dw_2", "db_2"),
    cases=feed_forward_backward_cases,
    hints=(
        """Recompute h and a, then undo the three steps from the last to the first. Only the middle
        one is not linear.""",
        r"""$da = dy\,w_2^\top$, $dw_2 = a^\top dy$; $dh = da\,(\Phi(h) + h\varphi(h))$ with
        $\varphi(h) = e^{-h^2/2}/\sqrt{2\pi}$; $dx = dh\,w_1^\top$, $dw_1 = x^\top dh$.""",
        """`da = dy @ w_2.T`; `dh = da * (cdf + h * pdf)`; `dx = dh @ w_1.T`; for the weights make
        rows first: `x.reshape(-1, D).T @ dh.reshape(-1, F)`; a bias gets the sum of the rows.
        `np.vectorize` gives float64: `.astype(x.dtype)`.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=feed_forward_terms,
    steps=feed_forward_steps,
    factors=lambda dy, x, w_1, b_1, w_2: {
        "number of rows": x.size // x.shape[-1],
        "D": w_1.shape[0],
        "F": w_1.shape[1],
    },
    docs="derivations/activations.md",
)


@FEED_FORWARD_BACKWARD.mistake("gelu-derivative-missing")
def without_the_derivative(dy, x, w_1, b_1, w_2):
    """da is passed on as dh: multiply it by the derivative of GELU at h."""
    h = x @ w_1 + b_1
    return around_gelu(dy, x, w_1, w_2, gelu(h), np.ones_like(h))


@FEED_FORWARD_BACKWARD.mistake("relu-derivative")
def with_the_slope_of_relu(dy, x, w_1, b_1, w_2):
    r"""the derivative is that of a relu, 0 or 1; GELU's is $\Phi(h) + h\varphi(h)$."""
    h = x @ w_1 + b_1
    return around_gelu(dy, x, w_1, w_2, gelu(h), (h > 0).astype(h.dtype))


@FEED_FORWARD_BACKWARD.mistake("half-the-product-rule")
def with_half_of_the_product_rule(dy, x, w_1, b_1, w_2):
    r"""h Phi(h) is a product and only its first factor was differentiated: the derivative is
    $\Phi(h) + h\varphi(h)$, not $\Phi(h)$."""
    h = x @ w_1 + b_1
    return around_gelu(dy, x, w_1, w_2, gelu(h), cdf(h))


@FEED_FORWARD_BACKWARD.mistake("value-for-derivative")
def with_the_value_as_slope(dy, x, w_1, b_1, w_2):
    """da is multiplied by gelu(h): it must be the derivative of GELU, not its value."""
    h = x @ w_1 + b_1
    return around_gelu(dy, x, w_1, w_2, gelu(h), gelu(h))


@FEED_FORWARD_BACKWARD.mistake("derivative-at-the-output")
def with_the_slope_at_the_output(dy, x, w_1, b_1, w_2):
    """GELU's derivative is taken at its output a: it belongs to the input h."""
    a = gelu(x @ w_1 + b_1)
    return around_gelu(dy, x, w_1, w_2, a, gelu_slope(a))


@FEED_FORWARD_BACKWARD.mistake("tanh-approximation")
def with_the_tanh_formula(dy, x, w_1, b_1, w_2):
    r"""this is the tanh approximation of GELU (GPT-2's): its gradient is off by up to a thousandth.
    Here $\Phi$ is exact, by erf, as in BERT."""
    h = x @ w_1 + b_1
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (h + 0.044715 * h**3))
    slope = (1 + t + h * (1 - t * t) * c * (1 + 3 * 0.044715 * h * h)) / 2
    return around_gelu(dy, x, w_1, w_2, h * (1 + t) / 2, slope)


@FEED_FORWARD_BACKWARD.mistake("pre-activation-in-dw2")
def with_the_input_of_gelu(dy, x, w_1, b_1, w_2):
    """dw_2 is made of h: what was multiplied by w_2 is a, after GELU."""
    h = x @ w_1 + b_1
    return around_gelu(dy, x, w_1, w_2, h, gelu_slope(h))


@FEED_FORWARD_BACKWARD.mistake("bias-missing-in-h")
def without_the_bias(dy, x, w_1, b_1, w_2):
    """h is recomputed without b_1: GELU and its derivative are taken at the wrong place."""
    h = x @ w_1
    return around_gelu(dy, x, w_1, w_2, gelu(h), gelu_slope(h))

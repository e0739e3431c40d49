"""Pre-LN: a residual around a layer norm and a sublayer, backward."""

import numpy as np

from npformer import layers, ops
from npformer.exercises.encoder.post_ln_backward import (
    normalised,
    of_norm,
    of_weights,
    through_norm,
)
from npformer.exercises.exercise import Case, Exercise


def pre_ln_backward(dy, x, w, gamma, beta, eps):
    """Return dx, dw, db, dgamma, dbeta of y = x + layernorm(x) w + b.

    dy, x: (B, T, D); w: (D, D); gamma, beta: (D,); eps: a number, inside the root.
    """
    n, norm = ops.layernorm_forward(x, gamma, beta, eps=eps)
    _, linear = ops.linear_forward(n, w, np.zeros_like(beta))
    dn, dw, db = ops.linear_backward(dy, linear)
    dx, dgamma, dbeta = ops.layernorm_backward(dn, norm)
    return dy + dx, dw, db, dgamma, dbeta


def pre_ln_backward_cases(rng):
    """Return layers of several sizes, gamma and beta off their initial values."""

    def case(*shape, eps, scale=1.0, part=""):
        d_model = shape[-1]
        args = {
            "dy": rng.normal(size=shape),
            "x": scale * rng.normal(size=shape),
            "w": rng.normal(size=(d_model, d_model)),
            "gamma": rng.uniform(0.5, 2.0, size=d_model),
            "beta": rng.normal(size=d_model),
            "eps": eps,
        }
        return Case(args, part)

    return [
        case(1, 2, 3, eps=1e-5),
        case(2, 3, 5, eps=1e-5),
        case(5, 3, 7, eps=0.1),
        case(3, 1, 5, eps=1e-5, part="one token"),
        case(2, 3, 5, eps=1e-12, scale=1000, part="extreme values"),
    ]


def pre_ln_terms(dy, x, w, gamma, beta, eps):
    """Return the two ways to x."""
    through = through_norm((dy @ w.T) * gamma, *normalised(x, eps))
    return {"dx": {"dy (the residual)": dy, "the way through the norm": through}}


def pre_ln_steps(dy, x, w, gamma, beta, eps):
    """Return x normalised, what the sublayer read, and its gradient."""
    xhat, _ = normalised(x, eps)
    return {"xhat": xhat, "n": gamma * xhat + beta, "dn": dy @ w.T}


PRE_LN_BACKWARD = Exercise(
    id="pre-ln-backward",
    title="Pre-LN: norm inside the residual, backward",
    statement=r"""
        GPT-2 and most later models normalise what a sublayer reads and leave the residual path
        free. Here the sublayer is one affine map:

        $$n = \gamma\,\hat x + \beta, \qquad \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}},
        \qquad y = x + (n w + b)$$

        with the mean $\mu$ and the biased variance $\sigma^2$ of each x over the last axis. Given
        `dy` (B, T, D), the gradient of the loss with respect to y, and `x` (B, T, D), `w` (D, D),
        `gamma` (D,), `beta` (D,) and the number `eps`, return `dx, dw, db, dgamma, dbeta`, each of
        the shape of what it belongs to; b is (D,), its value is not needed.""",
    reference=pre_ln_backward,
    library=(layers.EncoderBlock.backward, ops.layernorm_backward, ops.linear_backward),
    outputs=("dx", "dw", "db", "dgamma", "dbeta"),
    cases=pre_ln_backward_cases,
    hints=(
        """dy goes to x along the residual, untouched, and into the sublayer. There the affine map
        is undone first, then the norm.""",
        r"""$dn = dy\,w^\top$, $dw = n^\top dy$; $dx = dy + (d\hat x - \overline{d\hat x} - \hat
        x\,\overline{d\hat x\,\hat x}) / \sqrt{\sigma^2 + \epsilon}$ with
        $d\hat x = \gamma\,dn$.""",
        """`dn = dy @ w.T`; `dgamma = (dn * xhat).sum(axis=(0, 1))`; `g = dn * gamma`; `dx = dy +
        rstd * (g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, keepdims=True))`; dw is
        made of `n = gamma * xhat + beta`, not of x.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=pre_ln_terms,
    steps=pre_ln_steps,
    factors=lambda dy, x, w, gamma, beta, eps: {"B": x.shape[0], "T": x.shape[1], "D": x.shape[2]},
    docs="derivations/linear.md",
)


@PRE_LN_BACKWARD.mistake("residual-missing")
def without_the_residual(dy, x, w, gamma, beta, eps):
    """only what comes back through norm and sublayer is there: the residual adds dy."""
    xhat, rstd = normalised(x, eps)
    dn = dy @ w.T
    dx = through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


@PRE_LN_BACKWARD.mistake("sublayer-path-missing")
def without_the_sublayer(dy, x, w, gamma, beta, eps):
    """dx is dy, the residual's part: what comes back through sublayer and norm must be added."""
    xhat, _ = normalised(x, eps)
    return dy.copy(), *of_weights(gamma * xhat + beta, dy), *of_norm(dy @ w.T, xhat)


@PRE_LN_BACKWARD.mistake("residual-behind-the-norm")
def residual_behind_the_norm(dy, x, w, gamma, beta, eps):
    """the residual is treated as if it began after the norm: it takes x as it is, so dy is added to
    dx, not to dn."""
    xhat, rstd = normalised(x, eps)
    dn = dy + dy @ w.T
    dx = through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


@PRE_LN_BACKWARD.mistake("norm-skipped")
def without_the_norm(dy, x, w, gamma, beta, eps):
    """dn = dy w^T is added to dy as it is: on its way to x it must pass back through the layer
    norm."""
    xhat, _ = normalised(x, eps)
    dn = dy @ w.T
    return dy + dn, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


@PRE_LN_BACKWARD.mistake("dw-from-x")
def weights_from_x(dy, x, w, gamma, beta, eps):
    """dw is made of x: the sublayer read n, the normalised one."""
    xhat, rstd = normalised(x, eps)
    dn = dy @ w.T
    dx = dy + through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(x, dy), *of_norm(dn, xhat)


@PRE_LN_BACKWARD.mistake("dw-from-xhat")
def weights_from_xhat(dy, x, w, gamma, beta, eps):
    """dw is made of xhat: what the sublayer read is n = gamma xhat + beta."""
    xhat, rstd = normalised(x, eps)
    dn = dy @ w.T
    dx = dy + through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(xhat, dy), *of_norm(dn, xhat)


@PRE_LN_BACKWARD.mistake("norm-gets-dy")
def norm_gets_dy(dy, x, w, gamma, beta, eps):
    """dgamma and dbeta are made of dy, as in post-LN. Here the norm's output is n, so its gradient
    is dn = dy w^T."""
    xhat, rstd = normalised(x, eps)
    dx = dy + through_norm((dy @ w.T) * gamma, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dy, xhat)


@PRE_LN_BACKWARD.mistake("gamma-missing")
def without_gamma(dy, x, w, gamma, beta, eps):
    """dn enters the norm's backward without gamma: begin with dn gamma."""
    xhat, rstd = normalised(x, eps)
    dn = dy @ w.T
    dx = dy + through_norm(dn, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


@PRE_LN_BACKWARD.mistake("w-not-transposed")
def without_the_transpose(dy, x, w, gamma, beta, eps):
    """dy is multiplied by w: the way back through n w is dy w^T."""
    xhat, rstd = normalised(x, eps)
    dn = dy @ w
    dx = dy + through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)

"""Post-LN: a residual around a sublayer, then a layer norm, backward."""

import numpy as np

from npformer import layers, ops
from npformer.exercises.exercise import Case, Exercise


def post_ln_backward(dy, x, w, b, gamma, eps):
    """Return dx, dw, db, dgamma, dbeta of y = layernorm(x + x w + b).

    dy, x: (B, T, D); w: (D, D); b, gamma: (D,); eps: a number, inside the root.
    """
    f, linear = ops.linear_forward(x, w, b)
    _, norm = ops.layernorm_forward(x + f, gamma, np.zeros_like(gamma), eps=eps)
    du, dgamma, dbeta = ops.layernorm_backward(dy, norm)
    dx, dw, db = ops.linear_backward(du, linear)
    return du + dx, dw, db, dgamma, dbeta


def post_ln_backward_cases(rng):
    """Return layers of several sizes, gamma and the biases off their initial values."""

    def case(*shape, eps, scale=1.0, part=""):
        d_model = shape[-1]
        args = {
            "dy": rng.normal(size=shape),
            "x": scale * rng.normal(size=shape),
            "w": rng.normal(size=(d_model, d_model)),
            "b": rng.normal(size=d_model),
            "gamma": rng.uniform(0.5, 2.0, size=d_model),
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


def normalised(u, eps):
    """Return u normalised, and one over its deviation."""
    rstd = 1 / np.sqrt(u.var(axis=-1, keepdims=True) + eps)
    return (u - u.mean(axis=-1, keepdims=True)) * rstd, rstd


def through_norm(dn, xhat, rstd):
    """Return du, given the gradient of the normalised u."""
    mean = dn.mean(axis=-1, keepdims=True)
    return rstd * (dn - mean - xhat * (dn * xhat).mean(axis=-1, keepdims=True))


def of_weights(x, df):
    """Return dw and db of x w + b."""
    d_model = x.shape[-1]
    return x.reshape(-1, d_model).T @ df.reshape(-1, d_model), df.sum(axis=(0, 1))


def of_norm(dy, xhat):
    """Return dgamma and dbeta."""
    return (dy * xhat).sum(axis=(0, 1)), dy.sum(axis=(0, 1))


def post_ln_terms(dy, x, w, b, gamma, eps):
    """Return the two ways to x."""
    du = through_norm(dy * gamma, *normalised(x + x @ w + b, eps))
    return {"dx": {"du (the residual)": du, "du w^T (the sublayer)": du @ w.T}}


def post_ln_steps(dy, x, w, b, gamma, eps):
    """Return the sum, normalised, and its gradient."""
    u = x + x @ w + b
    xhat, rstd = normalised(u, eps)
    return {"u": u, "xhat": xhat, "du": through_norm(dy * gamma, xhat, rstd)}


POST_LN_BACKWARD = Exercise(
    id="post-ln-backward",
    title="Post-LN: residual, then norm, backward",
    statement=r"""
        BERT wraps each of its sublayers in a residual and a layer norm, the norm last. Here the
        sublayer is one affine map:

        $$u = x + (x w + b), \qquad y = \gamma\,\hat u + \beta, \qquad \hat u = \frac{u -
        \mu}{\sqrt{\sigma^2 + \epsilon}}$$

        with the mean $\mu$ and the biased variance $\sigma^2$ of each u over the last axis. Given
        `dy` (B, T, D), the gradient of the loss with respect to y, and `x` (B, T, D), `w` (D, D),
        `b` (D,), `gamma` (D,) and the number `eps`, return `dx, dw, db, dgamma, dbeta`, each of the
        shape of what it belongs to; beta is (D,), its value is not needed. x is used twice.""",
    reference=post_ln_backward,
    library=(layers.EncoderBlock.backward, ops.layernorm_backward, ops.linear_backward),
    outputs=("dx", "dw", "db", "dgamma", "dbeta"),
    cases=post_ln_backward_cases,
    hints=(
        """The norm was last, so it is undone first. Its gradient du then goes two ways: straight to
        x, and through the sublayer. What comes back from both is added.""",
        r"""$du = (d\hat u - \overline{d\hat u} - \hat u\,\overline{d\hat u\,\hat u}) /
        \sqrt{\sigma^2 + \epsilon}$ with $d\hat u = \gamma\,dy$ and means over the last axis;
        $dx = du + du\,w^\top$; dw and db are made of x and du.""",
        """`u = x + x @ w + b`, normalise it to `xhat` with `rstd`; `dn = dy * gamma`; `du = rstd *
        (dn - dn.mean(-1, keepdims=True) - xhat * (dn * xhat).mean(-1, keepdims=True))`;
        `dx = du + du @ w.T`; `dw` is x.reshape(-1, D).T times the rows of du.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=post_ln_terms,
    steps=post_ln_steps,
    factors=lambda dy, x, w, b, gamma, eps: {"B": x.shape[0], "T": x.shape[1], "D": x.shape[2]},
    docs="derivations/linear.md",
)


@POST_LN_BACKWARD.mistake("residual-missing")
def without_the_residual(dy, x, w, b, gamma, eps):
    """only what comes back through the sublayer is there: the residual carries du to x as well, dx
    = du + du w^T."""
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


@POST_LN_BACKWARD.mistake("sublayer-path-missing")
def without_the_sublayer(dy, x, w, b, gamma, eps):
    """only the residual's du reaches x: the sublayer read x too, so du w^T must be added."""
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du, *of_weights(x, du), *of_norm(dy, xhat)


@POST_LN_BACKWARD.mistake("residual-past-the-norm")
def residual_past_the_norm(dy, x, w, b, gamma, eps):
    """dy goes along the residual untouched, as in pre-LN. In post-LN the norm comes after the sum,
    so what the residual carries is du, behind the norm."""
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return dy + du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


@POST_LN_BACKWARD.mistake("sublayer-past-the-norm")
def sublayer_past_the_norm(dy, x, w, b, gamma, eps):
    """the sublayer gets dy: between it and y stands the norm, so its gradient is du."""
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du + dy @ w.T, *of_weights(x, dy), *of_norm(dy, xhat)


@POST_LN_BACKWARD.mistake("norm-without-the-residual")
def norm_of_the_sublayer(dy, x, w, b, gamma, eps):
    """the output of the sublayer alone is normalised: the norm is of the sum x + f(x)."""
    xhat, rstd = normalised(x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du + du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


@POST_LN_BACKWARD.mistake("gamma-missing")
def without_gamma(dy, x, w, b, gamma, eps):
    """du is computed from dy: the norm multiplied by gamma last, so begin with dy gamma."""
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy, xhat, rstd)
    return du + du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


@POST_LN_BACKWARD.mistake("statistics-held-fixed")
def with_fixed_statistics(dy, x, w, b, gamma, eps):
    """mean and variance are treated as constants: they depend on u, which gives the two mean terms
    of du."""
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = dy * gamma * rstd
    return du + du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


@POST_LN_BACKWARD.mistake("w-not-transposed")
def without_the_transpose(dy, x, w, b, gamma, eps):
    """du is multiplied by w: the way back through x w is du w^T."""
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du + du @ w, *of_weights(x, du), *of_norm(dy, xhat)

"""Layer norm, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def layer_norm_backward(dy, xhat, rstd, gamma):
    """Return dx, dgamma, dbeta of y = gamma * xhat + beta; dy, xhat: (..., D), rstd: (..., 1)."""
    return ops.layernorm_backward(dy, ops.LayerNormCache(xhat, rstd, gamma))


def layer_norm_backward_cases(rng):
    """Return what a layer norm keeps; eps is large enough to show where it is forgotten."""

    def case(*shape, eps, part=""):
        gamma = rng.normal(size=shape[-1])
        _, cache = ops.layernorm_forward(2 * rng.normal(size=shape), gamma, gamma, eps=eps)
        args = {
            "dy": rng.normal(size=shape),
            "xhat": cache.xhat,
            "rstd": cache.rstd,
            "gamma": gamma,
        }
        return Case(args, part)

    return [
        case(2, 3, eps=0.3),
        case(2, 3, 5, eps=0.1),
        case(5, 7, eps=1e-5),
        case(2, 3, 5, 7, eps=0.2),
        case(1, 5, eps=0.1, part="one row"),
        case(1, 1, 7, eps=0.3, part="one row"),
        case(3, 1, eps=0.2, part="one feature"),
    ]


def mean_of(x):
    return x.mean(axis=-1, keepdims=True)


def over_rows(x):
    return x.reshape(-1, x.shape[-1]).sum(axis=0)


def with_dx(dx, dy, xhat):
    """Return all three gradients, dgamma and dbeta right."""
    return dx, over_rows(dy * xhat), over_rows(dy)


def right_dx(dy, xhat, rstd, gamma):
    g = dy * gamma
    return rstd * (g - mean_of(g) - xhat * mean_of(g * xhat))


LAYER_NORM_BACKWARD = Exercise(
    id="layer-norm-backward",
    title="Layer norm backward",
    statement=r"""
        The forward was, over the last axis of length D,

        $$\hat x_i = (x_i - \mu)\,r, \qquad r = 1/\sqrt{\sigma^2 + \epsilon}, \qquad y_i = \gamma_i
        \hat x_i + \beta_i$$

        with the mean $\mu$ and the biased variance $\sigma^2$ of each row. It kept `xhat` (..., D)
        and `rstd` (..., 1), which is r. Given these, `dy` (..., D), the gradient of the loss with
        respect to y, and `gamma` (D,), return `dx, dgamma, dbeta`, of shapes (..., D), (D,), (D,).

        Mean and variance depend on x: gradient flows through both.""",
    reference=layer_norm_backward,
    library=(ops.layernorm_backward,),
    outputs=("dx", "dgamma", "dbeta"),
    cases=layer_norm_backward_cases,
    hints=(
        r"""Go back line by line: first `dxhat = dy * gamma`. Then each $x_j$ moves $\hat x_i$ on
        three paths: directly, through the mean, and through the variance.""",
        r"""$dx_j = r\,\bigl(d\hat x_j - \tfrac1D\sum_i d\hat x_i - \hat x_j\,\tfrac1D\sum_i d\hat
        x_i \hat x_i\bigr)$; $d\gamma$ and $d\beta$ are sums over all rows.""",
        """`mean = dxhat.mean(axis=-1, keepdims=True)`, `mean_along =
        (dxhat * xhat).mean(axis=-1, keepdims=True)`, `dx = rstd * (dxhat - mean - xhat *
        mean_along)`; dgamma is the sum of `dy * xhat`, dbeta that of `dy`, over all axes but the
        last.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=lambda dy, xhat, rstd, gamma: {
        "dx": {
            "rstd * dxhat": rstd * dy * gamma,
            "- rstd * mean(dxhat)": -rstd * mean_of(dy * gamma) * np.ones_like(dy),
            "- rstd * xhat * mean(dxhat * xhat)": -rstd * xhat * mean_of(dy * gamma * xhat),
        }
    },
    steps=lambda dy, xhat, rstd, gamma: {
        "dxhat": dy * gamma,
        "mean": mean_of(dy * gamma),
        "mean_along": mean_of(dy * gamma * xhat),
    },
    factors=lambda dy, xhat, rstd, gamma: {
        "D": dy.shape[-1],
        "the number of rows": dy.size // dy.shape[-1],
        "B": len(dy),
        **({"rstd": rstd.item()} if rstd.size == 1 else {}),
    },
    docs="derivations/layernorm.md",
)


@LAYER_NORM_BACKWARD.mistake("gamma-dropped")
def gamma_dropped(dy, xhat, rstd, gamma):
    """dx starts from dy. Between y and xhat stands gamma: start from dxhat = dy * gamma."""
    return with_dx(rstd * (dy - mean_of(dy) - xhat * mean_of(dy * xhat)), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("gamma-outside-the-means")
def gamma_outside_the_means(dy, xhat, rstd, gamma):
    """gamma is multiplied on at the end. It is not the same for all features and cannot be taken
    out of the means: multiply dy by it first."""
    dx = gamma * rstd * (dy - mean_of(dy) - xhat * mean_of(dy * xhat))
    return with_dx(dx, dy, xhat)


@LAYER_NORM_BACKWARD.mistake("means-without-gamma")
def means_without_gamma(dy, xhat, rstd, gamma):
    """the two means are taken of dy; they belong to dxhat = dy * gamma, as the first term does."""
    return with_dx(rstd * (dy * gamma - mean_of(dy) - xhat * mean_of(dy * xhat)), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("mean-term-missing")
def mean_term_missing(dy, xhat, rstd, gamma):
    """the path through the mean is missing: subtract the mean of dxhat."""
    g = dy * gamma
    return with_dx(rstd * (g - xhat * mean_of(g * xhat)), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("variance-term-missing")
def variance_term_missing(dy, xhat, rstd, gamma):
    """the path through the variance is missing: subtract xhat times the mean of dxhat * xhat."""
    g = dy * gamma
    return with_dx(rstd * (g - mean_of(g)), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("statistics-constant")
def statistics_taken_for_constants(dy, xhat, rstd, gamma):
    """mean and variance are taken for constants. Both depend on x: two terms are missing, the mean
    of dxhat and xhat times the mean of dxhat * xhat."""
    return with_dx(rstd * dy * gamma, dy, xhat)


@LAYER_NORM_BACKWARD.mistake("rstd-forgotten")
def deviation_forgotten(dy, xhat, rstd, gamma):
    """the factor rstd is missing: xhat is (x - mean) * rstd."""
    g = dy * gamma
    return with_dx(g - mean_of(g) - xhat * mean_of(g * xhat), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("divided-by-rstd")
def multiplied_by_the_deviation(dy, xhat, rstd, gamma):
    """it is divided by rstd. rstd is one over the standard deviation already: multiply."""
    g = dy * gamma
    return with_dx((g - mean_of(g) - xhat * mean_of(g * xhat)) / rstd, dy, xhat)


@LAYER_NORM_BACKWARD.mistake("sums-instead-of-means")
def sums_instead_of_means(dy, xhat, rstd, gamma):
    """sums are taken where means belong: both terms carry 1/D, from the mean and from the
    variance."""
    g = dy * gamma
    along = (g * xhat).sum(axis=-1, keepdims=True)
    return with_dx(rstd * (g - g.sum(axis=-1, keepdims=True) - xhat * along), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("variance-term-by-D-1")
def variance_term_by_d_minus_1(dy, xhat, rstd, gamma):
    """the variance term is divided by D - 1. The forward has the biased variance: divide by D."""
    g = dy * gamma
    along = (g * xhat).sum(axis=-1, keepdims=True) / (np.array(xhat.shape[-1]) - 1)
    return with_dx(rstd * (g - mean_of(g) - xhat * along), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("variance-term-without-xhat")
def variance_term_without_xhat(dy, xhat, rstd, gamma):
    """the mean of dxhat * xhat is subtracted from all features alike. How much a feature moves the
    variance is its xhat: multiply by it."""
    g = dy * gamma
    return with_dx(rstd * (g - mean_of(g) - mean_of(g * xhat)), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("means-over-the-first-axis")
def means_over_the_first_axis(dy, xhat, rstd, gamma):
    """the means run over the first axis, as in batch norm. Each row has its own:
    `axis=-1, keepdims=True`."""
    g = dy * gamma
    along = (g * xhat).mean(axis=0, keepdims=True)
    return with_dx(rstd * (g - g.mean(axis=0, keepdims=True) - xhat * along), dy, xhat)


@LAYER_NORM_BACKWARD.mistake("dgamma-without-xhat")
def dgamma_without_xhat(dy, xhat, rstd, gamma):
    """dgamma is the sum of dy, which is dbeta. gamma multiplies xhat: sum dy * xhat."""
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy), over_rows(dy)


@LAYER_NORM_BACKWARD.mistake("dgamma-of-centred-x")
def dgamma_of_the_centred_input(dy, xhat, rstd, gamma):
    """dgamma uses x - mean. gamma multiplies xhat, which is divided by the standard deviation,
    too."""
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy * xhat / rstd), over_rows(dy)


@LAYER_NORM_BACKWARD.mistake("dgamma-of-dxhat")
def dgamma_of_dxhat(dy, xhat, rstd, gamma):
    """dgamma is summed from dxhat. gamma itself is no factor of its own gradient: sum dy * xhat."""
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy * gamma * xhat), over_rows(dy)


@LAYER_NORM_BACKWARD.mistake("dbeta-of-dxhat")
def dbeta_of_dxhat(dy, xhat, rstd, gamma):
    """dbeta is summed from dxhat. beta is added after gamma: sum dy."""
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy * xhat), over_rows(dy * gamma)


@LAYER_NORM_BACKWARD.mistake("parameters-not-summed")
def parameters_not_summed(dy, xhat, rstd, gamma):
    """there is one gradient for every row. gamma and beta are shared by all rows: sum over all axes
    but the last."""
    return right_dx(dy, xhat, rstd, gamma), dy * xhat, dy


@LAYER_NORM_BACKWARD.mistake("parameters-averaged")
def parameters_averaged(dy, xhat, rstd, gamma):
    """the mean over the rows is taken where the sum belongs. If the loss is a mean, dy holds that
    factor already."""
    rows = dy.size // dy.shape[-1]
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy * xhat) / rows, over_rows(dy) / rows


@LAYER_NORM_BACKWARD.mistake("parameters-summed-over-the-first-axis")
def parameters_summed_over_the_first_axis(dy, xhat, rstd, gamma):
    """only the first axis is summed. With (B, T, D) the tokens are rows as well: sum over all axes
    but the last."""
    return right_dx(dy, xhat, rstd, gamma), (dy * xhat).sum(axis=0), dy.sum(axis=0)


@LAYER_NORM_BACKWARD.mistake("parameters-exchanged")
def parameters_exchanged(dy, xhat, rstd, gamma):
    """dgamma and dbeta are exchanged: the order is dx, dgamma, dbeta, and dgamma is the sum of dy *
    xhat."""
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy), over_rows(dy * xhat)

"""Layer norm, forward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def layer_norm(x, gamma, beta, eps):
    """Return the layer norm of x over the last axis; x: (..., D), gamma and beta: (D,)."""
    y, _ = ops.layernorm_forward(x, gamma, beta, eps=eps)
    return y


def layer_norm_cases(rng):
    """Return rows with a large mean, rows without variance, and rows of one feature."""

    def case(*shape, eps, mean=0.0, scale=1.0, part=""):
        args = {
            "x": mean + scale * rng.normal(size=shape),
            "gamma": rng.normal(size=shape[-1]),
            "beta": rng.normal(size=shape[-1]),
            "eps": eps,
        }
        return Case(args, part)

    return [
        case(2, 3, eps=0.1),
        case(2, 3, 5, eps=0.02, mean=1.5),
        case(5, 7, eps=0.3, scale=0.4),
        case(3, 5, eps=0.05, mean=1e6, part="large mean"),
        case(2, 5, eps=0.2, mean=0.3, scale=0.0, part="constant row"),
        case(3, 1, eps=0.1, part="one feature"),
    ]


def normalised(x, eps, axis=-1):
    mean = x.mean(axis=axis, keepdims=True)
    return (x - mean) / np.sqrt(x.var(axis=axis, keepdims=True) + eps)


LAYER_NORM = Exercise(
    id="layer-norm",
    title="Layer norm",
    statement=r"""
        Normalise the **last** axis, of length D, with the biased variance:

        $$\mu = \frac1D \sum_j x_j, \quad \sigma^2 = \frac1D \sum_j (x_j - \mu)^2, \quad \hat x_i =
        \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}, \quad y_i = \gamma_i \hat x_i + \beta_i$$

        `x` is (..., D), with one or more axes in front; `gamma` and `beta` are (D,), `eps` is a
        number. Return y, (..., D). A mean a million times as large as the deviation must not spoil
        the result.""",
    reference=layer_norm,
    library=(ops.layernorm_forward,),
    outputs=("y",),
    cases=layer_norm_cases,
    hints=(
        """Each row is shifted and scaled by numbers of its own; gamma and beta are the same for all
        rows.""",
        """Subtract the mean first, and take the variance of what is left; eps is added to the
        variance, under the root.""",
        """`centred = x - x.mean(axis=-1, keepdims=True)`, `variance =
        (centred * centred).mean(axis=-1, keepdims=True)`; then `centred / np.sqrt(variance + eps) *
        gamma + beta`.""",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=10,
    terms=lambda x, gamma, beta, eps: {
        "y": {"gamma * xhat": gamma * normalised(x, eps), "beta": beta + np.zeros_like(x)}
    },
    steps=lambda x, gamma, beta, eps: {
        "mean": x.mean(axis=-1, keepdims=True),
        "centred": x - x.mean(axis=-1, keepdims=True),
        "variance": x.var(axis=-1, keepdims=True),
        "xhat": normalised(x, eps),
    },
    factors=lambda x, gamma, beta, eps: {"D": x.shape[-1]},
    docs="derivations/layernorm.md",
)


@LAYER_NORM.mistake("sample-variance")
def with_the_sample_variance(x, gamma, beta, eps):
    """the variance is divided by D - 1 (`ddof=1`). Layer norm has the biased one: divide by D."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).sum(axis=-1, keepdims=True) / (np.array(x.shape[-1]) - 1)
    return centred / np.sqrt(variance + eps) * gamma + beta


@LAYER_NORM.mistake("eps-outside-the-root")
def eps_outside_the_root(x, gamma, beta, eps):
    """eps is added to the standard deviation. It belongs under the root: sqrt(variance + eps)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / (x.std(axis=-1, keepdims=True) + eps) * gamma + beta


@LAYER_NORM.mistake("root-forgotten")
def divided_by_the_variance(x, gamma, beta, eps):
    """it is divided by the variance; the root is missing."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / (x.var(axis=-1, keepdims=True) + eps) * gamma + beta


@LAYER_NORM.mistake("first-axis")
def over_the_first_axis(x, gamma, beta, eps):
    """mean and variance are taken over the first axis, as in batch norm. Layer norm looks at one
    row at a time: `axis=-1, keepdims=True`."""
    return normalised(x, eps, axis=0) * gamma + beta


@LAYER_NORM.mistake("over-everything")
def over_everything(x, gamma, beta, eps):
    """one mean and one variance are taken of the whole array. Each row has its own:
    `axis=-1, keepdims=True`."""
    return normalised(x, eps, axis=None) * gamma + beta


@LAYER_NORM.mistake("not-centred")
def not_centred(x, gamma, beta, eps):
    """the mean is not subtracted: it is (x - mean) that is divided."""
    return x / np.sqrt(x.var(axis=-1, keepdims=True) + eps) * gamma + beta


@LAYER_NORM.mistake("rms-norm-instead")
def as_an_rms_norm(x, gamma, beta, eps):
    """this is RMS norm: no mean is subtracted, neither from x nor in the variance."""
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * gamma + beta


@LAYER_NORM.mistake("variance-from-squares")
def variance_from_the_squares(x, gamma, beta, eps):
    """the variance is mean(x^2) - mean(x)^2: two huge numbers that cancel, and with them the
    digits. Square what is left after the mean is subtracted."""
    mean = x.mean(axis=-1, keepdims=True)
    variance = (x * x).mean(axis=-1, keepdims=True) - mean * mean
    return (x - mean) / np.sqrt(variance + eps) * gamma + beta


@LAYER_NORM.mistake("beta-scaled")
def beta_added_first(x, gamma, beta, eps):
    """beta is added before the product with gamma, and scaled by it. y = gamma * xhat + beta."""
    return (normalised(x, eps) + beta) * gamma

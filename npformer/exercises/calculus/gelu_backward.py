"""The Gaussian error linear unit, backward."""

import math

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def gelu_backward(dy, x, cdf):
    """Return dx of y = x * cdf, where cdf = Phi(x); dy, x, cdf and the result: (...)."""
    return ops.gelu_backward(dy, ops.GeluCache(x, cdf))


def gelu_backward_cases(rng):
    """Return inputs where the curve bends, and some far outside."""

    def case(*shape, scale=1.0, part=""):
        x = scale * rng.normal(size=shape)
        _, cache = ops.gelu_forward(x)
        return Case({"dy": rng.normal(size=shape), "x": x, "cdf": cache.cdf}, part)

    return [case(2, 3), case(2, 3, 5, scale=2), case(7), case(3, 4, scale=50, part="saturated")]


def density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


GELU_BACKWARD = Exercise(
    id="gelu-backward",
    title="GELU backward",
    statement=r"""
        Forward is the exact GELU of BERT, entry by entry:

        $$y = x\,\Phi(x), \qquad \Phi(x) = \tfrac12\bigl(1 + \operatorname{erf}(x/\sqrt2)\bigr)$$

        $\Phi$ is the distribution function of the standard normal, and its derivative the density
        $\varphi(x) = e^{-x^2/2}/\sqrt{2\pi}$. Given `dy`, the gradient of the loss with respect to
        y, the input `x` and `cdf`, which is $\Phi(x)$ kept from the forward, all (...), return
        `dx`.""",
    reference=gelu_backward,
    library=(ops.gelu_backward,),
    outputs=("dx",),
    cases=gelu_backward_cases,
    hints=(
        "y is a product of two functions of x.",
        r"By the product rule the slope is $\Phi(x) + x\,\varphi(x)$.",
        "`phi = np.exp(-x * x / 2) / (2 * np.pi) ** 0.5`; then `dy * (cdf + x * phi)`.",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    terms=lambda dy, x, cdf: {"dx": {"dy * Phi": dy * cdf, "dy * x * phi": dy * x * density(x)}},
    steps=lambda dy, x, cdf: {"phi": density(x), "slope": cdf + x * density(x)},
    factors=lambda dy, x, cdf: {"pi": math.pi},
    docs="derivations/activations.md",
)


@GELU_BACKWARD.mistake("density-term-missing")
def density_term_missing(dy, x, cdf):
    """Phi is taken for a constant. It depends on x, too: the product rule adds x phi(x)."""
    return dy * cdf


@GELU_BACKWARD.mistake("x-missing")
def density_without_x(dy, x, cdf):
    """the derivative of x Phi(x) is Phi(x) + x phi(x): the x in front of the density is missing."""
    return dy * (cdf + density(x))


@GELU_BACKWARD.mistake("density-not-normalised")
def density_not_normalised(dy, x, cdf):
    """the density lacks its factor 1/sqrt(2 pi)."""
    return dy * (cdf + x * np.exp(-x * x / 2))


@GELU_BACKWARD.mistake("half-missing-in-the-exponent")
def density_of_half_the_variance(dy, x, cdf):
    """the exponent is -x^2; the standard normal density has -x^2/2."""
    return dy * (cdf + x * np.exp(-x * x) / math.sqrt(2 * math.pi))


@GELU_BACKWARD.mistake("two-missing-under-the-root")
def density_with_half_the_root(dy, x, cdf):
    """the density is divided by sqrt(pi); it is sqrt(2 pi). The derivative of erf has 2/sqrt(pi),
    and the 1/2 and the 1/sqrt(2) of Phi come on top."""
    return dy * (cdf + x * np.exp(-x * x / 2) / math.sqrt(math.pi))


@GELU_BACKWARD.mistake("logistic-density")
def density_from_the_logistic(dy, x, cdf):
    """Phi (1 - Phi) is the slope of a sigmoid, as in SiLU. The derivative of the normal
    distribution function is the density phi."""
    return dy * (cdf + x * cdf * (1 - cdf))


@GELU_BACKWARD.mistake("tanh-derivative")
def derivative_of_the_tanh_form(dy, x, cdf):
    """this is the derivative of the tanh approximation (GPT-2). The forward is the exact one, and
    the two slopes differ by up to 0.0009: enough to fail a gradient check."""
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    return dy * slope


@GELU_BACKWARD.mistake("minus-the-density")
def derivative_of_the_density(dy, x, cdf):
    """x phi(x) is subtracted. -x phi(x) is the derivative of the density; here the product rule
    adds x times the density."""
    return dy * (cdf - x * density(x))


@GELU_BACKWARD.mistake("dy-forgotten")
def gelu_without_dy(dy, x, cdf):
    """this is the slope alone. The chain rule multiplies it by dy."""
    return cdf + x * density(x)

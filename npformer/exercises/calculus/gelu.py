"""The Gaussian error linear unit, backward."""

import math

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def gelu_backward(dy, x, cdf):
    """Return dx of y = x * cdf, where cdf = Phi(x); dy, x, cdf and the result: (...)."""
    return ops.gelu_backward(dy, ops.GeluCache(x, cdf))


def gelu_backward_cases(rng):
    """Return inputs where the curve bends, and some far outside."""

    def case(*shape, scale=1.0, part=""):
        x = scale * rng.normal(size=shape)
        _, cache = ops.gelu_forward(x)
        return Case({"dy": rng.normal(size=shape), "x": x, "cdf": cache.cdf}, part)

    return [
        case(2, 3),
        case(2, 3, 5, scale=2),
        case(7),
        case(3, 4, scale=50, part="saturated"),
    ]


def density(x):
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def density_term_missing(dy, x, cdf):
    return dy * cdf


def density_without_x(dy, x, cdf):
    return dy * (cdf + density(x))


def density_not_normalised(dy, x, cdf):
    return dy * (cdf + x * np.exp(-x * x / 2))


def density_of_half_the_variance(dy, x, cdf):
    return dy * (cdf + x * np.exp(-x * x) / math.sqrt(2 * math.pi))


def density_with_half_the_root(dy, x, cdf):
    return dy * (cdf + x * np.exp(-x * x / 2) / math.sqrt(math.pi))


def density_from_the_logistic(dy, x, cdf):
    return dy * (cdf + x * cdf * (1 - cdf))


def derivative_of_the_tanh_form(dy, x, cdf):
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    return dy * slope


def derivative_of_the_density(dy, x, cdf):
    return dy * (cdf - x * density(x))


def gelu_without_dy(dy, x, cdf):
    return cdf + x * density(x)


GELU_BACKWARD = Exercise(
    id="gelu-backward",
    title=Text("GELU backward", "GELU 的反向传播"),
    statement=Text(
        "Forward is the exact GELU of BERT, entry by entry:\n\n"
        "$$y = x\\,\\Phi(x), \\qquad \\Phi(x) = \\tfrac12\\bigl(1 + \\operatorname{erf}(x/\\sqrt2)\\bigr)$$\n\n"
        "$\\Phi$ is the distribution function of the standard normal, and its derivative the density "
        "$\\varphi(x) = e^{-x^2/2}/\\sqrt{2\\pi}$. Given `dy`, the gradient of the loss with respect to y, the "
        "input `x` and `cdf`, which is $\\Phi(x)$ kept from the forward, all (...), return `dx`.",
        "前向是 BERT 所用的精确 GELU，逐元素计算：\n\n"
        "$$y = x\\,\\Phi(x), \\qquad \\Phi(x) = \\tfrac12\\bigl(1 + \\operatorname{erf}(x/\\sqrt2)\\bigr)$$\n\n"
        "$\\Phi$ 是标准正态的分布函数，其导数为密度 $\\varphi(x) = e^{-x^2/2}/\\sqrt{2\\pi}$。"
        "给定损失对 y 的梯度 `dy`、输入 `x`，以及前向时留下的 `cdf`，即 $\\Phi(x)$，形状都是 (...)，返回 `dx`。",
    ),
    reference=gelu_backward,
    library=(ops.gelu_backward,),
    outputs=("dx",),
    cases=gelu_backward_cases,
    hints=(
        Text("y is a product of two functions of x.", "y 是 x 的两个函数的乘积。"),
        Text(
            "By the product rule the slope is $\\Phi(x) + x\\,\\varphi(x)$.",
            "按乘积法则，斜率是 $\\Phi(x) + x\\,\\varphi(x)$。",
        ),
        Text(
            "`phi = np.exp(-x * x / 2) / (2 * np.pi) ** 0.5`; then `dy * (cdf + x * phi)`.",
            "`phi = np.exp(-x * x / 2) / (2 * np.pi) ** 0.5`，然后 `dy * (cdf + x * phi)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "density-term-missing",
            density_term_missing,
            Text(
                "Phi is taken for a constant. It depends on x, too: the product rule adds x phi(x).",
                "把 Phi 当成了常数。它也依赖 x：按乘积法则还要加上 x phi(x)。",
            ),
        ),
        Misconception(
            "x-missing",
            density_without_x,
            Text(
                "the derivative of x Phi(x) is Phi(x) + x phi(x): the x in front of the density is missing.",
                "x Phi(x) 的导数是 Phi(x) + x phi(x)：密度前面少了 x。",
            ),
        ),
        Misconception(
            "density-not-normalised",
            density_not_normalised,
            Text(
                "the density lacks its factor 1/sqrt(2 pi).",
                "密度少了系数 1/sqrt(2 pi)。",
            ),
        ),
        Misconception(
            "half-missing-in-the-exponent",
            density_of_half_the_variance,
            Text(
                "the exponent is -x^2; the standard normal density has -x^2/2.",
                "指数写成了 -x^2；标准正态密度的指数是 -x^2/2。",
            ),
        ),
        Misconception(
            "two-missing-under-the-root",
            density_with_half_the_root,
            Text(
                "the density is divided by sqrt(pi); it is sqrt(2 pi). The derivative of erf has "
                "2/sqrt(pi), and the 1/2 and the 1/sqrt(2) of Phi come on top.",
                "密度除以的是 sqrt(pi)，应为 sqrt(2 pi)。erf 的导数有 2/sqrt(pi)，还要乘上 Phi 里的 1/2 和 1/sqrt(2)。",
            ),
        ),
        Misconception(
            "logistic-density",
            density_from_the_logistic,
            Text(
                "Phi (1 - Phi) is the slope of a sigmoid, as in SiLU. The derivative of the normal "
                "distribution function is the density phi.",
                "Phi (1 - Phi) 是 sigmoid 的斜率，用于 SiLU。正态分布函数的导数是密度 phi。",
            ),
        ),
        Misconception(
            "tanh-derivative",
            derivative_of_the_tanh_form,
            Text(
                "this is the derivative of the tanh approximation (GPT-2). The forward is the exact one, "
                "and the two slopes differ by up to 0.0009: enough to fail a gradient check.",
                "这是 tanh 近似（GPT-2）的导数。前向用的是精确形式，两者斜率最多相差 0.0009，足以通不过梯度检查。",
            ),
        ),
        Misconception(
            "minus-the-density",
            derivative_of_the_density,
            Text(
                "x phi(x) is subtracted. -x phi(x) is the derivative of the density; here the product rule "
                "adds x times the density.",
                "减去了 x phi(x)。-x phi(x) 是密度的导数；这里按乘积法则，应加上 x 乘以密度。",
            ),
        ),
        Misconception(
            "dy-forgotten",
            gelu_without_dy,
            Text(
                "this is the slope alone. The chain rule multiplies it by dy.",
                "这只是斜率本身。按链式法则还要乘以 dy。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    terms=lambda dy, x, cdf: {"dx": {"dy * Phi": dy * cdf, "dy * x * phi": dy * x * density(x)}},
    steps=lambda dy, x, cdf: {"phi": density(x), "slope": cdf + x * density(x)},
    factors=lambda dy, x, cdf: {"pi": math.pi},
    docs="derivations/activations.md",
)

EXERCISES = (GELU_BACKWARD,)

"""Layer norm, forward and backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def with_the_sample_variance(x, gamma, beta, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).sum(axis=-1, keepdims=True) / (np.array(x.shape[-1]) - 1)
    return centred / np.sqrt(variance + eps) * gamma + beta


def eps_outside_the_root(x, gamma, beta, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / (x.std(axis=-1, keepdims=True) + eps) * gamma + beta


def divided_by_the_variance(x, gamma, beta, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / (x.var(axis=-1, keepdims=True) + eps) * gamma + beta


def over_the_first_axis(x, gamma, beta, eps):
    return normalised(x, eps, axis=0) * gamma + beta


def over_everything(x, gamma, beta, eps):
    return normalised(x, eps, axis=None) * gamma + beta


def not_centred(x, gamma, beta, eps):
    return x / np.sqrt(x.var(axis=-1, keepdims=True) + eps) * gamma + beta


def as_an_rms_norm(x, gamma, beta, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * gamma + beta


def variance_from_the_squares(x, gamma, beta, eps):
    mean = x.mean(axis=-1, keepdims=True)
    variance = (x * x).mean(axis=-1, keepdims=True) - mean * mean
    return (x - mean) / np.sqrt(variance + eps) * gamma + beta


def beta_added_first(x, gamma, beta, eps):
    return (normalised(x, eps) + beta) * gamma


LAYER_NORM = Exercise(
    id="layer-norm",
    title=Text("Layer norm", "层归一化"),
    statement=Text(
        "Normalise the **last** axis, of length D, with the biased variance:\n\n"
        "$$\\mu = \\frac1D \\sum_j x_j, \\quad \\sigma^2 = \\frac1D \\sum_j (x_j - \\mu)^2, \\quad "
        "\\hat x_i = \\frac{x_i - \\mu}{\\sqrt{\\sigma^2 + \\epsilon}}, \\quad "
        "y_i = \\gamma_i \\hat x_i + \\beta_i$$\n\n"
        "`x` is (..., D), with one or more axes in front; `gamma` and `beta` are (D,), `eps` is a number. "
        "Return y, (..., D). A mean a million times as large as the deviation must not spoil the result.",
        "对长度为 D 的**最后一个**轴做归一化，方差用有偏的（除以 D）：\n\n"
        "$$\\mu = \\frac1D \\sum_j x_j, \\quad \\sigma^2 = \\frac1D \\sum_j (x_j - \\mu)^2, \\quad "
        "\\hat x_i = \\frac{x_i - \\mu}{\\sqrt{\\sigma^2 + \\epsilon}}, \\quad "
        "y_i = \\gamma_i \\hat x_i + \\beta_i$$\n\n"
        "`x` 的形状为 (..., D)，前面有一个或多个轴；`gamma` 和 `beta` 为 (D,)，`eps` 是一个数。"
        "返回 y，形状 (..., D)。即使均值是标准差的一百万倍，结果也不能失真。",
    ),
    reference=layer_norm,
    library=(ops.layernorm_forward,),
    outputs=("y",),
    cases=layer_norm_cases,
    hints=(
        Text(
            "Each row is shifted and scaled by numbers of its own; gamma and beta are the same for all rows.",
            "每一行用自己的数来平移和缩放；gamma 和 beta 则是所有行共用的。",
        ),
        Text(
            "Subtract the mean first, and take the variance of what is left; eps is added to the variance, under "
            "the root.",
            "先减去均值，再对剩下的部分求方差；eps 加在根号里的方差上。",
        ),
        Text(
            "`centred = x - x.mean(axis=-1, keepdims=True)`, "
            "`variance = (centred * centred).mean(axis=-1, keepdims=True)`; then "
            "`centred / np.sqrt(variance + eps) * gamma + beta`.",
            "`centred = x - x.mean(axis=-1, keepdims=True)`，"
            "`variance = (centred * centred).mean(axis=-1, keepdims=True)`，然后 "
            "`centred / np.sqrt(variance + eps) * gamma + beta`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "sample-variance",
            with_the_sample_variance,
            Text(
                "the variance is divided by D - 1 (`ddof=1`). Layer norm has the biased one: divide by D.",
                "方差除以了 D - 1（`ddof=1`）。层归一化用的是有偏方差：除以 D。",
            ),
        ),
        Misconception(
            "eps-outside-the-root",
            eps_outside_the_root,
            Text(
                "eps is added to the standard deviation. It belongs under the root: sqrt(variance + eps).",
                "eps 加到了标准差上，应当加在根号里：sqrt(variance + eps)。",
            ),
        ),
        Misconception(
            "root-forgotten",
            divided_by_the_variance,
            Text(
                "it is divided by the variance; the root is missing.",
                "除以的是方差，少了开方。",
            ),
        ),
        Misconception(
            "first-axis",
            over_the_first_axis,
            Text(
                "mean and variance are taken over the first axis, as in batch norm. Layer norm looks at one row at a "
                "time: `axis=-1, keepdims=True`.",
                "均值和方差沿第一个轴计算，那是批归一化。层归一化每次只看一行：`axis=-1, keepdims=True`。",
            ),
        ),
        Misconception(
            "over-everything",
            over_everything,
            Text(
                "one mean and one variance are taken of the whole array. Each row has its own: "
                "`axis=-1, keepdims=True`.",
                "对整个数组只算了一个均值和一个方差。每行各有各的：`axis=-1, keepdims=True`。",
            ),
        ),
        Misconception(
            "not-centred",
            not_centred,
            Text(
                "the mean is not subtracted: it is (x - mean) that is divided.",
                "没有减去均值：被除的应当是 (x - mean)。",
            ),
        ),
        Misconception(
            "rms-norm-instead",
            as_an_rms_norm,
            Text(
                "this is RMS norm: no mean is subtracted, neither from x nor in the variance.",
                "这是 RMSNorm：x 没有减均值，方差里也没有减。",
            ),
        ),
        Misconception(
            "variance-from-squares",
            variance_from_the_squares,
            Text(
                "the variance is mean(x^2) - mean(x)^2: two huge numbers that cancel, and with them the digits. "
                "Square what is left after the mean is subtracted.",
                "方差用的是 mean(x^2) - mean(x)^2：两个巨大的数相减，有效数字也随之消失。应先减去均值，再平方。",
            ),
        ),
        Misconception(
            "beta-scaled",
            beta_added_first,
            Text(
                "beta is added before the product with gamma, and scaled by it. y = gamma * xhat + beta.",
                "beta 在乘 gamma 之前就加上了，也被缩放了。应为 y = gamma * xhat + beta。",
            ),
        ),
    ),
    topic="calculus",
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


def gamma_dropped(dy, xhat, rstd, gamma):
    return with_dx(rstd * (dy - mean_of(dy) - xhat * mean_of(dy * xhat)), dy, xhat)


def gamma_outside_the_means(dy, xhat, rstd, gamma):
    dx = gamma * rstd * (dy - mean_of(dy) - xhat * mean_of(dy * xhat))
    return with_dx(dx, dy, xhat)


def means_without_gamma(dy, xhat, rstd, gamma):
    return with_dx(rstd * (dy * gamma - mean_of(dy) - xhat * mean_of(dy * xhat)), dy, xhat)


def mean_term_missing(dy, xhat, rstd, gamma):
    g = dy * gamma
    return with_dx(rstd * (g - xhat * mean_of(g * xhat)), dy, xhat)


def variance_term_missing(dy, xhat, rstd, gamma):
    g = dy * gamma
    return with_dx(rstd * (g - mean_of(g)), dy, xhat)


def statistics_taken_for_constants(dy, xhat, rstd, gamma):
    return with_dx(rstd * dy * gamma, dy, xhat)


def deviation_forgotten(dy, xhat, rstd, gamma):
    g = dy * gamma
    return with_dx(g - mean_of(g) - xhat * mean_of(g * xhat), dy, xhat)


def multiplied_by_the_deviation(dy, xhat, rstd, gamma):
    g = dy * gamma
    return with_dx((g - mean_of(g) - xhat * mean_of(g * xhat)) / rstd, dy, xhat)


def sums_instead_of_means(dy, xhat, rstd, gamma):
    g = dy * gamma
    along = (g * xhat).sum(axis=-1, keepdims=True)
    return with_dx(rstd * (g - g.sum(axis=-1, keepdims=True) - xhat * along), dy, xhat)


def variance_term_by_d_minus_1(dy, xhat, rstd, gamma):
    g = dy * gamma
    along = (g * xhat).sum(axis=-1, keepdims=True) / (np.array(xhat.shape[-1]) - 1)
    return with_dx(rstd * (g - mean_of(g) - xhat * along), dy, xhat)


def variance_term_without_xhat(dy, xhat, rstd, gamma):
    g = dy * gamma
    return with_dx(rstd * (g - mean_of(g) - mean_of(g * xhat)), dy, xhat)


def means_over_the_first_axis(dy, xhat, rstd, gamma):
    g = dy * gamma
    along = (g * xhat).mean(axis=0, keepdims=True)
    return with_dx(rstd * (g - g.mean(axis=0, keepdims=True) - xhat * along), dy, xhat)


def dgamma_without_xhat(dy, xhat, rstd, gamma):
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy), over_rows(dy)


def dgamma_of_the_centred_input(dy, xhat, rstd, gamma):
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy * xhat / rstd), over_rows(dy)


def dgamma_of_dxhat(dy, xhat, rstd, gamma):
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy * gamma * xhat), over_rows(dy)


def dbeta_of_dxhat(dy, xhat, rstd, gamma):
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy * xhat), over_rows(dy * gamma)


def parameters_not_summed(dy, xhat, rstd, gamma):
    return right_dx(dy, xhat, rstd, gamma), dy * xhat, dy


def parameters_averaged(dy, xhat, rstd, gamma):
    rows = dy.size // dy.shape[-1]
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy * xhat) / rows, over_rows(dy) / rows


def parameters_summed_over_the_first_axis(dy, xhat, rstd, gamma):
    return right_dx(dy, xhat, rstd, gamma), (dy * xhat).sum(axis=0), dy.sum(axis=0)


def parameters_exchanged(dy, xhat, rstd, gamma):
    return right_dx(dy, xhat, rstd, gamma), over_rows(dy), over_rows(dy * xhat)


LAYER_NORM_BACKWARD = Exercise(
    id="layer-norm-backward",
    title=Text("Layer norm backward", "层归一化的反向传播"),
    statement=Text(
        "The forward was, over the last axis of length D,\n\n"
        "$$\\hat x_i = (x_i - \\mu)\\,r, \\qquad r = 1/\\sqrt{\\sigma^2 + \\epsilon}, \\qquad "
        "y_i = \\gamma_i \\hat x_i + \\beta_i$$\n\n"
        "with the mean $\\mu$ and the biased variance $\\sigma^2$ of each row. It kept `xhat` (..., D) and "
        "`rstd` (..., 1), which is r. Given these, `dy` (..., D), the gradient of the loss with respect to y, and "
        "`gamma` (D,), return `dx, dgamma, dbeta`, of shapes (..., D), (D,), (D,).\n\n"
        "Mean and variance depend on x: gradient flows through both.",
        "前向沿长度为 D 的最后一个轴：\n\n"
        "$$\\hat x_i = (x_i - \\mu)\\,r, \\qquad r = 1/\\sqrt{\\sigma^2 + \\epsilon}, \\qquad "
        "y_i = \\gamma_i \\hat x_i + \\beta_i$$\n\n"
        "$\\mu$ 和 $\\sigma^2$ 是每行的均值和有偏方差。前向留下了 `xhat`，形状 (..., D)，以及 `rstd`，即 r，形状 (..., 1)。"
        "给定它们、损失对 y 的梯度 `dy` (..., D) 和 `gamma` (D,)，返回 `dx, dgamma, dbeta`，"
        "形状为 (..., D)、(D,)、(D,)。\n\n"
        "均值和方差都依赖 x：梯度要经过这两条路。",
    ),
    reference=layer_norm_backward,
    library=(ops.layernorm_backward,),
    outputs=("dx", "dgamma", "dbeta"),
    cases=layer_norm_backward_cases,
    hints=(
        Text(
            "Go back line by line: first `dxhat = dy * gamma`. Then each $x_j$ moves $\\hat x_i$ on three paths: "
            "directly, through the mean, and through the variance.",
            "逐行往回推：先是 `dxhat = dy * gamma`。然后每个 $x_j$ 经三条路影响 $\\hat x_i$：直接、经均值、经方差。",
        ),
        Text(
            "$dx_j = r\\,\\bigl(d\\hat x_j - \\tfrac1D\\sum_i d\\hat x_i - \\hat x_j\\,\\tfrac1D\\sum_i d\\hat x_i "
            "\\hat x_i\\bigr)$; $d\\gamma$ and $d\\beta$ are sums over all rows.",
            "$dx_j = r\\,\\bigl(d\\hat x_j - \\tfrac1D\\sum_i d\\hat x_i - \\hat x_j\\,\\tfrac1D\\sum_i d\\hat x_i "
            "\\hat x_i\\bigr)$；$d\\gamma$ 和 $d\\beta$ 对所有行求和。",
        ),
        Text(
            "`mean = dxhat.mean(axis=-1, keepdims=True)`, "
            "`mean_along = (dxhat * xhat).mean(axis=-1, keepdims=True)`, "
            "`dx = rstd * (dxhat - mean - xhat * mean_along)`; dgamma is the sum of `dy * xhat`, dbeta that of `dy`, "
            "over all axes but the last.",
            "`mean = dxhat.mean(axis=-1, keepdims=True)`，"
            "`mean_along = (dxhat * xhat).mean(axis=-1, keepdims=True)`，"
            "`dx = rstd * (dxhat - mean - xhat * mean_along)`；dgamma 是 `dy * xhat` 的和，dbeta 是 `dy` 的和，"
            "都沿除最后一个以外的所有轴。",
        ),
    ),
    misconceptions=(
        Misconception(
            "gamma-dropped",
            gamma_dropped,
            Text(
                "dx starts from dy. Between y and xhat stands gamma: start from dxhat = dy * gamma.",
                "dx 是从 dy 算起的。y 与 xhat 之间隔着 gamma：应从 dxhat = dy * gamma 算起。",
            ),
        ),
        Misconception(
            "gamma-outside-the-means",
            gamma_outside_the_means,
            Text(
                "gamma is multiplied on at the end. It is not the same for all features and cannot be taken out of the "
                "means: multiply dy by it first.",
                "gamma 是最后才乘的。它对各特征不同，不能提到平均之外：应先用它乘 dy。",
            ),
        ),
        Misconception(
            "means-without-gamma",
            means_without_gamma,
            Text(
                "the two means are taken of dy; they belong to dxhat = dy * gamma, as the first term does.",
                "两个平均用的是 dy；应与第一项一样，用 dxhat = dy * gamma。",
            ),
        ),
        Misconception(
            "mean-term-missing",
            mean_term_missing,
            Text(
                "the path through the mean is missing: subtract the mean of dxhat.",
                "缺了经过均值的那条路：要减去 dxhat 的平均值。",
            ),
        ),
        Misconception(
            "variance-term-missing",
            variance_term_missing,
            Text(
                "the path through the variance is missing: subtract xhat times the mean of dxhat * xhat.",
                "缺了经过方差的那条路：要减去 xhat 乘以 dxhat * xhat 的平均值。",
            ),
        ),
        Misconception(
            "statistics-constant",
            statistics_taken_for_constants,
            Text(
                "mean and variance are taken for constants. Both depend on x: two terms are missing, the mean of dxhat "
                "and xhat times the mean of dxhat * xhat.",
                "把均值和方差当成了常数。两者都依赖 x：缺了两项，即 dxhat 的平均，以及 xhat 乘以 dxhat * xhat 的平均。",
            ),
        ),
        Misconception(
            "rstd-forgotten",
            deviation_forgotten,
            Text(
                "the factor rstd is missing: xhat is (x - mean) * rstd.",
                "少了因子 rstd：xhat 等于 (x - mean) * rstd。",
            ),
        ),
        Misconception(
            "divided-by-rstd",
            multiplied_by_the_deviation,
            Text(
                "it is divided by rstd. rstd is one over the standard deviation already: multiply.",
                "除以了 rstd。rstd 已经是标准差的倒数：应当相乘。",
            ),
        ),
        Misconception(
            "sums-instead-of-means",
            sums_instead_of_means,
            Text(
                "sums are taken where means belong: both terms carry 1/D, from the mean and from the variance.",
                "该取平均的地方用了求和：两项都带 1/D，分别来自均值和方差。",
            ),
        ),
        Misconception(
            "variance-term-by-D-1",
            variance_term_by_d_minus_1,
            Text(
                "the variance term is divided by D - 1. The forward has the biased variance: divide by D.",
                "方差那一项除以了 D - 1。前向用的是有偏方差：除以 D。",
            ),
        ),
        Misconception(
            "variance-term-without-xhat",
            variance_term_without_xhat,
            Text(
                "the mean of dxhat * xhat is subtracted from all features alike. How much a feature moves the variance is "
                "its xhat: multiply by it.",
                "从所有特征上减去了同一个 dxhat * xhat 的平均。一个特征对方差的影响正比于它的 xhat：要再乘上它。",
            ),
        ),
        Misconception(
            "means-over-the-first-axis",
            means_over_the_first_axis,
            Text(
                "the means run over the first axis, as in batch norm. Each row has its own: `axis=-1, keepdims=True`.",
                "平均是沿第一个轴取的，那是批归一化。每行各有各的：`axis=-1, keepdims=True`。",
            ),
        ),
        Misconception(
            "dgamma-without-xhat",
            dgamma_without_xhat,
            Text(
                "dgamma is the sum of dy, which is dbeta. gamma multiplies xhat: sum dy * xhat.",
                "dgamma 是 dy 的和，那是 dbeta。gamma 乘的是 xhat：应对 dy * xhat 求和。",
            ),
        ),
        Misconception(
            "dgamma-of-centred-x",
            dgamma_of_the_centred_input,
            Text(
                "dgamma uses x - mean. gamma multiplies xhat, which is divided by the standard deviation, too.",
                "dgamma 用的是 x - mean。gamma 乘的是 xhat，它还除过标准差。",
            ),
        ),
        Misconception(
            "dgamma-of-dxhat",
            dgamma_of_dxhat,
            Text(
                "dgamma is summed from dxhat. gamma itself is no factor of its own gradient: sum dy * xhat.",
                "dgamma 是由 dxhat 求和得到的。gamma 自己的梯度里不含 gamma：应对 dy * xhat 求和。",
            ),
        ),
        Misconception(
            "dbeta-of-dxhat",
            dbeta_of_dxhat,
            Text(
                "dbeta is summed from dxhat. beta is added after gamma: sum dy.",
                "dbeta 是由 dxhat 求和得到的。beta 是在 gamma 之后加的：应对 dy 求和。",
            ),
        ),
        Misconception(
            "parameters-not-summed",
            parameters_not_summed,
            Text(
                "there is one gradient for every row. gamma and beta are shared by all rows: sum over all axes but the "
                "last.",
                "每一行都有一份梯度。gamma 和 beta 由所有行共用：应沿最后一个轴以外的所有轴求和。",
            ),
        ),
        Misconception(
            "parameters-averaged",
            parameters_averaged,
            Text(
                "the mean over the rows is taken where the sum belongs. If the loss is a mean, dy holds that factor "
                "already.",
                "该对各行求和的地方取了平均。如果损失是平均值，这个因子已经在 dy 里了。",
            ),
        ),
        Misconception(
            "parameters-summed-over-the-first-axis",
            parameters_summed_over_the_first_axis,
            Text(
                "only the first axis is summed. With (B, T, D) the tokens are rows as well: sum over all axes but the last.",
                "只沿第一个轴求和了。形状为 (B, T, D) 时，每个词元也是一行：应沿最后一个轴以外的所有轴求和。",
            ),
        ),
        Misconception(
            "parameters-exchanged",
            parameters_exchanged,
            Text(
                "dgamma and dbeta are exchanged: the order is dx, dgamma, dbeta, and dgamma is the sum of dy * xhat.",
                "dgamma 和 dbeta 写反了：顺序是 dx, dgamma, dbeta，dgamma 是 dy * xhat 的和。",
            ),
        ),
    ),
    topic="calculus",
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

EXERCISES = (LAYER_NORM, LAYER_NORM_BACKWARD)

"""RMS norm, backward."""

from npformer import ops
from npformer.exercises.calculus.layer_norm import mean_of, over_rows
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def rms_norm_backward(dy, xhat, rrms, gamma):
    """Return dx, dgamma of y = gamma * xhat; dy, xhat: (..., D), rrms: (..., 1), gamma: (D,)."""
    return ops.rmsnorm_backward(dy, ops.RmsNormCache(xhat, rrms, gamma))


def rms_norm_backward_cases(rng):
    """Return what an RMS norm keeps; eps is large enough to show where it is forgotten."""

    def case(*shape, eps, part=""):
        gamma = rng.normal(size=shape[-1])
        _, cache = ops.rmsnorm_forward(2 * rng.normal(size=shape) + 0.5, gamma, eps=eps)
        args = {
            "dy": rng.normal(size=shape),
            "xhat": cache.xhat,
            "rrms": cache.rrms,
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


def with_dx(dx, dy, xhat):
    """Return both gradients, dgamma right."""
    return dx, over_rows(dy * xhat)


def right_dx(dy, xhat, rrms, gamma):
    g = dy * gamma
    return rrms * (g - xhat * mean_of(g * xhat))


def norm_taken_for_a_constant(dy, xhat, rrms, gamma):
    return with_dx(rrms * dy * gamma, dy, xhat)


def centred_like_a_layer_norm(dy, xhat, rrms, gamma):
    g = dy * gamma
    return with_dx(rrms * (g - mean_of(g) - xhat * mean_of(g * xhat)), dy, xhat)


def gamma_dropped(dy, xhat, rrms, gamma):
    return with_dx(rrms * (dy - xhat * mean_of(dy * xhat)), dy, xhat)


def gamma_outside_the_mean(dy, xhat, rrms, gamma):
    return with_dx(gamma * rrms * (dy - xhat * mean_of(dy * xhat)), dy, xhat)


def mean_without_gamma(dy, xhat, rrms, gamma):
    return with_dx(rrms * (dy * gamma - xhat * mean_of(dy * xhat)), dy, xhat)


def sum_instead_of_mean(dy, xhat, rrms, gamma):
    g = dy * gamma
    return with_dx(rrms * (g - xhat * (g * xhat).sum(axis=-1, keepdims=True)), dy, xhat)


def rrms_forgotten(dy, xhat, rrms, gamma):
    g = dy * gamma
    return with_dx(g - xhat * mean_of(g * xhat), dy, xhat)


def formula_of_x_with_xhat(dy, xhat, rrms, gamma):
    g = dy * gamma
    return with_dx(rrms * g - rrms**3 * xhat * mean_of(g * xhat), dy, xhat)


def projection_without_xhat(dy, xhat, rrms, gamma):
    g = dy * gamma
    return with_dx(rrms * (g - mean_of(g * xhat)), dy, xhat)


def dgamma_without_xhat(dy, xhat, rrms, gamma):
    return right_dx(dy, xhat, rrms, gamma), over_rows(dy)


def dgamma_of_x(dy, xhat, rrms, gamma):
    return right_dx(dy, xhat, rrms, gamma), over_rows(dy * xhat / rrms)


def dgamma_not_summed(dy, xhat, rrms, gamma):
    return right_dx(dy, xhat, rrms, gamma), dy * xhat


def dgamma_averaged(dy, xhat, rrms, gamma):
    rows = dy.size // dy.shape[-1]
    return right_dx(dy, xhat, rrms, gamma), over_rows(dy * xhat) / rows


def dgamma_over_the_first_axis(dy, xhat, rrms, gamma):
    return right_dx(dy, xhat, rrms, gamma), (dy * xhat).sum(axis=0)


RMS_NORM_BACKWARD = Exercise(
    id="rms-norm-backward",
    title=Text("RMS norm backward", "RMSNorm 的反向传播"),
    statement=Text(
        "RMS norm is layer norm without centring and without beta. The forward was, over the last axis of length D,\n\n"
        "$$\\hat x_i = x_i\\,r, \\qquad r = 1\\Big/\\sqrt{\\tfrac1D \\textstyle\\sum_j x_j^2 + \\epsilon}, \\qquad "
        "y_i = \\gamma_i \\hat x_i$$\n\n"
        "It kept `xhat` (..., D) and `rrms` (..., 1), which is r. Given these, `dy` (..., D), the gradient of the loss "
        "with respect to y, and `gamma` (D,), return `dx, dgamma`, of shapes (..., D) and (D,).",
        "RMSNorm 是不减均值、也没有 beta 的层归一化。前向沿长度为 D 的最后一个轴：\n\n"
        "$$\\hat x_i = x_i\\,r, \\qquad r = 1\\Big/\\sqrt{\\tfrac1D \\textstyle\\sum_j x_j^2 + \\epsilon}, \\qquad "
        "y_i = \\gamma_i \\hat x_i$$\n\n"
        "前向留下了 `xhat`，形状 (..., D)，以及 `rrms`，即 r，形状 (..., 1)。给定它们、损失对 y 的梯度 `dy` (..., D) "
        "和 `gamma` (D,)，返回 `dx, dgamma`，形状为 (..., D) 和 (D,)。",
    ),
    reference=rms_norm_backward,
    library=(ops.rmsnorm_backward,),
    outputs=("dx", "dgamma"),
    cases=rms_norm_backward_cases,
    hints=(
        Text(
            "Two paths lead from $x_j$ to $\\hat x_i$: directly, and through r. Differentiate r first.",
            "从 $x_j$ 到 $\\hat x_i$ 有两条路：直接，以及经过 r。先对 r 求导。",
        ),
        Text(
            "$\\partial r/\\partial x_j = -r^3 x_j/D$, so $dx_j = r\\,\\bigl(d\\hat x_j - \\hat x_j\\,\\tfrac1D\\sum_i "
            "d\\hat x_i \\hat x_i\\bigr)$ with $d\\hat x = \\gamma\\,dy$.",
            "$\\partial r/\\partial x_j = -r^3 x_j/D$，因此 $dx_j = r\\,\\bigl(d\\hat x_j - \\hat x_j\\,\\tfrac1D\\sum_i "
            "d\\hat x_i \\hat x_i\\bigr)$，其中 $d\\hat x = \\gamma\\,dy$。",
        ),
        Text(
            "`dxhat = dy * gamma`, `mean_along = (dxhat * xhat).mean(axis=-1, keepdims=True)`, "
            "`dx = rrms * (dxhat - xhat * mean_along)`; dgamma is the sum of `dy * xhat` over all axes but the last.",
            "`dxhat = dy * gamma`，`mean_along = (dxhat * xhat).mean(axis=-1, keepdims=True)`，"
            "`dx = rrms * (dxhat - xhat * mean_along)`；dgamma 是 `dy * xhat` 沿除最后一个以外所有轴的和。",
        ),
    ),
    misconceptions=(
        Misconception(
            "norm-constant",
            norm_taken_for_a_constant,
            Text(
                "the root mean square is taken for a constant. It depends on x: subtract xhat times the mean of "
                "dxhat * xhat.",
                "把均方根当成了常数。它依赖 x：要减去 xhat 乘以 dxhat * xhat 的平均值。",
            ),
        ),
        Misconception(
            "layer-norm-instead",
            centred_like_a_layer_norm,
            Text(
                "the mean of dxhat is subtracted, as in layer norm. RMS norm does not centre, so this path does not exist.",
                "减去了 dxhat 的平均，那是层归一化。RMSNorm 不减均值，没有这条路。",
            ),
        ),
        Misconception(
            "gamma-dropped",
            gamma_dropped,
            Text(
                "dx starts from dy. Between y and xhat stands gamma: start from dxhat = dy * gamma.",
                "dx 是从 dy 算起的。y 与 xhat 之间隔着 gamma：应从 dxhat = dy * gamma 算起。",
            ),
        ),
        Misconception(
            "gamma-outside-the-mean",
            gamma_outside_the_mean,
            Text(
                "gamma is multiplied on at the end. It cannot be taken out of the mean: multiply dy by it first.",
                "gamma 是最后才乘的。它不能提到平均之外：应先用它乘 dy。",
            ),
        ),
        Misconception(
            "mean-without-gamma",
            mean_without_gamma,
            Text(
                "the mean is taken of dy * xhat; it belongs to dxhat * xhat, with dxhat = dy * gamma.",
                "平均用的是 dy * xhat；应当用 dxhat * xhat，其中 dxhat = dy * gamma。",
            ),
        ),
        Misconception(
            "sum-instead-of-mean",
            sum_instead_of_mean,
            Text(
                "the sum of dxhat * xhat is taken where the mean belongs: 1/D comes from the mean of the squares.",
                "该取平均的地方对 dxhat * xhat 求了和：1/D 来自平方的平均。",
            ),
        ),
        Misconception(
            "rrms-forgotten",
            rrms_forgotten,
            Text(
                "the factor rrms is missing: xhat is x * rrms.",
                "少了因子 rrms：xhat 等于 x * rrms。",
            ),
        ),
        Misconception(
            "x-and-xhat-mixed",
            formula_of_x_with_xhat,
            Text(
                "r^3 belongs to the formula in x: r^3 x mean(dxhat * x). With xhat two of the three factors are in it "
                "already, and one r is left.",
                "r^3 属于用 x 写的公式：r^3 x mean(dxhat * x)。用 xhat 时，其中两个 r 已经包含在内，只剩一个。",
            ),
        ),
        Misconception(
            "projection-without-xhat",
            projection_without_xhat,
            Text(
                "the mean of dxhat * xhat is subtracted from all features alike: multiply it by xhat first.",
                "从所有特征上减去了同一个 dxhat * xhat 的平均：应先乘上 xhat。",
            ),
        ),
        Misconception(
            "dgamma-without-xhat",
            dgamma_without_xhat,
            Text(
                "dgamma is the sum of dy. gamma multiplies xhat: sum dy * xhat.",
                "dgamma 是 dy 的和。gamma 乘的是 xhat：应对 dy * xhat 求和。",
            ),
        ),
        Misconception(
            "dgamma-of-x",
            dgamma_of_x,
            Text(
                "dgamma uses x. gamma multiplies xhat, the normalised x.",
                "dgamma 用的是 x。gamma 乘的是 xhat，即归一化后的 x。",
            ),
        ),
        Misconception(
            "dgamma-not-summed",
            dgamma_not_summed,
            Text(
                "there is one dgamma for every row. gamma is shared by all rows: sum over all axes but the last.",
                "每一行都有一个 dgamma。gamma 由所有行共用：应沿最后一个轴以外的所有轴求和。",
            ),
        ),
        Misconception(
            "dgamma-averaged",
            dgamma_averaged,
            Text(
                "the mean over the rows is taken where the sum belongs. If the loss is a mean, dy holds that factor already.",
                "该对各行求和的地方取了平均。如果损失是平均值，这个因子已经在 dy 里了。",
            ),
        ),
        Misconception(
            "dgamma-over-the-first-axis",
            dgamma_over_the_first_axis,
            Text(
                "only the first axis is summed. With (B, T, D) the tokens are rows as well: sum over all axes but the last.",
                "只沿第一个轴求和了。形状为 (B, T, D) 时，每个词元也是一行：应沿最后一个轴以外的所有轴求和。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=lambda dy, xhat, rrms, gamma: {
        "dx": {
            "rrms * dxhat": rrms * dy * gamma,
            "- rrms * xhat * mean(dxhat * xhat)": -rrms * xhat * mean_of(dy * gamma * xhat),
        }
    },
    steps=lambda dy, xhat, rrms, gamma: {
        "dxhat": dy * gamma,
        "mean_along": mean_of(dy * gamma * xhat),
    },
    factors=lambda dy, xhat, rrms, gamma: {
        "D": dy.shape[-1],
        "the number of rows": dy.size // dy.shape[-1],
        "B": len(dy),
        **({"rrms": rrms.item()} if rrms.size == 1 else {}),
    },
    docs="derivations/layernorm.md",
)

EXERCISES = (RMS_NORM_BACKWARD,)

"""Post-LN: a residual around a sublayer, then a layer norm, backward."""

import numpy as np

from npformer import layers, ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def without_the_residual(dy, x, w, b, gamma, eps):
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


def without_the_sublayer(dy, x, w, b, gamma, eps):
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du, *of_weights(x, du), *of_norm(dy, xhat)


def residual_past_the_norm(dy, x, w, b, gamma, eps):
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return dy + du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


def sublayer_past_the_norm(dy, x, w, b, gamma, eps):
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du + dy @ w.T, *of_weights(x, dy), *of_norm(dy, xhat)


def norm_of_the_sublayer(dy, x, w, b, gamma, eps):
    xhat, rstd = normalised(x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du + du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


def without_gamma(dy, x, w, b, gamma, eps):
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy, xhat, rstd)
    return du + du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


def with_fixed_statistics(dy, x, w, b, gamma, eps):
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = dy * gamma * rstd
    return du + du @ w.T, *of_weights(x, du), *of_norm(dy, xhat)


def without_the_transpose(dy, x, w, b, gamma, eps):
    xhat, rstd = normalised(x + x @ w + b, eps)
    du = through_norm(dy * gamma, xhat, rstd)
    return du + du @ w, *of_weights(x, du), *of_norm(dy, xhat)


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
    title=Text("Post-LN: residual, then norm, backward", "Post-LN（先残差后归一化）的反向传播"),
    statement=Text(
        "BERT wraps each of its sublayers in a residual and a layer norm, the norm last. Here the "
        "sublayer is one affine map:\n\n"
        "$$u = x + (x w + b), \\qquad y = \\gamma\\,\\hat u + \\beta, \\qquad "
        "\\hat u = \\frac{u - \\mu}{\\sqrt{\\sigma^2 + \\epsilon}}$$\n\n"
        "with the mean $\\mu$ and the biased variance $\\sigma^2$ of each u over the last axis. "
        "Given `dy` (B, T, D), the gradient of the loss with respect to y, and `x` (B, T, D), "
        "`w` (D, D), `b` (D,), `gamma` (D,) and the number `eps`, return "
        "`dx, dw, db, dgamma, dbeta`, each of the shape of what it belongs to; beta is (D,), its "
        "value is not needed. x is used twice.",
        "BERT 的每个子层都套着残差连接和层归一化，归一化放在最后。这里的子层是一个仿射变换：\n\n"
        "$$u = x + (x w + b), \\qquad y = \\gamma\\,\\hat u + \\beta, \\qquad "
        "\\hat u = \\frac{u - \\mu}{\\sqrt{\\sigma^2 + \\epsilon}}$$\n\n"
        "其中 $\\mu$ 和 $\\sigma^2$ 是每个 u 沿最后一个轴的均值和有偏方差。"
        "给定损失对 y 的梯度 `dy` (B, T, D)，以及 `x` (B, T, D)、`w` (D, D)、`b` (D,)、`gamma` (D,) "
        "和标量 `eps`，返回 `dx, dw, db, dgamma, dbeta`，形状与各自对应的量相同；beta 为 (D,)，用不到它的值。"
        "注意 x 用了两次。",
    ),
    reference=post_ln_backward,
    library=(layers.EncoderBlock.backward, ops.layernorm_backward, ops.linear_backward),
    outputs=("dx", "dw", "db", "dgamma", "dbeta"),
    cases=post_ln_backward_cases,
    hints=(
        Text(
            "The norm was last, so it is undone first. Its gradient du then goes two ways: "
            "straight to x, and through the sublayer. What comes back from both is added.",
            "归一化在最后，所以反向时最先处理它。得到的 du 随后兵分两路：直接到 x，以及经过子层再到 x；"
            "两路的结果相加。",
        ),
        Text(
            "$du = (d\\hat u - \\overline{d\\hat u} - \\hat u\\,\\overline{d\\hat u\\,\\hat u}) / "
            "\\sqrt{\\sigma^2 + \\epsilon}$ with $d\\hat u = \\gamma\\,dy$ and means over the last "
            "axis; $dx = du + du\\,w^\\top$; dw and db are made of x and du.",
            "$du = (d\\hat u - \\overline{d\\hat u} - \\hat u\\,\\overline{d\\hat u\\,\\hat u}) / "
            "\\sqrt{\\sigma^2 + \\epsilon}$，其中 $d\\hat u = \\gamma\\,dy$，横线表示沿最后一个轴的平均；"
            "$dx = du + du\\,w^\\top$；dw 和 db 由 x 和 du 得到。",
        ),
        Text(
            "`u = x + x @ w + b`, normalise it to `xhat` with `rstd`; `dn = dy * gamma`; "
            "`du = rstd * (dn - dn.mean(-1, keepdims=True) - xhat * (dn * xhat).mean(-1, "
            "keepdims=True))`; `dx = du + du @ w.T`; `dw` is x.reshape(-1, D).T times the rows of du.",
            "`u = x + x @ w + b`，归一化得到 `xhat` 和 `rstd`；`dn = dy * gamma`；"
            "`du = rstd * (dn - dn.mean(-1, keepdims=True) - xhat * (dn * xhat).mean(-1, "
            "keepdims=True))`；`dx = du + du @ w.T`；`dw` 是 x.reshape(-1, D).T 乘以展平成行的 du。",
        ),
    ),
    misconceptions=(
        Misconception(
            "residual-missing",
            without_the_residual,
            Text(
                "only what comes back through the sublayer is there: the residual carries du to x "
                "as well, dx = du + du w^T.",
                "只有经过子层传回来的部分：残差也把 du 传给 x，dx = du + du w^T。",
            ),
        ),
        Misconception(
            "sublayer-path-missing",
            without_the_sublayer,
            Text(
                "only the residual's du reaches x: the sublayer read x too, so du w^T must be added.",
                "只有残差那一路的 du 到了 x：子层也读了 x，所以还要加上 du w^T。",
            ),
        ),
        Misconception(
            "residual-past-the-norm",
            residual_past_the_norm,
            Text(
                "dy goes along the residual untouched, as in pre-LN. In post-LN the norm comes "
                "after the sum, so what the residual carries is du, behind the norm.",
                "残差那一路直接传了 dy，这是 pre-LN 的做法。post-LN 的归一化在求和之后，"
                "残差传的应是经过归一化反传得到的 du。",
            ),
        ),
        Misconception(
            "sublayer-past-the-norm",
            sublayer_past_the_norm,
            Text(
                "the sublayer gets dy: between it and y stands the norm, so its gradient is du.",
                "子层得到的是 dy：它和 y 之间隔着归一化，所以它的梯度应是 du。",
            ),
        ),
        Misconception(
            "norm-without-the-residual",
            norm_of_the_sublayer,
            Text(
                "the output of the sublayer alone is normalised: the norm is of the sum x + f(x).",
                "只对子层的输出做了归一化：应当归一化的是 x + f(x) 之和。",
            ),
        ),
        Misconception(
            "gamma-missing",
            without_gamma,
            Text(
                "du is computed from dy: the norm multiplied by gamma last, so begin with dy gamma.",
                "du 是直接由 dy 算的：归一化最后乘了 gamma，所以要从 dy * gamma 开始。",
            ),
        ),
        Misconception(
            "statistics-held-fixed",
            with_fixed_statistics,
            Text(
                "mean and variance are treated as constants: they depend on u, which gives the two "
                "mean terms of du.",
                "把均值和方差当成了常数：它们依赖于 u，du 中的两个平均项由此而来。",
            ),
        ),
        Misconception(
            "w-not-transposed",
            without_the_transpose,
            Text(
                "du is multiplied by w: the way back through x w is du w^T.",
                "du 乘的是 w：x w 的反向是 du w^T。",
            ),
        ),
    ),
    topic="encoder",
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=post_ln_terms,
    steps=post_ln_steps,
    factors=lambda dy, x, w, b, gamma, eps: {"B": x.shape[0], "T": x.shape[1], "D": x.shape[2]},
    docs="derivations/linear.md",
)

EXERCISES = (POST_LN_BACKWARD,)

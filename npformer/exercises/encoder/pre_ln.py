"""Pre-LN: a residual around a layer norm and a sublayer, backward."""

import numpy as np

from npformer import layers, ops
from npformer.exercises.encoder.post_ln import normalised, of_norm, of_weights, through_norm
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def without_the_residual(dy, x, w, gamma, beta, eps):
    xhat, rstd = normalised(x, eps)
    dn = dy @ w.T
    dx = through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


def without_the_sublayer(dy, x, w, gamma, beta, eps):
    xhat, _ = normalised(x, eps)
    return dy.copy(), *of_weights(gamma * xhat + beta, dy), *of_norm(dy @ w.T, xhat)


def residual_behind_the_norm(dy, x, w, gamma, beta, eps):
    xhat, rstd = normalised(x, eps)
    dn = dy + dy @ w.T
    dx = through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


def without_the_norm(dy, x, w, gamma, beta, eps):
    xhat, _ = normalised(x, eps)
    dn = dy @ w.T
    return dy + dn, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


def weights_from_x(dy, x, w, gamma, beta, eps):
    xhat, rstd = normalised(x, eps)
    dn = dy @ w.T
    dx = dy + through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(x, dy), *of_norm(dn, xhat)


def weights_from_xhat(dy, x, w, gamma, beta, eps):
    xhat, rstd = normalised(x, eps)
    dn = dy @ w.T
    dx = dy + through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(xhat, dy), *of_norm(dn, xhat)


def norm_gets_dy(dy, x, w, gamma, beta, eps):
    xhat, rstd = normalised(x, eps)
    dx = dy + through_norm((dy @ w.T) * gamma, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dy, xhat)


def without_gamma(dy, x, w, gamma, beta, eps):
    xhat, rstd = normalised(x, eps)
    dn = dy @ w.T
    dx = dy + through_norm(dn, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


def without_the_transpose(dy, x, w, gamma, beta, eps):
    xhat, rstd = normalised(x, eps)
    dn = dy @ w
    dx = dy + through_norm(dn * gamma, xhat, rstd)
    return dx, *of_weights(gamma * xhat + beta, dy), *of_norm(dn, xhat)


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
    title=Text(
        "Pre-LN: norm inside the residual, backward", "Pre-LN（归一化在残差分支内）的反向传播"
    ),
    statement=Text(
        "GPT-2 and most later models normalise what a sublayer reads and leave the residual path "
        "free. Here the sublayer is one affine map:\n\n"
        "$$n = \\gamma\\,\\hat x + \\beta, \\qquad "
        "\\hat x = \\frac{x - \\mu}{\\sqrt{\\sigma^2 + \\epsilon}}, \\qquad "
        "y = x + (n w + b)$$\n\n"
        "with the mean $\\mu$ and the biased variance $\\sigma^2$ of each x over the last axis. "
        "Given `dy` (B, T, D), the gradient of the loss with respect to y, and `x` (B, T, D), "
        "`w` (D, D), `gamma` (D,), `beta` (D,) and the number `eps`, return "
        "`dx, dw, db, dgamma, dbeta`, each of the shape of what it belongs to; b is (D,), its value is "
        "not needed.",
        "GPT-2 和后来的大多数模型先归一化再送入子层，残差通路上不做任何处理。这里的子层是一个仿射变换：\n\n"
        "$$n = \\gamma\\,\\hat x + \\beta, \\qquad "
        "\\hat x = \\frac{x - \\mu}{\\sqrt{\\sigma^2 + \\epsilon}}, \\qquad "
        "y = x + (n w + b)$$\n\n"
        "其中 $\\mu$ 和 $\\sigma^2$ 是每个 x 沿最后一个轴的均值和有偏方差。"
        "给定损失对 y 的梯度 `dy` (B, T, D)，以及 `x` (B, T, D)、`w` (D, D)、`gamma` (D,)、`beta` (D,) "
        "和标量 `eps`，返回 `dx, dw, db, dgamma, dbeta`，形状与各自对应的量相同；b 为 (D,)，用不到它的值。",
    ),
    reference=pre_ln_backward,
    library=(layers.EncoderBlock.backward, ops.layernorm_backward, ops.linear_backward),
    outputs=("dx", "dw", "db", "dgamma", "dbeta"),
    cases=pre_ln_backward_cases,
    hints=(
        Text(
            "dy goes to x along the residual, untouched, and into the sublayer. There the affine "
            "map is undone first, then the norm.",
            "dy 沿残差原样传到 x，同时进入子层；在子层那一路先做仿射变换的反向，再做归一化的反向。",
        ),
        Text(
            "$dn = dy\\,w^\\top$, $dw = n^\\top dy$; $dx = dy + (d\\hat x - \\overline{d\\hat x} - "
            "\\hat x\\,\\overline{d\\hat x\\,\\hat x}) / \\sqrt{\\sigma^2 + \\epsilon}$ with "
            "$d\\hat x = \\gamma\\,dn$.",
            "$dn = dy\\,w^\\top$，$dw = n^\\top dy$；$dx = dy + (d\\hat x - \\overline{d\\hat x} - "
            "\\hat x\\,\\overline{d\\hat x\\,\\hat x}) / \\sqrt{\\sigma^2 + \\epsilon}$，其中 "
            "$d\\hat x = \\gamma\\,dn$。",
        ),
        Text(
            "`dn = dy @ w.T`; `dgamma = (dn * xhat).sum(axis=(0, 1))`; `g = dn * gamma`; "
            "`dx = dy + rstd * (g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, "
            "keepdims=True))`; dw is made of `n = gamma * xhat + beta`, not of x.",
            "`dn = dy @ w.T`；`dgamma = (dn * xhat).sum(axis=(0, 1))`；`g = dn * gamma`；"
            "`dx = dy + rstd * (g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, "
            "keepdims=True))`；dw 要用 `n = gamma * xhat + beta`，而不是 x。",
        ),
    ),
    misconceptions=(
        Misconception(
            "residual-missing",
            without_the_residual,
            Text(
                "only what comes back through norm and sublayer is there: the residual adds dy.",
                "只有经过归一化和子层传回来的部分：还要加上残差那一路的 dy。",
            ),
        ),
        Misconception(
            "sublayer-path-missing",
            without_the_sublayer,
            Text(
                "dx is dy, the residual's part: what comes back through sublayer and norm must be "
                "added.",
                "dx 只是残差那一路的 dy：还要加上经过子层和归一化传回来的部分。",
            ),
        ),
        Misconception(
            "residual-behind-the-norm",
            residual_behind_the_norm,
            Text(
                "the residual is treated as if it began after the norm: it takes x as it is, so dy "
                "is added to dx, not to dn.",
                "把残差当成了从归一化之后引出：它取的是原来的 x，所以 dy 要加到 dx 上，而不是 dn 上。",
            ),
        ),
        Misconception(
            "norm-skipped",
            without_the_norm,
            Text(
                "dn = dy w^T is added to dy as it is: on its way to x it must pass back through the "
                "layer norm.",
                "dn = dy w^T 直接加到了 dy 上：它到达 x 之前还要经过层归一化的反向传播。",
            ),
        ),
        Misconception(
            "dw-from-x",
            weights_from_x,
            Text(
                "dw is made of x: the sublayer read n, the normalised one.",
                "dw 用了 x：子层读入的是归一化之后的 n。",
            ),
        ),
        Misconception(
            "dw-from-xhat",
            weights_from_xhat,
            Text(
                "dw is made of xhat: what the sublayer read is n = gamma xhat + beta.",
                "dw 用了 xhat：子层读入的是 n = gamma * xhat + beta。",
            ),
        ),
        Misconception(
            "norm-gets-dy",
            norm_gets_dy,
            Text(
                "dgamma and dbeta are made of dy, as in post-LN. Here the norm's output is n, so "
                "its gradient is dn = dy w^T.",
                "dgamma 和 dbeta 用了 dy，这是 post-LN 的做法。这里归一化的输出是 n，"
                "它的梯度是 dn = dy w^T。",
            ),
        ),
        Misconception(
            "gamma-missing",
            without_gamma,
            Text(
                "dn enters the norm's backward without gamma: begin with dn gamma.",
                "dn 没有乘 gamma 就进入了归一化的反向：要从 dn * gamma 开始。",
            ),
        ),
        Misconception(
            "w-not-transposed",
            without_the_transpose,
            Text(
                "dy is multiplied by w: the way back through n w is dy w^T.",
                "dy 乘的是 w：n w 的反向是 dy w^T。",
            ),
        ),
    ),
    topic="encoder",
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=pre_ln_terms,
    steps=pre_ln_steps,
    factors=lambda dy, x, w, gamma, beta, eps: {
        "B": x.shape[0],
        "T": x.shape[1],
        "D": x.shape[2],
    },
    docs="derivations/linear.md",
)

EXERCISES = (PRE_LN_BACKWARD,)

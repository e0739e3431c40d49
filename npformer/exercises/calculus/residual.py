"""The residual connection, backward: an array that is used twice."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def residual_backward(dy, x, w, h):
    """Return dx, dw of y = x + h, where h = tanh(x @ w); dy, x, h: (..., D), w: (D, D)."""
    da = ops.tanh_backward(dy, ops.TanhCache(h))
    dx, dw, _ = ops.linear_backward(da, ops.LinearCache(x, w, None))
    return dy + dx, dw


def residual_backward_cases(rng):
    """Return a branch of several shapes; w is square, so that no shape tells its transpose."""

    def case(*shape, scale=1.0, part=""):
        x, w = rng.normal(size=shape), scale * rng.normal(size=(shape[-1], shape[-1]))
        args = {"dy": rng.normal(size=shape), "x": x, "w": w, "h": np.tanh(x @ w)}
        return Case(args, part)

    return [
        case(2, 3),
        case(2, 5, 3, scale=0.5),
        case(5, 7, scale=0.4),
        case(1, 5, scale=0.5, part="one row"),
        case(1, 1, 7, scale=0.4, part="one row"),
        case(3, 1, part="one feature"),
        case(3, 5, scale=200, part="saturated"),
    ]


def through_the_branch(dy, x, w, h):
    """Return what comes back through tanh(x @ w): dx without the sum, and dw."""
    da = dy * (1 - h * h)
    return da @ w.T, x.reshape(-1, x.shape[-1]).T @ da.reshape(-1, x.shape[-1])


def skip_forgotten(dy, x, w, h):
    return through_the_branch(dy, x, w, h)


def branch_forgotten(dy, x, w, h):
    return dy, through_the_branch(dy, x, w, h)[1]


def averaged(dy, x, w, h):
    dx, dw = through_the_branch(dy, x, w, h)
    return (dy + dx) / 2, dw


def multiplied(dy, x, w, h):
    dx, dw = through_the_branch(dy, x, w, h)
    return dy * dx, dw


def one_plus_instead_of_dy_plus(dy, x, w, h):
    dx, dw = through_the_branch(dy, x, w, h)
    return 1 + dx, dw


def skip_inside_the_branch(dy, x, w, h):
    da = dy * (1 - h * h)
    return (dy + da) @ w.T, through_the_branch(dy, x, w, h)[1]


def w_not_transposed(dy, x, w, h):
    return dy + dy * (1 - h * h) @ w, through_the_branch(dy, x, w, h)[1]


def dw_transposed(dy, x, w, h):
    dx, dw = through_the_branch(dy, x, w, h)
    return dy + dx, dw.T


def tanh_slope_missing(dy, x, w, h):
    return dy + dy @ w.T, x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, x.shape[-1])


def dw_with_the_output(dy, x, w, h):
    dx, _ = through_the_branch(dy, x, w, h)
    return dy + dx, through_the_branch(dy, x + h, w, h)[1]


def skip_in_dw(dy, x, w, h):
    dx, dw = through_the_branch(dy, x, w, h)
    rows = x.reshape(-1, x.shape[-1])
    return dy + dx, dw + rows.T @ dy.reshape(-1, x.shape[-1])


def residual_terms(dy, x, w, h):
    """Return the addends of dx."""
    return {"dx": {"dy": dy, "through the branch": through_the_branch(dy, x, w, h)[0]}}


RESIDUAL_BACKWARD = Exercise(
    id="residual-backward",
    title=Text(
        "Residual connection: gradients add up where paths part", "残差连接：分叉处梯度相加"
    ),
    statement=Text(
        "Forward is a residual connection around a small branch,\n\n"
        "$$y = x + h, \\qquad h = \\tanh(x\\,w),$$\n\n"
        "with the product over the last axis: `x`, `h` and y are (..., D), `w` is (D, D). Given `dy`, the gradient of the "
        "loss with respect to y, and `x`, `w`, `h` of the forward, return `dx, dw`, of shapes (..., D) and (D, D).\n\n"
        "x is used twice.",
        "前向是绕过一个小分支的残差连接：\n\n"
        "$$y = x + h, \\qquad h = \\tanh(x\\,w),$$\n\n"
        "乘积沿最后一个轴：`x`、`h` 和 y 的形状为 (..., D)，`w` 为 (D, D)。给定损失对 y 的梯度 `dy`，以及前向的 "
        "`x`、`w`、`h`，返回 `dx, dw`，形状为 (..., D) 和 (D, D)。\n\n"
        "x 用了两次。",
    ),
    reference=residual_backward,
    library=(ops.tanh_backward, ops.linear_backward),
    outputs=("dx", "dw"),
    cases=residual_backward_cases,
    hints=(
        Text(
            "What is used twice gets two gradients, and their sum is its gradient.",
            "用了两次，就有两份梯度，它们的和才是它的梯度。",
        ),
        Text(
            "Along the skip dy arrives unchanged. Through the branch it passes the tanh, "
            "$da = dy \\odot (1 - h^2)$, then the product: $da\\,w^\\top$.",
            "沿捷径，dy 原样到达。经分支则先过 tanh，$da = dy \\odot (1 - h^2)$，再过乘积：$da\\,w^\\top$。",
        ),
        Text(
            "`da = dy * (1 - h * h)`, `dx = dy + da @ w.T`, and `dw = rows.T @ da` with x and da flattened to (N, D).",
            "`da = dy * (1 - h * h)`，`dx = dy + da @ w.T`；把 x 和 da 展平成 (N, D)，则 `dw = rows.T @ da`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "skip-forgotten",
            skip_forgotten,
            Text(
                "only the branch sends a gradient back. x also went around it: add dy.",
                "只有分支传回了梯度。x 还走了捷径：要加上 dy。",
            ),
        ),
        Misconception(
            "branch-forgotten",
            branch_forgotten,
            Text(
                "only the skip sends a gradient back. x also went into the branch: add da @ w.T.",
                "只有捷径传回了梯度。x 还进入了分支：要加上 da @ w.T。",
            ),
        ),
        Misconception(
            "averaged",
            averaged,
            Text(
                "the two gradients are averaged. Where paths part in the forward, the gradients of both add up in full.",
                "两份梯度取了平均。前向分叉的地方，两边的梯度要完整相加。",
            ),
        ),
        Misconception(
            "multiplied",
            multiplied,
            Text(
                "the two gradients are multiplied. Along one path factors multiply; different paths add.",
                "两份梯度相乘了。同一条路上的因子相乘，不同的路相加。",
            ),
        ),
        Misconception(
            "one-instead-of-dy",
            one_plus_instead_of_dy_plus,
            Text(
                "the skip's slope 1 is added as it is. The chain rule multiplies it by dy: dy + da @ w.T.",
                "直接加了捷径的斜率 1。按链式法则还要乘以 dy：dy + da @ w.T。",
            ),
        ),
        Misconception(
            "skip-inside-the-branch",
            skip_inside_the_branch,
            Text(
                "dy of the skip is added too early and goes through w. It goes around the branch: add it at the end.",
                "捷径上的 dy 加得太早，又经过了 w。它是绕过分支的：应在最后再加。",
            ),
        ),
        Misconception(
            "w-not-transposed",
            w_not_transposed,
            Text(
                "da is multiplied by w. Its shape is square and does not tell, but the sum runs over the outputs: w.T.",
                "da 乘的是 w。w 是方阵，形状看不出错，但求和是对输出进行的：应为 w.T。",
            ),
        ),
        Misconception(
            "dw-transposed",
            dw_transposed,
            Text(
                "dw is transposed. w is (in, out): rows.T @ da, not da.T @ rows.",
                "dw 被转置了。w 的布局是 (in, out)：应为 rows.T @ da，而不是 da.T @ rows。",
            ),
        ),
        Misconception(
            "tanh-forgotten",
            tanh_slope_missing,
            Text(
                "the branch lacks the slope of the tanh: da = dy * (1 - h^2).",
                "分支少了 tanh 的斜率：da = dy * (1 - h^2)。",
            ),
        ),
        Misconception(
            "dw-with-the-output",
            dw_with_the_output,
            Text(
                "dw uses y. What was multiplied by w is x.",
                "dw 用的是 y。与 w 相乘的是 x。",
            ),
        ),
        Misconception(
            "skip-in-dw",
            skip_in_dw,
            Text(
                "dw has a share of the skip. w lies on the branch alone.",
                "dw 里混进了捷径的一份。w 只在分支上。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    terms=residual_terms,
    steps=lambda dy, x, w, h: {"da": dy * (1 - h * h)},
    factors=lambda dy, x, w, h: {
        "D": x.shape[-1],
        "the number of rows": x.size // x.shape[-1],
        "B": len(x),
    },
    docs="derivations/linear.md",
)

EXERCISES = (RESIDUAL_BACKWARD,)

"""The affine map and the broadcast bias, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def linear_backward(dy, x, w):
    """Return dx, dw, db of y = x @ w + b; dy: (..., O), x: (..., I), w: (I, O), b: (O,)."""
    b = np.zeros_like(w[0])
    return ops.linear_backward(dy, ops.LinearCache(x, w, b))


def linear_backward_cases(rng):
    """Return inputs with one, two and three axes in front of the last."""

    def case(*lead, i, o, part=""):
        args = {
            "dy": rng.normal(size=(*lead, o)),
            "x": rng.normal(size=(*lead, i)),
            "w": rng.normal(size=(i, o)),
        }
        return Case(args, part)

    return [
        case(5, i=2, o=3),
        case(2, 5, i=7, o=3),
        case(3, 4, i=5, o=7),
        case(2, 3, 5, i=4, o=7),
        case(1, i=3, o=4, part="one row"),
        case(1, 1, i=5, o=2, part="one row"),
        case(3, 5, i=1, o=4, part="one feature"),
    ]


def dw_transposed(dy, x, w):
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, drows.T @ rows, drows.sum(axis=0)


def dw_not_summed(dy, x, w):
    return dy @ w.T, x[..., :, None] * dy[..., None, :], dy.reshape(-1, dy.shape[-1]).sum(axis=0)


def dw_of_each_sequence(dy, x, w):
    return dy @ w.T, x.swapaxes(-1, -2) @ dy, dy.reshape(-1, dy.shape[-1]).sum(axis=0)


def dw_of_the_first_entry(dy, x, w):
    first, dfirst = x[0].reshape(-1, x.shape[-1]), dy[0].reshape(-1, dy.shape[-1])
    return dy @ w.T, first.T @ dfirst, dy.reshape(-1, dy.shape[-1]).sum(axis=0)


def db_not_summed(dy, x, w):
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows, dy


def db_over_the_first_axis(dy, x, w):
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows, dy.sum(axis=0)


def db_over_the_last_axis(dy, x, w):
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows, dy.sum(axis=-1)


def averaged_over_the_rows(dy, x, w):
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows / len(rows), drows.mean(axis=0)


def divided_by_the_batch(dy, x, w):
    rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    return dy @ w.T, rows.T @ drows / len(x), drows.sum(axis=0) / len(x)


LINEAR_BACKWARD = Exercise(
    id="linear-backward",
    title=Text("Linear map: where the transpose comes from", "线性变换：转置从何而来"),
    statement=Text(
        "Forward, the last axis goes through an affine map, the same one in every row $n$:\n\n"
        "$$y_{no} = \\sum_i x_{ni} w_{io} + b_o$$\n\n"
        "`x` is (..., I), `w` is (I, O), `b` is (O,), and `dy`, the gradient of the loss with respect "
        "to y, is (..., O). There may be one or more axes in front: all of them count as rows. "
        "The bias is not handed over, since its gradient does not depend on it.\n\n"
        "Return `dx, dw, db`, each of the shape of what it is the gradient of.",
        "前向时，最后一个轴经过仿射变换，每一行 $n$ 用的是同一个：\n\n"
        "$$y_{no} = \\sum_i x_{ni} w_{io} + b_o$$\n\n"
        "`x` 的形状为 (..., I)，`w` 为 (I, O)，`b` 为 (O,)；`dy` 是损失对 y 的梯度，形状为 (..., O)。"
        "前面有一个或多个轴，都当作行。偏置的梯度与偏置本身无关，所以没有传入。\n\n"
        "返回 `dx, dw, db`，各自与对应的量形状相同。",
    ),
    reference=linear_backward,
    library=(ops.linear_backward,),
    outputs=("dx", "dw", "db"),
    cases=linear_backward_cases,
    hints=(
        Text(
            "Write y with all its indices. The gradient of an entry is the sum over every y it occurs "
            "in: the indices that it does not carry itself are summed.",
            "把 y 的下标全部写出来。一个元素的梯度，是对它出现过的所有 y 求和：对它自己没有的下标全部求和。",
        ),
        Text(
            "$dx_{ni} = \\sum_o dy_{no} w_{io}$, $dw_{io} = \\sum_n x_{ni} dy_{no}$, "
            "$db_o = \\sum_n dy_{no}$, with $n$ over all rows.",
            "$dx_{ni} = \\sum_o dy_{no} w_{io}$，$dw_{io} = \\sum_n x_{ni} dy_{no}$，"
            "$db_o = \\sum_n dy_{no}$，其中 $n$ 遍历所有行。",
        ),
        Text(
            "Flatten first: `rows = x.reshape(-1, I)`, `drows = dy.reshape(-1, O)`. Then `dy @ w.T`, "
            "`rows.T @ drows`, `drows.sum(axis=0)`.",
            "先展平：`rows = x.reshape(-1, I)`，`drows = dy.reshape(-1, O)`。然后是 `dy @ w.T`、"
            "`rows.T @ drows`、`drows.sum(axis=0)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "dw-transposed",
            dw_transposed,
            Text(
                "dw is (O, I), as PyTorch stores its weight. Here `w` is (I, O), and a gradient has "
                "the shape of its array: `rows.T @ drows`.",
                "dw 的形状是 (O, I)，那是 PyTorch 存放权重的方式。这里 `w` 为 (I, O)，梯度要与它同形状："
                "`rows.T @ drows`。",
            ),
        ),
        Misconception(
            "dw-not-summed",
            dw_not_summed,
            Text(
                "there is one dw for every row. All rows use the same w, so their gradients are added: "
                "the matrix product `rows.T @ drows` does it.",
                "每一行都有一个 dw。所有行共用同一个 w，它们的梯度要相加：矩阵乘积 `rows.T @ drows` 正是如此。",
            ),
        ),
        Misconception(
            "dw-of-each-sequence",
            dw_of_each_sequence,
            Text(
                "`@` multiplied the last two axes and kept the ones in front, so that there is one dw "
                "for each sequence. Flatten x and dy to two axes first: w is shared by the batch, too.",
                "`@` 只乘了最后两个轴，前面的轴还在，于是每个序列都有一个 dw。"
                "先把 x 和 dy 展平成两个轴：整个批次也共用 w。",
            ),
        ),
        Misconception(
            "dw-of-the-first-entry",
            dw_of_the_first_entry,
            Text(
                "dw comes from the first entry of the batch alone. Sum over all of them.",
                "dw 只来自批次中的第一个样本，应当对全部样本求和。",
            ),
        ),
        Misconception(
            "db-not-summed",
            db_not_summed,
            Text(
                "db is dy itself. b was added in every row, so db is the sum over the rows, of shape (O,).",
                "db 就是 dy 本身。b 加到了每一行上，所以 db 是对所有行求和，形状为 (O,)。",
            ),
        ),
        Misconception(
            "db-over-the-first-axis",
            db_over_the_first_axis,
            Text(
                "db is summed over the first axis alone. With (B, T, O) the tokens are rows as well: sum "
                "over all axes but the last.",
                "db 只沿第一个轴求和。形状为 (B, T, O) 时，每个词元也是一行：应沿最后一个轴以外的所有轴求和。",
            ),
        ),
        Misconception(
            "db-over-the-last-axis",
            db_over_the_last_axis,
            Text(
                "db is summed over the outputs, the only axis that b does have. Sum over all others.",
                "db 沿输出轴求和了，而那恰恰是 b 唯一拥有的轴。应当对其余的轴求和。",
            ),
        ),
        Misconception(
            "mean-over-the-rows",
            averaged_over_the_rows,
            Text(
                "the mean over the rows was taken where the sum belongs. If the loss is a mean, dy "
                "holds that factor already.",
                "该对各行求和的地方取了平均。如果损失是平均值，这个因子已经在 dy 里了。",
            ),
        ),
        Misconception(
            "divided-by-the-batch",
            divided_by_the_batch,
            Text(
                "the result is divided by the batch size. Only the loss takes means; dy holds that factor "
                "already, and it would count twice.",
                "结果除以了批次大小。取平均是损失的事，这个因子已经在 dy 里了，再除就重复了。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    steps=lambda dy, x, w: {
        "rows": x.reshape(-1, x.shape[-1]),
        "drows": dy.reshape(-1, dy.shape[-1]),
    },
    factors=lambda dy, x, w: {
        "B": len(x),
        "the number of rows": x.size // x.shape[-1],
        "I": w.shape[0],
        "O": w.shape[1],
    },
    docs="derivations/linear.md",
)


def broadcast_bias_backward(dy, bias):
    """Return dbias of y = x + bias, in the shape of bias; dy: the shape of y and x."""
    _, dbias = ops.broadcast_add_backward(dy, ops.BroadcastAddCache(bias))
    return dbias


def broadcast_bias_cases(rng):
    """Return biases that lack axes, that have axes of length 1, and both."""

    def case(shape, bias, part=""):
        return Case({"dy": rng.normal(size=shape), "bias": rng.normal(size=bias)}, part)

    return [
        case((2, 3), (3,)),
        case((2, 3, 5), (5,)),
        case((4, 3, 5, 7), (5, 7)),
        case((2, 3, 5), (2, 1, 5), "axes of length 1"),
        case((2, 5, 4, 3), (1, 5, 4, 3), "axes of length 1"),
        case((2, 5, 3), (5, 1), "axes missing and of length 1"),
        case((2, 3, 7, 5), (3, 1, 1), "axes missing and of length 1"),
        case((3, 1, 4), (1, 4), "nothing to sum"),
        case((3, 4), (3, 4), "nothing to sum"),
    ]


def bias_not_summed(dy, bias):
    return dy


def bias_over_the_first_axis(dy, bias):
    return dy.sum(axis=0)


def bias_over_missing_axes(dy, bias):
    return dy.sum(axis=tuple(range(dy.ndim - bias.ndim)))


def bias_without_keepdims(dy, bias):
    shape = (1,) * (dy.ndim - bias.ndim) + bias.shape
    return dy.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1))


def bias_averaged(dy, bias):
    shape = (1,) * (dy.ndim - bias.ndim) + bias.shape
    repeated = tuple(i for i, n in enumerate(shape) if n == 1)
    return dy.mean(axis=repeated, keepdims=True).reshape(bias.shape)


def bias_summed_to_a_number(dy, bias):
    return np.full_like(bias, dy.sum())


def bias_cut_out(dy, bias):
    shape = (1,) * (dy.ndim - bias.ndim) + bias.shape
    return dy[tuple(slice(n) for n in shape)].reshape(bias.shape)


BROADCAST_BIAS = Exercise(
    id="broadcast-bias",
    title=Text("Broadcast bias: what was repeated is summed", "广播的偏置：沿重复过的轴求和"),
    statement=Text(
        "Forward is `y = x + bias`, and NumPy repeats the bias until it has the shape of `x`: axes are "
        "matched from the **last** one on; an axis that the bias lacks, or that has length 1, is "
        "repeated.\n\n"
        "Given `dy`, of the shape of y, and `bias`, return `dbias`, **of the shape of bias**. It must work "
        "for every shape of one axis or more that broadcasts: with y of (B, T, D) the bias may be (D,), (T, D), (T, 1), "
        "(B, 1, D), (B, T, D), ... (dx is dy, and is not asked for.)",
        "前向是 `y = x + bias`，NumPy 会把 bias 重复到与 `x` 同形状：轴从**最后一个**开始对齐；"
        "bias 没有的轴，或长度为 1 的轴，会被重复。\n\n"
        "给定 `dy`（与 y 同形状）和 `bias`，返回 `dbias`，**形状与 bias 相同**。凡是能广播的形状（至少一个轴）都要支持："
        "y 为 (B, T, D) 时，bias 可以是 (D,)、(T, D)、(T, 1)、(B, 1, D)、(B, T, D) 等等。（dx 就是 dy，不必返回。）",
    ),
    reference=broadcast_bias_backward,
    library=(ops.broadcast_add_backward,),
    outputs=("dbias",),
    cases=broadcast_bias_cases,
    hints=(
        Text(
            "An entry of the bias was added to many y: each of them sends its gradient back.",
            "bias 的一个元素加到了许多个 y 上：每个 y 都会把梯度传回来。",
        ),
        Text(
            "Sum dy over the axes that were repeated: those that the bias lacks, and those where it has "
            "length 1. An axis of length 1 stays in the result.",
            "对 dy 沿被重复的轴求和：bias 没有的轴，以及它长度为 1 的轴。长度为 1 的轴在结果中要保留。",
        ),
        Text(
            "`lead = dy.ndim - bias.ndim`; first `dy.sum(axis=tuple(range(lead)))`, then sum over the "
            "axes `i` with `bias.shape[i] == 1`, with `keepdims=True`.",
            "`lead = dy.ndim - bias.ndim`；先 `dy.sum(axis=tuple(range(lead)))`，再沿满足 "
            "`bias.shape[i] == 1` 的轴 `i` 求和，要写 `keepdims=True`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "not-summed",
            bias_not_summed,
            Text(
                "dy is handed back as it is. What broadcasting repeated has to be summed, down to the "
                "shape of the bias.",
                "把 dy 原样返回了。应沿广播时重复过的轴求和，直到形状与 bias 相同。",
            ),
        ),
        Misconception(
            "first-axis-only",
            bias_over_the_first_axis,
            Text(
                "only the first axis is summed. Which axes were repeated follows from the shapes of dy "
                "and bias; it may be several or none.",
                "只沿第一个轴求和了。哪些轴被重复，要由 dy 和 bias 的形状决定，可能有好几个，也可能一个都没有。",
            ),
        ),
        Misconception(
            "length-1-forgotten",
            bias_over_missing_axes,
            Text(
                "the axes that the bias lacks are summed, those where it has length 1 are not: they were "
                "repeated as well.",
                "bias 没有的轴求和了，但长度为 1 的轴没有：它们同样被重复过。",
            ),
        ),
        Misconception(
            "keepdims-forgotten",
            bias_without_keepdims,
            Text(
                "the sums are right, but the axes of length 1 are gone: sum over those with "
                "`keepdims=True`, or reshape the result to bias.shape.",
                "求和是对的，但长度为 1 的轴不见了：对这些轴求和要写 `keepdims=True`，"
                "或者最后 reshape 成 bias.shape。",
            ),
        ),
        Misconception(
            "mean-instead-of-sum",
            bias_averaged,
            Text(
                "the mean is taken where the sum belongs: every y that the entry was added to adds its "
                "whole gradient.",
                "该求和的地方取了平均：每个加了该元素的 y 都要贡献完整的梯度。",
            ),
        ),
        Misconception(
            "summed-to-a-number",
            bias_summed_to_a_number,
            Text(
                "all of dy is summed to one number. Only the axes that were repeated are summed.",
                "把整个 dy 加成了一个标量。只应对被重复的轴求和。",
            ),
        ),
        Misconception(
            "first-copy-only",
            bias_cut_out,
            Text(
                "only the first of the repeated copies is taken. All of them count: sum, do not slice.",
                "只取了被重复的第一份。每一份都算数：应当求和，而不是切片。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    factors=lambda dy, bias: {"the number of copies": dy.size // bias.size},
    docs="derivations/linear.md",
)

EXERCISES = (LINEAR_BACKWARD, BROADCAST_BIAS)

"""Multi-head self-attention as a layer: the gradient of its input and of its eight arrays."""

import numpy as np

from npformer import layers
from npformer.exercises.attention.by_hand import (
    masked_softmax,
    merge,
    softmax_backward,
    split,
    transpose,
)
from npformer.exercises.attention.draw import padding, projections
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def multi_head_backward(dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    """Return dx, dw_q, db_q, dw_k, db_k, dw_v, db_v, dw_o, db_o.

    dy, x: (B, T, D); keep: boolean (B, T), True = real token; each w: (D, D); each b: (D,).
    """
    params = {"w_q": w_q, "b_q": b_q, "w_k": w_k, "b_k": b_k}
    params |= {"w_v": w_v, "b_v": b_v, "w_o": w_o, "b_o": b_o}
    config = layers.AttentionConfig(d_model=x.shape[-1], num_heads=num_heads)
    attention = layers.MultiHeadAttention(config, params)
    _, cache = attention.forward(x, keep=keep)
    (dx, _, _), grads = attention.backward(layers.AttentionOutput(dy, None), cache)
    return dx, *(grads[name] for name in params)


def multi_head_backward_cases(rng):
    """Return several numbers of heads, without padding, with it, and with nothing else."""

    def case(b, h, t, k, part=""):
        arrays = {
            "dy": rng.normal(size=(b, t, h * k)),
            "x": rng.normal(size=(b, t, h * k)),
            "keep": padding(rng, b, t),
            **projections(rng, h * k),
            "num_heads": h,
        }
        return Case(arrays, part)

    full, empty = case(2, 3, 5, 7).args, case(2, 3, 5, 7).args
    return [
        case(2, 3, 5, 7),
        case(3, 5, 7, 2),
        case(2, 1, 5, 7, "one head"),
        Case({**full, "keep": np.ones((2, 5), bool)}, "no padding"),
        Case({**empty, "keep": empty["keep"] & [[True], [False]]}, "an all-padding sequence"),
    ]


# The layer in pieces, so that a wrong function is this one with one piece exchanged.
RIGHT = {
    "kept": lambda keep: keep,
    "merged": merge,
    "softmax_undone": softmax_backward,
    "scale_undone": lambda dscores, c: c * dscores,
    "output_undone": lambda dy, w_o: dy @ w_o.T,
    "dx": lambda dq, dk, dv, w_q, w_k, w_v: dq @ w_q.T + dk @ w_k.T + dv @ w_v.T,
    "db": lambda dout: dout.sum(axis=(0, 1)),
    "read_by_o": lambda x, ctx: ctx,
}


def _layer(pieces, dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    """Return intermediate results, the gradients of the three maps' outputs, and those asked for."""
    merged = pieces["merged"]
    q, k, v = (split(x @ w + b, num_heads) for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
    c = 1 / np.sqrt(q.shape[-1])
    probs = masked_softmax(c * q @ transpose(k), pieces["kept"](keep)[:, None, None, :])
    ctx = merged(probs @ v)  # (B, T, D)
    dctx = split(pieces["output_undone"](dy, w_o), num_heads)  # (B, H, T, K)
    dprobs = dctx @ transpose(v)
    dscores = pieces["softmax_undone"](dprobs, probs)
    total = pieces["scale_undone"](dscores, c)
    dq, dk, dv = (merged(d) for d in (total @ k, transpose(total) @ q, transpose(probs) @ dctx))
    grads = {"dx": pieces["dx"](dq, dk, dv, w_q, w_k, w_v)}
    entering_o = pieces["read_by_o"](x, ctx)
    for name, inputs, dout in (("q", x, dq), ("k", x, dk), ("v", x, dv), ("o", entering_o, dy)):
        grads[f"dw_{name}"] = (transpose(inputs) @ dout).sum(axis=0)
        grads[f"db_{name}"] = pieces["db"](dout)
    return {"probs": probs, "dprobs": dprobs, "dscores": dscores}, (dq, dk, dv), grads


def _wrong(**exchanged):
    def wrong(dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
        arrays = dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o
        return tuple(_layer(RIGHT | exchanged, *arrays, num_heads)[2].values())

    return wrong


def multi_head_backward_terms(**args):
    _, douts, _ = _layer(RIGHT, **args)
    named = zip("qkv", douts, strict=True)
    return {"dx": {f"d{n} w_{n}^T": dout @ args[f"w_{n}"].T for n, dout in named}}


def multi_head_backward_factors(**args):
    b, t, d = args["x"].shape
    h = args["num_heads"]
    return {"sqrt(K)": np.sqrt(d // h), "B": b, "H": h, "T": t, "D": d}


MULTI_HEAD_BACKWARD = Exercise(
    id="multi-head-backward",
    title=Text("Multi-head self-attention backward", "多头自注意力的反向传播"),
    statement=Text(
        "A layer of self-attention. With $q = x w_q + b_q$, $k = x w_k + b_k$, "
        "$v = x w_v + b_v$, each split into H heads of K = D / H neighbouring columns,\n\n"
        "$$\\mathrm{probs} = \\operatorname{softmax}_{\\mathrm{keep}}\\Bigl(\\frac{q k^\\top}"
        "{\\sqrt K}\\Bigr), \\qquad \\mathrm{ctx} = \\operatorname{merge}(\\mathrm{probs}\\;v), "
        "\\qquad y = \\mathrm{ctx}\\;w_o + b_o.$$\n\n"
        "`x` and `dy`, the gradient with respect to y, are (B, T, D); `keep` is boolean (B, T), "
        "True = real token: padded keys have weight 0, queries are not masked, and in a sequence "
        "that is all padding the weights are zero. Each `w` is (D, D), input first; each `b` is "
        "(D,); `num_heads` is H. Return\n\n"
        "`dx, dw_q, db_q, dw_k, db_k, dw_v, db_v, dw_o, db_o`\n\n"
        "in this order, each of its input's shape. Before you start: which of the nine is zero "
        "but for rounding, and why?\n\n"
        "If the gradients of the attention weights and of the scaled scores are called `dprobs` and "
        "`dscores`, the check can tell which one goes wrong first.",
        "一个自注意力层。令 $q = x w_q + b_q$，$k = x w_k + b_k$，$v = x w_v + b_v$，各拆成 H 个头，每个头是相邻的 "
        "K = D / H 列，\n\n"
        "$$\\mathrm{probs} = \\operatorname{softmax}_{\\mathrm{keep}}\\Bigl(\\frac{q k^\\top}"
        "{\\sqrt K}\\Bigr), \\qquad \\mathrm{ctx} = \\operatorname{merge}(\\mathrm{probs}\\;v), "
        "\\qquad y = \\mathrm{ctx}\\;w_o + b_o.$$\n\n"
        "`x` 和 y 的梯度 `dy` 的形状为 (B, T, D)；`keep` 是 (B, T) 的布尔数组，True = 真实词元：填充的 key 权重为 0，"
        "query 不做掩码；若整个序列都是填充，权重全为零。每个 `w` 为 (D, D)，输入维在前；每个 `b` 为 (D,)；"
        "`num_heads` 即 H。返回\n\n"
        "`dx, dw_q, db_q, dw_k, db_k, dw_v, db_v, dw_o, db_o`\n\n"
        "顺序如上，形状与各自的输入相同。动手之前先想一想：这九个里哪一个（除舍入误差外）恒为零？为什么？\n\n"
        "如果注意力权重和缩放后分数的梯度分别名为 `dprobs` 和 `dscores`，检查时就能指出最先出错的是哪一个。",
    ),
    reference=multi_head_backward,
    library=(layers.MultiHeadAttention.backward,),
    outputs=("dx", "dw_q", "db_q", "dw_k", "db_k", "dw_v", "db_v", "dw_o", "db_o"),
    cases=multi_head_backward_cases,
    hints=(
        Text(
            "Four affine maps around the attention of the exercise before. x feeds three of them, "
            "so its gradient is a sum of three.",
            "前一题的注意力，外面套四个仿射变换。x 进入了其中三个，所以它的梯度是三项之和。",
        ),
        Text(
            "For $y = x w + b$: $dx = dy\\,w^\\top$, $dw = x^\\top dy$ and $db = \\sum dy$ over batch "
            "and tokens. Start at $w_o$, whose input is ctx; split $dy\\,w_o^\\top$ into heads; go "
            "through the attention; merge dq, dk, dv; then the three maps.",
            "对 $y = x w + b$：$dx = dy\\,w^\\top$，$dw = x^\\top dy$，$db$ 是 $dy$ 对批次和词元求和。"
            "从 $w_o$ 开始，它的输入是 ctx；把 $dy\\,w_o^\\top$ 拆成多头；通过注意力；合并 dq、dk、dv；最后是三个仿射变换。",
        ),
        Text(
            "`dctx = split(dy @ w_o.T)`, `dw_o = (ctx.swapaxes(1, 2) @ dy).sum(axis=0)`, "
            "`db_o = dy.sum(axis=(0, 1))`; after attention and merging "
            "`dw_q = (x.swapaxes(1, 2) @ dq).sum(axis=0)` and so on, "
            "`dx = dq @ w_q.T + dk @ w_k.T + dv @ w_v.T`. db_k is zero: a key bias shifts all "
            "scores of a row alike.",
            "`dctx = split(dy @ w_o.T)`，`dw_o = (ctx.swapaxes(1, 2) @ dy).sum(axis=0)`，"
            "`db_o = dy.sum(axis=(0, 1))`；经过注意力并合并之后，"
            "`dw_q = (x.swapaxes(1, 2) @ dq).sum(axis=0)` 等等，"
            "`dx = dq @ w_q.T + dk @ w_k.T + dv @ w_v.T`。db_k 为零：key 的偏置使一行的所有分数平移同一个数。",
        ),
    ),
    misconceptions=(
        Misconception(
            "scale-missing",
            _wrong(scale_undone=lambda dscores, c: dscores),
            Text(
                "the scale $1/\\sqrt K$ of the scores is missing on the way back to q and k.",
                "回到 q 和 k 的路上漏了分数的缩放 $1/\\sqrt K$。",
            ),
        ),
        Misconception(
            "mean-term-missing",
            _wrong(softmax_undone=lambda dprobs, probs: dprobs * probs),
            Text(
                "the softmax is undone by its diagonal only: subtract from dprobs its mean under "
                "probs. db_k, which must be zero, shows it.",
                "softmax 的反向只用了雅可比的对角线：要从 dprobs 中减去它在 probs 下的平均值。本应为零的 db_k 暴露了这一点。",
            ),
        ),
        Misconception(
            "merge-without-transpose",
            _wrong(merged=lambda x: x.reshape(x.shape[0], x.shape[2], -1)),
            Text(
                "heads are merged by a plain reshape, which mixes tokens and heads: swap H and T "
                "back first.",
                "合并多头时直接 reshape，混淆了词元与头：要先把 H 和 T 换回来。",
            ),
        ),
        Misconception(
            "w_o-not-transposed",
            _wrong(output_undone=lambda dy, w_o: dy @ w_o),
            Text(
                "dy goes back through w_o, expected its transpose: the matrix is square, so the "
                "shapes do not tell.",
                "dy 反向乘的是 w_o，应当乘它的转置：矩阵是方的，形状看不出错。",
            ),
        ),
        Misconception(
            "inputs-not-transposed",
            _wrong(dx=lambda dq, dk, dv, w_q, w_k, w_v: dq @ w_q + dk @ w_k + dv @ w_v),
            Text(
                "dx goes through w_q, w_k and w_v, expected their transposes: the matrices are "
                "square, so the shapes do not tell.",
                "dx 乘的是 w_q、w_k、w_v，应当乘它们的转置：矩阵是方的，形状看不出错。",
            ),
        ),
        Misconception(
            "dx-from-values-only",
            _wrong(dx=lambda dq, dk, dv, w_q, w_k, w_v: dv @ w_v.T),
            Text(
                "dx has only what comes back through v: x also feeds q and k, and its gradient is "
                "the sum of three.",
                "dx 只含经 v 传回的部分：x 还进入了 q 和 k，它的梯度是三项之和。",
            ),
        ),
        Misconception(
            "dx-from-queries-only",
            _wrong(dx=lambda dq, dk, dv, w_q, w_k, w_v: dq @ w_q.T),
            Text(
                "dx has only what comes back through q: x also feeds k and v, and its gradient is "
                "the sum of three.",
                "dx 只含经 q 传回的部分：x 还进入了 k 和 v，它的梯度是三项之和。",
            ),
        ),
        Misconception(
            "bias-mean",
            _wrong(db=lambda dout: dout.mean(axis=(0, 1))),
            Text(
                "the bias gradients are means over batch and tokens: a bias that is added to B T "
                "rows gets the sum of their gradients.",
                "偏置的梯度取了批次和词元上的平均：偏置被加到 B T 行上，它的梯度应当是这些行的梯度之和。",
            ),
        ),
        Misconception(
            "dw_o-from-x",
            _wrong(read_by_o=lambda x, ctx: x),
            Text(
                "dw_o is made with x: the input of w_o is ctx, the merged heads.",
                "dw_o 用了 x：w_o 的输入是合并后的 ctx。",
            ),
        ),
        Misconception(
            "mask-missing",
            _wrong(kept=np.ones_like),
            Text(
                "the forward was computed again without `keep`: padding got weight.",
                "重算前向时没有用 `keep`：填充也得到了权重。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=30,
    terms=multi_head_backward_terms,
    steps=lambda **args: _layer(RIGHT, **args)[0],
    factors=multi_head_backward_factors,
    docs="derivations/attention.md",
)

EXERCISES = (MULTI_HEAD_BACKWARD,)

"""The gradients of attention for q, k and v, with a mask and dropout."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.by_hand import masked_softmax, softmax_backward, transpose
from npformer.exercises.attention.draw import qkv
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def attention_backward(dctx, q, k, v, keep, r):
    """Return dq (B, H, T, K), dk and dv (B, H, S, K).

    dctx, q: (B, H, T, K); k, v: (B, H, S, K); keep: boolean (B, 1, T, S), True = may attend;
    r: (B, H, T, S), the dropout factors of this call, 0 or 1 / (1 - p).
    """
    _, _, cache = ops.attention_forward(q, k, v, keep)
    _, mix_cache = ops.attention_mix_forward(cache.softmax.probs * r, v)
    cache = cache._replace(dropout=ops.DropoutCache(r), mix=mix_cache)
    dq, dk, dv, _ = ops.attention_backward(dctx, None, cache)
    return dq, dk, dv


def attention_backward_cases(rng):
    """Return masks that hide some keys, empty rows, and dropout."""

    def case(b, h, t, s, k, part="", p_drop=0.3, empty=False):
        keep = rng.random((b, 1, t, s)) < 0.7
        keep[:, :, :, 0] = True
        if empty:
            keep[0, :, 1] = False
        r = (rng.random((b, h, t, s)) >= p_drop) / (1 - p_drop)
        arrays = qkv(rng, b, h, t, s, k)
        dctx = rng.normal(size=(b, h, t, k))
        return Case({"dctx": dctx, **arrays, "keep": keep, "r": r}, part)

    return [
        case(2, 3, 5, 7, 11),
        case(3, 2, 11, 5, 13, p_drop=0.45),
        case(2, 3, 5, 7, 11, "no dropout", p_drop=0.0),
        case(2, 1, 5, 7, 3, "one head"),
        case(2, 3, 1, 5, 7, "one query"),
        case(2, 3, 5, 7, 11, "nothing to attend to", empty=True),
    ]


def _forward(q, k, v, keep, r):
    probs = masked_softmax(q @ transpose(k) / np.sqrt(q.shape[-1]), keep)
    return probs, probs * r


def _to_q_and_k(dscores, q, k):
    c = 1 / np.sqrt(q.shape[-1])
    return c * dscores @ k, c * transpose(dscores) @ q


def _by_hand(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v) * r, probs)
    return *_to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


def undropped_in_dv(dctx, q, k, v, keep, r):
    probs, _ = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v) * r, probs)
    return *_to_q_and_k(dscores, q, k), transpose(probs) @ dctx


def dropout_not_undone(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v), probs)
    return *_to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


def dropped_in_the_softmax(dctx, q, k, v, keep, r):
    _, dropped = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v) * r, dropped)
    return *_to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


def dropout_without_its_factor(dctx, q, k, v, keep, r):
    return _by_hand(dctx, q, k, v, keep, (r > 0).astype(r.dtype))


def without_mask(dctx, q, k, v, keep, r):
    return _by_hand(dctx, q, k, v, np.ones_like(keep), r)


def without_scale(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dscores = softmax_backward(dctx @ transpose(v) * r, probs)
    return dscores @ k, transpose(dscores) @ q, transpose(dropped) @ dctx


def without_the_mean_term(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dscores = probs * (dctx @ transpose(v) * r)
    return *_to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


def mean_over_queries(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-2, keepdims=True))
    return *_to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


def mean_over_everything(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    dscores = probs * (dprobs - (dprobs * probs).sum())
    return *_to_q_and_k(dscores, q, k), transpose(dropped) @ dctx


def without_softmax_backward(dctx, q, k, v, keep, r):
    _, dropped = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    return *_to_q_and_k(dprobs, q, k), transpose(dropped) @ dctx


def minus_infinity(dctx, q, k, v, keep, r):
    scores = np.where(keep, q @ transpose(k) / np.sqrt(q.shape[-1]), -np.inf)
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    dscores = softmax_backward(dctx @ transpose(v) * r, probs)
    return *_to_q_and_k(dscores, q, k), transpose(probs * r) @ dctx


def attention_backward_terms(dctx, q, k, v, keep, r):
    probs, _ = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    mean = (dprobs * probs).sum(axis=-1, keepdims=True)
    dq, dk = _to_q_and_k(probs * dprobs, q, k)
    mean_dq, mean_dk = _to_q_and_k(-probs * mean, q, k)
    return {
        "dq": {"from probs * dprobs": dq, "from - probs * sum(dprobs * probs)": mean_dq},
        "dk": {"from probs * dprobs": dk, "from - probs * sum(dprobs * probs)": mean_dk},
    }


def attention_backward_steps(dctx, q, k, v, keep, r):
    probs, dropped = _forward(q, k, v, keep, r)
    dprobs = dctx @ transpose(v) * r
    return {
        "probs": probs,
        "dropped": dropped,
        "dprobs": dprobs,
        "dscores": softmax_backward(dprobs, probs),
    }


ATTENTION_BACKWARD = Exercise(
    id="attention-backward",
    title=Text("Attention backward: dq, dk and dv", "注意力的反向传播：dq、dk、dv"),
    statement=Text(
        "The forward was\n\n"
        "$$\\mathrm{scores} = \\frac{q k^\\top}{\\sqrt K}, \\qquad "
        "\\mathrm{probs} = \\operatorname{softmax}_{\\mathrm{keep}}(\\mathrm{scores}), \\qquad "
        "\\mathrm{dropped} = \\mathrm{probs} \\odot r, \\qquad "
        "\\mathrm{ctx} = \\mathrm{dropped}\\;v.$$\n\n"
        "`q` is (B, H, T, K), `k` and `v` are (B, H, S, K). `keep` is boolean (B, 1, T, S), "
        "True = may attend; hidden keys have weight 0, and so has every key of a query with "
        "nothing to attend to. `r` (B, H, T, S) are the dropout factors of this call, 0 or "
        "$1/(1-p)$, a constant. Given `dctx` (B, H, T, K), the gradient of the loss with respect "
        "to ctx, return `dq`, `dk` and `dv` in this order, each of its input's shape. You have to "
        "compute the forward again. There is no NaN, even for a query that sees nothing.\n\n"
        "If your variables are called `probs`, `dropped`, `dprobs` (the gradient of probs, before "
        "dropout: it contains r) and `dscores` (that of the scaled scores), the check can tell which "
        "one goes wrong first.",
        "前向计算为\n\n"
        "$$\\mathrm{scores} = \\frac{q k^\\top}{\\sqrt K}, \\qquad "
        "\\mathrm{probs} = \\operatorname{softmax}_{\\mathrm{keep}}(\\mathrm{scores}), \\qquad "
        "\\mathrm{dropped} = \\mathrm{probs} \\odot r, \\qquad "
        "\\mathrm{ctx} = \\mathrm{dropped}\\;v.$$\n\n"
        "`q` 的形状为 (B, H, T, K)，`k` 和 `v` 为 (B, H, S, K)。`keep` 是 (B, 1, T, S) 的布尔数组，True = 可见；"
        "被屏蔽的 key 权重为 0，若一个 query 没有任何可见的 key，它的所有权重都为 0。`r` (B, H, T, S) 是本次前向的 "
        "dropout 因子，取 0 或 $1/(1-p)$，视为常数。给定损失对 ctx 的梯度 `dctx` (B, H, T, K)，依次返回 `dq`、`dk`、`dv`，"
        "形状与各自的输入相同。前向需要自己重算。即使某个 query 什么都看不到，也不能出现 NaN。\n\n"
        "如果变量名为 `probs`、`dropped`、`dprobs`（dropout 之前的 probs 的梯度，已含 r）和 `dscores`（缩放后的 scores 的梯度），"
        "检查时就能指出最先出错的是哪一个。",
    ),
    reference=attention_backward,
    library=(
        ops.attention_mix_backward,
        ops.dropout_backward,
        ops.masked_softmax_backward,
        ops.attention_scores_backward,
        ops.attention_backward,
    ),
    outputs=("dq", "dk", "dv"),
    cases=attention_backward_cases,
    hints=(
        Text(
            "Undo the four steps from the last to the first. For a matrix product: the gradient "
            "of a factor is the cotangent times the other factor, summed over the index that the "
            "factor does not have.",
            "从最后一步到第一步逐步回退。对矩阵乘积：一个因子的梯度，是输出的梯度乘以另一个因子，再对该因子没有的下标求和。",
        ),
        Text(
            "$dv = \\mathrm{dropped}^\\top d\\mathrm{ctx}$; "
            "$d\\mathrm{probs} = (d\\mathrm{ctx}\\;v^\\top) \\odot r$; "
            "$d\\mathrm{scores} = \\mathrm{probs} \\odot (d\\mathrm{probs} - "
            "\\sum_s d\\mathrm{probs}\\,\\mathrm{probs})$ with probs *before* dropout; "
            "$dq = d\\mathrm{scores}\\;k/\\sqrt K$, $dk = d\\mathrm{scores}^\\top q/\\sqrt K$.",
            "$dv = \\mathrm{dropped}^\\top d\\mathrm{ctx}$；"
            "$d\\mathrm{probs} = (d\\mathrm{ctx}\\;v^\\top) \\odot r$；"
            "$d\\mathrm{scores} = \\mathrm{probs} \\odot (d\\mathrm{probs} - "
            "\\sum_s d\\mathrm{probs}\\,\\mathrm{probs})$，其中 probs 是 dropout **之前**的；"
            "$dq = d\\mathrm{scores}\\;k/\\sqrt K$，$dk = d\\mathrm{scores}^\\top q/\\sqrt K$。",
        ),
        Text(
            "With `probs` and `dropped = probs * r` computed again: "
            "`dv = dropped.swapaxes(-1, -2) @ dctx`, `dprobs = (dctx @ v.swapaxes(-1, -2)) * r`, "
            "`mean = (dprobs * probs).sum(axis=-1, keepdims=True)`, "
            "`dscores = probs * (dprobs - mean)`, `dq = dscores @ k / K ** 0.5`, "
            "`dk = dscores.swapaxes(-1, -2) @ q / K ** 0.5`.",
            "重算 `probs` 和 `dropped = probs * r` 之后："
            "`dv = dropped.swapaxes(-1, -2) @ dctx`，`dprobs = (dctx @ v.swapaxes(-1, -2)) * r`，"
            "`mean = (dprobs * probs).sum(axis=-1, keepdims=True)`，"
            "`dscores = probs * (dprobs - mean)`，`dq = dscores @ k / K ** 0.5`，"
            "`dk = dscores.swapaxes(-1, -2) @ q / K ** 0.5`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "dv-from-undropped",
            undropped_in_dv,
            Text(
                "dv uses the weights before dropout. The product with v saw `dropped`, so its "
                "backward must see it too: without dropout the two are the same, with it they "
                "are not.",
                "dv 用了 dropout 之前的权重。前向中与 v 相乘的是 `dropped`，反向也必须用它："
                "没有 dropout 时两者相同，有 dropout 时就不同了。",
            ),
        ),
        Misconception(
            "dropout-not-undone",
            dropout_not_undone,
            Text(
                "dropout is left out on the way back: $d\\mathrm{ctx}\\;v^\\top$ is the gradient "
                "of `dropped`; times r it is that of probs.",
                "反向时漏了 dropout：$d\\mathrm{ctx}\\;v^\\top$ 是 `dropped` 的梯度，乘以 r 才是 probs 的梯度。",
            ),
        ),
        Misconception(
            "softmax-undone-with-dropped",
            dropped_in_the_softmax,
            Text(
                "the softmax is undone with the weights after dropout: its own output was probs, "
                "before dropout.",
                "softmax 的反向用了 dropout 之后的权重：softmax 自己的输出是 dropout 之前的 probs。",
            ),
        ),
        Misconception(
            "dropout-factor-missing",
            dropout_without_its_factor,
            Text(
                "r is used as a mask of 0 and 1: what is kept is also multiplied by $1/(1-p)$.",
                "把 r 当成了 0/1 掩码：保留下来的还要乘以 $1/(1-p)$。",
            ),
        ),
        Misconception(
            "mask-missing",
            without_mask,
            Text(
                "the forward was computed again without `keep`: hidden keys got weight.",
                "重算前向时没有用 `keep`：被屏蔽的 key 也得到了权重。",
            ),
        ),
        Misconception(
            "scale-missing",
            without_scale,
            Text(
                "dq and dk are too large by $\\sqrt K$: the forward divides the scores by it, so "
                "the backward must too.",
                "dq 和 dk 多了一个因子 $\\sqrt K$：前向把分数除以了它，反向也要除。",
            ),
        ),
        Misconception(
            "mean-term-missing",
            without_the_mean_term,
            Text(
                "the softmax's Jacobian is more than its diagonal: subtract from dprobs its mean "
                "under probs, $\\sum_s d\\mathrm{probs}_{ts}\\,\\mathrm{probs}_{ts}$.",
                "softmax 的雅可比不只是对角线：要从 dprobs 中减去它在 probs 下的平均值 "
                "$\\sum_s d\\mathrm{probs}_{ts}\\,\\mathrm{probs}_{ts}$。",
            ),
        ),
        Misconception(
            "mean-over-queries",
            mean_over_queries,
            Text(
                "in the softmax's backward the sum goes over the queries (axis -2): the softmax "
                "went over the keys, axis -1, and so does this sum.",
                "softmax 的反向里沿 query（轴 -2）求和了：softmax 是沿 key（轴 -1）做的，求和也应如此。",
            ),
        ),
        Misconception(
            "mean-over-everything",
            mean_over_everything,
            Text(
                "in the softmax's backward one sum is taken over all rows: each query has its "
                "own, `axis=-1, keepdims=True`.",
                "softmax 的反向里对所有行只求了一个和：每个 query 各有各的，`axis=-1, keepdims=True`。",
            ),
        ),
        Misconception(
            "softmax-not-undone",
            without_softmax_backward,
            Text(
                "dprobs goes to q and k as if it were dscores: the softmax lies between them and "
                "must be undone.",
                "dprobs 被当作 dscores 直接传给了 q 和 k：两者之间隔着 softmax，必须先做它的反向。",
            ),
        ),
        Misconception(
            "minus-infinity",
            minus_infinity,
            Text(
                "a query with nothing to attend to gives NaN: its row of scores is all -inf. Its "
                "weights, and with them its gradients, must be zero.",
                "看不到任何 key 的 query 得到了 NaN：它那一行分数全是 -inf。它的权重应为零，梯度也随之为零。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=attention_backward_terms,
    steps=attention_backward_steps,
    factors=lambda dctx, q, k, v, keep, r: {
        "sqrt(K)": np.sqrt(q.shape[-1]),
        "1 / (1 - p)": r.max(),
        "B": q.shape[0],
        "H": q.shape[1],
        "T": q.shape[2],
        "S": k.shape[2],
    },
    docs="derivations/attention.md",
)

EXERCISES = (ATTENTION_BACKWARD,)

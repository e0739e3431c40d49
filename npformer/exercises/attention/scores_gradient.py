"""A loss on the scores joins the one on the output."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.by_hand import masked_softmax, softmax_backward, transpose
from npformer.exercises.attention.draw import padding, qkv
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def scores_gradient(dctx, dscores, q, k, v, keep):
    """Return dq (B, H, T, K), dk and dv (B, H, S, K).

    dctx, q: (B, H, T, K); dscores: (B, H, T, S); k, v: (B, H, S, K); keep: boolean (B, S),
    True = real token.
    """
    _, _, cache = ops.attention_forward(q, k, v, keep[:, None, None, :])
    dq, dk, dv, _ = ops.attention_backward(dctx, dscores, cache)
    return dq, dk, dv


def scores_gradient_cases(rng):
    """Return both cotangents together, and each alone."""

    def case(b, h, t, s, k, part="", ctx=1.0, scores=1.0):
        arrays = {
            "dctx": ctx * rng.normal(size=(b, h, t, k)),
            "dscores": scores * rng.normal(size=(b, h, t, s)),
            **qkv(rng, b, h, t, s, k),
            "keep": padding(rng, b, s),
        }
        return Case(arrays, part)

    nothing = case(2, 3, 5, 7, 11).args
    return [
        case(2, 3, 5, 7, 11),
        case(3, 2, 11, 5, 13),
        case(2, 1, 5, 7, 3, "one head"),
        case(2, 3, 5, 7, 11, "loss on the scores alone", ctx=0.0),
        case(2, 3, 5, 7, 11, "loss on the output alone", scores=0.0),
        Case({**nothing, "keep": nothing["keep"] & [[True], [False]]}, "an all-padding sequence"),
    ]


def _through_the_softmax(dctx, q, k, v, keep):
    """Return what comes from dctx to the scores, the weights, and dv."""
    probs = masked_softmax(q @ transpose(k) / np.sqrt(q.shape[-1]), keep[:, None, None, :])
    return softmax_backward(dctx @ transpose(v), probs), probs, transpose(probs) @ dctx


def _to_q_and_k(total, q, k):
    c = 1 / np.sqrt(q.shape[-1])
    return c * total @ k, c * transpose(total) @ q


def without_dscores(dctx, dscores, q, k, v, keep):
    da, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    return *_to_q_and_k(da, q, k), dv


def dscores_alone(dctx, dscores, q, k, v, keep):
    _, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    return *_to_q_and_k(dscores, q, k), dv


def added_to_dprobs(dctx, dscores, q, k, v, keep):
    _, probs, dv = _through_the_softmax(dctx, q, k, v, keep)
    total = softmax_backward(dctx @ transpose(v) + dscores, probs)
    return *_to_q_and_k(total, q, k), dv


def masked(dctx, dscores, q, k, v, keep):
    da, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    return *_to_q_and_k(da + dscores * keep[:, None, None, :], q, k), dv


def unscaled(dctx, dscores, q, k, v, keep):
    da, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    dq, dk = _to_q_and_k(da, q, k)
    return dq + dscores @ k, dk + transpose(dscores) @ q, dv


def without_scale(dctx, dscores, q, k, v, keep):
    da, _, dv = _through_the_softmax(dctx, q, k, v, keep)
    return (da + dscores) @ k, transpose(da + dscores) @ q, dv


def without_mask(dctx, dscores, q, k, v, keep):
    da, _, dv = _through_the_softmax(dctx, q, k, v, np.ones_like(keep))
    return *_to_q_and_k(da + dscores, q, k), dv


def scores_gradient_terms(dctx, dscores, q, k, v, keep):
    da, _, _ = _through_the_softmax(dctx, q, k, v, keep)
    through, direct = _to_q_and_k(da, q, k), _to_q_and_k(dscores, q, k)
    return {
        name: {"through the softmax": a, "from dscores": b}
        for name, a, b in zip(("dq", "dk"), through, direct, strict=True)
    }


def scores_gradient_steps(dctx, dscores, q, k, v, keep):
    da, probs, _ = _through_the_softmax(dctx, q, k, v, keep)
    return {
        "probs": probs,
        "dprobs": dctx @ transpose(v),
        "total": da + dscores,
    }


SCORES_GRADIENT = Exercise(
    id="scores-gradient",
    title=Text("A loss on the scores", "作用在分数上的损失"),
    statement=Text(
        "TinyBERT compares the attention **scores** of student and teacher, before mask and "
        "softmax. So the loss reaches q and k in two ways:\n\n"
        "$$\\mathrm{scores} = \\frac{q k^\\top}{\\sqrt K} \\;\\to\\; \\text{a loss}, \\qquad "
        "\\mathrm{ctx} = \\operatorname{softmax}_{\\mathrm{keep}}(\\mathrm{scores})\\,v \\;\\to\\; "
        "\\text{the rest of the model}$$\n\n"
        "`q` is (B, H, T, K), `k` and `v` are (B, H, S, K), `keep` is boolean (B, S), True = real "
        "token; in a sequence that is all padding the weights are zero. Given are `dctx` "
        "(B, H, T, K), the gradient with respect to ctx, and `dscores` (B, H, T, S), the gradient "
        "of that other loss alone with respect to the scores, at padded keys too; that of both losses "
        "together is `total`. Return `dq`, `dk`, `dv` of the sum of both losses, in this order. There "
        "is no dropout.",
        "TinyBERT 比较学生与教师的注意力**分数**，即掩码和 softmax 之前的值。于是损失沿两条路到达 q 和 k：\n\n"
        "$$\\mathrm{scores} = \\frac{q k^\\top}{\\sqrt K} \\;\\to\\; \\text{损失}, \\qquad "
        "\\mathrm{ctx} = \\operatorname{softmax}_{\\mathrm{keep}}(\\mathrm{scores})\\,v "
        "\\;\\to\\; \\text{模型的其余部分}$$\n\n"
        "`q` 的形状为 (B, H, T, K)，`k` 和 `v` 为 (B, H, S, K)，`keep` 是 (B, S) 的布尔数组，True = 真实词元；"
        "若整个序列都是填充，权重全为零。给定 ctx 的梯度 `dctx` (B, H, T, K)，以及仅由另一个损失产生的、"
        "对 scores 的梯度 `dscores` (B, H, T, S)，在填充的 key 处也可能非零；两个损失合起来的梯度记为 `total`。依次返回两个损失之和的梯度 `dq`、`dk`、`dv`。没有 dropout。",
    ),
    reference=scores_gradient,
    library=(ops.attention_backward, ops.attention_scores_backward),
    outputs=("dq", "dk", "dv"),
    cases=scores_gradient_cases,
    hints=(
        Text(
            "A value that is used twice gets the sum of two gradients. Where on the way back does "
            "dscores join?",
            "一个值被用了两次，它的梯度就是两份之和。dscores 应当在反向的哪一步加进来？",
        ),
        Text(
            "Where the scores left: after the softmax has been undone and before the scores are. "
            "$\\mathrm{total} = \\mathrm{probs} \\odot (d\\mathrm{probs} - \\sum_s "
            "d\\mathrm{probs}\\,\\mathrm{probs}) + d\\mathrm{scores}$, then dq and dk as ever. dv "
            "does not see it.",
            "在分数分叉的地方：softmax 的反向之后、分数的反向之前。"
            "$\\mathrm{total} = \\mathrm{probs} \\odot (d\\mathrm{probs} - \\sum_s "
            "d\\mathrm{probs}\\,\\mathrm{probs}) + d\\mathrm{scores}$，之后 dq 和 dk 照旧。dv 与它无关。",
        ),
        Text(
            "`total = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) + dscores`, "
            "`dq = total @ k / K ** 0.5`, `dk = total.swapaxes(-1, -2) @ q / K ** 0.5`, "
            "`dv = probs.swapaxes(-1, -2) @ dctx`.",
            "`total = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) + dscores`，"
            "`dq = total @ k / K ** 0.5`，`dk = total.swapaxes(-1, -2) @ q / K ** 0.5`，"
            "`dv = probs.swapaxes(-1, -2) @ dctx`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "dscores-ignored",
            without_dscores,
            Text(
                "dscores arrives nowhere: the loss on the scores does not train q and k. Add it "
                "after the softmax has been undone.",
                "没有用到 dscores：作用在分数上的损失训练不到 q 和 k。应当在 softmax 的反向之后加上它。",
            ),
        ),
        Misconception(
            "dscores-instead",
            dscores_alone,
            Text(
                "dscores replaces what comes through the softmax, instead of being added to it.",
                "dscores 取代了经过 softmax 传回的梯度，而不是与它相加。",
            ),
        ),
        Misconception(
            "added-to-dprobs",
            added_to_dprobs,
            Text(
                "dscores is added to dprobs and so goes through the softmax's backward: the "
                "scores are before the softmax, add it after that step.",
                "dscores 加到了 dprobs 上，于是多经过了一次 softmax 的反向：分数在 softmax 之前，应当在这一步之后再加。",
            ),
        ),
        Misconception(
            "dscores-masked",
            masked,
            Text(
                "dscores is set to zero at padded keys. The scores left before the mask; whether "
                "padding counts is the other loss's business.",
                "dscores 在填充的 key 处被置零了。分数是在掩码之前取出的；填充是否计入由那个损失自己决定。",
            ),
        ),
        Misconception(
            "dscores-unscaled",
            unscaled,
            Text(
                "the part from dscores lacks $1/\\sqrt K$: the scores are scaled already, so both "
                "parts go through the scaling.",
                "来自 dscores 的那部分少了 $1/\\sqrt K$：分数是缩放之后的，两部分都要经过缩放的反向。",
            ),
        ),
        Misconception(
            "scale-missing",
            without_scale,
            Text(
                "dq and dk are too large by $\\sqrt K$: the forward divides by it, so the backward "
                "must too.",
                "dq 和 dk 多了一个因子 $\\sqrt K$：前向除以了它，反向也要除。",
            ),
        ),
        Misconception(
            "mask-missing",
            without_mask,
            Text(
                "the weights were computed again without `keep`: padding got weight.",
                "重算权重时没有用 `keep`：填充也得到了权重。",
            ),
        ),
    ),
    topic="attention",
    tracks=("class", "gradcheck"),
    difficulty=2,
    minutes=12,
    terms=scores_gradient_terms,
    steps=scores_gradient_steps,
    factors=lambda dctx, dscores, q, k, v, keep: {
        "sqrt(K)": np.sqrt(q.shape[-1]),
        "B": q.shape[0],
        "H": q.shape[1],
        "T": q.shape[2],
        "S": k.shape[2],
    },
    docs="derivations/attention.md",
)

EXERCISES = (SCORES_GRADIENT,)

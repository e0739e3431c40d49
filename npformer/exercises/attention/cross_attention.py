"""A decoder reads what the encoder wrote."""

import numpy as np

from npformer import layers
from npformer.exercises.attention.by_hand import masked_softmax, merge, split, transpose
from npformer.exercises.attention.draw import padding, projections
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def cross_attention(x, memory, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    """Return y (B, T, D).

    x: (B, T, D), the decoder's; memory: (B, S, D), the encoder's; keep: boolean (B, S), True =
    real token of the memory; each w: (D, D); each b: (D,).
    """
    params = {"w_q": w_q, "b_q": b_q, "w_k": w_k, "b_k": b_k}
    params |= {"w_v": w_v, "b_v": b_v, "w_o": w_o, "b_o": b_o}
    config = layers.AttentionConfig(d_model=x.shape[-1], num_heads=num_heads)
    output, _ = layers.MultiHeadAttention(config, params).forward(x, memory, keep)
    return output.y


def cross_attention_cases(rng):
    """Return targets shorter and longer than their source."""

    def case(b, h, t, s, k, part=""):
        arrays = {
            "x": rng.normal(size=(b, t, h * k)),
            "memory": rng.normal(size=(b, s, h * k)),
            "keep": padding(rng, b, s),
            **projections(rng, h * k),
            "num_heads": h,
        }
        return Case(arrays, part)

    full, empty = case(2, 3, 5, 7, 11).args, case(2, 3, 5, 7, 11).args
    return [
        case(2, 3, 5, 7, 11),
        case(3, 2, 11, 5, 7),
        case(2, 1, 5, 7, 3, "one head"),
        case(2, 3, 1, 7, 5, "one target token"),
        case(2, 3, 5, 5, 7, "equal lengths"),
        Case({**full, "keep": np.ones((2, 7), bool)}, "no padding"),
        Case({**empty, "keep": empty["keep"] & [[True], [False]]}, "an all-padding sequence"),
    ]


# The layer in pieces, so that a wrong function is this one with one piece exchanged.
RIGHT = {
    "sources": lambda x, memory: (x, memory, memory),  # of q, k and v
    "kept": lambda keep, t: keep[:, None, None, :],
    "merged": merge,
    "scaled": lambda scores, k, d: scores / np.sqrt(k),
    "keys_and_values": lambda k, v: (k, v),
    "output": lambda ctx, w_o, b_o, x: ctx @ w_o + b_o,
}


def _layer(pieces, x, memory, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    """Return the weights by name, ctx and y."""
    of_q, of_k, of_v = pieces["sources"](x, memory)
    q = split(of_q @ w_q + b_q, num_heads)  # (B, H, T, K)
    k, v = pieces["keys_and_values"](of_k @ w_k + b_k, of_v @ w_v + b_v)
    k, v = split(k, num_heads), split(v, num_heads)  # (B, H, S, K)
    scores = pieces["scaled"](q @ transpose(k), q.shape[-1], x.shape[-1])
    probs = masked_softmax(scores, pieces["kept"](keep, x.shape[1]))
    ctx = pieces["merged"](probs @ v)  # (B, T, D)
    return {"probs": probs}, ctx, pieces["output"](ctx, w_o, b_o, x)


def _wrong(**exchanged):
    def wrong(x, memory, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
        arrays = x, memory, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o
        return _layer(RIGHT | exchanged, *arrays, num_heads)[2]

    return wrong


def _causal(keep, t):
    return keep[:, None, None, :] & np.tri(t, keep.shape[1], dtype=bool)


def cross_attention_terms(**args):
    _, ctx, _ = _layer(RIGHT, **args)
    projected = ctx @ args["w_o"]
    return {"y": {"ctx w_o": projected, "b_o": np.zeros_like(projected) + args["b_o"]}}


CROSS_ATTENTION = Exercise(
    id="cross-attention",
    title=Text("Cross-attention", "交叉注意力"),
    statement=Text(
        "T target tokens `x` (B, T, D), the decoder's, ask S source tokens `memory` (B, S, D), "
        "the encoder's last hidden states. The queries come from x, the keys **and** the values "
        "from the memory:\n\n"
        "$$q = x w_q + b_q, \\qquad k = m w_k + b_k, \\qquad v = m w_v + b_v$$\n\n"
        "each split into H heads of K = D / H neighbouring columns;\n\n"
        "$$\\mathrm{ctx} = \\operatorname{merge}\\Bigl(\\operatorname{softmax}_{\\mathrm{keep}}"
        "\\Bigl(\\frac{q k^\\top}{\\sqrt K}\\Bigr)\\,v\\Bigr), \\qquad y = \\mathrm{ctx}\\;w_o + b_o$$\n\n"
        "`keep` is boolean (B, S), True = real source token; there is no causal mask here. In a "
        "source that is all padding the weights are zero, so ctx is too. Each `w` is (D, D), input "
        "first; each `b` is (D,); `num_heads` is H. Return `y` (B, T, D), without a residual "
        "connection.",
        "解码器的 T 个目标词元 `x` (B, T, D) 去读取 S 个源词元 `memory` (B, S, D)，即编码器最后一层的隐藏状态。"
        "query 来自 x，key **和** value 来自 memory：\n\n"
        "$$q = x w_q + b_q, \\qquad k = m w_k + b_k, \\qquad v = m w_v + b_v$$\n\n"
        "各拆成 H 个头，每个头是相邻的 K = D / H 列；\n\n"
        "$$\\mathrm{ctx} = \\operatorname{merge}\\Bigl(\\operatorname{softmax}_{\\mathrm{keep}}"
        "\\Bigl(\\frac{q k^\\top}{\\sqrt K}\\Bigr)\\,v\\Bigr), \\qquad y = \\mathrm{ctx}\\;w_o + "
        "b_o$$\n\n"
        "`keep` 是 (B, S) 的布尔数组，True = 真实的源词元；这里没有因果掩码。若源序列全是填充，权重全为零，ctx 也为零。"
        "每个 `w` 为 (D, D)，输入维在前；每个 `b` 为 (D,)；`num_heads` 即 H。返回 `y` (B, T, D)，不加残差连接。",
    ),
    reference=cross_attention,
    library=(layers.MultiHeadAttention.forward,),
    outputs=("y",),
    cases=cross_attention_cases,
    hints=(
        Text(
            "Nothing is new but where the arrays come from. The scores are T by S.",
            "除了数组的来源，没有任何新内容。分数是 T × S 的。",
        ),
        Text(
            "q from x; k and v from memory, each with its own map. `keep` belongs to the keys, so "
            "it is (B, 1, 1, S) against scores of (B, H, T, S).",
            "q 来自 x；k 和 v 来自 memory，各用各的变换。`keep` 属于 key，所以要变成 (B, 1, 1, S)，与 (B, H, T, S) 的分数广播。",
        ),
        Text(
            "`split = lambda a: a.reshape(b, -1, h, d // h).transpose(0, 2, 1, 3)`; "
            "`q = split(x @ w_q + b_q)`, `k = split(memory @ w_k + b_k)`, "
            "`v = split(memory @ w_v + b_v)`; the masked softmax of "
            "`q @ k.swapaxes(-1, -2) / (d // h) ** 0.5` gives `probs`; "
            "`ctx = (probs @ v).transpose(0, 2, 1, 3).reshape(b, -1, d)`; `y = ctx @ w_o + b_o`.",
            "`split = lambda a: a.reshape(b, -1, h, d // h).transpose(0, 2, 1, 3)`；"
            "`q = split(x @ w_q + b_q)`，`k = split(memory @ w_k + b_k)`，"
            "`v = split(memory @ w_v + b_v)`；对 "
            "`q @ k.swapaxes(-1, -2) / (d // h) ** 0.5` 做带掩码的 softmax 得到 `probs`；"
            "`ctx = (probs @ v).transpose(0, 2, 1, 3).reshape(b, -1, d)`；`y = ctx @ w_o + b_o`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "inputs-swapped",
            _wrong(sources=lambda x, memory: (memory, x, x)),
            Text(
                "the queries come from the memory and keys and values from x, expected the other "
                "way round: the decoder asks, and what it reads is the encoder's. With T = S the "
                "shapes do not tell.",
                "query 取自 memory，key 和 value 取自 x，正好反了：解码器负责提问，读取的是编码器的输出。T = S 时形状看不出错。",
            ),
        ),
        Misconception(
            "values-from-the-decoder",
            _wrong(sources=lambda x, memory: (x, memory, x)),
            Text(
                "the values come from x: keys and values belong together, both come from the "
                "memory.",
                "value 取自 x：key 和 value 是一对，都来自 memory。",
            ),
        ),
        Misconception(
            "memory-ignored",
            _wrong(sources=lambda x, memory: (x, x, x)),
            Text(
                "keys and values come from x: this is self-attention, the source is never read.",
                "key 和 value 都取自 x：这是自注意力，根本没有读源序列。",
            ),
        ),
        Misconception(
            "keys-and-values-swapped",
            _wrong(keys_and_values=lambda k, v: (v, k)),
            Text(
                "the keys are made with w_v and the values with w_k: both come from the memory, but "
                "each has its own map.",
                "key 用了 w_v，value 用了 w_k：两者都来自 memory，但要各用各的变换。",
            ),
        ),
        Misconception(
            "values-are-keys",
            _wrong(keys_and_values=lambda k, v: (k, k)),
            Text(
                "the keys are mixed instead of the values: what is averaged is $m w_v + b_v$.",
                "被加权平均的是 key 而不是 value：应当对 $m w_v + b_v$ 求平均。",
            ),
        ),
        Misconception(
            "mask-missing",
            _wrong(kept=lambda keep, t: np.ones_like(keep)[:, None, None, :]),
            Text(
                "the padding of the source gets weight: `keep` hides keys before the softmax.",
                "源序列的填充得到了权重：要在 softmax 之前用 `keep` 屏蔽 key。",
            ),
        ),
        Misconception(
            "causal",
            _wrong(kept=_causal),
            Text(
                "there is a causal mask: it belongs to the decoder's self-attention. Every target "
                "token may read the whole source.",
                "加了因果掩码：它属于解码器的自注意力。每个目标词元都可以读整个源序列。",
            ),
        ),
        Misconception(
            "scale-missing",
            _wrong(scaled=lambda scores, k, d: scores),
            Text(
                "the scores are not divided by $\\sqrt K$.",
                "分数没有除以 $\\sqrt K$。",
            ),
        ),
        Misconception(
            "scaled-by-K",
            _wrong(scaled=lambda scores, k, d: scores / k),
            Text(
                "the scores are divided by K, expected $\\sqrt K$.",
                "分数除以了 K，应当除以 $\\sqrt K$。",
            ),
        ),
        Misconception(
            "scaled-by-sqrt-D",
            _wrong(scaled=lambda scores, k, d: scores / np.sqrt(d)),
            Text(
                "the scores are divided by $\\sqrt D$: a head's inner product has K = D / H terms, "
                "so it is $\\sqrt K$.",
                "分数除以了 $\\sqrt D$：一个头的内积有 K = D / H 项，应当除以 $\\sqrt K$。",
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
            "output-map-missing",
            _wrong(output=lambda ctx, w_o, b_o, x: ctx),
            Text(
                "ctx is returned as it is: the merged heads go through w_o and b_o.",
                "直接返回了 ctx：合并后的多头还要经过 w_o 和 b_o。",
            ),
        ),
        Misconception(
            "residual-added",
            _wrong(output=lambda ctx, w_o, b_o, x: x + ctx @ w_o + b_o),
            Text(
                "x is added to the result: the residual connection belongs to the block around "
                "the attention, not to this function.",
                "结果里加上了 x：残差连接属于外层的 block，不属于这个函数。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=15,
    terms=cross_attention_terms,
    steps=lambda **args: _layer(RIGHT, **args)[0],
    factors=lambda **args: {"sqrt(K)": np.sqrt(args["x"].shape[-1] // args["num_heads"])},
    docs="derivations/cross_attention.md",
)

EXERCISES = (CROSS_ATTENTION,)

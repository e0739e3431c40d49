"""A whole program: multi-head attention with a mask, at any size."""

import numpy as np

from npformer import layers
from npformer.exercises.distillation.soft_targets import softmax
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def multi_head_attention(x, memory, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    """Return y, (B, T, D): what the tokens of x read from the memory.

    x: (B, T, D) asks. memory: (B, S, D) answers; keep: (B, S), True = may be attended to.
    w_q, w_k, w_v, w_o: (D, D), used as x @ w. b_q, b_k, b_v, b_o: (D,).
    """
    config = layers.AttentionConfig(d_model=x.shape[-1], num_heads=num_heads)
    params = {"w_q": w_q, "b_q": b_q, "w_k": w_k, "b_k": b_k}
    params |= {"w_v": w_v, "b_v": b_v, "w_o": w_o, "b_o": b_o}
    output, _ = layers.MultiHeadAttention(config, params).forward(x, memory, keep)
    return output.y


def multi_head_attention_cases(rng):
    """Return small cases, and one of BERT's size: D = 768, H = 12."""

    def case(lengths, t, s, d, h, part="", itself=False):
        x, memory = rng.normal(size=(len(lengths), t, d)), rng.normal(size=(len(lengths), s, d))
        args = {"x": x, "memory": x.copy() if itself else memory}
        args |= {"keep": np.arange(s) < np.array(lengths)[:, None]}
        width = 2 / np.sqrt(d)
        for name in "qkvo":
            args[f"w_{name}"] = rng.uniform(-width, width, (d, d))
            args[f"b_{name}"] = rng.uniform(-0.5, 0.5, d)
        return Case({**args, "num_heads": h}, part)

    return [
        case([4, 4], 3, 4, 6, 2),
        case([5] * 3, 4, 5, 12, 2),
        case([4] * 3, 4, 4, 10, 5, itself=True),
        case([2, 5, 3], 4, 6, 8, 2, "padding"),
        case([3, 5], 5, 5, 12, 3, "padding", itself=True),
        case([3, 0, 4], 2, 5, 8, 2, "all-padding row"),
        case([2, 4, 5], 3, 5, 6, 1, "one head"),
        case([1, 1], 1, 1, 9, 3, "length 1"),
        case([11, 4], 7, 11, 768, 12, "768 wide, 12 heads"),
    ]


def split(a, num_heads):
    b, t, d = a.shape
    return a.reshape(b, t, num_heads, d // num_heads).transpose(0, 2, 1, 3)


def join(ctx):
    b, h, t, k = ctx.shape
    return ctx.transpose(0, 2, 1, 3).reshape(b, t, h * k)


def masked_softmax(scores, keys):
    a = np.where(keys, scores, -1e30)
    e = np.exp(a - a.max(axis=-1, keepdims=True)) * keys
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total > 0, total, 1)


def attend(q, k, v, keys):
    probs = masked_softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5, keys)
    return probs @ v


def projected(x, memory, params):
    """The queries, keys and values by head; params: w_q, b_q, ..., w_o, b_o, num_heads."""
    w_q, b_q, w_k, b_k, w_v, b_v, *_, num_heads = params
    q, k, v = x @ w_q + b_q, memory @ w_k + b_k, memory @ w_v + b_v
    return [split(a, num_heads) for a in (q, k, v)]


def out(ctx, params):
    return join(ctx) @ params[6] + params[7]


def keys_of(keep):
    return keep[:, None, None, :]


def mask_forgotten(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    return out(attend(q, k, v, np.ones_like(keys_of(keep))), params)


def mask_inverted(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    return out(attend(q, k, v, ~keys_of(keep)), params)


def minus_infinity(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return out(softmax(np.where(keys_of(keep), scores, -np.inf)) @ v, params)


def minus_a_large_number(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return out(softmax(np.where(keys_of(keep), scores, -1e9)) @ v, params)


def scores_zeroed(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return out(softmax(scores * keys_of(keep)) @ v, params)


def masked_after_the_softmax(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    probs = softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)
    return out((probs * keys_of(keep)) @ v, params)


def unscaled(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    return out(attend(q * q.shape[-1] ** 0.5, k, v, keys_of(keep)), params)


def scaled_by_the_model_width(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    return out(attend(q / params[-1] ** 0.5, k, v, keys_of(keep)), params)


def scaled_without_the_root(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    return out(attend(q / q.shape[-1] ** 0.5, k, v, keys_of(keep)), params)


def softmax_over_queries(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    probs = softmax(scores.swapaxes(-1, -2)).swapaxes(-1, -2) * keys_of(keep)
    return out(probs @ v, params)


def split_without_transpose(x, memory, keep, *params):
    w_q, b_q, w_k, b_k, w_v, b_v, *_, num_heads = params
    q, k, v = (
        a.reshape(len(a), num_heads, a.shape[1], -1)
        for a in (x @ w_q + b_q, memory @ w_k + b_k, memory @ w_v + b_v)
    )
    return out(attend(q, k, v, keys_of(keep)), params)


def joined_without_transpose(x, memory, keep, *params):
    ctx = attend(*projected(x, memory, params), keys_of(keep))
    return ctx.reshape(x.shape) @ params[6] + params[7]


def heads_interleaved(x, memory, keep, *params):
    w_q, b_q, w_k, b_k, w_v, b_v, *_, num_heads = params

    def apart(a):
        return a.reshape(*a.shape[:2], -1, num_heads).transpose(0, 3, 1, 2)

    q, k, v = apart(x @ w_q + b_q), apart(memory @ w_k + b_k), apart(memory @ w_v + b_v)
    ctx = attend(q, k, v, keys_of(keep)).transpose(0, 2, 3, 1)
    return ctx.reshape(x.shape) @ params[6] + params[7]


def one_large_head(x, memory, keep, *params):
    return out(attend(*projected(x, memory, (*params[:-1], 1)), keys_of(keep)), params)


def no_output_projection(x, memory, keep, *params):
    return join(attend(*projected(x, memory, params), keys_of(keep)))


def no_output_bias(x, memory, keep, *params):
    return join(attend(*projected(x, memory, params), keys_of(keep))) @ params[6]


def weights_transposed(x, memory, keep, *params):
    *weights, num_heads = params
    turned = [*(a.T for a in weights), num_heads]
    return out(attend(*projected(x, memory, turned), keys_of(keep)), turned)


def keys_and_values_swapped(x, memory, keep, *params):
    q, k, v = projected(x, memory, params)
    return out(attend(q, v, k, keys_of(keep)), params)


def residual_added(x, memory, keep, *params):
    return x + out(attend(*projected(x, memory, params), keys_of(keep)), params)


def padded_queries_zeroed(x, memory, keep, *params):
    y = out(attend(*projected(x, memory, params), keys_of(keep)), params)
    return y * keep.any(axis=1)[:, None, None]


def multi_head_attention_steps(x, memory, keep, **params):
    q, k, v = projected(x, memory, list(params.values()))
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    probs = masked_softmax(scores, keys_of(keep))
    return {"q": q, "k": k, "v": v, "scores": scores, "probs": probs, "ctx": probs @ v}


def multi_head_attention_terms(x, memory, keep, **params):
    ctx = join(attend(*projected(x, memory, list(params.values())), keys_of(keep)))
    return {"y": {"ctx @ w_o": ctx @ params["w_o"], "b_o": params["b_o"]}}


MULTI_HEAD_ATTENTION = Exercise(
    id="multi-head-attention",
    title=Text("Program: multi-head attention", "编程题：多头注意力"),
    statement=Text(
        "Write multi-head attention as a whole. `x` (B, T, D) asks; `memory` (B, S, D) answers: in "
        "self-attention both are the same array. `keep` (B, S) is True where a token of the memory may "
        "be attended to. The weights `w_q, w_k, w_v, w_o` are (D, D), used as `x @ w + b`; the biases are "
        "(D,). With H = `num_heads` and K = D / H:\n\n"
        "1. project: $q = x w_q + b_q$, $k = m w_k + b_k$, $v = m w_v + b_v$, m the memory;\n"
        "2. split: head h owns columns hK to (h+1)K, so `q` is (B, H, T, K), `k` and `v` (B, H, S, K);\n"
        "3. `scores` = $q k^\\top / \\sqrt K$, (B, H, T, S);\n"
        "4. `probs` = softmax over the last axis among the kept tokens; where nothing is kept, zero;\n"
        "5. `ctx` = probs v, (B, H, T, K); join the heads to (B, T, D) in their order;\n"
        "6. return y = ctx $w_o + b_o$, (B, T, D).\n\n"
        "It is called with small sizes and with those of BERT: D = 768, H = 12. No dropout, no residual.",
        "从头到尾写出多头注意力。`x` (B, T, D) 提出 query；`memory` (B, S, D) 给出 key 和 value：自注意力时两者是同一个数组。"
        "`keep` (B, S) 为 True 的位置才可以被关注。权重 `w_q, w_k, w_v, w_o` 为 (D, D)，用法是 `x @ w + b`；偏置为 (D,)。"
        "记 H = `num_heads`，K = D / H：\n\n"
        "1. 投影：$q = x w_q + b_q$，$k = m w_k + b_k$，$v = m w_v + b_v$，m 即 memory；\n"
        "2. 分头：第 h 个头占第 hK 到 (h+1)K 列，于是 `q` 为 (B, H, T, K)，`k`、`v` 为 (B, H, S, K)；\n"
        "3. `scores` = $q k^\\top / \\sqrt K$，(B, H, T, S)；\n"
        "4. `probs` = 只在保留的词元之间、沿最后一个轴的 softmax；什么都不保留时为零；\n"
        "5. `ctx` = probs v，(B, H, T, K)；按头的顺序合并成 (B, T, D)；\n"
        "6. 返回 y = ctx $w_o + b_o$，(B, T, D)。\n\n"
        "测试既有小尺寸，也有 BERT 的尺寸：D = 768，H = 12。没有 dropout，没有残差。",
    ),
    reference=multi_head_attention,
    library=(layers.MultiHeadAttention.forward,),
    outputs=("y",),
    cases=multi_head_attention_cases,
    hints=(
        Text(
            "A reshape alone cannot move an axis: split the last axis into (H, K), then exchange H and T. "
            "Joining is the same backwards.",
            "只用 reshape 不能交换轴：先把最后一个轴拆成 (H, K)，再交换 H 与 T。合并时反过来做。",
        ),
        Text(
            "Set masked scores to a very negative number, subtract the maximum, and multiply the exponentials by "
            "the mask: then a row without a kept token sums to 0, and you divide it by 1 instead.",
            "把被屏蔽的分数设为绝对值很大的负数，减去最大值，再让指数乘上掩码：没有保留词元的行之和为 0，改为除以 1。",
        ),
        Text(
            "`q = (x @ w_q + b_q).reshape(B, T, H, K).transpose(0, 2, 1, 3)`; `a = np.where(keep[:, None, "
            "None, :], q @ k.swapaxes(-1, -2) / K**0.5, -1e30)`; `e = np.exp(a - a.max(-1, "
            "keepdims=True)) * keep[:, None, None, :]`; `total = e.sum(-1, keepdims=True)`; `probs = e / "
            "np.where(total > 0, total, 1)`; `(probs @ v).transpose(0, 2, 1, 3).reshape(B, T, D) @ w_o + b_o`.",
            "`q = (x @ w_q + b_q).reshape(B, T, H, K).transpose(0, 2, 1, 3)`；`a = np.where(keep[:, None, "
            "None, :], q @ k.swapaxes(-1, -2) / K**0.5, -1e30)`；`e = np.exp(a - a.max(-1, "
            "keepdims=True)) * keep[:, None, None, :]`；`total = e.sum(-1, keepdims=True)`；`probs = e / "
            "np.where(total > 0, total, 1)`；`(probs @ v).transpose(0, 2, 1, 3).reshape(B, T, D) @ w_o + b_o`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "mask-forgotten",
            mask_forgotten,
            Text("padding is attended to: keep is not used.", "关注到了填充：没有用到 keep。"),
        ),
        Misconception(
            "mask-inverted",
            mask_inverted,
            Text(
                "only padding is attended to: True in keep means a real token.",
                "只关注了填充：keep 为 True 表示真实词元。",
            ),
        ),
        Misconception(
            "minus-infinity",
            minus_infinity,
            Text(
                "masked scores are -inf: a row in which nothing is kept becomes NaN. Use a large negative "
                "number and multiply by the mask; such a row is zero.",
                "被屏蔽的分数设成了 -inf：什么都不保留的行会变成 NaN。应当用绝对值很大的负数，再乘掩码，这样的行为零。",
            ),
        ),
        Misconception(
            "uniform-over-padding",
            minus_a_large_number,
            Text(
                "with -1e9 alone a row in which nothing is kept has uniform weights over the padding. Here it "
                "is zero: multiply by the mask after the exponential.",
                "只用 -1e9 时，什么都不保留的行会在填充上取均匀权重。这里应为零：取指数后再乘掩码。",
            ),
        ),
        Misconception(
            "scores-zeroed",
            scores_zeroed,
            Text(
                "masked scores are set to 0, whose exponential is 1: they need a very negative number.",
                "被屏蔽的分数设成了 0，而 exp(0) = 1：应设为绝对值很大的负数。",
            ),
        ),
        Misconception(
            "masked-after-the-softmax",
            masked_after_the_softmax,
            Text(
                "the probabilities are masked after the softmax: those left no longer sum to 1.",
                "softmax 之后才屏蔽概率：剩下的概率之和不再是 1。",
            ),
        ),
        Misconception(
            "unscaled",
            unscaled,
            Text(
                "the scores are not divided by sqrt(K).",
                "分数没有除以 sqrt(K)。",
            ),
        ),
        Misconception(
            "scaled-by-d-model",
            scaled_by_the_model_width,
            Text(
                "divided by sqrt(D): a head's product has K = D / H terms, so it is sqrt(K).",
                "除以了 sqrt(D)：每个头的内积只有 K = D / H 项，应除以 sqrt(K)。",
            ),
        ),
        Misconception(
            "scaled-by-k",
            scaled_without_the_root,
            Text("divided by K, expected sqrt(K).", "除以了 K，应除以 sqrt(K)。"),
        ),
        Misconception(
            "softmax-over-queries",
            softmax_over_queries,
            Text(
                "the softmax runs over the queries: each query has weights over the keys, `axis=-1`.",
                "softmax 沿 query 轴：每个 query 在 key 上有一组权重，应当 `axis=-1`。",
            ),
        ),
        Misconception(
            "split-without-transpose",
            split_without_transpose,
            Text(
                "(B, T, D) is reshaped to (B, H, T, K) at once, which mixes tokens: reshape to (B, T, H, K), "
                "then transpose.",
                "把 (B, T, D) 直接 reshape 成 (B, H, T, K)，词元混在了一起：应先 reshape 成 (B, T, H, K) 再转置。",
            ),
        ),
        Misconception(
            "joined-without-transpose",
            joined_without_transpose,
            Text(
                "(B, H, T, K) is reshaped to (B, T, D) at once, which mixes tokens: transpose to (B, T, H, K) "
                "first.",
                "把 (B, H, T, K) 直接 reshape 成 (B, T, D)，词元混在了一起：应先转置成 (B, T, H, K)。",
            ),
        ),
        Misconception(
            "heads-interleaved",
            heads_interleaved,
            Text(
                "head h has every H-th column: it owns the K columns from hK on. Reshape to (..., H, K), not "
                "(..., K, H).",
                "第 h 个头取的是按步长 H 抽取的列：它应占从 hK 起的连续 K 列。应 reshape 成 (..., H, K)，而不是 (..., K, H)。",
            ),
        ),
        Misconception(
            "one-head",
            one_large_head,
            Text(
                "there is one head of width D: num_heads is not used.",
                "只有一个宽度为 D 的头：没有用到 num_heads。",
            ),
        ),
        Misconception(
            "no-output-map",
            no_output_projection,
            Text(
                "w_o and b_o are missing: without them the heads never meet.",
                "漏了 w_o 和 b_o：没有它们各头之间就没有联系。",
            ),
        ),
        Misconception(
            "no-output-bias",
            no_output_bias,
            Text("b_o is missing.", "漏了 b_o。"),
        ),
        Misconception(
            "weights-transposed",
            weights_transposed,
            Text(
                "the weights are transposed, as PyTorch stores them: here they are (in, out), x @ w.",
                "权重被转置了（PyTorch 的存法）：这里是 (输入, 输出)，直接 x @ w。",
            ),
        ),
        Misconception(
            "keys-and-values-swapped",
            keys_and_values_swapped,
            Text(
                "k and v are exchanged: the queries are compared with the keys, the values are averaged.",
                "k 与 v 用反了：query 与 key 比较，被加权平均的是 value。",
            ),
        ),
        Misconception(
            "residual-added",
            residual_added,
            Text(
                "x is added to the result: the residual belongs to the block, not to attention.",
                "结果加上了 x：残差属于外面的 block，不属于注意力。",
            ),
        ),
        Misconception(
            "empty-row-zeroed",
            padded_queries_zeroed,
            Text(
                "where nothing is kept y is set to zero: ctx is zero there, and y is b_o.",
                "什么都不保留时把 y 设成了零：那里 ctx 为零，而 y 等于 b_o。",
            ),
        ),
    ),
    topic="programs",
    tracks=("interview", "class"),
    difficulty=3,
    minutes=30,
    terms=multi_head_attention_terms,
    steps=multi_head_attention_steps,
    factors=lambda x, num_heads, **_: {
        "D": x.shape[-1],
        "H": num_heads,
        "K": x.shape[-1] // num_heads,
        "T": x.shape[1],
    },
    docs="derivations/attention.md",
)

EXERCISES = (MULTI_HEAD_ATTENTION,)

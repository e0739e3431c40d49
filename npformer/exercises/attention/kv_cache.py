"""One step of generation with a KV cache."""

import numpy as np

from npformer import layers
from npformer.exercises.attention.by_hand import merge, softmax, split, transpose
from npformer.exercises.attention.draw import projections
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def kv_cache_step(x, past_k, past_v, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o):
    """Return y (B, 1, D), and k and v (B, H, t + 1, K) for the next step.

    x: (B, 1, D), the new token; past_k, past_v: (B, H, t, K), of the t before it; each w: (D, D);
    each b: (D,).
    """
    params = {"w_q": w_q, "b_q": b_q, "w_k": w_k, "b_k": b_k}
    params |= {"w_v": w_v, "b_v": b_v, "w_o": w_o, "b_o": b_o}
    config = layers.AttentionConfig(d_model=x.shape[-1], num_heads=past_k.shape[1])
    attention = layers.MultiHeadAttention(config, params)
    past = layers.key_values.KeyValues(past_k, past_v)
    y, now = layers.key_values.look_back(attention, x, past)
    return y, now.k, now.v


def kv_cache_step_cases(rng):
    """Return pasts of several lengths, none among them."""

    def case(b, h, t, k, part=""):
        arrays = {
            "x": rng.normal(size=(b, 1, h * k)),
            "past_k": rng.normal(size=(b, h, t, k)),
            "past_v": rng.normal(size=(b, h, t, k)),
            **projections(rng, h * k),
        }
        return Case(arrays, part)

    return [
        case(2, 3, 5, 7),
        case(3, 2, 11, 5),
        case(2, 1, 5, 7, "one head"),
        case(2, 3, 0, 5, "the first token"),
    ]


# The step in pieces, so that a wrong function is this one with one piece exchanged.
RIGHT = {
    "value_map": lambda k_map, v_map: v_map,
    "split": split,
    "joined": lambda past, new: np.concatenate((past, new), axis=2),
    "seen": lambda k: k,
    "scaled": lambda scores, k, d: scores / np.sqrt(k),
    "output": lambda ctx, w_o, b_o: ctx @ w_o + b_o,
}


def _step(pieces, x, past_k, past_v, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o):
    """Return the scores and the weights by name, ctx, and what is asked for."""
    maps = (w_q, b_q), (w_k, b_k), pieces["value_map"]((w_k, b_k), (w_v, b_v))
    q, new_k, new_v = (pieces["split"](x @ w + b, past_k.shape[1]) for w, b in maps)
    k, v = pieces["joined"](past_k, new_k), pieces["joined"](past_v, new_v)
    seen_k, seen_v = pieces["seen"](k), pieces["seen"](v)
    scores = pieces["scaled"](q @ transpose(seen_k), q.shape[-1], x.shape[-1])
    probs = softmax(scores)
    ctx = merge(probs @ seen_v)  # (B, 1, D)
    return {"scores": scores, "probs": probs}, ctx, (pieces["output"](ctx, w_o, b_o), k, v)


def _wrong(**exchanged):
    def wrong(x, past_k, past_v, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o):
        arrays = x, past_k, past_v, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o
        return _step(RIGHT | exchanged, *arrays)[2]

    return wrong


def _interleaved(x, num_heads):
    return x.reshape(*x.shape[:2], -1, num_heads).transpose(0, 3, 1, 2)


def kv_cache_step_terms(**args):
    projected = _step(RIGHT, **args)[1] @ args["w_o"]
    return {"y": {"ctx w_o": projected, "b_o": np.zeros_like(projected) + args["b_o"]}}


KV_CACHE_STEP = Exercise(
    id="kv-cache-step",
    title=Text("A step with a KV cache", "用 KV 缓存计算一步"),
    statement=Text(
        "While a text is generated, earlier tokens never see later ones, so their keys and values "
        "stay what they are and are kept. Process one new token `x` (B, 1, D) of self-attention "
        "under a causal mask. `past_k` and `past_v` (B, H, t, K) are the keys and values of the "
        "t tokens before, split into heads already; t may be 0, and even then their shape says H and K.\n\n"
        "With $q = x w_q + b_q$, $k_{\\mathrm{new}} = x w_k + b_k$ and "
        "$v_{\\mathrm{new}} = x w_v + b_v$, each split into H heads of K = D / H neighbouring "
        "columns, the new key and value are appended after the past ones. The new token attends to "
        "all of the past **and to itself**:\n\n"
        "$$\\mathrm{ctx} = \\operatorname{merge}\\Bigl(\\operatorname{softmax}\\Bigl(\\frac{q k^\\top}"
        "{\\sqrt K}\\Bigr)\\,v\\Bigr), \\qquad y = \\mathrm{ctx}\\;w_o + b_o$$\n\n"
        "Each `w` is (D, D), input first; each `b` is (D,). Return `y` (B, 1, D), `k` and `v` "
        "(B, H, t + 1, K) in this order; the arrays that were given stay as they are.",
        "生成文本时，前面的词元看不到后面的，所以它们的 key 和 value 不会再变，可以缓存起来。处理因果掩码下自注意力的一个新词元 "
        "`x` (B, 1, D)。`past_k` 和 `past_v` (B, H, t, K) 是前面 t 个词元的 key 和 value，已拆成多头；t 可以为 0，此时其形状仍给出 H 和 K。\n\n"
        "令 $q = x w_q + b_q$，$k_{\\mathrm{new}} = x w_k + b_k$，"
        "$v_{\\mathrm{new}} = x w_v + b_v$，各拆成 H 个头，每个头是相邻的 K = D / H 列，"
        "再把新的 key 和 value 接在过去的后面。新词元关注过去的全部词元**以及它自己**：\n\n"
        "$$\\mathrm{ctx} = \\operatorname{merge}\\Bigl(\\operatorname{softmax}\\Bigl(\\frac{q "
        "k^\\top}{\\sqrt K}\\Bigr)\\,v\\Bigr), \\qquad y = \\mathrm{ctx}\\;w_o + b_o$$\n\n"
        "每个 `w` 为 (D, D)，输入维在前；每个 `b` 为 (D,)。依次返回 `y` (B, 1, D)、`k` 和 `v` (B, H, t + 1, K)；"
        "传入的数组不得改动。",
    ),
    reference=kv_cache_step,
    library=(layers.key_values.look_back, layers.key_values.project_keys),
    outputs=("y", "k", "v"),
    cases=kv_cache_step_cases,
    hints=(
        Text(
            "Only the new token is projected. Which mask does the last token of a text need?",
            "只需对新词元做投影。一段文本的最后一个词元需要什么掩码？",
        ),
        Text(
            "None: it may see all there is. Append first, then attend from one query to t + 1 keys.",
            "不需要：它可以看到全部。先追加，再用一个 query 去关注 t + 1 个 key。",
        ),
        Text(
            "`split = lambda a: a.reshape(b, 1, h, -1).transpose(0, 2, 1, 3)`, "
            "`k = np.concatenate((past_k, split(x @ w_k + b_k)), axis=2)`, the same for v; "
            "the softmax of `q @ k.swapaxes(-1, -2) / K ** 0.5` times v gives (B, H, 1, K); "
            "transpose, reshape to (B, 1, D), `@ w_o + b_o`.",
            "`split = lambda a: a.reshape(b, 1, h, -1).transpose(0, 2, 1, 3)`，"
            "`k = np.concatenate((past_k, split(x @ w_k + b_k)), axis=2)`，v 同理；"
            "`q @ k.swapaxes(-1, -2) / K ** 0.5` 的 softmax 乘 v 得到 (B, H, 1, K)；"
            "转置、reshape 成 (B, 1, D)，再 `@ w_o + b_o`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "itself-not-seen",
            _wrong(seen=lambda k: k[:, :, :-1]),
            Text(
                "the new token attends to the past alone: append its key and value first, it sees "
                "itself too.",
                "新词元只关注了过去：要先追加它自己的 key 和 value，它也看得到自己。",
            ),
        ),
        Misconception(
            "past-not-seen",
            _wrong(seen=lambda k: k[:, :, -1:]),
            Text(
                "the new token attends to itself alone: the cached keys and values of the past "
                "belong in the softmax.",
                "新词元只关注了自己：缓存中过去的 key 和 value 也要参与 softmax。",
            ),
        ),
        Misconception(
            "first-key-only",
            _wrong(seen=lambda k: k[:, :, :1]),
            Text(
                "the new token sees the first key only: a causal mask for one query, aligned with "
                "the top left corner, hides all the others. The query stands at position t and "
                "needs no mask.",
                "新词元只看到了第一个 key：对单个 query 使用与左上角对齐的因果掩码，会把其余的 key 都屏蔽掉。"
                "这个 query 位于位置 t，不需要掩码。",
            ),
        ),
        Misconception(
            "value-from-w_k",
            _wrong(value_map=lambda k_map, v_map: k_map),
            Text(
                "the new value is made with w_k and b_k: keys and values have a map each.",
                "新的 value 用了 w_k 和 b_k：key 和 value 各有各的变换。",
            ),
        ),
        Misconception(
            "new-first",
            _wrong(joined=lambda past, new: np.concatenate((new, past), axis=2)),
            Text(
                "the new key and value stand before the past ones. y does not show it, since "
                "attention has no order, but the cache is in the wrong order for positions and "
                "masks: append at the end.",
                "新的 key 和 value 放到了过去的前面。注意力不分先后，y 看不出来，但缓存的顺序对位置编码和掩码来说是错的：应当接在末尾。",
            ),
        ),
        Misconception(
            "split-interleaved",
            _wrong(split=_interleaved),
            Text(
                "head h got every H-th column: D is cut as (K, H), expected (H, K).",
                "第 h 个头拿到的是按步长 H 抽取的列：D 被切成了 (K, H)，应当切成 (H, K)。",
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
            "scaled-by-sqrt-D",
            _wrong(scaled=lambda scores, k, d: scores / np.sqrt(d)),
            Text(
                "the scores are divided by $\\sqrt D$: a head's inner product has K = D / H terms, "
                "so it is $\\sqrt K$.",
                "分数除以了 $\\sqrt D$：一个头的内积有 K = D / H 项，应当除以 $\\sqrt K$。",
            ),
        ),
        Misconception(
            "output-map-missing",
            _wrong(output=lambda ctx, w_o, b_o: ctx),
            Text(
                "ctx is returned as it is: the merged heads go through w_o and b_o.",
                "直接返回了 ctx：合并后的多头还要经过 w_o 和 b_o。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=12,
    terms=kv_cache_step_terms,
    steps=lambda **args: _step(RIGHT, **args)[0],
    factors=lambda **args: {"sqrt(K)": np.sqrt(args["past_k"].shape[-1])},
    docs="derivations/cross_attention.md",
)

EXERCISES = (KV_CACHE_STEP,)

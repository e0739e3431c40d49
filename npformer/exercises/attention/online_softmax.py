"""Attention block by block, with a softmax that never sees a whole row."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.by_hand import softmax, transpose
from npformer.exercises.attention.draw import qkv
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def online_attention(q, k, v, block):
    """Return ctx (B, H, T, K) and lse (B, H, T, 1).

    q: (B, H, T, K); k, v: (B, H, S, K); block: the number of keys taken at once.
    """
    ctx, cache = ops.blockwise_attention_forward(q, k, v, block=block)
    return ctx, cache.lse


def online_attention_cases(rng):
    """Return numbers of keys that blocks divide and do not, huge scores and very low ones."""

    def case(block, b, h, t, s, k, part="", scale=1.0):
        arrays = qkv(rng, b, h, t, s, k)
        return Case({**arrays, "q": scale * arrays["q"], "block": block}, part)

    low = case(3, 2, 3, 5, 7, 11, "very low scores")
    low.args["q"][0] += 30
    low.args["k"][0] -= 30
    return [
        case(3, 2, 3, 5, 7, 11),
        case(4, 3, 2, 7, 13, 5, scale=3.0),
        case(5, 2, 3, 7, 10, 11, "blocks that divide S"),
        case(1, 2, 3, 5, 7, 11, "one key a block"),
        case(8, 2, 3, 5, 7, 11, "a single block"),
        case(3, 2, 3, 5, 7, 11, "huge scores", scale=1000.0),
        low,
    ]


def _blocks(q, k, v, block):
    """Yield the scores and the values of each block of keys."""
    c = 1 / np.sqrt(q.shape[-1])
    for start in range(0, k.shape[2], block):
        cols = slice(start, start + block)
        yield c * q @ transpose(k[:, :, cols]), v[:, :, cols]


def _run(q, k, v, block, *, total_shrinks=True, mixed_shrinks=True, raised=np.maximum, low=-np.inf):
    """Return m, total and mixed after the last block, or wrong ones."""
    m = np.full((*q.shape[:3], 1), low, q.dtype)
    total, mixed = np.zeros_like(m), np.zeros((*q.shape[:3], v.shape[-1]), q.dtype)
    for scores, values in _blocks(q, k, v, block):
        higher = raised(m, scores.max(axis=-1, keepdims=True))
        weights, shrink = np.exp(scores - higher), np.exp(m - higher)
        total = total * (shrink if total_shrinks else 1) + weights.sum(axis=-1, keepdims=True)
        mixed = mixed * (shrink if mixed_shrinks else 1) + weights @ values
        m = higher
    return m, total, mixed


def nothing_shrinks(q, k, v, block):
    m, total, mixed = _run(q, k, v, block, total_shrinks=False, mixed_shrinks=False)
    return mixed / total, m + np.log(total)


def total_does_not_shrink(q, k, v, block):
    m, total, mixed = _run(q, k, v, block, total_shrinks=False)
    return mixed / total, m + np.log(total)


def mixed_does_not_shrink(q, k, v, block):
    m, total, mixed = _run(q, k, v, block, mixed_shrinks=False)
    return mixed / total, m + np.log(total)


def maximum_of_the_first_block(q, k, v, block):
    low = np.finfo(q.dtype).min / 4
    m, total, mixed = _run(
        q, k, v, block, raised=lambda m, new: np.where(m == low, new, m), low=low
    )
    return mixed / total, m + np.log(total)


def maximum_from_zero(q, k, v, block):
    m, total, mixed = _run(q, k, v, block, low=0.0)
    return mixed / total, m + np.log(total)


def mean_of_the_blocks(q, k, v, block):
    parts = [softmax(scores) @ values for scores, values in _blocks(q, k, v, block)]
    m, total, _ = _run(q, k, v, block)
    return sum(parts) / len(parts), m + np.log(total)


def last_block_missing(q, k, v, block):
    whole = max(block, k.shape[2] // block * block)
    m, total, mixed = _run(q, k[:, :, :whole], v[:, :, :whole], block)
    return mixed / total, m + np.log(total)


def not_divided(q, k, v, block):
    m, total, mixed = _run(q, k, v, block)
    return mixed, m + np.log(total)


def total_for_lse(q, k, v, block):
    _, total, mixed = _run(q, k, v, block)
    return mixed / total, np.log(total)


def without_shift(q, k, v, block):
    total, mixed = 0, 0
    for scores, values in _blocks(q, k, v, block):
        weights = np.exp(scores)
        total = total + weights.sum(axis=-1, keepdims=True)
        mixed = mixed + weights @ values
    return mixed / total, np.log(total)


def online_attention_steps(q, k, v, block):
    m, total, mixed = _run(q, k, v, block)
    return {"m": m, "total": total, "mixed": mixed}


ONLINE_SOFTMAX = Exercise(
    id="online-softmax",
    title=Text("Online softmax", "在线 softmax"),
    statement=Text(
        "Attention without ever holding a row of scores: the keys come in blocks of `block` (the "
        "last may be shorter, and `block` may exceed S). For each query carry the maximum `m` of the scores so far, the sum "
        "`total` of their exponentials and the mix `mixed` of the values, both relative to m. A "
        "block J with scores $a_{ts} = q_t \\cdot k_s / \\sqrt K$ may raise the maximum to "
        "$m' = \\max(m, \\max_{s \\in J} a_{ts})$. Find out how total and mixed go on. "
        "After the last block\n\n"
        "$$\\mathrm{ctx}_t = \\frac{\\mathrm{mixed}_t}{\\mathrm{total}_t}, \\qquad "
        "\\mathrm{lse}_t = m_t + \\log \\mathrm{total}_t = \\log \\sum_s e^{a_{ts}}.$$\n\n"
        "`q` is (B, H, T, K), `k` and `v` are (B, H, S, K). Return `ctx` (B, H, T, K), equal to "
        "plain attention, and `lse` (B, H, T, 1), in this order. Scores of size $\\pm 1000$ do no "
        "harm. (A solution with whole rows would give the same numbers; the point is to do without.)",
        "不保存整行分数的注意力：key 按每块 `block` 个依次到来（最后一块可能较短，`block` 也可能大于 S）。对每个 query 维护三样东西：到目前为止分数的最大值 "
        "`m`、指数之和 `total`、value 的加权和 `mixed`，后两者都以 m 为基准。设某一块 J 的分数为 "
        "$a_{ts} = q_t \\cdot k_s / \\sqrt K$，它可能把最大值提高到 "
        "$m' = \\max(m, \\max_{s \\in J} a_{ts})$。请推导 total 和 mixed 如何更新。处理完最后一块之后\n\n"
        "$$\\mathrm{ctx}_t = \\frac{\\mathrm{mixed}_t}{\\mathrm{total}_t}, \\qquad "
        "\\mathrm{lse}_t = m_t + \\log \\mathrm{total}_t = \\log \\sum_s e^{a_{ts}}.$$\n\n"
        "`q` 的形状为 (B, H, T, K)，`k` 和 `v` 为 (B, H, S, K)。依次返回 `ctx` (B, H, T, K)（与普通注意力相等）"
        "和 `lse` (B, H, T, 1)。分数达到 $\\pm 1000$ 也不能出问题。（用整行分数也能得到同样的数，但本题的意义就在于不用它。）",
    ),
    reference=online_attention,
    library=(ops.blockwise_attention_forward,),
    outputs=("ctx", "lse"),
    cases=online_attention_cases,
    hints=(
        Text(
            "What was summed before is relative to the old maximum: $\\sum e^{a - m}$. Write the "
            "same sum relative to $m'$.",
            "之前的和以旧的最大值为基准：$\\sum e^{a - m}$。把同一个和改写成以 $m'$ 为基准。",
        ),
        Text(
            "$e^{a - m'} = e^{m - m'} e^{a - m}$: both old sums shrink by $e^{m - m'} \\le 1$, then "
            "the block's part is added: $\\sum_{s \\in J} e^{a_{ts} - m'}$ to total, and the same "
            "weights times $v_s$ to mixed.",
            "$e^{a - m'} = e^{m - m'} e^{a - m}$：两个旧的和都乘以 $e^{m - m'} \\le 1$，再加上这一块的贡献："
            "total 加 $\\sum_{s \\in J} e^{a_{ts} - m'}$，mixed 加同样的权重乘以 $v_s$。",
        ),
        Text(
            "Start with m = -inf and zeros. For each block: `higher = np.maximum(m, "
            "scores.max(axis=-1, keepdims=True))`, `weights = np.exp(scores - higher)`, "
            "`shrink = np.exp(m - higher)`, "
            "`total = total * shrink + weights.sum(axis=-1, keepdims=True)`, "
            "`mixed = mixed * shrink + weights @ v_block`, `m = higher`.",
            "从 m = -inf 和零开始。每一块：`higher = np.maximum(m, "
            "scores.max(axis=-1, keepdims=True))`，`weights = np.exp(scores - higher)`，"
            "`shrink = np.exp(m - higher)`，"
            "`total = total * shrink + weights.sum(axis=-1, keepdims=True)`，"
            "`mixed = mixed * shrink + weights @ v_block`，`m = higher`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "nothing-shrinks",
            nothing_shrinks,
            Text(
                "neither total nor mixed shrinks when a block raises the maximum: exponentials "
                "relative to different maxima are added. Multiply both by exp(m - m') first.",
                "某一块提高最大值时，total 和 mixed 都没有缩小：把以不同最大值为基准的指数加在了一起。要先都乘以 exp(m - m')。",
            ),
        ),
        Misconception(
            "total-does-not-shrink",
            total_does_not_shrink,
            Text(
                "mixed shrinks when the maximum rises, total does not: both are relative to m.",
                "最大值提高时 mixed 缩小了，total 却没有：两者都以 m 为基准。",
            ),
        ),
        Misconception(
            "mixed-does-not-shrink",
            mixed_does_not_shrink,
            Text(
                "total shrinks when the maximum rises, mixed does not: both are relative to m.",
                "最大值提高时 total 缩小了，mixed 却没有：两者都以 m 为基准。",
            ),
        ),
        Misconception(
            "maximum-of-the-first-block",
            maximum_of_the_first_block,
            Text(
                "the maximum of the first block is kept for all: a later block with higher scores "
                "overflows.",
                "始终使用第一块的最大值：后面的块分数更高时会溢出。",
            ),
        ),
        Misconception(
            "maximum-from-zero",
            maximum_from_zero,
            Text(
                "the maximum starts at 0: if all scores are far below, their exponentials vanish and "
                "0/0 is left. Start at -inf.",
                "最大值从 0 开始：若所有分数都远小于 0，指数全部变成 0，只剩 0/0。应当从 -inf 开始。",
            ),
        ),
        Misconception(
            "mean-of-the-blocks",
            mean_of_the_blocks,
            Text(
                "each block has a softmax of its own and ctx is the mean of their results: blocks "
                "with high scores must count more. Divide once, at the end.",
                "每块各做一次 softmax，再对结果取平均：分数高的块应当占更大的比重。只在最后除一次。",
            ),
        ),
        Misconception(
            "last-block-missing",
            last_block_missing,
            Text(
                "the last keys are left out where `block` does not divide S: the last block may be "
                "shorter.",
                "`block` 不能整除 S 时，末尾的 key 被漏掉了：最后一块可以较短。",
            ),
        ),
        Misconception(
            "not-divided",
            not_divided,
            Text(
                "mixed is returned as it is: divide by total after the last block.",
                "直接返回了 mixed：处理完最后一块后要除以 total。",
            ),
        ),
        Misconception(
            "maximum-missing-in-lse",
            total_for_lse,
            Text(
                "lse is the logarithm of total alone, which is relative to m: add m.",
                "lse 只取了 total 的对数，而 total 是以 m 为基准的：还要加上 m。",
            ),
        ),
        Misconception(
            "no-shift",
            without_shift,
            Text(
                "exp overflows: keep a running maximum and subtract it before the exponential.",
                "exp 溢出了：要维护一个运行中的最大值，并在取指数之前减去它。",
            ),
        ),
    ),
    topic="attention",
    tracks=("interview", "class"),
    difficulty=3,
    minutes=20,
    steps=online_attention_steps,
    factors=lambda q, k, v, block: {"sqrt(K)": np.sqrt(q.shape[-1])},
    docs="derivations/blockwise_attention.md",
)

EXERCISES = (ONLINE_SOFTMAX,)

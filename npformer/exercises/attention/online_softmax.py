"""Attention block by block, with a softmax that never sees a whole row."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.draw import qkv
from npformer.exercises.by_hand import softmax, transpose
from npformer.exercises.exercise import Case, Exercise


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


def online_attention_steps(q, k, v, block):
    m, total, mixed = _run(q, k, v, block)
    return {"m": m, "total": total, "mixed": mixed}


ONLINE_SOFTMAX = Exercise(
    id="online-softmax",
    title="Online softmax",
    statement=r"""
        Attention without ever holding a row of scores: the keys come in blocks of `block` (the last
        may be shorter, and `block` may exceed S). For each query carry the maximum `m` of the
        scores so far, the sum `total` of their exponentials and the mix `mixed` of the values, both
        relative to m. A block J with scores $a_{ts} = q_t \cdot k_s / \sqrt K$ may raise the
        maximum to $m' = \max(m, \max_{s \in J} a_{ts})$. Find out how total and mixed go on. After
        the last block

        $$\mathrm{ctx}_t = \frac{\mathrm{mixed}_t}{\mathrm{total}_t}, \qquad \mathrm{lse}_t = m_t +
        \log \mathrm{total}_t = \log \sum_s e^{a_{ts}}.$$

        `q` is (B, H, T, K), `k` and `v` are (B, H, S, K). Return `ctx` (B, H, T, K), equal to plain
        attention, and `lse` (B, H, T, 1), in this order. Scores of size $\pm 1000$ do no harm. (A
        solution with whole rows would give the same numbers; the point is to do without.)""",
    reference=online_attention,
    library=(ops.blockwise_attention_forward,),
    outputs=("ctx", "lse"),
    cases=online_attention_cases,
    hints=(
        r"""What was summed before is relative to the old maximum: $\sum e^{a - m}$. Write the same
        sum relative to $m'$.""",
        r"""$e^{a - m'} = e^{m - m'} e^{a - m}$: both old sums shrink by $e^{m - m'} \le 1$, then
        the block's part is added: $\sum_{s \in J} e^{a_{ts} - m'}$ to total, and the same weights
        times $v_s$ to mixed.""",
        """Start with m = -inf and zeros. For each block: `higher = np.maximum(m,
        scores.max(axis=-1, keepdims=True))`, `weights = np.exp(scores - higher)`,
        `shrink = np.exp(m - higher)`, `total = total * shrink +
        weights.sum(axis=-1, keepdims=True)`, `mixed = mixed * shrink + weights @ v_block`,
        `m = higher`.""",
    ),
    tracks=("interview", "class"),
    difficulty=3,
    minutes=20,
    steps=online_attention_steps,
    factors=lambda q, k, v, block: {"sqrt(K)": np.sqrt(q.shape[-1])},
    docs="derivations/blockwise_attention.md",
)


@ONLINE_SOFTMAX.mistake("nothing-shrinks")
def nothing_shrinks(q, k, v, block):
    """neither total nor mixed shrinks when a block raises the maximum: exponentials relative to
    different maxima are added. Multiply both by exp(m - m') first."""
    m, total, mixed = _run(q, k, v, block, total_shrinks=False, mixed_shrinks=False)
    return mixed / total, m + np.log(total)


@ONLINE_SOFTMAX.mistake("total-does-not-shrink")
def total_does_not_shrink(q, k, v, block):
    """mixed shrinks when the maximum rises, total does not: both are relative to m."""
    m, total, mixed = _run(q, k, v, block, total_shrinks=False)
    return mixed / total, m + np.log(total)


@ONLINE_SOFTMAX.mistake("mixed-does-not-shrink")
def mixed_does_not_shrink(q, k, v, block):
    """total shrinks when the maximum rises, mixed does not: both are relative to m."""
    m, total, mixed = _run(q, k, v, block, mixed_shrinks=False)
    return mixed / total, m + np.log(total)


@ONLINE_SOFTMAX.mistake("maximum-of-the-first-block")
def maximum_of_the_first_block(q, k, v, block):
    """the maximum of the first block is kept for all: a later block with higher scores
    overflows."""
    low = np.finfo(q.dtype).min / 4
    m, total, mixed = _run(
        q, k, v, block, raised=lambda m, new: np.where(m == low, new, m), low=low
    )
    return mixed / total, m + np.log(total)


@ONLINE_SOFTMAX.mistake("maximum-from-zero")
def maximum_from_zero(q, k, v, block):
    """the maximum starts at 0: if all scores are far below, their exponentials vanish and 0/0 is
    left. Start at -inf."""
    m, total, mixed = _run(q, k, v, block, low=0.0)
    return mixed / total, m + np.log(total)


@ONLINE_SOFTMAX.mistake("mean-of-the-blocks")
def mean_of_the_blocks(q, k, v, block):
    """each block has a softmax of its own and ctx is the mean of their results: blocks with high
    scores must count more. Divide once, at the end."""
    parts = [softmax(scores) @ values for scores, values in _blocks(q, k, v, block)]
    m, total, _ = _run(q, k, v, block)
    return sum(parts) / len(parts), m + np.log(total)


@ONLINE_SOFTMAX.mistake("last-block-missing")
def last_block_missing(q, k, v, block):
    """the last keys are left out where `block` does not divide S: the last block may be shorter."""
    whole = max(block, k.shape[2] // block * block)
    m, total, mixed = _run(q, k[:, :, :whole], v[:, :, :whole], block)
    return mixed / total, m + np.log(total)


@ONLINE_SOFTMAX.mistake("not-divided")
def not_divided(q, k, v, block):
    """mixed is returned as it is: divide by total after the last block."""
    m, total, mixed = _run(q, k, v, block)
    return mixed, m + np.log(total)


@ONLINE_SOFTMAX.mistake("maximum-missing-in-lse")
def total_for_lse(q, k, v, block):
    """lse is the logarithm of total alone, which is relative to m: add m."""
    _, total, mixed = _run(q, k, v, block)
    return mixed / total, np.log(total)


@ONLINE_SOFTMAX.mistake("no-shift")
def without_shift(q, k, v, block):
    """exp overflows: keep a running maximum and subtract it before the exponential."""
    total, mixed = 0, 0
    for scores, values in _blocks(q, k, v, block):
        weights = np.exp(scores)
        total = total + weights.sum(axis=-1, keepdims=True)
        mixed = mixed + weights @ values
    return mixed / total, np.log(total)

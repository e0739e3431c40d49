"""A whole program: multi-head attention with a mask, at any size."""

import numpy as np

from npformer import layers
from npformer.exercises.by_hand import masked_softmax, merge, softmax, split
from npformer.exercises.exercise import Case, Exercise


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


def attend(q, k, v, keys):
    probs = masked_softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5, keys)
    return probs @ v


def projected(x, memory, params):
    """The queries, keys and values by head; params: w_q, b_q, ..., w_o, b_o, num_heads."""
    w_q, b_q, w_k, b_k, w_v, b_v, *_, num_heads = params
    q, k, v = x @ w_q + b_q, memory @ w_k + b_k, memory @ w_v + b_v
    return [split(a, num_heads) for a in (q, k, v)]


def out(ctx, params):
    return merge(ctx) @ params[6] + params[7]


def keys_of(keep):
    return keep[:, None, None, :]


def multi_head_attention_steps(x, memory, keep, **params):
    q, k, v = projected(x, memory, list(params.values()))
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    probs = masked_softmax(scores, keys_of(keep))
    return {"q": q, "k": k, "v": v, "scores": scores, "probs": probs, "ctx": probs @ v}


def multi_head_attention_terms(x, memory, keep, **params):
    ctx = merge(attend(*projected(x, memory, list(params.values())), keys_of(keep)))
    return {"y": {"ctx @ w_o": ctx @ params["w_o"], "b_o": params["b_o"]}}


MULTI_HEAD_ATTENTION = Exercise(
    id="multi-head-attention",
    title="Program: multi-head attention",
    statement=r"""
        Write multi-head attention as a whole. `x` (B, T, D) asks; `memory` (B, S, D) answers: in
        self-attention both are the same array. `keep` (B, S) is True where a token of the memory
        may be attended to. The weights `w_q, w_k, w_v, w_o` are (D, D), used as `x @ w + b`; the
        biases are (D,). With H = `num_heads` and K = D / H:

        1. project: $q = x w_q + b_q$, $k = m w_k + b_k$, $v = m w_v + b_v$, m the memory;
        2. split: head h owns columns hK to (h+1)K, so `q` is (B, H, T, K), `k` and `v`
          (B, H, S, K);
        3. `scores` = $q k^\top / \sqrt K$, (B, H, T, S);
        4. `probs` = softmax over the last axis among the kept tokens; where nothing is kept, zero;
        5. `ctx` = probs v, (B, H, T, K); join the heads to (B, T, D) in their order;
        6. return y = ctx $w_o + b_o$, (B, T, D).

        It is called with small sizes and with those of BERT: D = 768, H = 12. No dropout, no
        residual.""",
    reference=multi_head_attention,
    library=(layers.MultiHeadAttention.forward,),
    outputs=("y",),
    cases=multi_head_attention_cases,
    hints=(
        """A reshape alone cannot move an axis: split the last axis into (H, K), then exchange H and
        T. Joining is the same backwards.""",
        """Set masked scores to a very negative number, subtract the maximum, and multiply the
        exponentials by the mask: then a row without a kept token sums to 0, and you divide it by 1
        instead.""",
        """`q = (x @ w_q + b_q).reshape(B, T, H, K).transpose(0, 2, 1, 3)`; `a =
        np.where(keep[:, None, None, :], q @ k.swapaxes(-1, -2) / K**0.5, -1e30)`; `e = np.exp(a -
        a.max(-1, keepdims=True)) * keep[:, None, None, :]`; `total = e.sum(-1, keepdims=True)`;
        `probs = e / np.where(total > 0, total, 1)`;
        `(probs @ v).transpose(0, 2, 1, 3).reshape(B, T, D) @ w_o + b_o`.""",
    ),
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


@MULTI_HEAD_ATTENTION.mistake("mask-forgotten")
def mask_forgotten(x, memory, keep, *params):
    """padding is attended to: keep is not used."""
    q, k, v = projected(x, memory, params)
    return out(attend(q, k, v, np.ones_like(keys_of(keep))), params)


@MULTI_HEAD_ATTENTION.mistake("mask-inverted")
def mask_inverted(x, memory, keep, *params):
    """only padding is attended to: True in keep means a real token."""
    q, k, v = projected(x, memory, params)
    return out(attend(q, k, v, ~keys_of(keep)), params)


@MULTI_HEAD_ATTENTION.mistake("minus-infinity")
def minus_infinity(x, memory, keep, *params):
    """masked scores are -inf: a row in which nothing is kept becomes NaN. Use a large negative
    number and multiply by the mask; such a row is zero."""
    q, k, v = projected(x, memory, params)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return out(softmax(np.where(keys_of(keep), scores, -np.inf)) @ v, params)


@MULTI_HEAD_ATTENTION.mistake("uniform-over-padding")
def minus_a_large_number(x, memory, keep, *params):
    """with -1e9 alone a row in which nothing is kept has uniform weights over the padding. Here it
    is zero: multiply by the mask after the exponential."""
    q, k, v = projected(x, memory, params)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return out(softmax(np.where(keys_of(keep), scores, -1e9)) @ v, params)


@MULTI_HEAD_ATTENTION.mistake("scores-zeroed")
def scores_zeroed(x, memory, keep, *params):
    """masked scores are set to 0, whose exponential is 1: they need a very negative number."""
    q, k, v = projected(x, memory, params)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    return out(softmax(scores * keys_of(keep)) @ v, params)


@MULTI_HEAD_ATTENTION.mistake("masked-after-the-softmax")
def masked_after_the_softmax(x, memory, keep, *params):
    """the probabilities are masked after the softmax: those left no longer sum to 1."""
    q, k, v = projected(x, memory, params)
    probs = softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5)
    return out((probs * keys_of(keep)) @ v, params)


@MULTI_HEAD_ATTENTION.mistake("unscaled")
def unscaled(x, memory, keep, *params):
    """the scores are not divided by sqrt(K)."""
    q, k, v = projected(x, memory, params)
    return out(attend(q * q.shape[-1] ** 0.5, k, v, keys_of(keep)), params)


@MULTI_HEAD_ATTENTION.mistake("scaled-by-d-model")
def scaled_by_the_model_width(x, memory, keep, *params):
    """divided by sqrt(D): a head's product has K = D / H terms, so it is sqrt(K)."""
    q, k, v = projected(x, memory, params)
    return out(attend(q / params[-1] ** 0.5, k, v, keys_of(keep)), params)


@MULTI_HEAD_ATTENTION.mistake("scaled-by-k")
def scaled_without_the_root(x, memory, keep, *params):
    """divided by K, expected sqrt(K)."""
    q, k, v = projected(x, memory, params)
    return out(attend(q / q.shape[-1] ** 0.5, k, v, keys_of(keep)), params)


@MULTI_HEAD_ATTENTION.mistake("softmax-over-queries")
def softmax_over_queries(x, memory, keep, *params):
    """the softmax runs over the queries: each query has weights over the keys, `axis=-1`."""
    q, k, v = projected(x, memory, params)
    scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    probs = softmax(scores.swapaxes(-1, -2)).swapaxes(-1, -2) * keys_of(keep)
    return out(probs @ v, params)


@MULTI_HEAD_ATTENTION.mistake("split-without-transpose")
def split_without_transpose(x, memory, keep, *params):
    """(B, T, D) is reshaped to (B, H, T, K) at once, which mixes tokens: reshape to (B, T, H, K),
    then transpose."""
    w_q, b_q, w_k, b_k, w_v, b_v, *_, num_heads = params
    q, k, v = (
        a.reshape(len(a), num_heads, a.shape[1], -1)
        for a in (x @ w_q + b_q, memory @ w_k + b_k, memory @ w_v + b_v)
    )
    return out(attend(q, k, v, keys_of(keep)), params)


@MULTI_HEAD_ATTENTION.mistake("joined-without-transpose")
def joined_without_transpose(x, memory, keep, *params):
    """(B, H, T, K) is reshaped to (B, T, D) at once, which mixes tokens: transpose to (B, T, H, K)
    first."""
    ctx = attend(*projected(x, memory, params), keys_of(keep))
    return ctx.reshape(x.shape) @ params[6] + params[7]


@MULTI_HEAD_ATTENTION.mistake("heads-interleaved")
def heads_interleaved(x, memory, keep, *params):
    """head h has every H-th column: it owns the K columns from hK on. Reshape to (..., H, K), not
    (..., K, H)."""
    w_q, b_q, w_k, b_k, w_v, b_v, *_, num_heads = params

    def apart(a):
        return a.reshape(*a.shape[:2], -1, num_heads).transpose(0, 3, 1, 2)

    q, k, v = apart(x @ w_q + b_q), apart(memory @ w_k + b_k), apart(memory @ w_v + b_v)
    ctx = attend(q, k, v, keys_of(keep)).transpose(0, 2, 3, 1)
    return ctx.reshape(x.shape) @ params[6] + params[7]


@MULTI_HEAD_ATTENTION.mistake("one-head")
def one_large_head(x, memory, keep, *params):
    """there is one head of width D: num_heads is not used."""
    return out(attend(*projected(x, memory, (*params[:-1], 1)), keys_of(keep)), params)


@MULTI_HEAD_ATTENTION.mistake("no-output-map")
def no_output_projection(x, memory, keep, *params):
    """w_o and b_o are missing: without them the heads never meet."""
    return merge(attend(*projected(x, memory, params), keys_of(keep)))


@MULTI_HEAD_ATTENTION.mistake("no-output-bias")
def no_output_bias(x, memory, keep, *params):
    """b_o is missing."""
    return merge(attend(*projected(x, memory, params), keys_of(keep))) @ params[6]


@MULTI_HEAD_ATTENTION.mistake("weights-transposed")
def weights_transposed(x, memory, keep, *params):
    """the weights are transposed, as PyTorch stores them: here they are (in, out), x @ w."""
    *weights, num_heads = params
    turned = [*(a.T for a in weights), num_heads]
    return out(attend(*projected(x, memory, turned), keys_of(keep)), turned)


@MULTI_HEAD_ATTENTION.mistake("keys-and-values-swapped")
def keys_and_values_swapped(x, memory, keep, *params):
    """k and v are exchanged: the queries are compared with the keys, the values are averaged."""
    q, k, v = projected(x, memory, params)
    return out(attend(q, v, k, keys_of(keep)), params)


@MULTI_HEAD_ATTENTION.mistake("residual-added")
def residual_added(x, memory, keep, *params):
    """x is added to the result: the residual belongs to the block, not to attention."""
    return x + out(attend(*projected(x, memory, params), keys_of(keep)), params)


@MULTI_HEAD_ATTENTION.mistake("empty-row-zeroed")
def padded_queries_zeroed(x, memory, keep, *params):
    """where nothing is kept y is set to zero: ctx is zero there, and y is b_o."""
    y = out(attend(*projected(x, memory, params), keys_of(keep)), params)
    return y * keep.any(axis=1)[:, None, None]

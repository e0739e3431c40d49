"""One step of generation with a KV cache."""

import numpy as np

from npformer import layers
from npformer.exercises.attention.draw import projections
from npformer.exercises.by_hand import merge, softmax, split, transpose
from npformer.exercises.exercise import Case, Exercise


def kv_cache_step(x, past_k, past_v, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o):
    """Return y (B, 1, D), and k and v (B, H, t + 1, K) for the next step.

    x: (B, 1, D), the new token; past_k, past_v: (B, H, t, K), of the t before it; each w: (D, D);
    each b: (D,).
    """
    params = {"w_q": w_q, "b_q": b_q, "w_k": w_k, "b_k": b_k}
    params |= {"w_v": w_v, "b_v": b_v, "w_o": w_o, "b_o": b_o}
    config = layers.AttentionConfig(d_model=x.shape[-1], num_heads=past_k.shape[1])
    attention = layers.MultiHeadAttention(config, params)
    output, _ = attention.forward(x, past=layers.KeyValues(past_k, past_v))
    return output.y, *output.past


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


def _wrong(*args, **exchanged):
    return _step(RIGHT | exchanged, *args)[2]


def _interleaved(x, num_heads):
    return x.reshape(*x.shape[:2], -1, num_heads).transpose(0, 3, 1, 2)


def kv_cache_step_terms(**args):
    projected = _step(RIGHT, **args)[1] @ args["w_o"]
    return {"y": {"ctx w_o": projected, "b_o": np.zeros_like(projected) + args["b_o"]}}


KV_CACHE_STEP = Exercise(
    id="kv-cache-step",
    title="A step with a KV cache",
    statement=r"""
        While a text is generated, earlier tokens never see later ones, so their keys and values
        stay what they are and are kept. Process one new token `x` (B, 1, D) of self-attention under
        a causal mask. `past_k` and `past_v` (B, H, t, K) are the keys and values of the t tokens
        before, split into heads already; t may be 0, and even then their shape says H and K.

        With $q = x w_q + b_q$, $k_{\mathrm{new}} = x w_k + b_k$ and
        $v_{\mathrm{new}} = x w_v + b_v$, each split into H heads of K = D / H neighbouring columns,
        the new key and value are appended after the past ones. The new token attends to all of the
        past **and to itself**:

        $$\mathrm{ctx} = \operatorname{merge}\Bigl(\operatorname{softmax}\Bigl(\frac{q k^\top}{\sqrt
        K}\Bigr)\,v\Bigr), \qquad y = \mathrm{ctx}\;w_o + b_o$$

        Each `w` is (D, D), input first; each `b` is (D,). Return `y` (B, 1, D), `k` and `v`
        (B, H, t + 1, K) in this order; the arrays that were given stay as they are.""",
    reference=kv_cache_step,
    library=(layers.MultiHeadAttention.forward, layers.MultiHeadAttention.key_values),
    outputs=("y", "k", "v"),
    cases=kv_cache_step_cases,
    hints=(
        "Only the new token is projected. Which mask does the last token of a text need?",
        "None: it may see all there is. Append first, then attend from one query to t + 1 keys.",
        """`split = lambda a: a.reshape(b, 1, h, -1).transpose(0, 2, 1, 3)`, `k =
        np.concatenate((past_k, split(x @ w_k + b_k)), axis=2)`, the same for v; the softmax of
        `q @ k.swapaxes(-1, -2) / K ** 0.5` times v gives (B, H, 1, K); transpose, reshape to
        (B, 1, D), `@ w_o + b_o`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=12,
    terms=kv_cache_step_terms,
    steps=lambda **args: _step(RIGHT, **args)[0],
    factors=lambda **args: {"sqrt(K)": np.sqrt(args["past_k"].shape[-1])},
    docs="derivations/cross_attention.md",
)


@KV_CACHE_STEP.mistake("itself-not-seen")
def itself_not_seen(*args):
    """the new token attends to the past alone: append its key and value first, it sees itself
    too."""
    return _wrong(*args, seen=lambda k: k[:, :, :-1])


@KV_CACHE_STEP.mistake("past-not-seen")
def past_not_seen(*args):
    """the new token attends to itself alone: the cached keys and values of the past belong in the
    softmax."""
    return _wrong(*args, seen=lambda k: k[:, :, -1:])


@KV_CACHE_STEP.mistake("first-key-only")
def first_key_only(*args):
    """the new token sees the first key only: a causal mask for one query, aligned with the top left
    corner, hides all the others. The query stands at position t and needs no mask."""
    return _wrong(*args, seen=lambda k: k[:, :, :1])


@KV_CACHE_STEP.mistake("value-from-w_k")
def value_from_w_k(*args):
    """the new value is made with w_k and b_k: keys and values have a map each."""
    return _wrong(*args, value_map=lambda k_map, v_map: k_map)


@KV_CACHE_STEP.mistake("new-first")
def new_first(*args):
    """the new key and value stand before the past ones. y does not show it, since attention has no
    order, but the cache is in the wrong order for positions and masks: append at the end."""
    return _wrong(*args, joined=lambda past, new: np.concatenate((new, past), axis=2))


@KV_CACHE_STEP.mistake("split-interleaved")
def split_interleaved(*args):
    """head h got every H-th column: D is cut as (K, H), expected (H, K)."""
    return _wrong(*args, split=_interleaved)


@KV_CACHE_STEP.mistake("scale-missing")
def scale_missing(*args):
    r"""the scores are not divided by $\sqrt K$."""
    return _wrong(*args, scaled=lambda scores, k, d: scores)


@KV_CACHE_STEP.mistake("scaled-by-sqrt-D")
def scaled_by_sqrt_D(*args):
    r"""the scores are divided by $\sqrt D$: a head's inner product has K = D / H terms, so it is
    $\sqrt K$."""
    return _wrong(*args, scaled=lambda scores, k, d: scores / np.sqrt(d))


@KV_CACHE_STEP.mistake("output-map-missing")
def output_map_missing(*args):
    """ctx is returned as it is: the merged heads go through w_o and b_o."""
    return _wrong(*args, output=lambda ctx, w_o, b_o: ctx)

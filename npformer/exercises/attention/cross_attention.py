"""A decoder reads what the encoder wrote."""

import numpy as np

from npformer import layers
from npformer.exercises.attention.draw import padding, projections
from npformer.exercises.by_hand import masked_softmax, merge, split, transpose
from npformer.exercises.exercise import Case, Exercise


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


def _wrong(*args, **exchanged):
    return _layer(RIGHT | exchanged, *args)[2]


def _causal(keep, t):
    return keep[:, None, None, :] & np.tri(t, keep.shape[1], dtype=bool)


def cross_attention_terms(**args):
    _, ctx, _ = _layer(RIGHT, **args)
    projected = ctx @ args["w_o"]
    return {"y": {"ctx w_o": projected, "b_o": np.zeros_like(projected) + args["b_o"]}}


CROSS_ATTENTION = Exercise(
    id="cross-attention",
    title="Cross-attention",
    statement=r"""
        T target tokens `x` (B, T, D), the decoder's, ask S source tokens `memory` (B, S, D), the
        encoder's last hidden states. The queries come from x, the keys **and** the values from the
        memory:

        $$q = x w_q + b_q, \qquad k = m w_k + b_k, \qquad v = m w_v + b_v$$

        each split into H heads of K = D / H neighbouring columns;

        $$\mathrm{ctx} =
        \operatorname{merge}\Bigl(\operatorname{softmax}_{\mathrm{keep}}\Bigl(\frac{q k^\top}{\sqrt
        K}\Bigr)\,v\Bigr), \qquad y = \mathrm{ctx}\;w_o + b_o$$

        `keep` is boolean (B, S), True = real source token; there is no causal mask here. In a
        source that is all padding the weights are zero, so ctx is too. Each `w` is (D, D), input
        first; each `b` is (D,); `num_heads` is H. Return `y` (B, T, D), without a residual
        connection.""",
    reference=cross_attention,
    library=(layers.MultiHeadAttention.forward,),
    outputs=("y",),
    cases=cross_attention_cases,
    hints=(
        "Nothing is new but where the arrays come from. The scores are T by S.",
        """q from x; k and v from memory, each with its own map. `keep` belongs to the keys, so it
        is (B, 1, 1, S) against scores of (B, H, T, S).""",
        """`split = lambda a: a.reshape(b, -1, h, d // h).transpose(0, 2, 1, 3)`;
        `q = split(x @ w_q + b_q)`, `k = split(memory @ w_k + b_k)`,
        `v = split(memory @ w_v + b_v)`; the masked softmax of `q @ k.swapaxes(-1, -2) / (d // h) **
        0.5` gives `probs`; `ctx = (probs @ v).transpose(0, 2, 1, 3).reshape(b, -1, d)`;
        `y = ctx @ w_o + b_o`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=15,
    terms=cross_attention_terms,
    steps=lambda **args: _layer(RIGHT, **args)[0],
    factors=lambda **args: {"sqrt(K)": np.sqrt(args["x"].shape[-1] // args["num_heads"])},
    docs="derivations/cross_attention.md",
)


@CROSS_ATTENTION.mistake("inputs-swapped")
def inputs_swapped(*args):
    """the queries come from the memory and keys and values from x, expected the other way round:
    the decoder asks, and what it reads is the encoder's. With T = S the shapes do not tell."""
    return _wrong(*args, sources=lambda x, memory: (memory, x, x))


@CROSS_ATTENTION.mistake("values-from-the-decoder")
def values_from_the_decoder(*args):
    """the values come from x: keys and values belong together, both come from the memory."""
    return _wrong(*args, sources=lambda x, memory: (x, memory, x))


@CROSS_ATTENTION.mistake("memory-ignored")
def memory_ignored(*args):
    """keys and values come from x: this is self-attention, the source is never read."""
    return _wrong(*args, sources=lambda x, memory: (x, x, x))


@CROSS_ATTENTION.mistake("keys-and-values-swapped")
def keys_and_values_swapped(*args):
    """the keys are made with w_v and the values with w_k: both come from the memory, but each has
    its own map."""
    return _wrong(*args, keys_and_values=lambda k, v: (v, k))


@CROSS_ATTENTION.mistake("values-are-keys")
def values_are_keys(*args):
    """the keys are mixed instead of the values: what is averaged is $m w_v + b_v$."""
    return _wrong(*args, keys_and_values=lambda k, v: (k, k))


@CROSS_ATTENTION.mistake("mask-missing")
def mask_missing(*args):
    """the padding of the source gets weight: `keep` hides keys before the softmax."""
    return _wrong(*args, kept=lambda keep, t: np.ones_like(keep)[:, None, None, :])


@CROSS_ATTENTION.mistake("causal")
def causal(*args):
    """there is a causal mask: it belongs to the decoder's self-attention. Every target token may
    read the whole source."""
    return _wrong(*args, kept=_causal)


@CROSS_ATTENTION.mistake("scale-missing")
def scale_missing(*args):
    r"""the scores are not divided by $\sqrt K$."""
    return _wrong(*args, scaled=lambda scores, k, d: scores)


@CROSS_ATTENTION.mistake("scaled-by-K")
def scaled_by_K(*args):
    r"""the scores are divided by K, expected $\sqrt K$."""
    return _wrong(*args, scaled=lambda scores, k, d: scores / k)


@CROSS_ATTENTION.mistake("scaled-by-sqrt-D")
def scaled_by_sqrt_D(*args):
    r"""the scores are divided by $\sqrt D$: a head's inner product has K = D / H terms, so it is
    $\sqrt K$."""
    return _wrong(*args, scaled=lambda scores, k, d: scores / np.sqrt(d))


@CROSS_ATTENTION.mistake("merge-without-transpose")
def merge_without_transpose(*args):
    """heads are merged by a plain reshape, which mixes tokens and heads: swap H and T back
    first."""
    return _wrong(*args, merged=lambda x: x.reshape(x.shape[0], x.shape[2], -1))


@CROSS_ATTENTION.mistake("output-map-missing")
def output_map_missing(*args):
    """ctx is returned as it is: the merged heads go through w_o and b_o."""
    return _wrong(*args, output=lambda ctx, w_o, b_o, x: ctx)


@CROSS_ATTENTION.mistake("residual-added")
def residual_added(*args):
    """x is added to the result: the residual connection belongs to the block around the attention,
    not to this function."""
    return _wrong(*args, output=lambda ctx, w_o, b_o, x: x + ctx @ w_o + b_o)

"""Scaled dot-product attention, forward and without a mask."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.draw import qkv
from npformer.exercises.by_hand import softmax, transpose
from npformer.exercises.exercise import Case, Exercise


def scaled_dot_product(q, k, v):
    """Return ctx (B, H, T, K) and probs (B, H, T, S).

    q: (B, H, T, K); k, v: (B, H, S, K).
    """
    ctx, _, cache = ops.attention_forward(q, k, v)
    return ctx, cache.softmax.probs


def scaled_dot_product_cases(rng):
    """Return queries, keys and values of several shapes, some with huge scores."""
    huge = qkv(rng, 2, 3, 5, 7, 11)
    return [
        Case(qkv(rng, 2, 3, 5, 7, 11)),
        Case(qkv(rng, 3, 2, 11, 5, 13)),
        Case(qkv(rng, 2, 1, 5, 7, 3), "one head"),
        Case(qkv(rng, 2, 3, 1, 7, 5), "one query"),
        Case(qkv(rng, 2, 3, 5, 1, 7), "one key"),
        Case({**huge, "q": 1000 * huge["q"]}, "huge scores"),
    ]


def scaled_dot_product_steps(q, k, v):
    scores = q @ transpose(k) / np.sqrt(q.shape[-1])
    return {"scores": scores, "probs": softmax(scores)}


SCALED_DOT_PRODUCT = Exercise(
    id="scaled-dot-product",
    title="Scaled dot-product attention",
    statement=r"""
        Each of T queries takes an average of S values. How much of each is decided by the inner
        product of the query with the value's key:

        $$\mathrm{scores}_{ts} = \frac{1}{\sqrt K}\sum_d q_{td}\,k_{sd}, \qquad \mathrm{probs} =
        \operatorname{softmax}(\mathrm{scores}), \qquad \mathrm{ctx}_{td} = \sum_s
        \mathrm{probs}_{ts}\,v_{sd}$$

        `q` is (B, H, T, K), `k` and `v` are (B, H, S, K); every sequence and every head is on its
        own, and T need not be S. The weights of a query sum to 1 over the keys. Return `ctx`
        (B, H, T, K) and `probs` (B, H, T, S), in this order. Huge scores must not overflow.""",
    reference=scaled_dot_product,
    library=(ops.attention_scores_forward, ops.attention_mix_forward, ops.attention_forward),
    outputs=("ctx", "probs"),
    cases=scaled_dot_product_cases,
    hints=(
        """Three steps: scores from q and k, a softmax over the keys, a product with v. `@` works on
        the last two axes and carries B and H along.""",
        r"""$\mathrm{scores} = q k^\top/\sqrt K$ is (T, S) for each head. The keys are its last
        axis: the softmax goes over that one, after the row's maximum has been subtracted.""",
        """`scores = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5`, `e = np.exp(scores -
        scores.max(axis=-1, keepdims=True))`, `probs = e / e.sum(axis=-1, keepdims=True)`, and
        `ctx = probs @ v`.""",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=6,
    steps=scaled_dot_product_steps,
    factors=lambda q, k, v: {"sqrt(K)": np.sqrt(q.shape[-1]), "T": q.shape[-2], "S": k.shape[-2]},
    docs="derivations/attention.md",
)


@SCALED_DOT_PRODUCT.mistake("scale-missing")
def without_scale(q, k, v):
    r"""the scores are not scaled: an inner product of K terms has variance K, and the softmax
    saturates. Divide by $\sqrt K$."""
    probs = softmax(q @ transpose(k))
    return probs @ v, probs


@SCALED_DOT_PRODUCT.mistake("scaled-by-K")
def divided_by_k(q, k, v):
    r"""the scores are divided by K, expected $\sqrt K$: their variance is K, so their standard
    deviation is $\sqrt K$."""
    probs = softmax(q @ transpose(k) / q.shape[-1])
    return probs @ v, probs


@SCALED_DOT_PRODUCT.mistake("multiplied-by-sqrt-K")
def multiplied_by_sqrt_k(q, k, v):
    r"""the scores are multiplied by $\sqrt K$, expected divided."""
    probs = softmax(q @ transpose(k) * np.sqrt(q.shape[-1]))
    return probs @ v, probs


@SCALED_DOT_PRODUCT.mistake("scaled-by-sqrt-D")
def divided_by_sqrt_d(q, k, v):
    r"""the scores are divided by $\sqrt D$ with D = H K, the width of all heads together: a head's
    inner product has only K terms, so it is $\sqrt K$."""
    d_model = q.shape[1] * q.shape[-1]
    probs = softmax(q @ transpose(k) / np.sqrt(d_model))
    return probs @ v, probs


@SCALED_DOT_PRODUCT.mistake("scaled-by-sqrt-S")
def divided_by_sqrt_s(q, k, v):
    """the scores are divided by the root of the number of keys; K is the last axis of q, the length
    of a key."""
    probs = softmax(q @ transpose(k) / np.sqrt(k.shape[-2]))
    return probs @ v, probs


@SCALED_DOT_PRODUCT.mistake("scaled-after-the-softmax")
def scaled_after_the_softmax(q, k, v):
    r"""the scale comes after the softmax, so the weights of a query sum to $1/\sqrt K$. It belongs
    to the scores, before the softmax."""
    probs = softmax(q @ transpose(k)) / np.sqrt(q.shape[-1])
    return probs @ v, probs


@SCALED_DOT_PRODUCT.mistake("softmax-over-queries")
def softmax_over_queries(q, k, v):
    """the softmax goes over the queries (axis -2): the weights must sum to 1 over the keys, the
    last axis."""
    scores = q @ transpose(k) / np.sqrt(q.shape[-1])
    e = np.exp(scores - scores.max(axis=-2, keepdims=True))
    probs = e / e.sum(axis=-2, keepdims=True)
    return probs @ v, probs


@SCALED_DOT_PRODUCT.mistake("no-shift")
def without_shift(q, k, v):
    """exp overflows: subtract the maximum of each row of scores before it."""
    e = np.exp(q @ transpose(k) / np.sqrt(q.shape[-1]))
    probs = e / e.sum(axis=-1, keepdims=True)
    return probs @ v, probs


@SCALED_DOT_PRODUCT.mistake("softmax-missing")
def without_softmax(q, k, v):
    """the values are mixed with the scores themselves: a softmax over the keys makes weights of
    them first."""
    scores = q @ transpose(k) / np.sqrt(q.shape[-1])
    return scores @ v, scores

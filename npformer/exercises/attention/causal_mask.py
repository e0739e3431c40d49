"""Attention that does not see the future."""

import numpy as np

from npformer import layers, ops
from npformer.exercises.attention.draw import qkv
from npformer.exercises.by_hand import masked_softmax, scaled_scores, softmax
from npformer.exercises.exercise import Case, Exercise


def causal_attention(q, k, v):
    """Return ctx (B, H, T, K) and probs (B, H, T, S).

    q: (B, H, T, K), of the last T tokens; k, v: (B, H, S, K), of all S of them; T <= S.
    """
    t, s = q.shape[2], k.shape[2]
    keep = layers.masks.causal_keep(None, t, s - t)
    ctx, _, cache = ops.attention_forward(q, k, v, keep)
    return ctx, cache.softmax.probs


def causal_attention_cases(rng):
    """Return texts read at once, and texts of which a part was read before."""
    low = qkv(rng, 2, 3, 5, 5, 7)
    return [
        Case(qkv(rng, 2, 3, 5, 5, 7)),
        Case(qkv(rng, 3, 2, 5, 7, 11)),
        Case(qkv(rng, 2, 3, 1, 5, 7), "one new token"),
        Case(qkv(rng, 2, 3, 1, 1, 7), "the first token"),
        Case(qkv(rng, 2, 1, 3, 7, 5), "one head"),
        Case({**low, "q": 1000 * low["q"]}, "huge scores"),
    ]


def causal_attention_steps(q, k, v):
    keep = np.tri(q.shape[2], k.shape[2], k.shape[2] - q.shape[2], dtype=bool)
    return {"probs": masked_softmax(scaled_scores(q, k), keep)}


CAUSAL_MASK = Exercise(
    id="causal-mask",
    title="The causal mask",
    statement=r"""
        In a decoder a token attends to itself and to those before it. The S keys are those of all
        tokens so far; the T queries are those of the **last** T of them, T ≤ S, because the others
        may have been read earlier. So query $t$ stands at position $S - T + t$:

        $$\mathrm{keep}_{ts} = [\,s \le S - T + t\,], \qquad \mathrm{probs} =
        \operatorname{softmax}_{\mathrm{keep}}\Bigl(\frac{q k^\top}{\sqrt K}\Bigr), \qquad
        \mathrm{ctx} = \mathrm{probs}\,v$$

        `q` is (B, H, T, K), `k` and `v` are (B, H, S, K). Hidden keys have weight exactly 0. Return
        `ctx` (B, H, T, K) and `probs` (B, H, T, S), in this order.""",
    reference=causal_attention,
    library=(layers.masks.causal_keep, ops.masked_softmax_forward, ops.attention_forward),
    outputs=("ctx", "probs"),
    cases=causal_attention_cases,
    hints=(
        """Draw the T by S mask for T = 2, S = 5: the last row is all True, and each row above has
        one True less.""",
        r"""It is a lower triangle aligned with the bottom right corner: $s \le t + (S - T)$. Scores
        outside get a number below any score, then comes the softmax.""",
        """`keep = np.tri(t, s, s - t, dtype=bool)` with t, s the two lengths;
        `scores = np.where(keep, scores, -1e30)`; the softmax over the last axis; `probs @ v`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=8,
    steps=causal_attention_steps,
    factors=lambda q, k, v: {"sqrt(K)": np.sqrt(q.shape[-1]), "T": q.shape[2], "S": k.shape[2]},
    docs="derivations/cross_attention.md",
)


@CAUSAL_MASK.mistake("offset-missing")
def without_offset(q, k, v):
    """the triangle is aligned with the top left corner, as if the queries were the first T tokens.
    They are the last T: shift the diagonal by S - T."""
    probs = masked_softmax(scaled_scores(q, k), np.tri(q.shape[2], k.shape[2], dtype=bool))
    return probs @ v, probs


@CAUSAL_MASK.mistake("offset-reversed")
def offset_reversed(q, k, v):
    """the diagonal is shifted to the wrong side, by T - S, expected S - T: the last query must see
    all keys."""
    scores = scaled_scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-2] - scores.shape[-1], dtype=bool)
    probs = softmax(np.where(keep, scores, -1e30))
    return probs @ v, probs


@CAUSAL_MASK.mistake("future-only")
def future_only(q, k, v):
    """the triangle is the upper one: tokens see the future and not the past."""
    scores = scaled_scores(q, k)
    keep = np.triu(np.ones(scores.shape[-2:], bool), scores.shape[-1] - scores.shape[-2])
    probs = masked_softmax(scores, keep)
    return probs @ v, probs


@CAUSAL_MASK.mistake("own-token-hidden")
def without_itself(q, k, v):
    r"""a token does not see itself: the diagonal belongs to the kept keys ($\le$, not $<$). The
    first token has nothing else."""
    scores = scaled_scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2] - 1, dtype=bool)
    probs = softmax(np.where(keep, scores, -1e30))
    return probs @ v, probs


@CAUSAL_MASK.mistake("next-token-seen")
def with_the_next(q, k, v):
    """a token sees the next one, which is what it is to predict: the diagonal is one too high."""
    scores = scaled_scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2] + 1, dtype=bool)
    probs = masked_softmax(scores, keep)
    return probs @ v, probs


@CAUSAL_MASK.mistake("after-the-softmax")
def after_the_softmax(q, k, v):
    """the mask comes after the softmax: the weights of a query sum to less than 1, and the future
    is still in the denominator. Mask the scores before it."""
    scores = scaled_scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2])
    probs = softmax(scores) * keep
    return probs @ v, probs


@CAUSAL_MASK.mistake("scores-multiplied")
def multiplied(q, k, v):
    """the scores are multiplied by the mask: a hidden key has the score 0, and exp(0) = 1. Make it
    very low instead."""
    scores = scaled_scores(q, k)
    keep = np.tri(*scores.shape[-2:], scores.shape[-1] - scores.shape[-2])
    probs = softmax(scores * keep)
    return probs @ v, probs


@CAUSAL_MASK.mistake("mask-missing")
def without_mask(q, k, v):
    """there is no mask: every token sees the future."""
    probs = softmax(scaled_scores(q, k))
    return probs @ v, probs

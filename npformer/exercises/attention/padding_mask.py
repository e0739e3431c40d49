"""Attention that does not see padding."""

import numpy as np

from npformer import ops
from npformer.exercises.attention.draw import padding, qkv
from npformer.exercises.by_hand import masked_softmax, scaled_scores, softmax, transpose
from npformer.exercises.exercise import Case, Exercise


def padding_mask(q, k, v, keep):
    """Return ctx (B, H, T, K) and probs (B, H, T, S).

    q: (B, H, T, K); k, v: (B, H, S, K); keep: boolean (B, S), True = real token.
    """
    ctx, _, cache = ops.attention_forward(q, k, v, keep[:, None, None, :])
    return ctx, cache.softmax.probs


def padding_mask_cases(rng):
    """Return masks with holes, with one real key and with none hidden, and huge masked scores."""

    def case(b, h, t, s, k, part=""):
        return Case({**qkv(rng, b, h, t, s, k), "keep": padding(rng, b, s)}, part)

    nothing = case(2, 3, 5, 7, 11, "no padding").args
    single = case(2, 3, 5, 7, 11, "one real key").args
    high = case(2, 3, 5, 7, 11).args
    # Keys along the queries' direction; in one sequence the padded ones are 10000 times as long.
    short = high["keep"][:, None, :, None] | np.array([False, True])[:, None, None, None]
    long = np.where(short, 1.0, 1e4) * (1 + rng.random((2, 3, 7, 11)))
    return [
        case(2, 3, 5, 7, 11),
        case(3, 2, 11, 5, 13),
        case(2, 1, 7, 7, 5, "equal lengths"),
        Case({**nothing, "keep": np.ones((2, 7), bool)}, "no padding"),
        Case({**single, "keep": np.arange(7) == np.array([[2], [5]])}, "one real key"),
        Case({**high, "q": 1 + rng.random((2, 3, 5, 11)), "k": long}, "huge hidden scores"),
    ]


def padding_mask_steps(q, k, v, keep):
    return {"probs": masked_softmax(scaled_scores(q, k), keep[:, None, None, :])}


PADDING_MASK = Exercise(
    id="padding-mask",
    title="The padding mask",
    statement=r"""
        The sequences of a batch are padded to the same length, and no query may attend to padding.
        `keep` is boolean of shape (B, S): True = real token. With `scores` $= q k^\top/\sqrt K$,
        the softmax runs over the kept keys only:

        $$\mathrm{probs}_{ts} = \frac{\mathrm{keep}_s\,e^{\mathrm{scores}_{ts}}}{\sum_l
        \mathrm{keep}_l\,e^{\mathrm{scores}_{tl}}}, \qquad \mathrm{ctx} = \mathrm{probs}\,v$$

        `q` is (B, H, T, K), `k` and `v` are (B, H, S, K). A padded key has weight exactly 0,
        however large its score is (up to $10^6$ here), and the others sum to 1. Queries are not
        masked. Every sequence has at least one real token. Return `ctx` (B, H, T, K) and `probs`
        (B, H, T, S), in this order.""",
    reference=padding_mask,
    library=(ops.masked_softmax_forward, ops.attention_forward),
    outputs=("ctx", "probs"),
    cases=padding_mask_cases,
    hints=(
        """Make the scores of padded keys so low, before the softmax, that their exponentials
        vanish. Which axes of the scores does `keep` lack?""",
        """(B, S) becomes (B, 1, 1, S), which broadcasts over heads and queries. Replace the masked
        scores; adding a penalty to them only works if it is larger than any score.""",
        """`scores = np.where(keep[:, None, None, :], scores, -1e30)`, then the softmax over the
        last axis, its maximum subtracted, and `probs @ v`.""",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=6,
    steps=padding_mask_steps,
    factors=lambda q, k, v, keep: {"sqrt(K)": np.sqrt(q.shape[-1]), "S": k.shape[-2]},
    docs="derivations/softmax.md",
)


@PADDING_MASK.mistake("inverted")
def inverted(q, k, v, keep):
    """the real tokens are hidden and the padding is seen: True in `keep` means *may* be attended
    to."""
    scores = np.where(keep[:, None, None, :], -1e30, scaled_scores(q, k))
    probs = softmax(scores)
    return probs @ v, probs


@PADDING_MASK.mistake("scores-multiplied")
def multiplied(q, k, v, keep):
    """the scores are multiplied by the mask: a padded key then has the score 0, and exp(0) = 1 is
    no small weight. Make it very low instead."""
    probs = softmax(scaled_scores(q, k) * keep[:, None, None, :])
    return probs @ v, probs


@PADDING_MASK.mistake("mask-added-as-it-is")
def added_as_it_is(q, k, v, keep):
    """the mask is added as 0 and 1: padding is only 1 lower than the rest. An additive mask has 0
    for real tokens and a very negative number for padding."""
    probs = softmax(scaled_scores(q, k) + keep[:, None, None, :])
    return probs @ v, probs


@PADDING_MASK.mistake("after-the-softmax")
def after_the_softmax(q, k, v, keep):
    """the mask comes after the softmax: what the padding had is lost, and the weights of a query
    sum to less than 1. Mask the scores before it."""
    probs = softmax(scaled_scores(q, k)) * keep[:, None, None, :]
    return probs @ v, probs


@PADDING_MASK.mistake("renormalized-after-the-softmax")
def after_the_softmax_renormalized(q, k, v, keep):
    """the mask comes after a softmax over all keys, and the rest is divided by its sum: if a padded
    key has the highest score, the others have rounded to 0 and 0/0 is left. Mask the scores before
    the softmax."""
    probs = softmax(scaled_scores(q, k)) * keep[:, None, None, :]
    probs = probs / probs.sum(axis=-1, keepdims=True)
    return probs @ v, probs


@PADDING_MASK.mistake("penalty-of-10000")
def penalty_too_small(q, k, v, keep):
    """padded scores are lowered by 10000 only, and a score may be higher than that. Replace them
    (`np.where`) by a number below any score."""
    probs = softmax(scaled_scores(q, k) - 1e4 * ~keep[:, None, None, :])
    return probs @ v, probs


@PADDING_MASK.mistake("queries-masked")
def queries_masked(q, k, v, keep):
    """the queries are masked instead of the keys: S is the last axis of the scores, so `keep`
    becomes (B, 1, 1, S). With T = S the shapes do not tell."""
    scores = np.where(keep[:, None, :, None], scaled_scores(q, k), -1e30)
    probs = softmax(scores)
    return probs @ v, probs


@PADDING_MASK.mistake("scale-missing")
def without_scale(q, k, v, keep):
    r"""the mask is right, but the scores are not divided by $\sqrt K$."""
    scores = np.where(keep[:, None, None, :], q @ transpose(k), -1e30)
    probs = softmax(scores)
    return probs @ v, probs


@PADDING_MASK.mistake("one-mask-for-all")
def mask_of_the_first_sequence(q, k, v, keep):
    """all sequences get the mask of the first one: `keep` needs new axes in the middle,
    (B, 1, 1, S), so that its B stays the batch."""
    probs = masked_softmax(scaled_scores(q, k), keep[0])
    return probs @ v, probs

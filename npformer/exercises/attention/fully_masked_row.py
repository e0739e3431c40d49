"""A query with nothing to attend to."""

import numpy as np

from npformer import ops
from npformer.exercises.by_hand import masked_softmax as right
from npformer.exercises.by_hand import softmax
from npformer.exercises.exercise import Case, Exercise


def masked_softmax(scores, keep):
    """Return probs (B, H, T, S), with zeros in a row that keeps nothing.

    scores: (B, H, T, S); keep: boolean (B, 1, T, S), True = may attend.
    """
    probs, _ = ops.masked_softmax_forward(scores, keep)
    return probs


def masked_softmax_cases(rng):
    """Return masks in which some rows, or all, keep nothing."""

    def case(b, h, t, s, part="", scale=1.0):
        keep = rng.random((b, 1, t, s)) < 0.5
        keep[:, :, 1:, 0], keep[:, :, 0] = True, False
        return Case({"scores": scale * rng.normal(size=(b, h, t, s)), "keep": keep}, part)

    high = case(2, 3, 5, 7).args
    return [
        case(2, 3, 5, 7),
        case(3, 2, 7, 5, scale=3.0),
        case(2, 3, 1, 7, "nothing to attend to"),
        case(2, 3, 5, 1, "one key"),
        Case({**high, "keep": np.ones((2, 1, 5, 7), bool)}, "no padding"),
        Case(
            {**high, "scores": np.where(high["keep"], 0, 1e4) + high["scores"]},
            "huge hidden scores",
        ),
        case(2, 3, 5, 7, "huge scores", 500.0),
    ]


FULLY_MASKED_ROW = Exercise(
    id="fully-masked-row",
    title="A row that keeps nothing",
    statement=r"""
        Write the softmax of masked attention over the last axis:

        $$p_{ts} = \frac{\mathrm{keep}_{ts}\,e^{\mathrm{scores}_{ts}}}{\sum_l
        \mathrm{keep}_{tl}\,e^{\mathrm{scores}_{tl}}}$$

        `scores` is (B, H, T, S); `keep` is boolean (B, 1, T, S), True = may attend. A query with
        nothing to attend to (left padding under a causal mask, a sequence that is all padding)
        would be 0/0: its row is **zeros**, not NaN and not uniform. All other rows sum to 1; hidden
        keys have weight exactly 0. Scores of size 10000, kept or hidden, must do no harm. Return
        `probs` (B, H, T, S).""",
    reference=masked_softmax,
    library=(ops.masked_softmax_forward,),
    outputs=("probs",),
    cases=masked_softmax_cases,
    hints=(
        """Two places can go wrong in an empty row: the maximum that is subtracted, and the sum that
        is divided by.""",
        """Replace hidden scores by a *finite* low number, so that the maximum is finite; the
        exponentials of an empty row are then all 1, and must be made 0.""",
        """`low = np.where(keep, scores, -1e30)`, `e = np.exp(low -
        low.max(axis=-1, keepdims=True)) * keep`, `total = e.sum(axis=-1, keepdims=True)`, and
        `e / np.where(total == 0, 1, total)`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=8,
    factors=lambda scores, keep: {"S": scores.shape[-1]},
    docs="derivations/softmax.md",
)


@FULLY_MASKED_ROW.mistake("minus-infinity")
def with_minus_infinity(scores, keep):
    """with -inf an empty row has the maximum -inf, and -inf minus -inf is NaN. Take a finite low
    number, and set the empty rows to zero."""
    return softmax(np.where(keep, scores, -np.inf))


@FULLY_MASKED_ROW.mistake("uniform")
def with_a_large_negative(scores, keep):
    """an empty row is uniform over what is hidden: all its scores are the same low number. Here it
    must be zeros."""
    return softmax(np.where(keep, scores, -1e30))


@FULLY_MASKED_ROW.mistake("after-the-softmax")
def multiplied_after(scores, keep):
    """the mask comes after a softmax over all keys: empty rows are zeros, but the other rows sum to
    less than 1."""
    return softmax(scores) * keep


@FULLY_MASKED_ROW.mistake("epsilon")
def with_an_epsilon(scores, keep):
    """a small number added to the sum avoids 0/0 but makes every row sum to less than 1. Replace
    the sum only where it is 0."""
    low = np.where(keep, scores, -1e30)
    e = np.exp(low - low.max(axis=-1, keepdims=True)) * keep
    return e / (e.sum(axis=-1, keepdims=True) + 1e-6)


@FULLY_MASKED_ROW.mistake("maximum-of-hidden-scores")
def with_the_maximum_of_all(scores, keep):
    """the maximum is taken over hidden keys too: if one of them is far above the kept ones, those
    round to 0 and the row looks empty. Mask before the maximum."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True)) * keep
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


@FULLY_MASKED_ROW.mistake("no-shift")
def without_shift(scores, keep):
    """exp overflows: subtract the maximum of the kept scores of each row before it."""
    e = np.exp(scores) * keep
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


@FULLY_MASKED_ROW.mistake("whole-sequence-zeroed")
def all_rows_of_such_a_sequence(scores, keep):
    """one empty row makes all rows of its sequence zero: ask row by row, over the keys
    (`axis=-1, keepdims=True`)."""
    return right(scores, keep) * keep.any(axis=-1, keepdims=True).all(axis=-2, keepdims=True)

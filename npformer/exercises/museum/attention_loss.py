"""TinyBERT's loss on attention scores: one function, four ways to count padding wrongly."""

import numpy as np

from npformer.distill.terms import AttentionScoresTerm
from npformer.exercises.museum.bugs import bug
from npformer.models import ModelOutput


def attention_loss(student, teacher, keep):
    """Return the mean squared error of scores (B, H, T, T) over real pairs;
    keep: (B, T) booleans.
    """
    loss, _ = AttentionScoresTerm(levels=((1, 1),)).forward(
        ModelOutput(scores=(student,)), ModelOutput(scores=(teacher,)), keep
    )
    return loss


def test_padding_scores_do_not_count(fn):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2, 3, 4, 4))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    other = np.where(keep[:, None, None, :], student, 7.0)
    assert np.isclose(fn(other, teacher, keep), fn(student, teacher, keep))


@bug(
    "attention-loss-after-the-mask",
    right=attention_loss,
    witness=test_padding_scores_do_not_count,
    exercise="attention-loss",
    tracks=("interview", "class"),
)
def mask_added_first(student, teacher, keep):
    r"""The loss is taken where the mask is already added

    Models add -10000 to the scores of padding and hand on the sum. A squared error of two such
    arrays counts every padded key like a word; in float32 it also loses the digits of a score
    beside the 10000, and where two models mask with different numbers it explodes.

    `attention_loss(student, teacher, keep)` returns the mean of the squared differences of two
    arrays of attention scores before mask and softmax, both (B, H, T, T), as a float. The mean runs
    over all heads and over the pairs whose query *and* key are real tokens: `keep` is boolean,
    (B, T), True = real. With $n_b$ real tokens in sentence b it divides by $H\sum_b n_b^2$.

    Change the scores of padded keys: the loss must stay."""
    mask = np.where(keep, 0.0, -1e4)[:, None, None, :]
    return float((((student + mask) - (teacher + mask)) ** 2).mean())


def test_padded_queries_do_not_count(fn):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2, 3, 4, 4))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    other = np.where(keep[:, None, :, None], student, 7.0)
    assert np.isclose(fn(other, teacher, keep), fn(student, teacher, keep))


@bug(
    "attention-loss-padded-queries",
    right=attention_loss,
    witness=test_padded_queries_do_not_count,
    exercise="attention-loss",
    tracks=("class",),
)
def keys_only(student, teacher, keep):
    r"""Padded queries count

    A mask of shape (B, 1, 1, T) hides keys, which is all that attention needs. The loss on scores
    used the same mask, and so learned what padding would attend to. With 32 words padded to 128,
    three quarters of that loss come from rows nobody reads.

    `attention_loss(student, teacher, keep)` returns the mean of the squared differences of two
    arrays of attention scores before mask and softmax, both (B, H, T, T), as a float. The mean runs
    over all heads and over the pairs whose query *and* key are real tokens: `keep` is boolean,
    (B, T), True = real. With $n_b$ real tokens in sentence b it divides by $H\sum_b n_b^2$.

    Change the scores of padded queries: the loss must stay."""
    pairs = np.broadcast_to(keep[:, None, None, :], student.shape)
    return float(((student - teacher)[pairs] ** 2).mean())


def test_a_difference_of_one_is_one(fn):
    scores = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    assert np.isclose(fn(scores + 1, scores, keep), 1.0)


@bug(
    "attention-loss-padded-area",
    right=attention_loss,
    witness=test_a_difference_of_one_is_one,
    exercise="attention-loss",
    tracks=("class",),
)
def divided_by_the_area(student, teacher, keep):
    r"""Padding in the divisor

    The scores of padding were set to zero in both models and the mean taken over all: they add
    nothing, but they are counted. The same sentence weighs less the longer its neighbours are;
    padded from 32 to 128 its loss on real pairs is sixteen times smaller.

    `attention_loss(student, teacher, keep)` returns the mean of the squared differences of two
    arrays of attention scores before mask and softmax, both (B, H, T, T), as a float. The mean runs
    over all heads and over the pairs whose query *and* key are real tokens: `keep` is boolean,
    (B, T), True = real. With $n_b$ real tokens in sentence b it divides by $H\sum_b n_b^2$.

    If all scores differ by 1 the mean is 1, padding or not. Or: further padding changes nothing."""
    pairs = keep[:, None, :, None] & keep[:, None, None, :]
    return float((((student - teacher) * pairs) ** 2).mean())


def test_negative_scores_count(fn):
    keep = np.ones((1, 3), bool)
    student, teacher = np.full((1, 2, 3, 3), -2.0), np.full((1, 2, 3, 3), -5.0)
    assert np.isclose(fn(student, teacher, keep), 9.0)


@bug(
    "attention-loss-threshold",
    right=attention_loss,
    witness=test_negative_scores_count,
    exercise="attention-loss",
    tracks=("class",),
)
def negative_scores_taken_for_masked(student, teacher, keep):
    r"""Every negative score is taken for a masked one

    To find the masked scores a toolkit compares with a threshold. Meant was a large negative
    number; written was -1e-3. Half of all real scores are below it: they become zero, in student
    and teacher, and their differences are never seen.

    `attention_loss(student, teacher, keep)` returns the mean of the squared differences of two
    arrays of attention scores before mask and softmax, both (B, H, T, T), as a float. The mean runs
    over all heads and over the pairs whose query *and* key are real tokens: `keep` is boolean,
    (B, T), True = real. With $n_b$ real tokens in sentence b it divides by $H\sum_b n_b^2$.

    Negative scores, without any padding."""
    student, teacher = (np.where(x <= -1e-3, 0.0, x) for x in (student, teacher))
    pairs = np.broadcast_to(keep[:, None, :, None] & keep[:, None, None, :], student.shape)
    return float(((student - teacher)[pairs] ** 2).mean())

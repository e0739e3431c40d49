"""TinyBERT's attention loss: raw scores, and which pairs count."""

import numpy as np

from npformer import distill, models
from npformer.exercises.by_hand import softmax
from npformer.exercises.exercise import Case, Exercise


def attention_loss(student_scores, teacher_scores, keep):
    """Return the mean squared error of the scores, and its gradient dstudent_scores.

    Scores and gradient: (B, H, T, T), before the mask. keep: (B, T), True = real token.
    """
    term = distill.AttentionScoresTerm(levels=((1, 1),))
    student, teacher = (models.ModelOutput(scores=(a,)) for a in (student_scores, teacher_scores))
    loss, cache = term.forward(student, teacher, keep)
    dstudent, _ = term.backward(1.0, cache)
    return loss, dstudent.scores[0]


def attention_loss_cases(rng):
    """Return scores with and without padding; those of padding are as large as the others."""

    def case(lengths, h, t, part=""):
        student, teacher = rng.normal(size=(2, len(lengths), h, t, t))
        keep = np.arange(t) < np.array(lengths)[:, None]
        return Case({"student_scores": student, "teacher_scores": teacher, "keep": keep}, part)

    return [
        case([4, 4], 3, 4),
        case([5, 5, 5], 2, 5),
        case([6] * 4, 5, 6),
        case([3, 5, 1], 2, 6, "padding"),
        case([2, 4], 3, 5, "padding"),
        case([3, 0, 5, 2], 3, 5, "all-padding row"),
        case([0, 0], 3, 4, "nothing kept"),
        case([4, 2, 3], 1, 5, "one head"),
        case([1, 1], 3, 1, "length 1"),
    ]


def pairs_of(keep):
    """(B, T) -> (B, 1, T, T): query and key are real tokens."""
    return keep[:, None, :, None] & keep[:, None, None, :]


def squared_error(student, teacher, mask, n):
    error = (student - teacher) * mask
    return (error**2).sum() / n, 2 * error / n


def kept(student_scores, pairs):
    return max(int(np.broadcast_to(pairs, student_scores.shape).sum()), 1)


def attention_loss_terms(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    factor = 2 * pairs / kept(student_scores, pairs)
    return {
        "dstudent_scores": {
            "student_scores": factor * student_scores,
            "- teacher_scores": -factor * teacher_scores,
        }
    }


def attention_loss_steps(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    n = kept(student_scores, pairs)
    return {"pairs": pairs, "n": n, "error": (student_scores - teacher_scores) * pairs}


ATTENTION_LOSS = Exercise(
    id="attention-loss",
    title="TinyBERT's attention loss",
    statement=r"""
        TinyBERT compares attention **scores**, $A = qk^\top/\sqrt K$, before mask and softmax.
        `student_scores` and `teacher_scores` are (B, H, T, T), head by head; `keep` (B, T) is True
        for real tokens, and $k_{bt}$ is `keep` as 0 or 1, not a key. A pair (`pairs`, (B, 1, T, T))
        counts if its query *and* its key are real tokens:

        $$L = \frac1n \sum_{b,h,t,s} k_{bt} k_{bs} (A^S_{bhts} - A^T_{bhts})^2, \qquad n = H
        \sum_{b,t,s} k_{bt} k_{bs}.$$

        Return `loss` and its gradient `dstudent_scores`, (B, H, T, T); the teacher is a constant.
        If nothing is kept, the loss is 0 and so is the gradient.""",
    reference=attention_loss,
    library=(distill.AttentionScoresTerm.forward, distill.AttentionScoresTerm.backward),
    outputs=("loss", "dstudent_scores"),
    cases=attention_loss_cases,
    hints=(
        """It is a mean squared error; all the work is in saying which entries count, and dividing
        by how many these are.""",
        r"""The pairs are $k_{bt} k_{bs}$, the same in every head. $dA^S = \frac2n\,k_{bt}
        k_{bs}\,(A^S - A^T)$.""",
        """`pairs = keep[:, None, :, None] & keep[:, None, None, :]`;
        `n = max(H * int(pairs.sum()), 1)`; `error = (student_scores - teacher_scores) * pairs`.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=12,
    terms=attention_loss_terms,
    steps=attention_loss_steps,
    factors=lambda student_scores, teacher_scores, keep: {
        "B": len(student_scores),
        "H": student_scores.shape[1],
        "T": student_scores.shape[2],
        "n": kept(student_scores, pairs_of(keep)),
    },
    docs="derivations/distillation.md",
)


@ATTENTION_LOSS.mistake("queries-not-masked")
def queries_not_masked(student_scores, teacher_scores, keep):
    """only padded keys are left out, with a mask (B, 1, 1, T): padded queries still count, though
    nobody reads what they attend to. Mask both."""
    keys = keep[:, None, None, :]
    return squared_error(student_scores, teacher_scores, keys, kept(student_scores, keys))


@ATTENTION_LOSS.mistake("padded-area")
def divided_by_the_padded_area(student_scores, teacher_scores, keep):
    """the sum is over the kept pairs, but it is divided by B H T T: padding dilutes the loss.
    Divide by the number of kept pairs."""
    return squared_error(student_scores, teacher_scores, pairs_of(keep), student_scores.size)


@ATTENTION_LOSS.mistake("as-released")
def as_released(student_scores, teacher_scores, keep):
    """this is TinyBERT's released code: padded keys are zeroed in both models, padded queries
    count, and `.mean()` divides by B H T T. Mask the queries too, and divide by the kept pairs."""
    keys = keep[:, None, None, :]
    return squared_error(student_scores, teacher_scores, keys, student_scores.size)


@ATTENTION_LOSS.mistake("mask-forgotten")
def mask_forgotten(student_scores, teacher_scores, keep):
    """padding counts like real tokens: keep is not used."""
    return squared_error(student_scores, teacher_scores, 1.0, student_scores.size)


@ATTENTION_LOSS.mistake("mask-in-the-count-alone")
def mask_in_the_count_alone(student_scores, teacher_scores, keep):
    """the sum runs over all pairs and is divided by the kept ones: mask the errors too."""
    n = kept(student_scores, pairs_of(keep))
    return squared_error(student_scores, teacher_scores, 1.0, n)


@ATTENTION_LOSS.mistake("mask-forgotten-in-the-gradient")
def mask_forgotten_in_the_gradient(student_scores, teacher_scores, keep):
    """the loss is masked, its gradient is not: an entry that the loss does not read has gradient
    zero."""
    pairs = pairs_of(keep)
    n = kept(student_scores, pairs)
    loss, _ = squared_error(student_scores, teacher_scores, pairs, n)
    return loss, 2 * (student_scores - teacher_scores) / n


@ATTENTION_LOSS.mistake("after-the-softmax")
def compared_after_the_softmax(student_scores, teacher_scores, keep):
    """the probabilities are compared. TinyBERT compares the scores before the softmax, which its
    authors found to converge faster."""
    pairs = pairs_of(keep)
    keys = np.where(keep, 0, -1e9)[:, None, None, :]
    p, q = softmax(student_scores + keys), softmax(teacher_scores + keys)
    loss, dp = squared_error(p, q, pairs, kept(student_scores, pairs))
    return loss, p * (dp - (dp * p).sum(axis=-1, keepdims=True))


@ATTENTION_LOSS.mistake("minus-10000-compared")
def minus_10000_compared(student_scores, teacher_scores, keep):
    """the student's masked scores, -10000, are compared with the teacher's: the loss is nothing but
    the mask. Leave the padded pairs out."""
    masked = np.where(keep[:, None, None, :], student_scores, -1e4)
    loss, d = squared_error(masked, teacher_scores, 1.0, student_scores.size)
    return loss, d * keep[:, None, None, :]


@ATTENTION_LOSS.mistake("negative-scores-zeroed")
def every_negative_score_zeroed(student_scores, teacher_scores, keep):
    """masked scores are looked for by a threshold near zero (`<= -1e-3`), which zeroes every
    negative real score, about half of them. The mask is known: use keep."""
    pairs = pairs_of(keep)
    positive = student_scores > -1e-3
    student = np.where(positive, student_scores, 0)
    teacher = np.where(teacher_scores > -1e-3, teacher_scores, 0)
    loss, d = squared_error(student, teacher, pairs, kept(student_scores, pairs))
    return loss, d * positive


@ATTENTION_LOSS.mistake("heads-averaged-first")
def heads_averaged_first(student_scores, teacher_scores, keep):
    """the heads are averaged before they are compared: errors of opposite sign cancel. Compare head
    by head, then take the mean."""
    pairs, h = pairs_of(keep), student_scores.shape[1]
    student = student_scores.mean(axis=1, keepdims=True)
    teacher = teacher_scores.mean(axis=1, keepdims=True)
    loss, d = squared_error(student, teacher, pairs, max(int(pairs.sum()), 1))
    return loss, np.repeat(d / h, h, axis=1)


@ATTENTION_LOSS.mistake("heads-summed")
def heads_summed(student_scores, teacher_scores, keep):
    """the heads are summed: the formula has their mean, so n has the factor H."""
    pairs = pairs_of(keep)
    return squared_error(student_scores, teacher_scores, pairs, max(int(pairs.sum()), 1))


@ATTENTION_LOSS.mistake("mean-of-means")
def mean_of_means(student_scores, teacher_scores, keep):
    """each sequence is averaged by itself and then the sequences: pairs of short ones count more.
    All kept pairs count alike."""
    pairs = pairs_of(keep)
    each = np.maximum(pairs.sum(axis=(2, 3), keepdims=True), 1) * student_scores.shape[1]
    error = (student_scores - teacher_scores) * pairs
    n = each * len(keep)
    return (error**2 / n).sum(), 2 * error / n


@ATTENTION_LOSS.mistake("tokens-counted")
def divided_by_tokens(student_scores, teacher_scores, keep):
    r"""divided by the number of tokens: what is summed are pairs, $\sum_b n_b^2$ of them in each
    head."""
    n = max(int(keep.sum()), 1) * student_scores.shape[1]
    return squared_error(student_scores, teacher_scores, pairs_of(keep), n)


@ATTENTION_LOSS.mistake("two-of-the-square")
def two_forgotten(student_scores, teacher_scores, keep):
    """the 2 of the square is missing from the gradient."""
    pairs = pairs_of(keep)
    loss, d = squared_error(student_scores, teacher_scores, pairs, kept(student_scores, pairs))
    return loss, d / 2


@ATTENTION_LOSS.mistake("nothing-kept")
def nothing_kept_divides_by_zero(student_scores, teacher_scores, keep):
    """with nothing kept this is 0/0: divide by at least 1."""
    pairs = pairs_of(keep)
    n = np.broadcast_to(pairs, student_scores.shape).sum()
    return squared_error(student_scores, teacher_scores, pairs, n)

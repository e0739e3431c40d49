"""MiniLM: attention distributions and value relations of the last layer."""

import numpy as np

from npformer import ops
from npformer.exercises.distillation.attention_loss import pairs_of
from npformer.exercises.distillation.relations import (
    both,
    kl,
    masked_log_softmax,
    minilm_loss_factors,
    minilm_loss_steps,
    minilm_loss_terms,
    of_both,
    queries,
    relation,
    right,
    undo_relation,
)
from npformer.exercises.exercise import Case, Exercise


def minilm_loss(student_scores, teacher_scores, student_v, teacher_v, keep):
    """Return attention_loss, value_loss and their gradients dstudent_scores, dstudent_v.

    Scores: (B, H, T, T), before the mask. student_v: (B, H, T, K_S). teacher_v: (B, H, T, K_T).
    keep: (B, T), True = real token.
    """
    pairs = keep[:, None, :, None] & keep[:, None, None, :]  # (B, 1, T, T)
    attention_loss, attention = ops.attention_kl_forward(student_scores, teacher_scores, pairs)
    value_loss, values = ops.value_relation_forward(student_v, teacher_v, keep)
    dstudent_scores = ops.attention_kl_backward(1.0, attention)
    return attention_loss, value_loss, dstudent_scores, ops.value_relation_backward(1.0, values)


def minilm_loss_cases(rng):
    """Return last layers of a student and a wider teacher, with and without padding."""

    def case(lengths, h, t, narrow, wide, part="", scale=1.0):
        b = len(lengths)
        student, teacher = rng.normal(size=(2, b, h, t, t))
        return Case(
            {
                "student_scores": scale * student,
                "teacher_scores": scale * teacher,
                "student_v": rng.normal(size=(b, h, t, narrow)),
                "teacher_v": rng.normal(size=(b, h, t, wide)),
                "keep": np.arange(t) < np.array(lengths)[:, None],
            },
            part,
        )

    return [
        case([4, 4], 3, 4, 5, 7),
        case([5, 5, 5], 2, 5, 4, 6),
        case([3] * 4, 5, 3, 6, 8),
        case([3, 6, 2], 2, 7, 4, 5, "padding"),
        case([2, 4], 3, 5, 6, 8, "padding"),
        case([3, 0, 5, 2], 3, 6, 5, 7, "all-padding row"),
        case([0, 0], 3, 4, 5, 6, "nothing kept"),
        case([4, 2, 3], 1, 5, 4, 6, "one head"),
        case([1, 1], 3, 1, 4, 5, "length 1"),
        case([4, 3], 3, 5, 4, 6, "huge scores", 1000.0),
    ]


MINILM_LOSS = Exercise(
    id="minilm-relations",
    title="MiniLM: attention and value relations",
    statement=r"""
        MiniLM needs no projection: it compares distributions over tokens, which have the same shape
        whatever the widths. Of the last layers you have `student_scores`, `teacher_scores`
        (B, H, T, T), scaled, before the mask; `student_v` (B, H, T, K_S), `teacher_v`
        (B, H, T, K_T); and `keep` (B, T), True = real token; $k_{bt}$ is `keep` as 0 or 1. The
        value relation of a model is attention in which the values ask and answer, with its own head
        size: `student_relation` = $v v^\top/\sqrt{K_S}$, `teacher_relation` =
        $v v^\top/\sqrt{K_T}$, both (B, H, T, T). For scores a (or relations) let p be the softmax
        over the last axis among the kept tokens, and

        $$L = \frac1n \sum_{b,h,t} k_{bt} \sum_s p^T_{bhts} (\log p^T_{bhts} - \log p^S_{bhts}),
        \qquad n = H \sum_{b,t} k_{bt},$$

        with s over the kept tokens too. Return `attention_loss` (L of the scores), `value_loss`
        (L of the relations), `dstudent_scores` and `dstudent_v`, the gradients of their sum; the
        teacher is a constant. Padding gets zero; if nothing is kept, all is 0. Scores of size 1000
        must give neither infinity nor NaN; what is given is finite, at padding too.""",
    reference=minilm_loss,
    library=(
        ops.attention_kl_forward,
        ops.attention_kl_backward,
        ops.value_relation_forward,
        ops.value_relation_backward,
    ),
    outputs=("attention_loss", "value_loss", "dstudent_scores", "dstudent_v"),
    cases=minilm_loss_cases,
    hints=(
        """Both losses are the same function of two arrays (B, H, T, T): write it once. Its gradient
        is that of a cross-entropy. In v v^T the values stand twice.""",
        r"""$da^S = (p^S - p^T)/n$ among the kept pairs; with dR the gradient of the relation,
        $dv = (dR + dR^\top)\,v/\sqrt{K_S}$.""",
        """`pairs = keep[:, None, :, None] & keep[:, None, None, :]`;
        `a = np.where(pairs, a, -1e30)`, then log-softmax, and `p = np.exp(log_p) * pairs`;
        `(drelation + drelation.swapaxes(-1, -2)) @ student_v / K_S ** 0.5`.""",
    ),
    tracks=("class", "gradcheck"),
    difficulty=3,
    minutes=25,
    terms=minilm_loss_terms,
    steps=minilm_loss_steps,
    factors=minilm_loss_factors,
    docs="derivations/distillation.md",
)


@MINILM_LOSS.mistake("direction-reversed")
def direction_reversed(student_scores, teacher_scores, student_v, teacher_v, keep):
    """this is KL(student, teacher): the teacher's probabilities are the weights,
    KL(teacher, student)."""
    mask, n = pairs_of(keep), queries(student_scores, keep)

    def reverse(student, teacher):
        log_p, p = masked_log_softmax(student, mask)
        log_q, _ = masked_log_softmax(teacher, mask)
        row = (p * (log_p - log_q)).sum(axis=-1, keepdims=True)
        return row.sum() / n, p * (log_p - log_q - row) / n

    return of_both(reverse, student_scores, teacher_scores, student_v, teacher_v)


@MINILM_LOSS.mistake("squared-error-instead")
def mse_of_probabilities(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the squared error of the probabilities is taken: MiniLM's loss is their KL divergence."""
    mask, n = pairs_of(keep), queries(student_scores, keep)

    def mse(student, teacher):
        p, q = masked_log_softmax(student, mask)[1], masked_log_softmax(teacher, mask)[1]
        dp = 2 * (p - q) / n
        return ((p - q) ** 2).sum() / n, p * (dp - (dp * p).sum(axis=-1, keepdims=True))

    return of_both(mse, student_scores, teacher_scores, student_v, teacher_v)


@MINILM_LOSS.mistake("cross-entropy-instead")
def cross_entropy_instead(student_scores, teacher_scores, student_v, teacher_v, keep):
    """this is the cross-entropy, more than the KL divergence by the teacher's entropy: a student
    that agrees would not have loss 0."""
    mask, n = pairs_of(keep), queries(student_scores, keep)

    def entropy(teacher):
        log_q, q = masked_log_softmax(teacher, mask)
        return -(q * log_q).sum() / n

    a, v, da, dv = right(student_scores, teacher_scores, student_v, teacher_v, keep)
    return a + entropy(teacher_scores), v + entropy(relation(teacher_v)), da, dv


@MINILM_LOSS.mistake("softmax-over-queries")
def softmax_over_queries(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the softmax runs over the queries: each query has a distribution over the keys, `axis=-1`."""
    mask, n = pairs_of(keep), queries(student_scores, keep)
    return both(student_scores, teacher_scores, student_v, teacher_v, mask, n, axis=-2)


@MINILM_LOSS.mistake("mask-forgotten")
def mask_forgotten(student_scores, teacher_scores, student_v, teacher_v, keep):
    """padding counts like real tokens: keep is not used."""
    return right(student_scores, teacher_scores, student_v, teacher_v, np.ones_like(keep))


@MINILM_LOSS.mistake("queries-not-masked")
def queries_not_masked(student_scores, teacher_scores, student_v, teacher_v, keep):
    """only the keys are masked: rows of padded queries still count. Leave them out of sum and
    count."""
    h, t = student_scores.shape[1:3]
    keys = keep[:, None, None, :]
    n = max(h * t * keep.any(axis=1).sum(), 1)
    return both(student_scores, teacher_scores, student_v, teacher_v, keys, n)


@MINILM_LOSS.mistake("keys-not-masked")
def keys_not_masked(student_scores, teacher_scores, student_v, teacher_v, keep):
    """only the rows of padded queries are left out: the softmax must not see padded keys either."""
    rows = keep[:, None, :, None]
    n = queries(student_scores, keep)

    def of_rows(student, teacher):
        log_p, p = masked_log_softmax(student, True)
        log_q, q = masked_log_softmax(teacher, True)
        return (rows * q * (log_q - log_p)).sum() / n, rows * (p - q) / n

    return of_both(of_rows, student_scores, teacher_scores, student_v, teacher_v)


@MINILM_LOSS.mistake("padding-in-the-mean")
def divided_by_all_tokens(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the rows are masked, but the sum is divided by B H T: divide by H times the kept tokens."""
    n = student_scores[..., 0].size
    return both(student_scores, teacher_scores, student_v, teacher_v, pairs_of(keep), n)


@MINILM_LOSS.mistake("mean-over-keys")
def divided_by_pairs(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the sum over the keys is averaged too: a KL divergence is a sum over them."""
    n = max(student_scores.shape[1] * pairs_of(keep).sum(), 1)
    return both(student_scores, teacher_scores, student_v, teacher_v, pairs_of(keep), n)


@MINILM_LOSS.mistake("heads-summed")
def heads_summed(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the heads are summed: the mean is over them too."""
    n = max(int(keep.sum()), 1)
    return both(student_scores, teacher_scores, student_v, teacher_v, pairs_of(keep), n)


@MINILM_LOSS.mistake("values-unscaled")
def values_unscaled(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the value relation is not divided by the square root of the head size, in either model."""
    n = queries(student_scores, keep)
    attention_loss, da = kl(student_scores, teacher_scores, pairs_of(keep), n)
    value_loss, dr = kl(relation(student_v, 1), relation(teacher_v, 1), pairs_of(keep), n)
    return attention_loss, value_loss, da, undo_relation(dr, student_v, 1)


@MINILM_LOSS.mistake("one-scale-for-both")
def students_scale_for_both(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the teacher's relation is divided by the student's sqrt(K_S): each model has its own, here
    sqrt(K_T)."""
    n, k = queries(student_scores, keep), student_v.shape[-1]
    attention_loss, da = kl(student_scores, teacher_scores, pairs_of(keep), n)
    value_loss, dr = kl(relation(student_v), relation(teacher_v, k), pairs_of(keep), n)
    return attention_loss, value_loss, da, undo_relation(dr, student_v)


@MINILM_LOSS.mistake("scores-scaled-again")
def scores_scaled_again(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the scores are divided by sqrt(K) once more: they are scaled already."""
    small, large = student_v.shape[-1] ** 0.5, teacher_v.shape[-1] ** 0.5
    a, v, da, dv = right(student_scores / small, teacher_scores / large, student_v, teacher_v, keep)
    return a, v, da / small, dv


@MINILM_LOSS.mistake("asking-alone")
def asking_alone(student_scores, teacher_scores, student_v, teacher_v, keep):
    r"""dstudent_v has only the part in which the values ask, $dR\,v$: they answer too, so
    $dR^\top v$ is to be added."""
    mask, n = pairs_of(keep), queries(student_scores, keep)
    a, v, da, _ = right(student_scores, teacher_scores, student_v, teacher_v, keep)
    _, dr = kl(relation(student_v), relation(teacher_v), mask, n)
    return a, v, da, dr @ student_v / student_v.shape[-1] ** 0.5


@MINILM_LOSS.mistake("answering-alone")
def answering_alone(student_scores, teacher_scores, student_v, teacher_v, keep):
    r"""dstudent_v has only the part in which the values answer, $dR^\top v$: they ask too, so
    $dR\,v$ is to be added."""
    mask, n = pairs_of(keep), queries(student_scores, keep)
    a, v, da, _ = right(student_scores, teacher_scores, student_v, teacher_v, keep)
    _, dr = kl(relation(student_v), relation(teacher_v), mask, n)
    return a, v, da, dr.swapaxes(-1, -2) @ student_v / student_v.shape[-1] ** 0.5


@MINILM_LOSS.mistake("relation-taken-for-symmetric")
def twice_the_asking(student_scores, teacher_scores, student_v, teacher_v, keep):
    r"""twice $dR\,v$: the relation is symmetric, its gradient is not, because each row has a
    softmax of its own. It is $(dR + dR^\top)\,v$."""
    *others, dv = asking_alone(student_scores, teacher_scores, student_v, teacher_v, keep)
    return *others, 2 * dv


@MINILM_LOSS.mistake("scale-missing-in-dv")
def scale_forgotten_in_dv(student_scores, teacher_scores, student_v, teacher_v, keep):
    """the relation is divided by sqrt(K_S), its gradient is not."""
    *others, dv = right(student_scores, teacher_scores, student_v, teacher_v, keep)
    return *others, dv * student_v.shape[-1] ** 0.5


@MINILM_LOSS.mistake("softmax-undone-twice")
def softmax_undone_twice(student_scores, teacher_scores, student_v, teacher_v, keep):
    """$p^S - p^T$ is already the gradient at the scores: the softmax is undone a second time."""
    mask, n = pairs_of(keep), queries(student_scores, keep)

    def again(d, scores):
        p = masked_log_softmax(scores, mask)[1]
        return p * (d - (d * p).sum(axis=-1, keepdims=True))

    attention_loss, da = kl(student_scores, teacher_scores, mask, n)
    value_loss, dr = kl(relation(student_v), relation(teacher_v), mask, n)
    dv = undo_relation(again(dr, relation(student_v)), student_v)
    return attention_loss, value_loss, again(da, student_scores), dv

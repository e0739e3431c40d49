"""MiniLM's loss by hand, in the pieces that the wrong functions exchange."""

import numpy as np

from npformer.exercises.distillation.attention_loss import pairs_of


def masked_log_softmax(a, mask, axis=-1):
    """Logarithms among the kept entries, and the probabilities."""
    a = np.where(mask, a, -1e30)
    a = a - a.max(axis=axis, keepdims=True)
    log_probs = a - np.log(np.exp(a).sum(axis=axis, keepdims=True))
    return log_probs, np.exp(log_probs) * mask


def kl(student, teacher, mask, n, axis=-1):
    """KL(teacher, student) over n rows, and its gradient at the student's scores."""
    log_p, p = masked_log_softmax(student, mask, axis)
    log_q, q = masked_log_softmax(teacher, mask, axis)
    return (q * (log_q - log_p)).sum() / n, (p - q) / n


def relation(v, scale=None):
    return v @ v.swapaxes(-1, -2) / (scale or v.shape[-1]) ** 0.5


def undo_relation(d, v, scale=None):
    return (d + d.swapaxes(-1, -2)) @ v / (scale or v.shape[-1]) ** 0.5


def queries(a, keep):
    """Heads times kept tokens."""
    return max(a.shape[1] * int(keep.sum()), 1)


def of_both(loss, student_scores, teacher_scores, student_v, teacher_v):
    """A loss, ``loss(student, teacher)``, of the scores and of the relations."""
    attention_loss, da = loss(student_scores, teacher_scores)
    value_loss, dr = loss(relation(student_v), relation(teacher_v))
    return attention_loss, value_loss, da, undo_relation(dr, student_v)


def both(student_scores, teacher_scores, student_v, teacher_v, mask, n, axis=-1):
    def loss(student, teacher):
        return kl(student, teacher, mask, n, axis)

    return of_both(loss, student_scores, teacher_scores, student_v, teacher_v)


def right(student_scores, teacher_scores, student_v, teacher_v, keep):
    n = queries(student_scores, keep)
    return both(student_scores, teacher_scores, student_v, teacher_v, pairs_of(keep), n)


def minilm_loss_terms(student_scores, teacher_scores, student_v, teacher_v, keep):
    mask, n = pairs_of(keep), queries(student_scores, keep)
    p, q = (masked_log_softmax(a, mask)[1] / n for a in (student_scores, teacher_scores))
    _, dr = kl(relation(student_v), relation(teacher_v), mask, n)
    root = student_v.shape[-1] ** 0.5
    return {
        "dstudent_scores": {"student_probs": p, "- teacher_probs": -q},
        "dstudent_v": {
            "drelation @ v": dr @ student_v / root,
            "drelation^T @ v": dr.swapaxes(-1, -2) @ student_v / root,
        },
    }


def minilm_loss_steps(student_scores, teacher_scores, student_v, teacher_v, keep):
    mask, n = pairs_of(keep), queries(student_scores, keep)
    return {
        "pairs": mask,
        "student_relation": relation(student_v),
        "teacher_relation": relation(teacher_v),
        "n": n,
        "drelation": kl(relation(student_v), relation(teacher_v), mask, n)[1],
    }


def minilm_loss_factors(student_scores, teacher_scores, student_v, teacher_v, keep):
    b, h, t, k = student_v.shape
    sizes = {"B": b, "H": h, "T": t, "K_S": k, "K_T": teacher_v.shape[3]}
    return {**sizes, "n": queries(student_scores, keep)}

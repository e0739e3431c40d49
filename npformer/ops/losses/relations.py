"""MiniLM: what attends to what, as distributions over the tokens.

A relation is a row of probabilities over tokens for each token. The two models may differ in width:
only their numbers of heads and of tokens must agree, and no projection is needed.

These are pairs and no terms of `npformer.distill`: values are not in a model's output. MiniLM
compares the last layers alone, and adds the two losses.
"""

from typing import NamedTuple

import numpy as np

from npformer.checks import check_float, check_keep, check_shape
from npformer.ops.attention import (
    AttentionScoresCache,
    attention_scores_backward,
    attention_scores_forward,
)
from npformer.ops.fast import hide
from npformer.ops.losses.counting import divisor, kept_rows
from npformer.ops.softmax import log_softmax_forward
from npformer.types import BoolArray, FloatArray


class AttentionKlCache(NamedTuple):
    """What `attention_kl_backward` needs."""

    student_probs: FloatArray  # (B, H, T, S), zero where not kept
    teacher_probs: FloatArray  # (B, H, T, S), zero where not kept
    n: float  # the number divided by


def attention_kl_forward(
    student_scores: FloatArray,
    teacher_scores: FloatArray,
    keep: BoolArray | None = None,
    *,
    count: int | None = None,
) -> tuple[float, AttentionKlCache]:
    r"""KL divergence of attention distributions, mean over heads and queries, in nats.

    .. math:: L = \frac1n \sum_{b,h,t} \sum_s
              p^T_{bhts}\,(\log p^T_{bhts} - \log p^S_{bhts}), \qquad
              p = \operatorname{softmax}_s(a) \text{ among the kept keys}

    Parameters
    ----------
    student_scores : ndarray of shape (B, H, T, S)
        Before the mask and the softmax.
    teacher_scores : ndarray of shape (B, H, T, S)
        A constant: it gets no gradient.
    keep : boolean ndarray that broadcasts to (B, H, T, S), optional
        Pairs that may attend, with four axes. A query that keeps no key does not count: hide the
        keys of a padded query, and it counts for nothing.
    count : int, optional
        Divide by this instead of the number of queries, of all heads, kept here.

    Returns
    -------
    loss : float
        0.0 if nothing is kept.
    cache : AttentionKlCache

    Raises
    ------
    InputError
        If the shapes differ, ``keep`` is not boolean or has another rank, or if S = 0.

    References
    ----------
    Wang et al. 2020, "MiniLM: deep self-attention distillation", section 3.1. Deviations: none,
    but for the padding, of which the paper does not speak.
    """
    check_float("student_scores", student_scores)
    check_shape("student_scores", student_scores, ("B", "H", "T", "S"))
    check_shape("teacher_scores", teacher_scores, student_scores.shape)
    student, student_probs = _log_probs(student_scores, keep)
    teacher, teacher_probs = _log_probs(teacher_scores, keep)
    # Where not kept, the teacher's p is 0 and both logarithms are finite.
    some = np.True_ if keep is None else keep.any(axis=-1)
    n = divisor(count, int(np.broadcast_to(some, student_scores.shape[:-1]).sum()))
    loss = float(np.vdot(teacher_probs, teacher - student)) / n
    return loss, AttentionKlCache(student_probs, teacher_probs, n)


def attention_kl_backward(dloss: float, cache: AttentionKlCache) -> FloatArray:
    r"""Undo `attention_kl_forward`, as for logits: prediction minus truth.

    .. math:: da^S_{bhts} = \frac{dL}{n}\,(p^S_{bhts} - p^T_{bhts})

    Where nothing is kept both probabilities are zero.

    Parameters
    ----------
    dloss : float
    cache : AttentionKlCache

    Returns
    -------
    dstudent_scores : ndarray of shape (B, H, T, S)
    """
    student_probs, teacher_probs, n = cache
    # loss = float(np.vdot(teacher_probs, teacher - student)) / n
    return (student_probs - teacher_probs) * (dloss / n)


class ValueRelationCache(NamedTuple):
    """What `value_relation_backward` needs."""

    scores: AttentionScoresCache
    loss: AttentionKlCache


def value_relation_forward(
    student_v: FloatArray,
    teacher_v: FloatArray,
    keep: BoolArray | None = None,
    *,
    count: int | None = None,
) -> tuple[float, ValueRelationCache]:
    r"""KL divergence of value relations, mean over heads and kept tokens, in nats.

    .. math:: L = \frac1n \sum_{b,h,t} \mathrm{keep}_{bt}
              \operatorname{KL}\bigl(R^T_{bht} \,\big\Vert\, R^S_{bht}\bigr), \qquad
              R_{bht} = \operatorname{softmax}_s\bigl(v_{bht} \cdot v_{bhs} / \sqrt{K}\bigr)
              \text{ among the kept tokens}

    It is attention in which the values ask and answer, each model with its own 1/sqrt(K).

    Parameters
    ----------
    student_v : ndarray of shape (B, H, T, K)
    teacher_v : ndarray of shape (B, H, T, I)
        A constant: it gets no gradient. Its heads may have another size.
    keep : boolean ndarray of shape (B, T), optional
        True = real token, as query and as key.
    count : int, optional
        Divide by this instead of the number of tokens, of all heads, kept here.

    Returns
    -------
    loss : float
        0.0 if nothing is kept.
    cache : ValueRelationCache

    Raises
    ------
    InputError
        If the shapes do not fit each other, ``keep`` is not boolean of shape (B, T), or if T = 0.

    References
    ----------
    Wang et al. 2020, "MiniLM: deep self-attention distillation", section 3.2. Deviations: none,
    but for the padding, of which the paper does not speak.
    """
    check_float("student_v", student_v)
    check_shape("student_v", student_v, ("B", "H", "T", "K"))
    check_shape("teacher_v", teacher_v, (*student_v.shape[:3], "K"))
    keep = kept_rows(keep, (student_v.shape[0], student_v.shape[2]))
    both = keep[:, None, :, None] & keep[:, None, None, :]  # (B, 1, T, T) query and key
    student, scores_cache = attention_scores_forward(student_v, student_v)  # (B, H, T, T)
    teacher, _ = attention_scores_forward(teacher_v, teacher_v)  # (B, H, T, T)
    loss, loss_cache = attention_kl_forward(student, teacher, both, count=count)
    return loss, ValueRelationCache(scores_cache, loss_cache)


def value_relation_backward(dloss: float, cache: ValueRelationCache) -> FloatArray:
    r"""Undo `value_relation_forward`: v asks and answers, so its gradient is a sum of two.

    .. math:: dv_{td} = \frac{1}{\sqrt K} \sum_s (da_{ts} + da_{st})\, v_{sd}

    Parameters
    ----------
    dloss : float
    cache : ValueRelationCache

    Returns
    -------
    dstudent_v : ndarray of shape (B, H, T, K)
    """
    dstudent = attention_kl_backward(dloss, cache.loss)  # attention_kl_forward(student, ...)
    # attention_scores_forward(student_v, student_v)
    dasking, danswering, _ = attention_scores_backward(dstudent, cache.scores)  # (B, H, T, K)
    return dasking + danswering


def _log_probs(scores: FloatArray, keep: BoolArray | None) -> tuple[FloatArray, FloatArray]:
    if keep is None:
        log_probs, _ = log_softmax_forward(scores)
        return log_probs, np.exp(log_probs)
    check_keep(keep, scores.shape)
    log_probs, _ = log_softmax_forward(hide(scores, keep))
    return log_probs, np.exp(log_probs) * keep

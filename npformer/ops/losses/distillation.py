"""Soft targets: the cross-entropy and the KL divergence at a temperature."""

from typing import NamedTuple

import numpy as np

from npformer.checks import check_float, check_positive, check_shape
from npformer.ops.losses.counting import divisor, kept_rows
from npformer.ops.softmax import log_softmax_forward
from npformer.types import BoolArray, FloatArray


class SoftTargetCache(NamedTuple):
    """What `soft_cross_entropy_backward` and `kl_backward` need."""

    student_probs: FloatArray  # (..., C)
    teacher_probs: FloatArray  # (..., C)
    keep: BoolArray  # (...)
    factor: float  # of each row, the slope of the softened logits included


def soft_cross_entropy_forward(
    student_logits: FloatArray,
    teacher_logits: FloatArray,
    tau: float,
    *,
    tau_squared: bool = False,
    keep: BoolArray | None = None,
    count: int | None = None,
) -> tuple[float, SoftTargetCache]:
    r"""Cross-entropy of the student with the teacher's probabilities, mean over kept rows, in nats.

    .. math:: L = -\frac{\kappa}{n} \sum_i \sum_c p^T_{ic} \log p^S_{ic}, \qquad
              p = \operatorname{softmax}(z/\tau)

    with kappa = tau^2 if ``tau_squared``, else 1. The gradient falls as 1/tau^2 for large
    tau; the factor keeps its size comparable with that of a hard-label term.

    Parameters
    ----------
    student_logits : ndarray of shape (..., C)
    teacher_logits : ndarray of shape (..., C)
        A constant: it gets no gradient.
    tau : float
        Temperature above 0, of both.
    tau_squared : bool
        Multiply by tau^2.
    keep : boolean ndarray of shape (...), optional
        Rows that count; default all.
    count : int, optional
        Divide by this instead of the number of rows kept here.

    Returns
    -------
    loss : float
        At its least, kappa times the mean entropy of the teacher, not 0: see `kl_forward`;
        0.0 if nothing is kept.
    cache : SoftTargetCache

    Raises
    ------
    InputError
        If the shapes differ, tau is not above 0, or ``keep`` is not boolean of shape (...).

    References
    ----------
    Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network",
    section 2; Jiao et al. 2020, "TinyBERT", equation 10 (kappa = 1).
    """
    keep = kept_rows(keep, student_logits.shape[:-1])
    n = divisor(count, int(keep.sum()))
    kappa = tau * tau if tau_squared else 1.0
    student, teacher = _soften(student_logits, teacher_logits, tau)
    rows = -(np.exp(teacher) * student).sum(axis=-1)  # (...)
    total = float(rows[keep].sum())
    loss = kappa / n * total
    return loss, SoftTargetCache(np.exp(student), np.exp(teacher), keep, kappa / (tau * n))


def soft_cross_entropy_backward(dloss: float, cache: SoftTargetCache) -> FloatArray:
    r"""Undo `soft_cross_entropy_forward`.

    .. math:: dz^S_{ic} = dL\,\frac{\kappa}{n\tau}\,\mathrm{keep}_i\,(p^S_{ic} - p^T_{ic})

    Parameters
    ----------
    dloss : float
    cache : SoftTargetCache

    Returns
    -------
    dstudent_logits : ndarray of shape (..., C)
    """
    student_probs, teacher_probs, keep, factor = cache
    dlogits = student_probs - teacher_probs  # rows = -(np.exp(teacher) * student).sum(axis=-1)
    return keep[..., None] * dlogits * (dloss * factor)  # loss = kappa / n * total


def kl_forward(
    student_logits: FloatArray,
    teacher_logits: FloatArray,
    tau: float,
    *,
    tau_squared: bool = False,
    keep: BoolArray | None = None,
    count: int | None = None,
) -> tuple[float, SoftTargetCache]:
    r"""KL divergence of the student from the teacher, mean over kept rows, in nats.

    .. math:: L = \frac{\kappa}{n} \sum_i \sum_c
              p^T_{ic}\,(\log p^T_{ic} - \log p^S_{ic}), \qquad
              p = \operatorname{softmax}(z/\tau)

    It is the soft cross-entropy less the entropy of the teacher, a constant: the gradient is
    the same, but 0 means that the student agrees.

    Parameters
    ----------
    student_logits : ndarray of shape (..., C)
    teacher_logits : ndarray of shape (..., C)
        A constant: it gets no gradient.
    tau : float
        Temperature above 0, of both.
    tau_squared : bool
        Multiply by kappa = tau^2.
    keep : boolean ndarray of shape (...), optional
        Rows that count; default all.
    count : int, optional
        Divide by this instead of the number of rows kept here.

    Returns
    -------
    loss : float
        0.0 if nothing is kept.
    cache : SoftTargetCache

    Raises
    ------
    InputError
        If the shapes differ, tau is not above 0, or ``keep`` is not boolean of shape (...).

    References
    ----------
    Hinton, Vinyals and Dean 2015, section 2. PyTorch's ``KLDivLoss`` needs
    ``reduction="batchmean"`` to be this; its default divides by C as well.
    """
    keep = kept_rows(keep, student_logits.shape[:-1])
    n = divisor(count, int(keep.sum()))
    kappa = tau * tau if tau_squared else 1.0
    student, teacher = _soften(student_logits, teacher_logits, tau)
    rows = (np.exp(teacher) * (teacher - student)).sum(axis=-1)  # (...)
    total = float(rows[keep].sum())
    loss = kappa / n * total
    return loss, SoftTargetCache(np.exp(student), np.exp(teacher), keep, kappa / (tau * n))


def kl_backward(dloss: float, cache: SoftTargetCache) -> FloatArray:
    r"""Undo `kl_forward`: the teacher's entropy is a constant, so this is the cross-entropy's.

    .. math:: dz^S_{ic} = dL\,\frac{\kappa}{n\tau}\,(p^S_{ic} - p^T_{ic})

    Parameters
    ----------
    dloss : float
    cache : SoftTargetCache

    Returns
    -------
    dstudent_logits : ndarray of shape (..., C)
    """
    return soft_cross_entropy_backward(dloss, cache)  # loss = kappa / n * total


def _soften(
    student_logits: FloatArray, teacher_logits: FloatArray, tau: float
) -> tuple[FloatArray, FloatArray]:
    check_float("student_logits", student_logits)
    check_shape("teacher_logits", teacher_logits, student_logits.shape)
    check_positive("tau", tau)
    student, _ = log_softmax_forward(student_logits / tau)
    teacher, _ = log_softmax_forward(teacher_logits / tau)
    return student, teacher

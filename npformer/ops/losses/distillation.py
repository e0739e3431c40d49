"""Soft targets: the cross-entropy and the KL divergence at a temperature."""

from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_float, check_positive, check_shape
from npformer.ops.losses.counting import divisor
from npformer.ops.softmax import log_softmax_forward
from npformer.types import BoolArray, FloatArray


class SoftTargetCache(NamedTuple):
    """What `soft_cross_entropy_backward` and `kl_backward` need."""

    student_probs: FloatArray  # (..., C)
    teacher_probs: FloatArray  # (..., C)
    keep: BoolArray | None  # (...)
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
    student, teacher, n = _soften(student_logits, teacher_logits, tau, keep, count)
    rows = (np.exp(teacher) * student).sum(axis=-1)  # (...)
    kappa = tau * tau if tau_squared else 1.0
    loss = -kappa * _sum_kept(rows, keep) / n
    return loss, SoftTargetCache(np.exp(student), np.exp(teacher), keep, kappa / (tau * n))


def soft_cross_entropy_backward(dloss: float, cache: SoftTargetCache) -> FloatArray:
    r"""Undo `soft_cross_entropy_forward`.

    .. math:: dz^S_{ic} = dL\,\frac{\kappa}{n\tau}\,(p^S_{ic} - p^T_{ic})

    Parameters
    ----------
    dloss : float
    cache : SoftTargetCache

    Returns
    -------
    dstudent_logits : ndarray of shape (..., C)
    """
    student_probs, teacher_probs, keep, factor = cache
    dlogits = student_probs - teacher_probs
    dlogits *= factor * dloss
    if keep is not None:
        dlogits *= keep[..., None]
    return dlogits


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
    student, teacher, n = _soften(student_logits, teacher_logits, tau, keep, count)
    rows = (np.exp(teacher) * (teacher - student)).sum(axis=-1)  # (...)
    kappa = tau * tau if tau_squared else 1.0
    loss = kappa * _sum_kept(rows, keep) / n
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
    return soft_cross_entropy_backward(dloss, cache)


def _soften(
    student_logits: FloatArray,
    teacher_logits: FloatArray,
    tau: float,
    keep: BoolArray | None,
    count: int | None,
) -> tuple[FloatArray, FloatArray, float]:
    check_float("student_logits", student_logits)
    check_shape("teacher_logits", teacher_logits, student_logits.shape)
    check_positive("tau", tau)
    rows = student_logits.shape[:-1]
    if keep is not None and (keep.dtype != np.bool_ or keep.shape != rows):
        raise InputError(f"keep: got {keep.dtype} {keep.shape}, expected boolean {rows}")
    student, _ = log_softmax_forward(student_logits / tau)
    teacher, _ = log_softmax_forward(teacher_logits / tau)
    kept = int(np.prod(rows)) if keep is None else int(keep.sum())
    return student, teacher, divisor(count, kept)


def _sum_kept(rows: FloatArray, keep: BoolArray | None) -> float:
    return float((rows if keep is None else rows[keep]).sum())

"""Cross-entropy with hard labels."""

from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_array, check_float, check_fraction, check_ids
from npformer.ops.losses.counting import divisor
from npformer.ops.softmax import log_softmax_forward
from npformer.types import BoolArray, FloatArray, IntArray


class CrossEntropyCache(NamedTuple):
    """What `cross_entropy_backward` needs."""

    log_probs: FloatArray  # (..., C)
    target: FloatArray  # (..., C) smoothed one-hot rows; zero rows where ignored
    kept: BoolArray  # (...) the rows that are not ignored
    n: float  # the number divided by


def cross_entropy_forward(
    logits: FloatArray,
    labels: IntArray,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    count: int | None = None,
) -> tuple[float, CrossEntropyCache]:
    r"""Cross-entropy, mean over the labels that are not ignored, in nats.

    .. math:: L = -\frac1n \sum_i \sum_c t_{ic} \log p_{ic}, \qquad
              t_{ic} = (1 - \alpha)\,[c = \mathrm{label}_i] + \alpha/C

    Parameters
    ----------
    logits : ndarray of shape (..., C)
        Of classes (B, C) or tokens (B, T, C).
    labels : integer ndarray of shape (...)
    ignore_index : int
        Rows with this label count for nothing.
    label_smoothing : float
        alpha in [0, 1).
    count : int, optional
        Divide by this instead of the number of labels kept here.

    Returns
    -------
    loss : float
        0.0 if nothing is kept.
    cache : CrossEntropyCache

    Raises
    ------
    InputError
        If the shapes do not fit or a label is no class.

    References
    ----------
    Szegedy et al. 2016, "Rethinking the Inception architecture", section 7 (smoothing).
    """
    check_float("logits", logits)
    check_array("labels", labels)
    if labels.shape != logits.shape[:-1]:
        raise InputError(f"labels: got shape {labels.shape}, expected {logits.shape[:-1]}")
    check_fraction("label_smoothing", label_smoothing)
    kept = labels != ignore_index
    check_ids("labels", labels[kept], logits.shape[-1], "set of classes")
    classes = logits.shape[-1]
    log_probs, _ = log_softmax_forward(logits)
    target = np.full_like(logits, label_smoothing / classes)  # (..., C)
    np.put_along_axis(
        target,
        np.where(kept, labels, 0)[..., None],
        1 - label_smoothing + label_smoothing / classes,
        axis=-1,
    )
    target *= kept[..., None]
    n = divisor(count, int(kept.sum()))
    loss = -float(np.vdot(target, log_probs)) / n
    return loss, CrossEntropyCache(log_probs, target, kept, n)


def cross_entropy_backward(dloss: float, cache: CrossEntropyCache) -> FloatArray:
    r"""Undo `cross_entropy_forward`: prediction minus truth.

    The rows of t sum to one where kept; ignored rows get nothing:

    .. math:: d\mathrm{logits}_{ic} = \frac{dL}{n}\,\mathrm{kept}_i\,(p_{ic} - t_{ic})

    Parameters
    ----------
    dloss : float
    cache : CrossEntropyCache

    Returns
    -------
    dlogits : ndarray of shape (..., C)
    """
    log_probs, target, kept, n = cache
    share = (dloss / n * kept).astype(log_probs.dtype)  # (...)
    dlogits = np.exp(log_probs) - target  # loss = -float(np.vdot(target, log_probs)) / n
    dlogits *= share[..., None]
    return dlogits

"""Metrics of predictions: pure functions, no state, a plain float out.

None returns NaN. Where a formula divides zero by zero (a class that never occurs, constant
predictions) the value is 0.0, "no better than knowing nothing", as each function says. No
examples at all, or a NaN among the inputs, is an error.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npformer.checks import InputError, check_float, check_ids, check_shape
from npformer.types import FloatArray, IntArray


def accuracy(predictions: IntArray, labels: IntArray) -> float:
    r"""Return the share of predictions that equal their label.

    .. math::
        \frac1N \sum_n [\hat y_n = y_n]

    Parameters
    ----------
    predictions, labels : ndarray of shape (N,)
        Class numbers.

    Returns
    -------
    float
        In [0, 1].
    """
    _check_classes(predictions, labels)
    return float(np.mean(predictions == labels))


def f1(predictions: IntArray, labels: IntArray, *, num_classes: int = 2) -> float:
    r"""Return the harmonic mean of precision and recall.

    .. math::
        F_1 = \frac{2\,\mathrm{TP}}{2\,\mathrm{TP} + \mathrm{FP} + \mathrm{FN}}

    With two classes: of class 1, as GLUE does for MRPC and QQP. With more: the plain mean
    (macro F1) over the classes that occur among labels or predictions.

    Parameters
    ----------
    predictions, labels : ndarray of shape (N,)
        Class numbers below ``num_classes``.
    num_classes : int
        How many classes the task has.

    Returns
    -------
    float
        In [0, 1]; 0.0 if class 1 is neither predicted nor true.
    """
    table = _confusion(predictions, labels, num_classes)
    hits, predicted, true = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    # 2 TP + FP + FN: each hit is counted in both sums, each miss in one of them.
    occurs = predicted + true
    each = 2.0 * hits / np.maximum(occurs, 1)
    return float(each[1] if num_classes == 2 else each[occurs > 0].mean())


def matthews(predictions: IntArray, labels: IntArray, *, num_classes: int = 2) -> float:
    r"""Return Matthews' correlation of predictions and labels (the metric of CoLA).

    With c the hits, :math:`p_k` and :math:`t_k` how often class k is predicted and true:

    .. math::
        R = \frac{cN - \sum_k p_k t_k}
            {\sqrt{N^2 - \sum_k p_k^2}\ \sqrt{N^2 - \sum_k t_k^2}}

    For two classes this is Pearson's correlation of the two 0/1 vectors.

    Parameters
    ----------
    predictions, labels : ndarray of shape (N,)
        Class numbers below ``num_classes``.
    num_classes : int
        How many classes the task has.

    Returns
    -------
    float
        In [-1, 1]; 0.0 if all predictions or all labels are one class.

    References
    ----------
    Gorodkin (2004), Comparing two K-category assignments by a K-category correlation
    coefficient, equation 8. Deviations: none.
    """
    table = _confusion(predictions, labels, num_classes).astype(float)
    total, predicted, true = table.sum(), table.sum(axis=1), table.sum(axis=0)
    spread = (total**2 - predicted @ predicted) * (total**2 - true @ true)
    if spread == 0:
        return 0.0
    return float((np.trace(table) * total - predicted @ true) / np.sqrt(spread))


def pearson(predictions: FloatArray, targets: FloatArray) -> float:
    r"""Return Pearson's linear correlation.

    .. math::
        r = \frac{\sum_n (x_n - \bar x)(y_n - \bar y)}
            {\sqrt{\sum_n (x_n - \bar x)^2}\ \sqrt{\sum_n (y_n - \bar y)^2}}

    Parameters
    ----------
    predictions, targets : ndarray of shape (N,)
        Numbers.

    Returns
    -------
    float
        In [-1, 1]; 0.0 if predictions or targets are constant.
    """
    x, y = _numbers("predictions", predictions), _numbers("targets", targets)
    check_shape("predictions", x, y.shape)
    # Tested on the values: the mean of equal values may be off by a rounding, and the
    # correlation of roundings is any number.
    if x.min() == x.max() or y.min() == y.max():
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    # Each to length 1 before the product, so that tiny or huge units do not under- or overflow.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    r = (x / np.linalg.norm(x)) @ (y / np.linalg.norm(y))
    return float(np.clip(r, -1.0, 1.0))


def spearman(predictions: FloatArray, targets: FloatArray) -> float:
    """Return Spearman's correlation: Pearson's of the ranks, equal values sharing theirs.

    Parameters
    ----------
    predictions, targets : ndarray of shape (N,)
        Numbers.

    Returns
    -------
    float
        In [-1, 1]; 0.0 if predictions or targets are constant.
    """
    x, y = _numbers("predictions", predictions), _numbers("targets", targets)
    return pearson(_ranks(x), _ranks(y))


def agreement(logits: FloatArray, other_logits: FloatArray) -> float:
    r"""Return the share of examples on which two models choose the same class.

    .. math::
        \frac1N \sum_n [\arg\max_c z_{nc} = \arg\max_c z'_{nc}]

    A student can be as accurate as its teacher and still err elsewhere; this sees it.

    Parameters
    ----------
    logits, other_logits : ndarray of shape (N, C)
        Logits or probabilities, say of student and teacher. Ties go to the lower class.

    Returns
    -------
    float
        In [0, 1].
    """
    for name, z in (("logits", logits), ("other_logits", other_logits)):
        check_float(name, z)
        check_shape(name, z, ("N", "C"))
        _check_some(name, z)
    check_shape("other_logits", other_logits, logits.shape)
    return float(np.mean(logits.argmax(axis=-1) == other_logits.argmax(axis=-1)))


def expected_calibration_error(probs: FloatArray, labels: IntArray, *, bins: int = 15) -> float:
    r"""Return how far confidence is from accuracy, on average over bins of confidence.

    The confidence of a prediction is its largest probability. With :math:`B_b` the examples
    whose confidence falls in :math:`(\frac{b-1}{n}, \frac{b}{n}]`:

    .. math::
        \sum_{b=1}^{n} \frac{|B_b|}{N}
            \left| \mathrm{acc}(B_b) - \mathrm{conf}(B_b) \right|

    Parameters
    ----------
    probs : ndarray of shape (N, C)
        Probabilities, each row summing to 1.
    labels : ndarray of shape (N,)
        Class numbers below C.
    bins : int
        n, of equal width; an empty one adds nothing.

    Returns
    -------
    float
        In [0, 1]; 0 is calibrated.

    References
    ----------
    Guo et al. (2017), On calibration of modern neural networks, equation 3. Deviations: none.
    """
    if bins < 1:
        raise InputError(f"bins: got {bins}, expected at least 1")
    check_float("probs", probs)
    check_shape("probs", probs, ("N", "C"))
    _check_some("probs", probs)
    if probs.min() < 0 or np.abs(probs.sum(axis=-1) - 1.0).max() > 1e-3:
        raise InputError("probs: got rows that are no probabilities, expected them to sum to 1")
    check_ids("labels", labels, probs.shape[1], "number of classes")
    check_shape("labels", labels, probs.shape[:1])

    confidence = probs.max(axis=-1).astype(float)
    right = (probs.argmax(axis=-1) == labels).astype(float)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    # |B| |acc - conf| is the bin's sum of (right - confidence), so no bin is divided by its size.
    gaps = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _confusion(predictions: IntArray, labels: IntArray, num_classes: int) -> IntArray:
    """Return how often class i was predicted where j was true, of shape (C, C)."""
    _check_classes(predictions, labels)
    check_ids("predictions", predictions, num_classes, "number of classes")
    check_ids("labels", labels, num_classes, "number of classes")
    pairs = predictions * num_classes + labels
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _ranks(x: FloatArray) -> FloatArray:
    """Return ranks from 1; equal values get the mean of the ranks they cover."""
    _, group, sizes = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    ranks: FloatArray = (last - (sizes - 1) / 2.0)[group]
    return ranks


def _numbers(name: str, x: NDArray[Any]) -> FloatArray:
    check_float(name, x)
    check_shape(name, x, ("N",))
    _check_some(name, x)
    return x.astype(np.float64)


def _check_classes(predictions: IntArray, labels: IntArray) -> None:
    for name, y in (("predictions", predictions), ("labels", labels)):
        if not isinstance(y, np.ndarray) or not np.issubdtype(y.dtype, np.integer):
            kind = f"{y.dtype} array" if isinstance(y, np.ndarray) else type(y).__name__
            raise InputError(f"{name}: got {kind}, expected class numbers, an integer array")
        check_shape(name, y, ("N",))
    check_shape("predictions", predictions, labels.shape)
    _check_some("labels", labels)


def _check_some(name: str, x: NDArray[Any]) -> None:
    if len(x) == 0:
        raise InputError(f"{name}: got 0 examples, expected at least 1")
    if not np.isfinite(x).all():
        raise InputError(f"{name}: got NaN or infinity, expected finite numbers")

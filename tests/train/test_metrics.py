"""Metrics against counting by hand, example by example, and against known values."""

import itertools
import math

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.train.metrics import (
    accuracy,
    agreement,
    expected_calibration_error,
    f1,
    matthews,
    pearson,
    spearman,
)

LABELS = np.array([1, 0, 1, 1, 0, 1, 0, 1])
PREDICTIONS = np.array([1, 0, 0, 1, 1, 1, 0, 0])  # TP 3, FP 1, FN 2, TN 2
X = np.array([1.0, 2.0, 2.0, 3.0, 5.0])
Y = np.array([2.0, 1.0, 4.0, 4.0, 6.0])


def classes(seed: int, num_classes: int, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, n)
    noise = rng.integers(0, num_classes, n)
    return np.where(rng.random(n) < 0.5, labels, noise), labels


def f1_by_counting(predictions: np.ndarray, labels: np.ndarray, positive: int) -> float:
    tp = fp = fn = 0
    for p, y in zip(predictions, labels, strict=True):
        tp += p == positive and y == positive
        fp += p == positive and y != positive
        fn += p != positive and y == positive
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return 2 * precision * recall / (precision + recall)


def correlation_by_pairs(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson without a mean: covariances as sums over pairs of examples."""

    def over_pairs(u: np.ndarray, v: np.ndarray) -> float:
        return math.fsum(
            (u[i] - u[j]) * (v[i] - v[j]) for i, j in itertools.combinations(range(len(u)), 2)
        )

    return over_pairs(x, y) / math.sqrt(over_pairs(x, x) * over_pairs(y, y))


def test_accuracy() -> None:
    assert accuracy(PREDICTIONS, LABELS) == 5 / 8


def test_binary_f1() -> None:
    assert f1(PREDICTIONS, LABELS) == pytest.approx(2 * 3 / (2 * 3 + 1 + 2), rel=1e-15)
    p, y = classes(1, 2)
    assert f1(p, y) == pytest.approx(f1_by_counting(p, y, 1), rel=1e-14)
    assert f1(p, y) != f1(1 - p, 1 - y)


def test_macro_f1() -> None:
    p, y = classes(2, 4)
    expected = np.mean([f1_by_counting(p, y, c) for c in range(4)])
    assert f1(p, y, num_classes=4) == pytest.approx(expected, rel=1e-14)
    # A class that neither occurs nor is predicted is no part of the mean.
    assert f1(p, y, num_classes=6) == pytest.approx(expected, rel=1e-14)
    # One that is only predicted, or only true, counts as 0.
    only = f1(np.array([0, 0, 2]), np.array([0, 0, 1]), num_classes=3)
    assert only == pytest.approx(1 / 3, rel=1e-15)


def test_binary_matthews() -> None:
    # (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN))
    expected = (3 * 2 - 1 * 2) / math.sqrt(4 * 5 * 3 * 4)
    assert matthews(PREDICTIONS, LABELS) == pytest.approx(expected, rel=1e-14)
    p, y = classes(3, 2)
    assert matthews(p, y) == pytest.approx(correlation_by_pairs(p, y), rel=1e-12)


def test_matthews_of_more_classes() -> None:
    """The covariance form: 1-hot vectors, covariances summed over the classes."""
    p, y = classes(4, 3)
    p_hot, y_hot = np.eye(3)[p], np.eye(3)[y]

    def covariance(u: np.ndarray, v: np.ndarray) -> float:
        return float(sum(np.cov(u[:, k], v[:, k])[0, 1] for k in range(3)))

    expected = covariance(p_hot, y_hot) / math.sqrt(
        covariance(p_hot, p_hot) * covariance(y_hot, y_hot)
    )
    assert matthews(p, y, num_classes=3) == pytest.approx(expected, rel=1e-12)
    assert matthews(y, y, num_classes=3) == pytest.approx(1.0, rel=1e-15)


def test_pearson() -> None:
    assert pearson(X, Y) == pytest.approx(9.8 / math.sqrt(9.2 * 15.2), rel=1e-14)
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((2, 30))
    y += 0.5 * x
    assert pearson(x, y) == pytest.approx(correlation_by_pairs(x, y), rel=1e-12)
    assert pearson(x, -2 * x + 3) == pytest.approx(-1.0, rel=1e-14)
    assert pearson(1e-200 * x, 1e200 * y) == pytest.approx(pearson(x, y), rel=1e-12)
    assert pearson(x.astype(np.float32), y) == pytest.approx(pearson(x, y), abs=1e-6)


def test_spearman_shares_ranks_among_ties() -> None:
    # Ranks 1, 2.5, 2.5, 4, 5 and 2, 1, 3.5, 3.5, 5.
    expected = correlation_by_pairs(np.array([1, 2.5, 2.5, 4, 5]), np.array([2, 1, 3.5, 3.5, 5]))
    assert spearman(X, Y) == pytest.approx(expected, rel=1e-14)
    assert spearman(X, Y) == pytest.approx(29 / 38, rel=1e-14)
    rng = np.random.default_rng(6)
    x, y = rng.integers(0, 6, (2, 25)).astype(float)
    by_counting = [np.array([np.sum(v < a) + (np.sum(v == a) + 1) / 2 for a in v]) for v in (x, y)]
    assert spearman(x, y) == pytest.approx(correlation_by_pairs(*by_counting), rel=1e-12)


def test_spearman_sees_order_only() -> None:
    x = np.array([0.1, -3.0, 2.0, 7.0])
    assert spearman(x, np.exp(x)) == pytest.approx(1.0, rel=1e-15)
    assert pearson(x, np.exp(x)) < 0.9


def test_agreement_is_of_choices_not_of_logits() -> None:
    ours = np.array([[0.1, 0.9, 0.0], [5.0, 1.0, 2.0], [0.0, 1.0, 3.0], [1.0, 1.0, 0.0]])
    other = np.array([[-9.0, 0.2, 0.1], [1.0, 2.0, 0.0], [0.0, 0.0, 0.1], [9.0, 0.0, 1.0]])
    assert agreement(ours, other) == 3 / 4
    assert agreement(ours, 7 * ours) == 1.0


def test_calibration_by_hand() -> None:
    # Two bins: (0, 0.5] holds the first two, too sure; (0.5, 1] the others, not sure enough.
    probs = np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3], [0.1, 0.0, 0.9], [0.7, 0.2, 0.1]])
    labels = np.array([1, 0, 2, 0])
    first = abs((0 + 0) / 2 - (0.4 + 0.5) / 2)
    second = abs((1 + 1) / 2 - (0.9 + 0.7) / 2)
    expected = 0.5 * first + 0.5 * second
    assert expected_calibration_error(probs, labels, bins=2) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_by_loops(bins: int) -> None:
    rng = np.random.default_rng(8)
    logits = 2 * rng.standard_normal((60, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # Right where unsure and at random where sure: gaps of both signs.
    sure = probs.max(axis=1) > 0.7
    labels = np.where(sure, rng.integers(0, 3, 60), probs.argmax(axis=1))
    expected = 0.0
    for b in range(bins):
        rows = [n for n in range(60) if b / bins < max(probs[n]) <= (b + 1) / bins]
        if rows:
            right = sum(int(np.argmax(probs[n]) == labels[n]) for n in rows) / len(rows)
            confidence = sum(max(probs[n]) for n in rows) / len(rows)
            expected += len(rows) / 60 * abs(right - confidence)
    got = expected_calibration_error(probs, labels, bins=bins)
    assert got == pytest.approx(expected, rel=1e-12)


def test_calibration_of_certainty() -> None:
    probs = np.eye(2)[[0, 1, 1, 0]]
    assert expected_calibration_error(probs, np.array([0, 1, 1, 0])) == 0.0
    assert expected_calibration_error(probs, np.array([1, 0, 0, 1])) == 1.0


ONES, MIXED = np.ones(4, int), np.array([0, 1, 1, 0])


def test_undefined_is_zero() -> None:
    assert f1(np.zeros(4, int), np.zeros(4, int)) == 0.0
    assert matthews(ONES, MIXED) == 0.0
    assert matthews(MIXED, ONES) == 0.0
    assert matthews(ONES, ONES) == 0.0
    # 0.1 has no exact mean of six: its differences from it are roundings, not a spread.
    constant, varied = np.full(6, 0.1), np.arange(6.0)
    for correlation in (pearson, spearman):
        assert correlation(constant, varied) == 0.0
        assert correlation(varied, constant) == 0.0
        assert correlation(varied[:1], varied[:1]) == 0.0


@pytest.mark.parametrize("metric", [accuracy, f1, matthews])
@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (np.array([], int), np.array([], int), "labels: got 0 examples"),
        (ONES, np.ones(3, int), r"predictions: got shape \(4,\), expected \(3,\)"),
        (np.ones((4, 1), int), ONES, r"predictions: got shape \(4, 1\)"),
        (np.ones(4), ONES, "predictions: got float64 array, expected class numbers"),
        ([1, 1, 1, 1], ONES, "predictions: got list"),
    ],
)
def test_bad_classes(metric, predictions, labels, message) -> None:
    with pytest.raises(InputError, match=message):
        metric(predictions, labels)


@pytest.mark.parametrize("metric", [f1, matthews])
def test_a_class_too_many(metric) -> None:
    with pytest.raises(InputError, match="predictions: got 2, expected 0 to 1"):
        metric(2 * ONES, ONES)
    with pytest.raises(InputError, match="labels: got -1, expected 0 to 1"):
        metric(ONES, -ONES)


@pytest.mark.parametrize("metric", [pearson, spearman])
@pytest.mark.parametrize(
    ("predictions", "targets", "message"),
    [
        (np.array([]), np.array([]), "predictions: got 0 examples"),
        (X, Y[:3], r"got shape \(5,\), expected \(3,\)"),
        (np.where(X > 4, np.nan, X), Y, "predictions: got NaN"),
        (X, np.where(X > 4, np.inf, Y), "targets: got NaN or infinity"),
        (X.astype(int), Y, "predictions: got int64 array"),
    ],
)
def test_bad_numbers(metric, predictions, targets, message) -> None:
    with pytest.raises(InputError, match=message):
        metric(predictions, targets)


def test_bad_rows() -> None:
    probs = np.full((4, 2), 0.5)
    with pytest.raises(InputError, match="other_logits: got shape"):
        agreement(probs, probs[:3])
    with pytest.raises(InputError, match="logits: got NaN"):
        agreement(probs * np.nan, probs)
    with pytest.raises(InputError, match="logits: got 0 examples"):
        agreement(probs[:0], probs[:0])
    with pytest.raises(InputError, match="bins: got 0"):
        expected_calibration_error(probs, MIXED, bins=0)
    with pytest.raises(InputError, match="probs: got rows that are no prob"):
        expected_calibration_error(2 * probs, MIXED)
    with pytest.raises(InputError, match="probs: got rows that are no prob"):
        expected_calibration_error(probs + np.array([1.0, -1.0]), MIXED)
    with pytest.raises(InputError, match="labels: got 2"):
        expected_calibration_error(probs, 2 * ONES)
    with pytest.raises(InputError, match="labels: got shape"):
        expected_calibration_error(probs, MIXED[:3])

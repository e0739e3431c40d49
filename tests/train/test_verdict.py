import json
import math

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.train.verdict import paired_verdict, student_t_quantile

# Printed tables, 97.5 % quantiles.
TABLE = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 9: 2.2622, 30: 2.0423, 100: 1.9840}


@pytest.mark.parametrize("df", TABLE)
def test_quantiles_of_the_table(df: int) -> None:
    assert student_t_quantile(0.95, df) == pytest.approx(TABLE[df], abs=5.1e-5)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_closed_forms(confidence: float) -> None:
    assert student_t_quantile(confidence, 1) == pytest.approx(
        math.tan(math.pi * confidence / 2), rel=1e-12
    )
    assert student_t_quantile(confidence, 2) == pytest.approx(
        confidence * math.sqrt(2 / (1 - confidence**2)), rel=1e-12
    )


@pytest.mark.parametrize("df", [3, 4, 7, 10])
def test_quantile_against_the_density(df: int) -> None:
    """Simpson's rule over Student's density between -t and t."""
    t = student_t_quantile(0.9, df)
    x = np.linspace(-t, t, 2001)
    height = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    density = height * (1 + x * x / df) ** (-(df + 1) / 2)
    weights = np.where(np.arange(2001) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    assert weights @ density * (x[1] - x[0]) / 3 == pytest.approx(0.9, abs=1e-10)


def test_interval_by_hand() -> None:
    # Differences 1, 2, 3, 4: mean 2.5, s = sqrt(5/3), t_3 = 3.1824.
    found = paired_verdict([11.0, 22.0, 33.0, 44.0], [10.0, 20.0, 30.0, 40.0])
    reach = 3.182446 * math.sqrt(5 / 3) / 2
    assert found.mean_difference == 2.5
    assert (found.low, found.high) == pytest.approx((2.5 - reach, 2.5 + reach), abs=1e-6)
    assert found.seeds == 4
    assert found.verdict == "better"


def test_all_three_verdicts() -> None:
    theirs = [0.80, 0.85, 0.90, 0.82, 0.88]
    up = [t + d for t, d in zip(theirs, [0.010, 0.012, 0.009, 0.011, 0.013], strict=True)]
    assert paired_verdict(up, theirs).verdict == "better"
    assert paired_verdict(theirs, up).verdict == "not better"
    mixed = [t + d for t, d in zip(theirs, [0.03, -0.02, 0.01, 0.02, -0.01], strict=True)]
    assert paired_verdict(mixed, theirs).verdict == "inconclusive"


def test_pairing_is_by_seed() -> None:
    """The seeds differ far more than the methods: only in pairs does the gain show."""
    theirs = [0.6, 0.9, 0.7, 0.8]
    ours = [0.62, 0.93, 0.72, 0.83]
    assert paired_verdict(ours, theirs).verdict == "better"
    assert paired_verdict(ours[::-1], theirs).verdict == "inconclusive"


def test_confidence_widens_the_interval() -> None:
    ours, theirs = [3.0, 4.0, 2.0], [1.0, 1.0, 1.0]
    assert paired_verdict(ours, theirs, confidence=0.9).verdict == "better"
    assert paired_verdict(ours, theirs, confidence=0.99).verdict == "inconclusive"


def test_equal_scores_are_not_better() -> None:
    assert paired_verdict([0.5, 0.7], [0.5, 0.7]) == ("not better", 0.0, 0.0, 0.0, 2)
    assert paired_verdict([0.75, 1.0], [0.5, 0.75]) == ("better", 0.25, 0.25, 0.25, 2)


def test_one_seed_is_inconclusive_and_json_safe() -> None:
    found = paired_verdict([0.9], [0.5])
    assert found == ("inconclusive", pytest.approx(0.4), None, None, 1)
    assert json.loads(json.dumps(found._asdict(), allow_nan=False))["high"] is None


def test_numpy_scores_give_json_numbers() -> None:
    found = paired_verdict(np.float32([1, 2, 4]), np.float32([0, 0, 0]))
    json.dumps(found._asdict(), allow_nan=False)


@pytest.mark.parametrize(
    ("ours", "theirs", "confidence", "message"),
    [
        ([], [], 0.95, "scores: got 0 of ours and 0 of theirs"),
        ([0.1, 0.2], [0.1], 0.95, "scores: got 2 of ours and 1 of theirs"),
        ([0.1, math.nan], [0.1, 0.2], 0.95, "scores: got NaN"),
        ([0.1, 0.3], [0.1, math.inf], 0.95, "scores: got NaN or infinity"),
        ([0.1, 0.3], [0.1, 0.2], 1.0, "confidence: got 1.0"),
        ([0.1, 0.3], [0.1, 0.2], 95, "confidence: got 95"),
    ],
)
def test_nonsense_is_refused(ours, theirs, confidence, message) -> None:
    with pytest.raises(InputError, match=message):
        paired_verdict(ours, theirs, confidence=confidence)

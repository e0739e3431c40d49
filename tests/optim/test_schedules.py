import math

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.optim import constant_schedule, cosine_schedule, linear_schedule, noam_schedule


def test_constant() -> None:
    assert [constant_schedule(t) for t in (0, 1, 10**6)] == [1.0, 1.0, 1.0]


def test_linear_rises_from_zero_and_falls_to_zero() -> None:
    factors = [linear_schedule(t, warmup=4, total=9) for t in range(12)]
    expected = [0, 0.25, 0.5, 0.75, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0]
    np.testing.assert_allclose(factors, expected, rtol=1e-15)


def test_linear_without_warmup_starts_at_one() -> None:
    assert linear_schedule(0, warmup=0, total=3) == 1.0


def test_cosine_is_half_way_half_way() -> None:
    factors = [cosine_schedule(t, warmup=2, total=8) for t in range(11)]
    root = math.sqrt(3) / 4
    expected = [0, 0.5, 1, 0.5 + root, 0.75, 0.5, 0.25, 0.5 - root, 0, 0, 0]
    np.testing.assert_allclose(factors, expected, rtol=1e-14, atol=1e-15)


def test_noam_peaks_at_the_end_of_the_warmup() -> None:
    factors = [noam_schedule(t, warmup=9, d_model=16) for t in range(40)]
    assert factors[0] == 0.0
    assert int(np.argmax(factors)) == 9
    # 1/sqrt(16 * 9) at the peak; a third of it at a third of the warm-up; half at four times.
    np.testing.assert_allclose([factors[t] for t in (3, 9, 36)], [1 / 36, 1 / 12, 1 / 24])


def test_numpy_steps_are_steps() -> None:
    assert linear_schedule(np.int64(1), warmup=2, total=4) == 0.5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "numbers", "message"),
    [
        (constant_schedule, {"step": -1}, "step: got -1"),
        (linear_schedule, {"step": 0.5, "warmup": 2, "total": 4}, "step: got 0.5"),
        (linear_schedule, {"step": 0, "warmup": -2, "total": 4}, "warmup: got -2"),
        (linear_schedule, {"step": 0, "warmup": 0.1, "total": 4}, "warmup: got 0.1"),
        (linear_schedule, {"step": 0, "warmup": 5, "total": 4}, "warmup: got 5 steps"),
        (cosine_schedule, {"step": 0, "warmup": 0, "total": 0}, "total: got 0"),
        (cosine_schedule, {"step": 0, "warmup": 5, "total": 4}, "warmup: got 5 steps"),
        (noam_schedule, {"step": 0, "warmup": 0, "d_model": 4}, "warmup: got 0"),
        (noam_schedule, {"step": 0, "warmup": 3, "d_model": 0}, "d_model: got 0"),
    ],
)
def test_nonsense_is_refused(schedule, numbers, message) -> None:
    with pytest.raises(InputError, match=message):
        schedule(**numbers)

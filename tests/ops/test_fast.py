"""The tricks compute what their plain forms do, and every one of them is measured."""

import inspect

import numpy as np
import pytest

from benchmarks.tricks import fresh, tricks
from npformer.ops import fast
from npformer.ops.positions.by_distance import distances, look_up, sum_by_row

GUARDS = {"hide", "saturated"}  # against overflow; nothing to be faster than


def test_every_trick_is_measured():
    own = {
        name
        for name, f in vars(fast).items()
        if inspect.isfunction(f) and f.__module__ == fast.__name__ and not name.startswith("_")
    }
    assert own >= GUARDS
    assert {trick.fast.__name__ for trick in tricks()} == own - GUARDS


@pytest.mark.parametrize("trick", tricks(), ids=lambda trick: trick.fast.__name__)
def test_a_trick_computes_what_its_plain_form_does(trick):
    quick, plain = trick.fast(*fresh(trick.arguments)), trick.plain(*trick.arguments)
    assert quick.dtype == plain.dtype == np.float32
    assert quick.shape == plain.shape
    np.testing.assert_allclose(quick, plain, rtol=0, atol=2e-6 * np.abs(plain).max())


def test_look_up_and_sum_by_row_are_transposes():
    rng = np.random.default_rng(1)
    row = np.clip(distances(4, 5, 2), -3, 2) + 3
    x, y = rng.standard_normal((2, 3, 4, 6)), rng.standard_normal((2, 3, 4, 5))
    assert np.vdot(look_up(x, row), y) == pytest.approx(np.vdot(x, sum_by_row(y, row, 6)))

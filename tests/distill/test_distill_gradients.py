"""Finite differences: every term, and the whole loss through student, teacher and projections."""

import pytest

from npformer.cli.distill_cases import distill_cases

CASES = distill_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_gradients(case):
    assert case.check().ok

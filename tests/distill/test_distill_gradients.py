"""Finite differences: every term, and the whole loss through student, teacher and projections."""

from dataclasses import replace

import pytest

from npformer.distill.recipes import RECIPES
from npformer.gradcheck import check_model
from npformer.selfcheck.terms import BATCH, COUNTS, SMALLER, Distillation, distill_cases

CASES = distill_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_gradients(case):
    assert case.check().ok


def test_a_factorised_student_learns_from_the_embeddings_of_the_teacher():
    """hidden[0] is as wide as the layers, after the map of the tables: nothing else is needed."""
    config = replace(SMALLER, embedding_size=7)
    model = Distillation.of(RECIPES["corrected"], "intermediate", config)
    report = check_model(model, (BATCH, COUNTS))
    assert report.ok
    assert report.errors.keys() == model.params.keys()
    assert {n for n in model.params if "embeddings.projection" in n} != set()

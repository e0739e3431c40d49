"""Named wrong backwards: a check that lets one live is no check."""

import functools

import pytest
from mutants import MODEL_MUTANTS, MUTANTS
from pairs import PAIRS

from npformer.gradcheck import GradientError
from npformer.selfcheck import distill_cases, model_cases

CASES = {case.name: case for case in PAIRS}
MODELS = {case.name: case for case in (*model_cases(), *distill_cases())}
# The other losses of distillation are checked in tests/distill.
CHECKED = {case.name for case in model_cases()} | {mutant.case for mutant in MODEL_MUTANTS}


@functools.cache
def passes(name):
    return CASES[name].check().ok


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_killed(mutant):
    case = CASES[mutant.case]
    assert passes(case.name)
    with pytest.raises(GradientError) as caught:
        case.check(mutant.backward)
    assert caught.value.diagnosis.startswith(mutant.diagnosis), str(caught.value)


@pytest.mark.parametrize("mutant", MODEL_MUTANTS, ids=lambda mutant: mutant.name)
def test_model_mutant_is_killed(mutant, monkeypatch):
    right = getattr(mutant.owner, mutant.attribute)
    monkeypatch.setattr(mutant.owner, mutant.attribute, mutant.make(right))
    with pytest.raises(GradientError):
        MODELS[mutant.case].check()


@pytest.mark.parametrize("name", sorted(MODELS.keys() & CHECKED))
def test_the_models_pass(name):
    report = MODELS[name].check()
    assert report.error <= 1e-6


def test_the_list_is_long_and_every_mistake_is_named():
    assert len(MUTANTS) >= 34
    told = {m.name: m.backward.__doc__ for m in MUTANTS}
    told |= {m.name: m.make.__doc__ for m in MODEL_MUTANTS}
    assert len(told) == len(MUTANTS) + len(MODEL_MUTANTS)
    for name, mistake in told.items():
        assert mistake, name
        assert "\n" not in mistake, name


def test_every_pair_has_a_mutant():
    assert {case.split("/")[0] for case in CASES} == {m.case.split("/")[0] for m in MUTANTS}

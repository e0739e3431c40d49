"""Named wrong backwards: a check that lets one live is no check."""

import pytest
from mutants import MODEL_MUTANTS, MUTANTS
from pairs import PAIRS

from npformer.cli.model_cases import model_cases
from npformer.cli.term_cases import term_cases
from npformer.gradcheck import GradientError

CASES = {case.name: case for case in PAIRS}
MODELS = {case.name: case for case in (*model_cases(), *term_cases())}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_is_killed(mutant):
    case = CASES[mutant.case]
    case.check()
    with pytest.raises(GradientError) as caught:
        case.check(mutant.backward)
    assert caught.value.diagnosis.startswith(mutant.diagnosis), str(caught.value)


@pytest.mark.parametrize("mutant", MODEL_MUTANTS, ids=lambda mutant: mutant.name)
def test_model_mutant_is_killed(mutant, monkeypatch):
    right = getattr(mutant.owner, mutant.attribute)
    monkeypatch.setattr(mutant.owner, mutant.attribute, mutant.make(right))
    with pytest.raises(GradientError):
        MODELS[mutant.case].check()


@pytest.mark.parametrize("case", MODELS.values(), ids=lambda case: case.name)
def test_the_models_pass(case):
    report = case.check()
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

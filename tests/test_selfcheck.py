"""Whatever is new in the library is red here until `npformer gradcheck` checks it."""

from npformer.distill import terms
from npformer.layers.relative import SCHEMES
from npformer.selfcheck import distill_cases, model_cases


def test_every_position_scheme_is_checked_in_a_model() -> None:
    assert {case.model.config.relative for case in model_cases()} == set(SCHEMES)


def test_every_distillation_term_is_checked() -> None:
    classes = {value for value in vars(terms).values() if hasattr(value, "needs_teacher")}
    checked = {type(case.model) for case in distill_cases()}
    assert len(classes) > 6
    assert classes - {terms.Term} <= checked

"""Every exercise: stubs fail, references pass, mistakes fail and are named."""

import re
from pathlib import Path

import numpy as np
import pytest

from npformer.exercises.checker import check
from npformer.exercises.checker.call import call
from npformer.exercises.checker.compare import difference
from npformer.exercises.checker.manners import OWN_WORK
from npformer.exercises.checker.trial import named
from npformer.exercises.course import EXERCISES, find
from npformer.exercises.exercise import HEADER, SOLUTION_HEADER
from npformer.exercises.text import Text
from npformer.exercises.translation import message
from npformer.exercises.verify import BATTERY, defined

THE_SAME = {"x = 0", "alpha = 0", "p_drop = 0"}  # parts that need no translation
CHINESE = re.compile(r"[一-鿿]")
DOCS = Path(__file__).parents[2] / "docs"
SEEDS = 100
# A case of real size, and finite differences in each: a hundred seeds would take minutes.
FEW_SEEDS = {"multi-head-attention": 3, "gradient-checker": 20}

each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def test_there_are_enough_and_each_has_its_own_id():
    ids = [exercise.id for exercise in EXERCISES]
    assert len(ids) >= 40
    assert len(set(ids)) == len(ids)
    assert len({exercise.function for exercise in EXERCISES}) == len(ids)


@pytest.mark.parametrize("verify", BATTERY, ids=lambda verify: verify.__name__)
@each
def test_it_holds_what_every_exercise_holds(exercise, verify):
    assert list(verify(exercise, range(2))) == []


@each
def test_a_stub_says_that_it_is_one(exercise):
    report = check(exercise, defined(HEADER + exercise.stub, exercise))
    assert not report.passed
    assert "not written yet" in report.text("en")


@each
def test_the_solution_is_source_that_passes_for_a_teacher_alone(exercise):
    fn = defined(SOLUTION_HEADER + exercise.solution, exercise)
    failed = [result.name for result in check(exercise, fn).results if not result.passed]
    assert failed == [OWN_WORK]
    report = check(exercise, fn, library=True)
    assert report.passed, report.text("en")
    assert exercise.library_source


@pytest.mark.slow
@each
def test_over_many_seeds_no_false_alarm_and_no_survivor(exercise):
    for seed in range(FEW_SEEDS.get(exercise.id, SEEDS)):
        cases = exercise.cases(np.random.default_rng(seed))
        expected = [
            named(exercise, call(exercise.reference, case.args, None).value) for case in cases
        ]
        for fn in (exercise.reference, *exercise.mistakes.values()):
            right = all(
                is_right(exercise, fn, case.args, answer)
                for case, answer in zip(cases, expected, strict=True)
            )
            assert right == (fn is exercise.reference), (seed, fn.__name__)


def is_right(exercise, fn, args, expected):
    outcome = call(fn, args, None)
    if outcome.error is not None:
        return False
    got = named(exercise, outcome.value)
    return got.keys() == expected.keys() and all(
        difference(got[name], value, name).right for name, value in expected.items()
    )


@each
def test_both_languages_are_complete(exercise):
    for text in exercise.said.values():
        assert isinstance(text, Text)
        assert text.en.strip()
        assert not CHINESE.search(text.en)
        assert text.zh.strip()
    for name in ("statement", *exercise.mistakes):
        assert CHINESE.search(exercise.said[name].zh), name


@each
def test_the_labels_are_known(exercise):
    assert find(exercise.id) is exercise
    assert exercise.tracks
    assert exercise.minutes <= 60
    assert len(exercise.mistakes) >= 3
    parts = {case.part for case in exercise.cases(np.random.default_rng(0))}
    assert all(CHINESE.search(message(part).zh) for part in parts - {"", *THE_SAME})
    assert "" in parts
    assert (DOCS / exercise.docs).is_file()

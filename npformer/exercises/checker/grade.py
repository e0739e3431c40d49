"""One property of one exercise as an assertion: what a class is graded by."""

from collections.abc import Callable, Sequence
from typing import Any

from npformer.checks import InputError
from npformer.exercises.checker.check import check
from npformer.exercises.course import find
from npformer.exercises.exercise import Exercise


def grade(
    exercise_id: str, fn: Callable[..., Any], name: str, *, seeds: Sequence[int] = (0,)
) -> None:
    """Assert that a learner's function has a property.

    Parameters
    ----------
    exercise_id : str
    fn : callable
        The learner's function.
    name : str
        One of `property_names`.
    seeds : sequence of int
        Of the cases.

    Raises
    ------
    AssertionError
        With the whole report, the diagnosis among it.
    InputError
        If there is no such exercise or property.
    """
    exercise = find(exercise_id)
    names = property_names(exercise)
    if name not in names:
        raise InputError(f"name: got {name!r}, expected one of {', '.join(names)}")
    for seed in seeds:
        report = check(exercise, fn, seed=seed)
        passed = {result.name.en: result.passed for result in report.results}
        # A function that cannot be called at all has none of the properties.
        if not passed.get(name, False):
            raise AssertionError(report.text())


def property_names(exercise: Exercise) -> list[str]:
    """Return the names of what is checked, in order."""
    return [result.name.en for result in check(exercise, exercise.reference).results]

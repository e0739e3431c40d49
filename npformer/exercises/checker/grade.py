"""One property of one exercise as an assertion: what a class is graded by."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import FrameType
from typing import Any

from npformer.checks import InputError
from npformer.exercises.checker.check import check
from npformer.exercises.checker.manners import OWN_WORK
from npformer.exercises.checker.report import Report
from npformer.exercises.exercise import Exercise
from npformer.exercises.own import open_course
from npformer.exercises.text import Text, language
from npformer.exercises.translation import message

# Of one check; a learner's function takes milliseconds.
SECONDS = 10


class OutOfTime(BaseException):
    """Not an Exception, so that a learner's ``except Exception`` does not swallow it."""


def grade(
    exercise_id: str,
    fn: Callable[..., Any],
    name: str,
    *,
    seeds: Sequence[int] = (0,),
    course: str = "",
) -> None:
    """Assert that a learner's function earns the points of a property.

    It has to have the property. What is no output, such as "inputs untouched" or "one head", earns
    nothing as long as no output is right: a function that returns zeros has all these virtues.
    Nothing is earned by calling the library.

    Parameters
    ----------
    exercise_id : str
    fn : callable
        The learner's function.
    name : str
        One of `property_names`.
    seeds : sequence of int
        Of the cases.
    course : str
        The place of somebody's own course.

    Raises
    ------
    AssertionError
        With the whole report, the diagnosis among it; or that the function does not end.
    InputError
        If there is no such exercise or property.
    """
    exercise = _exercise(exercise_id, course)
    names = property_names(exercise)
    if name not in names:
        raise InputError(f"name: got {name!r}, expected one of {', '.join(names)}")
    for seed in seeds:
        report = _report(exercise, fn, seed)
        if isinstance(report, Text):
            raise AssertionError(report.to(language()))
        passed = {result.name.en: result.passed for result in report.results}
        # A function that cannot be called at all has none of the properties.
        earned = passed.get(name, False) and passed.get(OWN_WORK.en, False)
        if name not in exercise.outputs:
            earned = earned and any(passed.get(output, False) for output in exercise.outputs)
        if not earned:
            raise AssertionError(report.text())


def property_names(exercise: Exercise) -> list[str]:
    """Return the names of what is checked, in order."""
    return [result.name.en for result in check(exercise, exercise.reference).results]


@lru_cache(maxsize=32)
def _exercise(exercise_id: str, course: str) -> Exercise:
    """Read a course once, not for each property anew."""
    return open_course(course).find(exercise_id)


@lru_cache(maxsize=32)
def _report(exercise: Exercise, fn: Callable[..., Any], seed: int) -> Report | Text:
    """Check once for all properties: a function that never ends costs its time once."""
    try:
        with _time_limit():
            return check(exercise, fn, seed=seed)
    except OutOfTime:
        return message("it does not end within {seconds} seconds", seconds=SECONDS)


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    """Raise `OutOfTime` in the body after a while, where the system has alarms (not Windows)."""
    alarm = getattr(signal, "SIGALRM", None)
    if alarm is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(alarm, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(alarm, before)

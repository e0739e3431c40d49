"""The check of a learner's function: every property of an exercise, one by one."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.checker.call import call
from npformer.exercises.checker.compare import Difference, difference
from npformer.exercises.checker.diagnose import diagnose
from npformer.exercises.checker.manners import manners
from npformer.exercises.checker.report import Report, Result
from npformer.exercises.checker.trial import Trial, named
from npformer.exercises.exercise import Exercise
from npformer.exercises.text import Text
from npformer.exercises.translation import message

CALL = message("can be called")
RETURNS = message("what is returned")


def check(
    exercise: Exercise, fn: Callable[..., Any], *, seed: int = 0, library: bool = False
) -> Report:
    """Judge a learner's function.

    Parameters
    ----------
    exercise : Exercise
    fn : callable
        Anything: whatever it does is reported, nothing of it is raised.
    seed : int
        Of the cases.
    library : bool
        Whether the function may call npformer, as the official solutions do.

    Returns
    -------
    Report
        A property a line. With a wrong value somewhere, also what the mistake is.

    Notes
    -----
    All arrays are float64, and a value is right if it is within 1e-7 of the library's, relative to
    the largest entry of its array or to 1. There is no limit of time here: the terminal front has
    one.
    """
    problem = _cannot_call(exercise, fn)
    if problem is not None:
        return _stopped(exercise, Result(CALL, False, None, problem))
    trials = list(_trials(exercise, fn, seed, library=library))
    first = trials[0].outcome
    if first.kind == "NotImplementedError":
        return _stopped(exercise, Result(CALL, False, None, first.error))
    if first.error is None:
        problem = _shape_of_return(exercise, first.value)
        if problem is not None:
            return _stopped(exercise, Result(RETURNS, False, None, problem))
    results = [*_values(exercise, trials), *manners(exercise, fn, trials)]
    report = Report(exercise.id, exercise.said["title"], results, [], [])
    if report.passed:
        return report
    found = diagnose(exercise, trials)
    return Report(
        exercise.id,
        exercise.said["title"],
        results,
        [one.text for one in found],
        [one.name for one in found if one.name],
    )


def _trials(
    exercise: Exercise, fn: Callable[..., Any], seed: int, *, library: bool
) -> Iterator[Trial]:
    code = exercise.reference.__code__
    for case in exercise.cases(np.random.default_rng(seed)):
        expected = call(exercise.reference, case.args, None)
        if expected.error is not None:
            raise ValueError(f"{exercise.id}: the reference fails on its case: {expected.error.en}")
        outcome = call(fn, case.args, code)
        if library:
            outcome.library = ""
        yield Trial(case.args, case.part, named(exercise, expected.value), outcome)


def _cannot_call(exercise: Exercise, fn: Any) -> Text | None:
    names = exercise.parameters
    wanted = f"{exercise.function}({', '.join(names)})"
    if not callable(fn):
        kind = type(fn).__name__
        return message("fn: got a {kind}, expected the function {wanted}", kind=kind, wanted=wanted)
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return None  # a builtin without one; calling it will show
    try:
        signature.bind(*names)
    except TypeError:
        got = f"{exercise.function}{signature}"
        return message("signature: got {got}, expected {wanted}", got=got, wanted=wanted)
    return None


def _shape_of_return(exercise: Exercise, value: Any) -> Text | None:
    names = exercise.outputs
    listed = ", ".join(names)
    if value is None:
        return message("got None, expected {listed}: is there a return?", listed=listed)
    if len(names) == 1:
        return None
    if isinstance(value, list):
        return message(
            "got a list of {given}, expected a tuple of {count}: {listed}",
            given=len(value),
            count=len(names),
            listed=listed,
        )
    if not isinstance(value, tuple):
        kind = type(value).__name__
        return message(
            "got one {kind}, expected {count} results: {listed}",
            kind=kind,
            count=len(names),
            listed=listed,
        )
    if len(value) != len(names):
        return message(
            "got {given} results, expected {count}: {listed}",
            given=len(value),
            count=len(names),
            listed=listed,
        )
    return None


def _stopped(exercise: Exercise, result: Result) -> Report:
    return Report(exercise.id, exercise.said["title"], [result], [], [])


class _Property(NamedTuple):
    name: Text
    outputs: tuple[str, ...]
    trials: list[Trial]


def _values(exercise: Exercise, trials: list[Trial]) -> Iterator[Result]:
    plain = [trial for trial in trials if not trial.part]
    properties = [_Property(Text(name, name), (name,), plain) for name in exercise.outputs]
    for part in dict.fromkeys(trial.part for trial in trials if trial.part):
        of = [trial for trial in trials if trial.part == part]
        properties.append(_Property(message(part), exercise.outputs, of))
    for name, outputs, of in properties:
        worst = Difference(0.0)
        for trial in of:
            if trial.outcome.error is not None:
                worst = Difference(float("nan"), trial.outcome.error)
                break
            problem = _shape_of_return(exercise, trial.outcome.value)
            if problem is not None:
                worst = Difference(float("nan"), problem)
                break
            got = named(exercise, trial.outcome.value)
            found = [difference(got[out], trial.expected[out], out) for out in outputs]
            worst = max([worst, *found], key=lambda d: (d.message is not None, d.error))
            if worst.message is not None:
                break
        error = worst.error if np.isfinite(worst.error) else None
        yield Result(name, worst.right, error, worst.message)

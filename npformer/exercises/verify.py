"""What an exercise has to hold, ours or somebody's own: `problems` says where one does not.

Each check is a function that yields a sentence for each problem. ``npformer learn verify`` runs
them on a course, our tests on ours.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from npformer.exercises.checker import Report, check
from npformer.exercises.checker.call import unchanged
from npformer.exercises.checker.trial import named
from npformer.exercises.exercise import HEADER, SOLUTION_HEADER, Case, Exercise
from npformer.exercises.translation import beside, read, stale

SEEDS = 100


def problems(exercise: Exercise, seeds: int = SEEDS) -> list[str]:
    """Return all problems of an exercise; ``seeds`` is how many times its cases are drawn."""
    found: list[str] = []
    for verify in BATTERY:
        try:
            found += verify(exercise, range(seeds))
        except (Exception, SystemExit) as error:  # of the exercise's own functions
            what = " ".join(f"{type(error).__name__}: {error}".split())
            found.append(f"{verify.__name__.replace('_', ' ')}: it stops with {what}")
        if found and verify in (cases_are_calls, the_reference_passes):
            break  # all others need them
    return [f"{exercise.id}: {problem[:250]}" for problem in found]


def cases_are_calls(exercise: Exercise, seeds: Sequence[int]) -> Iterator[str]:
    """Cases are calls of the reference, plain ones among them, the same for the same seed."""
    cases, again = (exercise.cases(np.random.default_rng(seeds[0])) for _ in range(2))
    if not cases or not all(isinstance(case, Case) for case in cases):
        yield "the cases are no list of Case with one or more in it"
        return
    for case in cases:
        if tuple(case.args) != exercise.parameters:
            yield f"a case has {', '.join(case.args)}, expected {', '.join(exercise.parameters)}"
        for name, value in case.args.items():
            if isinstance(value, np.ndarray) and value.dtype not in (float, int, bool):
                yield f"a case has {name} of type {value.dtype}, expected float64, int64 or bool"
    if all(case.part for case in cases):
        yield "every case has a part, expected plain ones, too"
    if not all(unchanged(*pair) for pair in zip(cases, again, strict=True)):
        yield "the cases of a seed differ from call to call: draw all that is random from rng"


def the_stub_fails(exercise: Exercise, seeds: Sequence[int]) -> Iterator[str]:
    """Who writes nothing has not solved it."""
    if check(exercise, defined(HEADER + exercise.stub, exercise)).passed:
        yield "the stub passes, expected it to fail: its body (start) is a solution"


def the_reference_passes(exercise: Exercise, seeds: Sequence[int]) -> Iterator[str]:
    """The reference is right on all seeds, and so is its source by itself."""
    for seed in seeds:
        if failed := _failed(check(exercise, exercise.reference, seed=seed, library=True)):
            yield f"the reference fails (seed {seed}): {failed}"
            return
    alone = defined(SOLUTION_HEADER + exercise.solution, exercise)
    if failed := _failed(check(exercise, alone, library=True)):
        yield f"the reference fails outside of its file, as an exported solution: {failed}"


def every_mistake_is_named(exercise: Exercise, seeds: Sequence[int]) -> Iterator[str]:
    """A wrong function fails on every seed, and what is said is its own diagnosis alone."""
    if not exercise.mistakes:
        yield "it has no mistake, expected one or more"
    for name, wrong in exercise.mistakes.items():
        for seed in seeds:
            report = check(exercise, wrong, seed=seed)
            others = ", ".join(repr(other) for other in report.names if other != name)
            if report.passed:
                yield f"the mistake {name!r} passes (seed {seed}): add a case that shows it"
            elif others:
                yield f"the mistake {name!r} is taken for {others} (seed {seed}): they are alike"
            elif not report.names:
                yield f"the mistake {name!r} fails, but not under its name (seed {seed})"
            else:
                continue
            break


def terms_add_up(exercise: Exercise, seeds: Sequence[int]) -> Iterator[str]:
    """The terms of an output are its addends."""
    for case in exercise.cases(np.random.default_rng(seeds[-1])) if exercise.terms else ():
        expected = named(exercise, exercise.reference(**case.args))
        for name, terms in exercise.terms(**case.args).items():  # type: ignore[misc]
            if not np.allclose(sum(terms.values()), expected[name], rtol=1e-9, atol=1e-9):
                yield f"the terms of {name} do not add up to it"
                return


def all_is_said(exercise: Exercise, seeds: Sequence[int]) -> Iterator[str]:
    """No text is empty, each parameter is named, and each translation is of today's English."""
    for name, text in exercise.said.items():
        if not text.en.strip() or not text.zh.strip():
            yield f"{name} is empty"
    shown = f"{exercise.statement} {exercise.reference.__doc__}".replace(r"\epsilon", "eps")
    for name in exercise.parameters:
        if not re.search(rf"(?<![a-z0-9_]){name}(?![a-z0-9_])", shown):
            yield f"the statement does not name the parameter {name}"
    page = beside(exercise.file)
    marked = read(page)[exercise.id].marks if page.is_file() else {}
    if marked:  # or nobody wants to be told
        for name in stale(exercise.file, exercise.id, exercise.english):
            yield f"{page.name}: {name} is of an English that has changed"


def nothing_is_given_away(exercise: Exercise, seeds: Sequence[int]) -> Iterator[str]:
    """No line of the solution stands in what a learner is given."""
    shown = exercise.stub + "".join(exercise.said["statement"])
    body = exercise.solution.partition('"""')[2].partition('"""')[2]
    for line in map(str.strip, body.splitlines()):
        if len(line) >= 12 and line in shown:
            yield f"the stub or the statement holds a line of the solution: {line}"


BATTERY: tuple[Callable[[Exercise, Sequence[int]], Iterator[str]], ...] = (
    cases_are_calls,
    the_reference_passes,
    the_stub_fails,
    every_mistake_is_named,
    terms_add_up,
    all_is_said,
    nothing_is_given_away,
)


def defined(source: str, exercise: Exercise) -> Callable[..., Any]:
    """Return the exercise's function as a source defines it."""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    function: Callable[..., Any] = namespace[exercise.function]
    return function


def _failed(report: Report) -> str:
    """Return the first property that failed, and why; "" if none did."""
    failed = next((result for result in report.results if not result.passed), None)
    because = f": {failed.message.en}" if failed and failed.message else ""
    return f"{failed.name.en}{because}" if failed else ""

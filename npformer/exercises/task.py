"""What there is to solve, whatever it is checked by: exercises and bugs to find."""

import difflib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.exercises.checker import Report, check
from npformer.exercises.course import EXERCISES
from npformer.exercises.exercise import HEADER, SOLUTION_HEADER, Exercise
from npformer.exercises.text import Text


class Task(NamedTuple):
    """One function to write."""

    id: str
    title: Text
    statement: Text
    chapter: str
    place: str  # "01_calculus/07_softmax.py", in a learner's folder
    function: str
    parameters: tuple[str, ...]
    code: str  # what the learner begins with
    hints: tuple[Text, ...]
    solution: Callable[[], str]  # a file that passes
    behind: Callable[[], str]  # source to read: the library's
    check: Callable[[Callable[..., Any]], Report]
    tracks: tuple[str, ...]
    difficulty: int
    minutes: int
    shapes: Callable[[], dict[str, str]] = dict  # of the smallest case, by name


@cache
def tasks() -> tuple[Task, ...]:
    """Return all, in the order of the course."""
    chapters = list(dict.fromkeys(exercise.topic for exercise in EXERCISES))
    made = []
    for chapter, topic in enumerate(chapters, start=1):
        members = [exercise for exercise in EXERCISES if exercise.topic == topic]
        for number, exercise in enumerate(members, start=1):
            name = exercise.id.replace("-", "_")
            made.append(_of_exercise(exercise, f"{chapter:02}_{topic}/{number:02}_{name}.py"))
    return tuple(made)


def find(task_id: str) -> Task:
    """Return the one of this id.

    Raises
    ------
    InputError
        If there is none; it says which ids are like it.
    """
    by_id = {task.id: task for task in tasks()}
    if task_id not in by_id:
        near = difflib.get_close_matches(str(task_id), by_id, n=3) or [*list(by_id)[:3], "..."]
        raise InputError(f"id: got {task_id!r}, expected an exercise such as {', '.join(near)}")
    return by_id[task_id]


def _of_exercise(exercise: Exercise, place: str) -> Task:
    return Task(
        id=exercise.id,
        title=exercise.title,
        statement=exercise.statement,
        chapter=exercise.topic,
        place=place,
        function=exercise.function,
        parameters=exercise.parameters,
        code=f"{HEADER}\n\n{exercise.stub}",
        hints=exercise.hints,
        solution=lambda: f"{SOLUTION_HEADER}\n\n{exercise.solution}",
        behind=lambda: exercise.library_source,
        check=lambda fn: check(exercise, fn),
        tracks=exercise.tracks,
        difficulty=exercise.difficulty,
        minutes=exercise.minutes,
        shapes=lambda: _shapes(exercise),
    )


def _shapes(exercise: Exercise) -> dict[str, str]:
    args = exercise.cases(np.random.default_rng(0))[0].args
    given = {name: _shape(value) for name, value in args.items()}
    value = exercise.reference(**args)
    values = value if len(exercise.outputs) > 1 else (value,)
    # An output may be called like an input: the new state of an optimizer, say.
    return given | {
        f"→ {name}": _shape(value) for name, value in zip(exercise.outputs, values, strict=True)
    }


def _shape(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.shape} {value.dtype}"
    return str(value) if isinstance(value, int | float | str | None) else type(value).__name__

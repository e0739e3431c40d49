"""What there is to solve, whatever it is checked by: exercises and bugs to find."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.checker import Report, Result, check
from npformer.exercises.course import OURS, Course
from npformer.exercises.exercise import HEADER, SOLUTION_HEADER, Exercise, unnumbered
from npformer.exercises.lookup import by_id
from npformer.exercises.museum import BUGS, Bug, check_test
from npformer.exercises.quiz.deck import of_exercise
from npformer.exercises.text import Text
from npformer.exercises.translation import message

FIND_THE_BUG = "find_the_bug"
CATCH_IT = message("write the test that catches it")
WRITE_A_TEST = message(
    "Somebody wrote this function with a bug. The title names it on purpose: the task "
    "is the test. Write one that passes on right code and fails on the bug; you see "
    "neither. Right code may differ from yours in the last digits: compare with "
    "np.allclose, not with ==."
)


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
    behind: Callable[[], str]  # source to read: the library's, or the bug's
    check: Callable[..., Report]  # of a function; library=True lets it call npformer
    exercise: str  # the id of what it practises: its own, or a bug's nearest
    docs: str  # the page that derives it; somebody's own course may have none
    course: str  # its place
    tracks: tuple[str, ...]
    difficulty: int
    minutes: int
    shapes: Callable[[], dict[str, str]] = dict  # of the smallest case, by name
    afterword: tuple[Text, ...] = ()  # for whoever has solved it

    @property
    def reading(self) -> Text:
        """Where it is derived, and what an interview asks about it; empty without a page."""
        if not self.docs:
            return Text("", "")
        page = f"docs/{self.docs}"
        cards = [card.id for card in of_exercise(self.exercise)]
        return Text(
            f"To read: {page} in the repository. "
            f"Interview cards (npformer quiz --show ID): {', '.join(cards)}",
            f"延伸阅读：仓库中的 {page}。面试卡片（npformer quiz --show ID）：{'、'.join(cards)}",
        )


@cache
def tasks(course: Course = OURS) -> tuple[Task, ...]:
    """Return all, in the order of the course; ours ends with the bugs."""
    made = []
    topics = list(dict.fromkeys(exercise.topic for exercise in course.exercises))
    for chapter, topic in enumerate(topics, start=1):
        members = [exercise for exercise in course.exercises if exercise.topic == topic]
        for number, exercise in enumerate(members, start=1):
            place = _place(chapter, topic, number, exercise.id)
            made.append(_of_exercise(exercise, place, course.place))
    for number, bug in enumerate(() if course.place else BUGS, start=1):
        made.append(_of_bug(bug, _place(len(topics) + 1, FIND_THE_BUG, number, bug.id)))
    return tuple(made)


def find(task_id: str, course: Course = OURS) -> Task:
    """Return the one of this id, which may also be the path of its file.

    Raises
    ------
    InputError
        If there is none; it says which ids are like it.
    """
    return by_id(tasks(course), _id(str(task_id)), "an exercise")


def _id(given: str) -> str:
    """Return "softmax-backward" for "01_calculus/08_softmax_backward.py" and any part of it."""
    name = re.split(r"[/\\]", given)[-1].removesuffix(".py")
    return unnumbered(name).replace("_", "-")


def _place(chapter: int, topic: str, number: int, task_id: str) -> str:
    return f"{chapter:02}_{topic}/{number:02}_{task_id.replace('-', '_')}.py"


def _of_exercise(exercise: Exercise, place: str, course: str) -> Task:
    said = exercise.said
    return Task(
        id=exercise.id,
        title=said["title"],
        statement=exercise.task,
        chapter=exercise.topic,
        place=place,
        function=exercise.function,
        parameters=exercise.parameters,
        code=f"{HEADER}\n\n{exercise.stub}",
        hints=tuple(said[f"hint-{i}"] for i in (1, 2, 3)),
        solution=lambda: f"{SOLUTION_HEADER}\n\n{exercise.solution}",
        behind=lambda: exercise.library_source,
        check=lambda fn, library=False: check(exercise, fn, library=library),
        exercise=exercise.id,
        docs=exercise.docs,
        course=course,
        tracks=exercise.tracks,
        difficulty=exercise.difficulty,
        minutes=exercise.minutes,
        shapes=lambda: _shapes(exercise),
    )


def _of_bug(bug: Bug, place: str) -> Task:
    said = bug.said
    return Task(
        id=bug.id,
        title=said["title"],
        statement=Text(
            f"{WRITE_A_TEST.en}\n\n{said['statement'].en}",
            f"{WRITE_A_TEST.zh}\n\n{said['statement'].zh}",
        ),
        chapter=FIND_THE_BUG,
        place=place,
        function="test",
        parameters=("fn",),
        code=f"{HEADER}\n\n{bug.stub}",
        hints=(said["story"], said["symptom"]),
        solution=lambda: f"{HEADER}\n\n{bug.solution}",
        behind=lambda: bug.wrong_source,
        check=lambda fn, library=False: _check_test(bug, fn),
        exercise=bug.exercise,
        docs=OURS.find(bug.exercise).docs,
        course=OURS.place,
        tracks=bug.tracks,
        difficulty=2,
        minutes=10,
        afterword=(said["story"], said["symptom"]),
    )


def _check_test(bug: Bug, test: Callable[..., Any]) -> Report:
    found = check_test(bug, test)
    result = Result(message("your test"), found.passed, None, found.message)
    return Report(bug.id, bug.said["title"], [result], [], [])


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

"""``npformer learn`` new and verify, for who writes exercises; each returns the exit code."""

from collections.abc import Callable
from pathlib import Path

from npformer.exercises import skeleton
from npformer.exercises.course import Course
from npformer.exercises.verify import problems


def new(
    exercise_id: str, course: Path, chapter: str, chinese: bool, say: Callable[[str], None]
) -> int:
    """Write an exercise to begin with."""
    for path in skeleton.new(exercise_id, course, chapter, chinese=chinese):
        say(str(path))
    say(f"It is complete: change it step by step, and run: npformer learn verify {course}")
    return 0


def verify(course: Course, seeds: int, say: Callable[[str], None]) -> int:
    """Say a line for each exercise that is right, and for each problem."""
    wrong = 0
    for exercise in course.exercises:
        found = problems(exercise, seeds)
        wrong += bool(found)
        mistakes = len(exercise.mistakes)
        for line in found or [f"{exercise.id}: right ({mistakes} mistakes, {seeds} seeds)"]:
            say(line)
    say(f"{len(course.exercises) - wrong} right, {wrong} wrong.")
    return 1 if wrong else 0

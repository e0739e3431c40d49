"""All exercises, in an order that teaches."""

from npformer.checks import InputError
from npformer.exercises import (
    attention,
    calculus,
    distillation,
    encoder,
    optimization,
    positions,
    programs,
)
from npformer.exercises.exercise import Exercise

EXERCISES: tuple[Exercise, ...] = (
    *calculus.EXERCISES,
    *attention.EXERCISES,
    *positions.EXERCISES,
    *encoder.EXERCISES,
    *optimization.EXERCISES,
    *distillation.EXERCISES,
    *programs.EXERCISES,
)


def find(exercise_id: str) -> Exercise:
    """Return the exercise of this id.

    Raises
    ------
    InputError
        If there is none; it says which ids are like it.
    """
    import difflib

    by_id = {exercise.id: exercise for exercise in EXERCISES}
    if exercise_id not in by_id:
        near = difflib.get_close_matches(exercise_id, by_id, n=3) or [*list(by_id)[:3], "..."]
        raise InputError(f"id: got {exercise_id!r}, expected an exercise such as {', '.join(near)}")
    return by_id[exercise_id]

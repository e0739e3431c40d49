"""All exercises, in an order that teaches."""

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
from npformer.exercises.lookup import by_id

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
    return by_id(EXERCISES, exercise_id, "an exercise")

"""A case that was tried."""

from typing import Any, NamedTuple

from npformer.exercises.checker.call import Outcome
from npformer.exercises.exercise import Exercise


class Trial(NamedTuple):
    """A case, what was expected of it, and what the learner's function did."""

    args: dict[str, Any]
    part: str
    expected: dict[str, Any]  # by output
    outcome: Outcome


def named(exercise: Exercise, value: Any) -> dict[str, Any]:
    """Return the outputs by their names; empty if their number is wrong."""
    if len(exercise.outputs) == 1:
        return {exercise.outputs[0]: value}
    if not isinstance(value, tuple) or len(value) != len(exercise.outputs):
        return {}
    return dict(zip(exercise.outputs, value, strict=True))

"""Where a NaN comes from."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from npformer.exercises.checker.trial import Trial
from npformer.exercises.text import Text
from npformer.exercises.translation import message
from npformer.types import BoolArray


def not_finite(output: str, trials: list[Trial], got: list[Any]) -> Iterator[Text]:
    """Yield which of the learner's variables is 0, or infinite, where a result is NaN.

    An argument may well be 0 there; that says little.
    """
    for trial, value in zip(trials, got, strict=True):
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            continue
        expected = trial.expected[output]
        if np.shape(expected) != value.shape or isinstance(expected, dict):
            continue
        strange = ~np.isfinite(value) & np.isfinite(expected)
        if not strange.any():
            continue
        what = Text("NaN", " NaN") if np.isnan(value[strange]).any() else message("infinite")
        for name, array in trial.outcome.local.items():  # the arguments are among them
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                continue
            if _covers(np.isinf(array), strange):
                yield message(
                    "{output} is {what} where {name} is infinite: something in it overflows",
                    output=output,
                    what=what,
                    name=name,
                )
            elif name not in trial.args and _covers(array == 0, strange):
                yield message(
                    "{output} is {what} where {name} is 0: it is divided by, or its logarithm is "
                    "taken",
                    output=output,
                    what=what,
                    name=name,
                )
        return


def _covers(odd: BoolArray, strange: BoolArray) -> bool:
    """Whether every strange entry is where the other is odd, or in a row that has one."""
    if not odd.any() or odd.all():
        return False
    if odd.shape == strange.shape:
        return not (strange & ~odd.any(axis=-1, keepdims=True)).any()
    try:
        spread = np.broadcast_to(odd, strange.shape)
    except ValueError:
        return False
    return not (strange & ~spread).any()

"""The properties that any good function has: types kept, inputs untouched, no state, own work."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from npformer.exercises.checker.call import Outcome, call
from npformer.exercises.checker.report import Result
from npformer.exercises.checker.trial import Trial, named
from npformer.exercises.exercise import Exercise
from npformer.exercises.text import Text
from npformer.exercises.translation import message

FLOAT32 = message("float32 stays float32")
UNTOUCHED = message("inputs untouched")
TWICE = message("the same twice")
PRINTS = message("note: it prints, which is not shown")
OWN_WORK = message("written by hand")


def manners(exercise: Exercise, fn: Callable[..., Any], trials: list[Trial]) -> Iterator[Result]:
    """Yield the properties that have nothing to do with the values."""
    ran = [trial for trial in trials if trial.outcome.error is None]
    if not ran:
        return
    if exercise.float32:
        yield Result(FLOAT32, *_float32(exercise, fn, ran[0].args))
    changed = dict.fromkeys(name for trial in ran for name in trial.outcome.changed)
    said = ", ".join(changed)
    yield Result(
        UNTOUCHED,
        not changed,
        None,
        message(
            "it writes into {said}: make a new array instead of +=, out= or x[...] = on an input",
            said=said,
        )
        if changed
        else None,
    )
    if any(trial.outcome.printed for trial in ran):
        yield Result(PRINTS, True)
    again = call(fn, ran[0].args, None)
    same = again.error is None and _bits_equal(again.value, ran[0].outcome.value)
    yield Result(
        TWICE,
        same,
        None,
        None
        if same
        else message(
            "a second call with the same inputs gives something else: it keeps a state, or "
            "draws random numbers of its own"
        ),
    )
    called = next((trial.outcome.library for trial in ran if trial.outcome.library), "")
    yield Result(
        OWN_WORK,
        not called,
        None,
        message("it calls npformer's {called}: write it with NumPy alone", called=called)
        if called
        else None,
    )


def _float32(
    exercise: Exercise, fn: Callable[..., Any], args: dict[str, Any]
) -> tuple[bool, float | None, Text | None]:
    single = {name: to_float32(value) for name, value in args.items()}
    expected, got = call(exercise.reference, single, None), call(fn, single, None)
    if got.error is not None:
        return False, None, got.error
    for name, wanted, value in _arrays_of(exercise, expected, got):
        if wanted.dtype != np.float32:
            continue
        if getattr(value, "dtype", None) != np.float32:
            kind = getattr(value, "dtype", None)
            if kind is None:  # not even an array: that has been said
                return False, None, None
            return (
                False,
                None,
                message(
                    "{name}: got {kind} from float32 inputs, expected float32. float64 comes in "
                    "with an array made without dtype, such as np.zeros(n), and with numbers of "
                    "NumPy's: np.sqrt(K) (take K**0.5), keep.sum() (take int(keep.sum())), and "
                    "with a number times a mask",
                    name=name,
                    kind=kind,
                ),
            )
    return True, None, None


def _arrays_of(
    exercise: Exercise, expected: Outcome, got: Outcome
) -> Iterator[tuple[str, Any, Any]]:
    wanted, given = named(exercise, expected.value), named(exercise, got.value)
    for name in exercise.outputs:
        if isinstance(wanted[name], np.ndarray) and wanted[name].ndim:
            yield name, wanted[name], given[name]


def to_float32(value: Any) -> Any:
    """Return the value with all its float64 arrays in float32."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(np.float32)
    if isinstance(value, dict):
        return {name: to_float32(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_float32(one) for one in value)
    return value


def _bits_equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return (
            isinstance(b, dict) and a.keys() == b.keys() and all(_bits_equal(a[k], b[k]) for k in a)
        )
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_bits_equal, a, b))
    if isinstance(a, np.ndarray | np.generic | int | float):
        x, y = np.asarray(a), np.asarray(b)
        return x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
    return bool(a == b)

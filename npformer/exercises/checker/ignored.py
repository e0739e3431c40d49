"""Whether a result is what comes out if an argument is left aside, or two are exchanged."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.checker.alike import alike
from npformer.exercises.checker.call import call
from npformer.exercises.checker.trial import Trial, named
from npformer.exercises.exercise import Exercise
from npformer.exercises.text import Text
from npformer.exercises.translation import message


class Change(NamedTuple):
    """A change of the arguments; ``back`` is applied to the result."""

    apply: Callable[..., dict[str, Any]]
    text: Text
    back: Callable[[Any], Any] = lambda value: value


def ignored(exercise: Exercise, output: str, trials: list[Trial], got: list[Any]) -> Iterator[Text]:
    """Yield the changes of the arguments under which the reference gives what the learner has."""
    for change in _changes(exercise.parameters, trials):
        outcomes = []
        for trial in trials:
            outcome = call(exercise.reference, change.apply(trial.args), None)
            if outcome.error is not None:
                break
            outcomes.append(change.back(named(exercise, outcome.value)[output]))
        if len(outcomes) < len(trials):
            continue
        expected = [trial.expected[output] for trial in trials]
        same = all(map(alike, got, outcomes))
        if same and not all(map(alike, outcomes, expected)):
            yield Text(f"{output}: {change.text.en}", f"{output}：{change.text.zh}")


def _changes(names: tuple[str, ...], trials: list[Trial]) -> Iterator[Change]:
    for name in names:
        for value, text in _neutral(name, [trial.args[name] for trial in trials]):
            yield Change(lambda args, n=name, v=value: args | {n: v(args[n])}, text)
    for a, b in itertools.combinations(names, 2):
        if all(_exchangeable(trial.args[a], trial.args[b]) for trial in trials):
            text = message("{a} and {b} are exchanged", a=a, b=b)
            yield Change(lambda args, a=a, b=b: args | {a: args[b], b: args[a]}, text)
    for a, b in itertools.permutations(names, 2):
        if all(_exchangeable(trial.args[a], trial.args[b]) for trial in trials):
            text = message("{b} is used where {a} belongs", b=b, a=a)
            yield Change(lambda args, a=a, b=b: args | {a: args[b]}, text)
    yield Change(
        lambda args: {name: _turned(value) for name, value in args.items()},
        message("the sums run along the wrong axis"),
        back=_turned,
    )


def _neutral(name: str, values: list[Any]) -> Iterator[tuple[Any, Text]]:
    ignored = message("{name} is ignored", name=name)
    first = next((value for value in values if value is not None), None)
    if any(value is not None for value in values):
        yield lambda _: None, ignored
    if isinstance(first, np.ndarray) and first.dtype == bool:
        yield lambda v: v if v is None else np.ones_like(v), ignored
        yield (
            lambda v: v if v is None else ~v,
            message("{name} is the wrong way round: True is taken for False", name=name),
        )
    elif isinstance(first, np.ndarray) and first.dtype.kind == "f":
        yield (
            _scrambled,
            message("{name} is reshaped where it must be transposed: that scrambles it", name=name),
        )
        for fill in (np.ones_like, np.zeros_like):
            number = fill(np.empty(1)).item()
            yield (
                lambda v, fill=fill: v if v is None else fill(v),
                message(
                    "it is as if {name} were {number:g} everywhere: {name} is forgotten",
                    name=name,
                    number=number,
                ),
            )
    elif isinstance(first, int | float) and not isinstance(first, bool):
        for n in (1, 0):
            yield (
                lambda v, n=n: v if v is None else type(v)(n),
                message("it is as if {name} were {n}: {name} is forgotten", name=name, n=n),
            )


def _scrambled(array: Any) -> Any:
    """Return what x.reshape(D, -1) has at the places of x.reshape(-1, D).T."""
    if array is None or array.ndim < 2 or not array.size:
        return array
    width = array.shape[-1]
    return array.reshape(width, -1).T.reshape(array.shape)


def _turned(value: Any) -> Any:
    """Exchange the last two axes of a float array."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim >= 2:
        return value.swapaxes(-1, -2)
    return value


def _exchangeable(a: Any, b: Any) -> bool:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return False
    return a.dtype == b.dtype and a.ndim == b.ndim

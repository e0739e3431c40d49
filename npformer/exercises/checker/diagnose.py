"""Which mistake was made: first those that an exercise names, then those that anyone makes."""

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.checker.alike import alike
from npformer.exercises.checker.arrays import describe
from npformer.exercises.checker.call import call
from npformer.exercises.checker.compare import difference
from npformer.exercises.checker.ignored import ignored
from npformer.exercises.checker.not_finite import not_finite
from npformer.exercises.checker.pairs import Pair
from npformer.exercises.checker.steps import first_wrong_step
from npformer.exercises.checker.trial import Trial, named
from npformer.exercises.exercise import Exercise
from npformer.exercises.text import Text
from npformer.exercises.translation import message
from npformer.types import BoolArray, FloatArray

Outputs = dict[str, Any] | str  # of a case: by name, or the exception's class


class Found(NamedTuple):
    """A mistake; ``name`` if it is one of those that the exercise names."""

    text: Text
    name: str = ""


def diagnose(exercise: Exercise, trials: list[Trial]) -> list[Found]:
    """Return what the mistake is, the surest first.

    1. A mistake of the exercise that gives the same on every case.
    2. For each output that is wrong: a mistake of the exercise that is wrong there in the same way;
       or a factor, a sign, a transpose, a missing sum, a term of the formula, an argument ignored.
    3. The first intermediate result that differs.

    Parameters
    ----------
    exercise : Exercise
    trials : list of Trial
        All cases, at least one of them wrong.
    """

    @cache  # a case may be of real size: it is tried once, and only if somebody asks
    def tried(name: str, i: int) -> Outputs:
        outcome = call(exercise.mistakes[name], trials[i].args, None)
        return outcome.kind or named(exercise, outcome.value)

    for name in exercise.mistakes:
        if all(_same(exercise, tried(name, i), trial) for i, trial in enumerate(trials)):
            return [Found(exercise.said[name], name)]
    named_only = False
    for group in _groups(trials):
        cases = {i: trials[i] for i in group}
        if any(trial.outcome.error is not None for trial in cases.values()):
            continue  # its message says what is wrong
        found = [
            (output, one)
            for output in exercise.outputs
            for one in _of_output(exercise, output, cases, tried)
            if one.name or not named_only
        ]
        if found:
            return _together(exercise, found)
        # The first cases that are wrong show it best; what the others look like may be chance.
        named_only = named_only or any(_is_wrong(exercise, t) for t in cases.values())
    texts = [*_of_exceptions(trials), *first_wrong_step(exercise, trials)]
    return [Found(text) for text in texts[:1]]


# What NumPy says, and what it usually means.
EXCEPTIONS = {
    "could not be broadcast together": message(
        "two shapes do not meet: often a sum or mean has lost its axis, which `keepdims=True` keeps"
    ),
    "mismatch in its core dimension": message(
        "the inner sizes of a matrix product differ: one of the two is to be transposed, "
        "or they are the wrong way round"
    ),
    "cannot reshape array": message(
        "a reshape to another number of entries: which axes are to be merged or split?"
    ),
}


def _of_exceptions(trials: list[Trial]) -> Iterator[Text]:
    for trial in trials:
        error = trial.outcome.error
        if error is not None:
            yield from (text for words, text in EXCEPTIONS.items() if words in error.en)


def _together(exercise: Exercise, found: list[tuple[str, Found]]) -> list[Found]:
    """Say a mistake once, of all outputs that it spoils."""
    outputs: dict[Found, list[str]] = {}
    for output, one in found:
        outputs.setdefault(one, []).append(output)
    said = []
    for one, names in outputs.items():
        text = one.text
        if one.name and len(exercise.outputs) > 1:
            listed = ", ".join(names)
            text = Text(f"{listed}: {text.en}", f"{listed}：{text.zh}")
        said.append(Found(text, one.name))
    return said


def _is_wrong(exercise: Exercise, trial: Trial) -> bool:
    got = named(exercise, trial.outcome.value)
    return not all(
        difference(got.get(name), right, name).right for name, right in trial.expected.items()
    )


def _groups(trials: list[Trial]) -> Iterator[list[int]]:
    """Yield the numbers of the cases of each part, the plain ones first."""
    for part in dict.fromkeys(["", *(trial.part for trial in trials)]):
        yield [i for i, trial in enumerate(trials) if trial.part == part]


def _same(exercise: Exercise, outcome: Outputs, trial: Trial) -> bool:
    """Whether a mistake and the learner have the same results, or the same exception."""
    if isinstance(outcome, str) or trial.outcome.error is not None:
        return outcome == trial.outcome.kind
    got = named(exercise, trial.outcome.value)
    return bool(got) and all(alike(got[name], value) for name, value in outcome.items())


def _of_output(
    exercise: Exercise,
    output: str,
    cases: Mapping[int, Trial],
    tried: Callable[[str, int], Outputs],
) -> list[Found]:
    """Return what is wrong with one output on these cases; nothing if it is right."""
    got = {i: named(exercise, trial.outcome.value).get(output) for i, trial in cases.items()}
    expected = {i: trial.expected[output] for i, trial in cases.items()}
    if all(difference(got[i], expected[i], output).right for i in cases):
        return []

    def wrong(name: str, i: int) -> Any:
        outcome = tried(name, i)
        return None if isinstance(outcome, str) else outcome.get(output)

    for name in exercise.mistakes:
        same = all(wrong(name, i) is not None and alike(got[i], wrong(name, i)) for i in cases)
        if same and not all(alike(expected[i], wrong(name, i)) for i in cases):
            return [Found(exercise.said[name], name)]
    trials, values = list(cases.values()), list(got.values())
    texts = [
        *_of_arrays(exercise, output, trials, values),
        *ignored(exercise, output, trials, values),
        *not_finite(output, trials, values),
    ]
    return [Found(text) for text in texts[:1]]


def _of_arrays(
    exercise: Exercise, output: str, trials: list[Trial], got: list[Any]
) -> Iterator[Text]:
    """Yield what is wrong with the arrays of an output: it may be a dict of them."""
    arrays = [leaves(output, trial.expected[output]) for trial in trials]
    learners = [leaves(output, value) for value in got]
    for name in arrays[0]:
        if not all(name in each for each in [*arrays, *learners]):
            continue
        pairs = []
        for trial, right, own in zip(trials, arrays, learners, strict=True):
            pairs.append(_pair(exercise, name, trial, own[name], right[name]))
        if not all(difference(pair.got, pair.expected, name).right for pair in pairs):
            text = describe(name, pairs)
            if text is not None:
                yield text


def _pair(
    exercise: Exercise, name: str, trial: Trial, got: FloatArray, expected: FloatArray
) -> Pair:
    def ask(make: Callable[..., Mapping[str, Any]] | None) -> Mapping[str, Any]:
        return {} if make is None else make(**copy.deepcopy(trial.args))

    others: dict[str, FloatArray] = {}
    masks: dict[str, BoolArray] = {}
    for other, value in [*trial.args.items(), *ask(exercise.steps).items()]:
        others |= leaves(other, value)
        if isinstance(value, np.ndarray) and value.dtype == bool:
            masks[other] = value
            others[other] = value.astype(np.float64)
    terms = ask(exercise.terms).get(name, {})
    return Pair(got, expected, ask(exercise.factors), terms, others, masks)


def leaves(name: str, value: Any) -> dict[str, FloatArray]:
    """Return the float arrays in a value by name: its own, or those of its entries."""
    if isinstance(value, dict):
        return {
            k: v for key, one in value.items() for k, v in leaves(f"{name}[{key!r}]", one).items()
        }
    if isinstance(value, list | tuple):
        return {k: v for i, one in enumerate(value) for k, v in leaves(f"{name}[{i}]", one).items()}
    if isinstance(value, np.ndarray | np.generic | float):
        array = np.asarray(value)
        if array.dtype.kind == "f":
            return {name: array}
    return {}

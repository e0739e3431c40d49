"""Where nothing matches: the first intermediate result that differs."""

import copy
from typing import Any

import numpy as np

from npformer.exercises.checker.compare import TOLERANCE, difference
from npformer.exercises.checker.trial import Trial, named
from npformer.exercises.exercise import Exercise
from npformer.exercises.text import Text
from npformer.exercises.translation import message


def first_wrong_step(exercise: Exercise, trials: list[Trial]) -> list[Text]:
    """Show the first wrong entry, and the first of the learner's variables that differs.

    Variables are compared with the steps of the same name, in order. Without one that differs the
    right intermediate results of the case are shown.
    """
    trial = next((trial for trial in trials if _is_wrong(exercise, trial)), None)
    if trial is None:
        return []
    entry = _first_wrong_entry(exercise, trial)
    said = Text(
        f"It is none of the mistakes known here. {entry.en}".rstrip(),
        f"不是我们收录的常见错误。{entry.zh}",
    )
    steps = exercise.steps(**copy.deepcopy(trial.args)) if exercise.steps else {}
    agree = []
    for name, right in steps.items():
        # A variable of another shape is another thing of the same name.
        local = trial.outcome.local
        if name not in local or np.shape(local[name]) != np.shape(right):
            continue
        found = difference(local[name], right, name)
        if found.right:
            agree.append(name)
            continue
        how = found.message or message(
            "{name} differs by {error:.2g}", name=name, error=found.error
        )
        return [
            message(
                "{said} The first intermediate that differs from ours: {how}; ours begins {begin}.",
                said=said,
                how=how,
                begin=_begin(right),
            )
        ]
    if agree:
        listed = ", ".join(agree)
        said = message("{said} Your {listed} agrees with ours.", said=said, listed=listed)
    rest = [(name, right) for name, right in steps.items() if name not in agree]
    if not rest:
        return [said]
    shown = "; ".join(f"{name} {np.shape(right)} = {_begin(right)}" for name, right in rest)
    return [
        message(
            "{said} Compare with ours, on the first case that is wrong: {shown}.",
            said=said,
            shown=shown,
        )
    ]


def _first_wrong_entry(exercise: Exercise, trial: Trial) -> Text:
    got = named(exercise, trial.outcome.value)
    for name, right in trial.expected.items():
        if difference(got.get(name), right, name).right or not isinstance(
            right, np.ndarray | float
        ):
            continue
        own, ours = np.asarray(got[name], dtype=float), np.asarray(right)
        apart = np.abs(own - ours)
        scale = np.abs(ours[np.isfinite(ours)]).max(initial=1.0)
        at = np.unravel_index(int(np.argmax(apart > TOLERANCE * scale)), apart.shape)
        index = f"[{', '.join(str(int(i)) for i in at)}]" if at else ""
        values = f"{own[at]:.6g}", f"{ours[at]:.6g}"
        return message(
            "{name}{index}: got {got}, expected {expected}.",
            name=name,
            index=index,
            got=values[0],
            expected=values[1],
        )
    return Text("", "")


def _is_wrong(exercise: Exercise, trial: Trial) -> bool:
    if trial.outcome.error is not None:
        return False
    got = named(exercise, trial.outcome.value)
    found = [difference(got.get(name), right, name) for name, right in trial.expected.items()]
    # A message, of a shape or a NaN, says more than an intermediate result would.
    return not all(one.right for one in found) and all(one.message is None for one in found)


def _begin(value: Any) -> str:
    flat = np.ravel(value)[:4]
    more = ", ..." if np.size(value) > 4 else ""
    return "[" + ", ".join(f"{x:.5g}" for x in flat) + more + "]"

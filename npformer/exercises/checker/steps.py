"""Where nothing matches: the first intermediate result that differs."""

import copy
from typing import Any

import numpy as np

from npformer.exercises.checker.compare import difference
from npformer.exercises.checker.trial import Trial, named
from npformer.exercises.exercise import Exercise
from npformer.exercises.text import Text


def first_wrong_step(exercise: Exercise, trials: list[Trial]) -> list[Text]:
    """Compare the learner's variables with the steps of the same name, in order.

    Without such a variable it shows the right intermediate results of the smallest case.
    """
    trial = next((trial for trial in trials if _is_wrong(exercise, trial)), None)
    if trial is None:
        return []
    nothing = Text("It is none of the mistakes known here.", "不是我们收录的常见错误。")
    steps = exercise.steps(**copy.deepcopy(trial.args)) if exercise.steps else {}
    for name, right in steps.items():
        if name in trial.outcome.local:
            found = difference(trial.outcome.local[name], right, name)
            # A variable of another shape is another thing of the same name.
            if not found.right and np.shape(trial.outcome.local[name]) == np.shape(right):
                how = found.message or Text(
                    f"{name} differs by {found.error:.2g}", f"{name} 相差 {found.error:.2g}"
                )
                return [
                    Text(
                        f"{nothing.en} The first intermediate that differs from ours: {how.en}; ours "
                        f"begins {_begin(right)}.",
                        f"{nothing.zh}第一个与参考实现不同的中间结果：{how.zh}；参考值的开头是 {_begin(right)}。",
                    )
                ]
    if not steps:
        return [nothing]
    shown = "; ".join(
        f"{name} {np.shape(right)} = {_begin(right)}" for name, right in steps.items()
    )
    return [
        Text(
            f"{nothing.en} Compare yours with ours, on the first case that is wrong: {shown}.",
            f"{nothing.zh}请在第一个出错的用例上，与参考实现的中间结果对照：{shown}。",
        )
    ]


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

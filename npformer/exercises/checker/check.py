"""The check of a learner's function: every property of an exercise, one by one."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.checker.call import Outcome, call
from npformer.exercises.checker.compare import Difference, difference
from npformer.exercises.checker.diagnose import diagnose
from npformer.exercises.checker.report import Report, Result
from npformer.exercises.checker.trial import Trial, named
from npformer.exercises.exercise import PARTS, Exercise
from npformer.exercises.text import Text

CALL = Text("can be called", "可以调用")
RETURNS = Text("what is returned", "返回值")
FLOAT32 = Text("float32 stays float32", "float32 仍为 float32")
UNTOUCHED = Text("inputs untouched", "不改动输入")
TWICE = Text("the same twice", "两次结果相同")
PRINTS = Text("prints nothing", "不打印")
OWN_WORK = Text("written by hand", "自己实现")


def check(exercise: Exercise, fn: Callable[..., Any], *, seed: int = 0) -> Report:
    """Judge a learner's function.

    Parameters
    ----------
    exercise : Exercise
    fn : callable
        Anything: whatever it does is reported, nothing of it is raised.
    seed : int
        Of the cases.

    Returns
    -------
    Report
        A property a line. With a wrong value somewhere, also what the mistake is.

    Notes
    -----
    All arrays are float64, and a value is right if it is within 1e-7 of the library's, relative to
    the largest entry of its array or to 1. There is no limit of time here: the terminal front has
    one.
    """
    problem = _cannot_call(exercise, fn)
    if problem is not None:
        return _stopped(exercise, Result(CALL, False, None, problem))
    trials = list(_trials(exercise, fn, seed))
    first = trials[0].outcome
    if first.kind == "NotImplementedError":
        return _stopped(exercise, Result(CALL, False, None, first.error))
    if first.error is None:
        problem = _shape_of_return(exercise, first.value)
        if problem is not None:
            return _stopped(exercise, Result(RETURNS, False, None, problem))
    results = [*_values(exercise, trials), *_manners(exercise, fn, trials)]
    report = Report(exercise.id, exercise.title, results, [], [])
    if report.passed:
        return report
    found = diagnose(exercise, trials)
    return Report(
        exercise.id,
        exercise.title,
        results,
        [one.text for one in found],
        [one.name for one in found if one.name],
    )


def _trials(exercise: Exercise, fn: Callable[..., Any], seed: int) -> Iterator[Trial]:
    code = exercise.reference.__code__
    # The official solution calls the library; whoever hands it in has asked for it.
    own = getattr(fn, "__code__", None)
    official = own is not None and (own.co_code, own.co_names) == (code.co_code, code.co_names)
    for case in exercise.cases(np.random.default_rng(seed)):
        expected = call(exercise.reference, case.args, None)
        if expected.error is not None:
            raise ValueError(f"{exercise.id}: the reference fails on its case: {expected.error.en}")
        outcome = call(fn, case.args, code)
        if official:
            outcome.library = ""
        yield Trial(case.args, case.part, named(exercise, expected.value), outcome)


def _cannot_call(exercise: Exercise, fn: Any) -> Text | None:
    names = exercise.parameters
    wanted = f"{exercise.function}({', '.join(names)})"
    if not callable(fn):
        kind = type(fn).__name__
        return Text(
            f"fn: got a {kind}, expected the function {wanted}",
            f"应传入函数 {wanted}，而不是 {kind}",
        )
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return None  # a builtin without one; calling it will show
    try:
        signature.bind(*names)
    except TypeError:
        got = f"{exercise.function}{signature}"
        return Text(f"signature: got {got}, expected {wanted}", f"函数签名是 {got}，应为 {wanted}")
    return None


def _shape_of_return(exercise: Exercise, value: Any) -> Text | None:
    names = exercise.outputs
    listed = ", ".join(names)
    if value is None:
        return Text(
            f"got None, expected {listed}: is there a return?",
            f"返回了 None，应返回 {listed}：是不是忘了 return？",
        )
    if len(names) == 1:
        return None
    if not isinstance(value, tuple):
        kind = type(value).__name__
        return Text(
            f"got one {kind}, expected {len(names)} results: {listed}",
            f"只返回了一个 {kind}，应返回 {len(names)} 个结果：{listed}",
        )
    if len(value) != len(names):
        return Text(
            f"got {len(value)} results, expected {len(names)}: {listed}",
            f"返回了 {len(value)} 个结果，应为 {len(names)} 个：{listed}",
        )
    return None


def _stopped(exercise: Exercise, result: Result) -> Report:
    return Report(exercise.id, exercise.title, [result], [], [])


class _Property(NamedTuple):
    name: Text
    outputs: tuple[str, ...]
    trials: list[Trial]


def _values(exercise: Exercise, trials: list[Trial]) -> Iterator[Result]:
    plain = [trial for trial in trials if not trial.part]
    properties = [_Property(Text(name, name), (name,), plain) for name in exercise.outputs]
    for part in dict.fromkeys(trial.part for trial in trials if trial.part):
        of = [trial for trial in trials if trial.part == part]
        properties.append(_Property(Text(part, PARTS[part]), exercise.outputs, of))
    for name, outputs, of in properties:
        worst = Difference(0.0)
        for trial in of:
            if trial.outcome.error is not None:
                worst = Difference(float("nan"), trial.outcome.error)
                break
            problem = _shape_of_return(exercise, trial.outcome.value)
            if problem is not None:
                worst = Difference(float("nan"), problem)
                break
            got = named(exercise, trial.outcome.value)
            found = [difference(got[out], trial.expected[out], out) for out in outputs]
            worst = max([worst, *found], key=lambda d: (d.message is not None, d.error))
            if worst.message is not None:
                break
        error = worst.error if np.isfinite(worst.error) else None
        yield Result(name, worst.right, error, worst.message)


def _manners(exercise: Exercise, fn: Callable[..., Any], trials: list[Trial]) -> Iterator[Result]:
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
        Text(
            f"it writes into {said}: make a new array instead of +=, out= or x[...] = on an input",
            f"改动了输入 {said}：不要对输入用 +=、out= 或 x[...] =，而要新建数组",
        )
        if changed
        else None,
    )
    if any(trial.outcome.printed for trial in ran):
        said = "it prints; that is left out here, and does not count as an answer"
        yield Result(PRINTS, True, None, Text(said, "函数里有打印；这里不显示，也不算答案"))
    again = call(fn, ran[0].args, None)
    same = again.error is None and _bits_equal(again.value, ran[0].outcome.value)
    yield Result(
        TWICE,
        same,
        None,
        None
        if same
        else Text(
            "a second call with the same inputs gives something else: it keeps a state, or draws "
            "random numbers of its own",
            "同样的输入，第二次调用结果不同：函数保存了状态，或自己生成了随机数",
        ),
    )
    called = next((trial.outcome.library for trial in ran if trial.outcome.library), "")
    yield Result(
        OWN_WORK,
        not called,
        None,
        Text(
            f"it calls npformer's {called}: write it with NumPy alone",
            f"调用了 npformer 的 {called}：请只用 NumPy 自己写",
        )
        if called
        else None,
    )


def _float32(
    exercise: Exercise, fn: Callable[..., Any], args: dict[str, Any]
) -> tuple[bool, float | None, Text | None]:
    single = {name: _to_float32(value) for name, value in args.items()}
    expected, got = call(exercise.reference, single, None), call(fn, single, None)
    if got.error is not None:
        return False, None, got.error
    for name, wanted, value in _arrays_of(exercise, expected, got):
        if wanted.dtype != np.float32:
            continue
        if getattr(value, "dtype", None) != np.float32:
            kind = getattr(value, "dtype", type(value).__name__)
            return (
                False,
                None,
                Text(
                    f"{name}: got {kind} from float32 inputs, expected float32 (is there a float64 "
                    "array, such as np.zeros without dtype, or a float64 number in it?)",
                    f"{name}：输入是 float32，结果却是 {kind}（是不是用了不带 dtype 的 np.zeros 之类？）",
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


def _to_float32(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(np.float32)
    if isinstance(value, dict):
        return {name: _to_float32(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_float32(one) for one in value)
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

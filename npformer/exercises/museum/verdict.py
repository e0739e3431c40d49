"""Judging a learner's test: it must pass on the right code and fail on the bug.

The function under test is called through a probe that looks the same for both. Each test runs
several times, so that one that passes or fails by chance is caught. A last round on the right code
gets results whose last digits differ: code written in another order gives such results, and a test
that compares bits would call it wrong.

What counts as failing: an AssertionError, and any exception that leaves the function itself. Other
exceptions in the lines of the test count too, as they come from the bug: the same lines ran
through on the right code, round after round. The exception is a slip in a line that runs only when
the test fails, a name that does not exist: that is told, for the learner never saw it.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.museum.hall import find
from npformer.exercises.text import Text

ROUNDS = 3
NOISE = 1e-12  # of each number
# A slip of the test's author, whatever the function returned.
SLIPS = (NameError, ImportError, SyntaxError, NotImplementedError)

VERDICTS = ("found", "accepts", "unsteady", "rejects", "bits", "raised", "unwritten")

Test = Callable[[Callable[..., Any]], Any]


@dataclass(frozen=True)
class TestReport:
    """What came of a test, in one plain sentence.

    Parameters
    ----------
    bug : str
        The id.
    verdict : str
        Of `VERDICTS`.
    message : Text
    line : int or None
        Of the learner's file, where there is one.
    """

    __test__ = False  # pytest shall not collect it

    bug: str
    verdict: str
    message: Text
    line: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the bug was found and the right code accepted."""
        return self.verdict == "found"


class Round(NamedTuple):
    """One run of a test."""

    error: BaseException | None  # None: it passed
    line: int | None
    inside: bool  # the error left the function under test
    called: bool
    returned: Any


def check_test(bug: str | Bug, test: Test) -> TestReport:
    """Run a test on the right code and on the bug.

    Parameters
    ----------
    bug : str or Bug
        The id.
    test : callable
        ``test(fn)``: calls ``fn`` as the bug's statement says and asserts what must hold.

    Returns
    -------
    TestReport

    Raises
    ------
    InputError
        If there is no such bug or the test is no function. What the test itself does is reported.
    """
    bug = find(bug) if isinstance(bug, str) else bug
    if not callable(test):
        raise InputError(f"test: got {type(test).__name__}, expected a function test(fn)")

    def report(verdict: str, at: Round | None, en: str, zh: str) -> TestReport:
        return TestReport(bug.id, verdict, Text(en, zh), None if at is None else at.line)

    rounds = [_run(test, bug.right, bug) for _ in range(ROUNDS)]
    for r in (r for r in rounds if r.error is not None):
        if isinstance(r.error, NotImplementedError) and not r.inside:
            return report("unwritten", r, "Your test is not written yet.", "你的测试还没有写。")
        at, at_zh = _where(r.line)
        if isinstance(r.error, AssertionError):
            return report(
                "rejects",
                r,
                f"Your test rejects right code: its assertion{at} fails{_said(r.error, ' (', ')')}.",
                f"你的测试拒绝了正确的代码：{at_zh}断言失败{_said(r.error, '（', '）')}。",
            )
        return report("raised", r, *_raised(r, "on the right code", "在正确的代码上"))

    r = _run(test, _with_other_last_digits(bug.right), bug)
    if r.error is not None:
        at, at_zh = _where(r.line)
        return report(
            "bits",
            r,
            f"Your test rejects right code whose numbers differ by {NOISE:g} of their size{at}: "
            "compare with a tolerance, not to the last bit.",
            f"正确的代码换一种写法，数值会有 {NOISE:g} 的相对误差，你的测试{at_zh}拒绝了它："
            "比较时要留容差，不要逐位比较。",
        )

    rounds = [_run(test, bug.wrong, bug) for _ in range(ROUNDS)]
    failed = [r for r in rounds if r.error is not None]
    if not failed:
        return report("accepts", None, *_accepts(rounds[0]))
    r = failed[0]
    if isinstance(r.error, SLIPS) and not r.inside:
        return report("raised", r, *_raised(r, "on the bug", "在有错的代码上"))
    if len(failed) < ROUNDS:
        return report(
            "unsteady",
            r,
            f"Your test finds the bug in {len(failed)} of {ROUNDS} runs only: choose inputs that "
            "always show it, and give the generator a seed.",
            f"你的测试运行 {ROUNDS} 次只有 {len(failed)} 次发现错误：请选用必然暴露错误的输入，"
            "并固定随机数种子。",
        )
    at, at_zh = _where(r.line)
    how = "" if isinstance(r.error, AssertionError) else f" by a {type(r.error).__name__}"
    how_zh = "" if isinstance(r.error, AssertionError) else f"抛出 {type(r.error).__name__}，"
    return report(
        "found",
        r,
        f"Found: your test passes on the right code and fails on the bug{at}{how}.",
        f"找到了：你的测试通过了正确的代码，并且{at_zh}{how_zh}没有放过错误。",
    )


def _run(test: Test, function: Callable[..., Any], bug: Bug) -> Round:
    left: list[BaseException] = []
    calls = []

    def probe(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        try:
            return function(*args, **kwargs)
        except Exception as error:
            left.append(error)
            raise

    probe.__name__ = probe.__qualname__ = bug.function
    probe.__doc__ = bug.right.__doc__
    returned = None
    try:
        # A NaN is for the test to find, not for NumPy to warn of.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            returned = test(probe)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pytest.fail and sys.exit are no Exception
        return Round(error, _line(error, test), error in left, bool(calls), None)
    return Round(None, None, False, bool(calls), returned)


def _line(error: BaseException, test: Test) -> int | None:
    """Return the last line of the test's own file that the error went through."""
    code = getattr(test, "__code__", None)
    line = None
    step = error.__traceback__
    while step is not None and code is not None:
        if step.tb_frame.f_code.co_filename == code.co_filename:
            line = step.tb_lineno
        step = step.tb_next
    return line


def _with_other_last_digits(function: Callable[..., Any]) -> Callable[..., Any]:
    def rounded(*args: Any, **kwargs: Any) -> Any:
        return _other_last_digits(function(*args, **kwargs))

    return rounded


def _other_last_digits(x: Any) -> Any:
    """Change numbers by `NOISE` of their size, by the same factor at every call: slopes stay."""
    if isinstance(x, tuple | list):
        return type(x)(_other_last_digits(part) for part in x)
    if isinstance(x, float | np.floating):
        return x * (1 + NOISE)
    if isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating):
        return (x * (1 + NOISE * np.cos(np.arange(x.size))).reshape(x.shape)).astype(x.dtype)
    return x


def _accepts(r: Round) -> tuple[str, str]:
    if not r.called:
        return (
            "Your test accepts the bug: it never calls fn.",
            "你的测试放过了错误：它没有调用过 fn。",
        )
    if r.returned is not None:
        kind = type(r.returned).__name__
        return (
            f"Your test accepts the bug: it returns a {kind}, which nobody reads; use assert.",
            f"你的测试放过了错误：它返回了一个 {kind}，但没有人读取返回值；请用 assert。",
        )
    return (
        "Your test accepts the bug: it passes on the wrong code too.",
        "你的测试放过了错误：它在错误的代码上也通过了。",
    )


def _raised(r: Round, on: str, on_zh: str) -> tuple[str, str]:
    at, at_zh = _where(r.line)
    kind = type(r.error).__name__
    return (
        f"Your test raised {kind}{at} {on}{_said(r.error, ': ')}.",
        f"你的测试{at_zh}{on_zh}抛出了 {kind}{_said(r.error, '：')}。",
    )


def _where(line: int | None) -> tuple[str, str]:
    return ("", "") if line is None else (f" at your line {line}", f"在第 {line} 行")


def _said(error: BaseException | None, before: str, after: str = "") -> str:
    """Return the first line of an error's message, if it has one."""
    lines = str(error).split("\n") if error is not None else []
    first = next((line.strip().rstrip(".") for line in lines if line.strip()), "")
    return f"{before}{first}{after}" if first else ""

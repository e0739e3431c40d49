"""Judging a learner's test: it must pass on the right code and fail on the bug.

Each test runs several times, so that one that passes or fails by chance is caught. A last round on
the right code gets results whose last digits differ: code written in another order gives such
results, and a test that compares bits would call it wrong.

What counts as failing: an AssertionError, and any exception that leaves the function itself. Other
exceptions in the lines of the test count too, as they come from the bug: the test ran through on
the right code, round after round. The exception to that is a slip in a line that runs only when the
test fails, such as a name that does not exist: that is told, for the learner never saw it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from npformer.checks import InputError
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.museum.hall import find
from npformer.exercises.museum.rounds import NOISE, Round, Test, run, with_other_last_digits
from npformer.exercises.text import COLON, Text, language
from npformer.exercises.translation import message

ROUNDS = 3
# A slip of the test's author, whatever the function returned.
SLIPS = (NameError, ImportError, SyntaxError, NotImplementedError)

TOLERANCE = message(
    "Right code may differ in the last digits from what you expect: compare with np.allclose."
)
VERDICTS = ("found", "accepts", "unsteady", "rejects", "bits", "raised", "unwritten")


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
    def passed(self) -> bool:
        """Whether the bug was found and the right code accepted."""
        return self.verdict == "found"

    def text(self, lang: str | None = None) -> str:
        """Return it as a line."""
        lang = language(lang)
        return f"{self.bug}{COLON.to(lang)}{self.message.to(lang)}"

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Undo `to_json`."""
        return cls(data["bug"], data["verdict"], Text(*data["message"]), data["line"])

    def __str__(self) -> str:
        return self.text()


def check_test(bug: str | Bug, test: Test) -> TestReport:
    """Run a test on the right code and on the bug.

    Parameters
    ----------
    bug : str or Bug
        Its id will do.
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
    for _ in range(ROUNDS):
        r = run(test, bug.right, bug)
        if r.error is not None:
            return TestReport(bug.id, *_on_right_code(r), r.line)
    r = run(test, with_other_last_digits(bug.right), bug)
    if r.error is not None:
        return TestReport(bug.id, "bits", _bits(r), r.line)
    rounds = [run(test, bug.wrong, bug) for _ in range(ROUNDS)]
    failed = [r for r in rounds if r.error is not None]
    if not failed:
        return TestReport(bug.id, "accepts", _accepts(rounds[0]))
    return TestReport(bug.id, *_on_the_bug(failed), failed[0].line)


def _on_right_code(r: Round) -> tuple[str, Text]:
    if isinstance(r.error, NotImplementedError) and not r.inside:
        return "unwritten", message("Your test is not written yet.")
    if not isinstance(r.error, AssertionError):
        return "raised", _raised(r, message("on the right code"))
    at, at_zh = _where(r)
    return "rejects", Text(
        f"Your test rejects right code: its assertion{at} fails{_said(r.error, ' (', ')')}. "
        f"{TOLERANCE.en}",
        f"你的测试拒绝了正确的代码：{at_zh}断言失败{_said(r.error, '（', '）')}。{TOLERANCE.zh}",
    )


def _on_the_bug(failed: list[Round]) -> tuple[str, Text]:
    r = failed[0]
    if isinstance(r.error, SLIPS) and not r.inside:
        return "raised", _raised(r, message("on the bug"))
    if len(failed) < ROUNDS:
        return "unsteady", message(
            "Your test finds the bug in {found} of {rounds} runs only: choose inputs that "
            "always show it, and give the generator a seed.",
            found=len(failed),
            rounds=ROUNDS,
        )
    at, at_zh = _where(r)
    kind = "" if isinstance(r.error, AssertionError) else type(r.error).__name__
    how, how_zh = (f" by a {kind}", f"抛出 {kind}，") if kind else ("", "")
    return "found", Text(
        f"Found: your test passes on the right code and fails on the bug{at}{how}.",
        f"找到了：正确的代码通过了你的测试，有错的代码{at_zh and f'在{at_zh}'}{how_zh}没有通过。",
    )


def _accepts(r: Round) -> Text:
    if not r.called:
        return message("Your test accepts the bug: it never calls fn.")
    if r.returned is not None:
        kind = type(r.returned).__name__
        return message(
            "Your test accepts the bug: it returns a {kind}, which nobody reads; use assert.",
            kind=kind,
        )
    return message("Your test accepts the bug: it passes on the wrong code too.")


def _bits(r: Round) -> Text:
    at, at_zh = _where(r)
    return Text(
        f"Your test rejects right code whose numbers differ by {NOISE:g} of their size{at}: "
        "compare with a tolerance (np.allclose), not to the last bit.",
        f"正确的代码换一种写法，数值会有 {NOISE:g} 的相对误差，"
        f"你的测试{at_zh and f'在{at_zh}'}拒绝了它：比较时要留容差（np.allclose），不要逐位比较。",
    )


def _raised(r: Round, on: Text) -> Text:
    at, at_zh = _where(r)
    kind = type(r.error).__name__
    return Text(
        f"Your test raised {kind}{at} {on.en}{_said(r.error, ': ')}.",
        f"用{on.zh}运行时，你的测试{at_zh and f'在{at_zh}'}抛出了 {kind}{_said(r.error, '：')}。",
    )


def _where(r: Round) -> tuple[str, str]:
    if r.line is None:
        return "", ""
    code = f" `{r.code}`" if r.code else ""
    return f" at your line {r.line}{code}", f"第 {r.line} 行{code and f'{code} '}"


def _said(error: BaseException | None, before: str, after: str = "") -> str:
    """Return the first line of an error's message, if it has one."""
    lines = str(error).split("\n") if error is not None else []
    first = next((line.strip().rstrip(".") for line in lines if line.strip()), "")
    return f"{before}{first}{after}" if first else ""

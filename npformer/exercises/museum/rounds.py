"""One run of a learner's test: what it raised, where, and who raised it."""

import contextlib
import io
import linecache
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.museum.bugs import Bug

NOISE = 1e-12  # of each number

Function = Callable[..., Any]
Test = Callable[[Function], Any]


class Round(NamedTuple):
    """What came of one run."""

    error: BaseException | None  # None: it passed
    line: int | None  # of the learner's file
    code: str  # what stands in that line, if it can be read
    inside: bool  # the error left the function under test
    called: bool
    returned: Any


def run(test: Test, function: Function, bug: Bug) -> Round:
    """Run a test on a function, which looks the same whether it is right or wrong."""
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
    try:
        # A NaN is for the test to find, not for NumPy to warn of.
        with (
            np.errstate(all="ignore"),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            returned = test(probe)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pytest.fail and sys.exit are no Exception
        return Round(error, *_line(error, test), error in left, bool(calls), None)
    return Round(None, None, "", False, bool(calls), returned)


def with_other_last_digits(function: Function) -> Function:
    """Return the function with every number of its result changed by `NOISE` of its size."""

    def rounded(*args: Any, **kwargs: Any) -> Any:
        return _changed(function(*args, **kwargs))

    return rounded


def _changed(x: Any) -> Any:
    """Multiply by the same factors at every call, so that finite differences stay."""
    if isinstance(x, tuple | list):
        return type(x)(_changed(part) for part in x)
    if isinstance(x, float | np.floating):
        return x * (1 + NOISE)
    if isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating):
        factors = 1 + NOISE * np.cos(np.arange(x.size))
        return (x * factors.reshape(x.shape)).astype(x.dtype)
    return x


def _line(error: BaseException, test: Test) -> tuple[int | None, str]:
    """Return the last line of the test's own file that the error went through, and its text."""
    code = getattr(test, "__code__", None)
    line = None
    step = error.__traceback__
    while step is not None and code is not None:
        if step.tb_frame.f_code.co_filename == code.co_filename:
            line = step.tb_lineno
        step = step.tb_next
    text = linecache.getline(code.co_filename, line).strip() if code and line else ""
    return line, text

"""One call of a learner's function, and everything that may go wrong in it."""

import contextlib
import copy
import io
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from npformer.exercises.text import Text
from npformer.exercises.translation import message

PACKAGE = str(Path(__file__).parents[2])
EXERCISES = str(Path(__file__).parents[1])


@dataclass
class Outcome:
    """What a call gave."""

    value: Any = None
    error: Text | None = None  # a sentence about the exception, with the learner's own line
    kind: str = ""  # the exception's class
    printed: bool = False
    changed: list[str] = field(default_factory=list)  # arguments that were written to
    local: dict[str, Any] = field(default_factory=dict)  # the learner's variables at the end
    library: str = ""  # the first function of npformer that was called


def call(fn: Callable[..., Any], args: dict[str, Any], reference: CodeType | None) -> Outcome:
    """Call ``fn`` with copies of ``args``, by position.

    Parameters
    ----------
    fn : callable
    args : dict
        By parameter name, in the order of the exercise's signature.
    reference : code object
        Of the exercise's reference: to call it is to call the library.
    """
    outcome = Outcome()
    given = copy.deepcopy(args)
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        _watched(getattr(fn, "__code__", None), reference, outcome),
    ):
        warnings.simplefilter("ignore")
        try:
            outcome.value = fn(*given.values())
        except NotImplementedError:
            outcome.kind = "NotImplementedError"
            outcome.error = message("it is not written yet")
        except RecursionError:
            outcome.kind = "RecursionError"
            outcome.error = message("it calls itself without end")
        except (Exception, SystemExit) as error:
            outcome.kind = type(error).__name__
            outcome.error = _sentence(error)
    outcome.printed = bool(printed.getvalue())
    outcome.changed = [name for name in args if not unchanged(args[name], given[name])]
    return outcome


@contextlib.contextmanager
def _watched(own: CodeType | None, reference: CodeType | None, outcome: Outcome) -> Iterator[None]:
    """Note the learner's variables, and the first call into npformer, while the body runs."""
    cases = reference.co_filename if reference else None  # of somebody's own course

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is own:
            outcome.local = dict(frame.f_locals)
        elif event == "call" and not outcome.library and frame.f_back is not None:
            file, caller = frame.f_code.co_filename, frame.f_back.f_code.co_filename
            # What the cases hand over lives in the exercises; what it calls is its own matter.
            inside = file.startswith(PACKAGE) and not file.startswith(EXERCISES)
            outside = not caller.startswith(PACKAGE) and caller != cases
            if frame.f_code == reference or (inside and outside):
                outcome.library = frame.f_code.co_name

    before, before_in_threads = sys.getprofile(), threading.getprofile()
    sys.setprofile(watch)
    threading.setprofile(watch)
    try:
        yield
    finally:
        if sys.getprofile() is not watch:
            outcome.library = "functions, or may: it switches off what would see it"
        sys.setprofile(before)
        threading.setprofile(before_in_threads)


def _sentence(error: BaseException) -> Text:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(PACKAGE)
    ]
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    if not frames:
        return message("it raised {what}", what=what)
    # The last line of the learner's own file, not of NumPy's below it.
    own = [frame for frame in frames if frame.filename == frames[0].filename][-1]
    line = f"{own.lineno}: {own.line}" if own.line else f"{own.lineno}"
    return message("it raised {what}, at line {line}", what=what, line=line)


def unchanged(before: Any, after: Any) -> bool:
    """Whether an argument is as it was; generators and functions are not looked at."""
    if isinstance(before, np.ndarray):
        return bool(
            before.shape == after.shape
            and before.dtype == after.dtype
            and np.array_equal(before, after, equal_nan=before.dtype.kind in "fc")
        )
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(unchanged(before[k], after[k]) for k in before)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(unchanged, before, after))
    if isinstance(before, str | int | float | None):
        return bool(before == after)
    return True

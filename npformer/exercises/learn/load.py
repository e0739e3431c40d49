"""From a learner's file to its function; what stands in the way is said in one sentence."""

import difflib
import inspect
import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from npformer.exercises.task import Task
from npformer.exercises.text import Text
from npformer.exercises.translation import message


class Unusable(Exception):
    """A file without a function to check; it carries the sentence."""

    def __init__(self, said: Text) -> None:
        super().__init__(said.en)
        self.said = said


def load_function(path: Path, task: Task) -> Callable[..., Any]:
    """Run a file in a namespace of its own and return the function of an exercise.

    Raises
    ------
    Unusable
        If there is no file, if it does not run, or if it lacks the function.
    """
    linecache.checkcache(str(path))
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), namespace)
    except FileNotFoundError as error:
        if error.filename == str(path):
            raise Unusable(_no_file(path)) from None
        raise Unusable(_stopped(path, error)) from error
    except SyntaxError as error:
        raise Unusable(_syntax(path, error)) from error
    except (Exception, SystemExit) as error:
        raise Unusable(_stopped(path, error)) from error
    if not callable(namespace.get(task.function)):
        raise Unusable(_no_function(task, namespace))
    fn: Callable[..., Any] = namespace[task.function]
    return fn


def line_of(path: Path, number: int) -> Text:
    """Return how a line of the learner's is quoted."""
    code = linecache.getline(str(path), number).strip()
    quoted = f" `{code}`" if code else ""
    return message("line {number}{quoted}", number=number, quoted=quoted)


def _no_file(path: Path) -> Text:
    return message("{name} is not there: `npformer learn init` puts it back.", name=path.name)


def _syntax(path: Path, error: SyntaxError) -> Text:
    if error.filename != str(path) or error.lineno is None:
        return _stopped(path, error)
    line = line_of(path, error.lineno)
    return message("{line}: this is not Python yet ({msg}).", line=line, msg=error.msg)


def _stopped(path: Path, error: BaseException) -> Text:
    frames = traceback.extract_tb(error.__traceback__)
    numbers = [frame.lineno for frame in frames if frame.filename == str(path) and frame.lineno]
    line = line_of(path, numbers[-1]) if numbers else Text(path.name, path.name)
    if isinstance(error, SystemExit):
        return message(
            "{line} ends Python: take it out, the check goes on after your file.", line=line
        )
    what = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    return message("the file stops with an error in {line}: {what}", line=line, what=what)


def _no_function(task: Task, namespace: dict[str, Any]) -> Text:
    head = f"def {task.function}({', '.join(task.parameters)}):"
    if task.function in namespace:
        kind = type(namespace[task.function]).__name__
        return message(
            "{function} is of type {kind}, expected a function: `{head}`.",
            function=task.function,
            kind=kind,
            head=head,
        )
    own = [name for name, value in namespace.items() if inspect.isfunction(value)]
    near = difflib.get_close_matches(task.function, own, n=1)
    found = Text(f"; there is `{near[0]}`", f"；文件里有 `{near[0]}`") if near else Text("", "")
    return message("the function is missing, expected `{head}`{found}.", head=head, found=found)

"""What the test file in a learner's folder calls."""

from pathlib import Path

from npformer.exercises.learn import state
from npformer.exercises.learn.folder import Folder
from npformer.exercises.learn.load import Unusable, load_function
from npformer.exercises.task import find, tasks
from npformer.exercises.text import asked


def ids() -> list[str]:
    """Return the ids of all exercises, in order."""
    return [task.id for task in tasks()]


def verify(path: Path, task_id: str) -> None:
    """Check an answer in this process.

    Raises
    ------
    NotImplementedError
        If it is the stub.
    AssertionError
        With the report, if it is wrong.
    """
    folder = Folder(path)
    task = find(task_id)
    lang = asked() or state.load(path).lang
    __tracebackhide__ = True
    if folder.untouched(task):
        raise NotImplementedError(f"write {folder.file(task)}")
    try:
        report = task.check(load_function(folder.file(task), task))
    except Unusable as error:
        raise AssertionError(error.said.to(lang)) from error.__cause__
    if not report.passed:
        raise AssertionError(report.text(lang))

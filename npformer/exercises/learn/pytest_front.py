"""What the test file in a learner's folder calls."""

from pathlib import Path

from npformer.exercises.course import OURS
from npformer.exercises.learn import state
from npformer.exercises.learn.folder import Folder
from npformer.exercises.learn.load import Unusable, load_function
from npformer.exercises.task import find, tasks
from npformer.exercises.text import asked


def ids(path: Path | None = None) -> list[str]:
    """Return the ids of a folder's exercises, in order; without a folder, of ours."""
    return [task.id for task in tasks(Folder.find(path).course if path else OURS)]


def verify(path: Path, task_id: str) -> None:
    """Check an answer in this process.

    Raises
    ------
    NotImplementedError
        If it is the stub.
    AssertionError
        With the report, if it is wrong.
    """
    folder = Folder.find(path)
    task = find(task_id, folder.course)
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

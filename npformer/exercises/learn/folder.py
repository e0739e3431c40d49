"""The learner's folder: a file for each exercise, the tests and the state."""

import hashlib
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from npformer.checks import InputError, shown
from npformer.exercises.course import OURS, Course
from npformer.exercises.learn import state
from npformer.exercises.learn.sheet import sheet
from npformer.exercises.own import open_course
from npformer.exercises.task import Task, tasks
from npformer.exercises.text import LANGUAGES
from npformer.train.run import write_text

TEST_FILE = "test_exercises.py"
TESTS = '''\
"""A test for each exercise: run `pytest` here, or `pytest -k softmax`.

Written by `npformer learn init`. There is no time limit: `npformer learn check` has one.
"""

from pathlib import Path

import pytest

from npformer.exercises.learn.pytest_front import ids, verify

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("exercise", ids(FOLDER))
def test_exercise(exercise):
    verify(FOLDER, exercise)
'''


@dataclass(frozen=True)
class Folder:
    """A folder in which ``npformer learn init`` was run."""

    path: Path
    course: Course = OURS

    @classmethod
    def find(cls, start: Path, course: str | None = None) -> "Folder":
        """Return the folder ``start`` is in, with its own course or the one at this place.

        Raises
        ------
        InputError
            If there is none, or its course is not where it was.
        """
        if path := around(start):
            return cls(path, open_course(state.load(path).course if course is None else course))
        raise InputError(
            f"--dir: got {start}, expected a folder with exercises: "
            "`npformer learn init DIR` makes one"
        )

    def file(self, task: Task) -> Path:
        """Return where the answer is or will be.

        An answer is found by its name without the number, which changes where exercises are added.
        """
        chapter, name = (part[2:] for part in task.place.split("/"))
        found = sorted(self.path.glob(f"[0-9][0-9]{chapter}/[0-9][0-9]{name}"))
        return found[0] if found else self.path / task.place

    def add_missing(self, lang: str) -> list[Path]:
        """Write the files that are not there, touch no other, and return the new ones."""
        wanted = {self.file(task): sheet(task, lang) for task in tasks(self.course)}
        wanted[self.path / TEST_FILE] = TESTS
        for path in (*wanted, self.path / state.STATE):
            for leftover in path.parent.glob(f"{path.name}.tmp-*"):  # of an `init` that was killed
                leftover.unlink()
        new = [path for path in wanted if not path.exists()]
        for path in new:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, wanted[path])
        return new

    def reset(self, task: Task, lang: str) -> Path | None:
        """Write the file as it was at first; return where an answer that was there is kept."""
        path = self.file(task)
        kept = _free(path) if path.exists() and not self.untouched(task) else None
        if kept:
            kept.write_bytes(path.read_bytes())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, sheet(task, lang))
        return kept

    def new(self, task: Task, lang: str) -> bool:
        """Return whether a reset would change nothing."""
        return self.digest(task) == _digest(sheet(task, lang).encode())

    def untouched(self, task: Task) -> bool:
        """Return whether nothing was written into the file yet."""
        return self.digest(task) in {_digest(sheet(task, lang).encode()) for lang in LANGUAGES}

    def digest(self, task: Task) -> str:
        """Return what tells one state of a file from another; "" if it is not there."""
        try:
            return _digest(self.file(task).read_bytes())
        except OSError:
            return ""

    def done(self, task: Task, saved: state.State) -> bool:
        """Return whether the file as it is now has passed."""
        return saved.of(task.id).passed == self.digest(task) != ""


def around(start: Path) -> Path | None:
    """Return the folder of exercises that ``start`` is in, looking upwards, if there is one."""
    here = start.resolve()
    return next((path for path in (here, *here.parents) if (path / state.STATE).is_file()), None)


def make(
    path: Path, lang: str, chosen: str | None, place: str | None = None
) -> tuple[Folder, list[Path]]:
    """Make a folder, or add what an existing one lacks; return it and the new files.

    Parameters
    ----------
    path : Path
    lang : str
        The language of a new folder.
    chosen : str or None
        The language asked for by name: it also changes that of an existing folder.
    place : str, optional
        Of the course, which may have moved; the default is ours, or what the folder has.

    Raises
    ------
    InputError
        If ``path`` is a file, has a state that cannot be read or the exercises of another course,
        or the course cannot be opened.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"DIR: got {path}, which is a file, expected a folder")
    old = state.load(path) if (path / state.STATE).exists() else state.State(lang)
    course = open_course(old.course if place is None else place)
    if (path / state.STATE).exists() and bool(course.place) != bool(old.course):
        raise InputError(
            f"DIR: got {shown(str(path))}, which has another course, expected a new folder"
        )
    now = state.State(chosen or old.lang, old.records, course.place)
    path.mkdir(parents=True, exist_ok=True)
    state.save(path, now)  # first: a folder left half-way is one that `init` completes
    folder = Folder(path.resolve(), course)
    return folder, folder.add_missing(now.lang)


def _free(path: Path) -> Path:
    """Return a name beside ``path`` that nothing has: .old, .old.2 and so on."""
    names = (f"{path.name}.old{f'.{n}' if n > 1 else ''}" for n in count(1))
    return next(kept for kept in map(path.with_name, names) if not kept.exists())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

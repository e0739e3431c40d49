"""What a learner has done: one JSON file in the learner's folder."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from npformer.checks import InputError
from npformer.exercises.text import LANGUAGES
from npformer.train.run import write_json

STATE = "npformer-learn.json"
VERSION = 1


@dataclass(frozen=True)
class Record:
    """What is known about one exercise."""

    passed: str = ""  # the digest of the file that passed its check
    hints: int = 0  # how many were shown
    solution: bool = False  # whether it was shown
    seconds: float | None = None  # of the last timed session that ended with a right answer


@dataclass(frozen=True)
class State:
    """The language, a record for each exercise that was touched, and where the course is."""

    lang: str
    records: dict[str, Record] = field(default_factory=dict)
    course: str = ""  # the place of a `Course`

    def of(self, task: str) -> Record:
        """Return the record of an exercise."""
        return self.records.get(task, Record())


def load(folder: Path) -> State:
    """Read the state of a folder.

    Raises
    ------
    InputError
        If the file is not one that this version wrote.
    """
    path = folder / STATE
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["version"] != VERSION:
            raise InputError(f"{path}: got version {saved['version']}, expected {VERSION}")
        if saved["lang"] not in LANGUAGES:
            raise InputError(f"{path}: got language {saved['lang']!r}")
        records = {name: _record(values) for name, values in saved["exercises"].items()}
        course = saved.get("course", "")
        if not isinstance(course, str):
            raise TypeError(f"course {course!r}")
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: got a broken file ({type(error).__name__}: {error}), expected what npformer "
            f"wrote; delete it and run `npformer learn init {folder}`, which leaves your answers "
            "as they are"
        ) from error
    return State(saved["lang"], records, course)


def save(folder: Path, state: State) -> None:
    """Write the state, as a whole or not at all."""
    records = {name: asdict(record) for name, record in state.records.items()}
    own = {"course": state.course} if state.course else {}
    known = {"version": VERSION, "lang": state.lang, **own, "exercises": records}
    write_json(folder / STATE, known)


def record(folder: Path, task: str, **changes: Any) -> Record:
    """Change the record of one exercise: read anew, since a watch may run in another terminal."""
    state = load(folder)
    changed = replace(state.of(task), **changes)
    save(folder, replace(state, records=state.records | {task: changed}))
    return changed


def _record(values: Any) -> Record:
    made = Record(**values)
    kinds = (str, int, bool, float | int | None)
    for value, kind in zip(asdict(made).values(), kinds, strict=True):
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} in an exercise")
    return made

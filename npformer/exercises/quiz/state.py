"""The file that remembers what was asked: JSON, written as a whole or not at all."""

import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import Any

from npformer.checks import InputError
from npformer.exercises.quiz.schedule import DAYS, Review, State
from npformer.train.run import write_json

VERSION = 1


def default_path() -> Path:
    """Return where the user's data belong: XDG_DATA_HOME, else ~/.local/share; LOCALAPPDATA."""
    if sys.platform == "win32":
        given, fallback = os.environ.get("LOCALAPPDATA", ""), Path.home() / "AppData" / "Local"
    else:
        given, fallback = os.environ.get("XDG_DATA_HOME", ""), Path.home() / ".local" / "share"
    # The standard has relative paths ignored.
    folder = Path(given) if os.path.isabs(given) else fallback
    return folder / "npformer" / "quiz.json"


def load(path: Path) -> dict[str, Review]:
    """Return what a file holds, or nothing where there is none.

    Raises
    ------
    InputError
        If it is no file of this kind; it stays as it is.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise _refused(path, "bytes that are not UTF-8") from error
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"no JSON ({error})") from error
    if not isinstance(held, dict) or held.keys() != {"version", "cards"}:
        raise _refused(path, "something else")
    if held["version"] != VERSION:
        raise _refused(path, f"version {held['version']!r}")
    if not isinstance(held["cards"], dict):
        raise _refused(path, "no list of cards")
    return {name: _review(path, name, fields) for name, fields in held["cards"].items()}


def save(path: Path, state: State) -> None:
    """Write a state in place of the old one; a kill leaves the one or the other."""
    cards = {name: {"box": r.box, "due": r.due.isoformat()} for name, r in sorted(state.items())}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": VERSION, "cards": cards})


def _review(path: Path, name: str, fields: Any) -> Review:
    try:
        box, day = fields["box"], date.fromisoformat(fields["due"])
        if fields.keys() != {"box", "due"} or type(box) is not int or not 0 <= box < len(DAYS):
            raise ValueError
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _refused(path, f"{fields!r} for the card {name!r}") from error
    return Review(box, day)


def _refused(path: Path, got: str) -> InputError:
    return InputError(
        f"{path}: got {got}, expected what npformer quiz has written; "
        "move it away to begin anew, or give another --state"
    )

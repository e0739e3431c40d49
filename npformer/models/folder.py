"""Writing a folder as a whole: its readers see the old one or the new one, never half of one."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from npformer.checks import InputError


def write_folder(directory: str | os.PathLike[str], fill: Callable[[Path], None]) -> None:
    """Let ``fill`` write files into a temporary sibling, then put it in the place of ``directory``.

    A kill at any point leaves the old folder or the new one to `find_folder`; what an
    interrupted write has left behind is removed by the next one. Two processes must not write
    the same folder at once.

    Parameters
    ----------
    directory : path
        New, empty, or a folder with no other entries than those ``fill`` writes: replacing it
        must lose nothing.
    fill : callable
        Gets the path of an empty folder.

    Raises
    ------
    InputError
        If ``directory`` is a file, holds something else, or cannot be written (no space left).
    """
    target = Path(directory).resolve()
    if not target.name or (target.exists() and not target.is_dir()):
        raise InputError(f"{directory}: got a file, expected a folder to write to")
    new, old = _siblings(target)
    try:
        settle_folder(target)
        new.mkdir(parents=True)
        fill(new)
        others = _entries(target) - _entries(new)
        if others:
            raise InputError(
                f"{directory}: got a folder that also holds {', '.join(sorted(others)[:3])}, "
                "expected a new folder or one written before, whose content may be lost"
            )
        if target.exists():
            target.rename(old)
        new.rename(target)
    except OSError as error:
        raise InputError(
            f"{directory}: got {error.strerror or error}, expected a folder that can be written"
        ) from error
    finally:
        # Once the old folder has moved, the new one is complete: it must survive even a Ctrl-C.
        if not old.exists():
            shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def find_folder(directory: str | os.PathLike[str]) -> Path:
    """Return where a folder is now, also if a write was interrupted; it may not exist at all."""
    target = Path(directory).resolve()
    new, old = _siblings(target)
    if not target.exists() and old.exists():
        return new if new.exists() else old
    return target


def settle_folder(directory: str | os.PathLike[str]) -> None:
    """Finish what an interrupted `write_folder` has begun, and remove its temporary folders."""
    target = Path(directory).resolve()
    found = find_folder(target)
    if found != target:
        found.rename(target)
    for left in _siblings(target):
        shutil.rmtree(left, ignore_errors=True)


def _siblings(target: Path) -> tuple[Path, Path]:
    """Return the names for the new folder while it is written and the old while it goes."""
    return target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")


def _entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.exists() else set()

"""Somebody's own course: a folder, or an installed package that is one.

It has the layout of ours, a folder for each chapter and in it a file for each exercise::

    my-course/
        01_sums/
            01_weighted_mean.py        the exercise weighted-mean
            _rows.py                   what files share: from ._rows import rows
            zh/01_weighted_mean.md     its Chinese, if there is one

The order is that of the names; a number in front only gives the order. What begins with ``_`` or
``.`` is left alone. A package says where its course is by an entry point of the group
``npformer.courses``, and the course is called by the entry point's name.
"""

import hashlib
import importlib
import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec
from pathlib import Path

from npformer.checks import InputError, shown, some
from npformer.exercises.course import OURS, Course, only_exercise
from npformer.exercises.exercise import Exercise, unnumbered
from npformer.exercises.museum import BUGS
from npformer.exercises.translation import read

GROUP = "npformer.courses"
OUR_IDS = {exercise.id for exercise in OURS.exercises} | {bug.id for bug in BUGS}
CHAPTER = "[a-z][a-z0-9_]{0,39}"


def open_course(place: str) -> Course:
    """Return the course of a place, as it is on the disk now.

    Parameters
    ----------
    place : str
        A folder, or the name of an installed course, which goes first; "" is ours.

    Raises
    ------
    InputError
        If there is none, or something in it is not as it has to be.
    """
    if not place:
        return OURS
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    if place in installed:
        package, folder = _of_package(installed[place])
        return Course(_exercises(folder, package), place)
    try:
        folder = Path(place).resolve(strict=True)
        list(folder.iterdir())
    except (OSError, RuntimeError, ValueError):  # a link in a circle, a name that cannot be one
        names = f" ({some(sorted(installed))})" if installed else ""
        raise InputError(
            f"course: got {shown(place)}, expected a folder or an installed course{names}"
        ) from None
    return Course(_exercises(folder, _as_package(folder)), str(folder))


def _of_package(entry: EntryPoint) -> tuple[str, Path]:
    try:
        package = entry.load()
        return package.__name__, Path(package.__path__[0])
    except (Exception, SystemExit) as error:
        raise InputError(
            f"course: got {entry.name!r}, whose entry point {shown(entry.value)} fails "
            f"({_brief(error)}), expected a package"
        ) from error


def _as_package(folder: Path) -> str:
    """Make a folder one to import from, under a name that nothing else has, and forget its past."""
    name = f"npformer_course_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    for module in [known for known in sys.modules if known.partition(".")[0] == name]:
        del sys.modules[module]
    importlib.invalidate_caches()
    linecache.checkcache()
    read.cache_clear()
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[name] = module_from_spec(spec)
    return name


def _exercises(folder: Path, package: str) -> tuple[Exercise, ...]:
    found: dict[str, Exercise] = {}
    for chapter in filter(Path.is_dir, _inside(folder)):
        files = [path for path in _inside(chapter) if path.suffix == ".py"]
        name = unnumbered(chapter.name)
        if files and (not re.fullmatch(CHAPTER, name) or name == "find_the_bug"):
            raise InputError(
                f"course: got the chapter {shown(chapter.name)}, expected a name of small letters, "
                "digits and _, and not find_the_bug"
            )
        for path in files:
            exercise = _exercise(path, f"{package}.{chapter.name}.{path.stem}")
            if exercise.id in found:
                raise InputError(f"{_where(path)}: got the id {exercise.id!r} again, expected one")
            found[exercise.id] = exercise
        _check_translations(chapter, {path.stem: unnumbered(path.stem) for path in files})
    if not found:
        raise InputError(
            f"course: got {shown(str(folder))} without an exercise, expected CHAPTER/NAME.py in "
            "it: `npformer learn new ID --course DIR` writes one"
        )
    return tuple(found.values())


def _inside(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder by name; a link must not lead to a folder that it is in."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        if path.is_symlink():
            try:
                circle = path.parent.resolve().is_relative_to(path.resolve(strict=True))
            except (OSError, RuntimeError):
                circle = True
            if circle:
                raise InputError(
                    f"{_where(path)}: got a link to nowhere or in a circle, expected one to a file"
                )
        yield path


def _exercise(path: Path, module: str) -> Exercise:
    try:
        exercise = only_exercise(importlib.import_module(module))
        wanted = unnumbered(path.stem).replace("_", "-")
        if exercise.id != wanted:
            raise InputError(f"got the id {shown(exercise.id)}, expected the file's name, {wanted}")
        if exercise.id in OUR_IDS:
            raise InputError(
                f"got the id {exercise.id!r}, which npformer itself has, expected another"
            )
        if exercise.file.resolve() != path.resolve():
            raise InputError("got a reference from another file, expected one written here")
        exercise.said  # noqa: B018 (that the translation fits)
    except (Exception, SystemExit) as error:
        raise InputError(f"{_where(path, error)}: {_brief(error)}") from error
    return exercise


def _check_translations(chapter: Path, ids: dict[str, str]) -> None:
    for page in sorted(chapter.glob("zh/*.md")):
        if page.stem not in ids:
            raise InputError(
                f"{_where(page)}: got a translation of {page.stem[:80]}.py, which is not there"
            )
        for heading in read(page):
            if heading != ids[page.stem].replace("_", "-"):
                raise InputError(
                    f"{_where(page)}: got the heading # {heading[:80]}, which is not its file's id"
                )


def _where(path: Path, error: BaseException | None = None) -> str:
    """Return the file, and the line in which an error has come up."""
    line = None
    frames = traceback.extract_tb(error.__traceback__) if error else []
    own = [frame for frame in frames if frame.filename.startswith(str(path.parent.parent))]
    if isinstance(error, SyntaxError):
        path, line = Path(error.filename or path), error.lineno
    elif own:
        path, line = Path(own[-1].filename), own[-1].lineno
    name = f"{path.parent.name[-60:]}/{path.name[-60:]}"
    return f"{name}, line {line}" if line else name


def _brief(error: BaseException) -> str:
    said = " ".join(str(error).split())
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return f"{kind}{said}".rstrip(": ")[:180]

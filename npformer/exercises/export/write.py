"""Where the exported files go."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from npformer.checks import InputError
from npformer.exercises.course import OURS, Course
from npformer.exercises.exercise import Exercise
from npformer.exercises.export.parts import solution_source, student_source
from npformer.exercises.task import find
from npformer.exercises.text import language

FORMATS = ("nbgrader", "ipynb", "py")
CONFIG = """c = get_config()
c.CourseDirectory.course_id = "npformer"
"""


def export(folder: Path, fmt: str, *, course: Course = OURS, lang: str | None = None) -> list[Path]:
    """Write exercises for a class.

    ``nbgrader`` writes ``source/01_calculus/07_softmax.ipynb``, an assignment a chapter, and
    ``nbgrader_config.py``; ``ipynb`` and ``py`` write ``student/`` and ``solutions/``.

    Parameters
    ----------
    folder : Path
        New or empty.
    fmt : str
        One of `FORMATS`.
    course : Course
        Whose exercises; bugs to find are not exported.
    lang : str, optional

    Returns
    -------
    list of Path
        The files, all written or none.

    Raises
    ------
    InputError
        If the format is unknown, the folder has something in it, or nbformat is not installed.
    """
    if fmt not in FORMATS:
        raise InputError(f"--format: got {fmt!r}, expected one of {', '.join(FORMATS)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"OUT: got {folder}, which is not empty, expected a new folder")
    # All text is made before the first file is: a mistake leaves nothing half-written.
    files = dict(_files(fmt, course, language(lang)))
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def _files(fmt: str, course: Course, lang: str) -> Iterator[tuple[str, str]]:
    for exercise in course.exercises:
        place = find(exercise.id, course).place  # as in a folder of `npformer learn init`
        if fmt == "py":
            yield f"student/{place}", student_source(exercise, lang, course.place)
            yield f"solutions/{place}", solution_source(exercise, lang)
            continue
        from npformer.exercises.export import notebooks

        notebook = str(PurePosixPath(place).with_suffix(".ipynb"))
        if fmt == "ipynb":
            for kind, make in (
                ("student", notebooks.student_notebook),
                ("solutions", notebooks.solution_notebook),
            ):
                yield f"{kind}/{notebook}", _json(make, exercise, lang, course.place)
        else:
            made = _json(notebooks.nbgrader_notebook, exercise, lang, course.place)
            yield f"source/{notebook}", made
    if fmt == "nbgrader":
        yield "nbgrader_config.py", CONFIG


def _json(
    make: Callable[[Exercise, str, str], Any], exercise: Exercise, lang: str, course: str
) -> str:
    try:
        import nbformat
    except ImportError:
        raise InputError(
            "--format: got notebooks, expected the package nbformat to be there: "
            "pip install 'npformer[class]'"
        ) from None
    return str(nbformat.writes(make(exercise, lang, course))) + "\n"

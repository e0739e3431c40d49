"""Notebooks for students, for teachers and for nbgrader."""

import re
from typing import Any

from npformer.exercises.checker import property_names
from npformer.exercises.exercise import HEADER, SOLUTION_HEADER, SOLUTION_IMPORT, Exercise
from npformer.exercises.export.parts import (
    check_cell,
    split_solution,
    statement,
)

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# The cases that a student does not see are of these seeds.
HIDDEN_SEEDS = (1, 2, 3)
GRADE = "from npformer.exercises.checker import grade"
POINTS, FOR_AN_OUTPUT = 1, 3


def student_notebook(exercise: Exercise, lang: str, course: str = "") -> Any:
    """Return a notebook with the statement, the stub, and a cell that checks."""
    return _notebook(
        exercise,
        _markdown(exercise, "statement", statement(exercise, lang)),
        _code(exercise, "header", HEADER),
        _code(exercise, "answer", exercise.stub),
        _code(exercise, "check", check_cell(exercise, lang, course)),
    )


def solution_notebook(exercise: Exercise, lang: str, course: str = "") -> Any:
    """Return the same notebook solved, with the library's source behind it."""
    source = exercise.library_source.strip()
    library = [_markdown(exercise, "library", f"```python\n{source}\n```")] if source else []
    return _notebook(
        exercise,
        _markdown(exercise, "statement", statement(exercise, lang)),
        _code(exercise, "header", SOLUTION_HEADER),
        _code(exercise, "answer", exercise.solution),
        _code(exercise, "check", check_cell(exercise, lang, course, library=True)),
        *library,
    )


def nbgrader_notebook(exercise: Exercise, lang: str, course: str = "") -> Any:
    """Return a source notebook: one cell is the answer, one cell a property is graded."""
    head, body = split_solution(exercise)
    where = f", course={course!r}" if course else ""
    begin = f"    ### BEGIN SOLUTION\n    {SOLUTION_IMPORT}"
    answer = f"{head}\n{begin}\n\n{body}\n    ### END SOLUTION"
    cells = [
        _markdown(exercise, "statement", statement(exercise, lang), locked=True),
        _code(exercise, "header", HEADER, locked=True),
        _code(exercise, "answer", answer, solution=True),
    ]
    for name in property_names(exercise):
        # Imported in each cell: the answer may have defined a `grade` of its own.
        call = f'{GRADE}\n\ngrade("{exercise.id}", {exercise.function}, "{name}"{where}'
        source = (
            f"{call})\n### BEGIN HIDDEN TESTS\n{call}, seeds={HIDDEN_SEEDS})\n### END HIDDEN TESTS"
        )
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        points = FOR_AN_OUTPUT if name in exercise.outputs else POINTS
        cells.append(_code(exercise, slug, source, points=points))
    return _notebook(exercise, *cells)


def _notebook(exercise: Exercise, *cells: Any) -> Any:
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=list(cells), metadata=METADATA)
    nbformat.validate(notebook)
    return notebook


def _markdown(exercise: Exercise, name: str, source: str, *, locked: bool = False) -> Any:
    import nbformat

    cell = nbformat.v4.new_markdown_cell(source, id=_id(exercise, name))
    if locked:
        cell.metadata["nbgrader"] = _nbgrader(exercise, name, locked=True)
    return cell


def _code(
    exercise: Exercise,
    name: str,
    source: str,
    *,
    locked: bool = False,
    solution: bool = False,
    points: int = 0,
) -> Any:
    import nbformat

    cell = nbformat.v4.new_code_cell(source.strip(), id=_id(exercise, name))
    if locked or solution or points:
        cell.metadata["nbgrader"] = _nbgrader(
            exercise, name, locked=locked or bool(points), solution=solution, points=points
        )
    return cell


def _nbgrader(
    exercise: Exercise, name: str, *, locked: bool = False, solution: bool = False, points: int = 0
) -> dict[str, Any]:
    of_grade = {"points": points} if points else {}
    return {
        "schema_version": 3,
        "grade": bool(points),
        "solution": solution,
        "task": False,
        "locked": locked,
        "grade_id": f"{exercise.id}-{name}",
        **of_grade,
    }


def _id(exercise: Exercise, name: str) -> str:
    """Return a cell's id, which is the same at every export; at most 64 letters are allowed."""
    return f"{exercise.id}-{name}"[:64]

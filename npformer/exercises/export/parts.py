"""What a student's and a teacher's file are made of, as text."""

import ast
import re
import textwrap

from npformer.exercises.exercise import HEADER, SOLUTION_HEADER, Exercise
from npformer.exercises.learn.layout import fill
from npformer.exercises.translation import message

HOW = message("Check it, in the same session:")


def statement(exercise: Exercise, lang: str) -> str:
    """Return title and statement as Markdown."""
    return f"# {exercise.said['title'].to(lang)}\n\n{exercise.task.to(lang)}"


def check_cell(exercise: Exercise, lang: str, course: str = "", *, library: bool = False) -> str:
    """Return the code that shows how far the function is; a solution may call the library."""
    more = ", library=True" if library else ""
    front = (
        "from npformer.exercises import Progress, open_course\n\n"
        f"check = Progress(open_course({course!r})).check\n"
    )
    return (
        f"{front if course else 'from npformer.exercises import check'}\n\n"
        f'check("{exercise.id}", {exercise.function}, lang="{lang}"{more})'
    )


def split_solution(exercise: Exercise) -> tuple[str, str]:
    """Return the head of the reference, down to its docstring, and its body."""
    lines = exercise.solution.splitlines()
    (function,) = ast.parse(exercise.solution).body
    if not isinstance(function, ast.FunctionDef):
        raise TypeError(f"{exercise.id}: the reference is not written as a function")
    end = function.body[0].end_lineno  # of the docstring
    return "\n".join(lines[:end]), "\n".join(lines[end:])


def student_source(exercise: Exercise, lang: str, course: str = "") -> str:
    """Return a Python file with the statement, the stub and how to check."""
    cell = re.sub(r"^(check\(.*\))$", r"print(\1)", check_cell(exercise, lang, course), flags=re.M)
    how = f"{HOW.to(lang)}\n\n{cell}"
    return f"{_about(exercise, lang)}\n\n{HEADER}\n\n{exercise.stub}\n\n{_comment(how)}\n"


def solution_source(exercise: Exercise, lang: str) -> str:
    """Return a Python file with the solution, which runs, and the library's own source."""
    parts = [_about(exercise, lang), f"{SOLUTION_HEADER}\n\n{exercise.solution}"]
    if exercise.library_source:
        parts.append(f"{_comment(exercise.library_source)}\n")
    return "\n\n".join(parts)


def _about(exercise: Exercise, lang: str) -> str:
    lines = [exercise.said["title"].to(lang), "", *fill(exercise.task.to(lang))]
    return _comment("\n".join(lines))


def _comment(text: str) -> str:
    return textwrap.indent(text.strip(), "# ", lambda line: True).replace("# \n", "#\n")

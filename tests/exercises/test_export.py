"""Exported exercises: no solution in a student's file, notebooks that run, grades as earned."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest

from npformer.checks import InputError
from npformer.exercises import PROGRESS
from npformer.exercises.checker import check, grade, property_names
from npformer.exercises.course import EXERCISES, Course, find
from npformer.exercises.export import export
from npformer.exercises.task import find as find_task

ROOT = Path(__file__).parents[2]
# The Python of a virtual environment with the extra "class"; .ci/run makes one.
NBGRADER = os.environ.get("NPFORMER_NBGRADER")


def solution_lines(exercise):
    body = exercise.solution.partition('"""')[2].partition('"""')[2]
    return [line.strip() for line in body.splitlines() if len(line.strip()) >= 12]


@pytest.mark.parametrize("fmt", ["py", "ipynb"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_students_get_no_solution_and_teachers_one_that_passes(tmp_path, fmt, lang):
    paths = export(tmp_path / "out", fmt, lang=lang)
    assert len(paths) == 2 * len(EXERCISES)
    for exercise in EXERCISES:
        place = Path(find_task(exercise.id).place).with_suffix(f".{fmt}")
        student, solution = tmp_path / "out/student" / place, tmp_path / "out/solutions" / place
        shown = code(student)
        assert not [line for line in solution_lines(exercise) if line in shown]
        assert exercise.said["title"].to(lang) in student.read_text("utf-8")
        for path, passes in ((student, False), (solution, True)):
            assert runs_and_passes(exercise, path) == passes


def runs_and_passes(exercise, path):
    """Run a file or all cells of a notebook, which end in a check of their own."""
    namespace: dict = {}
    PROGRESS.solved.discard(exercise.id)
    exec(code(path), namespace)
    if path.suffix == ".ipynb":
        return exercise.id in PROGRESS.solved
    return check(exercise, namespace[exercise.function], library=True).passed


def code(path):
    if path.suffix == ".py":
        return path.read_text("utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def test_an_nbgrader_notebook_has_a_grade_cell_for_each_property(tmp_path):
    export(tmp_path / "out", "nbgrader", lang="en")
    for exercise in EXERCISES:
        path = (tmp_path / "out/source" / find_task(exercise.id).place).with_suffix(".ipynb")
        cells = nbformat.read(path, as_version=4).cells
        graded = [c for c in cells if c.metadata.get("nbgrader", {}).get("grade")]
        assert len(graded) == len(property_names(exercise))
        assert all("### BEGIN HIDDEN TESTS" in cell.source for cell in graded)
        ids = [c.metadata["nbgrader"]["grade_id"] for c in cells if "nbgrader" in c.metadata]
        assert len(set(ids)) == len(ids)
        # What a student gets: the answer's head, and nothing of its body.
        (answer,) = [c for c in cells if c.metadata.get("nbgrader", {}).get("solution")]
        head, _, _ = answer.source.partition("### BEGIN SOLUTION")
        assert not [line for line in solution_lines(exercise) if line in head]


def test_a_grade_is_an_assertion_with_the_diagnosis():
    exercise = find("softmax-backward")

    def right(dprobs, probs):
        return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))

    for name in property_names(exercise):
        grade(exercise.id, right, name, seeds=(0, 1))
    wrong = next(iter(exercise.mistakes.values()))
    with pytest.raises(AssertionError, match="Every logit also lowers"):
        grade(exercise.id, wrong, "dx")
    # Good manners earn nothing while no output is right, and nothing the library did.
    for fn in (wrong, lambda dprobs, probs: 0 * probs, lambda x: x, exercise.reference):
        with pytest.raises(AssertionError):
            grade(exercise.id, fn, "inputs untouched")
    with pytest.raises(InputError, match="name: got 'dy', expected one of dx"):
        grade(exercise.id, wrong, "dy")


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        export(tmp_path, "py")
    with pytest.raises(InputError, match="--format: got 'pdf', expected one of nbgrader"):
        export(tmp_path / "out", "pdf")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


RIGHT = """
def layer_norm_backward(dy, xhat, rstd, gamma):
    dgamma = (dy * xhat).reshape(-1, dy.shape[-1]).sum(axis=0)
    dbeta = dy.reshape(-1, dy.shape[-1]).sum(axis=0)
    g = dy * gamma
    along = (g * xhat).mean(axis=-1, keepdims=True)
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * along)
    return dx, dgamma, dbeta
"""
WRONG = RIGHT.replace(" - xhat * along", "")
ZEROS = """
def layer_norm_backward(dy, xhat, rstd, gamma):
    return 0 * dy, 0 * gamma, 0 * gamma
"""
COPIED = """
from npformer import ops

def layer_norm_backward(dy, xhat, rstd, gamma):
    return ops.layernorm_backward(dy, ops.LayerNormCache(xhat, rstd, gamma))
"""
REDEFINED = (
    ZEROS
    + """
def grade(*args, **kwargs):
    pass
"""
)
UNSEEN = """
import sys

def layer_norm_backward(dy, xhat, rstd, gamma):
    sys.setprofile(None)
    from npformer import ops
    return ops.layernorm_backward(dy, ops.LayerNormCache(xhat, rstd, gamma))
"""
ENDLESS = """
def layer_norm_backward(dy, xhat, rstd, gamma):
    while True:
        pass
"""


@pytest.mark.slow
@pytest.mark.skipif(NBGRADER is None, reason="NPFORMER_NBGRADER is not set")
def test_nbgrader_grades_right_wrong_empty_and_tampered_submissions(tmp_path):
    exercise = find("layer-norm-backward")
    course = tmp_path / "course"
    export(course, "nbgrader", course=Course((exercise,)), lang="en")
    nbgrader(course, "generate_assignment", "01_calculus")
    (release,) = (course / "release/01_calculus").glob("*.ipynb")
    text = release.read_text("utf-8")
    assert "BEGIN" not in text
    assert "import distill" not in text
    assert not [line for line in solution_lines(exercise) if line in text]

    for student, answer, tamper in (
        ("right", RIGHT, None),
        ("wrong", WRONG, None),
        ("zeros", ZEROS, None),
        ("copied", COPIED, None),
        ("redefined", REDEFINED, None),
        ("unseen", UNSEEN, None),
        ("endless", ENDLESS, None),
        ("empty", None, None),
        ("tampered", WRONG, "pass"),
        ("deleted", RIGHT, "delete"),
    ):
        notebook = nbformat.read(release, as_version=4)
        for cell in list(notebook.cells):
            about = cell.metadata.get("nbgrader", {})
            if about.get("solution") and answer:
                cell.source = answer
            if about.get("grade") and about["grade_id"].endswith("-dx"):
                if tamper == "pass":
                    cell.source = "pass"
                if tamper == "delete":
                    notebook.cells.remove(cell)
        path = course / "submitted" / student / "01_calculus" / release.name
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)

    nbgrader(course, "autograde", "01_calculus", "--create")
    nbgrader(course, "generate_feedback", "01_calculus")
    nbgrader(course, "export", "--to", "grades.csv")
    with (course / "grades.csv").open(encoding="utf-8") as file:
        scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    total = sum(3 if name in exercise.outputs else 1 for name in property_names(exercise))
    namespace: dict = {"np": np}
    exec(WRONG, namespace)
    report = check(exercise, namespace["layer_norm_backward"])
    lost = sum(3 if r.name.en in exercise.outputs else 1 for r in report.results if not r.passed)
    assert scores["right"] == total
    assert scores["wrong"] == total - lost  # partial credit: dgamma and dbeta are right
    assert 6 < scores["wrong"] < total
    assert scores["tampered"] == scores["wrong"]  # the cell is restored
    assert scores["deleted"] == total - 3  # what is not there earns nothing
    for student in ("zeros", "copied", "redefined", "unseen", "endless", "empty"):
        assert scores[student] == 0, student
    feedback = {
        student: next((course / "feedback" / student / "01_calculus").glob("*.html"))
        for student in ("wrong", "endless")
    }
    assert "What is wrong" in feedback["wrong"].read_text("utf-8")
    assert "it does not end within 10 seconds" in feedback["endless"].read_text("utf-8")


def nbgrader(course, *arguments):
    python = Path(NBGRADER or sys.executable)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]]),  # it calls alembic
        "PYTHONPATH": str(ROOT),
        "JUPYTER_PLATFORM_DIRS": "1",
        "HOME": str(course.parent),  # nobody's own settings
        "NPFORMER_LANG": "en",
    }
    done = subprocess.run(
        [str(python), "-m", "nbgrader", *arguments],
        cwd=course,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr


def test_a_function_that_never_ends_costs_its_time_once(monkeypatch):
    module = sys.modules["npformer.exercises.checker.grade"]
    monkeypatch.setattr(module, "SECONDS", 0.2)

    def endless(dprobs, probs):
        while True:
            pass

    started = time.monotonic()
    for name in property_names(find("softmax-backward")):
        with pytest.raises(AssertionError, match="does not end within"):
            grade("softmax-backward", endless, name)
    assert time.monotonic() - started < 10  # seven properties, one time-out

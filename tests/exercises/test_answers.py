"""Answers of another hand: none is refused, and none stands in what a student is given."""

import ast
import inspect
from functools import cache
from pathlib import Path

import nbformat
import pytest
from answers import answer, solved

from npformer.exercises.checker import check
from npformer.exercises.course import EXERCISES
from npformer.exercises.export.parts import student_source
from npformer.exercises.learn.sheet import sheet
from npformer.exercises.task import find

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SEEDS = 100
# These take long: a case of real size, finite differences, loops over blocks and layers.
FEW_SEEDS = {
    "multi-head-attention": 3,
    "gradient-checker": 20,
    "online-softmax": 20,
    "tinybert-step": 20,
}
TOO_LONG_FOR_CHANCE = 20

each = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def no_false_alarm(exercise, seeds):
    for seed in seeds:
        report = check(exercise, answer(exercise), seed=seed)
        assert report.passed, f"seed {seed}: {report.text('en')}"


@each
def test_no_false_alarm_on_an_answer_of_another_hand(exercise):
    no_false_alarm(exercise, range(5))


@pytest.mark.slow
@each
def test_no_false_alarm_over_many_seeds(exercise):
    no_false_alarm(exercise, range(FEW_SEEDS.get(exercise.id, SEEDS)))


@each
def test_an_answer_is_a_file_with_the_learners_signature(exercise):
    namespace: dict = {}
    exec(solved(exercise.id), namespace)
    written = namespace[exercise.function]
    assert inspect.signature(written) == inspect.signature(exercise.reference)
    assert check(exercise, written).passed


@each
def test_no_line_of_an_answer_is_given_to_students(exercise):
    task = find(exercise.id)
    given = {
        "stub": exercise.stub,
        "statement, en": exercise.task.en,
        "statement, zh": exercise.task.zh,
        **{f"student file, {lang}": student_source(exercise, lang) for lang in ("en", "zh")},
        **{f"sheet, {lang}": sheet(task, lang) for lang in ("en", "zh")},
        **stubs_in_notebooks(),
    }
    lines = body_lines(exercise)
    assert lines
    for line in lines:
        assert [name for name, text in given.items() if line in text] == []


def body_lines(exercise):
    """Return the lines of the answer below its signature that are nobody's by chance."""
    source = inspect.getsource(answer(exercise))
    (function,) = ast.parse(source).body
    body = function.body[1:] if ast.get_docstring(function) else function.body
    lines = [line.strip() for line in source.splitlines()[body[0].lineno - 1 :]]
    return [line for line in lines if len(line) >= TOO_LONG_FOR_CHANCE]


@cache
def stubs_in_notebooks():
    """Return the code cells of all notebooks that a learner has to write, joined by notebook."""
    stubs = {}
    for path in sorted(NOTEBOOKS.glob("**/??_*.ipynb")):
        if path.stem == "00_one_page":
            continue  # it has no exercises
        cells = nbformat.read(path, as_version=4).cells
        stubs[str(path.relative_to(NOTEBOOKS))] = "\n".join(
            cell.source
            for cell in cells
            if cell.cell_type == "code" and "raise NotImplementedError" in cell.source
        )
    # The one page is there to be read: it leaves nothing to write.
    stubs = {path: cells for path, cells in stubs.items() if "00_one_page" not in path}
    assert len(stubs) == 26
    assert all(stubs.values())
    return stubs

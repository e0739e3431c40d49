"""From exercises to the pages that derive them, and back; and that learners are told."""

import re
from pathlib import Path

import pytest

from npformer.exercises import Progress
from npformer.exercises.course import EXERCISES
from npformer.exercises.course import find as find_exercise
from npformer.exercises.learn import commands
from npformer.exercises.learn.folder import Folder, make
from npformer.exercises.learn.session import Session
from npformer.exercises.learn.sheet import sheet
from npformer.exercises.quiz.deck import find as find_card
from npformer.exercises.task import tasks
from npformer.exercises.text import LANGUAGES

DOCS = Path(__file__).parents[2] / "docs"
DERIVATIONS = sorted((DOCS / "derivations").glob("*.md"))

each_task = pytest.mark.parametrize("task", tasks(), ids=lambda task: task.id)
each_language = pytest.mark.parametrize("lang", LANGUAGES)


def words(text: str) -> str:
    """Return a text without breaks, spaces and signs of a comment."""
    return re.sub(r"[\s#]+", "", text)


@pytest.mark.parametrize("page", DERIVATIONS, ids=lambda page: page.stem)
def test_a_derivation_ends_with_exactly_the_exercises_that_point_to_it(page):
    last = page.read_text("utf-8").splitlines()[-1]
    here = page.relative_to(DOCS).as_posix()
    ids = [exercise.id for exercise in EXERCISES if exercise.docs == here]
    assert ids
    assert last == "Exercises: " + ", ".join(f"`{name}`" for name in ids)


@each_task
def test_a_task_names_a_page_and_cards_that_exist(task):
    en = re.fullmatch(
        r"To read: docs/(\S+) in the repository. Interview cards \(npformer quiz --show ID\): (.+)",
        task.reading.en,
    )
    zh = re.fullmatch(
        r"延伸阅读：仓库中的 docs/(\S+)。面试卡片（npformer quiz --show ID）：(.+)", task.reading.zh
    )
    assert en[1] == zh[1] == find_exercise(task.exercise).docs
    assert (DOCS / en[1]).is_file()
    cards = en[2].split(", ")
    assert cards == zh[2].split("、")
    assert all(task.exercise in find_card(card).exercises for card in cards)


@each_language
@each_task
def test_a_sheet_ends_its_comment_with_them(task, lang):
    comment = sheet(task, lang).partition(f"\n\n{task.code}")[0]
    assert words(comment).endswith(words(task.reading.to(lang)))


@each_language
@each_task
def test_a_notebook_ends_a_solution_with_them(task, lang):
    shown = Progress().solution(task.id, lang=lang)
    assert shown.text.endswith(f"\n\n# {task.reading.to(lang)}")
    assert shown.html.endswith(f"<p>{task.reading.to(lang)}</p>")
    compile(shown.text, task.id, "exec")  # a comment: it can still be pasted


@each_language
def test_a_terminal_ends_a_solution_with_them(lang, tmp_path):
    make(tmp_path, lang, lang)
    for task in tasks():
        said: list[str] = []
        assert commands.solution(Session(Folder(tmp_path), lang, said.append), task.id) == 0
        assert words("".join(said)).endswith(words(task.reading.to(lang)))

"""Lessons in two languages from one master each: `python -m notebooks` writes them.

A master is masters/NN_name.py, in jupytext's percent format, in English. A text cell with
``exercises="ID ID"`` becomes those exercises, as `npformer.exercises` defines them. The Chinese of
the other text cells stands in masters/zh/NN_name.md, cell by cell, each under a mark of the English
that it was written for. English is written to notebooks/, Chinese to notebooks/zh/; code is shared.

If the English of a cell has changed, look after its Chinese and run `python -m notebooks --mark`,
which writes the marks anew before the lessons.
"""

import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from npformer.exercises.exercise import HEADER
from npformer.exercises.task import find
from npformer.exercises.translation import mark

FOLDER = Path(__file__).parent
MASTERS = sorted((FOLDER / "masters").glob("*.py"))

# Owner and name on GitHub: what the badges and the line that installs npformer in Colab point to.
REPOSITORY = "npformer/npformer"

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
HEAD = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/{path})"
    " · [中文](zh/{name})\n\n"
    "In Colab, run `%pip install -q git+https://github.com/{repository}` first."
)
EXERCISES_HEAD = (
    "## Exercises\n\n"
    "Write the functions and run their cells: `check` says what is right and, where something is "
    'wrong, what the mistake looks like. `hint("ID")` helps in three steps, `solution("ID")` shows '
    "the answer."
)
HEADS = (HEAD, EXERCISES_HEAD)  # their Chinese is in masters/zh/lessons.md

_MARK = re.compile(r"^<!-- of the English: (\w+) -->\n+", re.MULTILINE)


def target(master: Path, lang: str) -> Path:
    """Return where the notebook of a master is written."""
    folder = FOLDER if lang == "en" else FOLDER / lang
    return folder / f"{master.stem}.ipynb"


def page_of(master: Path) -> Path:
    """Return where the Chinese of a master is."""
    return FOLDER / "masters" / "zh" / f"{master.stem}.md"


def make(master: Path, lang: str) -> NotebookNode:
    """Return the lesson in one language.

    Raises
    ------
    ValueError
        If the Chinese of a text cell is missing, too much or stale.
    """
    path = target(master, lang)
    place = {"repository": REPOSITORY, "name": path.name}
    place["path"] = path.relative_to(FOLDER.parent).as_posix()
    head, exercises_head = translated(HEADS, page_of(Path("lessons"))) if lang == "zh" else HEADS
    cells = [new_markdown_cell(head.format(**place))]
    english = read(master)
    texts = texts_of(english)
    said = iter(translated(texts, page_of(master)) if lang == "zh" else texts)
    for cell in english:
        if "exercises" in cell.metadata:
            cells.append(new_markdown_cell(exercises_head))
            cells += exercise_cells(cell.metadata["exercises"].split(), lang)
        elif cell.cell_type == "code":
            cells.append(new_code_cell(cell.source))
        else:
            cells.append(new_markdown_cell(next(said)))
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i:02}"
    return new_notebook(cells=cells, metadata=METADATA)


def read(master: Path) -> list[NotebookNode]:
    """Return the cells of a master."""
    cells: list[NotebookNode] = jupytext.read(master, fmt="py:percent").cells
    return cells


def texts_of(cells: list[NotebookNode]) -> list[str]:
    """Return the texts among cells, in order, without the exercises."""
    return [c.source for c in cells if c.cell_type == "markdown" and "exercises" not in c.metadata]


def translated(texts: Sequence[str], page: Path) -> list[str]:
    """Return the Chinese of texts.

    Raises
    ------
    ValueError
        If one is missing, too much or stale.
    """
    _, *found = _MARK.split(page.read_text("utf-8"))
    marks, chinese = found[::2], found[1::2]
    for i, (text, own) in enumerate(zip_longest(map(mark, texts), marks)):
        if text != own:
            said = repr(texts[i][:40]) if text else "nothing more"
            raise ValueError(
                f"{page.name}: got for cell {i + 1} what was written for another text, expected "
                f"the Chinese of {said}; then run `python -m notebooks --mark`"
            )
    return [said.strip() for said in chinese]


def write_marks(texts: Sequence[str], page: Path) -> None:
    """Mark a translation as one of these texts.

    Raises
    ------
    ValueError
        If there are more texts or fewer.
    """
    before, *found = _MARK.split(page.read_text("utf-8"))
    if len(found) != 2 * len(texts):
        raise ValueError(f"{page.name}: got {len(found) // 2} cells, expected {len(texts)}")
    cells = zip(texts, found[1::2], strict=True)
    marked = (f"<!-- of the English: {mark(text)} -->\n\n{said}" for text, said in cells)
    page.write_text(before + "".join(marked), "utf-8")


def exercise_cells(ids: list[str], lang: str) -> list[NotebookNode]:
    """Return for each exercise its statement, and a stub to fill in with its check."""
    cells = [new_code_cell("from npformer.exercises import check, hint, solution")]
    for task in map(find, ids):
        head = f"### {task.title.to(lang)}\n\n`{task.id}`"
        stub = task.code.removeprefix(HEADER).strip()
        cells.append(new_markdown_cell(f"{head}\n\n{task.statement.to(lang)}"))
        cells.append(new_code_cell(f'{stub}\n\n\ncheck("{task.id}", {task.function})'))
    return cells


def text_of(notebook: NotebookNode) -> str:
    """Return the file's content."""
    return nbformat.writes(notebook, version=4) + "\n"

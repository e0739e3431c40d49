"""Lessons in two languages from one master each: `python -m notebooks` writes them.

A master is masters/NN_name.py, in jupytext's percent format. Text comes in pairs,
``# %% [markdown] lang="en"`` and then ``lang="zh"``; code is shared. A text cell with
``exercises="ID ID"`` becomes those exercises, as `npformer.exercises` defines them. English is
written to notebooks/, Chinese to notebooks/zh/.
"""

from itertools import zip_longest
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from npformer.exercises.exercise import HEADER
from npformer.exercises.task import find
from npformer.exercises.text import LANGUAGES, Text

FOLDER = Path(__file__).parent
MASTERS = sorted((FOLDER / "masters").glob("*.py"))

# Owner and name on GitHub: what the badges and the line that installs npformer in Colab point to.
REPOSITORY = "npformer/npformer"

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
HEAD = Text(
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/{path})"
    " · [中文](zh/{name})\n\n"
    "In Colab, run `%pip install -q git+https://github.com/{repository}` first.",
    "[![在 Colab 中打开](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repository}/blob/main/{path})"
    " · [English](../{name})\n\n"
    "在 Colab 中请先运行 `%pip install -q git+https://github.com/{repository}`。",
)
EXERCISES_HEAD = Text(
    "## Exercises\n\n"
    "Write the functions and run their cells: `check` says what is right and, where something is "
    'wrong, what the mistake looks like. `hint("ID")` helps in three steps, `solution("ID")` shows '
    "the answer.",
    "## 练习\n\n"
    "写出函数并运行单元格：`check` 会告诉你哪些对了；如果错了，还会指出像是哪种错误。"
    '`hint("ID")` 分三步提示，`solution("ID")` 给出答案。'
    "想看中文反馈，请先运行 `%env NPFORMER_LANG=zh`。",
)


def target(master: Path, lang: str) -> Path:
    """Return where the notebook of a master is written."""
    folder = FOLDER if lang == "en" else FOLDER / lang
    return folder / f"{master.stem}.ipynb"


def make(master: Path, lang: str) -> NotebookNode:
    """Return the lesson in one language.

    Raises
    ------
    ValueError
        If a text cell is not followed by the same in the other language.
    """
    path = target(master, lang)
    place = {"repository": REPOSITORY, "name": path.name}
    place["path"] = path.relative_to(FOLDER.parent).as_posix()
    cells = [new_markdown_cell(HEAD.to(lang).format(**place))]
    for cell in paired(jupytext.read(master, fmt="py:percent").cells, master.name):
        if "exercises" in cell.metadata:
            cells += exercise_cells(cell.metadata["exercises"].split(), lang)
        elif cell.cell_type == "code":
            cells.append(new_code_cell(cell.source))
        elif cell.metadata["lang"] == lang:
            cells.append(new_markdown_cell(cell.source))
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i:02}"
    return new_notebook(cells=cells, metadata=METADATA)


def paired(cells: list[NotebookNode], name: str) -> list[NotebookNode]:
    """Return the cells, once it is sure that their text is there in both languages."""
    texts = [
        (i, cell.metadata.get("lang"))
        for i, cell in enumerate(cells)
        if cell.cell_type == "markdown" and "exercises" not in cell.metadata
    ]
    for (i, first), (j, second) in zip_longest(texts[::2], texts[1::2], fillvalue=(-1, None)):
        if (first, second) != LANGUAGES or j != i + 1 or not cells[j].source:
            raise ValueError(f"{name}: {cells[i].source!r} is not followed by the same in Chinese")
    return cells


def exercise_cells(ids: list[str], lang: str) -> list[NotebookNode]:
    """Return for each exercise its statement, and a stub to fill in with its check."""
    cells = [
        new_markdown_cell(EXERCISES_HEAD.to(lang)),
        new_code_cell("from npformer.exercises import check, hint, solution"),
    ]
    for task in map(find, ids):
        head = f"### {task.title.to(lang)}\n\n`{task.id}`"
        stub = task.code.removeprefix(HEADER).strip()
        cells.append(new_markdown_cell(f"{head}\n\n{task.statement.to(lang)}"))
        cells.append(new_code_cell(f'{stub}\n\n\ncheck("{task.id}", {task.function})'))
    return cells


def text_of(notebook: NotebookNode) -> str:
    """Return the file's content."""
    return nbformat.writes(notebook, version=4) + "\n"

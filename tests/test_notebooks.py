"""Notebooks run from top to bottom without error or warning, and are stored without outputs.

The lessons among them are what their masters say, in both languages.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

# Before jupyter_core is imported: without it, it warns that its folders will move.
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets import default

from notebooks.lessons import (
    HEADS,
    MASTERS,
    METADATA,
    REPOSITORY,
    make,
    page_of,
    target,
    text_of,
    translated,
    write_marks,
)
from npformer.exercises.course import EXERCISES
from npformer.exercises.museum import BUGS
from npformer.exercises.text import LANGUAGES
from npformer.exercises.translation import mark

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TRANSLATED = sorted((ROOT / "notebooks" / "zh").glob("*.ipynb"))

ONE_PAGE, *LESSONS = MASTERS  # the page builds everything anew and has no exercises

SECONDS = 60  # of one processor, for a whole notebook
CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
LEFT = ("metadata", "attachments", "outputs", "execution_count")  # behind, in a cell

ENVIRONMENT = {
    **os.environ,
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # What a reader's kernel draws with, in place of conftest's Agg, which cannot show a figure.
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # The checkout under test, whatever is installed.
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
}


class ThisPython(AsyncKernelManager):
    """Starts this interpreter: a "python3" that the user installed may be another one."""

    @default("kernel_spec_manager")
    def _no_folder_to_find_others_in(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Run all cells in a kernel of this interpreter, in ``folder``."""
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=ThisPython,
        timeout=300,
        resources={"metadata": {"path": str(folder)}},
    )
    return client.execute(env=ENVIRONMENT)


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def complaints(notebook: nbformat.NotebookNode) -> str:
    """Return what the cells wrote to stderr: warnings, mostly."""
    return "".join(o.text for o in outputs(notebook) if o.get("name") == "stderr")


def residue(notebook: Mapping[str, Any]) -> list[str]:
    """Name what running or editing a notebook leaves in its file, as read by `json`."""
    found = [f"metadata {name}" for name in notebook["metadata"] if name not in METADATA]
    if notebook["metadata"].get("kernelspec") != METADATA["kernelspec"]:
        found.append("kernelspec")
    if notebook["metadata"].get("language_info") != METADATA["language_info"]:
        found.append("language_info")
    for i, cell in enumerate(notebook["cells"]):
        found += [f"cell {i}: {name}" for name in LEFT if cell.get(name)]
    return found


def page_id(path: Path) -> str:
    return path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()


def test_notebooks_are_one_page_the_lessons_and_quickstart() -> None:
    pages = [f"{master.stem}.ipynb" for master in MASTERS]
    assert ONE_PAGE.stem == "00_one_page"
    assert len(LESSONS) == 13
    assert [path.name for path in NOTEBOOKS] == [*pages, "quickstart.ipynb"]
    assert [path.name for path in TRANSLATED] == pages


@pytest.mark.parametrize("path", NOTEBOOKS + TRANSLATED, ids=page_id)
def test_stored_without_outputs(path: Path) -> None:
    nbformat.validate(read(path))
    assert residue(json.loads(path.read_text("utf-8"))) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=page_id)
def test_runs(path: Path) -> None:
    notebook = read(path)
    notebook.cells.append(nbformat.v4.new_code_cell("import time; time.process_time()"))
    done = execute(notebook, path.parent)
    assert complaints(done) == ""
    # The kernel's own time: that of the clock depends on what else the machine does.
    assert float(done.cells[-1].outputs[0].data["text/plain"]) < SECONDS
    drawn = sum("image/png" in output.get("data", {}) for output in outputs(done))
    shown = sum(cell.source.count("plt.show()") for cell in done.cells)
    assert drawn == shown > 0


@pytest.mark.slow
def test_a_broken_notebook_is_noticed(tmp_path: Path) -> None:
    cell = nbformat.v4.new_code_cell
    loud = "import sys, warnings\nprint(sys.executable)\nwarnings.warn('mind this')"
    notebook = nbformat.v4.new_notebook(cells=[cell(loud), cell("1 / 0")])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(notebook, tmp_path)
    assert "mind this" in complaints(notebook)
    assert outputs(notebook)[0].text == f"{sys.executable}\n"
    assert residue(notebook) == [
        "kernelspec",
        "language_info",
        *(f"cell {i}: {left}" for i in range(2) for left in LEFT if left != "attachments"),
    ]


# Lessons


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("master", MASTERS, ids=lambda master: master.stem)
def test_a_lesson_is_what_its_master_says(master: Path, lang: str) -> None:
    stored = target(master, lang).read_text("utf-8")
    assert stored == text_of(make(master, lang)), "stale: run `python -m notebooks`"


@pytest.mark.parametrize("master", MASTERS, ids=lambda master: master.stem)
def test_the_two_languages_differ_in_their_text_alone(master: Path) -> None:
    english, chinese = (read(target(master, lang)).cells for lang in LANGUAGES)
    for en, zh in zip(english, chinese, strict=True):
        assert en.cell_type == zh.cell_type
        if en.cell_type == "code":
            assert en.source == zh.source
            # In code it would be in a figure sooner or later, whose font has no Chinese.
            assert not CHINESE.search(en.source)
        else:
            assert CHINESE.search(zh.source)
            assert not CHINESE.search(en.source.replace("[中文]", ""))


@pytest.mark.parametrize("master", LESSONS, ids=lambda master: master.stem)
def test_a_lesson_uses_the_library_and_asserts(master: Path) -> None:
    cells = [c.source for c in read(target(master, "en")).cells if c.cell_type == "code"]
    end = next(i for i, code in enumerate(cells) if "exercises import check, hint" in code)
    lesson, exercises = cells[:end], cells[end:]
    assert "import npformer as nf" in lesson[0]
    assert "plt.show()" in "".join(lesson)
    assert "assert" in lesson[-1].lower()  # or AssertionError
    assert len(exercises) > 1


def test_every_exercise_is_in_one_lesson() -> None:
    code = "\n".join(
        cell.source
        for master in MASTERS
        for cell in read(target(master, "en")).cells
        if cell.cell_type == "code"
    )
    found = Counter(re.findall(r'^check\("([\w-]+)", \w+\)$', code, re.MULTILINE))
    bugs = Counter(bug.id for bug in BUGS)
    assert found - bugs == Counter(exercise.id for exercise in EXERCISES)
    assert max(found.values()) == 1
    assert {bug for bug in bugs if bug.startswith("blog")} <= found.keys()


def test_the_course_page_lists_the_lessons() -> None:
    page = (ROOT / "docs" / "course.md").read_text("utf-8")
    listed = re.findall(r"^\| `notebooks/(\w+)\.ipynb` \|", page, re.MULTILINE)
    assert listed == [master.stem for master in MASTERS]


@pytest.mark.parametrize("path", NOTEBOOKS[:-1] + TRANSLATED, ids=page_id)
def test_a_badge_opens_it_in_colab_and_a_link_the_other_language(path: Path) -> None:
    head = read(path).cells[0].source
    place = path.relative_to(ROOT).as_posix()
    assert f"(https://colab.research.google.com/github/{REPOSITORY}/blob/main/{place})" in head
    links = [name for name in re.findall(r"\(([^)]+)\)", head) if not name.startswith("http")]
    assert [(path.parent / link).resolve() for link in links] == [
        target(path, "en" if path in TRANSLATED else "zh")
    ]


MASTER = "# %% [markdown]\n# One.\n# %%\n1 + 1\n# %% [markdown]\n# Two.\n"


def page(*pairs: tuple[str, str]) -> str:
    return "\n".join(f"<!-- of the English: {mark(en)} -->\n\n{zh}\n" for en, zh in pairs)


@pytest.mark.parametrize(
    ("chinese", "message"),
    [
        (page(("One.", "一。")), "cell 2 .* the Chinese of 'Two.'"),
        (page(("Two.", "二。")), "cell 1 .* the Chinese of 'One.'"),
        (page(("Two.", "二。"), ("One.", "一。")), "cell 1 .* the Chinese of 'One.'"),
        (page(("One!", "一。"), ("Two.", "二。")), "cell 1 .* the Chinese of 'One.'"),
        (page(("One.", "一。"), ("Two.", "二。"), ("", "三。")), "cell 3 .* nothing more"),
    ],
)
def test_text_in_one_language_is_noticed(
    chinese: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notebooks.lessons.page_of", lambda master: tmp_path / f"{master.stem}.md")
    master, translation = tmp_path / "01_one.py", tmp_path / "01_one.md"
    master.write_text(MASTER, "utf-8")
    (tmp_path / "lessons.md").write_text(page_of(Path("lessons")).read_text("utf-8"), "utf-8")
    translation.write_text(chinese, "utf-8")
    with pytest.raises(ValueError, match=rf"^01_one\.md: .*{message}"):
        make(master, "zh")
    translation.write_text(page(("One.", "一。"), ("Two.", "二。")), "utf-8")
    assert [cell.source for cell in make(master, "en").cells[1:]] == ["One.", "1 + 1", "Two."]
    assert [cell.source for cell in make(master, "zh").cells[1:]] == ["一。", "1 + 1", "二。"]


def test_a_translation_is_marked_anew_cell_by_cell(tmp_path: Path) -> None:
    translation = tmp_path / "01_one.md"
    translation.write_text(page(("One.", "一。"), ("Two.", "二。")), "utf-8")
    write_marks(["1", "2"], translation)
    assert translated(["1", "2"], translation) == ["一。", "二。"]
    with pytest.raises(ValueError, match=r"^01_one\.md: got 2 cells, expected 3$"):
        write_marks(["1", "2", "3"], translation)
    assert translated(["1", "2"], translation) == ["一。", "二。"]


def test_no_translation_is_of_a_master_that_is_gone() -> None:
    folder = page_of(Path("lessons")).parent
    assert {path.stem for path in folder.iterdir()} == {m.stem for m in MASTERS} | {"lessons"}
    assert all(not CHINESE.search(master.read_text("utf-8")) for master in MASTERS)
    assert all("中文" in text or not CHINESE.search(text) for text in HEADS)

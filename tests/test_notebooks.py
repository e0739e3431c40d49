"""Notebooks run from top to bottom without error or warning, and are stored without outputs."""

import json
import os
import sys
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

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
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


def test_there_is_a_notebook() -> None:
    assert "quickstart.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path: Path) -> None:
    nbformat.validate(read(path))
    assert residue(json.loads(path.read_text("utf-8"))) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path) -> None:
    done = execute(read(path), path.parent)
    assert complaints(done) == ""
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

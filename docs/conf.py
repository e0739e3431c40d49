"""Sphinx settings: `sphinx-build -W --keep-going -b html docs OUT`, no network needed."""

import shutil
from pathlib import Path
from typing import Any

import npformer

HERE = Path(__file__).parent

project = "npformer"
author = "The npformer authors"
copyright = "2026, The npformer authors"
version = release = npformer.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    # MathJax from a wheel instead of a CDN, which not every reader can reach.
    "sphinx-mathjax-offline",
    "sphinx.ext.viewcode",
    "numpydoc",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "npformer"
html_theme_options = {"navigation_with_keys": True}

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3
# The tests execute the notebook; the pages show it as it is stored.
nb_execution_mode = "off"

# `name` in a docstring links where it can: a private or re-exported name stays unlinked.
default_role = "autolink"
nitpick_ignore_regex = [("py:obj", r".*")]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autosummary_generate = True
numpydoc_show_class_members = False

# Sphinx reads sources below docs/ only.
shutil.copyfile(HERE.parent / "notebooks" / "quickstart.ipynb", HERE / "quickstart.ipynb")


def _skip_cache_fields(
    app: object, what: str, name: str, obj: Any, skip: bool, options: object
) -> bool | None:
    """Leave out the fields of a NamedTuple: their generated docstrings say nothing."""
    doc = getattr(obj, "__doc__", None) or ""
    return True if doc.startswith("Alias for field number") else None


def setup(app: Any) -> None:
    """Connect what has no setting."""
    app.connect("autodoc-skip-member", _skip_cache_fields)

"""Recipes, drawing and Makefile are held to the tree; that named files exist, test_docs.py says."""

import importlib
import re
from pathlib import Path

import npformer
from docs.architecture_figure import FIGURE, NEW, PARTS, ROOMS, draw, floors

ROOT = Path(__file__).parents[1]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_a_recipe_for_each_number_of_the_drawing() -> None:
    recipes = re.findall(r"^### A new (.+)$", read(CONTRIBUTING), re.MULTILINE)
    assert [name.partition(" or ")[0] for name in recipes] == [what for what, _ in NEW.values()]
    rows = re.findall(r"^\| ([\w ]+) \|", read(ARCHITECTURE).partition("| New |")[2], re.MULTILINE)
    assert rows == [what for what, _ in NEW.values()]


def test_every_test_that_a_recipe_names_says_so() -> None:
    """A sentence after a file is the name of a test in it."""
    for path, words in re.findall(r"`(tests/[\w/]+\.py)`, ([a-z ]+?) \|", read(CONTRIBUTING)):
        assert f"def test_{words.replace(' ', '_')}" in read(ROOT / path), (path, words)


def test_the_drawing_is_of_these_floors() -> None:
    assert read(FIGURE) == draw(), "stale: run `python -m docs.architecture_figure`"
    rooms = [room for floor in floors() for room in floor]
    assert sorted(rooms) == sorted(ROOMS)
    assert [room for room in rooms if room in PARTS] == list(reversed(PARTS))


def found(pattern: str, text: str) -> list[tuple[str, str]]:
    """Return the (number, package) of every line that the pattern fits."""
    return re.findall(f"^{pattern}", text, re.MULTILINE)


def test_the_parts_are_numbered_alike() -> None:
    parts = [(number, package) for package, number in PARTS.items()]
    english, chinese, index, api = (
        read(ROOT / name)
        for name in ("README.md", "README.zh-CN.md", "docs/index.md", "docs/api.md")
    )
    assert found(r"\| ([IVX]+) \| \[`npformer/(\w+)/`\]", english) == parts
    assert found(r"\| ([IVX]+) \| `npformer\.(\w+)` ", index) == parts
    assert found(r"\* Part ([IVX]+), `npformer\.(\w+)`,", npformer.__doc__ or "") == parts
    numbers = dict(zip("一二三四五六七八", "I II III IV V VI VII VIII".split(), strict=True))
    rows = found(r"\| ([一二三四五六七八]) \| \[`npformer/(\w+)/`\]", chinese)
    assert [(numbers[number], package) for number, package in rows] == parts
    titles = re.findall(r"^## Part ([IVX]+): ", api, re.MULTILINE)
    assert titles == [number for number, package in parts if package != "cli"]
    for number, package in parts:
        page = importlib.import_module(f"npformer.{package}").__doc__ or ""
        assert page.startswith(f"Part {number}, "), package


def test_make_runs_the_commands_of_ci() -> None:
    ci = re.sub(r'"\$(?:bin|work/oldest/bin)/([\w-]+)"', r"\1", read(ROOT / ".ci" / "run"))
    ci = ci.replace('"$work/html"', "docs/_build")
    checks, _, _ = read(ROOT / "Makefile").partition("# Not a check")
    commands = re.findall(r"^\t(.+)$", checks, re.MULTILINE)
    assert len(commands) == 7
    assert [command for command in commands if f"\n{command}\n" not in ci] == []
    for name, value in re.findall(r"^export (\w+) = (\w+)$", checks, re.MULTILINE):
        assert re.search(rf"^export .*\b{name}={value}\b", ci, re.MULTILINE)

"""The prose is held to the code: commands, links, quoted source, examples, version."""

import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from npformer.distill.recipes import RECIPES, Recipe

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
READMES = [README, ROOT / "README.zh-CN.md"]
PAGES = sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs" / "derivations").glob("*.md"))
PROSE = [*READMES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]

FENCE = re.compile(r"^```(\S*) *(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, kind: str) -> list[str]:
    """Return the fenced blocks of one kind: "python", "{doctest}", "{code-block}"."""
    return [body for found, _, body in FENCE.findall(read(path)) if found == kind]


def command(path: Path, name: str) -> str:
    """Return the one command in the block after ``<!-- command:NAME -->``."""
    found = re.findall(rf"<!-- command:{name} -->\n```sh\n(.+)\n```", read(path))
    assert len(found) == 1, f"{page_id(path)}: {len(found)} commands {name!r}"
    return str(found[0])


# Commands


@pytest.mark.parametrize("name", ["distill", "test"])
def test_both_readmes_give_the_same_command(name: str) -> None:
    first, second = (command(path, name) for path in READMES)
    assert first == second


@pytest.mark.parametrize("name", ["distill", "test"])
def test_commands_set_up_a_fresh_environment(name: str) -> None:
    steps = command(README, name).split(" && ")
    assert re.fullmatch(r"python3 -m venv \S+", steps[0])
    folder = steps[0].split()[-1]
    assert len(steps) == 3
    assert steps[1].startswith(f"{folder}/bin/pip install ")
    assert steps[2].startswith(f"{folder}/bin/")


def test_ci_runs_the_readmes_test_command() -> None:
    script = read(ROOT / ".ci" / "run")
    [awk] = re.findall(r"command=\$\((awk '[^']+' README\.md)\)", script)
    done = subprocess.run(["bash", "-c", awk], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == command(README, "test")
    assert 'bash -euo pipefail -c "$command"' in script


# Source quoted in prose


def quotations() -> list[tuple[str, str, str]]:
    """Return (page, source file, quoted code) of every block that names its file."""
    found = []
    for path in PROSE:
        for kind, caption in (("python", "# "), ("{code-block}", ":caption: ")):
            for body in blocks(path, kind):
                first, _, rest = body.partition("\n")
                if first.startswith(f"{caption}npformer/"):
                    found.append((page_id(path), first.removeprefix(caption), rest))
    return found


QUOTATIONS = quotations()


def test_there_are_quotations() -> None:
    assert {page for page, _, _ in QUOTATIONS} >= {page_id(path) for path in READMES}
    assert any(page == "docs/derivations/attention.md" for page, _, _ in QUOTATIONS)


@pytest.mark.parametrize(
    ("page", "source", "code"),
    QUOTATIONS,
    ids=[f"{page}-{i}" for i, (page, *_) in enumerate(QUOTATIONS)],
)
def test_quoted_source_is_in_the_source_in_this_order(page: str, source: str, code: str) -> None:
    lines = iter(read(ROOT / source).splitlines())
    for line in filter(str.strip, code.splitlines()):
        assert any(
            line.rstrip() == s or (line.endswith("(") and s.startswith(line)) for s in lines
        ), f"{page} quotes a line that is not in {source}, or not in this order: {line!r}"


# Examples


@pytest.mark.parametrize("path", PROSE, ids=page_id)
def test_doctest_blocks_run(path: Path) -> None:
    text = "\n".join(blocks(path, "{doctest}"))
    test = doctest.DocTestParser().get_doctest(text, {}, page_id(path), str(path), 0)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("path", READMES, ids=page_id)
def test_readme_examples_run_and_print_what_they_say(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for body in blocks(path, "python"):
        if not body.startswith("# npformer/"):
            exec(compile(body, str(path), "exec"), {})
    printed = capsys.readouterr().out.split()
    said = "\n".join(blocks(path, "text")).split()
    assert printed
    assert [round_number(word) for word in printed] == [round_number(word) for word in said]


def round_number(word: str) -> str:
    """Keep four digits of a number: the last ones differ between machines."""
    try:
        return f"{float(word.strip(',.')):.4g}"
    except ValueError:
        return word


# Links and names


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("path", PROSE, ids=page_id)
def test_links_between_files_resolve(path: Path) -> None:
    for target in LINK.findall(read(path)):
        if not re.match(r"https?:|#", target):
            file = path.parent / target.partition("#")[0]
            assert file.exists(), f"{page_id(path)} links to {target}"


@pytest.mark.parametrize("path", PROSE, ids=page_id)
def test_named_files_and_modules_exist(path: Path) -> None:
    for name in re.findall(r"`((?:npformer|notebooks|tests|docs)/[\w./-]*)`", read(path)):
        assert (ROOT / name).exists(), f"{page_id(path)} names {name}"
    for name in re.findall(r"\{(?:mod|func|class)\}`(?:[\w.]+ <)?([\w.]+)>?`", read(path)):
        resolve(name)


def resolve(name: str) -> object:
    """Import the longest module in a dotted name and take the attributes after it."""
    module, _, attribute = name.rpartition(".")
    try:
        return importlib.import_module(name)
    except ImportError:
        return getattr(resolve(module), attribute)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_page_is_in_the_contents(path: Path) -> None:
    listed = "\n".join(blocks(ROOT / "docs" / "index.md", "{toctree}")).split()
    page = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
    assert page == "index" or page in listed


@pytest.mark.parametrize("path", READMES, ids=page_id)
def test_readmes_begin_with_the_languages(path: Path) -> None:
    assert read(path).startswith("[English](README.md) | [简体中文](README.zh-CN.md)\n")


def test_readmes_have_the_same_sections() -> None:
    shape = [
        re.findall(r"^(#+) |^```(\w+)$|^<!-- (.+) -->$", read(path), re.MULTILINE)
        for path in READMES
    ]
    assert shape[0] == shape[1]


# The table of recipes


def test_table_of_recipes_says_what_the_code_does() -> None:
    _, _, after = read(ROOT / "docs" / "deviations.md").partition("<!-- flags -->")
    table = re.match(r"\s*((?:\|.*\n)+)", after)
    assert table is not None
    head, _, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table[1].splitlines()
    )
    names = [name.strip("`") for name in head[2:]]
    assert set(names) == set(RECIPES)
    assert [row[0].strip("`") for row in rows] == [field.name for field in fields(Recipe)]
    for flag, _, *cells in rows:
        for name, cell in zip(names, cells, strict=True):
            value = getattr(RECIPES[name], flag.strip("`"))
            assert cell.startswith(f"`{value}`"), f"{flag} of {name}: {cell}"


# Version


def test_one_version_everywhere() -> None:
    version = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"]
    assert f"\nversion: {version}\n" in read(ROOT / "CITATION.cff")
    assert f"\n## [{version}]" in read(ROOT / "CHANGELOG.md")
    code = "import npformer; print(npformer.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == version

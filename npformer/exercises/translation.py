"""The Chinese of what is said in English in the code: Markdown in a folder ``zh`` beside it.

``calculus/layer_norm.py`` is said in English, ``calculus/zh/layer_norm.md`` in Chinese::

    # layer-norm

    **title** 层归一化

    **statement** 对长度为 D 的**最后一个**轴做归一化……

    A further paragraph belongs to the entry above it.

    <!-- of the English: title 1c5a70, statement 5f09be -->

A heading is the id of an exercise, a card or a bug, and each entry begins with its name in bold.
The last line of a section has for each entry a mark of the English that it was written for; if the
English changes, `stale` names the entry. Whoever has looked after it runs

    python -m npformer.exercises.marks

which writes the marks anew.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from npformer.checks import InputError
from npformer.exercises.text import LANGUAGES, Text

MESSAGES = Path(__file__).parent / "zh" / "messages.md"

_HEADING = re.compile(r"# (\S+)")
_ENTRY = re.compile(r"\*\*(.+?)\*\* (.+)", re.DOTALL)
_MARKS = re.compile(r"<!-- of the English: (.*) -->")


class Section(NamedTuple):
    """What a file says of one id: texts by name, and the marks of the English, by name too."""

    texts: dict[str, str]
    marks: dict[str, str]


def beside(source: Path) -> Path:
    """Return where the Chinese of a Python file is."""
    return source.parent / "zh" / f"{source.stem}.md"


def in_both(source: Path, name: str, english: Mapping[str, str]) -> dict[str, Text]:
    """Return in both languages what a file says; English twice if nobody has translated the file.

    Parameters
    ----------
    source : Path
        The Python file.
    name : str
        The id.
    english : mapping of str
        All texts of this id, by name.

    Raises
    ------
    InputError
        If the translation has no such id, lacks a text or has one too many, or cannot be read.
    """
    page = beside(source)
    if not page.is_file():
        return {key: Text(text, text) for key, text in english.items()}
    sections = read(page)
    if name not in sections:
        raise InputError(f"{page.name}: got no heading # {name}, expected one, as in {source.name}")
    chinese = sections[name].texts
    for key in english.keys() - chinese.keys():
        raise InputError(f"{page.name}, # {name}: got no **{key}**, expected its translation")
    for key in chinese.keys() - english.keys():
        raise InputError(
            f"{page.name}, # {name}: got **{key}**, of which {source.name} says nothing"
        )
    return {key: Text(text, chinese[key]) for key, text in english.items()}


def message(english: str, **fields: object) -> Text:
    """Return what the program says, in both languages; ``zh/messages.md`` has it by its English.

    What it does not have is said in English: the name of a case in somebody's own course.

    Parameters
    ----------
    english : str
    **fields
        For the places in braces, there and in the Chinese; a Text in each language.
    """
    pages = [section.texts for section in read(MESSAGES).values()]
    chinese = next((texts[english] for texts in pages if english in texts), english)
    if not fields:
        return Text(english, chinese)
    said = {lang: {k: _to(v, lang) for k, v in fields.items()} for lang in LANGUAGES}
    return Text(english.format(**said["en"]), chinese.format(**said["zh"]))


def _to(value: object, lang: str) -> object:
    return value.to(lang) if isinstance(value, Text) else value


def stale(source: Path, name: str, english: Mapping[str, str]) -> list[str]:
    """Return the names of the texts whose English has changed since the Chinese was written.

    Raises
    ------
    InputError
        Where `in_both` does.
    """
    if not beside(source).is_file():
        return []
    in_both(source, name, english)
    marks = read(beside(source))[name].marks
    return [key for key, text in english.items() if marks.get(key) != mark(text)]


def mark(text: str) -> str:
    """Return a short mark of a text; where its lines break makes no difference."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:6]


@cache
def read(page: Path) -> dict[str, Section]:
    """Return the sections of a translation by their ids.

    Raises
    ------
    InputError
        If something stands before the first heading or entry, or twice.
    """
    sections: dict[str, Section] = {}
    name = key = ""
    for block in re.split(r"\n\s*\n", page.read_text("utf-8").strip()):
        heading, entry = _HEADING.fullmatch(block), _ENTRY.fullmatch(block)
        marks = _MARKS.fullmatch(block)
        if heading:
            name, key = heading[1], ""
            if name in sections:
                raise InputError(f"{page.name}: got the heading # {name} twice, expected it once")
            sections[name] = Section({}, {})
        elif marks and name:
            sections[name].marks.update(re.findall(r"([^\s,]+) ([0-9a-f]{6})", marks[1]))
        elif entry and name:
            key = entry[1]
            if key in sections[name].texts:
                raise InputError(f"{page.name}, # {name}: got **{key}** twice, expected it once")
            sections[name].texts[key] = entry[2]
        elif key:
            sections[name].texts[key] += f"\n\n{block}"
        else:
            raise InputError(
                f"{page.name}: got {block[:30]!r}, expected a heading # ID, then entries **NAME**"
            )
    return sections

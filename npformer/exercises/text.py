"""What is said in English and in Chinese, and which of the two is wanted."""

import inspect
import locale
import os
import re
import unicodedata
from typing import NamedTuple

from npformer.checks import InputError

LANGUAGES = ("en", "zh")


class Text(NamedTuple):
    """The same in both languages; Markdown, with formulas between dollar signs."""

    en: str
    zh: str

    def to(self, lang: str) -> str:
        """Return it in one of `LANGUAGES`."""
        return self.zh if lang == "zh" else self.en


COLON = Text(": ", "：")


def asked(lang: str | None = None) -> str | None:
    """Return the language asked for by name: ``lang``, else ``NPFORMER_LANG``, if there is one.

    Raises
    ------
    InputError
        If it is not one of `LANGUAGES`.
    """
    for name, given in (("lang", lang), ("NPFORMER_LANG", os.environ.get("NPFORMER_LANG"))):
        if given:
            if given not in LANGUAGES:
                raise InputError(f"{name}: got {given!r}, expected one of {', '.join(LANGUAGES)}")
            return given
    return None


def language(lang: str | None = None) -> str:
    """Return the language asked for: ``lang``, else ``NPFORMER_LANG``, else the locale's.

    Raises
    ------
    InputError
        If ``lang`` or ``NPFORMER_LANG`` is another one.
    """
    here = "zh" if _locale().lower().startswith(("zh", "chinese")) else "en"
    return asked(lang) or here


def unwrapped(text: str) -> str:
    """Return Markdown with each paragraph and each item of a list on one line."""
    lines = [""]
    code = False
    for line in inspect.cleandoc(text).split("\n"):
        code ^= line.startswith("```")
        begins = re.match(r"$|```|[|]|\s*([-*]|\d+\.) ", line)
        if code or begins or not lines[-1] or lines[-1].startswith(("```", "|")):
            lines.append(line)
        else:
            lines[-1] += f" {line.lstrip()}"
    return "\n".join(lines[1:])


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _locale() -> str:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):  # in the order of POSIX
        if os.environ.get(name):
            return os.environ[name]
    return locale.getlocale()[0] or ""  # Windows sets no variable

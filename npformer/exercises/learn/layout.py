"""Lines of a given width, where a Chinese letter is as wide as two Latin ones."""

import re

from npformer.exercises.text import width

WIDTH = 88
_CLOSING = "，。；：、！？）」』”》"  # no line begins with these
_PIECE = re.compile(rf"\s+|[⺀-￮][{_CLOSING}]*|[^\s⺀-￮]+[{_CLOSING}]*")


def pad(text: str, columns: int) -> str:
    """Fill up with spaces."""
    return text + " " * (columns - width(text))


def fill(text: str, columns: int = WIDTH) -> list[str]:
    """Break Markdown into lines; formulas of their own, code and tables stay as they are."""
    lines: list[str] = []
    code = False
    for line in text.split("\n"):
        fence = line.startswith("```")
        code ^= fence
        as_it_is = code or fence or line.startswith(("$$", "|"))
        lines += [line] if as_it_is else _fill_line(line, columns)
    return lines


def _fill_line(line: str, columns: int) -> list[str]:
    item = re.match(r"(\s*)(?:[-*] |\d+\. )?", line)
    indent = " " * len(item.group()) if item else ""
    lines = [""]
    for piece in _PIECE.findall(line):
        if lines[-1].strip() and width(lines[-1] + piece.rstrip()) > columns:
            lines[-1] = lines[-1].rstrip()
            lines.append(indent + piece.lstrip())
        else:
            lines[-1] += piece
    return lines

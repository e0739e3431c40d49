"""Arguments of the commands: lists of names, checked before anything is run."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from npformer.checks import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise what the command line prints."""
        raise InputError(message)


def names_of(choices: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a parser of a comma-separated list of ``choices``; an empty one is allowed."""
    known = list(choices)

    def parse(text: str) -> list[str]:
        names = list(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"got {name!r}, expected some of {', '.join(known)}"
                )
        return names

    return parse


def fractions(text: str) -> list[float]:
    """Parse a comma-separated list of numbers in [0, 1)."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(0 <= v < 1 for v in values):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected numbers from 0 to below 1")
    return list(dict.fromkeys(values))


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of at least 1")
    return int(text)


def new_file(text: str) -> Path:
    """Parse the path of a file to write: refused now and not after minutes of work."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a file in a folder that exists")
    return path

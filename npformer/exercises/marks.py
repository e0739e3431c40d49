"""``python -m npformer.exercises.marks``: mark every translation as one of today's English.

Run it after the Chinese of all texts that the tests call stale has been looked at. With the folder
of a course of one's own it marks that.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from npformer.exercises.course import EXERCISES
from npformer.exercises.exercise import Exercise
from npformer.exercises.museum import BUGS, Bug
from npformer.exercises.own import open_course
from npformer.exercises.quiz.card import Card
from npformer.exercises.quiz.deck import CARDS
from npformer.exercises.translation import beside, mark

# All that is translated by id.
THINGS: tuple[Exercise | Card | Bug, ...] = (*EXERCISES, *CARDS, *BUGS)


def write(source: Path, name: str, english: Mapping[str, str]) -> None:
    """Write the marks of one id into the translation beside a Python file."""
    page = beside(source)
    marks = ", ".join(f"{key} {mark(text)}" for key, text in english.items())
    line = f"<!-- of the English: {marks} -->\n"
    before, heading, rest = page.read_text("utf-8").partition(f"# {name}\n")
    body, next_heading, after = rest.partition("\n# ")
    body = re.sub(r"\n*<!-- of the English: .*\n", "", body).rstrip("\n")
    text = f"{before}{heading}{body}\n\n{line}{next_heading}{after}"
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    for thing in open_course(sys.argv[1]).exercises if sys.argv[1:] else THINGS:
        if beside(thing.file).is_file():
            write(thing.file, thing.id, thing.english)

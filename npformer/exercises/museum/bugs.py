"""What a bug of the museum is: a wrong function beside the right one, and how to tell them apart.

The wrong function says what happened, a paragraph each: a title, the story, the statement of what
the function should do, and what shows the bug. Right code and the test that finds it stand above::

    @bug(
        "rms-norm-centred",
        right=rms_norm,
        witness=test_a_mean_stays,
        exercise="rms-norm-backward",
        tracks=("interview", "class"),
    )
    def mean_taken_away(x, gamma):
        '''An RMS norm that subtracts the mean

        A port of ... nobody saw it, because ...

        `rms_norm(x, gamma)` divides each row by ...

        A row of equal numbers becomes zero, expected gamma.
        '''
        return ...

The Chinese stands in the folder ``zh`` beside the file, by the names title, story, statement and
symptom (see `npformer.exercises.translation`).
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npformer.exercises.source import bare_source, paragraphs, source_of
from npformer.exercises.text import Text
from npformer.exercises.translation import in_both


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A bug of published code, written anew, and an exercise: the learner writes the test.

    Parameters
    ----------
    id : str
        In lower case, with hyphens.
    right : callable
        A few lines that call the library. Its name, signature and docstring are the learner's.
    wrong : callable
        The same signature, in plain NumPy, with the bug and no other. The paragraphs of its
        docstring are the title: what kind of bug it is; the story: what happened and why nobody
        saw it; the statement: what the function should do, down to shapes and conventions, so that
        a test can be written without seeing either version, and without naming the bug; and the
        symptom: what shows it, for a solved exercise.
    witness : callable
        ``witness(fn)``, a test of ours that finds it: the solution. It uses NumPy alone.
    exercise : str
        The id of the exercise that asks for the right function, or is nearest to it.
    tracks : tuple of str
        Of `npformer.exercises.exercise.TRACKS`.
    acknowledged : str
        Where the maintainers of the code said that it is a bug. Only then the story names them.
    """

    id: str
    right: Callable[..., Any]
    wrong: Callable[..., Any]
    witness: Callable[[Callable[..., Any]], None]
    exercise: str
    tracks: tuple[str, ...]
    acknowledged: str = ""

    @property
    def file(self) -> Path:
        """Where it is defined."""
        return Path(inspect.getfile(self.wrong))

    @property
    def english(self) -> dict[str, str]:
        """All it says, by name: title, story, statement and symptom."""
        return paragraphs(self.wrong, "title", "story", "statement", "symptom")

    @property
    def said(self) -> dict[str, Text]:
        """The same in both languages."""
        return in_both(self.file, self.id, self.english)

    @property
    def function(self) -> str:
        """The name of the function under test."""
        return self.right.__name__

    @property
    def signature(self) -> str:
        """How it is called: ``layer_norm(x, gamma, beta)``."""
        return f"{self.function}{inspect.signature(self.right)}"

    @property
    def stub(self) -> str:
        """What the learner begins with; it needs ``numpy`` as ``np``."""
        says = (inspect.getdoc(self.right) or "").replace("\n", "\n    ")
        return (
            "def test(fn):\n"
            '    """Pass if fn is right, fail by an assert if it has the bug.\n\n'
            f"    fn is {self.signature}\n"
            f"    {says}\n"
            '    """\n'
            "    raise NotImplementedError\n"
        )

    @property
    def solution(self) -> str:
        """The witness as source, named ``test``."""
        source = source_of(self.witness)
        return source.replace(f"def {self.witness.__name__}(", "def test(", 1)

    @property
    def wrong_source(self) -> str:
        """The bug as source; for a solved exercise."""
        return bare_source(self.wrong)


def bug(bug_id: str, **about: Any) -> Callable[[Callable[..., Any]], Bug]:
    """Make a bug of the wrong function that tells it; the others are parameters of `Bug`."""
    return lambda wrong: Bug(id=bug_id, wrong=wrong, **about)

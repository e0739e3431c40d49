"""What a bug of the museum is: a wrong function beside the right one, and how to tell them apart."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from npformer.exercises.text import Text


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A bug of published code, written anew, and an exercise: the learner writes the test.

    Parameters
    ----------
    id : str
        In lower case, with hyphens.
    title, story : Text
        What kind of bug it is; what happened and why nobody saw it.
    statement : Text
        What the function should do, down to shapes and conventions, so that a test can be written
        without seeing either version. It does not name the bug.
    right : callable
        A few lines that call the library. Its name, signature and docstring are the learner's.
    wrong : callable
        The same signature, in plain NumPy, with the bug and no other.
    symptom : Text
        What shows it; for a solved exercise.
    witness : callable
        ``witness(fn)``, a test of ours that finds it: the solution. It uses NumPy alone.
    topic : str
        The chapter.
    tracks : tuple of str
        Of `npformer.exercises.exercise.TRACKS`.
    exercise : str
        The id of the exercise that asks for the right function, or is nearest to it.
    acknowledged : str
        Where the maintainers of the code said that it is a bug. Only then the story names them.
    """

    id: str
    title: Text
    story: Text
    statement: Text
    right: Callable[..., Any]
    wrong: Callable[..., Any]
    symptom: Text
    witness: Callable[[Callable[..., Any]], None]
    topic: str
    tracks: tuple[str, ...]
    exercise: str
    acknowledged: str = ""

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
        source = textwrap.dedent(inspect.getsource(self.witness))
        return source.replace(f"def {self.witness.__name__}(", "def test(", 1)

    @property
    def wrong_source(self) -> str:
        """The bug as source; for a solved exercise."""
        return textwrap.dedent(inspect.getsource(self.wrong))

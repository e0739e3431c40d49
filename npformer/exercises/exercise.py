"""What an exercise is: one definition that feeds the notebook, the terminal, pytest and a class.

It has a file of its own, named like its id, in the folder of its topic: ``calculus/layer_norm.py``.
There stand a reference that calls the library, cases, the `Exercise`, and below it the mistakes:
each is a wrong function, and its docstring says what is wrong::

    LAYER_NORM = Exercise(
        id="layer-norm",
        title="Layer norm",
        statement=r'''
    Normalise the **last** axis, of length D ... lines may break anywhere.

    A further paragraph.
    ''',
        ...
    )


    @LAYER_NORM.mistake("not-centred")
    def not_centred(x, gamma, beta, eps):
        '''the mean is not subtracted: it is (x - mean) that is divided.'''
        return x / np.sqrt(x.var(axis=-1, keepdims=True) + eps) * gamma + beta

All of this is English. The same in Chinese stands in ``calculus/zh/layer_norm.md``, by the names
title, statement, hint-1, hint-2, hint-3 and those of the mistakes (see `translation`). A course of
one's own has the same layout, and its exercises need no translation: without the file English is
said in both languages.
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from npformer.checks import InputError, shown
from npformer.exercises.source import source_of
from npformer.exercises.text import Text, unwrapped
from npformer.exercises.translation import in_both, message

TRACKS = ("interview", "class", "gradcheck")
ID = "[a-z0-9]+(-[a-z0-9]+)*"
DIFFICULTIES = (1, 2, 3)  # a line or two; a formula to derive; several steps

# What a solution may use, and what every student file begins with.
HEADER = "import numpy as np\n"
SOLUTION_IMPORT = "from npformer import distill, layers, models, ops, optim"
SOLUTION_HEADER = f"{HEADER}\n{SOLUTION_IMPORT}\n"


class Case(NamedTuple):
    """One call of the learner's function.

    ``part`` names the property it counts to. A case without one is plain: there every output is a
    property of its own ("dx", "dgamma"). In a named part ("padding mask", "extreme values") all
    outputs must be right.
    """

    args: dict[str, Any]  # by parameter name; arrays are float64, integer or boolean
    part: str = ""


# What every exercise asks, and every learner's file says.
FLOAT32 = message("float32 inputs give float32 results.")
MANNERS = message(
    "Inputs stay as they are, the same inputs give the same results, and NumPy and "
    "Python's own modules are all you use. A variable of yours that has a name of the "
    "statement is compared with ours, if nothing else explains a mistake."
)


Wrong = TypeVar("Wrong", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An exercise: the learner writes one function.

    Parameters
    ----------
    id : str
        In lower case, with hyphens.
    title, statement : str
        The statement, in Markdown, says everything that is graded: formula, shapes, what is
        returned.
    reference : callable
        A few lines in the learner's signature that call the library; never a copy of it. Its
        name, its signature and its docstring are those of the stub.
    library : sequence of callable
        The functions whose source is shown as the solution.
    outputs : tuple of str
        Names of what is returned, in order; with one name it is not a tuple.
    cases : callable
        ``cases(rng)`` returns the cases of a seed. The first is the smallest.
    hints : three str
        The idea; the formula; nearly the code.
    tracks : tuple of str
        Of `TRACKS`.
    difficulty, minutes : int
    terms : callable, optional
        ``terms(**args)`` returns, for each output that is a sum, the addends by their names:
        ``{"dx": {"dy * gamma": array, "- mean": array}}``. They add up to the output.
    steps : callable, optional
        ``steps(**args)`` returns the intermediate results by the names the statement gives them,
        in order.
    factors : callable, optional
        ``factors(**args)`` returns numbers that a result may be off by, by name:
        ``{"sqrt(K)": 2.0, "B": 3}``.
    float32 : bool
        Whether float32 in must give float32 out.
    docs : str
        Where the derivation is, below ``docs/``.
    start : str
        The body of the stub: what the learner is given, indented as a body is.

    Attributes
    ----------
    mistakes : dict of callable
        The wrong functions that `mistake` has registered, by name, in the order of the file.

    Raises
    ------
    InputError
        If a field is not what it has to be.
    """

    id: str
    title: str
    statement: str
    reference: Callable[..., Any]
    library: Sequence[Callable[..., Any]]
    outputs: tuple[str, ...]
    cases: Callable[[np.random.Generator], list[Case]]
    hints: tuple[str, str, str]
    tracks: tuple[str, ...]
    difficulty: int
    minutes: int
    terms: Callable[..., Mapping[str, Mapping[str, Any]]] | None = None
    steps: Callable[..., Mapping[str, Any]] | None = None
    factors: Callable[..., Mapping[str, float]] | None = None
    float32: bool = True
    docs: str = ""
    start: str = "raise NotImplementedError"
    mistakes: dict[str, Callable[..., Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        rules: Sequence[tuple[str, object, str]] = (
            ("id", re.fullmatch(ID, str(self.id)), "small letters and digits, with hyphens"),
            ("title", isinstance(self.title, str), "a text"),
            ("statement", isinstance(self.statement, str), "a text"),
            ("reference", inspect.isfunction(self.reference), "a function"),
            ("library", isinstance(self.library, tuple), "a tuple of functions, or ()"),
            ("outputs", isinstance(self.outputs, tuple) and self.outputs, 'names such as ("dx",)'),
            ("cases", inspect.isfunction(self.cases), "a function of rng"),
            ("hints", [type(hint) for hint in self.hints] == [str] * 3, "three texts"),
            ("tracks", set(self.tracks) <= set(TRACKS), f"some of {', '.join(TRACKS)}"),
            ("difficulty", self.difficulty in DIFFICULTIES, "1, 2 or 3"),
            ("minutes", isinstance(self.minutes, int) and self.minutes > 0, "a whole number"),
        )
        for name, fits, wanted in rules:
            if not fits:
                got = shown(getattr(self, name))
                raise InputError(f"{shown(self.id)}: got {name} {got}, expected {wanted}")

    def mistake(self, name: str) -> Callable[[Wrong], Wrong]:
        """Register a wrong function under a name; its docstring is the diagnosis.

        Raises
        ------
        InputError
            If the name is taken or the function says nothing.
        """

        def register(wrong: Wrong) -> Wrong:
            if name in self.english:
                raise InputError(
                    f"{self.id}: got two mistakes {name!r}, expected names that differ"
                )
            if not wrong.__doc__:
                raise InputError(f"{self.id}: got no docstring of {name!r}, expected its diagnosis")
            self.mistakes[name] = wrong
            return wrong

        return register

    @property
    def file(self) -> Path:
        """Where it is defined."""
        return Path(inspect.getfile(self.reference))

    @property
    def topic(self) -> str:
        """The chapter: the name of the folder, without a number in front."""
        return unnumbered(self.file.parent.name)

    @property
    def english(self) -> dict[str, str]:
        """All it says, by name: title, statement, hint-1 to hint-3, and its mistakes."""
        hints = {f"hint-{i}": unwrapped(hint) for i, hint in enumerate(self.hints, start=1)}
        mistakes = {name: unwrapped(wrong.__doc__ or "") for name, wrong in self.mistakes.items()}
        return {"title": self.title, "statement": unwrapped(self.statement), **hints, **mistakes}

    @property
    def said(self) -> dict[str, Text]:
        """The same in both languages."""
        return in_both(self.file, self.id, self.english)

    @property
    def function(self) -> str:
        """The name of the function to write."""
        return self.reference.__name__

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return tuple(inspect.signature(self.reference).parameters)

    @property
    def task(self) -> Text:
        """The statement, and what is asked of every exercise."""
        kept = (FLOAT32, MANNERS) if self.float32 else (MANNERS,)
        en, zh = " ".join(text.en for text in kept), "".join(text.zh for text in kept)
        statement = self.said["statement"]
        return Text(f"{statement.en}\n\n{en}", f"{statement.zh}\n\n{zh}")

    @property
    def stub(self) -> str:
        """What the learner begins with."""
        head = f"def {self.function}{inspect.signature(self.reference)}:"
        doc = f'"""{inspect.getdoc(self.reference)}'
        end = '\n"""' if "\n" in doc else '"""'
        body = textwrap.dedent(self.start).strip("\n")
        inside = textwrap.indent(f"{doc}{end}\n{body}", "    ")
        return f"{head}\n{inside}\n"

    @property
    def solution(self) -> str:
        """The reference as source: it runs after `SOLUTION_HEADER`."""
        return source_of(self.reference)

    @property
    def library_source(self) -> str:
        """The source of the library's own functions behind it."""
        return "\n\n".join(map(source_of, self.library))


def unnumbered(name: str) -> str:
    """Return "softmax" for "07_softmax": the number only gives the order."""
    return re.sub(r"^\d+_", "", name)

"""What an exercise is: one definition that feeds the notebook, the terminal, pytest and a class."""

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.text import Text

TRACKS = ("interview", "class", "gradcheck")
DIFFICULTIES = (1, 2, 3)  # a line or two; a formula to derive; several steps

# What a solution may use, and what every student file begins with.
HEADER = "import numpy as np\n"
SOLUTION_HEADER = "import numpy as np\n\nfrom npformer import distill, layers, models, ops, optim\n"


class Case(NamedTuple):
    """One call of the learner's function.

    ``part`` names the property it counts to, one of `PARTS`. A case without one is plain: there every output is a
    property of its own ("dx", "dgamma"). In a named part ("padding mask", "extreme values") all
    outputs must be right.
    """

    args: dict[str, Any]  # by parameter name; arrays are float64, integer or boolean
    part: str = ""


# The names of the parts in Chinese.
PARTS = {
    "one class": "只有一类",
    "huge logits": "极大的 logits",
    "saturated rows": "饱和的行",
}


class Misconception(NamedTuple):
    """A wrong function, with what it says about who wrote it."""

    name: str  # "mean-term-missing"
    wrong: Callable[..., Any]  # the signature of the exercise
    diagnosis: Text  # what was done, and what belongs there


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An exercise: the learner writes one function.

    Parameters
    ----------
    id : str
        In lower case, with hyphens.
    title, statement : Text
        The statement says everything that is graded: formula, shapes, what is returned.
    reference : callable
        A few lines in the learner's signature that call the library; never a copy of it. Its
        name, its signature and its docstring are those of the stub.
    library : sequence of callable
        The functions whose source is shown as the solution.
    outputs : tuple of str
        Names of what is returned, in order; with one name it is not a tuple.
    cases : callable
        ``cases(rng)`` returns the cases of a seed. The first is the smallest.
    hints : three Texts
        The idea; the formula; nearly the code.
    misconceptions : sequence of Misconception
    topic : str
        The chapter.
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
    """

    id: str
    title: Text
    statement: Text
    reference: Callable[..., Any]
    library: Sequence[Callable[..., Any]]
    outputs: tuple[str, ...]
    cases: Callable[[np.random.Generator], list[Case]]
    hints: tuple[Text, Text, Text]
    misconceptions: Sequence[Misconception]
    topic: str
    tracks: tuple[str, ...]
    difficulty: int
    minutes: int
    terms: Callable[..., Mapping[str, Mapping[str, Any]]] | None = None
    steps: Callable[..., Mapping[str, Any]] | None = None
    factors: Callable[..., Mapping[str, float]] | None = None
    float32: bool = True
    docs: str = ""

    @property
    def function(self) -> str:
        """The name of the function to write."""
        return self.reference.__name__

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return tuple(inspect.signature(self.reference).parameters)

    @property
    def stub(self) -> str:
        """What the learner begins with."""
        head = f"def {self.function}{inspect.signature(self.reference)}:"
        doc = f'"""{inspect.getdoc(self.reference)}'
        end = '\n"""' if "\n" in doc else '"""'
        return f"{head}\n{textwrap.indent(doc + end, '    ')}\n    raise NotImplementedError\n"

    @property
    def solution(self) -> str:
        """The reference as source: it runs after `SOLUTION_HEADER`."""
        return textwrap.dedent(inspect.getsource(self.reference))

    @property
    def library_source(self) -> str:
        """The source of the library's own functions behind it."""
        return "\n\n".join(textwrap.dedent(inspect.getsource(f)) for f in self.library)

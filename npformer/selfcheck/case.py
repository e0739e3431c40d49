"""What a case is: a pair of functions, or a model, at one point, which checks itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from npformer import gradcheck
from npformer.gradcheck import GradientReport

# One size per letter of the notation, no two alike: D = H * K, I and O are the two sides of a
# linear map, R counts buckets of distances.
SIZES = {
    "B": 2, "H": 3, "T": 4, "S": 5, "K": 6, "I": 7, "O": 8, "C": 9, "V": 11, "F": 13, "D": 18,
    "R": 10,
}  # fmt: skip


@dataclass(frozen=True)
class PairCase:
    """A pair of functions at one point.

    Attributes
    ----------
    name : str
        ``"attention"``, or ``"attention/dropout"`` for a further case of the same pair.
    forward, backward : callable
    arguments : dict
        Every argument of forward by name.
    axes : dict of str to str
        For each array its axes by letter, ``"BHTK"``; an axis of size 1 is ``"1"``.
    constants, zero : tuple of str
        As in `gradcheck.check_pair`.
    reduced : str
        The letters of the axes that must not be empty.
    dropout : bool
        Forward gets a generator as ``rng``.
    """

    name: str
    forward: Callable[..., Any]
    backward: Callable[..., Any]
    arguments: Mapping[str, Any]
    axes: Mapping[str, str]
    constants: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    reduced: str = ""
    dropout: bool = False
    kind: str = field(default="pair", init=False)

    @property
    def make_rng(self) -> Callable[[], np.random.Generator] | None:
        """Maker of the generator, the same one at every call; None without dropout."""
        return partial(np.random.default_rng, 7) if self.dropout else None

    def check(self, backward: Callable[..., Any] | None = None) -> GradientReport:
        """Check the pair, or another ``backward`` in its place; raise `GradientError`."""
        return gradcheck.check_pair(
            self.forward,
            backward or self.backward,
            (),
            self.arguments,
            name=self.name,
            constants=self.constants,
            zero=self.zero,
            make_rng=self.make_rng,
        )


@dataclass(frozen=True)
class ModelCase:
    """A layer, a model or a distillation term with its inputs; see `gradcheck.check_model`."""

    name: str
    model: Any
    inputs: Sequence[Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    dropout: bool = False
    kind: str = field(default="model", init=False)

    def check(self) -> GradientReport:
        """Check the model; raise `GradientError`."""
        return gradcheck.check_model(
            self.model,
            self.inputs,
            self.options,
            name=self.name,
            constants=self.constants,
            zero=self.zero,
            make_rng=partial(np.random.default_rng, 7) if self.dropout else None,
        )

"""The list of mutants."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Mutant(NamedTuple):
    """A wrong backward and the row of the registry of pairs that must kill it."""

    name: str
    backward: Callable[..., Any]
    case: str
    diagnosis: str  # how the diagnosis must begin, "" for any


MUTANTS: list[Mutant] = []


def mutant(case: str, diagnosis: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function on the list."""

    def add(backward: Callable[..., Any]) -> Callable[..., Any]:
        MUTANTS.append(Mutant(backward.__name__, backward, case, diagnosis))
        return backward

    return add

"""One of many things by its id."""

import difflib
from collections.abc import Iterable
from typing import Protocol, TypeVar

from npformer.checks import InputError


class HasId(Protocol):
    """An exercise, a bug, a card."""

    @property
    def id(self) -> str:
        """Its id."""
        ...


T = TypeVar("T", bound=HasId)


def by_id(things: Iterable[T], wanted: str, what: str) -> T:
    """Return the thing of this id.

    Raises
    ------
    InputError
        If there is none; it says which ids are like it.
    """
    found = {thing.id: thing for thing in things}
    if wanted not in found:
        near = difflib.get_close_matches(str(wanted), found, n=3) or [*list(found)[:3], "..."]
        raise InputError(f"id: got {wanted!r}, expected {what} such as {', '.join(near)}")
    return found[wanted]

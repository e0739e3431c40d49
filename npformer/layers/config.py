"""The root of every configuration: frozen, and strict about what it is given."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from npformer.checks import InputError, shown


@dataclass(frozen=True, kw_only=True)
class Config:
    """A frozen set of named values that agree with each other.

    Each layer has its own small configuration; a larger one inherits from those of its parts,
    so that an encoder's configuration *is* one for its blocks, attention and embeddings.
    """

    def __post_init__(self) -> None:
        """Refuse values that do not agree; subclasses check theirs and call this one."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a configuration of exactly these names.

        Raises
        ------
        InputError
            If a name is unknown or one without a default is missing.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise InputError(
                f"{cls.__name__}: got unknown {', '.join(unknown)}, expected {', '.join(known)}"
            )
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"{cls.__name__}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return all names and values; `from_dict` undoes it."""
        return asdict(self)


def check_sizes(**sizes: int) -> None:
    """Require whole numbers of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"{name}: got {shown(size)}, expected a whole number of at least 1")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Require one of these words."""
    if value not in choices:
        raise InputError(f"{name}: got {shown(value)}, expected one of {', '.join(choices)}")

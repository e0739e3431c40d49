"""One wording for every shape, type and value error.

Each function returns nothing and raises `InputError`, whose message is one sentence
that names the argument, what was given and what was expected.
"""

import reprlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 2, 80, 80


class InputError(ValueError):
    """Bad input from the caller: the command line prints it without a traceback."""


def check_array(name: str, x: object) -> None:
    """Require an array, and not a list or a number."""
    if not isinstance(x, np.ndarray):
        raise InputError(f"{name}: got {_kind(x)}, expected an array")


def check_float(name: str, x: NDArray[Any]) -> None:
    """Require a floating-point array."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        raise InputError(f"{name}: got {_kind(x)}, expected a floating-point array")


def check_shape(name: str, x: NDArray[Any], expected: Sequence[int | str]) -> None:
    """Require a shape; a string in ``expected`` is a free axis and only its name is shown."""
    check_array(name, x)
    if x.shape != expected and not _fits(x.shape, tuple(expected)):
        raise InputError(f"{name}: got shape {x.shape}, expected ({_axes(expected)})")


@lru_cache(maxsize=1024)
def _fits(shape: tuple[int, ...], expected: tuple[int | str, ...]) -> bool:
    # A small model asks this eighty times a sentence, always of the same few shapes: without the
    # cache a sentence of 8 tokens takes two layers of width 64 longer by 7 %.
    return len(shape) == len(expected) and all(
        isinstance(want, str) or have == want for have, want in zip(shape, expected, strict=True)
    )


def check_ids(name: str, ids: NDArray[Any], size: int, what: str = "vocabulary") -> None:
    """Require integers in ``0 .. size - 1``."""
    if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "iu":
        raise InputError(f"{name}: got {_kind(ids)}, expected an integer array")
    if ids.size and (ids.min() < 0 or ids.max() >= size):
        worst = ids.min() if ids.min() < 0 else ids.max()
        raise InputError(f"{name}: got {worst}, expected 0 to {size - 1} (the {what} has {size})")


def check_keep(keep: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Require a boolean mask that has the rank of ``shape`` and broadcasts to it."""
    check_array("keep", keep)
    if keep.dtype != np.bool_:
        raise InputError(
            f"keep: got {_kind(keep)}, expected a boolean array, True = may attend "
            "(an integer mask becomes one by `mask != 0`)"
        )
    fits = keep.ndim == len(shape) and all(
        m in (1, n) for m, n in zip(keep.shape, shape, strict=False)
    )
    if not fits:
        hint = " (a (B, S) padding mask becomes one by `keep[:, None, None, :]`)"
        raise InputError(
            f"keep: got shape {keep.shape}, expected {len(shape)} axes that broadcast to "
            f"{shape}{hint if len(shape) == 4 else ''}"
        )


def check_bias(bias: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Require a bias on attention scores that has their rank and broadcasts to them."""
    check_array("bias", bias)
    fits = bias.ndim == len(shape) and all(
        b in (1, n) for b, n in zip(bias.shape, shape, strict=False)
    )
    if not fits:
        raise InputError(
            f"bias: got shape {bias.shape}, expected {len(shape)} axes that broadcast to {shape}"
        )


def check_fraction(name: str, value: float, *, below_one: bool = True) -> None:
    """Require ``0 <= value < 1`` (or ``<= 1``)."""
    top = value < 1 if below_one else value <= 1
    if not (value >= 0 and top):
        raise InputError(
            f"{name}: got {value}, expected 0 <= {name} {'<' if below_one else '<='} 1"
        )


def check_positive(name: str, value: float) -> None:
    """Require a finite number above zero."""
    if not (0 < value < float("inf")):
        raise InputError(f"{name}: got {value}, expected a finite number above 0")


def shown(value: object) -> str:
    """Return the ``repr`` of a value from a file, cut if it is long: a sentence has to hold it."""
    text = _short.repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(name[:160] for name in names[:most]) + more


def article(name: str) -> str:
    """Return a name with "a" or "an" before it."""
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _axes(expected: Sequence[int | str]) -> str:
    return ", ".join(str(n) for n in expected) + ("," if len(expected) == 1 else "")


def _kind(x: object) -> str:
    return f"{x.dtype} array" if isinstance(x, np.ndarray) else type(x).__name__

"""The array types that every signature speaks."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]

# Flat and dotted: "layers.0.attention.w_q" -> array.
Params = dict[str, FloatArray]
V = TypeVar("V")


def part(params: Mapping[str, FloatArray], prefix: str) -> Params:
    """Return the arrays below ``prefix``, named without it; nothing is copied."""
    names = _names_below(tuple(params), prefix)
    return {short: params[name] for short, name in names}


@lru_cache(maxsize=1024)
def _names_below(names: tuple[str, ...], prefix: str) -> list[tuple[str, str]]:
    # The same few models ask for the same parts at every step. Without the cache a sentence of 8
    # tokens takes a model of 12 layers of width 64 a sixth longer.
    start = prefix + "."
    return [(name[len(start) :], name) for name in names if name.startswith(start)]


def prefixed(prefix: str, params: Mapping[str, V]) -> dict[str, V]:
    """Return the same arrays, or shapes, with ``prefix.`` before every name; undoes `part`."""
    return {f"{prefix}.{name}": value for name, value in params.items()}


def given(grads: Mapping[str, Any]) -> Params:
    """Return the gradients that are not None: a map without a bias has none for it."""
    return {name: g for name, g in grads.items() if g is not None}

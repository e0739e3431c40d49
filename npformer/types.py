"""The array types that every signature speaks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]

# Flat and dotted: "layers.0.attention.w_q" -> array.
Params = dict[str, FloatArray]


def part(params: Mapping[str, FloatArray], prefix: str) -> Params:
    """Return the arrays below ``prefix``, named without it; nothing is copied."""
    start = prefix + "."
    return {name[len(start) :]: a for name, a in params.items() if name.startswith(start)}


def prefixed(prefix: str, params: Mapping[str, FloatArray]) -> Params:
    """Return the same arrays with ``prefix.`` before every name; undoes `part`."""
    return {f"{prefix}.{name}": a for name, a in params.items()}


def given(grads: Mapping[str, Any]) -> Params:
    """Return the gradients that are not None: a map without a bias has none for it."""
    return {name: g for name, g in grads.items() if g is not None}

"""The registry of pairs, and how a test calls one of them."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from npformer.gradcheck.tree import is_float
from npformer.selfcheck import PairCase, pair_cases

PAIRS = pair_cases()

# With nothing to drop, dropout hands on what it was given; its docstring says so.
ALIASES = {"dropout/off"}


def run(case: PairCase, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], Any]:
    """Call forward: outputs and cache, always with the same dropout mask."""
    options = {"rng": case.make_rng()} if case.make_rng else {}
    *outputs, cache = case.forward(**{**options, **arguments})
    return tuple(outputs), cache


def cotangents(outputs: tuple[Any, ...], seed: int = 1) -> list[Any]:
    """Random cotangents of the shapes and types of the outputs."""
    rng = np.random.default_rng(seed)
    return [
        rng.uniform(1.5, 2.5)
        if isinstance(y, float)
        else rng.standard_normal(y.shape).astype(y.dtype)
        for y in outputs
    ]


def pull(
    case: PairCase, arguments: Mapping[str, Any], dys: list[Any], cache: Any
) -> dict[str, Any]:
    """Call backward: its gradients by the names of the arguments they belong to."""
    names = [
        name
        for name in inspect.signature(case.forward).parameters
        if is_float(arguments.get(name)) and name not in case.constants
    ]
    result = case.backward(*dys, cache)
    grads = result if isinstance(result, tuple) else (result,)
    return dict(zip(names, (g for g in grads if g is not None), strict=True))


def mapped(case: PairCase, change: Any) -> dict[str, Any]:
    """Return the arguments with ``change(name, array)`` in the place of every array."""
    return {
        name: change(name, value) if name in case.axes else value
        for name, value in case.arguments.items()
    }


def sliced(case: PairCase, letter: str, part: slice) -> dict[str, Any]:
    """Return the arguments with every axis of this letter cut to ``part``."""

    def cut(name: str, array: Any) -> Any:
        full = slice(None)
        return array[tuple(part if axis == letter else full for axis in case.axes[name])]

    return mapped(case, cut)

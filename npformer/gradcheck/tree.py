"""Walks nests of tuples, NamedTuples, None and arrays, such as a `ModelOutput`."""

from collections.abc import Callable
from typing import Any

import numpy as np

from npformer.types import FloatArray


def leaves(tree: Any, name: str, *, scalars: bool = False) -> dict[str, FloatArray]:
    """Return the floating arrays of a nest by their dotted path, ``"student.hidden.1"``.

    With ``scalars`` a Python float counts as an array of shape (): a loss, not an option.
    """
    found: dict[str, FloatArray] = {}

    def visit(path: str, leaf: Any) -> None:
        if is_float(leaf) or (scalars and isinstance(leaf, float)):
            found[path] = np.asarray(leaf)

    replaced(tree, name, visit)
    return found


def replaced(tree: Any, name: str, values: Callable[[str, Any], Any]) -> Any:
    """Return the same nest with every leaf ``x`` at ``path`` replaced by ``values(path, x)``."""
    if isinstance(tree, tuple):
        return with_children(tree, name, lambda _, x, path: replaced(x, path, values))
    return values(name, tree)


def with_children(
    tree: tuple[Any, ...], name: str, make: Callable[[str, Any, str], Any]
) -> tuple[Any, ...]:
    """Return a tuple of the same type whose children are ``make(field, child, path)``."""
    fields = [str(f) for f in getattr(tree, "_fields", range(len(tree)))]
    made = [make(f, x, f"{name}.{f}") for f, x in zip(fields, tree, strict=True)]
    return type(tree)(*made) if hasattr(tree, "_fields") else tuple(made)


def is_float(x: Any) -> bool:
    """Tell whether ``x`` is a floating-point array."""
    return isinstance(x, np.ndarray) and np.issubdtype(x.dtype, np.floating)

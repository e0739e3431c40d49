"""Which arguments of a function get a gradient."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any, get_args, get_type_hints

import numpy as np

from npformer.checks import InputError
from npformer.gradcheck.numeric import check_float64
from npformer.gradcheck.tree import is_float, leaves, replaced, with_children
from npformer.types import FloatArray, Params

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Call:
    """A call of ``forward`` that can be made again with some arrays replaced.

    Every array is handed over as a read-only copy: a function that writes to its arguments
    fails there and then, instead of spoiling the comparison.

    Attributes
    ----------
    names : list of str
        The arguments that backward returns a gradient for, in order: the positional ones that
        are floating arrays (or nests of them), and those left None that take one.
    absent : list of str
        Those of ``names`` that are None, whose gradient must be None.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        make_rng: Callable[[], np.random.Generator] | None,
        constants: Sequence[str],
    ) -> None:
        self._forward, self._make_rng = forward, make_rng
        parameters = inspect.signature(forward).parameters
        unknown = [name for name in constants if name not in parameters]
        if unknown:
            raise InputError(
                f"constants: got {unknown[0]!r}, expected one of {', '.join(parameters)}"
            )
        options = dict(kwargs or {})
        if make_rng is not None:
            options["rng"] = make_rng()
        self._bound = inspect.signature(forward).bind(*args, **options)
        self._values = {
            name: replaced(value, name, _read_only) for name, value in self._bound.arguments.items()
        }
        for name, value in self._values.items():
            for path, x in leaves(value, name).items():
                check_float64(path, x)
        self.names, self.absent = [], []
        for name, parameter in parameters.items():
            if name in constants or parameter.kind not in _POSITIONAL:
                continue
            value = self._values.get(name, parameter.default)
            if leaves(value, name):
                self.names.append(name)
            elif value is None and _takes_floats(parameter):
                self.names.append(name)
                self.absent.append(name)

    def point(self) -> Params:
        """Return every floating array among ``names``, nests flattened to dotted paths."""
        found: Params = {}
        for name in self.names:
            found |= leaves(self._values.get(name), name)
        return found

    def __call__(
        self, changes: Mapping[str, FloatArray], forward: Callable[..., Any] | None = None
    ) -> Any:
        """Call ``forward`` (or the same method of another instance) with arrays replaced."""

        def pick(path: str, x: Any) -> Any:
            return _read_only(path, changes.get(path, x))

        for name, value in self._values.items():
            self._bound.arguments[name] = replaced(value, name, pick)
        if self._make_rng is not None:
            self._bound.arguments["rng"] = self._make_rng()
        return (forward or self._forward)(*self._bound.args, **self._bound.kwargs)


def split_cache(subject: str, result: Any) -> tuple[Any, Any]:
    """Split what a forward returned into (outputs, cache)."""
    if type(result) is not tuple or len(result) < 2:
        raise InputError(
            f"{subject}: got a {type(result).__name__}, expected forward to return a tuple "
            "(output, ..., cache)"
        )
    return result[:-1], result[-1]


def cotangent(
    y: Any, given: Mapping[str, FloatArray], path: str = "output", *, optional: bool = True
) -> Any:
    """Return the nest of cotangents that mirrors ``y``.

    Where none is given it is None, or zeros in a field of a NamedTuple that may not be None.
    """
    if isinstance(y, tuple):
        hints = get_type_hints(type(y)) if hasattr(y, "_fields") else {}
        return with_children(
            y,
            path,
            lambda name, leaf, below: cotangent(
                leaf, given, below, optional=name not in hints or NoneType in get_args(hints[name])
            ),
        )
    dy = given.get(path)
    if dy is None:
        return None if optional or not is_float(y) else np.zeros_like(y)
    return float(dy) if isinstance(y, float) else _read_only(path, dy)


def _read_only(path: str, x: Any) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    frozen = x.view() if not x.flags.writeable else x.copy()
    frozen.flags.writeable = False
    return frozen


def _takes_floats(parameter: inspect.Parameter) -> bool:
    annotation = str(parameter.annotation)
    unknown = parameter.annotation is inspect.Parameter.empty and parameter.name != "rng"
    return unknown or "FloatArray" in annotation or "floating" in annotation

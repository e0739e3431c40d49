"""A function of named arrays with its gradient, and what it must fulfil to be compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npformer.checks import InputError
from npformer.gradcheck.diagnose import diagnose_shape
from npformer.gradcheck.numeric import Outputs, check_float64
from npformer.gradcheck.report import GradientError
from npformer.gradcheck.tree import is_float, leaves
from npformer.types import FloatArray, Params


@dataclass(frozen=True)
class Problem:
    """A function of named arrays, and its gradient.

    Attributes
    ----------
    subject, kind : str
        As in `GradientReport`.
    point : dict of str to ndarray
        The arrays whose gradients are checked.
    run : callable
        ``run(changes)`` returns outputs and cache, with some arrays of ``point`` replaced.
    pull : callable
        ``pull(cotangents, outputs, cache)`` returns a gradient for each name of ``point``.
    entries : frozenset of str
        The names that are entries of a nest, whose gradient may be None for zero.
    """

    subject: str
    kind: str
    point: Params
    run: Callable[[Mapping[str, FloatArray]], tuple[Any, Any]]
    pull: Callable[[Mapping[str, FloatArray], Any, Any], Mapping[str, Any]]
    tolerance: float
    entries: frozenset[str] = frozenset()

    def outputs(self, changes: Mapping[str, FloatArray]) -> Outputs:
        """Return the output arrays by path."""
        return leaves(self.run(changes)[0], "output", scalars=True)

    def error(self, name: str, diagnosis: str, **facts: Any) -> GradientError:
        """Make the error about one of the arrays."""
        return GradientError(
            self.subject, self.kind, name, diagnosis, tolerance=self.tolerance, **facts
        )


def check_point(problem: Problem, zero: Sequence[str]) -> None:
    """Require float64 arrays that are not empty, and known names in ``zero``."""
    if not problem.point:
        raise InputError(f"{problem.subject}: got no floating-point array, expected one to check")
    for name, x in problem.point.items():
        check_float64(name, x)
        if not x.size:
            raise InputError(f"{name}: got shape {x.shape}, expected at least one entry to check")
    for name in zero:
        if name not in problem.point:
            raise InputError(f"zero: got {name!r}, expected one of {', '.join(problem.point)}")


def check_outputs(problem: Problem, values: Outputs) -> None:
    """Require finite float64 outputs that a second call repeats."""
    if not values:
        raise InputError(f"{problem.subject}: got no output, expected a float array or a loss")
    again = problem.outputs({})
    for path, value in values.items():
        check_float64(f"{problem.subject}'s {path}", value)
        if not np.all(np.isfinite(value)):
            raise InputError(f"{problem.subject}: got NaN or infinity in {path}, expected numbers")
        if not np.array_equal(value, again[path]):
            raise InputError(
                f"{problem.subject}: got two values of {path} from two calls, expected one; "
                "a maker of the generator belongs in make_rng"
            )


def check_gradients(problem: Problem, grads: Mapping[str, Any]) -> Params:
    """Check presence, type, shape and finiteness, which come before any comparison."""
    found = {}
    for name, x in problem.point.items():
        g: Any = grads.get(name)
        if g is None and name in problem.entries:
            g = np.zeros_like(x)
        if not is_float(g):
            kind = "None" if g is None else f"a {type(g).__name__}"
            raise problem.error(name, f"type: got {kind}, expected a floating-point array")
        if g.shape != x.shape:
            raise problem.error(name, diagnose_shape(g.shape, x.shape))
        if g.dtype != x.dtype:
            raise problem.error(name, f"dtype: the gradient is {g.dtype}, the argument {x.dtype}")
        bad = np.argwhere(~np.isfinite(g))
        if len(bad):
            index = tuple(int(i) for i in bad[0])
            told = f"NaN or infinity in {len(bad)} of {g.size} entries"
            raise problem.error(name, told, index=index, analytic=float(g[index]))
        found[name] = g
    return found

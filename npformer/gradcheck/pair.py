"""Checks a pair of functions, ``x_forward`` and ``x_backward``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npformer.gradcheck.arguments import Call, cotangent, split_cache
from npformer.gradcheck.compare import compare
from npformer.gradcheck.problem import Problem
from npformer.gradcheck.report import GradientReport
from npformer.types import FloatArray


def check_pair(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    constants: Sequence[str] = (),
    zero: Sequence[str] = (),
    make_rng: Callable[[], np.random.Generator] | None = None,
    tolerance: float = 1e-7,
    seed: int = 0,
) -> GradientReport:
    r"""Check a backward against centred differences of its forward, entry by entry.

    For random cotangents :math:`\bar y_o` on the outputs :math:`y_o`, on all together and (where
    there are several) on each alone with None for the others, the gradient of every floating
    argument :math:`x` is compared with

    .. math:: n_i = \sum_o \Bigl\langle \bar y_o, \frac{y_o(x + h e_i) - y_o(x - h e_i)}{2h}
              \Bigr\rangle, \qquad
              \text{error} = \frac{\max_i |a_i - n_i|}{\max(\max_i |a_i|, \max_i |n_i|)}.

    Parameters
    ----------
    forward : callable
        Returns ``(output, ..., cache)``; an output is a float64 array or a float (a loss).
    backward : callable
        Takes a cotangent for each output, then the cache; returns a gradient for each positional
        argument that is a floating array, in order, and None for those that were left None.
    args, kwargs : sequence, mapping
        The point. Every size different, nothing at 0 or 1, or mistakes hide; no input of a ReLU
        within 1e-7 of 0.
    name : str, optional
        For the report; the default is the name of ``forward``.
    constants : sequence of str
        Floating arguments without a gradient: targets, teacher arrays.
    zero : sequence of str
        Arguments whose gradient is identically zero.
    make_rng : callable, optional
        Makes the generator that forward gets as ``rng``, the same at every call, so that every
        evaluation draws the same dropout mask.
    tolerance : float
        The largest error allowed.
    seed : int
        Of the cotangents.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        If a gradient is wrong, or is zero and not declared so.
    InputError
        If the check itself makes no sense: float32, nothing to check, a forward that is not
        the same function at every call.
    """
    call = Call(forward, args, kwargs, make_rng, constants)
    subject = name or str(getattr(forward, "__name__", "forward"))

    def run(changes: Mapping[str, FloatArray]) -> tuple[Any, Any]:
        return split_cache(subject, call(changes))

    def pull(given: Mapping[str, FloatArray], outputs: Any, cache: Any) -> Mapping[str, Any]:
        result = backward(*cotangent(outputs, given), cache)
        return named_gradients(problem, call, result)

    problem = Problem(subject, "pair", call.point(), run, pull, tolerance)
    return compare(problem, zero=zero, entrywise=True, seed=seed)


def named_gradients(problem: Problem, call: Call, result: Any) -> dict[str, Any]:
    """Return what backward returned by argument name; None must stand where none was given."""
    grads = (result,) if len(call.names) == 1 else result
    names = ", ".join(call.names)
    if not isinstance(grads, tuple) or len(grads) != len(call.names):
        got = f"{len(grads)} gradients" if isinstance(grads, tuple) else type(grads).__name__
        raise problem.error(
            names,
            f"count: got {got}, expected one for each of {names}; "
            "an argument without a gradient must be declared in constants",
        )
    named = dict(zip(call.names, grads, strict=True))
    for name in call.absent:
        if named.pop(name) is not None:
            raise problem.error(name, "not given: the argument is None, so its gradient must be")
    return named

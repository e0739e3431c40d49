"""Checks anything that holds ``params``: a layer, a model, a distillation term."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any, Protocol

import numpy as np

from npformer.checks import InputError
from npformer.gradcheck.arguments import Call, cotangent, split_cache
from npformer.gradcheck.compare import APART, compare
from npformer.gradcheck.numeric import check_float64
from npformer.gradcheck.pair import named_gradients
from npformer.gradcheck.problem import Problem
from npformer.gradcheck.report import GradientReport
from npformer.gradcheck.tree import leaves
from npformer.types import FloatArray, Params


class _Model(Protocol):
    params: Params

    def forward(self, *inputs: Any, **options: Any) -> Any: ...

    def backward(self, doutput: Any, cache: Any) -> tuple[Any, Params]: ...


def check_model(
    model: _Model,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    constants: Sequence[str] = (),
    zero: Sequence[str] = (),
    make_rng: Callable[[], np.random.Generator] | None = None,
    entrywise: bool = False,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradientReport:
    r"""Check every parameter and every floating input of a model against finite differences.

    The parameters are copied and moved off 0 and 1. Each array :math:`p` is then moved along
    random directions :math:`u` of unit norm, by itself, and the slopes of
    :math:`\langle \bar y, y \rangle` along them are compared with :math:`\langle dp, u \rangle`;
    as in `check_pair` the cotangents are random, on all output arrays together and on each alone.

    Parameters
    ----------
    model : dataclass instance
        Has ``params``, ``forward(*inputs, **kwargs) -> (output, cache)`` and
        ``backward(doutput, cache) -> (dinput, grads)``. It is not written to.
    inputs : sequence
        Arguments of forward: arrays, or nests of them in tuples and NamedTuples. ``dinput``
        holds a gradient for each one that floats (a tuple where there are several, None
        where there is none).
    kwargs : mapping, optional
        Keyword arguments of forward.
    name : str, optional
        For the report; the default is the class.
    constants : sequence of str
        Floating inputs without a gradient: targets, the teacher's arrays.
    zero : sequence of str
        Parameters and inputs whose gradient is identically zero: a key bias, without a loss on
        scores; the second segment's row is an entry and not an array, and needs no mention.
    make_rng : callable, optional
        As in `check_pair`.
    entrywise : bool
        Every entry instead of directions: slow and exact.
    tolerance : float
        The largest error allowed.
    seed : int
        Of the perturbation, the cotangents and the directions.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientError
        If a gradient is wrong or missing, or is zero and not declared so.
    InputError
        If the check itself makes no sense, as for `check_pair`.
    """
    if not is_dataclass(model) or not hasattr(model, "params"):
        raise InputError(f"model: got {type(model).__name__}, expected a dataclass with params")
    rng = np.random.default_rng([APART, seed, 1])
    subject = name or type(model).__name__
    params: Params = {}
    for key, p in model.params.items():
        check_float64(key, p)
        params[key] = _moved(p, rng)
    call = Call(model.forward, inputs, kwargs, make_rng, constants)
    floats = call.point()
    both = set(floats) & set(params)
    if both:
        raise InputError(f"params: got {both.pop()!r}, the name of an input, expected another")

    def run(changes: Mapping[str, FloatArray]) -> tuple[Any, Any]:
        now = replace(model, params={key: changes.get(key, p) for key, p in params.items()})
        outputs, cache = split_cache(subject, call(changes, now.forward))
        return outputs, (now, cache)

    def pull(given: Mapping[str, FloatArray], outputs: Any, cache: Any) -> Mapping[str, Any]:
        now, inner = cache
        dinput, grads = now.backward(*cotangent(outputs, given), inner)
        if set(grads) != set(params):
            odd = sorted(set(grads) ^ set(params))
            raise problem.error(odd[0], "keys: grads and params do not have the same names")
        if not call.names:
            if dinput is not None:
                raise problem.error("dinput", "count: no input floats, so dinput must be None")
            return dict(grads)
        named = named_gradients(problem, call, dinput)
        nested = {path: g for key, tree in named.items() for path, g in leaves(tree, key).items()}
        for path in nested:
            if path not in floats:
                raise problem.error(path, "not given: the input is None, so its gradient must be")
        return {**nested, **grads}

    entries = frozenset(floats) - frozenset(call.names)
    problem = Problem(subject, "model", {**floats, **params}, run, pull, tolerance, entries)
    return compare(problem, zero=zero, entrywise=entrywise, seed=seed)


def _moved(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a copy off 0 and 1 that keeps a product with a matrix at the size of its input."""
    spread = 0.2 if p.ndim < 2 else min(0.2, float(p.shape[0]) ** -0.5)
    return p + spread * rng.standard_normal(p.shape)

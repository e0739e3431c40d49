"""What every optimizer has in common: the state, the interface, the checks, the sweep.

An optimizer here is a frozen set of numbers (its hyper-parameters). All that changes
from step to step lives in an `OptimizerState`, which the caller holds and can save, and
in the parameters. `update` writes to both in place: with clipping (`clip.py`), the only
arithmetic in place on arguments in the library, because a fresh copy of every parameter for
every step would double the memory traffic of a sweep that does little else.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from npformer.checks import InputError, check_float
from npformer.types import FloatArray, Params, part, prefixed

# Floats in a block of a sweep: parameter, gradient, two moments and a few temporaries of
# this size stay in a core's second-level cache from the first line of an update to its last.
BLOCK = 32_768


@dataclass
class OptimizerState:
    """All that an optimizer remembers.

    Attributes
    ----------
    step : int
        Updates done so far.
    arrays : dict of str to Params
        One set of arrays for each quantity, named as the parameters are:
        ``arrays["m"]["encoder.layers.0.attention.w_q"]``.
    """

    step: int = 0
    arrays: dict[str, Params] = field(default_factory=dict)

    def to_arrays(self) -> Params:
        """Return every array under one flat name, ``"m.encoder..."``; nothing is copied."""
        flat: Params = {}
        for slot, arrays in self.arrays.items():
            flat.update(prefixed(slot, arrays))
        return flat

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray], step: int) -> "OptimizerState":
        """Return the state that `to_arrays` made flat; the arrays are taken, not copied."""
        slots = dict.fromkeys(name.partition(".")[0] for name in arrays)
        return cls(step, {slot: part(arrays, slot) for slot in slots})


class Optimizer(Protocol):
    """The interface of `Sgd`, `Adam`, `AdamW` and `BertAdam`."""

    def init(self, params: Params) -> OptimizerState:
        """Return the state before the first step."""
        ...

    def update(self, params: Params, grads: Params, state: OptimizerState, lr: float) -> None:
        """Do one step: write ``params`` and ``state`` in place and count the step."""
        ...


def decays(param: FloatArray) -> bool:
    """Tell whether weight decay applies: to matrices and tables, not to biases, gamma, beta.

    Decay pulls towards zero, which makes sense for a matrix that multiplies. A layer norm's
    gamma belongs near one and a bias has nothing to do with the size of the function, so
    BERT's code lists ``LayerNorm`` and ``bias`` as exceptions by name. In this library
    these are exactly the arrays of at most one axis.
    """
    return param.ndim > 1


def zeros(params: Params, *slots: str) -> OptimizerState:
    """Return a state at step 0 with one zero array per parameter and slot, of its dtype."""
    if not params:
        raise InputError("params: got no arrays, expected at least one to train")
    for name, p in params.items():
        check_float(name, p)
    return OptimizerState(
        0, {slot: {name: np.zeros_like(p) for name, p in params.items()} for slot in slots}
    )


def check_update(
    params: Params, grads: Params, state: OptimizerState, lr: float, *slots: str
) -> float:
    """Refuse an update that cannot be done, before anything is written; return the rate.

    Not-a-number gradients are not looked for here: the training loop sees them in the loss.

    Raises
    ------
    InputError
        If gradients or state differ from the parameters in names, shapes or dtypes, if an
        array that is to be written is read-only, or if the rate is not a number >= 0.
    """
    check_not_negative("lr", lr)
    _check_alike("grads", grads, params)
    for slot in slots:
        if slot not in state.arrays:
            raise InputError(
                f"state: got {sorted(state.arrays)}, expected {sorted(slots)} "
                "(was it made by this optimizer?)"
            )
        _check_alike(f"state {slot!r}", state.arrays[slot], params)
    for written in (params, *(state.arrays[slot] for slot in slots)):
        for name, a in written.items():
            if not a.flags.writeable:
                raise InputError(f"{name}: got a read-only array, expected one to write to")
    # A NumPy float64 scalar would widen the arithmetic on float32 arrays; a Python float does not.
    return float(lr)


def check_not_negative(name: str, value: float) -> None:
    """Require a finite number >= 0."""
    if not (0 <= value < math.inf):
        raise InputError(f"{name}: got {value}, expected a finite number >= 0")


def blocks(*arrays: FloatArray) -> Iterator[tuple[FloatArray, ...]]:
    """Cut arrays of one shape into views of about `BLOCK` floats, along the first axis.

    Views, so that writing to them writes to the arrays, whatever their memory layout. An
    update works on one entry at a time, so its result does not depend on the block size.
    """
    arrays = tuple(np.atleast_1d(a) for a in arrays)
    rows = max(1, BLOCK // max(1, math.prod(arrays[0].shape[1:])))
    for start in range(0, len(arrays[0]), rows):
        yield tuple(a[start : start + rows] for a in arrays)


def _check_alike(what: str, arrays: Params, params: Params) -> None:
    missing, extra = params.keys() - arrays.keys(), arrays.keys() - params.keys()
    if missing or extra:
        got = f"none for {_some(missing)}" if missing else f"unknown {_some(extra)}"
        raise InputError(f"{what}: got {got}, expected exactly the names of params")
    for name, p in params.items():
        a = arrays[name]
        if not isinstance(a, np.ndarray) or (a.shape, a.dtype) != (p.shape, p.dtype):
            got = f"{a.dtype} {a.shape}" if isinstance(a, np.ndarray) else type(a).__name__
            raise InputError(f"{what} {name}: got {got}, expected {p.dtype} {p.shape}")


def _some(names: set[str]) -> str:
    first = sorted(names)[:3]
    return ", ".join(first) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

"""What arrays a layer has: for each name its axes. From this alone they are drawn and counted."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.init import normal
from npformer.types import Params


class Axis(NamedTuple):
    """An axis of an array."""

    letter: str  # its name in docs/notation.md, such as "D"
    size: int


Shapes = dict[str, tuple[Axis, ...]]  # "w_1" -> (D, F)


def sizes(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """Return the shape as NumPy has it."""
    return tuple(axis.size for axis in axes)


def affine(name: str, inputs: Axis, outputs: Axis, *, bias: bool = True) -> Shapes:
    """Return ``w_name`` of shape (inputs, outputs) and its bias ``b_name``."""
    return {f"w_{name}": (inputs, outputs)} | ({f"b_{name}": (outputs,)} if bias else {})


def draw(
    shapes: Mapping[str, tuple[Axis, ...]],
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
    *,
    std: float,
) -> Params:
    """Return initial values: biases and betas 0, gammas 1, all else from normal(0, std)."""
    params: Params = {}
    for name, axes in shapes.items():
        last, shape = name.rpartition(".")[2], sizes(axes)
        if last in ("b", "beta") or last.startswith("b_"):
            params[name] = np.zeros(shape, dtype)
        elif last == "gamma":
            params[name] = np.ones(shape, dtype)
        else:
            params[name] = normal(rng, *shape, std=std, dtype=dtype)
    return params

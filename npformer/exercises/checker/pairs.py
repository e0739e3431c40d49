"""A learner's arrays beside the right ones."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from npformer.types import BoolArray, FloatArray

SAME = 1e-8


class Pair(NamedTuple):
    """A learner's array of one case beside the right one."""

    got: FloatArray
    expected: FloatArray
    factors: Mapping[str, float]  # numbers of this case that a result may be off by
    terms: Mapping[str, FloatArray]  # the addends, if the array is a sum
    others: Mapping[str, FloatArray]  # arguments and intermediate results
    masks: Mapping[str, BoolArray]  # the boolean ones of them


def close(a: FloatArray, b: FloatArray) -> bool:
    """Whether two arrays are the same, relative to their own size."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), 1e-12)
    return bool(np.abs(a - b).max(initial=0.0) <= SAME * scale)


def all_close(pairs: Iterable[tuple[FloatArray, FloatArray]]) -> bool:
    return all(close(a, b) for a, b in pairs)


def same_shapes(pairs: list[Pair]) -> bool:
    return all(pair.got.shape == pair.expected.shape for pair in pairs)


def spreads(array: FloatArray | None, shape: tuple[int, ...]) -> bool:
    """Whether an array that is not zero broadcasts to a shape."""
    if array is None or not array.any():
        return False
    try:
        return np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        return False

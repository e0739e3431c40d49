"""What a loss counts, and the number it divides by."""

import numpy as np

from npformer.checks import InputError
from npformer.types import BoolArray


def kept_rows(keep: BoolArray | None, shape: tuple[int, ...]) -> BoolArray:
    """Return a mask of exactly this shape: all True if none is given."""
    if keep is None:
        return np.ones(shape, bool)
    if keep.dtype != np.bool_ or keep.shape != shape:
        raise InputError(f"keep: got {keep.dtype} {keep.shape}, expected boolean {shape}")
    return keep


def divisor(count: int | None, kept: int) -> float:
    """Return ``count`` if given, else ``kept``; never zero, so that nothing kept gives 0 / 1.

    Shards and accumulated batches pass the whole batch's count, so that their losses and
    gradients add up to those of the whole batch.
    """
    if count is not None and count < 0:
        raise InputError(f"count: got {count}, expected the number of entries of the whole batch")
    return float(max(kept if count is None else count, 1))

"""Whether two values are the same arithmetic, up to rounding."""

from typing import Any

import numpy as np

from npformer.exercises.checker.compare import difference

# Tighter than what counts as right: a fingerprint is the same arithmetic.
FINGERPRINT = 1e-9


def alike(a: Any, b: Any) -> bool:
    """Whether two values are the same up to rounding; NaN is like NaN."""
    if isinstance(a, np.ndarray | np.generic | float) and isinstance(
        b, np.ndarray | np.generic | float
    ):
        x, y = np.asarray(a), np.asarray(b)
        if x.shape != y.shape or x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub":
            return False
        odd = ~np.isfinite(x), ~np.isfinite(y)
        if not np.array_equal(odd[0], odd[1]):
            return False
        a, b = np.where(odd[0], 0, x), np.where(odd[1], 0, y)
        scale = np.abs(b).max(initial=1.0)
        return bool(np.abs(a - b).max(initial=0.0) <= FINGERPRINT * scale)
    found = difference(a, b, "")
    return found.message is None and found.error <= FINGERPRINT

"""Initial values of parameters."""

import numpy as np
from numpy.typing import DTypeLike

from npformer.types import FloatArray


def normal(
    rng: np.random.Generator,
    *shape: int,
    std: float = 0.02,
    dtype: DTypeLike = np.float32,
) -> FloatArray:
    """Draw from a normal distribution of mean 0; 0.02 is BERT's standard deviation.

    Always drawn in float64 and rounded, so that both types start from the same values.
    """
    return (rng.standard_normal(shape) * std).astype(dtype)

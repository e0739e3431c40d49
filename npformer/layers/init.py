"""Initial values of parameters."""

import math

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


def initializer_range(d_model: int) -> float:
    r"""Return the standard deviation of initial weights, :math:`0.02 \sqrt{768 / D}`.

    BERT's 0.02 was chosen at width 768. Scaled like this, the sums over a layer's inputs start
    with the same variance at every width, instead of nearly silent in a narrow model.
    """
    return 0.02 * math.sqrt(768 / d_model)

"""One seed per layer: a layer's dropout masks do not depend on what others drew."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.random import SeedSequence


def layer_seeds(rng: np.random.Generator | None, number: int) -> Sequence[SeedSequence | None]:
    """Return what `Generator.spawn` makes its children from, or as many None."""
    if rng is None:
        return [None] * number
    return cast(SeedSequence, rng.bit_generator.seed_seq).spawn(number)


def generator_of(seed: SeedSequence | None) -> np.random.Generator | None:
    """Return a new generator, or None without a seed."""
    return None if seed is None else np.random.default_rng(seed)

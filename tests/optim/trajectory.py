"""The 20 steps that every optimizer is shown: a quadratic with gradients of mixed sizes."""

from collections.abc import Callable

import numpy as np

from npformer.optim import Optimizer
from npformer.types import Params

STEPS = 20


def start() -> Params:
    """Return a matrix (decays), a table of one row (decays) and a bias (does not)."""
    rng = np.random.default_rng(7)
    return {
        "w": rng.standard_normal((3, 4)),
        "table": rng.standard_normal((1, 5)),
        "b": rng.standard_normal(6),
    }


def gradients(params: Params, step: int) -> Params:
    """Depend on the parameters, the step and the array: small, changing sign, uneven."""
    rng = np.random.default_rng([11, step])
    scales = {"w": 1.0, "table": 1e-3, "b": 30.0}
    return {
        name: scales[name] * (0.3 * p + rng.standard_normal(p.shape)) for name, p in params.items()
    }


def run(optimizer: Optimizer, rate: Callable[[int], float]) -> list[Params]:
    """Return the parameters after each of the steps."""
    params = start()
    state = optimizer.init(params)
    path = []
    for step in range(STEPS):
        optimizer.update(params, gradients(params, step), state, rate(step))
        path.append({name: p.copy() for name, p in params.items()})
    return path


def rate(step: int) -> float:
    """Rise, then fall: a wrong place of the rate shows."""
    return 0.02 * (1 + step) / (3 + abs(step - 8))

"""The position-wise feed-forward layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_positive
from npformer.layers.config import Config, check_sizes
from npformer.layers.init import normal
from npformer.ops import activations
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import FloatArray, Params

Forward = Callable[[FloatArray], tuple[FloatArray, Any]]
Backward = Callable[[FloatArray, Any], FloatArray]

ACTIVATIONS: dict[str, tuple[Forward, Backward]] = {
    "gelu": (activations.gelu_forward, activations.gelu_backward),
    "relu": (activations.relu_forward, activations.relu_backward),
    "silu": (activations.silu_forward, activations.silu_backward),
}


@dataclass(frozen=True, kw_only=True)
class FeedForwardConfig(Config):
    """Sizes of `FeedForward`."""

    d_model: int
    d_ff: int
    activation: str = "gelu"
    initializer_range: float = 0.02  # standard deviation of the initial weights

    def __post_init__(self) -> None:
        check_sizes(d_model=self.d_model, d_ff=self.d_ff)
        if self.activation not in ACTIVATIONS:
            raise InputError(
                f"activation: got {self.activation!r}, expected one of {', '.join(ACTIVATIONS)}"
            )
        check_positive("initializer_range", self.initializer_range)
        super().__post_init__()


class FeedForwardCache(NamedTuple):
    """What `FeedForward.backward` needs."""

    hidden: LinearCache
    activation: Any
    out: LinearCache


@dataclass(frozen=True)
class FeedForward:
    r"""Two affine maps with a nonlinearity between them, the same at every position.

    .. math:: y = \operatorname{act}(x w_1 + b_1)\,w_2 + b_2

    Parameters
    ----------
    config : FeedForwardConfig
    params : dict
        ``w_1`` of shape (D, F), ``b_1`` (F,), ``w_2`` (F, D), ``b_2`` (D,).

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", equation 2 (there with relu).
    """

    config: FeedForwardConfig
    params: Params

    @classmethod
    def init(
        cls, config: FeedForwardConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights; biases start at zero."""
        d, f, std = config.d_model, config.d_ff, config.initializer_range
        params = {
            "w_1": normal(rng, d, f, std=std, dtype=dtype),
            "b_1": np.zeros(f, dtype),
            "w_2": normal(rng, f, d, std=std, dtype=dtype),
            "b_2": np.zeros(d, dtype),
        }
        return cls(config, params)

    def forward(self, x: FloatArray) -> tuple[FloatArray, FeedForwardCache]:
        """Apply the layer to x of shape (..., D)."""
        p = self.params
        activate, _ = ACTIVATIONS[self.config.activation]
        h, hidden_cache = linear_forward(x, p["w_1"], p["b_1"])  # (..., F)
        a, activation_cache = activate(h)
        y, out_cache = linear_forward(a, p["w_2"], p["b_2"])  # (..., D)
        return y, FeedForwardCache(hidden_cache, activation_cache, out_cache)

    def backward(self, dy: FloatArray, cache: FeedForwardCache) -> tuple[FloatArray, Params]:
        """Undo `forward`: from dy of shape (..., D) to dx of the same shape, and ``grads``."""
        _, undo_activate = ACTIVATIONS[self.config.activation]
        g: Params = {}
        da, g["w_2"], g["b_2"] = linear_backward(dy, cache.out)  # (..., F)
        dh = undo_activate(da, cache.activation)
        dx, g["w_1"], g["b_1"] = linear_backward(dh, cache.hidden)  # (..., D)
        return dx, g

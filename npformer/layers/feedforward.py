"""The position-wise feed-forward layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import check_positive
from npformer.layers.config import Config, check_choice, check_sizes
from npformer.layers.shapes import Axis, Shapes, affine, draw
from npformer.ops import activations
from npformer.ops.gating import GateCache, gate_backward, gate_forward
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import FloatArray, Params, given

Forward = Callable[[FloatArray], tuple[FloatArray, Any]]
Backward = Callable[[FloatArray, Any], FloatArray]

ACTIVATIONS: dict[str, tuple[Forward, Backward]] = {
    "gelu": (activations.gelu_forward, activations.gelu_backward),
    "gelu_tanh": (activations.gelu_tanh_forward, activations.gelu_tanh_backward),
    "relu": (activations.relu_forward, activations.relu_backward),
    "silu": (activations.silu_forward, activations.silu_backward),
}


@dataclass(frozen=True, kw_only=True)
class FeedForwardConfig(Config):
    """Sizes of `FeedForward`."""

    d_model: int
    d_ff: int
    activation: str = "gelu"
    gated: bool = False  # act(x w_1) gates x w_3: SwiGLU if the activation is silu
    use_bias: bool = True  # of the affine maps
    initializer_range: float = 0.02  # standard deviation of the initial weights

    def __post_init__(self) -> None:
        check_sizes(d_model=self.d_model, d_ff=self.d_ff)
        check_choice("activation", self.activation, ACTIVATIONS)
        check_positive("initializer_range", self.initializer_range)
        super().__post_init__()


class FeedForwardCache(NamedTuple):
    """What `FeedForward.backward` needs."""

    hidden: LinearCache
    activation: Any
    gate: tuple[LinearCache, GateCache] | None
    out: LinearCache


@dataclass(frozen=True)
class FeedForward:
    r"""Two affine maps with a nonlinearity between them, the same at every position.

    .. math:: y = \operatorname{act}(x w_1 + b_1)\,w_2 + b_2

    With ``gated`` a third map passes through the gate that the first one makes:

    .. math:: y = \bigl(\operatorname{act}(x w_1 + b_1) \odot (x w_3 + b_3)\bigr)\,w_2 + b_2

    Parameters
    ----------
    config : FeedForwardConfig
    params : dict
        ``w_1`` of shape (D, F), ``w_2`` (F, D), gated also ``w_3`` (D, F); unless ``use_bias`` is
        off ``b_1`` (F,), ``b_2`` (D,) and ``b_3`` (F,).

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", equation 2 (there with relu); Shazeer 2020,
    "GLU variants improve Transformer", equation 6 (there without biases), whose W, V, W_2 are
    w_1, w_3, w_2 here, and gate_proj, up_proj, down_proj in Llama.
    """

    config: FeedForwardConfig
    params: Params

    @classmethod
    def shapes(cls, config: FeedForwardConfig) -> Shapes:
        """Return name -> axes."""
        d, f, bias = Axis("D", config.d_model), Axis("F", config.d_ff), config.use_bias
        shapes = affine("1", d, f, bias=bias) | affine("2", f, d, bias=bias)
        return shapes | affine("3", d, f, bias=bias) if config.gated else shapes

    @classmethod
    def init(
        cls, config: FeedForwardConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights; biases start at zero."""
        return cls(config, draw(cls.shapes(config), rng, dtype, std=config.initializer_range))

    def forward(self, x: FloatArray) -> tuple[FloatArray, FeedForwardCache]:
        """Apply the layer to x of shape (..., D)."""
        p = self.params
        activate, _ = ACTIVATIONS[self.config.activation]
        h, hidden_cache = linear_forward(x, p["w_1"], p.get("b_1"))  # (..., F)
        a, activation_cache = activate(h)
        gate = None
        if self.config.gated:
            u, up_cache = linear_forward(x, p["w_3"], p.get("b_3"))  # (..., F)
            a, gate_cache = gate_forward(a, u)
            gate = up_cache, gate_cache
        y, out_cache = linear_forward(a, p["w_2"], p.get("b_2"))  # (..., D)
        return y, FeedForwardCache(hidden_cache, activation_cache, gate, out_cache)

    def backward(self, dy: FloatArray, cache: FeedForwardCache) -> tuple[FloatArray, Params]:
        """Undo `forward`: from dy of shape (..., D) to dx of the same shape, and ``grads``."""
        _, undo_activate = ACTIVATIONS[self.config.activation]
        g: dict[str, Any] = {}
        da, g["w_2"], g["b_2"] = linear_backward(dy, cache.out)  # (..., F)
        dx_up = None
        if cache.gate is not None:
            up_cache, gate_cache = cache.gate
            da, du = gate_backward(da, gate_cache)
            dx_up, g["w_3"], g["b_3"] = linear_backward(du, up_cache)  # (..., D)
        dh = undo_activate(da, cache.activation)
        dx, g["w_1"], g["b_1"] = linear_backward(dh, cache.hidden)  # (..., D)
        if dx_up is not None:
            dx += dx_up
        return dx, given(g)

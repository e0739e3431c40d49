"""The norm of a block: layer norm, or root-mean-square norm in its place."""

from dataclasses import dataclass

from npformer.checks import check_positive
from npformer.layers.config import Config, check_choice, check_sizes
from npformer.layers.shapes import Axis, Shapes
from npformer.ops.layernorm import (
    LayerNormCache,
    RmsNormCache,
    layernorm_backward,
    layernorm_forward,
    rmsnorm_backward,
    rmsnorm_forward,
)
from npformer.types import FloatArray, Params

NORMS = ("layer", "rms")
NormCache = LayerNormCache | RmsNormCache


@dataclass(frozen=True, kw_only=True)
class NormConfig(Config):
    """Sizes of `Norm`."""

    d_model: int
    norm: str = "layer"  # or "rms": without centring and without beta
    layer_norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        check_sizes(d_model=self.d_model)
        check_choice("norm", self.norm, NORMS)
        check_positive("layer_norm_eps", self.layer_norm_eps)
        super().__post_init__()


@dataclass(frozen=True)
class Norm:
    """`layernorm_forward`, or `rmsnorm_forward` with ``norm="rms"``.

    Parameters
    ----------
    config : NormConfig
    params : dict
        ``gamma`` of shape (D,); of a layer norm also ``beta`` (D,).
    """

    config: NormConfig
    params: Params

    @classmethod
    def shapes(cls, config: NormConfig) -> Shapes:
        """Return name -> axes."""
        names = ("gamma", "beta") if config.norm == "layer" else ("gamma",)
        return {name: (Axis("D", config.d_model),) for name in names}

    def forward(self, x: FloatArray) -> tuple[FloatArray, NormCache]:
        """Normalise x of shape (..., D)."""
        p, eps = self.params, self.config.layer_norm_eps
        if self.config.norm == "rms":
            return rmsnorm_forward(x, p["gamma"], eps=eps)
        return layernorm_forward(x, p["gamma"], p["beta"], eps=eps)

    def backward(self, dy: FloatArray, cache: NormCache) -> tuple[FloatArray, Params]:
        """Undo `forward`: from dy of shape (..., D) to dx of the same shape, and ``grads``."""
        g: Params = {}
        if isinstance(cache, RmsNormCache):
            dx, g["gamma"] = rmsnorm_backward(dy, cache)
        else:
            dx, g["gamma"], g["beta"] = layernorm_backward(dy, cache)
        return dx, g

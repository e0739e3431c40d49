"""Absolute positions: one vector per position, computed or learned, added to the embeddings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError
from npformer.layers.config import Config, check_choice, check_sizes
from npformer.layers.init import normal
from npformer.ops.positions.sinusoidal import (
    SinusoidalCache,
    sinusoidal_backward,
    sinusoidal_forward,
    sinusoidal_table,
)
from npformer.types import FloatArray, Params

POSITIONS = ("sinusoidal", "learned", "none")
LAYOUTS = ("interleaved", "half-split")


@dataclass(frozen=True, kw_only=True)
class PositionsConfig(Config):
    """How the embeddings know absolute positions."""

    d_model: int
    max_len: int
    positions: str = "sinusoidal"  # or "learned", or "none"
    sinusoidal_layout: str = "interleaved"  # or "half-split": all sines before all cosines

    def __post_init__(self) -> None:
        check_sizes(d_model=self.d_model, max_len=self.max_len)
        check_choice("positions", self.positions, POSITIONS)
        check_choice("sinusoidal_layout", self.sinusoidal_layout, LAYOUTS)
        if self.positions != "sinusoidal" and not self.interleaved:
            raise InputError(
                f"sinusoidal_layout: got {self.sinusoidal_layout!r}, expected 'interleaved' "
                "without positions='sinusoidal'"
            )
        super().__post_init__()

    @property
    def interleaved(self) -> bool:
        """Sine and cosine of a frequency stand side by side."""
        return self.sinusoidal_layout == "interleaved"


PositionsCache = SinusoidalCache | FloatArray | None  # (max_len, D) the learned table


def positions_params(
    config: PositionsConfig, width: int, rng: np.random.Generator, *, std: float, dtype: DTypeLike
) -> Params:
    """Draw ``position`` of shape (max_len, width), if positions are learned."""
    if config.positions != "learned":
        return {}
    return {"position": normal(rng, config.max_len, width, std=std, dtype=dtype)}


def positions_forward(
    config: PositionsConfig, params: Params, x: FloatArray
) -> tuple[FloatArray, PositionsCache]:
    """Add the positions to x of shape (B, T, D), with T at most max_len."""
    if config.positions == "sinusoidal":
        return sinusoidal_forward(x, interleaved=config.interleaved)
    if config.positions == "learned":
        table = params["position"]
        return x + table[: x.shape[1]], table
    return x, None


def positions_backward(dy: FloatArray, cache: PositionsCache) -> tuple[FloatArray, Params]:
    """Undo `positions_forward`: a learned row gets the sum over the batch, the others nothing."""
    if isinstance(cache, SinusoidalCache):
        return sinusoidal_backward(dy, cache), {}
    if cache is not None:
        dtable = np.zeros_like(cache)
        dtable[: dy.shape[1]] = dy.sum(axis=0)
        return dy, {"position": dtable}
    return dy, {}


def positions_from(
    config: PositionsConfig, params: Params, x: FloatArray, first: int
) -> FloatArray:
    """Add the positions from ``first`` on to further tokens (B, T, D); no backward."""
    end = first + x.shape[1]
    if config.positions == "sinusoidal":
        table = sinusoidal_table(end, config.d_model, interleaved=config.interleaved, dtype=x.dtype)
    elif config.positions == "learned":
        table = params["position"][:end]
    else:
        return x
    y: FloatArray = x + table[first:]
    return y

"""Absolute positions: one vector per place, computed or learned, added to the embeddings."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.layers.config import Config, check_choice, check_sizes
from npformer.layers.shapes import Axis, Shapes
from npformer.ops.positions.sinusoidal import (
    SinusoidalCache,
    sinusoidal_backward,
    sinusoidal_forward,
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


class LearnedCache(NamedTuple):
    """What `positions_backward` needs of learned positions."""

    first: int
    table: FloatArray  # (max_len, D)


PositionsCache = SinusoidalCache | LearnedCache | None


def positions_shapes(config: PositionsConfig, width: Axis) -> Shapes:
    """Return ``position`` of shape (max_len, width), if positions are learned."""
    if config.positions != "learned":
        return {}
    return {"position": (Axis("max_len", config.max_len), width)}


def positions_forward(
    config: PositionsConfig, params: Params, x: FloatArray, first: int = 0
) -> tuple[FloatArray, PositionsCache]:
    """Add the positions to x (B, T, D), whose first token stands at ``first``.

    Raises
    ------
    InputError
        If the last one stands beyond max_len.
    """
    end = first + x.shape[1]
    if end > config.max_len:
        got = f"{x.shape[1]} after {first} tokens" if first else f"{end} tokens"
        total = " in all" if first else ""
        raise InputError(f"ids: got {got}, expected at most max_len = {config.max_len}{total}")
    if config.positions == "sinusoidal":
        return sinusoidal_forward(x, first=first, interleaved=config.interleaved)
    if config.positions == "learned":
        return x + params["position"][first:end], LearnedCache(first, params["position"])
    return x, None


def positions_backward(dy: FloatArray, cache: PositionsCache) -> tuple[FloatArray, Params]:
    """Undo `positions_forward`: a learned row gets the sum over the batch, the others nothing."""
    if isinstance(cache, LearnedCache):
        dtable = np.zeros_like(cache.table)
        dtable[cache.first : cache.first + dy.shape[1]] = dy.sum(axis=0)
        return dy, {"position": dtable}
    return (dy if cache is None else sinusoidal_backward(dy, cache)), {}

"""Rotary positions: the queries and keys of each head are turned by their place."""

from typing import TYPE_CHECKING, Any

import numpy as np

from npformer.checks import InputError
from npformer.layers.config import check_choice, check_sizes
from npformer.layers.relative.scheme import Scheme
from npformer.ops.positions.rotary import rotary_backward, rotary_forward
from npformer.types import FloatArray

if TYPE_CHECKING:
    from npformer.layers.attention_config import AttentionConfig

LAYOUTS = ("half-split", "interleaved")


class Rotary(Scheme):
    """As in Su et al. 2021, see `rotary_forward`."""

    options = ("rotary_layout", "rotary_size")

    @classmethod
    def check(cls, config: "AttentionConfig") -> None:
        """Require pairs of features."""
        check_choice("rotary_layout", config.rotary_layout, LAYOUTS)
        size = config.rotary_size
        if size is None:
            if config.head_size % 2:
                raise InputError(
                    f"d_model: got {config.d_model}, expected d_model / num_heads even with rotary "
                    f"positions, which turn pairs of features (here it is {config.head_size})"
                )
        else:
            check_sizes(rotary_size=size)
            if size % 2 or size > config.head_size:
                raise InputError(
                    f"rotary_size: got {size}, expected an even number up to d_model / num_heads "
                    f"= {config.head_size}"
                )

    def turn_forward(self, x: FloatArray, first: int) -> tuple[FloatArray, Any]:
        """Turn queries or keys by their places."""
        return rotary_forward(
            x,
            np.arange(first, first + x.shape[2]),
            rotary_dim=self.config.rotary_size,
            interleaved=self.config.rotary_layout == "interleaved",
        )

    def turn_backward(self, dy: FloatArray, cache: Any) -> FloatArray:
        """Turn back."""
        return rotary_backward(dy, cache)

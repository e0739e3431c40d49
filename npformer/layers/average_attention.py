"""Attention without scores: every value that may be attended to counts the same."""

from typing import Any

import numpy as np

from npformer.layers.attend import KeyValues
from npformer.layers.attention import MultiHeadAttention, join_heads, split_heads
from npformer.layers.attention_config import AttentionConfig
from npformer.layers.relative import Scheme
from npformer.layers.shapes import Shapes
from npformer.ops.linear import linear_backward, linear_forward
from npformer.types import FloatArray, Params, given


class AverageAttention(MultiHeadAttention):
    """`MultiHeadAttention` without queries and keys: all scores are 0, so the softmax averages.

    What a model scores with it is what it owes to everything but attention.

    Parameters
    ----------
    config : AttentionConfig
    params : dict
        ``w_v, b_v, w_o, b_o`` alone.

    References
    ----------
    Zhang et al. 2018, "Accelerating neural Transformer via an average attention network",
    equation 1. Deviations: the paper has it in the decoder's self-attention alone, with a
    feed-forward layer and a gate after it, which are left out.
    """

    kind = "average"

    @classmethod
    def shapes(cls, config: AttentionConfig, *, cross: bool = False) -> Shapes:
        """Return name -> axes."""
        all_maps = MultiHeadAttention.shapes(config, cross=cross)
        return {name: axes for name, axes in all_maps.items() if name[-1] in "vo"}

    def queries(self, x: FloatArray, scheme: Scheme, first: int = 0) -> tuple[FloatArray, Any]:
        """Return queries of one feature that is 0."""
        return _zeros(x, self.config.num_heads), x  # (B, H, T, 1)

    def queries_backward(
        self, dq: FloatArray, cache: Any, scheme: Scheme
    ) -> tuple[FloatArray, Params]:
        """Undo `queries`: they do not depend on x."""
        return np.zeros_like(cache), {}

    def key_values(
        self, source: FloatArray, scheme: Scheme, first: int = 0
    ) -> tuple[KeyValues, Any]:
        """Return values, and keys of one feature that is 0."""
        v, v_cache = linear_forward(source, self.params["w_v"], self.params.get("b_v"))
        v = split_heads(v, self.config.kv_heads)  # (B, G, S, K)
        return KeyValues(_zeros(source, self.config.kv_heads), v), v_cache

    def key_values_backward(
        self, dkeys: KeyValues, cache: Any, scheme: Scheme
    ) -> tuple[FloatArray, Params]:
        """Undo `key_values`."""
        dsource, dw, db = linear_backward(join_heads(dkeys.v), cache)
        return dsource, given({"w_v": dw, "b_v": db})


def _zeros(x: FloatArray, num_heads: int) -> FloatArray:
    return np.zeros((len(x), num_heads, x.shape[1], 1), x.dtype)

"""T5's positions: a bias for each bucket of distances, looked up once for all layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from npformer.layers.config import check_sizes
from npformer.layers.relative.scheme import Maybe, Scheme, total
from npformer.layers.shapes import Axis, Shapes
from npformer.ops.positions.t5 import relative_bucket, t5_bias_backward, t5_bias_forward
from npformer.types import FloatArray, Params

if TYPE_CHECKING:
    from npformer.layers.attention_config import AttentionConfig


class T5(Scheme):
    """As in Raffel et al. 2020, see `t5_bias_forward`."""

    options = ("num_buckets", "max_distance")
    shares = True

    @classmethod
    def check(cls, config: "AttentionConfig") -> None:
        """Require buckets for both directions."""
        check_sizes(num_buckets=config.num_buckets, max_distance=config.max_distance)
        for bidirectional in (True, False):
            relative_bucket(
                np.zeros(0, int),
                num_buckets=config.num_buckets,
                max_distance=config.max_distance,
                bidirectional=bidirectional,
            )

    @classmethod
    def stack_shapes(cls, config: "AttentionConfig") -> Shapes:
        """A bias for each bucket and head."""
        return {"relative_bias": (Axis("R", config.num_buckets), Axis("H", config.num_heads))}

    def shared_forward(
        self, query_len: int, key_len: int, *, offset: int, bidirectional: bool
    ) -> tuple[FloatArray, Any]:
        """Look up the bias (1, H, T, S)."""
        return t5_bias_forward(
            self.params["relative_bias"],
            query_len,
            key_len,
            offset=offset,
            num_buckets=self.config.num_buckets,
            max_distance=self.config.max_distance,
            bidirectional=bidirectional,
        )

    def shared_backward(self, dshared: Sequence[Maybe], cache: Any) -> Params:
        """Add the layers up, then undo the look-up."""
        return {"relative_bias": t5_bias_backward(total(dshared), cache)}

    def bias_forward(
        self, q: FloatArray, k: FloatArray, shared: Maybe, offset: int
    ) -> tuple[Maybe, None]:
        """Return the bias that the stack has looked up."""
        return shared, None

    def bias_backward(self, dbias: Maybe, cache: None) -> tuple[None, None, Maybe, Params]:
        """Hand its gradient to the stack."""
        return None, None, dbias, {}

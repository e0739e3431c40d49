"""Shaw et al.'s positions: each key and each value gets a learned vector of its distance."""

from typing import TYPE_CHECKING, Any

from npformer.layers.config import check_sizes
from npformer.layers.relative.scheme import Maybe, Scheme
from npformer.layers.shapes import Axis, Shapes
from npformer.ops.positions.shaw import (
    shaw_key_backward,
    shaw_key_forward,
    shaw_value_backward,
    shaw_value_forward,
)
from npformer.types import FloatArray, Params

if TYPE_CHECKING:
    from npformer.layers.attention_config import AttentionConfig


class Shaw(Scheme):
    """As in Shaw et al. 2018, see `shaw_key_forward` and `shaw_value_forward`."""

    options = ("relative_clip",)
    blockwise = False

    @classmethod
    def check(cls, config: "AttentionConfig") -> None:
        """Require a farthest distance."""
        check_sizes(relative_clip=config.relative_clip)

    @classmethod
    def layer_shapes(cls, config: "AttentionConfig") -> Shapes:
        """A vector for each distance from -relative_clip to relative_clip."""
        rows, k = Axis("R", 2 * config.relative_clip + 1), Axis("K", config.head_size)
        return {"rel_k": (rows, k), "rel_v": (rows, k)}

    def bias_forward(
        self, q: FloatArray, k: FloatArray, shared: Maybe, offset: int
    ) -> tuple[FloatArray, Any]:
        """Score the distances."""
        return shaw_key_forward(
            q, self.params["rel_k"], k.shape[2], offset=offset, scale=self.scale
        )

    def bias_backward(self, dbias: Any, cache: Any) -> tuple[FloatArray, None, None, Params]:
        """Undo `bias_forward`."""
        dq, drel_k = shaw_key_backward(dbias, cache)
        return dq, None, None, {"rel_k": drel_k}

    def mix_forward(self, probs: FloatArray, offset: int) -> tuple[FloatArray, Any]:
        """Average the vectors of the distances."""
        return shaw_value_forward(probs, self.params["rel_v"], offset=offset)

    def mix_backward(self, dctx: FloatArray, cache: Any) -> tuple[FloatArray, Params]:
        """Undo `mix_forward`."""
        dprobs, drel_v = shaw_value_backward(dctx, cache)
        return dprobs, {"rel_v": drel_v}

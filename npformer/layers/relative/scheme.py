"""What a scheme of relative positions may do to attention; by default nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from npformer.layers.shapes import Shapes
from npformer.types import FloatArray, Params

if TYPE_CHECKING:
    from npformer.layers.attention_config import AttentionConfig

Maybe = FloatArray | None


@dataclass(frozen=True)
class Scheme:
    """No relative positions. A scheme overrides the hooks that it needs, each with its backward.

    Self-attention calls them in this order: `turn` on queries and on keys, `bias` for the scores,
    `mix` for the context. What all layers of a stack read, the stack makes once (`shared`) and
    gives to each of them.

    Parameters
    ----------
    config : AttentionConfig
    params : dict
        Of the attention layer, the arrays of `layer_shapes` among them; for `shared_forward`
        and its backward those of the stack.
    """

    config: "AttentionConfig"
    params: Params

    options: ClassVar[tuple[str, ...]] = ()  # fields of AttentionConfig without meaning elsewhere
    shares: ClassVar[bool] = False  # the layers of a stack read one array
    blockwise: ClassVar[bool] = True  # long sequences may be attended to block by block

    @classmethod
    def check(cls, config: "AttentionConfig") -> None:
        """Refuse options that do not agree, with an InputError."""

    @classmethod
    def layer_shapes(cls, config: "AttentionConfig") -> Shapes:
        """Return the arrays of one layer."""
        return {}

    @classmethod
    def stack_shapes(cls, config: "AttentionConfig") -> Shapes:
        """Return the arrays that a stack has once."""
        return {}

    @property
    def scale(self) -> float | None:
        """The factor c of the scores; None means 1/sqrt(K)."""
        return self.config.attention_scale

    def shared_forward(
        self, query_len: int, key_len: int, *, offset: int, bidirectional: bool
    ) -> tuple[Maybe, Any]:
        """Return what every layer of the stack is given as ``shared``."""
        return None, None

    def shared_backward(self, dshared: Sequence[Maybe], cache: Any) -> Params:
        """Undo `shared_forward`: ``dshared`` has the gradient of each layer that read it."""
        return {}

    def turn_forward(self, x: FloatArray, first: int) -> tuple[FloatArray, Any]:
        """Change queries or keys (B, H, T, K), of which the first stands at ``first``."""
        return x, None

    def turn_backward(self, dy: FloatArray, cache: Any) -> FloatArray:
        """Undo `turn_forward`."""
        return dy

    def bias_forward(
        self, q: FloatArray, k: FloatArray, shared: Maybe, offset: int
    ) -> tuple[Maybe, Any]:
        """Return what is added to the scores: it broadcasts to (B, H, T, S).

        q is (B, H, T, K), k is (B, H, S, K), and ``offset`` keys come before the first query.
        """
        return None, None

    def bias_backward(self, dbias: Maybe, cache: Any) -> tuple[Maybe, Maybe, Maybe, Params]:
        """Undo `bias_forward`: return dq, dk, dshared and the gradients of the layer's arrays."""
        return None, None, None, {}

    def mix_forward(self, probs: FloatArray, offset: int) -> tuple[Maybe, Any]:
        """Return what is added to the context (B, H, T, K), from the probabilities (B, H, T, S)."""
        return None, None

    def mix_backward(self, dctx: FloatArray, cache: Any) -> tuple[Maybe, Params]:
        """Undo `mix_forward`: return dprobs and the gradients of the layer's arrays."""
        return None, {}


def total(parts: Sequence[Maybe]) -> FloatArray:
    """Add what the layers of a stack give back for the array that they share."""
    first, *others = [part for part in parts if part is not None]
    return sum(others, start=first)

"""DeBERTa's positions: queries ask for distances, and distances for keys."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from npformer.layers.config import check_sizes
from npformer.layers.relative.scheme import Maybe, Scheme, total
from npformer.layers.shapes import Axis, Shapes, affine
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.ops.positions.deberta import (
    DisentangledBiasCache,
    disentangled_bias_backward,
    disentangled_bias_forward,
    disentangled_scale,
)
from npformer.types import FloatArray, Params, given

if TYPE_CHECKING:
    from npformer.layers.attention_config import AttentionConfig


class DebertaCache(NamedTuple):
    """What `Deberta.bias_backward` needs."""

    q_r: LinearCache
    k_r: LinearCache
    bias: DisentangledBiasCache


class Deberta(Scheme):
    """As in He et al. 2021, see `disentangled_bias_forward`."""

    options = ("relative_clip",)
    shares = True
    blockwise = False

    @classmethod
    def check(cls, config: "AttentionConfig") -> None:
        """Require a farthest distance."""
        check_sizes(relative_clip=config.relative_clip)

    @classmethod
    def layer_shapes(cls, config: "AttentionConfig") -> Shapes:
        """The maps that take the table to queries and to keys."""
        d, bias = Axis("D", config.d_model), config.use_bias
        return affine("qr", d, d, bias=bias) | affine("kr", d, d, bias=bias)

    @classmethod
    def stack_shapes(cls, config: "AttentionConfig") -> Shapes:
        """A vector for each of 2 relative_clip distances."""
        return {
            "relative_embeddings": (Axis("R", 2 * config.relative_clip), Axis("D", config.d_model))
        }

    @property
    def scale(self) -> float:
        """1/sqrt(3 K) by default: three inner products are added."""
        return self.config.attention_scale or disentangled_scale(self.config.head_size)

    def shared_forward(
        self, query_len: int, key_len: int, *, offset: int, bidirectional: bool
    ) -> tuple[FloatArray, None]:
        """Return the table itself, (R, D)."""
        return self.params["relative_embeddings"], None

    def shared_backward(self, dshared: Sequence[Maybe], cache: None) -> Params:
        """Add the layers up."""
        return {"relative_embeddings": total(dshared)}

    def bias_forward(
        self, q: FloatArray, k: FloatArray, shared: Any, offset: int
    ) -> tuple[FloatArray, DebertaCache]:
        """Score the distances."""
        p, heads = self.params, self.config.num_heads
        q_r, q_r_cache = linear_forward(shared, p["w_qr"], p.get("b_qr"))  # (R, D)
        k_r, k_r_cache = linear_forward(shared, p["w_kr"], p.get("b_kr"))  # (R, D)
        bias, bias_cache = disentangled_bias_forward(
            q, k, _split(q_r, heads), _split(k_r, heads), offset=offset, scale=self.scale
        )  # (B, H, T, S)
        return bias, DebertaCache(q_r_cache, k_r_cache, bias_cache)

    def bias_backward(
        self, dbias: Any, cache: DebertaCache
    ) -> tuple[FloatArray, FloatArray, FloatArray, Params]:
        """Undo `bias_forward`."""
        g: dict[str, Any] = {}
        dq, dk, dq_r, dk_r = disentangled_bias_backward(dbias, cache.bias)
        dshared_k, g["w_kr"], g["b_kr"] = linear_backward(_join(dk_r), cache.k_r)  # (R, D)
        dshared_q, g["w_qr"], g["b_qr"] = linear_backward(_join(dq_r), cache.q_r)  # (R, D)
        return dq, dk, dshared_q + dshared_k, given(g)


def _split(x: FloatArray, num_heads: int) -> FloatArray:
    """(R, D) -> (H, R, K), a view."""
    return x.reshape(len(x), num_heads, -1).swapaxes(0, 1)


def _join(x: FloatArray) -> FloatArray:
    """(H, R, K) -> (R, D); undoes `_split`."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)

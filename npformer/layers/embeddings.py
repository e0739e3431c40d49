"""What enters an encoder: token + position + segment, normalised, widened if narrow."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import check_fraction, check_ids, check_positive, check_shape
from npformer.layers.config import check_sizes
from npformer.layers.norm import Norm, NormCache, NormConfig
from npformer.layers.positions import (
    PositionsCache,
    PositionsConfig,
    positions_backward,
    positions_forward,
    positions_shapes,
)
from npformer.layers.shapes import Axis, Shapes, draw
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import FloatArray, IntArray, Params


@dataclass(frozen=True, kw_only=True)
class EmbeddingsConfig(PositionsConfig, NormConfig):
    """Sizes of `Embeddings`."""

    vocab_size: int
    embedding_size: int | None = None  # E, the width of the tables; None: D, and no projection
    num_segments: int = 2  # 0: no segment table
    positions: str = "learned"
    dropout: float = 0.0
    initializer_range: float = 0.02  # standard deviation of the initial tables

    def __post_init__(self) -> None:
        check_sizes(vocab_size=self.vocab_size)
        if self.embedding_size is not None:
            check_sizes(embedding_size=self.embedding_size)
        if self.num_segments != 0 or isinstance(self.num_segments, bool):
            check_sizes(num_segments=self.num_segments)
        check_fraction("dropout", self.dropout)
        check_positive("initializer_range", self.initializer_range)
        super().__post_init__()

    @property
    def table_width(self) -> int:
        """E, or D without a projection."""
        return self.d_model if self.embedding_size is None else self.embedding_size


class EmbeddingsCache(NamedTuple):
    """What `Embeddings.backward` needs."""

    token: EmbeddingCache
    segment: EmbeddingCache | None
    position: PositionsCache
    norm: NormCache
    dropout: DropoutCache
    projection: LinearCache | None


@dataclass(frozen=True)
class Embeddings:
    r"""Token plus segment plus position, layer norm, dropout.

    .. math:: y_{bt} = \operatorname{dropout}\bigl(\operatorname{layernorm}
              (W_{\mathrm{id}_{bt}} + G_{\mathrm{seg}_{bt}} + P_t)\bigr)

    With ``embedding_size`` all of this has width E, and an affine map takes it to width D:

    .. math:: y_{bt} \leftarrow y_{bt}\,w + b

    A (V, D) table becomes one of (V, E) and a map of (E, D), with far fewer parameters where E is
    much smaller than D. Nothing is dropped after the map, and it has its bias always.

    Parameters
    ----------
    config : EmbeddingsConfig
    params : dict
        ``token`` of shape (V, E), ``segment`` (num_segments, E), with learned positions
        ``position`` (max_len, E); ``gamma`` and ``beta`` (E,), the latter not with ``norm="rms"``;
        E is D without ``embedding_size``, and with it there are ``projection.w`` (E, D) and
        ``projection.b`` (D,).

    References
    ----------
    Devlin et al. 2019, "BERT", figure 2; the layer norm and dropout are in its released code.
    Lan et al. 2020, "ALBERT", section 3.1, "Factorized embedding parameterization"; where the
    norm stands and that the map has a bias are in its released code.
    """

    config: EmbeddingsConfig
    params: Params

    @classmethod
    def shapes(cls, config: EmbeddingsConfig) -> Shapes:
        """Return name -> axes."""
        e = Axis("D" if config.embedding_size is None else "E", config.table_width)
        shapes = {"token": (Axis("V", config.vocab_size), e), **positions_shapes(config, e)}
        if config.num_segments:
            shapes["segment"] = (Axis("num_segments", config.num_segments), e)
        shapes |= {name: (e,) for name in Norm.shapes(_norm_config(config))}
        if config.embedding_size is not None:
            d = Axis("D", config.d_model)
            shapes |= {"projection.w": (e, d), "projection.b": (d,)}
        return shapes

    @classmethod
    def init(
        cls, config: EmbeddingsConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the tables; the norm starts as gamma = 1, beta = 0."""
        return cls(config, draw(cls.shapes(config), rng, dtype, std=config.initializer_range))

    @property
    def _norm(self) -> Norm:
        names = {"gamma", "beta"} & self.params.keys()
        return Norm(_norm_config(self.config), {name: self.params[name] for name in names})

    def forward(
        self,
        ids: IntArray,
        segments: IntArray | None = None,
        *,
        rng: np.random.Generator | None = None,
    ) -> tuple[FloatArray, EmbeddingsCache]:
        """Embed a batch.

        Parameters
        ----------
        ids : integer ndarray of shape (B, T)
        segments : integer ndarray of shape (B, T), optional
            Default all 0.
        rng : numpy.random.Generator, optional
            None means no dropout.

        Returns
        -------
        y : ndarray of shape (B, T, D)
        cache : EmbeddingsCache

        Raises
        ------
        InputError
            If T exceeds max_len, or an id or a segment is outside its table.
        """
        p, config = self.params, self.config
        check_shape("ids", ids, ("B", "T"))
        x, token_cache = embedding_forward(ids, p["token"])  # (B, T, E)
        segment_cache = None
        if config.num_segments:
            if segments is None:
                segments = np.zeros_like(ids)
            check_shape("segments", segments, ids.shape)
            check_ids("segments", segments, config.num_segments, "segment table")
            segment, segment_cache = embedding_forward(segments, p["segment"])  # (B, T, E)
            x = x + segment
        x, position_cache = positions_forward(config, p, x)
        normed, norm_cache = self._norm.forward(x)
        y, dropout_cache = dropout_forward(normed, config.dropout, rng)
        projection_cache = None
        if config.embedding_size is not None:
            y, projection_cache = linear_forward(
                y, p["projection.w"], p["projection.b"]
            )  # (B, T, D)
        return y, EmbeddingsCache(
            token_cache,
            segment_cache,
            position_cache,
            norm_cache,
            dropout_cache,
            projection_cache,
        )

    def backward(self, dy: FloatArray, cache: EmbeddingsCache) -> tuple[None, Params]:
        """Undo `forward`: from dy of shape (B, T, D) to ``grads``; ids have no gradient."""
        g: Params = {}
        if cache.projection is not None:
            dy, g["projection.w"], g["projection.b"] = linear_backward(
                dy, cache.projection
            )  # (B, T, E)
        dnormed = dropout_backward(dy, cache.dropout)
        dx, norm_grads = self._norm.backward(dnormed, cache.norm)
        dx, position_grads = positions_backward(dx, cache.position)
        g |= {**norm_grads, **position_grads}
        if cache.segment is not None:
            g["segment"] = embedding_backward(dx, cache.segment)
        g["token"] = embedding_backward(dx, cache.token)
        return None, g


def _norm_config(config: EmbeddingsConfig) -> NormConfig:
    """Return the norm of the tables, which are E wide."""
    return NormConfig(
        d_model=config.table_width, norm=config.norm, layer_norm_eps=config.layer_norm_eps
    )

"""What enters an encoder: token + position + segment, normalised."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_fraction, check_ids, check_positive, check_shape
from npformer.layers.config import check_sizes
from npformer.layers.init import normal
from npformer.layers.norm import Norm, NormCache, NormConfig
from npformer.layers.positions import (
    PositionsCache,
    PositionsConfig,
    positions_backward,
    positions_forward,
    positions_params,
)
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from npformer.types import FloatArray, IntArray, Params


@dataclass(frozen=True, kw_only=True)
class EmbeddingsConfig(PositionsConfig, NormConfig):
    """Sizes of `Embeddings`."""

    vocab_size: int
    num_segments: int = 2  # 0: no segment table
    positions: str = "learned"
    dropout: float = 0.0
    initializer_range: float = 0.02  # standard deviation of the initial tables

    def __post_init__(self) -> None:
        check_sizes(vocab_size=self.vocab_size)
        if self.num_segments != 0 or isinstance(self.num_segments, bool):
            check_sizes(num_segments=self.num_segments)
        check_fraction("dropout", self.dropout)
        check_positive("initializer_range", self.initializer_range)
        super().__post_init__()


class EmbeddingsCache(NamedTuple):
    """What `Embeddings.backward` needs."""

    token: EmbeddingCache
    segment: EmbeddingCache | None
    position: PositionsCache
    norm: NormCache
    dropout: DropoutCache


@dataclass(frozen=True)
class Embeddings:
    r"""Token plus segment plus position, layer norm, dropout.

    .. math:: y_{bt} = \operatorname{dropout}\bigl(\operatorname{layernorm}
              (E_{\mathrm{id}_{bt}} + G_{\mathrm{seg}_{bt}} + P_t)\bigr)

    Parameters
    ----------
    config : EmbeddingsConfig
    params : dict
        ``token`` of shape (V, D), ``segment`` (num_segments, D), with learned positions
        ``position`` (max_len, D); ``gamma`` and ``beta`` (D,), the latter not with ``norm="rms"``.

    References
    ----------
    Devlin et al. 2019, "BERT", figure 2; the layer norm and dropout are in its released code.
    """

    config: EmbeddingsConfig
    params: Params

    @classmethod
    def init(
        cls, config: EmbeddingsConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the tables; the norm starts as gamma = 1, beta = 0."""
        d, std = config.d_model, config.initializer_range
        params = {
            "token": normal(rng, config.vocab_size, d, std=std, dtype=dtype),
            **positions_params(config, rng, std=std, dtype=dtype),
        }
        if config.num_segments:
            params["segment"] = normal(rng, config.num_segments, d, std=std, dtype=dtype)
        params |= Norm.init(config, dtype).params
        return cls(config, params)

    @property
    def _norm(self) -> Norm:
        names = {"gamma", "beta"} & self.params.keys()
        return Norm(self.config, {name: self.params[name] for name in names})

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
        if ids.shape[1] > config.max_len:
            raise InputError(
                f"ids: got {ids.shape[1]} tokens, expected at most max_len = {config.max_len}"
            )
        x, token_cache = embedding_forward(ids, p["token"])  # (B, T, D)
        segment_cache = None
        if config.num_segments:
            if segments is None:
                segments = np.zeros_like(ids)
            check_shape("segments", segments, ids.shape)
            check_ids("segments", segments, config.num_segments, "segment table")
            segment, segment_cache = embedding_forward(segments, p["segment"])  # (B, T, D)
            x += segment
        x, position_cache = positions_forward(config, p, x)
        normed, norm_cache = self._norm.forward(x)
        y, dropout_cache = dropout_forward(normed, config.dropout, rng)
        cache = EmbeddingsCache(
            token_cache, segment_cache, position_cache, norm_cache, dropout_cache
        )
        return y, cache

    def backward(self, dy: FloatArray, cache: EmbeddingsCache) -> tuple[None, Params]:
        """Undo `forward`: from dy of shape (B, T, D) to ``grads``; ids have no gradient."""
        dnormed = dropout_backward(dy, cache.dropout)
        dx, norm_grads = self._norm.backward(dnormed, cache.norm)
        dx, position_grads = positions_backward(dx, cache.position)
        g: Params = {**position_grads, **norm_grads}
        if cache.segment is not None:
            g["segment"] = embedding_backward(dx, cache.segment)
        g["token"] = embedding_backward(dx, cache.token)
        return None, g

"""What enters an encoder: token + position + segment, normalised."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_fraction, check_ids, check_positive, check_shape
from npformer.layers.config import Config, check_sizes
from npformer.layers.init import normal
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from npformer.ops.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from npformer.types import FloatArray, IntArray, Params


@dataclass(frozen=True, kw_only=True)
class EmbeddingsConfig(Config):
    """Sizes of `Embeddings`."""

    vocab_size: int
    d_model: int
    max_len: int
    num_segments: int = 2  # 0: no segment table
    dropout: float = 0.0
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02  # standard deviation of the initial tables

    def __post_init__(self) -> None:
        check_sizes(
            vocab_size=self.vocab_size,
            d_model=self.d_model,
            max_len=self.max_len,
        )
        if self.num_segments != 0 or isinstance(self.num_segments, bool):
            check_sizes(num_segments=self.num_segments)
        check_fraction("dropout", self.dropout)
        check_positive("layer_norm_eps", self.layer_norm_eps)
        check_positive("initializer_range", self.initializer_range)
        super().__post_init__()


class EmbeddingsCache(NamedTuple):
    """What `Embeddings.backward` needs."""

    token: EmbeddingCache
    position: FloatArray  # (max_len, D) the table
    segment: EmbeddingCache | None
    norm: LayerNormCache
    dropout: DropoutCache


@dataclass(frozen=True)
class Embeddings:
    r"""Sum of three tables (two without segments), layer norm, dropout.

    .. math:: y_{bt} = \operatorname{dropout}\bigl(\operatorname{layernorm}
              (E_{\mathrm{id}_{bt}} + P_t + G_{\mathrm{seg}_{bt}})\bigr)

    Parameters
    ----------
    config : EmbeddingsConfig
    params : dict
        ``token`` of shape (V, D), ``position`` (max_len, D), ``segment`` (num_segments, D),
        ``gamma`` and ``beta`` (D,).

    References
    ----------
    Devlin et al. 2019, "BERT", figure 2; the layer norm and dropout are in its released code.
    Sanh et al. 2019, "DistilBERT", section 3, which has no segments.
    """

    config: EmbeddingsConfig
    params: Params

    @classmethod
    def init(
        cls, config: EmbeddingsConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the three tables; the norm starts as gamma = 1, beta = 0."""
        d, std = config.d_model, config.initializer_range
        params = {
            "token": normal(rng, config.vocab_size, d, std=std, dtype=dtype),
            "position": normal(rng, config.max_len, d, std=std, dtype=dtype),
        }
        if config.num_segments:
            params["segment"] = normal(rng, config.num_segments, d, std=std, dtype=dtype)
        return cls(config, params | {"gamma": np.ones(d, dtype), "beta": np.zeros(d, dtype)})

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
            Default all 0. Without a segment table they are not read.
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
            segment, segment_cache = embedding_forward(segments, p["segment"])
            x += segment
        x += p["position"][: ids.shape[1]]
        normed, norm_cache = layernorm_forward(x, p["gamma"], p["beta"], eps=config.layer_norm_eps)
        y, dropout_cache = dropout_forward(normed, config.dropout, rng)
        cache = EmbeddingsCache(
            token_cache, p["position"], segment_cache, norm_cache, dropout_cache
        )
        return y, cache

    def backward(self, dy: FloatArray, cache: EmbeddingsCache) -> tuple[None, Params]:
        """Undo `forward`: from dy of shape (B, T, D) to ``grads``; ids have no gradient."""
        g: Params = {}
        dnormed = dropout_backward(dy, cache.dropout)
        dx, g["gamma"], g["beta"] = layernorm_backward(dnormed, cache.norm)
        g["position"] = np.zeros_like(cache.position)
        g["position"][: dx.shape[1]] = dx.sum(axis=0)
        if cache.segment is not None:
            g["segment"] = embedding_backward(dx, cache.segment)
        g["token"] = embedding_backward(dx, cache.token)
        return None, g

"""What enters the original Transformer: scaled token + position, no segment and no norm."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import check_fraction, check_shape
from npformer.layers.config import check_sizes
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
from npformer.types import FloatArray, IntArray, Params


@dataclass(frozen=True, kw_only=True)
class TokenEmbeddingsConfig(PositionsConfig):
    """Sizes of `TokenEmbeddings`."""

    vocab_size: int
    scale_embeddings: bool = True  # multiply the tokens by sqrt(D)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_sizes(vocab_size=self.vocab_size)
        check_fraction("dropout", self.dropout)
        super().__post_init__()


class TokenEmbeddingsCache(NamedTuple):
    """What `TokenEmbeddings.backward` needs."""

    token: EmbeddingCache
    position: PositionsCache
    dropout: DropoutCache


@dataclass(frozen=True)
class TokenEmbeddings:
    r"""Scaled token plus position, then dropout.

    .. math:: y_{bt} = \operatorname{dropout}(\sqrt{D}\, E_{\mathrm{id}_{bt}} + P_t)

    without the factor if ``scale_embeddings`` is off.

    Parameters
    ----------
    config : TokenEmbeddingsConfig
    params : dict
        ``token`` of shape (V, D); with learned positions ``position`` of shape (max_len, D).

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", sections 3.4 and 3.5. Deviations: none with
    sinusoidal positions.
    """

    config: TokenEmbeddingsConfig
    params: Params

    @classmethod
    def shapes(cls, config: TokenEmbeddingsConfig) -> Shapes:
        """Return name -> axes."""
        d = Axis("D", config.d_model)
        return {"token": (Axis("V", config.vocab_size), d), **positions_shapes(config, d)}

    @classmethod
    def init(
        cls, config: TokenEmbeddingsConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the tables with standard deviation 1/sqrt(D): scaled, tokens have variance 1."""
        return cls(config, draw(cls.shapes(config), rng, dtype, std=config.d_model**-0.5))

    @property
    def _scale(self) -> float:
        return math.sqrt(self.config.d_model) if self.config.scale_embeddings else 1.0

    def forward(
        self, ids: IntArray, first: int = 0, *, rng: np.random.Generator | None = None
    ) -> tuple[FloatArray, TokenEmbeddingsCache]:
        """Embed a batch.

        Parameters
        ----------
        ids : integer ndarray of shape (B, T)
        first : int
            The position of the first token.
        rng : numpy.random.Generator, optional
            None means no dropout.

        Returns
        -------
        y : ndarray of shape (B, T, D)
        cache : TokenEmbeddingsCache

        Raises
        ------
        InputError
            If a token stands beyond max_len or an id is outside the vocabulary.
        """
        config = self.config
        check_shape("ids", ids, ("B", "T"))
        x, token = embedding_forward(ids, self.params["token"])  # (B, T, D)
        x, position = positions_forward(config, self.params, x * self._scale, first)
        y, dropout = dropout_forward(x, config.dropout, rng)
        return y, TokenEmbeddingsCache(token, position, dropout)

    def backward(self, dy: FloatArray, cache: TokenEmbeddingsCache) -> tuple[None, Params]:
        """Undo `forward`: from dy of shape (B, T, D) to ``grads``; ids have no gradient."""
        dx = dropout_backward(dy, cache.dropout)
        dx, position_grads = positions_backward(dx, cache.position)
        dtoken = dx * self._scale
        return None, {"token": embedding_backward(dtoken, cache.token), **position_grads}

"""What enters the original Transformer: scaled token + position, no segment and no norm."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_fraction, check_shape
from npformer.layers.config import Config, check_sizes
from npformer.layers.init import normal
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from npformer.ops.positions.sinusoidal import (
    SinusoidalCache,
    sinusoidal_backward,
    sinusoidal_forward,
    sinusoidal_table,
)
from npformer.types import FloatArray, IntArray, Params

POSITIONS = ("sinusoidal", "learned", "none")


@dataclass(frozen=True, kw_only=True)
class TokenEmbeddingsConfig(Config):
    """Sizes of `TokenEmbeddings`."""

    vocab_size: int
    d_model: int
    max_len: int
    positions: str = "sinusoidal"  # or "learned", or "none"
    scale_embeddings: bool = True  # multiply the tokens by sqrt(D)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_sizes(vocab_size=self.vocab_size, d_model=self.d_model, max_len=self.max_len)
        if self.positions not in POSITIONS:
            raise InputError(
                f"positions: got {self.positions!r}, expected one of {', '.join(POSITIONS)}"
            )
        check_fraction("dropout", self.dropout)
        super().__post_init__()


class TokenEmbeddingsCache(NamedTuple):
    """What `TokenEmbeddings.backward` needs."""

    token: EmbeddingCache
    position: SinusoidalCache | FloatArray | None  # (max_len, D) the learned table
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
    def init(
        cls, config: TokenEmbeddingsConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the tables with standard deviation 1/sqrt(D): scaled, tokens have variance 1."""
        d, std = config.d_model, config.d_model**-0.5
        params = {"token": normal(rng, config.vocab_size, d, std=std, dtype=dtype)}
        if config.positions == "learned":
            params["position"] = normal(rng, config.max_len, d, std=std, dtype=dtype)
        return cls(config, params)

    @property
    def _scale(self) -> float:
        return math.sqrt(self.config.d_model) if self.config.scale_embeddings else 1.0

    def forward(
        self, ids: IntArray, *, rng: np.random.Generator | None = None
    ) -> tuple[FloatArray, TokenEmbeddingsCache]:
        """Embed a batch.

        Parameters
        ----------
        ids : integer ndarray of shape (B, T)
        rng : numpy.random.Generator, optional
            None means no dropout.

        Returns
        -------
        y : ndarray of shape (B, T, D)
        cache : TokenEmbeddingsCache

        Raises
        ------
        InputError
            If T exceeds max_len or an id is outside the vocabulary.
        """
        config = self.config
        check_shape("ids", ids, ("B", "T"))
        if ids.shape[1] > config.max_len:
            raise InputError(
                f"ids: got {ids.shape[1]} tokens, expected at most max_len = {config.max_len}"
            )
        x, token = embedding_forward(ids, self.params["token"])  # (B, T, D)
        x *= self._scale
        position: SinusoidalCache | FloatArray | None = None
        if config.positions == "sinusoidal":
            x, position = sinusoidal_forward(x)
        elif config.positions == "learned":
            position = self.params["position"]
            x += position[: ids.shape[1]]
        y, dropout = dropout_forward(x, config.dropout, rng)
        return y, TokenEmbeddingsCache(token, position, dropout)

    def at(self, ids: IntArray, position: int) -> FloatArray:
        """Embed the tokens (B,) that all stand at one position, without dropout: (B, 1, D).

        Raises
        ------
        InputError
            If the position is not below max_len or an id is outside the vocabulary.
        """
        config = self.config
        check_shape("ids", ids, ("B",))
        if not 0 <= position < config.max_len:
            raise InputError(
                f"position: got {position}, expected 0 to {config.max_len - 1} (max_len - 1)"
            )
        x, _ = embedding_forward(ids[:, None], self.params["token"])  # (B, 1, D)
        x *= self._scale
        if config.positions == "sinusoidal":
            x += sinusoidal_table(position + 1, config.d_model, dtype=x.dtype)[position]
        elif config.positions == "learned":
            x += self.params["position"][position]
        return x

    def backward(self, dy: FloatArray, cache: TokenEmbeddingsCache) -> tuple[None, Params]:
        """Undo `forward`: from dy of shape (B, T, D) to ``grads``; ids have no gradient."""
        g: Params = {}
        dx = dropout_backward(dy, cache.dropout)
        if isinstance(cache.position, SinusoidalCache):
            dx = sinusoidal_backward(dx, cache.position)
        elif cache.position is not None:
            g["position"] = np.zeros_like(cache.position)
            g["position"][: dx.shape[1]] = dx.sum(axis=0)
        dtoken = dx * self._scale
        g["token"] = embedding_backward(dtoken, cache.token)
        return None, g

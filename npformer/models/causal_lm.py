"""The decoder-only language model: encoder blocks under a causal mask, as GPT-2."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import check_shape
from npformer.layers.attention import AttentionOutput, causal_keep
from npformer.layers.block import BlockCache, BlockConfig, EncoderBlock
from npformer.layers.config import check_sizes
from npformer.layers.norm import Norm, NormCache
from npformer.layers.shared_positions import (
    SharedCache,
    shared_backward,
    shared_forward,
    shared_params,
)
from npformer.layers.token_embeddings import (
    TokenEmbeddings,
    TokenEmbeddingsCache,
    TokenEmbeddingsConfig,
)
from npformer.models.seeds import generator_of, layer_seeds
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import BoolArray, FloatArray, IntArray, Params, part, prefixed


@dataclass(frozen=True, kw_only=True)
class CausalLMConfig(BlockConfig, TokenEmbeddingsConfig):
    """Sizes of a `CausalLM`; the defaults are GPT-2's."""

    num_layers: int
    positions: str = "learned"
    scale_embeddings: bool = False
    norm_first: bool = True
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_sizes(num_layers=self.num_layers)
        super().__post_init__()


class CausalLMCache(NamedTuple):
    """What `CausalLM.backward` needs."""

    embeddings: TokenEmbeddingsCache
    shared: SharedCache
    blocks: tuple[BlockCache, ...]
    norm: NormCache | None
    output: LinearCache


@dataclass(frozen=True)
class CausalLM:
    r"""A language model: at every position the logits of the token that follows.

    .. math:: h_0 = \operatorname{embeddings}(\mathrm{ids}), \quad
              h_l = \operatorname{block}_l(h_{l-1}) \text{ under the causal mask}, \quad
              \mathrm{logits} = \operatorname{layernorm}(h_L)\,E^\top

    A decoder without an encoder has nothing to look over to, so its block is an encoder block
    that may not look ahead. The table E is used twice: its gradient is the sum of two.

    Parameters
    ----------
    config : CausalLMConfig
    params : dict
        ``embeddings.*``, ``layers.0.*`` ...; with ``norm_first`` also ``norm.*``; with relative
        positions of T5 or DeBERTa the table that all layers share, see `shared_params`.

    References
    ----------
    Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.
    Deviations: the exact GELU in place of the tanh formula of the released code.
    """

    config: CausalLMConfig
    params: Params

    @classmethod
    def init(
        cls, config: CausalLMConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights; biases start at zero, norms as gamma = 1, beta = 0."""
        params = prefixed("embeddings", TokenEmbeddings.init(config, rng, dtype).params)
        for i in range(config.num_layers):
            params |= prefixed(f"layers.{i}", EncoderBlock.init(config, rng, dtype).params)
        params |= shared_params(config, rng, dtype)
        if config.norm_first:
            params |= prefixed("norm", Norm.init(config, dtype).params)
        return cls(config, params)

    @property
    def embeddings(self) -> TokenEmbeddings:
        """The table and the positions, sharing this model's arrays."""
        return TokenEmbeddings(self.config, part(self.params, "embeddings"))

    def block(self, i: int) -> EncoderBlock:
        """Return layer i, sharing this model's arrays."""
        return EncoderBlock(self.config, part(self.params, f"layers.{i}"))

    @property
    def _norm(self) -> Norm:
        return Norm(self.config, part(self.params, "norm"))

    def shared_positions(
        self, query_len: int, key_len: int, offset: int = 0
    ) -> tuple[FloatArray | None, SharedCache]:
        """Return what the layers share, see `shared_forward`."""
        return shared_forward(
            self.config, self.params, query_len, key_len, offset=offset, bidirectional=False
        )

    def final_norm(self, x: FloatArray) -> tuple[FloatArray, NormCache | None]:
        """Apply the norm that ends pre-LN."""
        return self._norm.forward(x) if self.config.norm_first else (x, None)

    def predict(self, h: FloatArray) -> tuple[FloatArray, LinearCache]:
        """Return the logits of the last states: (..., D) -> (..., V)."""
        return linear_forward(h, self.params["embeddings.token"].T)

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
    ) -> tuple[FloatArray, CausalLMCache]:
        """Predict, at every position, the token that follows.

        Parameters
        ----------
        ids : integer ndarray of shape (B, T)
        keep : boolean ndarray of shape (B, T), optional
            True = real token; default all.
        rng : numpy.random.Generator, optional
            None means no dropout.

        Returns
        -------
        logits : ndarray of shape (B, T, V)
        cache : CausalLMCache

        Raises
        ------
        InputError
            If an id is outside the vocabulary or T exceeds max_len.
        """
        check_shape("ids", ids, ("B", "T"))
        past = causal_keep(keep, ids.shape[1])  # (1 or B, 1, T, T)
        seeds = layer_seeds(rng, self.config.num_layers + 1)
        x, embeddings = self.embeddings.forward(ids, rng=generator_of(seeds[0]))
        shared, shared_cache = self.shared_positions(ids.shape[1], ids.shape[1])
        caches = []
        for i in range(self.config.num_layers):
            (x, _), cache = self.block(i).forward(x, past, shared, rng=generator_of(seeds[i + 1]))
            caches.append(cache)
        h, norm = self.final_norm(x)
        logits, output = self.predict(h)  # (B, T, V)
        return logits, CausalLMCache(embeddings, shared_cache, tuple(caches), norm, output)

    def backward(self, dlogits: FloatArray, cache: CausalLMCache) -> tuple[None, Params]:
        """Undo `forward`: from dlogits of shape (B, T, V) to ``grads``; ids have no gradient."""
        g: Params = {}
        dx, dtable, _ = linear_backward(dlogits, cache.output)
        if cache.norm is not None:
            dx, grads = self._norm.backward(dx, cache.norm)
            g |= prefixed("norm", grads)
        dshared: list[FloatArray | None] = []
        for i in reversed(range(self.config.num_layers)):
            (dx, dread), grads = self.block(i).backward(AttentionOutput(dx, None), cache.blocks[i])
            g |= prefixed(f"layers.{i}", grads)
            dshared.append(dread)
        g |= shared_backward(dshared, cache.shared)
        _, grads = self.embeddings.backward(dx, cache.embeddings)
        g |= prefixed("embeddings", grads)
        g["embeddings.token"] += dtable.T
        return None, g

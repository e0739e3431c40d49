"""The encoder: embeddings and L blocks, open to gradients at every hidden state and score."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_shape
from npformer.layers.attention import AttentionOutput
from npformer.layers.block import BlockCache, EncoderBlock
from npformer.layers.embeddings import Embeddings, EmbeddingsCache
from npformer.layers.norm import Norm, NormCache
from npformer.layers.shared_positions import (
    SharedCache,
    shared_backward,
    shared_forward,
    shared_params,
)
from npformer.models.config import EncoderConfig
from npformer.models.output import ModelOutput
from npformer.models.seeds import generator_of, layer_seeds
from npformer.types import BoolArray, FloatArray, IntArray, Params, part, prefixed


class BlockInputs(NamedTuple):
    """What it takes to run a block's forward again: kept in the place of its `BlockCache`."""

    x: FloatArray  # (B, T, D)
    keep: BoolArray | None  # (B, T)
    seed: SeedSequence | None  # of the dropout masks; each run makes a generator of its own
    output_scores: bool
    shared: FloatArray | None  # (1, H, T, T) T5's bias, or (2k, D) DeBERTa's table


class EncoderCache(NamedTuple):
    """What `Encoder.backward` needs."""

    embeddings: EmbeddingsCache
    shared: SharedCache
    blocks: tuple[BlockCache | BlockInputs, ...]  # L
    norm: NormCache | None  # the final norm of pre-LN
    last: FloatArray  # (B, T, D) hidden[L]


@dataclass(frozen=True)
class Encoder:
    r"""A BERT encoder.

    .. math:: h_0 = \operatorname{embeddings}(\mathrm{ids}), \qquad
              h_l = \operatorname{block}_l(h_{l-1})

    and with ``norm_first`` a final layer norm, after which h_L is taken.

    Parameters
    ----------
    config : EncoderConfig
    params : dict
        ``embeddings.*``, ``layers.0.*`` ... ``layers.{L-1}.*``; with ``norm_first`` also
        ``norm.*``; with relative positions of T5 or DeBERTa the table that all layers share, see
        `shared_params`.

    References
    ----------
    Devlin et al. 2019, "BERT", section 3; Xiong et al. 2020 for the final norm of pre-LN.
    """

    config: EncoderConfig
    params: Params

    @classmethod
    def init(
        cls, config: EncoderConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights from normal(0, initializer_range); biases start at zero."""
        params = prefixed("embeddings", Embeddings.init(config, rng, dtype).params)
        for i in range(config.num_layers):
            params |= prefixed(f"layers.{i}", EncoderBlock.init(config, rng, dtype).params)
        params |= shared_params(config, rng, dtype)
        if config.norm_first:
            params |= prefixed("norm", Norm.init(config, dtype).params)
        return cls(config, params)

    @property
    def _embeddings(self) -> Embeddings:
        return Embeddings(self.config, part(self.params, "embeddings"))

    def _block(self, i: int) -> EncoderBlock:
        return EncoderBlock(self.config, part(self.params, f"layers.{i}"))

    @property
    def _norm(self) -> Norm:
        return Norm(self.config, part(self.params, "norm"))

    def _run_block(self, i: int, inputs: BlockInputs) -> tuple[AttentionOutput, BlockCache]:
        rng = generator_of(inputs.seed)
        return self._block(i).forward(
            inputs.x, inputs.keep, inputs.shared, rng=rng, output_scores=inputs.output_scores
        )

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        segments: IntArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
        recompute: bool = False,
    ) -> tuple[ModelOutput, EncoderCache]:
        """Encode a batch.

        Parameters
        ----------
        ids : integer ndarray of shape (B, T)
        keep : boolean ndarray of shape (B, T), optional
            True = real token; default all.
        segments : integer ndarray of shape (B, T), optional
            Default all 0.
        rng : numpy.random.Generator, optional
            None means no dropout. Each layer gets a child of its own, so that its masks do
            not depend on what the layers before it drew.
        output_scores : bool
            Keep the attention scores of every layer.
        recompute : bool
            Keep only what enters each block; backward runs the block's forward again. The same
            gradients bit by bit, the memory of one block's cache instead of L, one more forward
            (`python -m benchmarks.recomputation`). Without a backward it only saves.

        Returns
        -------
        output : ModelOutput
            hidden, and scores if asked for.
        cache : EncoderCache

        Raises
        ------
        InputError
            If an id is outside the vocabulary or T exceeds max_len.
        """
        num_layers = self.config.num_layers
        if keep is not None:
            check_shape("keep", keep, ids.shape)
        seeds = layer_seeds(rng, num_layers + 1)
        x, embeddings_cache = self._embeddings.forward(ids, segments, rng=generator_of(seeds[0]))
        length = ids.shape[1]
        shared, shared_cache = shared_forward(
            self.config, self.params, length, length, bidirectional=True
        )
        hidden: list[FloatArray] = [x]
        scores: list[FloatArray | None] = []
        caches: list[BlockCache | BlockInputs] = []
        for i in range(num_layers):
            inputs = BlockInputs(hidden[-1], keep, seeds[i + 1], output_scores, shared)
            block_output, cache = self._run_block(i, inputs)
            hidden.append(block_output.y)
            scores.append(block_output.scores)
            caches.append(inputs if recompute else cache)
            del cache  # or it would still be there while the next block makes its own
        norm_cache = None
        if self.config.norm_first:
            hidden[-1], norm_cache = self._norm.forward(hidden[-1])
        output = ModelOutput(tuple(hidden), tuple(scores) if output_scores else None)
        return output, EncoderCache(
            embeddings_cache, shared_cache, tuple(caches), norm_cache, hidden[-1]
        )

    def backward(self, doutput: ModelOutput, cache: EncoderCache) -> tuple[None, Params]:
        """Undo `forward`; a gradient may come in at every hidden state and every score array.

        Parameters
        ----------
        doutput : ModelOutput
            None where silent.
        cache : EncoderCache

        Returns
        -------
        dinput : None
            Token ids have no gradient.
        grads : dict
            With the keys and shapes of ``params``.

        Raises
        ------
        InputError
            If there is not one cotangent (or None) for each hidden state and score array.
        """
        num_layers = self.config.num_layers
        dhidden = _entries("hidden", doutput.hidden, num_layers + 1)
        dscores = _entries("scores", doutput.scores, num_layers)
        g: Params = {}
        last = dhidden[num_layers]
        dx = np.zeros_like(cache.last) if last is None else last
        if cache.norm is not None:
            dx, grads = self._norm.backward(dx, cache.norm)
            g |= prefixed("norm", grads)
        dshared: list[FloatArray | None] = []
        for i in reversed(range(num_layers)):
            block_cache = cache.blocks[i]
            if isinstance(block_cache, BlockInputs):
                block_cache = self._run_block(i, block_cache)[1]
            (dx, dread), grads = self._block(i).backward(
                AttentionOutput(dx, dscores[i]), block_cache
            )
            g |= prefixed(f"layers.{i}", grads)
            dshared.append(dread)
            below = dhidden[i]
            if below is not None:
                dx = dx + below
        g |= shared_backward(dshared, cache.shared)
        _, grads = self._embeddings.backward(dx, cache.embeddings)
        return None, g | prefixed("embeddings", grads)


def _entries(
    name: str, given: tuple[FloatArray | None, ...] | None, expected: int
) -> tuple[FloatArray | None, ...]:
    if given is None:
        return (None,) * expected
    if len(given) != expected:
        raise InputError(f"{name}: got {len(given)} cotangents, expected {expected}")
    return given

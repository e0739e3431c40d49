"""The encoder: embeddings and L blocks, open to gradients at every hidden state and score."""

from dataclasses import dataclass
from typing import NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import check_shape
from npformer.layers.embeddings import Embeddings, EmbeddingsCache
from npformer.layers.seeds import generator_of, layer_seeds
from npformer.layers.shapes import Shapes
from npformer.layers.stack import Stack, StackCache, StackOptions
from npformer.models.config import EncoderConfig
from npformer.models.output import ModelOutput, model_output, stack_cotangent
from npformer.types import BoolArray, FloatArray, IntArray, Params, part, prefixed


class EncoderCache(NamedTuple):
    """What `Encoder.backward` needs."""

    embeddings: EmbeddingsCache
    stack: StackCache


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
        ``embeddings.*`` and those of the `Stack`: ``layers.0.*`` ... ``layers.{L-1}.*``, with
        ``norm_first`` also ``norm.*``, and what relative positions have once for all layers.

    References
    ----------
    Devlin et al. 2019, "BERT", section 3; Xiong et al. 2020 for the final norm of pre-LN.
    """

    config: EncoderConfig
    params: Params

    @classmethod
    def shapes(cls, config: EncoderConfig) -> Shapes:
        """Return name -> axes."""
        stack = Stack.shapes(config, config.num_layers)
        return prefixed("embeddings", Embeddings.shapes(config)) | stack

    @classmethod
    def init(
        cls, config: EncoderConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights from normal(0, initializer_range); biases start at zero."""
        embeddings = Embeddings.init(config, rng, dtype).params
        stack = Stack.init(config, config.num_layers, rng, dtype).params
        return cls(config, prefixed("embeddings", embeddings) | stack)

    @property
    def _embeddings(self) -> Embeddings:
        return Embeddings(self.config, part(self.params, "embeddings"))

    @property
    def _stack(self) -> Stack:
        return Stack(self.config, self.params, self.config.num_layers)

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        segments: IntArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
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
        **options : bool
            ``output_scores``, ``output_values``: keep those of every layer. ``recompute``: keep
            only what enters each block; backward runs the block's forward again. The same gradients
            bit by bit, the memory of one block's cache instead of L, one more forward
            (`python -m benchmarks.recomputation`). Without a backward it only saves.

        Returns
        -------
        output : ModelOutput
            hidden, and scores and values if asked for.
        cache : EncoderCache

        Raises
        ------
        InputError
            If an id is outside the vocabulary or T exceeds max_len.
        """
        if keep is not None:
            check_shape("keep", keep, ids.shape)
        seed, *seeds = layer_seeds(rng, self.config.num_layers + 1)
        x, embeddings = self._embeddings.forward(ids, segments, rng=generator_of(seed))
        output, stack = self._stack.forward(x, keep, seeds=seeds, **options)
        return model_output(output), EncoderCache(embeddings, stack)

    def backward(
        self, doutput: ModelOutput, cache: EncoderCache, dlast: FloatArray | None = None
    ) -> tuple[None, Params]:
        """Undo `forward`; a gradient may come in at every hidden state, score and value array.

        Parameters
        ----------
        doutput : ModelOutput
            None where silent.
        cache : EncoderCache
        dlast : ndarray of shape (B, T, D), optional
            What a head gives back for hidden[L], beside the cotangent that is in ``doutput``.

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
        (dx, _), g = self._stack.backward(stack_cotangent(doutput), cache.stack, dlast)
        _, grads = self._embeddings.backward(dx, cache.embeddings)
        return None, g | prefixed("embeddings", grads)

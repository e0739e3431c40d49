"""One encoder layer: attention and feed-forward, each beside a residual path."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.attend import KeyValues
from npformer.layers.attention import AttentionOutput, MultiHeadAttention, MultiHeadAttentionCache
from npformer.layers.attention_config import AttentionConfig
from npformer.layers.average_attention import AverageAttention
from npformer.layers.feedforward import FeedForward, FeedForwardCache, FeedForwardConfig
from npformer.layers.norm import Norm, NormCache
from npformer.layers.residual import MergeCache, Residual, ResidualConfig
from npformer.layers.shapes import Shapes, draw
from npformer.types import BoolArray, FloatArray, Params, part, prefixed

# What AttentionConfig.attention names.
ATTENTIONS = {"softmax": MultiHeadAttention, "average": AverageAttention}


@dataclass(frozen=True, kw_only=True)
class BlockConfig(AttentionConfig, FeedForwardConfig, ResidualConfig):
    """Sizes of `EncoderBlock` and `DecoderBlock`: those of their parts."""


class BlockOutput(NamedTuple):
    """What a block gives; as a cotangent, None where silent."""

    y: FloatArray  # (B, T, D)
    scores: FloatArray | None = None  # (B, H, T, T) of self-attention, before the mask
    values: FloatArray | None = None  # (B, G, T, K) of self-attention
    cross_scores: FloatArray | None = None  # (B, H, T, S) of a decoder's look at the memory
    past: object = None  # the KV cache with these tokens, if one was given; has no cotangent


class BlockCache(NamedTuple):
    """What `EncoderBlock.backward` needs."""

    branch_1: NormCache | None
    attention: MultiHeadAttentionCache
    merge_1: MergeCache
    branch_2: NormCache | None
    feedforward: FeedForwardCache
    merge_2: MergeCache


@dataclass(frozen=True)
class EncoderBlock:
    r"""One encoder layer.

    Post-LN, as in BERT and the original Transformer, the default:

    .. math::
        u &= \operatorname{norm}_1(x + \operatorname{dropout}(\operatorname{attention}(x))) \\
        y &= \operatorname{norm}_2(u + \operatorname{dropout}(\operatorname{feedforward}(u)))

    Pre-LN (``norm_first``), where the residual path is free of norms:

    .. math::
        u &= x + \operatorname{dropout}(\operatorname{attention}(\operatorname{norm}_1(x))) \\
        y &= u + \operatorname{dropout}(\operatorname{feedforward}(\operatorname{norm}_2(u)))

    The norm is layer norm or, with ``norm="rms"``, root-mean-square norm.

    Parameters
    ----------
    config : BlockConfig
    params : dict
        ``attention.*``, ``norm_1.*``, ``feedforward.*``, ``norm_2.*``.

    References
    ----------
    Vaswani et al. 2017, section 3.1 (post-LN); Xiong et al. 2020, "On layer normalization in
    the Transformer architecture", figure 1b (pre-LN).
    """

    config: BlockConfig
    params: Params

    @classmethod
    def shapes(cls, config: BlockConfig) -> Shapes:
        """Return name -> axes."""
        return {
            **prefixed("attention", ATTENTIONS[config.attention].shapes(config)),
            **prefixed("norm_1", Norm.shapes(config)),
            **prefixed("feedforward", FeedForward.shapes(config)),
            **prefixed("norm_2", Norm.shapes(config)),
        }

    @classmethod
    def init(
        cls, config: BlockConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the weights of both parts; the norms start as gamma = 1, beta = 0."""
        return cls(config, draw(cls.shapes(config), rng, dtype, std=config.initializer_range))

    @property
    def _attention(self) -> MultiHeadAttention:
        return ATTENTIONS[self.config.attention](self.config, part(self.params, "attention"))

    @property
    def _feedforward(self) -> FeedForward:
        return FeedForward(self.config, part(self.params, "feedforward"))

    def _residual(self, i: int) -> Residual:
        return Residual(self.config, part(self.params, f"norm_{i}"))

    def forward(
        self,
        x: FloatArray,
        keep: BoolArray | None = None,
        shared: FloatArray | None = None,
        *,
        past: KeyValues | None = None,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
        output_values: bool = False,
    ) -> tuple[BlockOutput, BlockCache]:
        """Apply the layer.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        keep : boolean ndarray of shape (B, T), or of four axes as in `MultiHeadAttention`
            True = real token.
        shared, past, output_scores, output_values
            As in `MultiHeadAttention.forward`.
        rng : numpy.random.Generator, optional
            None means no dropout.

        Returns
        -------
        output : BlockOutput
        cache : BlockCache
        """
        around_1, around_2 = self._residual(1), self._residual(2)
        a, branch_1 = around_1.branch_forward(x)
        attended, attention = self._attention.forward(
            a,
            None,
            keep,
            shared,
            past=past,
            rng=rng,
            output_scores=output_scores,
            output_values=output_values,
        )
        u, merge_1 = around_1.merge_forward(x, attended.y, rng)
        f, branch_2 = around_2.branch_forward(u)
        fed, feedforward = self._feedforward.forward(f)
        y, merge_2 = around_2.merge_forward(u, fed, rng)
        output = BlockOutput(y, attended.scores, attended.values, past=attended.past)
        return output, BlockCache(branch_1, attention, merge_1, branch_2, feedforward, merge_2)

    def backward(
        self, doutput: BlockOutput, cache: BlockCache
    ) -> tuple[tuple[FloatArray, FloatArray | None], Params]:
        """Undo `forward`.

        At each residual the gradient goes both ways and comes back as a sum.

        Parameters
        ----------
        doutput : BlockOutput
        cache : BlockCache

        Returns
        -------
        dinput : tuple
            dx of shape (B, T, D), and dshared of the shape of ``shared`` or None without.
        grads : dict
            With the keys and shapes of ``params``.
        """
        around_1, around_2 = self._residual(1), self._residual(2)
        du, dfed, merge_2 = around_2.merge_backward(doutput.y, cache.merge_2)
        df, feedforward = self._feedforward.backward(dfed, cache.feedforward)
        dbranch, branch_2 = around_2.branch_backward(df, cache.branch_2)
        du = du + dbranch
        dx, dattended, merge_1 = around_1.merge_backward(du, cache.merge_1)
        (da, _, dshared), attention = self._attention.backward(
            AttentionOutput(dattended, doutput.scores, doutput.values), cache.attention
        )
        dbranch, branch_1 = around_1.branch_backward(da, cache.branch_1)
        dx = dx + dbranch
        return (dx, dshared), {
            **prefixed("attention", attention),
            **prefixed("norm_1", branch_1 | merge_1),
            **prefixed("feedforward", feedforward),
            **prefixed("norm_2", branch_2 | merge_2),
        }

    def no_past(self, batch: int, dtype: DTypeLike) -> KeyValues:
        """Return the KV cache of texts that have no token yet."""
        return self._attention.no_past(batch, dtype)

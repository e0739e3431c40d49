"""One encoder layer: attention and feed-forward, each with a residual and a layer norm."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import check_fraction
from npformer.layers.attention import (
    AttentionOutput,
    MultiHeadAttention,
    MultiHeadAttentionCache,
)
from npformer.layers.attention_config import AttentionConfig
from npformer.layers.feedforward import FeedForward, FeedForwardCache, FeedForwardConfig
from npformer.layers.key_values import KeyValues, look_back, no_tokens
from npformer.layers.norm import Norm, NormCache, NormConfig
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.types import BoolArray, FloatArray, Params, part, prefixed


@dataclass(frozen=True, kw_only=True)
class BlockConfig(AttentionConfig, FeedForwardConfig, NormConfig):
    """Sizes of `EncoderBlock`: those of its parts and what joins them."""

    dropout: float = 0.0  # on the output of each part
    norm_first: bool = False  # pre-LN

    def __post_init__(self) -> None:
        check_fraction("dropout", self.dropout)
        super().__post_init__()


class BlockCache(NamedTuple):
    """What `EncoderBlock.backward` needs."""

    attention: MultiHeadAttentionCache
    dropout_1: DropoutCache
    norm_1: NormCache
    feedforward: FeedForwardCache
    dropout_2: DropoutCache
    norm_2: NormCache


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
    def init(
        cls, config: BlockConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the weights of both parts; the norms start as gamma = 1, beta = 0."""
        params = {
            **prefixed("attention", MultiHeadAttention.init(config, rng, dtype).params),
            **prefixed("norm_1", Norm.init(config, dtype).params),
            **prefixed("feedforward", FeedForward.init(config, rng, dtype).params),
            **prefixed("norm_2", Norm.init(config, dtype).params),
        }
        return cls(config, params)

    @property
    def _attention(self) -> MultiHeadAttention:
        return MultiHeadAttention(self.config, part(self.params, "attention"))

    @property
    def _feedforward(self) -> FeedForward:
        return FeedForward(self.config, part(self.params, "feedforward"))

    @property
    def _norm_1(self) -> Norm:
        return Norm(self.config, part(self.params, "norm_1"))

    @property
    def _norm_2(self) -> Norm:
        return Norm(self.config, part(self.params, "norm_2"))

    def forward(
        self,
        x: FloatArray,
        keep: BoolArray | None = None,
        shared: FloatArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
    ) -> tuple[AttentionOutput, BlockCache]:
        """Apply the layer.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        keep : boolean ndarray of shape (B, T), optional
            True = real token.
        shared : ndarray, optional
            What the layers share: T5's bias or DeBERTa's table, as in `MultiHeadAttention`.
        rng : numpy.random.Generator, optional
            None means no dropout.
        output_scores : bool
            Keep the attention scores.

        Returns
        -------
        output : AttentionOutput
            y of shape (B, T, D), and the scores of shape (B, H, T, T) or None.
        cache : BlockCache
        """
        p_drop = self.config.dropout
        if self.config.norm_first:
            x_1, norm_1 = self._norm_1.forward(x)
            attended, attention = self._attention.forward(
                x_1, None, keep, shared, rng=rng, output_scores=output_scores
            )
            a, dropout_1 = dropout_forward(attended.y, p_drop, rng)
            u: FloatArray = x + a
            u_2, norm_2 = self._norm_2.forward(u)
            fed, feedforward = self._feedforward.forward(u_2)
            f, dropout_2 = dropout_forward(fed, p_drop, rng)
            y: FloatArray = u + f
        else:
            attended, attention = self._attention.forward(
                x, None, keep, shared, rng=rng, output_scores=output_scores
            )
            a, dropout_1 = dropout_forward(attended.y, p_drop, rng)
            u, norm_1 = self._norm_1.forward(x + a)
            fed, feedforward = self._feedforward.forward(u)
            f, dropout_2 = dropout_forward(fed, p_drop, rng)
            y, norm_2 = self._norm_2.forward(u + f)
        cache = BlockCache(attention, dropout_1, norm_1, feedforward, dropout_2, norm_2)
        return AttentionOutput(y, attended.scores), cache

    def backward(
        self, doutput: AttentionOutput, cache: BlockCache
    ) -> tuple[tuple[FloatArray, FloatArray | None], Params]:
        """Undo `forward`.

        At each residual the gradient goes both ways and comes back as a sum.

        Parameters
        ----------
        doutput : AttentionOutput
            dy of shape (B, T, D), and the cotangent of the scores or None.
        cache : BlockCache

        Returns
        -------
        dinput : tuple
            dx of shape (B, T, D), and dshared of the shape of ``shared`` or None without.
        grads : dict
            With the keys and shapes of ``params``.
        """
        dy, dscores = doutput
        if self.config.norm_first:
            dfed = dropout_backward(dy, cache.dropout_2)
            du_2, feedforward_grads = self._feedforward.backward(dfed, cache.feedforward)
            du, norm_2_grads = self._norm_2.backward(du_2, cache.norm_2)
            du += dy
            da = dropout_backward(du, cache.dropout_1)
            (dx_1, _, dshared), attention_grads = self._attention.backward(
                AttentionOutput(da, dscores), cache.attention
            )
            dx, norm_1_grads = self._norm_1.backward(dx_1, cache.norm_1)
            dx += du
        else:
            duf, norm_2_grads = self._norm_2.backward(dy, cache.norm_2)
            dfed = dropout_backward(duf, cache.dropout_2)
            du, feedforward_grads = self._feedforward.backward(dfed, cache.feedforward)
            du += duf
            dxa, norm_1_grads = self._norm_1.backward(du, cache.norm_1)
            da = dropout_backward(dxa, cache.dropout_1)
            (dx, _, dshared), attention_grads = self._attention.backward(
                AttentionOutput(da, dscores), cache.attention
            )
            dx += dxa
        return (dx, dshared), {
            **prefixed("attention", attention_grads),
            **prefixed("norm_1", norm_1_grads),
            **prefixed("feedforward", feedforward_grads),
            **prefixed("norm_2", norm_2_grads),
        }

    def start(self, batch: int, dtype: DTypeLike) -> KeyValues:
        """Return the KV cache of texts that have no token yet."""
        return no_tokens(self._attention, batch, dtype)

    def step(
        self, x: FloatArray, past: KeyValues, shared: FloatArray | None = None
    ) -> tuple[FloatArray, KeyValues]:
        """Apply the layer to further tokens under a causal mask, without dropout.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        past : KeyValues
        shared : ndarray, optional
            As in `look_back`.

        Returns
        -------
        y : ndarray of shape (B, T, D)
        past : KeyValues
            With these tokens.
        """
        if self.config.norm_first:
            a, now = look_back(self._attention, self._norm_1.forward(x)[0], past, shared)
            u: FloatArray = x + a
            y: FloatArray = u + self._feedforward.forward(self._norm_2.forward(u)[0])[0]
        else:
            a, now = look_back(self._attention, x, past, shared)
            u, _ = self._norm_1.forward(x + a)
            y, _ = self._norm_2.forward(u + self._feedforward.forward(u)[0])
        return y, now

"""One decoder layer: causal self-attention, cross-attention and feed-forward."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.attend import KeyValues
from npformer.layers.attention import AttentionOutput, MultiHeadAttention, MultiHeadAttentionCache
from npformer.layers.block import ATTENTIONS, BlockConfig, BlockOutput
from npformer.layers.feedforward import FeedForward, FeedForwardCache
from npformer.layers.masks import causal_keep
from npformer.layers.norm import Norm, NormCache
from npformer.layers.residual import MergeCache, Residual
from npformer.layers.shapes import Shapes, draw
from npformer.types import BoolArray, FloatArray, IntArray, Params, part, prefixed


class DecoderPast(NamedTuple):
    """The KV cache of one layer."""

    own: KeyValues  # of the target so far
    memory: KeyValues

    @property
    def length(self) -> int:
        """The number of target tokens, T."""
        return self.own.length

    def take(self, rows: IntArray) -> "DecoderPast":
        """Return that of these rows of the batch, in this order."""
        return DecoderPast(self.own.take(rows), self.memory.take(rows))


class DecoderBlockCache(NamedTuple):
    """What `DecoderBlock.backward` needs."""

    branch_1: NormCache | None
    self_attention: MultiHeadAttentionCache
    merge_1: MergeCache
    branch_2: NormCache | None
    cross_attention: MultiHeadAttentionCache
    merge_2: MergeCache
    branch_3: NormCache | None
    feedforward: FeedForwardCache
    merge_3: MergeCache


@dataclass(frozen=True)
class DecoderBlock:
    r"""One decoder layer.

    Post-LN, as in the original Transformer, the default:

    .. math::
        u &= \operatorname{norm}_1(x + \operatorname{dropout}
             (\operatorname{attention}_{\mathrm{causal}}(x))) \\
        w &= \operatorname{norm}_2(u + \operatorname{dropout}
             (\operatorname{attention}(u, m))) \\
        y &= \operatorname{norm}_3(w + \operatorname{dropout}(\operatorname{feedforward}(w)))

    with the memory m, the encoder's last hidden states. Pre-LN (``norm_first``) puts each norm
    before its part and leaves the residual path free; the memory is never normalised here.

    The norm is layer norm or, with ``norm="rms"``, root-mean-square norm.

    Parameters
    ----------
    config : BlockConfig
    params : dict
        ``self_attention.*``, ``cross_attention.*``, ``feedforward.*``, ``norm_1.*``, ``norm_2.*``,
        ``norm_3.*``.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", section 3.1 (post-LN); Xiong et al. 2020,
    "On layer normalization in the Transformer architecture" (pre-LN).
    """

    config: BlockConfig
    params: Params

    @classmethod
    def shapes(cls, config: BlockConfig) -> Shapes:
        """Return name -> axes."""
        attention, norm = ATTENTIONS[config.attention], Norm.shapes(config)
        return {
            **prefixed("self_attention", attention.shapes(config)),
            **prefixed("cross_attention", attention.shapes(config, cross=True)),
            **prefixed("feedforward", FeedForward.shapes(config)),
            **{f"norm_{i}.{name}": axes for i in (1, 2, 3) for name, axes in norm.items()},
        }

    @classmethod
    def init(
        cls, config: BlockConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the weights of the three parts; the norms start as gamma = 1, beta = 0."""
        return cls(config, draw(cls.shapes(config), rng, dtype, std=config.initializer_range))

    def _attention(self, name: str) -> MultiHeadAttention:
        return ATTENTIONS[self.config.attention](self.config, part(self.params, name))

    @property
    def _feedforward(self) -> FeedForward:
        return FeedForward(self.config, part(self.params, "feedforward"))

    def _residual(self, i: int) -> Residual:
        return Residual(self.config, part(self.params, f"norm_{i}"))

    def forward(
        self,
        x: FloatArray,
        memory: FloatArray | None,
        keep: BoolArray | None = None,
        memory_keep: BoolArray | None = None,
        shared: FloatArray | None = None,
        *,
        past: DecoderPast | None = None,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
        output_values: bool = False,
    ) -> tuple[BlockOutput, DecoderBlockCache]:
        """Apply the layer.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        memory : ndarray of shape (B, S, D)
            None with a ``past``, which holds its keys and values.
        keep : boolean ndarray of shape (B, T), optional
            True = real token of the target. A token sees itself and those before it. A mask of
            four axes, as in `causal_keep`, says all of this itself.
        memory_keep : boolean ndarray of shape (B, S), optional
            True = real token of the source.
        shared : ndarray, optional
            What the layers share, for self-attention, as in `MultiHeadAttention`.
        past : DecoderPast, optional
            Of the tokens before x; no gradient goes back to them.
        rng : numpy.random.Generator, optional
            None means no dropout.
        output_scores : bool
            Keep the scores of both attentions; those of cross-attention say which source token
            each target token asks for.
        output_values : bool
            Keep the values of self-attention.

        Returns
        -------
        output : BlockOutput
        cache : DecoderBlockCache

        Raises
        ------
        InputError
            If the shapes do not fit or a mask is not boolean.
        """
        around_1, around_2, around_3 = (self._residual(i) for i in (1, 2, 3))
        own, seen = (None, memory) if past is None else past
        first = 0 if past is None else past.length
        a, branch_1 = around_1.branch_forward(x)
        looked, self_attention = self._attention("self_attention").forward(
            a,
            None,
            causal_keep(keep, x.shape[1], first),
            shared,
            past=own,
            rng=rng,
            output_scores=output_scores,
            output_values=output_values,
        )
        u, merge_1 = around_1.merge_forward(x, looked.y, rng)
        c, branch_2 = around_2.branch_forward(u)
        found, cross_attention = self._attention("cross_attention").forward(
            c, seen, memory_keep, rng=rng, output_scores=output_scores
        )
        w, merge_2 = around_2.merge_forward(u, found.y, rng)
        f, branch_3 = around_3.branch_forward(w)
        fed, feedforward = self._feedforward.forward(f)
        y, merge_3 = around_3.merge_forward(w, fed, rng)
        now = None if past is None else DecoderPast(looked.past or past.own, past.memory)
        return BlockOutput(y, looked.scores, looked.values, found.scores, now), DecoderBlockCache(
            *(branch_1, self_attention, merge_1),
            *(branch_2, cross_attention, merge_2),
            *(branch_3, feedforward, merge_3),
        )

    def backward(
        self, doutput: BlockOutput, cache: DecoderBlockCache
    ) -> tuple[tuple[FloatArray, FloatArray | None, FloatArray | None], Params]:
        """Undo `forward`.

        Parameters
        ----------
        doutput : BlockOutput
        cache : DecoderBlockCache

        Returns
        -------
        dinput : tuple
            dx of shape (B, T, D), dmemory (B, S, D), and dshared of the shape of ``shared`` or
            None without.
        grads : dict
            With the keys and shapes of ``params``.
        """
        around_1, around_2, around_3 = (self._residual(i) for i in (1, 2, 3))
        dw, dfed, merge_3 = around_3.merge_backward(doutput.y, cache.merge_3)
        df, feedforward = self._feedforward.backward(dfed, cache.feedforward)
        dbranch, branch_3 = around_3.branch_backward(df, cache.branch_3)
        dw = dw + dbranch
        du, dfound, merge_2 = around_2.merge_backward(dw, cache.merge_2)
        (dc, dmemory, _), cross_attention = self._attention("cross_attention").backward(
            AttentionOutput(dfound, doutput.cross_scores), cache.cross_attention
        )
        dbranch, branch_2 = around_2.branch_backward(dc, cache.branch_2)
        du = du + dbranch
        dx, dlooked, merge_1 = around_1.merge_backward(du, cache.merge_1)
        (da, _, dshared), self_attention = self._attention("self_attention").backward(
            AttentionOutput(dlooked, doutput.scores, doutput.values), cache.self_attention
        )
        dbranch, branch_1 = around_1.branch_backward(da, cache.branch_1)
        dx = dx + dbranch
        return (dx, dmemory, dshared), {
            **prefixed("self_attention", self_attention),
            **prefixed("norm_1", branch_1 | merge_1),
            **prefixed("cross_attention", cross_attention),
            **prefixed("norm_2", branch_2 | merge_2),
            **prefixed("feedforward", feedforward),
            **prefixed("norm_3", branch_3 | merge_3),
        }

    def no_past(self, memory: FloatArray) -> DecoderPast:
        """Return the KV cache of targets that have no token yet; memory is (B, S, D)."""
        own = self._attention("self_attention").no_past(len(memory), memory.dtype)
        return DecoderPast(own, self._attention("cross_attention").of_memory(memory))

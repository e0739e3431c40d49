"""One decoder layer: causal self-attention, cross-attention and feed-forward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.attention import (
    AttentionOutput,
    MultiHeadAttention,
    MultiHeadAttentionCache,
    causal_keep,
)
from npformer.layers.block import BlockConfig
from npformer.layers.feedforward import FeedForward, FeedForwardCache
from npformer.layers.key_values import KeyValues, attend_to, look_back, no_tokens, project_keys
from npformer.layers.norm import Norm, NormCache
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.types import BoolArray, FloatArray, IntArray, Params, part, prefixed


class DecoderBlockCache(NamedTuple):
    """What `DecoderBlock.backward` needs."""

    self_attention: MultiHeadAttentionCache
    dropout_1: DropoutCache
    norm_1: NormCache
    cross_attention: MultiHeadAttentionCache
    dropout_2: DropoutCache
    norm_2: NormCache
    feedforward: FeedForwardCache
    dropout_3: DropoutCache
    norm_3: NormCache


class DecoderPast(NamedTuple):
    """The KV cache of one layer."""

    own: KeyValues  # of the target so far
    memory: KeyValues

    def take(self, rows: IntArray) -> "DecoderPast":
        """Return that of these rows of the batch, in this order."""
        return DecoderPast(self.own.take(rows), self.memory.take(rows))


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
    def init(
        cls, config: BlockConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw the weights of the three parts; the norms start as gamma = 1, beta = 0."""
        params = {
            **prefixed("self_attention", MultiHeadAttention.init(config, rng, dtype).params),
            **prefixed(
                "cross_attention", MultiHeadAttention.init(config, rng, dtype, cross=True).params
            ),
            **prefixed("feedforward", FeedForward.init(config, rng, dtype).params),
        }
        for i in (1, 2, 3):
            params |= prefixed(f"norm_{i}", Norm.init(config, dtype).params)
        return cls(config, params)

    def _attention(self, name: str) -> MultiHeadAttention:
        return MultiHeadAttention(self.config, part(self.params, name))

    @property
    def _feedforward(self) -> FeedForward:
        return FeedForward(self.config, part(self.params, "feedforward"))

    def _norm(self, i: int) -> Norm:
        return Norm(self.config, part(self.params, f"norm_{i}"))

    def forward(
        self,
        x: FloatArray,
        memory: FloatArray,
        keep: BoolArray | None = None,
        memory_keep: BoolArray | None = None,
        shared: FloatArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
    ) -> tuple[AttentionOutput, DecoderBlockCache]:
        """Apply the layer.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        memory : ndarray of shape (B, S, D)
        keep : boolean ndarray of shape (B, T), optional
            True = real token of the target. A token sees itself and those before it.
        memory_keep : boolean ndarray of shape (B, S), optional
            True = real token of the source.
        shared : ndarray, optional
            What the layers share, for self-attention: T5's bias or DeBERTa's table, as in
            `MultiHeadAttention`.
        rng : numpy.random.Generator, optional
            None means no dropout.
        output_scores : bool
            Keep the scores of cross-attention: which source token each target token asks for.

        Returns
        -------
        output : AttentionOutput
            y of shape (B, T, D), and the scores of shape (B, H, T, S) or None.
        cache : DecoderBlockCache

        Raises
        ------
        InputError
            If the shapes do not fit or a mask is not boolean.
        """
        p_drop = self.config.dropout
        past = causal_keep(keep, x.shape[1])  # (1 or B, 1, T, T)
        own, cross = self._attention("self_attention"), self._attention("cross_attention")
        if self.config.norm_first:
            x_1, norm_1 = self._norm(1).forward(x)
            looked_back, own_cache = own.forward(x_1, None, past, shared, rng=rng)
            a, dropout_1 = dropout_forward(looked_back.y, p_drop, rng)
            u: FloatArray = x + a
            u_2, norm_2 = self._norm(2).forward(u)
            looked_over, cross_cache = cross.forward(
                u_2, memory, memory_keep, rng=rng, output_scores=output_scores
            )
            c, dropout_2 = dropout_forward(looked_over.y, p_drop, rng)
            w: FloatArray = u + c
            w_3, norm_3 = self._norm(3).forward(w)
            fed, feedforward = self._feedforward.forward(w_3)
            f, dropout_3 = dropout_forward(fed, p_drop, rng)
            y: FloatArray = w + f
        else:
            looked_back, own_cache = own.forward(x, None, past, shared, rng=rng)
            a, dropout_1 = dropout_forward(looked_back.y, p_drop, rng)
            u, norm_1 = self._norm(1).forward(x + a)
            looked_over, cross_cache = cross.forward(
                u, memory, memory_keep, rng=rng, output_scores=output_scores
            )
            c, dropout_2 = dropout_forward(looked_over.y, p_drop, rng)
            w, norm_2 = self._norm(2).forward(u + c)
            fed, feedforward = self._feedforward.forward(w)
            f, dropout_3 = dropout_forward(fed, p_drop, rng)
            y, norm_3 = self._norm(3).forward(w + f)
        cache = DecoderBlockCache(
            own_cache,
            dropout_1,
            norm_1,
            cross_cache,
            dropout_2,
            norm_2,
            feedforward,
            dropout_3,
            norm_3,
        )
        return AttentionOutput(y, looked_over.scores), cache

    def backward(
        self, doutput: AttentionOutput, cache: DecoderBlockCache
    ) -> tuple[tuple[FloatArray, FloatArray, FloatArray | None], Params]:
        """Undo `forward`: feed-forward, cross-attention, self-attention.

        The memory is read by cross-attention alone, so its gradient comes from there; at each
        residual the gradient goes both ways and comes back as a sum.

        Parameters
        ----------
        doutput : AttentionOutput
            dy of shape (B, T, D), and the cotangent of the scores or None.
        cache : DecoderBlockCache

        Returns
        -------
        dinput : tuple
            dx of shape (B, T, D), dmemory of shape (B, S, D), and dshared of the shape of
            ``shared`` or None without.
        grads : dict
            With the keys and shapes of ``params``.
        """
        dy, dscores = doutput
        own, cross = self._attention("self_attention"), self._attention("cross_attention")
        if self.config.norm_first:
            dfed = dropout_backward(dy, cache.dropout_3)
            dw_3, feedforward_grads = self._feedforward.backward(dfed, cache.feedforward)
            dw, norm_3_grads = self._norm(3).backward(dw_3, cache.norm_3)
            dw += dy
            dc = dropout_backward(dw, cache.dropout_2)
            (du_2, dmemory, _), cross_grads = cross.backward(
                AttentionOutput(dc, dscores), cache.cross_attention
            )
            du, norm_2_grads = self._norm(2).backward(du_2, cache.norm_2)
            du += dw
            da = dropout_backward(du, cache.dropout_1)
            (dx_1, _, dshared), own_grads = own.backward(
                AttentionOutput(da, None), cache.self_attention
            )
            dx, norm_1_grads = self._norm(1).backward(dx_1, cache.norm_1)
            dx += du
        else:
            dwf, norm_3_grads = self._norm(3).backward(dy, cache.norm_3)
            dfed = dropout_backward(dwf, cache.dropout_3)
            dw, feedforward_grads = self._feedforward.backward(dfed, cache.feedforward)
            dw += dwf
            duc, norm_2_grads = self._norm(2).backward(dw, cache.norm_2)
            dc = dropout_backward(duc, cache.dropout_2)
            (du, dmemory, _), cross_grads = cross.backward(
                AttentionOutput(dc, dscores), cache.cross_attention
            )
            du += duc
            dxa, norm_1_grads = self._norm(1).backward(du, cache.norm_1)
            da = dropout_backward(dxa, cache.dropout_1)
            (dx, _, dshared), own_grads = own.backward(
                AttentionOutput(da, None), cache.self_attention
            )
            dx += dxa
        assert dmemory is not None  # cross-attention had a memory
        return (dx, dmemory, dshared), {
            **prefixed("self_attention", own_grads),
            **prefixed("norm_1", norm_1_grads),
            **prefixed("cross_attention", cross_grads),
            **prefixed("norm_2", norm_2_grads),
            **prefixed("feedforward", feedforward_grads),
            **prefixed("norm_3", norm_3_grads),
        }

    def start(self, memory: FloatArray) -> DecoderPast:
        """Return the KV cache of a target that has no token yet; memory is (B, S, D)."""
        own, cross = self._attention("self_attention"), self._attention("cross_attention")
        return DecoderPast(no_tokens(own, len(memory), memory.dtype), project_keys(cross, memory))

    def step(
        self,
        x: FloatArray,
        past: DecoderPast,
        memory_keep: BoolArray | None = None,
        shared: FloatArray | None = None,
    ) -> tuple[FloatArray, DecoderPast]:
        """Apply the layer to further tokens: `forward` at the last positions, without dropout.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        past : DecoderPast
        memory_keep : boolean ndarray of shape (B, 1, 1, S), optional
        shared : ndarray, optional
            As in `look_back`.

        Returns
        -------
        y : ndarray of shape (B, T, D)
        past : DecoderPast
            With these tokens.
        """
        own, cross = self._attention("self_attention"), self._attention("cross_attention")
        now = past

        def look_at_target(x: FloatArray) -> FloatArray:
            nonlocal now
            y, seen = look_back(own, x, past.own, shared)
            now = DecoderPast(seen, past.memory)
            return y

        def look_at_memory(x: FloatArray) -> FloatArray:
            return attend_to(cross, x, past.memory, memory_keep)

        def feed(x: FloatArray) -> FloatArray:
            return self._feedforward.forward(x)[0]

        parts: tuple[Callable[[FloatArray], FloatArray], ...] = (
            look_at_target,
            look_at_memory,
            feed,
        )
        for i, part_of in enumerate(parts, start=1):
            if self.config.norm_first:
                x = x + part_of(self._norm(i).forward(x)[0])
            else:
                x = self._norm(i).forward(x + part_of(x))[0]
        return x, now

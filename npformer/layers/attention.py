"""Multi-head attention: four affine maps around attention, the plain or the blockwise one."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_fraction, check_keep, check_positive, check_shape
from npformer.layers.config import Config, check_sizes
from npformer.layers.init import normal
from npformer.ops.attention import AttentionCache, attention_backward, attention_forward
from npformer.ops.blockwise_attention import (
    BlockwiseAttentionCache,
    blockwise_attention_backward,
    blockwise_attention_forward,
)
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.ops.positions.alibi import alibi_bias
from npformer.ops.positions.rotary import RotaryCache, rotary_backward, rotary_forward
from npformer.types import BoolArray, FloatArray, Params

# T S from which on attention goes block by block if nobody asks for its scores. Here both take the
# same time, with a tenth of the memory; at twice the length, on four sequences, half the time. At
# 512 x 512 blocks cost a tenth (`python -m benchmarks.long_sequences`, with and without --keep).
BLOCKWISE_FROM = 1024 * 1024

ATTENTIONS = ("softmax", "average")
RELATIVE = ("none", "rotary", "alibi")


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(Config):
    """Sizes of `MultiHeadAttention`."""

    d_model: int
    num_heads: int
    attention_dropout: float = 0.0  # on the probabilities
    initializer_range: float = 0.02  # standard deviation of the initial weights
    attention: str = "softmax"  # or "average": every kept value counts the same
    relative: str = "none"  # positions in self-attention: "rotary" or "alibi"

    def __post_init__(self) -> None:
        check_sizes(d_model=self.d_model, num_heads=self.num_heads)
        if self.d_model % self.num_heads:
            raise InputError(
                f"d_model: got {self.d_model}, expected a multiple of num_heads = {self.num_heads}"
            )
        if self.attention not in ATTENTIONS:
            raise InputError(
                f"attention: got {self.attention!r}, expected one of {', '.join(ATTENTIONS)}"
            )
        if self.relative not in RELATIVE:
            raise InputError(
                f"relative: got {self.relative!r}, expected one of {', '.join(RELATIVE)}"
            )
        if self.attention == "average" and self.relative != "none":
            raise InputError(
                f"relative: got {self.relative!r}, expected 'none' with attention='average', "
                "whose weights know no positions"
            )
        if self.relative == "rotary" and self.head_size % 2:
            raise InputError(
                f"d_model: got {self.d_model}, expected d_model / num_heads even with rotary "
                f"positions, which turn pairs of features (here it is {self.head_size})"
            )
        check_fraction("attention_dropout", self.attention_dropout)
        check_positive("initializer_range", self.initializer_range)
        super().__post_init__()

    @property
    def head_size(self) -> int:
        """K = D / H."""
        return self.d_model // self.num_heads


class AttentionOutput(NamedTuple):
    """What attention gives; its cotangent has the same type."""

    y: FloatArray  # (B, T, D)
    scores: FloatArray | None  # (B, H, T, S) if asked for; as a cotangent, None is silent


class MultiHeadAttentionCache(NamedTuple):
    """What `MultiHeadAttention.backward` needs."""

    q: LinearCache | None  # None: an average has no queries and no keys
    k: LinearCache | None
    v: LinearCache
    attention: AttentionCache | BlockwiseAttentionCache
    o: LinearCache
    cross: bool  # keys and values came from a memory
    rotary: tuple[RotaryCache, RotaryCache] | None  # of q and k


@dataclass(frozen=True)
class MultiHeadAttention:
    r"""Multi-head attention.

    .. math:: y = \operatorname{concat}_h\bigl(\operatorname{attention}
              (q_h, k_h, v_h)\bigr)\,w_o + b_o, \qquad
              q = x w_q + b_q, \quad k = m w_k + b_k, \quad v = m w_v + b_v

    where m is x itself (self-attention) or another sequence, the memory (cross-attention),
    and head h owns columns hK to (h+1)K of q, k and v. Self-attention may know relative
    positions (``relative``): "rotary" turns q and k of each head, "alibi" adds a bias that
    grows with the distance, the same on both sides; cross-attention never does.

    With ``attention="average"`` there are no queries and no keys: all scores are 0, so the softmax
    weighs every value alike that may be attended to. What a model scores with it is what it
    owes to everything but attention.

    Parameters
    ----------
    config : AttentionConfig
    params : dict
        ``w_q, w_k, w_v, w_o`` of shape (D, D), ``b_q, b_k, b_v, b_o`` of shape (D,); an
        average has those of v and o only.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", section 3.2.2. Deviations: the maps
    have biases, as in BERT. Zhang et al. 2018, "Accelerating neural Transformer via an average
    attention network", equation 1, for the average; the paper has it in the decoder's
    self-attention alone, with a feed-forward layer and a gate after it, which are left out.
    """

    config: AttentionConfig
    params: Params

    @classmethod
    def init(
        cls, config: AttentionConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights; biases start at zero."""
        params: Params = {}
        for name in "vo" if config.attention == "average" else "qkvo":
            params[f"w_{name}"] = normal(
                rng, config.d_model, config.d_model, std=config.initializer_range, dtype=dtype
            )
            params[f"b_{name}"] = np.zeros(config.d_model, dtype)
        return cls(config, params)

    def forward(
        self,
        x: FloatArray,
        memory: FloatArray | None = None,
        keep: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
    ) -> tuple[AttentionOutput, MultiHeadAttentionCache]:
        """Attend from x to ``memory``, or to x itself.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        memory : ndarray of shape (B, S, D), optional
        keep : boolean ndarray of shape (B, S), or of four axes broadcasting to (B, H, T, S)
            True = may be attended to.
        rng : numpy.random.Generator, optional
            None means no dropout.
        output_scores : bool
            Keep the scores before the mask; plain training does not need them. Without them a
            long sequence is attended to block by block: the same result to rounding, but dropout
            draws other masks.

        Returns
        -------
        output : AttentionOutput
        cache : MultiHeadAttentionCache

        Raises
        ------
        InputError
            If the shapes do not fit or ``keep`` is not boolean.
        """
        p, num_heads = self.params, self.config.num_heads
        check_shape("x", x, ("B", "T", self.config.d_model))
        source = x if memory is None else memory
        check_shape("memory", source, (len(x), "S", self.config.d_model))
        q_cache, k_cache = None, None
        if self.config.attention == "average":
            q = no_scores(x, num_heads)  # (B, H, T, 1)
            k = no_scores(source, num_heads)  # (B, H, S, 1)
        else:
            q, q_cache = linear_forward(x, p["w_q"], p["b_q"])
            k, k_cache = linear_forward(source, p["w_k"], p["b_k"])
            q = split_heads(q, num_heads)  # (B, H, T, K)
            k = split_heads(k, num_heads)  # (B, H, S, K)
        v, v_cache = linear_forward(source, p["w_v"], p["b_v"])
        v = split_heads(v, num_heads)  # (B, H, S, K)
        rotary, bias = None, None
        if memory is None and self.config.relative == "rotary":
            q, turned_q = rotary_forward(q)
            k, turned_k = rotary_forward(k)
            rotary = turned_q, turned_k
        elif memory is None and self.config.relative == "alibi":
            length = x.shape[1]
            bias = alibi_bias(num_heads, length, length, symmetric=True, dtype=x.dtype)
        inputs = q, k, v, expand_keep(keep, source), bias
        p_drop = self.config.attention_dropout
        attention_cache: AttentionCache | BlockwiseAttentionCache
        if output_scores or x.shape[1] * source.shape[1] < BLOCKWISE_FROM:
            ctx, scores, attention_cache = attention_forward(*inputs, p_drop=p_drop, rng=rng)
        else:
            ctx, attention_cache = blockwise_attention_forward(*inputs, p_drop=p_drop, rng=rng)
        y, o_cache = linear_forward(join_heads(ctx), p["w_o"], p["b_o"])
        cache = MultiHeadAttentionCache(
            q_cache, k_cache, v_cache, attention_cache, o_cache, memory is not None, rotary
        )
        return AttentionOutput(y, scores if output_scores else None), cache

    def backward(
        self, doutput: AttentionOutput, cache: MultiHeadAttentionCache
    ) -> tuple[tuple[FloatArray, FloatArray | None], Params]:
        """Undo `forward`.

        In self-attention x feeds q, k and v, so its gradient is the sum of three.

        Parameters
        ----------
        doutput : AttentionOutput
            Cotangents of y, and of the scores or None.
        cache : MultiHeadAttentionCache

        Returns
        -------
        dinput : tuple
            dx of shape (B, T, D), and dmemory of shape (B, S, D) or None without a memory.
        grads : dict
            With the keys and shapes of ``params``.

        Raises
        ------
        InputError
            If there is a cotangent of scores that a long sequence never had.
        """
        num_heads = self.config.num_heads
        g: Params = {}
        dctx, g["w_o"], g["b_o"] = linear_backward(doutput.y, cache.o)
        dctx = split_heads(dctx, num_heads)  # (B, H, T, K)
        if isinstance(cache.attention, AttentionCache):
            dq, dk, dv, _ = attention_backward(dctx, doutput.scores, cache.attention)
        elif doutput.scores is None:
            dq, dk, dv, _ = blockwise_attention_backward(dctx, cache.attention)
        else:
            raise InputError("scores: got a cotangent, expected None without output_scores=True")
        if cache.rotary is not None:
            dk = rotary_backward(dk, cache.rotary[1])
            dq = rotary_backward(dq, cache.rotary[0])
        dsource, g["w_v"], g["b_v"] = linear_backward(join_heads(dv), cache.v)
        if cache.q is None or cache.k is None:
            dx = np.zeros_like(doutput.y)
        else:
            dk_source, g["w_k"], g["b_k"] = linear_backward(join_heads(dk), cache.k)
            dx, g["w_q"], g["b_q"] = linear_backward(join_heads(dq), cache.q)
            dsource = dsource + dk_source
        if cache.cross:
            return (dx, dsource), g
        return (dx + dsource, None), g


def project_keys(
    attention: MultiHeadAttention, source: FloatArray, first: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the keys and values (B, H, S, K) of a source (B, S, D): what a KV cache keeps.

    ``first`` is the position of the first one in self-attention, None in cross-attention.
    """
    p, num_heads = attention.params, attention.config.num_heads
    v, _ = linear_forward(source, p["w_v"], p["b_v"])
    v = split_heads(v, num_heads)  # (B, H, S, K)
    if attention.config.attention == "average":
        return no_scores(source, num_heads), v
    k, _ = linear_forward(source, p["w_k"], p["b_k"])
    k = split_heads(k, num_heads)  # (B, H, S, K)
    if first is not None and attention.config.relative == "rotary":
        k, _ = rotary_forward(k, np.arange(first, first + k.shape[2]))
    return k, v


def attend_to(
    attention: MultiHeadAttention,
    x: FloatArray,
    keys: tuple[FloatArray, FloatArray],
    keep: BoolArray | None = None,
    first: int | None = None,
) -> FloatArray:
    """Attend from x (B, T, D) to keys and values that are there already; no backward.

    ``first`` is the position of x's first token in self-attention, None in cross-attention.
    """
    p, num_heads = attention.params, attention.config.num_heads
    k, v = keys
    if attention.config.attention == "average":
        q = no_scores(x, num_heads)  # (B, H, T, 1)
    else:
        q, _ = linear_forward(x, p["w_q"], p["b_q"])
        q = split_heads(q, num_heads)  # (B, H, T, K)
    bias = None
    if first is not None and attention.config.relative == "rotary":
        q, _ = rotary_forward(q, np.arange(first, first + q.shape[2]))
    elif first is not None and attention.config.relative == "alibi":
        bias = alibi_bias(
            num_heads, q.shape[2], k.shape[2], offset=first, symmetric=True, dtype=x.dtype
        )
    ctx, _, _ = attention_forward(q, k, v, keep, bias)  # (B, H, T, K)
    y, _ = linear_forward(join_heads(ctx), p["w_o"], p["b_o"])  # (B, T, D)
    return y


def no_scores(x: FloatArray, num_heads: int) -> FloatArray:
    """Return queries or keys (B, H, T, 1) of one feature that is 0: every score is then 0."""
    return np.zeros((len(x), num_heads, x.shape[1], 1), x.dtype)


def split_heads(x: FloatArray, num_heads: int) -> FloatArray:
    """(B, T, D) -> (B, H, T, K), a view: matrix products take it without a copy."""
    batch, length, width = x.shape
    return x.reshape(batch, length, num_heads, width // num_heads).transpose(0, 2, 1, 3)


def join_heads(x: FloatArray) -> FloatArray:
    """(B, H, T, K) -> (B, T, D); undoes `split_heads`."""
    batch, num_heads, length, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, num_heads * size)


def expand_keep(keep: BoolArray | None, source: FloatArray) -> BoolArray | None:
    """(B, S) -> (B, 1, 1, S); a mask that hides nothing -> None, which costs nothing."""
    if keep is None or keep.ndim != 2:
        return keep
    check_shape("keep", keep, source.shape[:2])
    if keep.dtype == np.bool_ and keep.all():
        return None
    return keep[:, None, None, :]


def causal_keep(keep: BoolArray | None, length: int) -> BoolArray:
    """Return where a query may attend that sees no token after its own: (1 or B, 1, T, T).

    ``keep`` of shape (B, T) also hides its padding.
    """
    past: BoolArray = np.tri(length, dtype=bool)[None, None]  # (1, 1, T, T)
    if keep is None:
        return past
    check_shape("keep", keep, ("B", length))
    padding = keep[:, None, None, :]  # (B, 1, 1, T)
    check_keep(padding, (len(keep), 1, length, length))
    return past & padding  # (B, 1, T, T)

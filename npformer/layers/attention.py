"""Multi-head attention: four affine maps around attention, the plain or the blockwise one."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_keep, check_shape
from npformer.layers.attention_config import AttentionConfig
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
from npformer.ops.positions.shaw_attention import (
    ShawAttentionCache,
    shaw_attention_backward,
    shaw_attention_forward,
)
from npformer.types import BoolArray, FloatArray, Params

# T S from which on attention goes block by block if nobody asks for its scores. Here both take the
# same time, with a tenth of the memory; at twice the length, on four sequences, half the time. At
# 512 x 512 blocks cost a tenth (`python -m benchmarks.long_sequences`, with and without --keep).
BLOCKWISE_FROM = 1024 * 1024


class AttentionOutput(NamedTuple):
    """What attention gives; its cotangent has the same type."""

    y: FloatArray  # (B, T, D)
    scores: FloatArray | None  # (B, H, T, S) if asked for; as a cotangent, None is silent


class MultiHeadAttentionCache(NamedTuple):
    """What `MultiHeadAttention.backward` needs."""

    q: LinearCache | None  # None: an average has no queries and no keys
    k: LinearCache | None
    v: LinearCache
    attention: AttentionCache | BlockwiseAttentionCache | ShawAttentionCache
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
    positions (``relative``), cross-attention never does:

    - "rotary" turns q and k of each head;
    - "alibi" adds a bias that grows with the distance, the same on both sides;
    - "shaw" adds to each key and each value a learned vector of its distance;
    - "t5" adds the ``bias`` that it is given: all layers share it, so the model looks it up.

    With ``attention="average"`` there are no queries and no keys: all scores are 0, so the softmax
    weighs every value alike that may be attended to. What a model scores with it is what it
    owes to everything but attention.

    Parameters
    ----------
    config : AttentionConfig
    params : dict
        ``w_q, w_k, w_v, w_o`` of shape (D, D), ``b_q, b_k, b_v, b_o`` of shape (D,); an
        average has those of v and o only. Shaw's self-attention has ``rel_k`` and ``rel_v`` of
        shape (2k + 1, K), k = ``relative_clip``.

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
        cls,
        config: AttentionConfig,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
        *,
        cross: bool = False,
    ) -> Self:
        """Draw weights; biases start at zero. ``cross``: for cross-attention, without tables."""
        params: Params = {}
        for name in "vo" if config.attention == "average" else "qkvo":
            params[f"w_{name}"] = normal(
                rng, config.d_model, config.d_model, std=config.initializer_range, dtype=dtype
            )
            params[f"b_{name}"] = np.zeros(config.d_model, dtype)
        if config.relative == "shaw" and not cross:
            for name in ("rel_k", "rel_v"):
                shape = 2 * config.relative_clip + 1, config.head_size
                params[name] = normal(rng, *shape, std=config.initializer_range, dtype=dtype)
        return cls(config, params)

    def forward(
        self,
        x: FloatArray,
        memory: FloatArray | None = None,
        keep: BoolArray | None = None,
        bias: FloatArray | None = None,
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
        bias : ndarray that broadcasts to (B, H, T, T), optional
            T5's, which its self-attention must have and no other attention may.
        rng : numpy.random.Generator, optional
            None means no dropout.
        output_scores : bool
            Keep the scores before the mask; plain training does not need them. Without them a
            long sequence is attended to block by block (not with Shaw's positions): the same
            result to rounding, but dropout draws other masks.

        Returns
        -------
        output : AttentionOutput
        cache : MultiHeadAttentionCache

        Raises
        ------
        InputError
            If the shapes do not fit, ``keep`` is not boolean, or a bias or memory is given that
            these relative positions have no place for.
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
        relative = _relative_of(self, cross=memory is not None, bias=bias)
        rotary = None
        if relative == "rotary":
            q, turned_q = turn(self.config, q, 0)
            k, turned_k = turn(self.config, k, 0)
            rotary = turned_q, turned_k
        elif relative == "alibi":
            length = x.shape[1]
            bias = alibi_bias(num_heads, length, length, symmetric=True, dtype=x.dtype)
        keep = expand_keep(keep, source)
        scale, p_drop = self.config.attention_scale, self.config.attention_dropout
        attention_cache: AttentionCache | BlockwiseAttentionCache | ShawAttentionCache
        if relative == "shaw":
            ctx, scores, attention_cache = shaw_attention_forward(
                q, k, v, p["rel_k"], p["rel_v"], keep, scale=scale, p_drop=p_drop, rng=rng
            )
        elif output_scores or x.shape[1] * source.shape[1] < BLOCKWISE_FROM:
            ctx, scores, attention_cache = attention_forward(
                q, k, v, keep, bias, scale=scale, p_drop=p_drop, rng=rng
            )
        else:
            ctx, attention_cache = blockwise_attention_forward(
                q, k, v, keep, bias, scale=scale, p_drop=p_drop, rng=rng
            )
        y, o_cache = linear_forward(join_heads(ctx), p["w_o"], p["b_o"])
        cache = MultiHeadAttentionCache(
            q_cache, k_cache, v_cache, attention_cache, o_cache, memory is not None, rotary
        )
        return AttentionOutput(y, scores if output_scores else None), cache

    def backward(
        self, doutput: AttentionOutput, cache: MultiHeadAttentionCache
    ) -> tuple[tuple[FloatArray, FloatArray | None, FloatArray | None], Params]:
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
            dx of shape (B, T, D), dmemory of shape (B, S, D) or None without a memory, and dbias
            of the shape of the bias or None without one.
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
        dbias = None
        if isinstance(cache.attention, ShawAttentionCache):
            dq, dk, dv, g["rel_k"], g["rel_v"] = shaw_attention_backward(
                dctx, doutput.scores, cache.attention
            )
        elif isinstance(cache.attention, AttentionCache):
            dq, dk, dv, dbias = attention_backward(dctx, doutput.scores, cache.attention)
        elif doutput.scores is None:
            dq, dk, dv, dbias = blockwise_attention_backward(dctx, cache.attention)
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
            return (dx, dsource, None), g
        if self.config.relative != "t5":
            dbias = None  # ALiBi's is a constant
        return (dx + dsource, None, dbias), g


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
        k, _ = turn(attention.config, k, first)
    return k, v


def attend_to(
    attention: MultiHeadAttention,
    x: FloatArray,
    keys: tuple[FloatArray, FloatArray],
    keep: BoolArray | None = None,
    first: int | None = None,
    bias: FloatArray | None = None,
) -> FloatArray:
    """Attend from x (B, T, D) to keys and values that are there already; no backward.

    ``first`` is the position of x's first token in self-attention, None in cross-attention;
    ``bias`` is T5's, of these queries and keys.
    """
    p, num_heads = attention.params, attention.config.num_heads
    k, v = keys
    if attention.config.attention == "average":
        q = no_scores(x, num_heads)  # (B, H, T, 1)
    else:
        q, _ = linear_forward(x, p["w_q"], p["b_q"])
        q = split_heads(q, num_heads)  # (B, H, T, K)
    relative = _relative_of(attention, cross=first is None, bias=bias)
    offset, scale = first or 0, attention.config.attention_scale
    if relative == "shaw":
        tables = p["rel_k"], p["rel_v"]
        ctx, _, _ = shaw_attention_forward(q, k, v, *tables, keep, offset=offset, scale=scale)
    else:
        if relative == "rotary":
            q, _ = turn(attention.config, q, offset)
        elif relative == "alibi":
            lengths = q.shape[2], k.shape[2]
            bias = alibi_bias(num_heads, *lengths, offset=offset, symmetric=True, dtype=x.dtype)
        ctx, _, _ = attention_forward(q, k, v, keep, bias, scale=scale)  # (B, H, T, K)
    y, _ = linear_forward(join_heads(ctx), p["w_o"], p["b_o"])  # (B, T, D)
    return y


def turn(config: AttentionConfig, x: FloatArray, first: int) -> tuple[FloatArray, RotaryCache]:
    """Apply rotary positions from ``first`` on to queries or keys (B, H, T, K)."""
    return rotary_forward(
        x,
        np.arange(first, first + x.shape[2]),
        rotary_dim=config.rotary_size,
        interleaved=config.rotary_layout == "interleaved",
    )


def _relative_of(attention: MultiHeadAttention, *, cross: bool, bias: FloatArray | None) -> str:
    """Return the relative positions in force, "none" in cross-attention, or refuse the bias."""
    relative = "none" if cross else attention.config.relative
    if (bias is not None) != (relative == "t5"):
        raise InputError(
            f"bias: got {'None' if bias is None else 'an array'}, expected one in "
            "self-attention with relative='t5' and there alone"
        )
    if cross and "rel_k" in attention.params:
        raise InputError(
            "memory: got an array, expected None with the tables rel_k and rel_v, which are for "
            "self-attention (init leaves them out with cross=True)"
        )
    return relative


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

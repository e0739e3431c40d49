"""Multi-head attention: four affine maps around attention, the plain or the blockwise one."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_keep, check_shape
from npformer.layers.attention_config import AttentionConfig
from npformer.layers.init import normal
from npformer.layers.relative_attention import (
    RelativeAttentionCache,
    relative_attention_backward,
    relative_attention_forward,
    turn,
)
from npformer.ops.blockwise_attention import BlockwiseAttentionCache
from npformer.ops.grouped_heads import (
    RepeatHeadsCache,
    repeat_heads_backward,
    repeat_heads_forward,
)
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.ops.positions.rotary import RotaryCache, rotary_backward
from npformer.types import BoolArray, FloatArray, Params, given


class AttentionOutput(NamedTuple):
    """What attention gives; its cotangent has the same type."""

    y: FloatArray  # (B, T, D)
    scores: FloatArray | None  # (B, H, T, S) if asked for; as a cotangent, None is silent


class MultiHeadAttentionCache(NamedTuple):
    """What `MultiHeadAttention.backward` needs."""

    q: LinearCache | None  # None: an average has no queries and no keys
    k: LinearCache | None
    v: LinearCache
    rotary: tuple[RotaryCache, RotaryCache] | None  # of q and k
    groups: tuple[RepeatHeadsCache, RepeatHeadsCache] | None  # of k and v
    attention: RelativeAttentionCache
    o: LinearCache
    cross: bool  # keys and values came from a memory


@dataclass(frozen=True)
class MultiHeadAttention:
    r"""Multi-head attention.

    .. math:: y = \operatorname{concat}_h\bigl(\operatorname{attention}
              (q_h, k_h, v_h)\bigr)\,w_o + b_o, \qquad
              q = x w_q + b_q, \quad k = m w_k + b_k, \quad v = m w_v + b_v

    where m is x itself (self-attention) or another sequence, the memory (cross-attention),
    and head h owns columns hK to (h+1)K of q, k and v. With ``num_kv_heads`` = G < H there are G
    heads of keys and values, each read by H/G heads of queries. Self-attention may know
    relative positions (``relative``), cross-attention never does:

    - "rotary" turns q and k of each head;
    - "alibi" adds a bias that grows with the distance, the same on both sides;
    - "shaw" adds to each key and each value a learned vector of its distance;
    - "t5" adds the bias ``shared``, which the model looks up once for all layers;
    - "deberta" lets queries ask for distances and distances for keys: their vectors are the
      model's table ``shared`` under two maps of this layer.

    With ``attention="average"`` there are no queries and no keys: all scores are 0, so the softmax
    weighs every value alike that may be attended to. What a model scores with it is what it
    owes to everything but attention.

    Parameters
    ----------
    config : AttentionConfig
    params : dict
        ``w_q, w_o`` of shape (D, D), ``w_k, w_v`` (D, G K), and unless ``use_bias`` is off
        ``b_q, b_k, b_v, b_o``; an average has those of v and o only. Shaw's self-attention has
        ``rel_k`` and ``rel_v`` of shape (2k + 1, K), k = ``relative_clip``; DeBERTa's has
        ``w_qr`` and ``w_kr`` (D, D) with ``b_qr`` and ``b_kr``.

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
        """Draw weights; biases start at zero. ``cross``: for cross-attention, without positions."""
        params: Params = {}
        widths = {name: config.d_model for name in ("q", "k", "v", "o")}
        widths["k"] = widths["v"] = config.kv_heads * config.head_size
        if config.attention == "average":
            del widths["q"], widths["k"]
        if config.relative == "deberta" and not cross:
            widths |= {"qr": config.d_model, "kr": config.d_model}
        for name, width in widths.items():
            shape = config.d_model, width
            params[f"w_{name}"] = normal(rng, *shape, std=config.initializer_range, dtype=dtype)
            if config.use_bias:
                params[f"b_{name}"] = np.zeros(width, dtype)
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
        shared: FloatArray | None = None,
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
        shared : ndarray, optional
            What all layers share and self-attention must have then: T5's bias, which broadcasts
            to (B, H, T, T), or DeBERTa's table (2k, D). No other attention may have one.
        rng : numpy.random.Generator, optional
            None means no dropout.
        output_scores : bool
            Keep the scores before the mask; plain training does not need them. Without them a
            long sequence is attended to block by block (not with Shaw's or DeBERTa's positions):
            the same result to rounding, but dropout draws other masks.

        Returns
        -------
        output : AttentionOutput
        cache : MultiHeadAttentionCache

        Raises
        ------
        InputError
            If the shapes do not fit, ``keep`` is not boolean, or something shared or a memory
            is given that these relative positions have no place for.
        """
        p, num_heads, kv_heads = self.params, self.config.num_heads, self.config.kv_heads
        check_shape("x", x, ("B", "T", self.config.d_model))
        source = x if memory is None else memory
        if memory is not None:
            check_shape("memory", memory, (len(x), "S", self.config.d_model))
        relative = relative_of(self, cross=memory is not None, shared=shared)
        q_cache, k_cache = None, None
        if self.config.attention == "average":
            q = no_scores(x, num_heads)  # (B, H, T, 1)
            k = no_scores(source, kv_heads)  # (B, G, S, 1)
        else:
            q, q_cache = linear_forward(x, p["w_q"], p.get("b_q"))
            k, k_cache = linear_forward(source, p["w_k"], p.get("b_k"))
            q = split_heads(q, num_heads)  # (B, H, T, K)
            k = split_heads(k, kv_heads)  # (B, G, S, K)
        v, v_cache = linear_forward(source, p["w_v"], p.get("b_v"))
        v = split_heads(v, kv_heads)  # (B, G, S, K)
        rotary, groups = None, None
        if relative == "rotary":
            q, turned_q = turn(self.config, q, 0)
            k, turned_k = turn(self.config, k, 0)
            rotary = turned_q, turned_k
        if kv_heads != num_heads:
            k, repeated_k = repeat_heads_forward(k, num_heads)  # (B, H, S, K)
            v, repeated_v = repeat_heads_forward(v, num_heads)  # (B, H, S, K)
            groups = repeated_k, repeated_v
        ctx, scores, attention = relative_attention_forward(
            self.config,
            p,
            q,
            k,
            v,
            expand_keep(keep, source),
            shared,
            relative=relative,
            rng=rng,
            output_scores=output_scores,
        )
        y, o_cache = linear_forward(join_heads(ctx), p["w_o"], p.get("b_o"))
        cache = MultiHeadAttentionCache(
            q_cache, k_cache, v_cache, rotary, groups, attention, o_cache, memory is not None
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
            dx of shape (B, T, D), dmemory of shape (B, S, D) or None without a memory, and
            dshared of the shape of ``shared`` or None without.
        grads : dict
            With the keys and shapes of ``params``.

        Raises
        ------
        InputError
            If there is a cotangent of scores that a long sequence never had.
        """
        if doutput.scores is not None and isinstance(cache.attention, BlockwiseAttentionCache):
            raise InputError("scores: got a cotangent, expected None without output_scores=True")
        g: dict[str, Any] = {}
        dctx, g["w_o"], g["b_o"] = linear_backward(doutput.y, cache.o)
        dctx = split_heads(dctx, self.config.num_heads)  # (B, H, T, K)
        dq, dk, dv, dshared, position_grads = relative_attention_backward(
            self.config, dctx, doutput.scores, cache.attention
        )
        g |= position_grads
        if cache.groups is not None:
            dv = repeat_heads_backward(dv, cache.groups[1])  # (B, G, S, K)
            dk = repeat_heads_backward(dk, cache.groups[0])  # (B, G, S, K)
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
            return (dx, dsource, None), given(g)
        return (dx + dsource, None, dshared), given(g)


def relative_of(attention: MultiHeadAttention, *, cross: bool, shared: FloatArray | None) -> str:
    """Return the relative positions in force, "none" in cross-attention, or refuse ``shared``."""
    relative = "none" if cross else attention.config.relative
    if (shared is not None) != (relative in ("t5", "deberta")):
        raise InputError(
            f"shared: got {'None' if shared is None else 'an array'}, expected one in "
            "self-attention with relative='t5' or 'deberta' and there alone"
        )
    if cross and {"rel_k", "w_kr"} & attention.params.keys():
        raise InputError(
            "memory: got an array, expected None with the arrays of relative positions, which are "
            "for self-attention (init leaves them out with cross=True)"
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

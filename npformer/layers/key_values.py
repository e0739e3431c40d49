"""The KV cache of attention: keys and values that later tokens read again."""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.attention import (
    MultiHeadAttention,
    join_heads,
    no_scores,
    relative_of,
    split_heads,
)
from npformer.layers.relative_attention import relative_attention_forward, turn
from npformer.ops.grouped_heads import repeat_heads_forward
from npformer.ops.linear import linear_forward
from npformer.types import BoolArray, FloatArray, IntArray


class KeyValues(NamedTuple):
    """Keys and values of the tokens so far, G heads of each."""

    k: FloatArray  # (B, G, t, K)
    v: FloatArray  # (B, G, t, K)

    @property
    def length(self) -> int:
        """The number of tokens."""
        return int(self.k.shape[2])

    def take(self, rows: IntArray) -> Self:
        """Return those of these rows of the batch, in this order."""
        return type(self)(self.k[rows], self.v[rows])


def no_tokens(attention: MultiHeadAttention, batch: int, dtype: DTypeLike) -> KeyValues:
    """Return the KV cache of a text that has no token yet."""
    nothing = np.zeros((batch, 0, attention.config.d_model), dtype)
    return project_keys(attention, nothing)


def look_back(
    attention: MultiHeadAttention, x: FloatArray, past: KeyValues, shared: FloatArray | None = None
) -> tuple[FloatArray, KeyValues]:
    """Attend from new tokens to those before them and to themselves; no backward.

    Earlier tokens do not see these, so their keys and values stay what they were; that is why
    they can be kept.

    Parameters
    ----------
    attention : MultiHeadAttention
        Self-attention under a causal mask.
    x : ndarray of shape (B, T, D)
        The new tokens: all of a prompt, then one at a time.
    past : KeyValues
        Of the t tokens before.
    shared : ndarray, optional
        T5's bias (1, H, T, t + T) of the new tokens, or DeBERTa's table.

    Returns
    -------
    y : ndarray of shape (B, T, D)
    past : KeyValues
        With the new tokens; the one given is left as it was.
    """
    k, v = project_keys(attention, x, past.length)  # (B, G, T, K)
    now = KeyValues(np.concatenate((past.k, k), axis=2), np.concatenate((past.v, v), axis=2))
    keep = None  # a single token may see all there is
    if x.shape[1] > 1:
        keep = np.tri(x.shape[1], now.length, past.length, dtype=bool)[None, None]  # (1, 1, T, S)
    return attend_to(attention, x, now, keep, past.length, shared), now


def project_keys(
    attention: MultiHeadAttention, source: FloatArray, first: int | None = None
) -> KeyValues:
    """Return the keys and values of a source (B, S, D).

    ``first`` is the position of the first one in self-attention, None in cross-attention.
    """
    p, kv_heads = attention.params, attention.config.kv_heads
    v, _ = linear_forward(source, p["w_v"], p.get("b_v"))
    v = split_heads(v, kv_heads)  # (B, G, S, K)
    if attention.config.attention == "average":
        return KeyValues(no_scores(source, kv_heads), v)
    k, _ = linear_forward(source, p["w_k"], p.get("b_k"))
    k = split_heads(k, kv_heads)  # (B, G, S, K)
    if first is not None and attention.config.relative == "rotary":
        k, _ = turn(attention.config, k, first)
    return KeyValues(k, v)


def attend_to(
    attention: MultiHeadAttention,
    x: FloatArray,
    keys: KeyValues,
    keep: BoolArray | None = None,
    first: int | None = None,
    shared: FloatArray | None = None,
) -> FloatArray:
    """Attend from x (B, T, D) to keys and values that are there already; no backward.

    ``first`` is the position of x's first token in self-attention, None in cross-attention;
    ``shared`` is T5's bias of these queries and keys, or DeBERTa's table.
    """
    p, config = attention.params, attention.config
    k, v = keys  # (B, G, S, K)
    relative = relative_of(attention, cross=first is None, shared=shared)
    if config.attention == "average":
        q = no_scores(x, config.num_heads)  # (B, H, T, 1)
    else:
        q, _ = linear_forward(x, p["w_q"], p.get("b_q"))
        q = split_heads(q, config.num_heads)  # (B, H, T, K)
    offset = first or 0
    if relative == "rotary":
        q, _ = turn(config, q, offset)
    if config.kv_heads != config.num_heads:
        k, _ = repeat_heads_forward(k, config.num_heads)  # (B, H, S, K)
        v, _ = repeat_heads_forward(v, config.num_heads)  # (B, H, S, K)
    ctx, _, _ = relative_attention_forward(
        config, p, q, k, v, keep, shared, relative=relative, offset=offset
    )  # (B, H, T, K)
    y, _ = linear_forward(join_heads(ctx), p["w_o"], p.get("b_o"))  # (B, T, D)
    return y

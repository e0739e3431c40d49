"""Multi-head attention: queries, keys and values of each head, what they find, and a last map."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_shape
from npformer.layers.attend import AttendCache, KeyValues, attend_backward, attend_forward
from npformer.layers.attention_config import AttentionConfig
from npformer.layers.masks import expand_keep
from npformer.layers.relative import SCHEMES, Scheme
from npformer.layers.shapes import Axis, Shapes, affine, draw
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import BoolArray, FloatArray, Params, given


class AttentionOutput(NamedTuple):
    """What attention gives; as a cotangent, None where silent."""

    y: FloatArray  # (B, T, D)
    scores: FloatArray | None = None  # (B, H, T, S) before the mask, if asked for
    values: FloatArray | None = None  # (B, G, S, K), if asked for
    past: KeyValues | None = None  # with these tokens, where a past was given; has no cotangent


class QueryCache(NamedTuple):
    """What `MultiHeadAttention.queries_backward` needs."""

    q: LinearCache
    turn: Any  # of the scheme's `turn_forward`


class KeyValueCache(NamedTuple):
    """What `MultiHeadAttention.key_values_backward` needs."""

    k: LinearCache
    v: LinearCache
    turn: Any  # of the scheme's `turn_forward`


class MultiHeadAttentionCache(NamedTuple):
    """What `MultiHeadAttention.backward` needs."""

    cross: bool  # keys and values are those of a memory
    query: Any  # QueryCache
    key_value: Any  # KeyValueCache, or None: no gradient goes back to a past
    attend: AttendCache
    o: LinearCache


@dataclass(frozen=True)
class MultiHeadAttention:
    r"""Multi-head attention.

    .. math:: y = \operatorname{concat}_h\bigl(\operatorname{attention}
              (q_h, k_h, v_h)\bigr)\,w_o + b_o, \qquad
              q = x w_q + b_q, \quad k = m w_k + b_k, \quad v = m w_v + b_v

    where m is x itself (self-attention) or another sequence, the memory (cross-attention),
    and head h owns columns hK to (h+1)K of q, k and v. With ``num_kv_heads`` = G < H there are G
    heads of keys and values, each read by H/G heads of queries. Self-attention may know
    relative positions (``relative``, see `npformer.layers.relative`), cross-attention never does.

    Parameters
    ----------
    config : AttentionConfig
    params : dict
        ``w_q, w_o`` of shape (D, D), ``w_k, w_v`` (D, G K), and unless ``use_bias`` is off
        ``b_q, b_k, b_v, b_o``; in self-attention also what the scheme of relative positions has
        in a layer. `shapes` names them all.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", section 3.2.2. Deviations: the maps
    have biases, as in BERT.
    """

    config: AttentionConfig
    params: Params

    kind: ClassVar[str] = "softmax"  # what config.attention must be

    def __post_init__(self) -> None:
        if self.config.attention != self.kind:
            raise InputError(
                f"attention: got {self.config.attention!r}, expected {self.kind!r} for "
                f"{type(self).__name__}"
            )

    @classmethod
    def shapes(cls, config: AttentionConfig, *, cross: bool = False) -> Shapes:
        """Return name -> axes; ``cross``: of cross-attention, which knows no positions."""
        d, bias = Axis("D", config.d_model), config.use_bias
        kv = Axis("GK", config.kv_heads * config.head_size)
        shapes = affine("q", d, d, bias=bias)
        shapes |= affine("k", d, kv, bias=bias) | affine("v", d, kv, bias=bias)
        shapes |= affine("o", d, d, bias=bias)
        return shapes if cross else shapes | SCHEMES[config.relative].layer_shapes(config)

    @classmethod
    def init(
        cls,
        config: AttentionConfig,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
        *,
        cross: bool = False,
    ) -> Self:
        """Draw weights; biases start at zero."""
        shapes = cls.shapes(config, cross=cross)
        return cls(config, draw(shapes, rng, dtype, std=config.initializer_range))

    def forward(
        self,
        x: FloatArray,
        memory: FloatArray | KeyValues | None = None,
        keep: BoolArray | None = None,
        shared: FloatArray | None = None,
        *,
        past: KeyValues | None = None,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
        output_values: bool = False,
    ) -> tuple[AttentionOutput, MultiHeadAttentionCache]:
        """Attend from x to ``memory``, or to x itself.

        Parameters
        ----------
        x : ndarray of shape (B, T, D)
        memory : ndarray of shape (B, S, D), or its KeyValues, optional
        keep : boolean ndarray of shape (B, S), or of four axes broadcasting to (B, H, T, S)
            True = may be attended to.
        shared : ndarray, optional
            What the scheme of relative positions has made for all layers, if it does so.
        past : KeyValues, optional
            Of the tokens before x, which x attends to as well (S counts both). They stay as
            they are: earlier tokens do not see later ones. No gradient goes back to them.
        rng : numpy.random.Generator, optional
            None means no dropout.
        output_scores, output_values : bool
            Keep the scores before the mask, and the values; plain training needs neither.

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
        cross, first = memory is not None, 0 if past is None else past.length
        scheme = self._scheme(cross, shared)
        check_shape("x", x, ("B", "T", self.config.d_model))
        q, query = self.queries(x, scheme, first)  # (B, H, T, K)
        if isinstance(memory, KeyValues):
            keys, key_value = memory, None
        else:
            if memory is not None:
                check_shape("memory", memory, (len(x), "S", self.config.d_model))
            source = x if memory is None else memory
            keys, key_value = self.key_values(source, scheme, first)  # (B, G, S, K) each
        values = keys.v if output_values else None
        if past is not None:
            keys, key_value = past.then(keys), None
        keep = expand_keep(keep, len(x), keys.length)
        ctx, scores, attend = attend_forward(
            scheme, q, keys, keep, shared, first, rng=rng, output_scores=output_scores
        )  # (B, H, T, K)
        y, o = linear_forward(join_heads(ctx), self.params["w_o"], self.params.get("b_o"))
        output = AttentionOutput(y, scores, values, None if past is None else keys)
        return output, MultiHeadAttentionCache(cross, query, key_value, attend, o)

    def backward(
        self, doutput: AttentionOutput, cache: MultiHeadAttentionCache
    ) -> tuple[tuple[FloatArray, FloatArray | None, FloatArray | None], Params]:
        """Undo `forward`.

        In self-attention x feeds q, k and v, so its gradient is the sum of three.

        Parameters
        ----------
        doutput : AttentionOutput
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
        g: dict[str, Any] = {}
        scheme = self._scheme(cache.cross)
        dctx, g["w_o"], g["b_o"] = linear_backward(doutput.y, cache.o)
        dctx = split_heads(dctx, self.config.num_heads)  # (B, H, T, K)
        dq, dkeys, dshared, grads = attend_backward(scheme, dctx, doutput.scores, cache.attend)
        if doutput.values is not None:
            dkeys = KeyValues(dkeys.k, dkeys.v + doutput.values)
        dsource, key_value_grads = self.key_values_backward(dkeys, cache.key_value, scheme)
        dx, query_grads = self.queries_backward(dq, cache.query, scheme)
        g = given(g) | grads | key_value_grads | query_grads
        return (dx, dsource, None) if cache.cross else (dx + dsource, None, dshared), g

    def queries(
        self, x: FloatArray, scheme: Scheme, first: int = 0
    ) -> tuple[FloatArray, QueryCache]:
        """Return the queries (B, H, T, K) of x, whose first token stands at ``first``."""
        q, q_cache = linear_forward(x, self.params["w_q"], self.params.get("b_q"))
        q = split_heads(q, self.config.num_heads)  # (B, H, T, K)
        q, turn = scheme.turn_forward(q, first)
        return q, QueryCache(q_cache, turn)

    def queries_backward(
        self, dq: FloatArray, cache: QueryCache, scheme: Scheme
    ) -> tuple[FloatArray, Params]:
        """Undo `queries`: return dx (B, T, D) and ``grads``."""
        dq = scheme.turn_backward(dq, cache.turn)
        dx, dw, db = linear_backward(join_heads(dq), cache.q)
        return dx, given({"w_q": dw, "b_q": db})

    def key_values(
        self, source: FloatArray, scheme: Scheme, first: int = 0
    ) -> tuple[KeyValues, KeyValueCache]:
        """Return the keys and values (B, G, S, K) of a source that begins at ``first``."""
        p, heads = self.params, self.config.kv_heads
        k, k_cache = linear_forward(source, p["w_k"], p.get("b_k"))
        v, v_cache = linear_forward(source, p["w_v"], p.get("b_v"))
        k, v = split_heads(k, heads), split_heads(v, heads)  # (B, G, S, K)
        k, turn = scheme.turn_forward(k, first)
        return KeyValues(k, v), KeyValueCache(k_cache, v_cache, turn)

    def key_values_backward(
        self, dkeys: KeyValues, cache: KeyValueCache, scheme: Scheme
    ) -> tuple[FloatArray, Params]:
        """Undo `key_values`: return dsource (B, S, D) and ``grads``."""
        g: dict[str, Any] = {}
        dk = scheme.turn_backward(dkeys.k, cache.turn)
        dsource_v, g["w_v"], g["b_v"] = linear_backward(join_heads(dkeys.v), cache.v)
        dsource_k, g["w_k"], g["b_k"] = linear_backward(join_heads(dk), cache.k)
        return dsource_v + dsource_k, given(g)

    def of_memory(self, memory: FloatArray) -> KeyValues:
        """Return the keys and values of a memory, for many calls of cross-attention."""
        return self.key_values(memory, self._scheme(cross=True))[0]

    def no_past(self, batch: int, dtype: DTypeLike) -> KeyValues:
        """Return the KV cache of a text that has no token yet."""
        none = np.zeros((batch, 0, self.config.d_model), dtype)
        return self.key_values(none, self._scheme(cross=False))[0]

    def _scheme(self, cross: bool, shared: Any = ...) -> Scheme:
        """Return the relative positions in force; refuse what they have no place for."""
        own = SCHEMES[self.config.relative]
        if cross and own.layer_shapes(self.config).keys() & self.params.keys():
            raise InputError(
                "memory: got an array, expected None with the arrays of relative positions, which "
                "are for self-attention (init leaves them out with cross=True)"
            )
        kind = SCHEMES["none"] if cross else own
        if shared is not ... and (shared is not None) != kind.shares:
            got, expected = ("an array", "None") if kind.shares is False else ("None", "an array")
            raise InputError(
                f"shared: got {got}, expected {expected}, because relative="
                f"{'none' if cross else self.config.relative!r} "
                f"{'shares one' if kind.shares else 'shares none'} between the layers"
            )
        return kind(self.config, self.params)


def split_heads(x: FloatArray, num_heads: int) -> FloatArray:
    """(B, T, D) -> (B, H, T, K), a view: matrix products take it without a copy."""
    batch, length, width = x.shape
    return x.reshape(batch, length, num_heads, width // num_heads).transpose(0, 2, 1, 3)


def join_heads(x: FloatArray) -> FloatArray:
    """(B, H, T, K) -> (B, T, D); undoes `split_heads`."""
    batch, num_heads, length, size = x.shape
    return x.transpose(0, 2, 1, 3).reshape(batch, length, num_heads * size)

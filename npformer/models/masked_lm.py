"""BERT's masked-LM head, whose output matrix is the token table."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Unpack

import numpy as np

from npformer.layers.feedforward import ACTIVATIONS
from npformer.layers.output import (
    ModelOutput,
    RowsCache,
    last_hidden,
    or_zeros,
    rows_backward,
    rows_forward,
)
from npformer.layers.shapes import Axis, Shapes
from npformer.layers.stack import StackCache, StackOptions
from npformer.models.config import EncoderConfig
from npformer.models.on_encoder import OnEncoder
from npformer.ops.layernorm import LayerNormCache, layernorm_backward, layernorm_forward
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import BoolArray, FloatArray, IntArray, Params, prefixed

TABLE = "encoder.embeddings.token"


class HeadCache(NamedTuple):
    """What `MaskedLM.head_backward` needs."""

    transform: LinearCache
    activation: Any
    norm: LayerNormCache
    decoder: LinearCache


class MaskedLMCache(NamedTuple):
    """What `MaskedLM.backward` needs."""

    encoder: StackCache
    rows: RowsCache
    head: HeadCache


@dataclass(frozen=True)
class MaskedLM(OnEncoder):
    r"""An encoder and BERT's masked-LM head, whose output matrix is the token table.

    .. math:: \mathrm{logits} = \operatorname{layernorm}\bigl(
              \operatorname{act}(h_L w_t + b_t)\bigr)\,W^\top + b_d

    The token table W is used twice, so its gradient is the sum of two. If it is narrower than the
    model (``embedding_size``), w_t takes the states from width D to its width E, as in ALBERT.

    Parameters
    ----------
    config : EncoderConfig
    params : dict
        ``encoder.*``, ``head.w`` (D, E), ``head.b`` (E,), ``head.gamma``, ``head.beta``
        (E,), ``head.b_decoder`` (V,); E is D without ``embedding_size``.

    References
    ----------
    Devlin et al. 2019, "BERT", section 3.1, task 1; the transform is in its released code. Lan et
    al. 2020, "ALBERT", section 3.1, for the narrower table; its head too is in its released code.
    """

    config: EncoderConfig

    @classmethod
    def head_shapes(cls, config: EncoderConfig) -> Shapes:
        """Return name -> axes of the head; its output matrix is the encoder's token table."""
        d, e = Axis("D", config.d_model), Axis("E", config.table_width)
        shapes: Shapes = {"head.w": (d, e), "head.b": (e,), "head.gamma": (e,), "head.beta": (e,)}
        return shapes | {"head.b_decoder": (Axis("V", config.vocab_size),)}

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        segments: IntArray | None = None,
        *,
        positions: IntArray | None = None,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
    ) -> tuple[ModelOutput, MaskedLMCache]:
        """Predict tokens.

        Parameters
        ----------
        ids, keep, segments, rng, **options
            As in `Encoder.forward`.
        positions : integer ndarray of shape (P,), optional
            Where to predict, as indices into the B * T tokens in order; default everywhere.
            Only the masked ones have a loss, and the rest would cost a (B T, V) product.

        Returns
        -------
        output : ModelOutput
            Logits of shape (B, T, V), or (P, V) at the positions asked for.
        cache : MaskedLMCache
        """
        output, encoder_cache = self.encoder.forward(ids, keep, segments, rng=rng, **options)
        states, rows = rows_forward(last_hidden(output), positions)  # (P, D) or (B, T, D)
        logits, head = self.head_forward(states)  # (P, V) or (B, T, V)
        return output._replace(logits=logits), MaskedLMCache(encoder_cache, rows, head)

    def backward(self, doutput: ModelOutput, cache: MaskedLMCache) -> tuple[None, Params]:
        """Undo `forward`; gradients enter at the logits, every hidden state and every score."""
        read = cache.head.decoder.x  # (P, E) or (B, T, E)
        shape = (*read.shape[:-1], self.config.vocab_size)
        dlogits = or_zeros(doutput.logits, shape, read.dtype)
        dstates, g = self.head_backward(dlogits, cache.head)  # (P, D) or (B, T, D)
        dlast = rows_backward(dstates, cache.rows)  # (B, T, D)
        _, grads = self.encoder.backward(doutput, cache.encoder, dlast)
        dtable = g.pop(TABLE)
        g |= prefixed("encoder", grads)
        g[TABLE] = g[TABLE] + dtable  # tied
        return None, g

    def head_forward(self, states: FloatArray) -> tuple[FloatArray, HeadCache]:
        """Predict tokens from states (..., D), without the encoder: logits (..., V)."""
        p = self.params
        t, transform_cache = linear_forward(states, p["head.w"], p["head.b"])  # (..., E)
        activate, _ = ACTIVATIONS[self.config.activation]
        a, activation_cache = activate(t)
        n, norm_cache = layernorm_forward(
            a, p["head.gamma"], p["head.beta"], eps=self.config.layer_norm_eps
        )
        table = p[TABLE]  # (V, E)
        logits, decoder_cache = linear_forward(n, table.T, p["head.b_decoder"])  # (..., V)
        return logits, HeadCache(transform_cache, activation_cache, norm_cache, decoder_cache)

    def head_backward(self, dlogits: FloatArray, cache: HeadCache) -> tuple[FloatArray, Params]:
        """Undo `head_forward`; the token table gets the gradient of its use here alone."""
        g: Params = {}
        dn, dtable, g["head.b_decoder"] = linear_backward(dlogits, cache.decoder)  # (..., E)
        g[TABLE] = dtable.T
        da, g["head.gamma"], g["head.beta"] = layernorm_backward(dn, cache.norm)
        _, undo_activate = ACTIVATIONS[self.config.activation]
        dt = undo_activate(da, cache.activation)
        dstates, g["head.w"], g["head.b"] = linear_backward(dt, cache.transform)  # (..., D)
        return dstates, g

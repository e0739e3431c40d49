"""The encoder-decoder Transformer: a source sequence in, a target sequence out."""

from dataclasses import dataclass
from typing import NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_shape
from npformer.layers.decoder_block import DecoderBlock
from npformer.layers.output import ModelOutput, last_hidden, or_zeros
from npformer.layers.shapes import Axis, Shapes, draw
from npformer.layers.stack import Stack, StackCache, StackOptions
from npformer.layers.token_embeddings import TokenEmbeddings
from npformer.models.config import Seq2SeqConfig
from npformer.models.decoding import Decoding
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import BoolArray, FloatArray, IntArray, Params, given, part, prefixed


class DecodeCache(NamedTuple):
    """What `Seq2Seq.decode_backward` needs."""

    stack: StackCache
    output: LinearCache


class Seq2SeqCache(NamedTuple):
    """What `Seq2Seq.backward` needs."""

    encode: StackCache
    decode: DecodeCache


class SourceStack(Stack):
    """The encoder's side."""

    depth = "num_encoder_layers"


class TargetStack(Stack):
    """The decoder's side."""

    block = DecoderBlock
    causal = True
    depth = "num_decoder_layers"


@dataclass(frozen=True)
class Seq2Seq:
    r"""The Transformer.

    .. math:: m &= \operatorname{encoder}(\mathrm{source}), \qquad
              h = \operatorname{decoder}(\mathrm{target}, m) \\
              \mathrm{logits} &= h\,w_{\mathrm{out}} + b_{\mathrm{out}}

    with :math:`h / \sqrt D` in the place of h if ``scale_output`` is on. With
    ``shared_embeddings`` the source table, the target table and the transposed output matrix
    are one array, whose gradient is the sum of three.

    Parameters
    ----------
    config : Seq2SeqConfig
    params : dict
        ``encoder.layers.0.*`` ..., ``decoder.layers.0.*`` ...; ``output.b`` (V,) unless
        ``use_bias`` is off; the tables ``embeddings.*``, or ``source.*``, ``target.*`` and
        ``output.w`` (D, V). With ``norm_first`` also ``encoder.norm.*`` and ``decoder.norm.*``;
        what relative positions have once for all layers, each side has for itself.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", figure 1; section 3.4 for the shared
    table. Deviations: the output has a bias, and pre-LN ends each side with a layer norm
    (Xiong et al. 2020).
    """

    config: Seq2SeqConfig
    params: Params

    @classmethod
    def shapes(cls, config: Seq2SeqConfig) -> Shapes:
        """Return name -> axes."""
        d, v = Axis("D", config.d_model), Axis("V", config.target_vocab_size)
        shapes = prefixed(config.source_tables, TokenEmbeddings.shapes(config))
        shapes |= prefixed(config.target_tables, TokenEmbeddings.shapes(config.of_target))
        shapes |= prefixed("encoder", SourceStack.body_shapes(config))
        shapes |= prefixed("decoder", TargetStack.body_shapes(config))
        if not config.shared_embeddings:
            shapes["output.w"] = d, v
        return shapes | ({"output.b": (v,)} if config.use_bias else {})

    @classmethod
    def init(
        cls, config: Seq2SeqConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights; biases start at zero, norms as gamma = 1, beta = 0."""
        params = prefixed(config.source_tables, TokenEmbeddings.init(config, rng, dtype).params)
        if not config.shared_embeddings:
            target = TokenEmbeddings.init(config.of_target, rng, dtype).params
            params |= prefixed(config.target_tables, target)
        rest = {name: axes for name, axes in cls.shapes(config).items() if name not in params}
        return cls(config, params | draw(rest, rng, dtype, std=config.initializer_range))

    @property
    def _encoder(self) -> SourceStack:
        tables = prefixed("embeddings", part(self.params, self.config.source_tables))
        return SourceStack(self.config, part(self.params, "encoder") | tables)

    @property
    def _decoder(self) -> TargetStack:
        tables = prefixed("embeddings", part(self.params, self.config.target_tables))
        return TargetStack(self.config.of_target, part(self.params, "decoder") | tables)

    def encode(
        self,
        source: IntArray,
        keep: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
    ) -> tuple[ModelOutput, StackCache]:
        """Encode a batch of sources.

        Parameters
        ----------
        source : integer ndarray of shape (B, S)
        keep : boolean ndarray of shape (B, S), optional
        rng, **options
            As in `Encoder.forward`.

        Returns
        -------
        output : ModelOutput
            The last hidden state (B, S, D) is the memory.
        cache : StackCache

        Raises
        ------
        InputError
            If a source has no token or more than max_len, or an id is outside the vocabulary.
        """
        _check_some(source, keep)
        return self._encoder.forward(source, keep, rng=rng, **options)

    def encode_backward(
        self, doutput: ModelOutput, cache: StackCache, dmemory: FloatArray | None = None
    ) -> tuple[None, Params]:
        """Undo `encode`; dmemory (B, S, D) is what the decoder gives back for the memory."""
        _, grads = self._encoder.backward(doutput, cache, dmemory)
        return None, _named(grads, "encoder", self.config.source_tables)

    def decode(
        self,
        target: IntArray,
        memory: FloatArray,
        keep: BoolArray | None = None,
        memory_keep: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
    ) -> tuple[ModelOutput, DecodeCache]:
        """Predict, at every position of the target, the token that follows.

        Parameters
        ----------
        target : integer ndarray of shape (B, T)
            What the decoder is given: in training the right tokens, moved by `shift_right`.
        memory : ndarray of shape (B, S, D)
        keep : boolean ndarray of shape (B, T), optional
        memory_keep : boolean ndarray of shape (B, S), optional
        rng, **options
            As in `Encoder.forward`; scores are those of self- and of cross-attention.

        Returns
        -------
        output : ModelOutput
            Logits of shape (B, T, V).
        cache : DecodeCache

        Raises
        ------
        InputError
            If the target is longer than max_len, an id unknown, or the memory of another width.
        """
        check_shape("memory", memory, (len(target), "S", self.config.d_model))
        states, stack = self._decoder.forward(
            target, keep, memory=memory, memory_keep=memory_keep, rng=rng, **options
        )
        logits, output = self._predict(stack.last)  # (B, T, V)
        return states._replace(logits=logits), DecodeCache(stack, output)

    def decode_backward(
        self, doutput: ModelOutput, cache: DecodeCache
    ) -> tuple[FloatArray, Params]:
        """Undo `decode`: every layer read the memory, so dmemory (B, S, D) is a sum over them.

        Raises
        ------
        InputError
            If there is not one cotangent (or None) for each layer's scores and cross_scores.
        """
        read = cache.output.x  # (B, T, D)
        dlogits = or_zeros(doutput.logits, (*read.shape[:-1], self.config.target_size), read.dtype)
        dlast, dw, db = linear_backward(dlogits, cache.output)
        if self.config.scale_output:
            dlast = dlast * self.config.d_model**-0.5
        dmemory, grads = self._decoder.backward(doutput, cache.stack, dlast)
        assert dmemory is not None  # every layer read it
        g = given({"output.b": db}) | _named(grads, "decoder", self.config.target_tables)
        if self.config.shared_embeddings:
            g["embeddings.token"] = g["embeddings.token"] + dw.T
        else:
            g["output.w"] = dw
        return dmemory, g

    def _predict(self, h: FloatArray) -> tuple[FloatArray, LinearCache]:
        """Return the logits of the decoder's last states: (..., D) -> (..., V)."""
        shared = self.config.shared_embeddings
        w = self.params["embeddings.token"].T if shared else self.params["output.w"]
        if self.config.scale_output:
            h = h * self.config.d_model**-0.5
        return linear_forward(h, w, self.params.get("output.b"))

    def forward(
        self,
        source: IntArray,
        target: IntArray,
        source_keep: BoolArray | None = None,
        target_keep: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
    ) -> tuple[ModelOutput, Seq2SeqCache]:
        """Encode the source, then decode with teacher forcing.

        Parameters
        ----------
        source, source_keep : ndarrays of shape (B, S)
        target, target_keep : ndarrays of shape (B, T)
            As in `encode` and `decode`.
        rng, **options
            As in `Encoder.forward`, for both sides.

        Returns
        -------
        output : ModelOutput
            Of the decoder; ``encoder`` is that of the encoder.
        cache : Seq2SeqCache

        Raises
        ------
        InputError
            As in `encode` and `decode`.
        """
        encoder, encode_cache = self.encode(source, source_keep, rng=rng, **options)
        output, decode_cache = self.decode(
            target, last_hidden(encoder), target_keep, source_keep, rng=rng, **options
        )
        return output._replace(encoder=encoder), Seq2SeqCache(encode_cache, decode_cache)

    def backward(self, doutput: ModelOutput, cache: Seq2SeqCache) -> tuple[None, Params]:
        """Undo `forward`: the decoder, then the encoder; ids have no gradient.

        Both sides give a gradient of the shared table, and so of learned positions.
        """
        dmemory, g = self.decode_backward(doutput, cache.decode)
        _, grads = self.encode_backward(doutput.encoder or ModelOutput(), cache.encode, dmemory)
        for name, grad in grads.items():
            g[name] = g[name] + grad if name in g else grad
        return None, g

    def start(self, source: IntArray, keep: BoolArray | None = None) -> Decoding:
        """Encode the sources (B, S) and return the state before the first token of a target."""
        memory = last_hidden(self.encode(source, keep, recompute=True)[0])
        return Decoding(self._decoder.no_past(memory), keep)

    def step(self, ids: IntArray, state: Decoding) -> tuple[FloatArray, Decoding]:
        """Give the decoder further tokens of each target, ids (B, T); as in `CausalLM.step`."""
        states, stack = self._decoder.forward(ids, memory_keep=state.memory_keep, past=state.layers)
        logits, _ = self._predict(stack.last[:, -1])  # (B, V)
        return logits, Decoding(states.past or (), state.memory_keep)


def _named(grads: Params, side: str, tables: str) -> Params:
    """Return the gradients of a stack by the names that its arrays have in the model."""
    own = {name: g for name, g in grads.items() if not name.startswith("embeddings.")}
    return prefixed(side, own) | prefixed(tables, part(grads, "embeddings"))


def _check_some(ids: IntArray, keep: BoolArray | None) -> None:
    """Refuse a batch with a source that has no token at all."""
    check_shape("source", ids, ("B", "S"))
    keep = np.ones(ids.shape, bool) if keep is None else keep
    check_shape("keep", keep, ids.shape)
    counts = keep.sum(axis=1)  # (B,)
    if not counts.all():
        empty = int(counts.argmin())
        raise InputError(f"source: got no token in sequence {empty}, expected at least one")

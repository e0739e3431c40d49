"""The encoder-decoder Transformer: a source sequence in, a target sequence out."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_shape
from npformer.layers.attention import AttentionOutput
from npformer.layers.block import BlockCache, BlockConfig, EncoderBlock
from npformer.layers.config import check_sizes
from npformer.layers.decoder_block import DecoderBlock, DecoderBlockCache
from npformer.layers.init import normal
from npformer.layers.norm import Norm, NormCache
from npformer.layers.shared_positions import (
    SharedCache,
    shared_backward,
    shared_forward,
    shared_params,
)
from npformer.layers.token_embeddings import (
    TokenEmbeddings,
    TokenEmbeddingsCache,
    TokenEmbeddingsConfig,
)
from npformer.models.seeds import generator_of, layer_seeds
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import BoolArray, FloatArray, IntArray, Params, given, part, prefixed


@dataclass(frozen=True, kw_only=True)
class Seq2SeqConfig(BlockConfig, TokenEmbeddingsConfig):
    """Sizes of a `Seq2Seq`; both sides have the same width, heads and d_ff."""

    target_vocab_size: int
    num_encoder_layers: int
    num_decoder_layers: int
    shared_embeddings: bool = False  # one table for source, target and output
    scale_output: bool = False  # divide by sqrt(D) before the output, as T5 with a shared table
    activation: str = "relu"
    layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_sizes(
            target_vocab_size=self.target_vocab_size,
            num_encoder_layers=self.num_encoder_layers,
            num_decoder_layers=self.num_decoder_layers,
        )
        if self.shared_embeddings and self.target_vocab_size != self.vocab_size:
            raise InputError(
                f"target_vocab_size: got {self.target_vocab_size}, expected vocab_size = "
                f"{self.vocab_size}, because shared_embeddings have one table for both"
            )
        super().__post_init__()


class Seq2SeqOutput(NamedTuple):
    """What a `Seq2Seq` gives; as a cotangent, a field or an entry is None where silent."""

    logits: FloatArray | None = None  # (B, T, V)
    cross_scores: tuple[FloatArray | None, ...] | None = None  # (B, H, T, S), one a decoder layer


class EncodeCache(NamedTuple):
    """What `Seq2Seq.encode_backward` needs."""

    embeddings: TokenEmbeddingsCache
    shared: SharedCache
    blocks: tuple[BlockCache, ...]
    norm: NormCache | None  # the final norm of pre-LN


class DecodeCache(NamedTuple):
    """What `Seq2Seq.decode_backward` needs."""

    embeddings: TokenEmbeddingsCache
    shared: SharedCache
    blocks: tuple[DecoderBlockCache, ...]
    norm: NormCache | None  # the final norm of pre-LN
    output: LinearCache


class Seq2SeqCache(NamedTuple):
    """What `Seq2Seq.backward` needs."""

    encode: EncodeCache
    decode: DecodeCache


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
        with relative positions of T5 or DeBERTa one table per side that its layers share, see
        `shared_params`.

    References
    ----------
    Vaswani et al. 2017, "Attention is all you need", figure 1; section 3.4 for the shared
    table. Deviations: the output has a bias, and pre-LN ends each side with a layer norm
    (Xiong et al. 2020).
    """

    config: Seq2SeqConfig
    params: Params

    @classmethod
    def init(
        cls, config: Seq2SeqConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights; biases start at zero, norms as gamma = 1, beta = 0."""
        model = cls(config, {})
        params = model.params
        params |= prefixed(model._source, TokenEmbeddings.init(config, rng, dtype).params)
        if not config.shared_embeddings:
            target = TokenEmbeddings.init(model._target_config, rng, dtype)
            params |= prefixed(model._target, target.params)
        for i in range(config.num_encoder_layers):
            params |= prefixed(f"encoder.layers.{i}", EncoderBlock.init(config, rng, dtype).params)
        for i in range(config.num_decoder_layers):
            params |= prefixed(f"decoder.layers.{i}", DecoderBlock.init(config, rng, dtype).params)
        for side in ("encoder", "decoder"):
            params |= prefixed(side, shared_params(config, rng, dtype))
            if config.norm_first:
                params |= prefixed(f"{side}.norm", Norm.init(config, dtype).params)
        if not config.shared_embeddings:
            shape = config.d_model, config.target_vocab_size
            params["output.w"] = normal(rng, *shape, std=config.initializer_range, dtype=dtype)
        if config.use_bias:
            params["output.b"] = np.zeros(config.target_vocab_size, dtype)
        return model

    @property
    def _source(self) -> str:
        return "embeddings" if self.config.shared_embeddings else "source"

    @property
    def _target(self) -> str:
        return "embeddings" if self.config.shared_embeddings else "target"

    @property
    def _target_config(self) -> Seq2SeqConfig:
        return replace(self.config, vocab_size=self.config.target_vocab_size)

    @property
    def _source_embeddings(self) -> TokenEmbeddings:
        return TokenEmbeddings(self.config, part(self.params, self._source))

    @property
    def target_embeddings(self) -> TokenEmbeddings:
        """The target's table, sharing this model's arrays."""
        return TokenEmbeddings(self._target_config, part(self.params, self._target))

    def _encoder_block(self, i: int) -> EncoderBlock:
        return EncoderBlock(self.config, part(self.params, f"encoder.layers.{i}"))

    def decoder_block(self, i: int) -> DecoderBlock:
        """Return layer i of the decoder, sharing this model's arrays."""
        return DecoderBlock(self.config, part(self.params, f"decoder.layers.{i}"))

    def shared_positions(
        self, side: str, query_len: int, key_len: int, offset: int = 0
    ) -> tuple[FloatArray | None, SharedCache]:
        """Return what the layers of the "encoder" or the "decoder" share, see `shared_forward`."""
        return shared_forward(
            self.config,
            part(self.params, side),
            query_len,
            key_len,
            offset=offset,
            bidirectional=side == "encoder",
        )

    def _norm(self, side: str) -> Norm:
        return Norm(self.config, part(self.params, f"{side}.norm"))

    def final_norm(self, side: str, x: FloatArray) -> tuple[FloatArray, NormCache | None]:
        """Apply the norm that ends the "encoder" or the "decoder" of pre-LN."""
        return self._norm(side).forward(x) if self.config.norm_first else (x, None)

    def predict(self, h: FloatArray) -> tuple[FloatArray, LinearCache]:
        """Return the logits of the decoder's last states: (..., D) -> (..., V)."""
        shared = self.config.shared_embeddings
        w = self.params["embeddings.token"].T if shared else self.params["output.w"]
        if self.config.scale_output:
            h = h * self.config.d_model**-0.5
        return linear_forward(h, w, self.params.get("output.b"))

    def encode(
        self,
        source: IntArray,
        keep: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
    ) -> tuple[FloatArray, EncodeCache]:
        """Encode a batch of sources.

        Parameters
        ----------
        source : integer ndarray of shape (B, S)
        keep : boolean ndarray of shape (B, S), optional
            True = real token; default all.
        rng : numpy.random.Generator, optional
            None means no dropout.

        Returns
        -------
        memory : ndarray of shape (B, S, D)
        cache : EncodeCache

        Raises
        ------
        InputError
            If a source is empty or longer than max_len, or an id is outside the vocabulary.
        """
        _check_some("source", source, keep)
        seeds = layer_seeds(rng, self.config.num_encoder_layers + 1)
        x, embeddings = self._source_embeddings.forward(source, rng=generator_of(seeds[0]))
        shared, shared_cache = self.shared_positions("encoder", source.shape[1], source.shape[1])
        caches = []
        for i in range(self.config.num_encoder_layers):
            (x, _), cache = self._encoder_block(i).forward(
                x, keep, shared, rng=generator_of(seeds[i + 1])
            )
            caches.append(cache)
        memory, norm = self.final_norm("encoder", x)
        return memory, EncodeCache(embeddings, shared_cache, tuple(caches), norm)

    def encode_backward(self, dmemory: FloatArray, cache: EncodeCache) -> tuple[None, Params]:
        """Undo `encode`: from dmemory of shape (B, S, D) to the gradients of the encoder side."""
        g: Params = {}
        dx = dmemory
        if cache.norm is not None:
            dx, grads = self._norm("encoder").backward(dx, cache.norm)
            g |= prefixed("encoder.norm", grads)
        dshared: list[FloatArray | None] = []
        for i in reversed(range(self.config.num_encoder_layers)):
            (dx, dread), grads = self._encoder_block(i).backward(
                AttentionOutput(dx, None), cache.blocks[i]
            )
            g |= prefixed(f"encoder.layers.{i}", grads)
            dshared.append(dread)
        g |= prefixed("encoder", shared_backward(dshared, cache.shared))
        _, grads = self._source_embeddings.backward(dx, cache.embeddings)
        return None, g | prefixed(self._source, grads)

    def decode(
        self,
        target: IntArray,
        memory: FloatArray,
        keep: BoolArray | None = None,
        memory_keep: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
    ) -> tuple[Seq2SeqOutput, DecodeCache]:
        """Predict, at every position of the target, the token that follows.

        Parameters
        ----------
        target : integer ndarray of shape (B, T)
            What the decoder is given: in training the right tokens, moved right by one
            (`shift_right`).
        memory : ndarray of shape (B, S, D)
        keep : boolean ndarray of shape (B, T), optional
        memory_keep : boolean ndarray of shape (B, S), optional
        rng : numpy.random.Generator, optional
            None means no dropout.
        output_scores : bool
            Keep the scores of cross-attention, before the mask.

        Returns
        -------
        output : Seq2SeqOutput
        cache : DecodeCache

        Raises
        ------
        InputError
            If the target is longer than max_len, an id is outside the vocabulary or the
            memory has another width.
        """
        check_shape("memory", memory, (len(target), "S", self.config.d_model))
        seeds = layer_seeds(rng, self.config.num_decoder_layers + 1)
        x, embeddings = self.target_embeddings.forward(target, rng=generator_of(seeds[0]))
        shared, shared_cache = self.shared_positions("decoder", target.shape[1], target.shape[1])
        caches, scores = [], []
        for i in range(self.config.num_decoder_layers):
            (x, block_scores), cache = self.decoder_block(i).forward(
                x,
                memory,
                keep,
                memory_keep,
                shared,
                rng=generator_of(seeds[i + 1]),
                output_scores=output_scores,
            )
            scores.append(block_scores)
            caches.append(cache)
        h, norm = self.final_norm("decoder", x)
        logits, output = self.predict(h)  # (B, T, V)
        return (
            Seq2SeqOutput(logits, tuple(scores) if output_scores else None),
            DecodeCache(embeddings, shared_cache, tuple(caches), norm, output),
        )

    def decode_backward(
        self, doutput: Seq2SeqOutput, cache: DecodeCache
    ) -> tuple[FloatArray, Params]:
        """Undo `decode`: every layer read the memory, so dmemory (B, S, D) is a sum over them.

        Raises
        ------
        InputError
            If there is not one cotangent (or None) for each layer's cross_scores.
        """
        num_layers = self.config.num_decoder_layers
        dscores = doutput.cross_scores or (None,) * num_layers
        if len(dscores) != num_layers:
            raise InputError(f"cross_scores: got {len(dscores)} cotangents, expected {num_layers}")
        dlogits = doutput.logits
        if dlogits is None:
            shape = (*cache.output.x.shape[:-1], self.config.target_vocab_size)
            dlogits = np.zeros(shape, cache.output.x.dtype)
        dx, dw, db = linear_backward(dlogits, cache.output)
        g = given({"output.b": db})
        if self.config.scale_output:
            dx *= self.config.d_model**-0.5
        if cache.norm is not None:
            dx, grads = self._norm("decoder").backward(dx, cache.norm)
            g |= prefixed("decoder.norm", grads)
        dmemory: Any = 0
        dshared: list[FloatArray | None] = []
        for i in reversed(range(num_layers)):
            (dx, dread, dpositions), grads = self.decoder_block(i).backward(
                AttentionOutput(dx, dscores[i]), cache.blocks[i]
            )
            g |= prefixed(f"decoder.layers.{i}", grads)
            dmemory = dmemory + dread
            dshared.append(dpositions)
        g |= prefixed("decoder", shared_backward(dshared, cache.shared))
        _, grads = self.target_embeddings.backward(dx, cache.embeddings)
        g |= prefixed(self._target, grads)
        if self.config.shared_embeddings:
            g["embeddings.token"] += dw.T
        else:
            g["output.w"] = dw
        return dmemory, g

    def forward(
        self,
        source: IntArray,
        target: IntArray,
        source_keep: BoolArray | None = None,
        target_keep: BoolArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
    ) -> tuple[Seq2SeqOutput, Seq2SeqCache]:
        """Encode the source, then decode with teacher forcing.

        Parameters
        ----------
        source : integer ndarray of shape (B, S)
        target : integer ndarray of shape (B, T)
        source_keep : boolean ndarray of shape (B, S), optional
        target_keep : boolean ndarray of shape (B, T), optional
        rng, output_scores
            As in `decode`.

        Returns
        -------
        output : Seq2SeqOutput
        cache : Seq2SeqCache

        Raises
        ------
        InputError
            As in `encode` and `decode`.
        """
        memory, encode_cache = self.encode(source, source_keep, rng=rng)
        output, decode_cache = self.decode(
            target, memory, target_keep, source_keep, rng=rng, output_scores=output_scores
        )
        return output, Seq2SeqCache(encode_cache, decode_cache)

    def backward(self, doutput: Seq2SeqOutput, cache: Seq2SeqCache) -> tuple[None, Params]:
        """Undo `forward`: the decoder, then the encoder; ids have no gradient.

        Both sides give a gradient of the shared table, and so of learned positions.
        """
        dmemory, g = self.decode_backward(doutput, cache.decode)
        _, encoder_grads = self.encode_backward(dmemory, cache.encode)
        for name, grad in encoder_grads.items():
            g[name] = g[name] + grad if name in g else grad
        return None, g


def shift_right(target: IntArray, start: int) -> IntArray:
    """Return what the decoder is given to predict ``target`` (B, T): all but the last, moved.

    Parameters
    ----------
    target : integer ndarray of shape (B, T)
    start : int
        The token before the first one.
    """
    check_shape("target", target, ("B", "T"))
    shifted = np.empty_like(target)  # (B, T)
    shifted[:, :1] = start
    shifted[:, 1:] = target[:, :-1]
    return shifted


def _check_some(name: str, ids: IntArray, keep: BoolArray | None) -> None:
    """Refuse a batch with a sequence that has no token at all."""
    check_shape(name, ids, ("B", "S"))
    if keep is None:
        keep = np.ones(ids.shape, bool)
    check_shape("keep", keep, ids.shape)
    empty = ~keep.astype(bool).any(axis=1)
    if empty.any():
        raise InputError(
            f"{name}: got no token in sequence {int(empty.argmax())}, expected at least one"
        )

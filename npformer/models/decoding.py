"""Decoding step by step with a KV cache: what every way to generate is made of."""

from typing import Any, NamedTuple

from npformer.checks import check_shape
from npformer.models.causal_lm import CausalLM
from npformer.models.seq2seq import Seq2Seq
from npformer.types import BoolArray, FloatArray, IntArray

Generator = Seq2Seq | CausalLM


class Decoding(NamedTuple):
    """Where decoding stands: the KV caches of all layers."""

    layers: tuple[Any, ...]  # DecoderPast, of a decoder-only model KeyValues
    memory_keep: BoolArray | None  # (B, 1, 1, S)
    length: int  # tokens of the target so far

    def take(self, rows: IntArray) -> "Decoding":
        """Return the state of these rows, in this order; a row may come more than once."""
        keep = None if self.memory_keep is None else self.memory_keep[rows]
        layers = tuple(layer.take(rows) for layer in self.layers)
        return Decoding(layers, keep, self.length)


def start_decoding(
    model: Generator, source: IntArray, source_keep: BoolArray | None = None
) -> Decoding:
    """Return the state before the first token of a target.

    Of an encoder-decoder the sources (B, S) are encoded, once and for all; see `Seq2Seq.encode`.
    Of a decoder-only model there is nothing to encode: the state is for B texts.
    """
    if isinstance(model, CausalLM):
        dtype = model.params["embeddings.token"].dtype
        blocks = (model.block(i) for i in range(model.config.num_layers))
        return Decoding(tuple(block.start(len(source), dtype) for block in blocks), None, 0)
    memory, _ = model.encode(source, source_keep)
    decoder = (model.decoder_block(i) for i in range(model.config.num_decoder_layers))
    keep = None if source_keep is None else source_keep[:, None, None, :]  # (B, 1, 1, S)
    return Decoding(tuple(block.start(memory) for block in decoder), keep, 0)


def decode_step(model: Generator, ids: IntArray, state: Decoding) -> tuple[FloatArray, Decoding]:
    """Give the decoder further tokens for each target.

    What the model computes for its last position, with the work of these tokens alone: the keys
    and values of the tokens before come from the state.

    Parameters
    ----------
    model : Seq2Seq or CausalLM
    ids : integer ndarray of shape (B, T)
        A prompt at once, or (B, 1).
    state : Decoding

    Returns
    -------
    logits : ndarray of shape (B, V)
        Of the token after the last.
    state : Decoding
        With these tokens; the one given is left as it was.

    Raises
    ------
    InputError
        If the target would be longer than max_len or an id is outside the vocabulary.
    """
    check_shape("ids", ids, ("B", "T"))
    length = state.length + ids.shape[1]
    now: Any
    layers: list[Any] = []
    if isinstance(model, CausalLM):
        x = model.embeddings.further(ids, state.length)  # (B, T, D)
        shared, _ = model.shared_positions(ids.shape[1], length, state.length)
        for i, past in enumerate(state.layers):
            x, now = model.block(i).step(x, past, shared)
            layers.append(now)
        h, _ = model.final_norm(x)
        logits, _ = model.predict(h[:, -1])  # (B, V)
        return logits, Decoding(tuple(layers), None, length)
    x = model.target_embeddings.further(ids, state.length)  # (B, T, D)
    shared, _ = model.shared_positions("decoder", ids.shape[1], length, state.length)
    for i, past in enumerate(state.layers):
        x, now = model.decoder_block(i).step(x, past, state.memory_keep, shared)
        layers.append(now)
    h, _ = model.final_norm("decoder", x)
    logits, _ = model.predict(h[:, -1])  # (B, V)
    return logits, Decoding(tuple(layers), state.memory_keep, length)

"""Decoding step by step with a KV cache: what every way to generate is made of."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from npformer.checks import InputError, check_ids, check_shape
from npformer.layers.config import check_sizes
from npformer.models.config import CausalLMConfig, Seq2SeqConfig
from npformer.types import BoolArray, FloatArray, IntArray


class Decoding(NamedTuple):
    """Where decoding stands: the KV caches of all layers."""

    layers: tuple[Any, ...]  # DecoderPast, of a decoder-only model KeyValues
    memory_keep: BoolArray | None = None  # (B, S) of the sources

    @property
    def length(self) -> int:
        """The number of target tokens so far."""
        return int(self.layers[0].length)

    def take(self, rows: IntArray) -> "Decoding":
        """Return the state of these rows, in this order; a row may come more than once."""
        keep = None if self.memory_keep is None else self.memory_keep[rows]
        return Decoding(tuple(layer.take(rows) for layer in self.layers), keep)


class GenerativeModel(Protocol):
    """A model that generates, one step after the other: `CausalLM`, `Seq2Seq`."""

    @property
    def config(self) -> CausalLMConfig | Seq2SeqConfig:
        """Its sizes."""
        ...

    def start(self, source: IntArray, keep: BoolArray | None = None) -> Decoding:
        """Return the state before the first token of B targets; source is (B, S)."""
        ...

    def step(self, ids: IntArray, state: Decoding) -> tuple[FloatArray, Decoding]:
        """Return the logits (B, V) of the token after ids (B, T), and the state with these."""
        ...


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


def begin(
    model: GenerativeModel,
    source: IntArray,
    source_keep: BoolArray | None,
    start: int | None,
    end: int | None,
    max_new: int,
) -> Iterator[tuple[IntArray, FloatArray, Decoding]]:
    """Yield groups of the batch: which rows they are, the logits of their first token, the state.

    The prompts of a group have one length, so that none is padded: every row of a group is at
    the same position, and gives what it would give alone.

    Raises
    ------
    InputError
        If the target could become longer than max_len, a token is outside the vocabulary, or a
        source or prompt is empty.
    """
    check_sizes(max_new=max_new)
    check_shape("source", source, ("B", "S"))
    check_ids("end", np.array([] if end is None else [end], int), model.config.target_size)
    if (start is not None) != model.config.has_source:
        expected = "the token before the first" if start is None else "None: a prompt starts itself"
        raise InputError(f"start: got {start}, expected {expected}")
    if start is not None:
        check_ids("start", np.array([start]), model.config.target_size)
        _check_length(model, max_new, 0)
        first = np.full((len(source), 1), start)  # (B, 1)
        yield np.arange(len(source)), *model.step(first, model.start(source, source_keep))
        return
    if source_keep is None:
        source_keep = np.ones(source.shape, bool)
    check_shape("source_keep", source_keep, source.shape)
    lengths = source_keep.sum(axis=1)  # (B,)
    if not lengths.all():
        raise InputError(
            f"source: got no token in prompt {int(lengths.argmin())}, expected at least one"
        )
    _check_length(model, max_new, int(lengths.max(initial=0)))
    for length in np.unique(lengths):
        indices = np.flatnonzero(lengths == length)
        prompts = np.stack([source[i][source_keep[i]] for i in indices])  # (n, length)
        yield indices, *model.step(prompts, model.start(prompts))


def _check_length(model: GenerativeModel, max_new: int, prompt: int) -> None:
    most = model.config.max_len
    if max_new > most - prompt:
        after = f" less the {prompt} tokens of a prompt" if prompt else ""
        raise InputError(f"max_new: got {max_new}, expected at most max_len = {most}{after}")

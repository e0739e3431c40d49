"""TinyBERT's data augmentation: copies of a sentence in which some words are exchanged.

Distillation wants many inputs for the teacher to answer, and these are cheap ones. What may stand in
for a word of one piece, a masked language model says; for a word of several pieces, its neighbours in
the embedding table do. The copies keep the label of their source, whatever the new words mean: the
teacher is asked again.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npformer.checks import InputError, check_fraction, check_shape
from npformer.data.batches import Batch, Encoded, collate
from npformer.data.glue import Examples
from npformer.data.stop_words import STOP_WORDS
from npformer.data.tokenizer import SpecialIds, special_ids
from npformer.types import FloatArray, IntArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# (batch, P flat positions into B * T) -> logits of shape (P, V)
PredictMasked = Callable[[Batch, IntArray], FloatArray]
Words = tuple[str, ...]


class Change(NamedTuple):
    """One exchanged word."""

    sentence: int  # 0 in the first sentence, 1 in the second
    index: int  # of the word, from 0
    old: str
    new: str
    how: str  # "model", or "neighbour" in the embedding table


class Augmented(NamedTuple):
    """A copy of an example and the record of how it came about."""

    first: str
    second: str | None
    label: float | int | None  # that of the source
    source: int  # the index of the example
    changes: list[Change]


class Copy(NamedTuple):
    """A sentence with some words exchanged."""

    words: Words
    changes: list[Change]


def augment(
    examples: Examples,
    tokenizer: "Tokenizer",
    predict_masked: PredictMasked,
    embedding_table: FloatArray,
    *,
    seed: Sequence[int],
    max_len: int,
    p_t: float = 0.4,
    n_a: int = 20,
    k: int = 15,
    batch_size: int = 64,
    candidates_once: bool = True,
    show_original: bool = False,
    skip_non_latin: bool = False,
    reuse_last_first: bool = False,
) -> list[Augmented]:
    """Make up to ``n_a`` copies of each example; the examples themselves are not among them.

    In each attempt, each word is exchanged with probability ``p_t`` for one of its K candidates. A
    word is what the tokenizer splits at white space and punctuation, hence every Chinese character;
    punctuation stays. Candidates are whole words, never ``##`` pieces or special tokens. The masked
    word is hidden from the model. A copy equal to its source or to an earlier copy is dropped, and
    its attempt is lost. Copies are written in the tokenizer's normal form, words joined by spaces.

    Parameters
    ----------
    examples : Examples
        Of a pair, both sentences are edited in each attempt.
    tokenizer : tokenizers.Tokenizer
    predict_masked : callable
        ``predict_masked(batch, positions) -> logits``, with positions flat into B * T and logits an
        ndarray of shape (P, V).
    embedding_table : ndarray of shape (V, D)
        The teacher's.
    seed : sequence of int
    max_len : int
        A word behind the first ``max_len - 1`` tokens is not exchanged.
    p_t : float
    n_a : int
    k : int
    batch_size : int
        The number of masked sentences in a batch of ``predict_masked``.
    candidates_once : bool
        Ask for the candidates of a word once, in the original sentence, and use them in all copies,
        as the released code does. False is the paper's algorithm: ask again for every copy, in the
        sentence as edited so far, at ``p_t * n_a`` times the price.
    show_original : bool
        Released code: the model sees the sentence unmasked as its second segment.
    skip_non_latin : bool
        Released code: exchange only words of the letters a to z that are no stop-words.
    reuse_last_first : bool
        Released code, pairs: first copies of sentence A beside the original B, then copies of B, all
        beside the last copy of A.

    Returns
    -------
    list of Augmented
        In the order of the examples.

    References
    ----------
    Jiao et al. 2020, algorithm 1. Deviations: ``candidates_once``; the neighbours are taken from the
    teacher's embedding table instead of GloVe; punctuation is left alone.
    """
    check_fraction("p_t", p_t, below_one=False)
    for name, value in (("n_a", n_a), ("k", k), ("batch_size", batch_size)):
        if value < 1:
            raise InputError(f"{name}: got {value}, expected at least 1")
    ask = _Candidates(
        tokenizer, predict_masked, embedding_table, k, max_len, batch_size, show_original
    )

    def copies_of(texts: list[str], side: int) -> list[list[Copy]]:
        sentences = [ask.words(text) for text in texts]
        rng = np.random.default_rng([*seed, side])
        open_to_change = _is_latin_content_word if skip_non_latin else _is_word
        plans = [_plan(words, rng, n_a, p_t, open_to_change) for words in sentences]
        edit = _edit_once if candidates_once else _edit_in_turn
        return edit(sentences, plans, ask, side)

    a = copies_of(examples.first, 0)
    b = None if examples.second is None else copies_of(examples.second, 1)
    found: list[Augmented] = []
    for source, first in enumerate(examples.first):
        label = None if examples.labels is None else examples.labels[source].item()
        original = Copy(ask.words(first), [])
        if examples.second is None or b is None:
            pairs = [(x, None) for x in a[source]]
            seen = {(original.words, None)}
        else:
            second = Copy(ask.words(examples.second[source]), [])
            pairs = _pair(a[source], b[source], second, reuse_last_first)
            seen = {(original.words, second.words)}
        for x, y in pairs:
            key = (x.words, None if y is None else y.words)
            if key not in seen:
                seen.add(key)
                texts = " ".join(x.words), None if y is None else " ".join(y.words)
                changes = x.changes + ([] if y is None else y.changes)
                found.append(Augmented(*texts, label, source, changes))
    return found

"""TinyBERT's data augmentation: copies of a sentence in which some words are exchanged.

Distillation wants many inputs for the teacher to answer, and these are cheap ones. A masked
language model says what may stand in for a word of one piece; a word of several pieces gives way to
its neighbours in the teacher's embedding table. A copy keeps the label of its source, whatever the
new words mean: its use is to be answered by the teacher.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npformer.checks import InputError, check_fraction
from npformer.data.candidates import Answer, Candidates, PredictMasked, Request, Words
from npformer.data.glue import Examples
from npformer.data.stop_words import STOP_WORDS
from npformer.types import FloatArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Change(NamedTuple):
    """One exchanged word."""

    sentence: int  # 0 in the first sentence, 1 in the second
    word_index: int  # from 0, punctuation counted
    old: str
    new: str
    how: str  # "model", or "neighbour" in the embedding table


class Augmented(NamedTuple):
    """A copy of an example, and the record of how it came about."""

    first: str
    second: str | None
    label: float | int | None  # that of the source
    source: int  # the index of the example
    changes: list[Change]


class Copy(NamedTuple):
    """A sentence with some words exchanged."""

    words: Words
    changes: list[Change]


# For each attempt the words to exchange, and a number in [0, 1) that picks the candidate.
Plan = list[list[tuple[int, float]]]


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
    punctuation stays. Candidates are whole words, never ``##`` pieces or special tokens. The model
    does not see the word it is asked about. A copy equal to its source or to an earlier copy is
    dropped, and its attempt is lost. Texts come in the tokenizer's normal form, words joined by
    spaces.

    Parameters
    ----------
    examples : Examples
        Of a pair, each attempt edits both sentences.
    tokenizer : tokenizers.Tokenizer
    predict_masked : callable
        ``predict_masked(batch, positions) -> logits``, with positions flat into B * T and logits an
        ndarray of shape (P, V).
    embedding_table : ndarray of shape (V, D)
        The teacher's; V is at least the tokenizer's.
    seed : sequence of int
    max_len : int
        Words of one piece beyond the first ``max_len`` tokens are not exchanged.
    p_t : float
    n_a : int
    k : int
    batch_size : int
        The number of sentences that ``predict_masked`` gets at once.
    candidates_once : bool
        Ask for the candidates of a word once, in the original sentence, as the released code does.
        False is the paper's algorithm: ask again for every copy, in the sentence as edited so far,
        which costs about ``p_t * n_a`` times as much.
    show_original : bool
        Released code: the model gets the sentence, unmasked, as its second segment.
    skip_non_latin : bool
        Released code: exchange only words of the letters a to z that are no stop-words.
    reuse_last_first : bool
        Released code, pairs: ``n_a`` copies of sentence A beside the original B, then ``n_a``
        copies of B, all beside the last copy of A.

    Returns
    -------
    list of Augmented
        In the order of the examples.

    References
    ----------
    Jiao et al. 2020, algorithm 1. Deviations: ``candidates_once``; neighbours are taken from the
    teacher's embedding table, not from GloVe; punctuation is left alone.
    """
    check_fraction("p_t", p_t, below_one=False)
    for name, value in (("n_a", n_a), ("k", k), ("batch_size", batch_size)):
        if value < 1:
            raise InputError(f"{name}: got {value}, expected at least 1")
    candidates = Candidates(
        tokenizer,
        predict_masked,
        embedding_table,
        k=k,
        max_len=max_len,
        batch_size=batch_size,
        show_original=show_original,
    )
    may_change = _is_latin_content_word if skip_non_latin else _is_word

    def copies_of(texts: list[str], sentence: int) -> list[list[Copy]]:
        """Return the original and its copies, for each text."""
        originals = [candidates.split(text) for text in texts]
        rng = np.random.default_rng([*seed, sentence])
        plans = [_plan(words, rng, n_a, p_t, may_change) for words in originals]
        return _edit(originals, plans, candidates, sentence, candidates_once)

    first = copies_of(examples.first, 0)
    if examples.second is None:
        pairs: list[Iterable[tuple[Copy, Copy | None]]] = [((x, None) for x in xs) for xs in first]
    else:
        pair_up = _pair_as_released if reuse_last_first else _pair_up
        second = copies_of(examples.second, 1)
        pairs = [pair_up(xs, ys) for xs, ys in zip(first, second, strict=True)]
    labels = [None] * len(examples) if examples.labels is None else examples.labels.tolist()
    return [copy for i, label in enumerate(labels) for copy in _distinct(pairs[i], label, i)]


def _plan(
    words: Words,
    rng: np.random.Generator,
    n_a: int,
    p_t: float,
    may_change: Callable[[str], bool],
) -> Plan:
    chosen = rng.random((n_a, len(words))) < p_t
    chosen &= np.array([may_change(word) for word in words], dtype=bool)
    picks = rng.random((n_a, len(words)))
    return [[(int(j), float(picks[n, j])) for j in np.flatnonzero(chosen[n])] for n in range(n_a)]


def _edit(
    originals: list[Words], plans: list[Plan], candidates: Candidates, sentence: int, once: bool
) -> list[list[Copy]]:
    """Carry the plans out, from left to right, all copies of all sentences side by side."""
    copies = [
        [Copy(words, [])] * (1 + len(plan)) for words, plan in zip(originals, plans, strict=True)
    ]
    todo = [(s, n, swaps) for s, plan in enumerate(plans) for n, swaps in enumerate(plan, start=1)]
    answers: dict[Request, Answer] = {}
    for turn in range(max((len(swaps) for _, _, swaps in todo), default=0)):
        todo = [job for job in todo if turn < len(job[2])]
        requests = [
            Request(originals[s] if once else copies[s][n].words, swaps[turn][0])
            for s, n, swaps in todo
        ]
        unknown = [request for request in dict.fromkeys(requests) if request not in answers]
        answers.update(zip(unknown, candidates.ask(unknown), strict=True))
        for (s, n, swaps), request in zip(todo, requests, strict=True):
            copies[s][n] = _exchange(copies[s][n], *swaps[turn], answers[request], sentence)
    return copies


def _exchange(copy: Copy, index: int, pick: float, answer: Answer, sentence: int) -> Copy:
    old = copy.words[index]
    new = answer.words[int(pick * len(answer.words))] if answer.words else old
    if new == old:
        return copy
    words = (*copy.words[:index], new, *copy.words[index + 1 :])
    return Copy(words, [*copy.changes, Change(sentence, index, old, new, answer.how)])


def _pair_up(xs: list[Copy], ys: list[Copy]) -> Iterator[tuple[Copy, Copy | None]]:
    return zip(xs, ys, strict=True)


def _pair_as_released(xs: list[Copy], ys: list[Copy]) -> Iterator[tuple[Copy, Copy | None]]:
    yield from ((x, ys[0]) for x in xs)
    yield from ((xs[-1], y) for y in ys[1:])


def _distinct(
    pairs: Iterable[tuple[Copy, Copy | None]], label: float | int | None, source: int
) -> list[Augmented]:
    """Leave out the original, which comes first, and what is there already."""
    by_text: dict[tuple[Words, Words | None], Augmented] = {}
    for x, y in pairs:
        first, second = " ".join(x.words), None if y is None else " ".join(y.words)
        changes = x.changes + ([] if y is None else y.changes)
        copy = Augmented(first, second, label, source, changes)
        by_text.setdefault((x.words, None if y is None else y.words), copy)
    return list(by_text.values())[1:]


def _is_word(word: str) -> bool:
    return word.isalnum()


def _is_latin_content_word(word: str) -> bool:
    return re.fullmatch("[a-z]+", word) is not None and word not in STOP_WORDS

"""What may stand in for a word: a masked language model's guesses, or neighbours in a table."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npformer.checks import InputError, check_shape
from npformer.data.batches import Batch, Encoded, collate
from npformer.data.tokenizer import is_byte_level, pieces_of, special_ids
from npformer.types import FloatArray, IntArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# (batch, P flat positions into B * T) -> logits of shape (P, V)
PredictMasked = Callable[[Batch, IntArray], FloatArray]
Words = tuple[str, ...]


class Request(NamedTuple):
    """A word of a sentence."""

    words: Words
    word_index: int


class Answer(NamedTuple):
    """What may stand in for it, the best first; nothing if it is too far behind."""

    words: Words
    how: str  # "model" or "neighbour"


class Candidates:
    """The K best candidates for a word, whole words only.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    predict_masked : callable
    embedding_table : ndarray of shape (V, D)
    k, max_len, batch_size, show_original
        As in `npformer.data.augment.augment`.
    """

    def __init__(
        self,
        tokenizer: "Tokenizer",
        predict_masked: PredictMasked,
        embedding_table: FloatArray,
        *,
        k: int,
        max_len: int,
        batch_size: int,
        show_original: bool,
    ) -> None:
        if is_byte_level(tokenizer):
            raise InputError(
                "tokenizer: got byte-level BPE, expected WordPiece, whose words a masked LM can "
                "be asked about"
            )
        vocab = pieces_of(tokenizer)
        size = len(vocab)
        check_shape("embedding_table", embedding_table, ("V", "D"))
        if len(embedding_table) < size:
            raise InputError(
                f"embedding_table: got {len(embedding_table)} rows, expected at least {size}, "
                "one for each piece of the tokenizer"
            )
        self.tokenizer, self.predict_masked = tokenizer, predict_masked
        self.special = special_ids(tokenizer)
        self.max_len, self.batch_size, self.show_original = max_len, batch_size, show_original
        # Words as they come out of `split`: no "##" piece, no [CLS] or [unused1], no punctuation.
        whole = [i for i, piece in enumerate(vocab) if piece.isalnum()]
        if not whole:
            raise InputError("tokenizer: got no whole word in the vocabulary, expected some")
        self.whole_ids = np.array(whole)
        self.whole_words = [vocab[i] for i in whole]
        self.k = min(k, len(whole))
        norms = np.linalg.norm(embedding_table, axis=1, keepdims=True)
        self.unit = embedding_table / np.maximum(norms, np.finfo(norms.dtype).tiny)
        self.pieces: dict[str, list[int]] = {}

    def split(self, text: str) -> Words:
        """Return the words of a text in the tokenizer's normal form, punctuation among them."""
        normal = self.tokenizer.normalizer.normalize_str(text)
        return tuple(word for word, _ in self.tokenizer.pre_tokenizer.pre_tokenize_str(normal))

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests, in their order."""
        answers = [Answer((), "model")] * len(requests)
        masked: list[tuple[int, list[int], int]] = []  # request, ids, position of the mask
        for r, (words, index) in enumerate(requests):
            if len(self._pieces(words[index])) > 1:
                answers[r] = self._neighbours(words[index])
            else:
                ids, position = self._mask(words, index)
                if position < self.max_len - 1:
                    masked.append((r, ids, position))
        masked.sort(key=lambda row: len(row[1]))
        for start in range(0, len(masked), self.batch_size):
            rows = masked[start : start + self.batch_size]
            logits = self._predict([ids for _, ids, _ in rows], [p for _, _, p in rows])
            for (r, _, _), best in zip(rows, self._top(logits[:, self.whole_ids]), strict=True):
                answers[r] = Answer(tuple(self.whole_words[i] for i in best), "model")
        return answers

    def _predict(self, rows: list[list[int]], positions: list[int]) -> FloatArray:
        ids: list[IntArray] = [np.array(row[: self.max_len], dtype=np.int64) for row in rows]
        segments = [_segments(row, self.special.sep) for row in ids]
        batch = collate(Encoded(ids, segments), range(len(rows)), self.special.pad)
        width = batch.ids.shape[1]
        return self.predict_masked(batch, np.arange(len(rows)) * width + np.array(positions))

    def _mask(self, words: Words, index: int) -> tuple[list[int], int]:
        cls, sep = self.special.cls, self.special.sep
        before = [i for word in words[:index] for i in self._pieces(word)]
        after = [i for word in words[index + 1 :] for i in self._pieces(word)]
        ids = [cls, *before, self.special.mask, *after]
        # The last place is kept for [SEP].
        ids = [*ids[: self.max_len - 1], sep]
        if self.show_original:
            ids += [*(i for word in words for i in self._pieces(word)), sep]
        return ids, 1 + len(before)

    def _neighbours(self, word: str) -> Answer:
        mean = self.unit[self._pieces(word)].mean(axis=0)
        best = self._top((self.unit[self.whole_ids] @ mean)[None])[0]
        return Answer(tuple(self.whole_words[i] for i in best), "neighbour")

    def _top(self, scores: FloatArray) -> IntArray:
        """Return the columns of the K largest scores of each row, the largest first."""
        columns = np.argpartition(-scores, self.k - 1, axis=1)[:, : self.k]
        order = np.argsort(-np.take_along_axis(scores, columns, axis=1), axis=1, kind="stable")
        best: IntArray = np.take_along_axis(columns, order, axis=1)
        return best

    def _pieces(self, word: str) -> list[int]:
        if word not in self.pieces:
            self.pieces[word] = self.tokenizer.encode(word, add_special_tokens=False).ids
        return self.pieces[word]


def _segments(ids: IntArray, sep: int) -> IntArray:
    """Return 1 behind the first [SEP] and 0 before."""
    behind: IntArray = (np.cumsum(ids == sep) - (ids == sep) > 0).astype(np.int64)
    return behind

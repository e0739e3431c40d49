"""Copies of sentences in which words gave way to their neighbours in an embedding table.

The quick way to more inputs for a teacher: no model is asked what fits, and all copies of a task
are made at once, on ids. Neighbours of a word are used like it, and may mean the opposite ("good",
"bad"): a copy is to be answered by the teacher, not to be given the label of its source.
"""

from string import punctuation
from typing import TYPE_CHECKING

import numpy as np

from npformer.checks import InputError, check_fraction, check_shape
from npformer.data.batches import Encoded
from npformer.data.tokenizer import is_byte_level, pieces_of
from npformer.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Words whose neighbours are looked for at once: (BLOCK, V) similarities.
BLOCK = 1024


def neighbour_copies(
    encoded: Encoded,
    tokenizer: "Tokenizer",
    table: FloatArray,
    rng: np.random.Generator,
    *,
    copies: int,
    p_t: float = 0.4,
    k: int = 12,
) -> tuple[Encoded, IntArray]:
    """Copy each example ``copies`` times, each word exchanged with probability ``p_t``.

    A word of one piece is exchanged for one of the k pieces that are whole words and whose rows in
    the table make the smallest angle with its own. Words of several pieces, punctuation and special
    tokens stay, so a copy is as long as its source. A copy in which nothing changed is left out;
    two copies may be equal. In a byte-level vocabulary a whole word is a piece that begins with a
    space, so the first word of a text stays, unless the tokenizer puts one before it.

    Parameters
    ----------
    encoded : Encoded
    tokenizer : tokenizers.Tokenizer
    table : ndarray of shape (V, D)
    rng : numpy.random.Generator
    copies : int
    p_t : float
    k : int

    Returns
    -------
    copies : Encoded
        Without labels.
    sources : ndarray
        The number of the example that each is a copy of.

    References
    ----------
    Jiao et al. 2020, algorithm 1. Deviations: neighbours for words of one piece too, where they ask
    a masked language model; in the teacher's table, not in GloVe's; words of several pieces stay.
    """
    for name, value in (("copies", copies), ("k", k)):
        if value < 1:
            raise InputError(f"{name}: got {value}, expected at least 1")
    check_fraction("p_t", p_t, below_one=False)
    vocab = pieces_of(tokenizer)
    check_shape("table", table, ("V", "D"))
    if len(table) < len(vocab):
        raise InputError(f"table: got {len(table)} rows, expected one for each of {len(vocab)}")
    if is_byte_level(tokenizer):
        from tokenizers.decoders import ByteLevel

        decoder = ByteLevel()
        texts = [decoder.decode([piece]) for piece in vocab]  # half a character gives no letter
        whole = np.array([text[:1] == " " and text[1:].isalnum() for text in texts])
        goes_on = np.array([text[:1] not in " " + punctuation for text in texts])
    else:
        whole = np.array([piece.isalnum() for piece in vocab])
        goes_on = np.array([piece.startswith("##") for piece in vocab])
    lengths = encoded.lengths
    flat = np.concatenate(encoded.ids)  # (N,) all tokens of all examples
    starts = np.cumsum(lengths) - lengths
    can = whole[flat] & ~np.append(goes_on[flat[1:]], False)  # (N,)
    words, row = np.unique(flat[can], return_inverse=True)
    others = nearest(table, words, whole, k)  # (W, k)
    ids: list[IntArray] = []
    sources = []
    for _ in range(copies):
        pick = rng.integers(others.shape[1], size=len(row))
        chosen = rng.random(len(row)) < p_t
        copy = flat.copy()
        copy[can] = np.where(chosen, others[row, pick], flat[can])
        changed = np.flatnonzero(np.add.reduceat(copy != flat, starts))
        rows = np.split(copy, starts[1:])
        ids += [rows[i] for i in changed]
        sources.append(changed)
    source: IntArray = np.concatenate(sources)
    return Encoded(ids, [encoded.segments[i] for i in source]), source


def nearest(table: FloatArray, words: IntArray, candidates: BoolArray, k: int) -> IntArray:
    """Return the k candidates of the largest cosine with each word, itself not among them.

    Parameters
    ----------
    table : ndarray of shape (V, D)
    words : integer ndarray of shape (W,)
    candidates : boolean ndarray
        Which of the first rows of the table may be chosen.
    k : int

    Returns
    -------
    nearest : integer ndarray of shape (W, k)
        In no particular order; fewer than k columns if there are fewer candidates.
    """
    ids = np.flatnonzero(candidates)
    k = min(k, len(ids) - 1)
    if k < 1:
        raise InputError("tokenizer: got no two whole words in the vocabulary, expected some")
    norms = np.linalg.norm(table, axis=1, keepdims=True)
    unit = table / np.maximum(norms, np.finfo(norms.dtype).tiny)
    found = np.empty((len(words), k), dtype=np.int64)
    for start in range(0, len(words), BLOCK):
        block = words[start : start + BLOCK]
        cosines = unit[block] @ unit[ids].T  # (BLOCK, C)
        cosines[block[:, None] == ids] = -np.inf
        found[start : start + BLOCK] = ids[np.argpartition(-cosines, k - 1, axis=1)[:, :k]]
    return found

"""WordPiece of one word: the longest piece first, by hand."""

from collections.abc import Container

INNER = "##"  # begins every piece that is not the first of its word


def split_word(
    word: str, vocab: Container[str], *, unk_token: str = "[UNK]", max_chars: int = 100
) -> list[str]:
    """Cut a word into pieces of a vocabulary: at each place the longest one that fits.

    Greedy: no piece is ever taken back. A word whose rest fits no piece is unknown as a whole.

    Parameters
    ----------
    word : str
        Without white space, in the normal form of the vocabulary.
    vocab : container of str
        The first piece of a word stands in it as it is, all others behind ``##``.
    unk_token : str
    max_chars : int
        A longer word is unknown.

    Returns
    -------
    list of str
        Pieces of ``vocab`` that give the word when joined without their ``##``; or ``unk_token``
        alone.

    References
    ----------
    Wu et al. 2016, "Google's neural machine translation system", section 4.1, for the pieces; the
    greedy search is that of BERT's released ``tokenization.py``. Deviations: none.
    """
    if len(word) > max_chars:
        return [unk_token]
    pieces: list[str] = []
    start = 0
    while start < len(word):
        before = INNER if start else ""
        for end in range(len(word), start, -1):
            piece = before + word[start:end]
            if piece in vocab:
                break
        else:
            return [unk_token]
        pieces.append(piece)
        start = end
    return pieces

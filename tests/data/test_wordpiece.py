"""WordPiece of one word, against the tokenizers library and by its own laws."""

import numpy as np
import pytest

from npformer.data.wordpiece import split_word

VOCAB = {"[UNK]", "un", "una", "##aff", "##able", "##a", "##ff", "影", "##片"}


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("unaffable", ["una", "##ff", "##able"]),  # greedy: not un ##aff ##able
        ("un", ["un"]),
        ("able", ["[UNK]"]),  # only inside a word
        ("unable", ["[UNK]"]),  # una + ##ble: greedy does not go back to un + ##able
        ("unaffx", ["[UNK]"]),  # as a whole
        ("影片", ["影", "##片"]),
        ("", []),
        ("un" + "a" * 98, ["una"] + ["##a"] * 97),
        ("un" + "a" * 99, ["[UNK]"]),  # 101 characters
    ],
)
def test_by_hand(word, pieces):
    assert split_word(word, VOCAB) == pieces


def test_options():
    assert split_word("xyz", VOCAB, unk_token="<unk>") == ["<unk>"]
    assert split_word("una", VOCAB, max_chars=2) == ["[UNK]"]


def random_words(seed, letters):
    """Return 200 words, and a vocabulary of pieces that splits some of them."""
    rng = np.random.default_rng(seed)

    def strings(count, longest):
        return [
            "".join(rng.choice(letters, size=rng.integers(1, longest + 1))) for _ in range(count)
        ]

    pieces = [*strings(8, 4), *(f"##{p}" for p in strings(12, 3))]
    return strings(200, 9), sorted({"[UNK]", *pieces})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("letters", [list("ab"), list("abc"), list("éß电#")])
def test_as_the_tokenizers_library(seed, letters):
    tokenizers = pytest.importorskip("tokenizers")
    words, vocab = random_words(seed, letters)
    ids = {piece: i for i, piece in enumerate(vocab)}
    model = tokenizers.models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=7)
    theirs = [[token.value for token in model.tokenize(word)] for word in words]
    ours = [split_word(word, ids, max_chars=7) for word in words]
    assert ours == theirs
    if letters != list("éß电#"):
        assert 20 < sum(pieces == ["[UNK]"] for pieces in ours) < 180  # both happen


@pytest.mark.parametrize("seed", range(5))
def test_pieces_join_to_the_word(seed):
    words, vocab = random_words(seed, list("ab"))
    for word in words:
        pieces = split_word(word, vocab)
        if pieces != ["[UNK]"]:
            assert set(pieces) <= set(vocab)
            assert "".join([pieces[0], *(p.removeprefix("##") for p in pieces[1:])]) == word

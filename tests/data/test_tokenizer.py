"""WordPiece: determinism, special tokens, truncation, files."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from npformer.checks import InputError
from npformer.data.tokenizer import (
    SPECIAL_TOKENS,
    encode_examples,
    load_tokenizer,
    save_tokenizer,
    special_ids,
    train_wordpiece,
)

TEXTS = [
    "The cats chased the mice, and the mice chased the cats!",
    "Nobody chases cats; cats chase everybody.",
    "Unfriendly friends befriended the unfriendliest of friends.",
    "我喜歡這部電影 and popcorn",
]
TRAIN = f"""
from npformer.data.tokenizer import train_wordpiece
print(sorted(train_wordpiece({TEXTS!r}, 90).get_vocab().items()))
"""


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece(TEXTS, 150)


def test_training_is_the_same_in_every_process():
    runs = {
        subprocess.run(
            [sys.executable, "-c", TRAIN], capture_output=True, check=True, encoding="utf-8"
        ).stdout
        for _ in range(3)
    }
    assert len(runs) == 1


def test_special_tokens_come_first_and_words_are_pieces(tokenizer):
    assert special_ids(tokenizer) == (0, 1, 2, 3, 4)
    assert tokenizer.encode("CATS 電影", add_special_tokens=False).tokens == ["cats", "電", "影"]
    assert tokenizer.encode("[MASK]", add_special_tokens=False).ids == [4]
    assert tokenizer.decode(tokenizer.encode("the cats").ids) == "the cats"


def test_case_is_kept_on_request():
    tokenizer = train_wordpiece(TEXTS, 200, lowercase=False)
    assert tokenizer.encode("The", add_special_tokens=False).tokens == ["The"]


def test_single_sentences_and_truncation(tokenizer):
    labels = np.array([1, 0])
    encoded, cut = encode_examples(tokenizer, ["cats", TEXTS[0]], labels=labels, max_len=6)
    assert cut == 1
    cats = tokenizer.token_to_id("cats")
    assert encoded.ids[0].tolist() == [2, cats, 3]
    assert len(encoded.ids[1]) == 6
    assert (encoded.ids[1][0], encoded.ids[1][-1]) == (2, 3)
    assert not encoded.segments[1].any()
    assert encoded.lengths.tolist() == [3, 6]
    assert encoded.labels is labels


@pytest.mark.parametrize(
    ("first", "second", "max_len", "expected"),
    [
        (2, 3, 20, (2, 3)),
        (5, 2, 8, (3, 2)),
        (1, 6, 8, (1, 4)),
        (6, 6, 8, (3, 2)),
        (3, 2, 8, (3, 2)),
    ],
)
def test_pairs_lose_pieces_of_the_longer_sentence(tokenizer, first, second, max_len, expected):
    encoded, cut = encode_examples(tokenizer, ["the " * first], ["cats " * second], max_len=max_len)
    ids, segments = encoded.ids[0], encoded.segments[0]
    n_first, n_second = expected
    assert cut == (expected != (first, second))
    assert np.flatnonzero(ids == 3).tolist() == [n_first + 1, n_first + n_second + 2]
    assert segments.tolist() == [0] * (n_first + 2) + [1] * (n_second + 1)


def test_files_come_back(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path / "new" / "folder")
    for path in (tmp_path / "new" / "folder", tmp_path / "new" / "folder" / "tokenizer.json"):
        assert load_tokenizer(path).get_vocab() == tokenizer.get_vocab()
    vocab = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    (tmp_path / "vocab.txt").write_text("\n".join(vocab) + "\n", encoding="utf-8")
    again = load_tokenizer(tmp_path)
    for text in TEXTS:
        assert again.encode(text).ids == tokenizer.encode(text).ids


def test_stored_truncation_and_padding_are_switched_off(tmp_path):
    tokenizer = train_wordpiece(TEXTS, 150)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=20)
    save_tokenizer(tokenizer, tmp_path)
    encoded, cut = encode_examples(load_tokenizer(tmp_path), ["the cats the cats"], max_len=30)
    assert (len(encoded.ids[0]), cut) == (6, 0)


def test_a_cased_vocab_file_keeps_case(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL_TOKENS, "Cats", "cats"]), encoding="utf-8")
    assert load_tokenizer(path).encode("Cats", add_special_tokens=False).tokens == ["Cats"]


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_tokenizer(tmp_path / "vocab.txt")
    with pytest.raises(InputError, match="got a folder without"):
        load_tokenizer(tmp_path)
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ncats\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"\[MASK\] is missing"):
        load_tokenizer(path)
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match="UTF-8"):
        load_tokenizer(path)
    path = tmp_path / "tokenizer.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"not a tokenizer\.json"):
        load_tokenizer(path)


def test_nothing_to_learn_from_and_no_room(tokenizer):
    with pytest.raises(InputError, match="texts: got no words"):
        train_wordpiece([" ", ""], 50)
    with pytest.raises(InputError, match="max_len: got 3"):
        encode_examples(tokenizer, ["a"], ["b"], max_len=3)


def test_a_vocabulary_with_separators_inside(tmp_path):
    """One piece a line, and a line ends at a line feed alone."""
    pieces = [*SPECIAL_TOKENS, "a\u2028b", "c"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", "utf-8")
    tokenizer = load_tokenizer(tmp_path, vocab_size=7)
    assert tokenizer.token_to_id("c") == 6
    with pytest.raises(InputError, match=r"got a piece of id 6, expected ids below .* = 6"):
        load_tokenizer(tmp_path, vocab_size=6)

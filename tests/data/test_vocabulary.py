"""Vocabularies of translation: what goes in comes out."""

from pathlib import Path

import pytest

from npformer.checks import InputError
from npformer.data.vocabulary import (
    KINDS,
    SPECIAL_TOKENS,
    decode_ids,
    encode_texts,
    load_vocabulary,
    sequence_ids,
    train_vocabulary,
    unknown_characters,
)

TEXTS = [
    "The cat sat, didn't it?",
    "他们在学习 NumPy。",
    "the cats sat here",
    "##1 a",
    "我们在学习",
]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_come_back(kind: str, tmp_path: Path) -> None:
    tokenizer = train_vocabulary(TEXTS, kind, 120)
    assert sequence_ids(tokenizer) == (0, 1, 2, 3)
    rows = encode_texts(tokenizer, TEXTS, max_len=99, name="text")
    assert all(row[-1] == 2 and 3 not in row for row in rows)
    assert [decode_ids(tokenizer, row.tolist()) for row in rows] == TEXTS
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), "utf-8")
    again = encode_texts(load_vocabulary(tmp_path / "tokenizer.json"), TEXTS, max_len=99, name="")
    assert [row.tolist() for row in again] == [row.tolist() for row in rows]


def test_pieces_are_fewer_than_characters() -> None:
    texts = ["the cat sat on the mat"] * 3 + ["the cat"]
    lengths = [
        len(encode_texts(train_vocabulary(texts, kind, 60), texts[:1], max_len=99, name="")[0])
        for kind in KINDS
    ]
    assert lengths[0] == 23
    assert max(lengths[1:]) < 12


def test_characters_of_a_special_token_are_characters() -> None:
    tokenizer = train_vocabulary(["abc<>/s"], "char", 99)
    assert len(SPECIAL_TOKENS) + 7 == tokenizer.get_vocab_size()


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_characters_are_named(kind: str) -> None:
    tokenizer = train_vocabulary(["the cat", "sat"], kind, 60)
    assert unknown_characters(tokenizer, "the cat") == []
    assert unknown_characters(tokenizer, "té é t€") == ["é", "€"]


def test_bad_texts_are_refused() -> None:
    tokenizer = train_vocabulary(["abc"], "char", 9)
    with pytest.raises(InputError, match="dev source 2: got an empty text"):
        encode_texts(tokenizer, ["a", ""], max_len=9, name="dev source")
    with pytest.raises(InputError, match=r"target 1: got 4 tokens with the end.*max_len = 3"):
        encode_texts(tokenizer, ["abc"], max_len=3, name="target")
    with pytest.raises(InputError, match="vocab: got 'bytes'"):
        train_vocabulary(["abc"], "bytes", 9)
    with pytest.raises(InputError, match="got no characters"):
        train_vocabulary([""], "char", 9)

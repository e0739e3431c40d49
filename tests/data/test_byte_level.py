"""RoBERTa's byte-level BPE: how texts and pairs are laid out, which pieces are words."""

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from tiny_byte_level import TEXTS, byte_level

from npformer.checks import InputError
from npformer.data.augment import augment
from npformer.data.glue import Examples
from npformer.data.neighbours import neighbour_copies
from npformer.data.tokenizer import (
    encode_examples,
    is_byte_level,
    load_tokenizer,
    save_tokenizer,
    special_ids,
    train_wordpiece,
)


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level(500)


def test_whose_special_tokens_they_are(tokenizer):
    assert is_byte_level(tokenizer)
    assert special_ids(tokenizer) == (1, 3, 0, 2, 4)  # <pad>, <unk>, <s>, </s>, <mask>
    both = train_wordpiece(TEXTS, 90)
    assert not is_byte_level(both)
    both.add_special_tokens(["<pad>", "<unk>", "<s>", "</s>", "<mask>"])
    assert not is_byte_level(both)  # a BERT with more tokens is a BERT
    assert special_ids(both) == (0, 1, 2, 3, 4)


def test_a_text_and_a_pair(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    again = load_tokenizer(tmp_path, vocab_size=tokenizer.get_vocab_size())
    one, two = (again.encode(t, add_special_tokens=False).ids for t in TEXTS[:2])
    encoded, cut = encode_examples(again, TEXTS[:1], max_len=50)
    assert (encoded.ids[0].tolist(), cut) == ([0, *one, 2], 0)
    encoded, cut = encode_examples(again, TEXTS[:1], TEXTS[1:2], max_len=50)
    assert (encoded.ids[0].tolist(), cut) == ([0, *one, 2, 2, *two, 2], 0)
    assert not encoded.segments[0].any()
    assert len(encoded.segments[0]) == len(encoded.ids[0])
    encoded, cut = encode_examples(again, TEXTS[:1], TEXTS[1:2], max_len=9)
    assert (len(encoded.ids[0]), cut) == (9, 1)
    encode_examples(again, ["a"], ["b"], max_len=5)
    with pytest.raises(InputError, match="max_len: got 4, expected room for a piece beside"):
        encode_examples(again, ["a"], ["b"], max_len=4)


def test_words_that_neighbours_may_stand_in_for(tokenizer):
    """Such a piece begins with a space and is not gone on with; a comma behind it is no matter."""
    text = "film film, unfilmed naïve the"
    rng = np.random.default_rng(1)
    table = rng.standard_normal((tokenizer.get_vocab_size(), 5)).astype(np.float32)
    encoded, _ = encode_examples(tokenizer, [text], max_len=40)
    ids = encoded.ids[0]
    pieces = [tokenizer.id_to_token(int(i)) for i in ids]
    made, _ = neighbour_copies(encoded, tokenizer, table, rng, copies=2000, k=10_000)
    changed = np.flatnonzero((np.array(made.ids) != ids).any(axis=0))
    assert [pieces[t] for t in changed] == ["Ġfilm", "Ġthe"]
    assert pieces[1] == "film"  # the first word has no space before it
    assert pieces[pieces.index("Ġfilm") + 1] == ","
    new = {tokenizer.id_to_token(int(row[t])) for row in made.ids for t in changed}
    assert all(piece[0] == "Ġ" and piece[1:].isalnum() and piece[1:].isascii() for piece in new)
    assert "ĠnaÃ" in tokenizer.get_vocab()  # half a character, and alphanumeric
    assert len(new) > 4


def test_a_masked_lm_is_not_asked_about_them(tokenizer):
    table = np.ones((tokenizer.get_vocab_size(), 3), np.float32)
    with pytest.raises(InputError, match="got byte-level BPE, expected WordPiece"):
        augment(Examples(TEXTS[:1], None, None), tokenizer, None, table, seed=(0,), max_len=9)

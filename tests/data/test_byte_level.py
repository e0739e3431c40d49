"""RoBERTa's byte-level BPE: how texts and pairs are laid out, which pieces are words."""

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from tiny_byte_level import CAT, TEXTS, byte_level
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from npformer.checks import InputError
from npformer.data.augment import augment
from npformer.data.glue import Examples
from npformer.data.neighbours import neighbour_copies
from npformer.data.tokenizer import (
    ROBERTA_TOKENS,
    SPECIAL_TOKENS,
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
    more = byte_level(500)
    more.add_special_tokens([*SPECIAL_TOKENS])
    assert special_ids(more) == (1, 3, 0, 2, 4)  # a RoBERTa with more tokens is a RoBERTa
    bert = train_wordpiece(TEXTS, 90)
    bert.add_special_tokens([*ROBERTA_TOKENS])
    assert not is_byte_level(bert)
    assert special_ids(bert) == (0, 1, 2, 3, 4)


def test_neither_of_the_two(tmp_path):
    """GPT-2 has no such tokens, XLM-R has them and other pieces, DeBERTa has BERT's."""
    gpt2 = byte_level(500, special=["<|endoftext|>"])
    with pytest.raises(
        InputError, match=r"<pad> is missing, .* to be RoBERTa's, in byte-level BPE"
    ):
        special_ids(gpt2)
    deberta = byte_level(500, special=[*SPECIAL_TOKENS])
    with pytest.raises(InputError, match="<pad> is missing"):
        special_ids(deberta)
    pieces = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "▁the")]
    xlm = Tokenizer(models.Unigram(pieces, unk_id=3))
    xlm.pre_tokenizer = pre_tokenizers.Metaspace()
    xlm.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"\[PAD\] is missing, expected .* to be BERT's"):
        load_tokenizer(tmp_path)


def test_a_broken_configuration_beside_it(tokenizer, tmp_path):
    save_tokenizer(tokenizer, tmp_path)
    for text in ("{", "[1]"):
        (tmp_path / "tokenizer_config.json").write_text(text, "utf-8")
        with pytest.raises(InputError, match=r"tokenizer_config\.json: got no JSON object"):
            load_tokenizer(tmp_path)


def test_a_vocabulary_in_two_files(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(InputError, match=r"vocab\.json and merges\.txt, expected tokenizer\.json"):
        load_tokenizer(tmp_path)


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
    text = "film film, unfilmed naïve the кот"
    rng = np.random.default_rng(1)
    table = rng.standard_normal((tokenizer.get_vocab_size(), 5)).astype(np.float32)
    encoded, _ = encode_examples(tokenizer, [text], max_len=40)
    ids = encoded.ids[0]
    pieces = [tokenizer.id_to_token(int(i)) for i in ids]
    made, _ = neighbour_copies(encoded, tokenizer, table, rng, copies=2000, k=10_000)
    changed = np.flatnonzero((np.array(made.ids) != ids).any(axis=0))
    assert [pieces[t] for t in changed] == ["Ġfilm", "ĠnaÃ¯ve", "Ġthe", CAT]
    assert pieces[1] == "film"  # the first word has no space before it
    assert pieces[pieces.index("Ġfilm") + 1] == ","
    new = {tokenizer.id_to_token(int(row[t])) for row in made.ids for t in changed}
    assert "ĠÐ" in tokenizer.get_vocab()  # half a character, though both look like letters
    assert "ĠÐ" not in new
    assert CAT in new
    assert all(piece[0] == "Ġ" for piece in new)
    words = [decoders.ByteLevel().decode([piece]) for piece in new]
    assert all(word[1:].isalnum() for word in words)
    assert len(new) > 4


def test_a_masked_lm_is_not_asked_about_them(tokenizer):
    table = np.ones((tokenizer.get_vocab_size(), 3), np.float32)
    with pytest.raises(InputError, match="got byte-level BPE, expected WordPiece"):
        augment(Examples(TEXTS[:1], None, None), tokenizer, None, table, seed=(0,), max_len=9)

"""Copies by neighbours: which words change, into what, how often."""

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from npformer.checks import InputError
from npformer.data.batches import Encoded
from npformer.data.neighbours import nearest, neighbour_copies
from npformer.data.tokenizer import encode_examples, train_wordpiece

TEXTS = ["the film was fine , unfilmed", "a dull plot .", "the cast was warm and the end flat !"]
# "unfilmed" is not among the words learned, so it comes in pieces.
TOKENIZER = train_wordpiece([text.replace("unfilmed", "off") for text in TEXTS] * 3, 200)
SIZE = TOKENIZER.get_vocab_size()
TABLE = np.random.default_rng(2).standard_normal((SIZE + 3, 5)).astype(np.float32)
ENCODED, _ = encode_examples(TOKENIZER, TEXTS, max_len=32)
WHOLE = np.array([(TOKENIZER.id_to_token(i) or "").isalnum() for i in range(SIZE)])


def copies(seed=0, **options):
    rng = np.random.default_rng(seed)
    return neighbour_copies(ENCODED, TOKENIZER, TABLE, rng, **{"copies": 40, "k": 3, **options})


def by_hand(word, k):
    def cosine(i):
        return TABLE[i] @ TABLE[word] / np.linalg.norm(TABLE[i]) / np.linalg.norm(TABLE[word])

    others = [i for i in np.flatnonzero(WHOLE) if i != word]
    return set(sorted(others, key=cosine)[-k:])


def test_nearest_is_what_a_loop_finds():
    words = np.flatnonzero(WHOLE)[:7]
    found = nearest(TABLE, words, WHOLE, 4)
    for word, row in zip(words, found, strict=True):
        assert set(row) == by_hand(word, 4)


def test_a_word_of_one_piece_becomes_a_neighbour_and_nothing_else_changes():
    made, sources = copies()
    assert len(made) == len(sources) > 80
    exchanged = 0
    for ids, segments, source in zip(made.ids, made.segments, sources, strict=True):
        old = ENCODED.ids[source]
        assert len(ids) == len(old) == len(segments)
        assert (ids != old).any()
        for t in np.flatnonzero(ids != old):
            assert WHOLE[old[t]]
            assert not TOKENIZER.id_to_token(int(old[t + 1])).startswith("##")
            assert ids[t] in by_hand(old[t], 3)
            exchanged += 1
    assert exchanged > 200
    pieces = TOKENIZER.encode("unfilmed", add_special_tokens=False).ids
    assert len(pieces) > 1
    assert pieces == TOKENIZER.encode(TEXTS[0], add_special_tokens=False).ids[-len(pieces) :]
    for ids in (made.ids[i] for i in np.flatnonzero(sources == 0)):
        assert ids[-1 - len(pieces) : -1].tolist() == pieces


def test_words_change_with_probability_p():
    made, sources = copies(copies=2000, p_t=0.3)
    old = ENCODED.ids[2]
    changed = sum(made.ids[i] != old for i in np.flatnonzero(sources == 2)) / 2000
    can = WHOLE[old]  # every word of this text is of one piece
    np.testing.assert_allclose(changed[can], 0.3, atol=0.05)
    assert not changed[~can].any()
    unchanged = 1 - (sources == 2).sum() / 2000
    assert unchanged == pytest.approx(0.7 ** can.sum(), abs=0.02)  # these are left out


def test_a_seed_is_a_result():
    one, again, other = copies(), copies(), copies(seed=1)
    assert [a.tolist() for a in one[0].ids] == [a.tolist() for a in again[0].ids]
    assert [a.tolist() for a in one[0].ids] != [a.tolist() for a in other[0].ids]


def test_the_inputs_stay_as_they_are():
    before = [ids.copy() for ids in ENCODED.ids]
    copies()
    for ids, old in zip(ENCODED.ids, before, strict=True):
        np.testing.assert_array_equal(ids, old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copies": 0}, "copies: got 0, expected at least 1"),
        ({"k": 0}, "k: got 0, expected at least 1"),
        ({"p_t": 1.5}, "p_t: got 1.5"),
    ],
)
def test_bad_amounts(options, message):
    with pytest.raises(InputError, match=message):
        copies(**options)


def test_a_table_without_a_row_for_every_piece():
    with pytest.raises(InputError, match=f"table: got {SIZE - 1} rows, expected one for each"):
        neighbour_copies(
            Encoded(ENCODED.ids, ENCODED.segments),
            TOKENIZER,
            TABLE[: SIZE - 1],
            np.random.default_rng(0),
            copies=1,
        )


def test_a_vocabulary_with_holes():
    """A table needs a row for the last id, however many pieces there are."""
    made = json.loads(TOKENIZER.to_str())
    vocab = made["model"]["vocab"]
    vocab["zebra"] = SIZE + 2
    gap = Tokenizer.from_str(json.dumps(made))
    assert gap.get_vocab_size() == SIZE + 1
    encoded, _ = encode_examples(gap, ["the zebra was fine"], max_len=9)
    options = {"copies": 500, "k": SIZE}
    made, _ = neighbour_copies(encoded, gap, TABLE, np.random.default_rng(3), **options)
    new = set(np.concatenate(made.ids))
    assert SIZE + 2 in new
    assert not {SIZE, SIZE + 1} & new
    with pytest.raises(InputError, match=f"table: got {SIZE + 2} rows, expected one for each of"):
        neighbour_copies(encoded, gap, TABLE[:-1], np.random.default_rng(3), **options)

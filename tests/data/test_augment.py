"""Augmentation: what may change, what the model may see, what is recorded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from npformer.checks import InputError
from npformer.data.augment import augment
from npformer.data.glue import Examples
from npformer.data.tokenizer import special_ids, train_wordpiece

TEXT = "the cat sat on a mat , while dogs slept well under tables ."
WORDS = TEXT.split()
TOKENIZER = train_wordpiece([TEXT] * 9 + ["我 喜 歡 電 影 很 好 看"] * 9 + ["xyzzy"], 400)
VOCAB = TOKENIZER.get_vocab()
SPECIAL = special_ids(TOKENIZER)
NAMES = [TOKENIZER.id_to_token(i) for i in range(len(VOCAB))]
TABLE = np.random.default_rng(0).normal(size=(len(VOCAB), 6))
ODD = "catsat"  # a word of several pieces


class Model:
    """Stand in for a masked language model: a fixed preference, and a record of its inputs."""

    def __init__(self):
        self.batches = []
        self.logits = np.random.default_rng(1).normal(size=len(VOCAB))

    def __call__(self, batch, positions):
        self.batches.append((batch, positions))
        assert (batch.ids.ravel()[positions] == SPECIAL.mask).all()
        assert (np.diff(positions) > 0).all()
        return np.tile(self.logits, (len(positions), 1))


def run(texts, second=None, *, model=None, labels=None, **options):
    settings_ = {"seed": [3], "max_len": 32, "n_a": 6, "k": 5, **options}
    examples = Examples(texts, second, labels)
    return augment(examples, TOKENIZER, model or Model(), TABLE, **settings_)


def tokens(text):
    return TOKENIZER.encode(text, add_special_tokens=False).tokens


def test_the_odd_word_has_several_pieces():
    assert len(tokens(ODD)) > 1
    assert all(len(tokens(word)) == 1 for word in WORDS)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from([*WORDS, ODD, "影", "Cat"]), min_size=1, max_size=9),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=5),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_copies_change_exactly_what_they_record(first, second, pair, once, released):
    first, second = " ".join(first), " ".join(second)
    found = run(
        [first], [second] if pair else None, candidates_once=once, reuse_last_first=released
    )
    originals = [first.lower().split(), second.split()]
    assert len(found) <= (12 if pair and released else 6)
    assert len({(copy.first, copy.second) for copy in found}) == len(found)
    for copy in found:
        words = [list(w) for w in originals]
        for change in copy.changes:
            assert words[change.sentence][change.word_index] == change.old
            assert change.old != change.new
            words[change.sentence][change.word_index] = change.new
        assert copy.changes
        assert copy.first == " ".join(words[0])
        assert copy.second == (" ".join(words[1]) if pair else None)


@pytest.mark.parametrize("once", [True, False])
def test_the_model_never_sees_the_word_it_is_asked_about(once):
    model = Model()
    unique = "the cat sat on mat while dogs slept"
    run([unique], model=model, candidates_once=once, n_a=4)
    known = {VOCAB[word] for word in unique.split()}
    for batch, positions in model.batches:
        rows, columns = np.divmod(positions, batch.ids.shape[1])
        assert (rows == np.arange(len(batch.ids))).all()
        for row, column in zip(batch.ids, columns, strict=True):
            assert (row == SPECIAL.mask).sum() == 1
            hidden = VOCAB[unique.split()[column - 1]]
            assert hidden not in row or not once
            assert hidden in known
        assert not batch.segments.any()


def test_released_shows_the_original_as_the_second_segment():
    model = Model()
    run(["the cat sat"], model=model, p_t=1.0, show_original=True)
    batch, positions = model.batches[0]
    row = batch.ids[0][batch.keep[0]]
    assert " ".join(NAMES[i] for i in row) == "[CLS] [MASK] cat sat [SEP] the cat sat [SEP]"
    assert batch.segments[0].tolist() == [0] * 5 + [1] * 4
    assert positions[0] == 1


def test_candidates_are_the_best_whole_words():
    model = Model()
    allowed = [i for i, name in enumerate(NAMES) if name.isalnum()]
    best = sorted(allowed, key=lambda i: -model.logits[i])[:3]
    found = run(["the cat sat"], model=model, p_t=1.0, k=3, n_a=200)
    changes = [change for copy in found for change in copy.changes]
    assert {change.how for change in changes} == {"model"}
    assert {change.new for change in changes} == {NAMES[i] for i in best}


def test_a_word_of_several_pieces_gets_its_neighbours():
    unit = TABLE / np.linalg.norm(TABLE, axis=1, keepdims=True)
    mean = unit[[VOCAB[piece] for piece in tokens(ODD)]].mean(axis=0)
    allowed = [i for i, name in enumerate(NAMES) if name.isalnum()]
    best = sorted(allowed, key=lambda i: -unit[i] @ mean)[:4]
    found = run([ODD], p_t=1.0, k=4, n_a=100)
    assert {copy.first for copy in found} == {NAMES[i] for i in best}
    assert {change.how for copy in found for change in copy.changes} == {"neighbour"}


def test_every_chinese_character_is_a_word():
    found = run(["我喜歡"], p_t=1.0, n_a=30)
    assert {change.word_index for copy in found for change in copy.changes} == {0, 1, 2}
    assert run(["我喜歡"], p_t=1.0, skip_non_latin=True) == []


def test_released_skips_stop_words_and_punctuation_always_stays():
    found = run([TEXT], p_t=1.0, n_a=40, skip_non_latin=True)
    changed = {change.old for copy in found for change in copy.changes}
    assert changed == set(WORDS) - {"the", "on", "a", ",", "while", "under", "."}
    everything = {c.old for copy in run([TEXT], p_t=1.0, n_a=40) for c in copy.changes}
    assert everything == set(WORDS) - {",", "."}


def test_pairs_change_both_sentences_and_released_repeats_the_last_first():
    texts, second = ["the cat sat on a mat"], ["dogs slept well under tables"]
    both = run(texts, second, n_a=8)
    assert any({c.sentence for c in copy.changes} == {0, 1} for copy in both)
    released = run(texts, second, n_a=8, reuse_last_first=True)
    beside_original = [copy for copy in released if copy.second == second[0]]
    rest = [copy for copy in released if copy.second != second[0]]
    assert len({copy.first for copy in beside_original}) == len(beside_original) > 3
    assert {copy.first for copy in rest} == {beside_original[-1].first}
    assert len(rest) > 3


def test_asking_again_masks_the_sentence_as_edited():
    texts = ["the cat sat on a mat"]
    once, again = Model(), Model()
    run(texts, model=once, p_t=1.0)
    run(texts, model=again, p_t=1.0, candidates_once=False)
    assert sum(len(batch.ids) for batch, _ in once.batches) == 6
    assert sum(len(batch.ids) for batch, _ in again.batches) > 12
    originals = {VOCAB[word] for word in texts[0].split()} | set(SPECIAL)
    assert all(set(batch.ids.ravel()) <= originals for batch, _ in once.batches)
    assert any(set(batch.ids.ravel()) - originals for batch, _ in again.batches)


def test_lost_attempts_labels_sources_and_seeds():
    texts = ["cat", "the cat sat", "."]
    found = run(texts, labels=np.array([4, 5, 6]), p_t=1.0, k=2, n_a=50)
    assert sum(copy.source == 0 for copy in found) <= 2
    assert {(copy.source, copy.label) for copy in found} == {(0, 4), (1, 5)}
    assert [copy.source for copy in found] == sorted(copy.source for copy in found)
    assert found == run(texts, labels=np.array([4, 5, 6]), p_t=1.0, k=2, n_a=50)
    assert run([TEXT], seed=[1]) != run([TEXT], seed=[2])
    assert run([TEXT], p_t=0.0) == []
    assert run([TEXT], batch_size=1) == run([TEXT], batch_size=64)


def test_the_rate_of_exchange():
    found = run([TEXT] * 40, p_t=0.4, n_a=5, k=20)
    words = len(WORDS) - 2
    rate = sum(len(copy.changes) for copy in found) / (len(found) * words)
    assert 0.33 < rate < 0.43


def test_words_behind_max_len_stay():
    for once in (True, False):
        found = run([TEXT], p_t=1.0, max_len=6, candidates_once=once)
        assert {c.word_index for copy in found for c in copy.changes} == {0, 1, 2, 3}
    model = Model()
    run([TEXT], model=model, p_t=1.0, max_len=6, show_original=True)
    assert all(batch.ids.shape[1] <= 6 for batch, _ in model.batches)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"p_t": 1.5}, "p_t: got 1.5"), ({"n_a": 0}, "n_a: got 0"), ({"k": 0}, "k: got 0")],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        run([TEXT], **options)


def test_a_table_of_another_vocabulary_is_refused():
    with pytest.raises(InputError, match=r"embedding_table: got \d+ rows, expected at least \d+"):
        augment(Examples([TEXT], None, None), TOKENIZER, Model(), TABLE[1:], seed=[0], max_len=9)

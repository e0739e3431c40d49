"""The embedded task: disjoint, balanced, reproducible, and not solved by counting words."""

import re
from collections import Counter

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.data import lexicon
from npformer.data.naive_bayes import naive_bayes_accuracy
from npformer.data.reviews import CLAUSES, FRAMES, generate_reviews

SIZES = {"labelled": 10_000, "unlabelled": 6_000}


@pytest.fixture(scope="module")
def task():
    return generate_reviews(**SIZES, seed=0)


WORDS = [lexicon.ADJECTIVES, lexicon.QUALITIES, lexicon.VERBS, lexicon.COMPANIONS]
WORDS += [domain.adjectives for domain in lexicon.DOMAINS]
OPINIONS = {w for group in WORDS for words in group for word in words for w in word.split("/")}
OPINIONS |= {*lexicon.INTENSIFIERS, "and"}


def pattern(template):
    """Return an expression that matches what a template can become."""
    opinion = f"({'|'.join(sorted(OPINIONS))})( ({'|'.join(sorted(OPINIONS))}))*"
    nouns = "|".join(noun for domain in lexicon.DOMAINS for noun in domain.nouns)
    slots = {"{n}": f"({nouns})", "{who}": r"[a-z]+ [a-z]+"}
    slots |= dict.fromkeys(("{a}", "{v}", "{vd}", "{q}"), opinion)
    parts = re.split(r"(\{\w+\})", template)
    return re.compile("".join(slots.get(part) or re.escape(part) for part in parts))


CLAUSE_PATTERNS = {
    kind: [pattern(clause) for clauses in sides for clause in clauses]
    for kind, sides in CLAUSES.items()
}
# What stands before the first clause, and what between the two.
FRAME_PATTERNS = [
    [pattern(part) for part in re.split(r"\{[xy]\}", frame.pattern)[:2]] for frame in FRAMES
]


def readings(text):
    """Return every (frame, first clause, second clause) that a sentence may be an instance of."""
    found = set()
    for f, (frame, (before, between)) in enumerate(zip(FRAMES, FRAME_PATTERNS, strict=True)):
        start = before.match(text)
        for cut in between.finditer(text) if start else ():
            x, y = text[start.end() : cut.start()], text[cut.end() :]
            firsts = [i for i, p in enumerate(CLAUSE_PATTERNS[frame.x.kind]) if p.fullmatch(x)]
            seconds = [j for j, p in enumerate(CLAUSE_PATTERNS[frame.y.kind]) if p.fullmatch(y)]
            found |= {(f, i, j) for i in firsts for j in seconds}
    return found


def test_no_sentence_is_shared_or_repeated(task):
    texts = task.train.first + task.dev.first + task.test.first + task.unlabelled
    assert len(task.dev) == len(task.test) == 1000
    assert len(texts) == 10_000 + 6_000 + 2_000
    assert len(set(texts)) == len(texts)


def test_labels_are_balanced(task):
    for split in (task.train, task.dev, task.test):
        assert 2 * split.labels.sum() == len(split)


def test_held_out_combinations_are_absent_from_training(task):
    train = Counter(
        reading
        for text in task.train.first[:3000] + task.unlabelled[:3000]
        for reading in readings(text)
    )
    for held_out, other in ((task.dev, task.test), (task.test, task.dev)):
        others = {reading for text in other.first for reading in readings(text)}
        for text in held_out.first[:300]:
            found = readings(text)
            assert found
            # A sentence may be read in two ways; the one it was made by is new.
            assert any(reading not in train for reading in found), text
            assert any(reading not in others for reading in found), text


def test_training_shows_every_clause_in_every_place_of_every_frame(task):
    seen = {reading for text in task.train.first[:6000] for reading in readings(text)}
    for f, frame in enumerate(FRAMES):
        assert {i for g, i, _ in seen if g == f} == set(range(len(CLAUSE_PATTERNS[frame.x.kind])))
        assert {j for g, _, j in seen if g == f} == set(range(len(CLAUSE_PATTERNS[frame.y.kind])))


@pytest.mark.parametrize("size", [2_000, 10_000])
@pytest.mark.parametrize(("order", "ceiling"), [(1, 0.60), (2, 0.75)])
def test_counting_words_does_not_solve_it(task, size, order, ceiling):
    texts, labels = task.train.first[:size], task.train.labels[:size]
    for split in (task.dev, task.test):
        found = naive_bayes_accuracy(texts, labels, split.first, split.labels, order=order)
        assert found <= ceiling


def test_no_sentence_has_two_labels():
    """The label is a function of the sentence: other seeds agree wherever they meet."""
    labels = {}
    for seed in range(3):
        task = generate_reviews(labelled=3_000, unlabelled=0, dev=0, test=0, seed=seed)
        for text, label in zip(task.train.first, task.train.labels, strict=True):
            assert labels.setdefault(text, label) == label


def test_reproducible_and_nested(task):
    again = generate_reviews(labelled=300, unlabelled=0, seed=0)
    assert again.train.first == task.train.first[:300]
    assert again.dev.first == task.dev.first
    np.testing.assert_array_equal(again.dev.labels, task.dev.labels)
    other = generate_reviews(labelled=300, unlabelled=0, seed=1)
    assert len(set(other.train.first) & set(again.train.first)) < 10


def test_sentences_are_short_and_varied(task):
    lengths = [len(text.split()) for text in task.train.first]
    assert 8 <= np.mean(lengths) <= 16
    assert max(lengths) <= 25
    assert len({word for text in task.train.first for word in text.split()}) >= 250


def test_a_word_has_one_polarity():
    positive = {word for group in WORDS for word in group.positive}
    negative = {word for group in WORDS for word in group.negative}
    assert not positive & negative
    assert sum(len(w) for g in WORDS for w in g) == len(positive) + len(negative)
    assert not (positive | negative) & set(lexicon.INTENSIFIERS)


def test_a_negative_size_is_refused():
    with pytest.raises(InputError, match="unlabelled: got -1"):
        generate_reviews(labelled=1, unlabelled=-1, seed=0)

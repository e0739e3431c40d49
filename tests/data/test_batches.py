"""Padding, buckets, streams, shards and masking of batches."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npformer.checks import InputError
from npformer.data.batches import (
    IGNORE,
    Batch,
    Encoded,
    batch_stream,
    bucketed_order,
    collate,
    steps_per_epoch,
)
from npformer.data.masking import mask_tokens
from npformer.data.tokenizer import SpecialIds

PAD = 7
SPECIAL = SpecialIds(pad=PAD, unk=1, cls=2, sep=3, mask=4)
LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=30)


def make(lengths, labels=None):
    rng = np.random.default_rng(len(lengths))
    ids = [rng.integers(8, 50, size=n) for n in lengths]
    segments = [(np.arange(n) >= n // 2).astype(np.int64) for n in lengths]
    return Encoded(ids, segments, labels)


@given(LENGTHS)
def test_collate_pads_on_the_right_and_trimming_gives_the_rows_back(lengths):
    encoded = make(lengths, np.arange(len(lengths)))
    indices = np.arange(len(lengths))[::-1]
    batch = collate(encoded, indices, PAD)
    assert batch.ids.shape == (len(lengths), max(lengths))
    for b, i in enumerate(indices):
        n = lengths[i]
        np.testing.assert_array_equal(batch.ids[b, :n], encoded.ids[i])
        np.testing.assert_array_equal(batch.segments[b, :n], encoded.segments[i])
        assert batch.keep[b].tolist() == [True] * n + [False] * (max(lengths) - n)
        assert (batch.ids[b, n:] == PAD).all()
        assert batch.labels[b] == i


@given(LENGTHS, st.integers(1, 7), st.booleans(), st.integers(0, 5))
def test_an_epoch_is_a_permutation_in_buckets(lengths, batch_size, drop_last, seed):
    lengths = np.array(lengths)
    if drop_last and len(lengths) < batch_size:
        with pytest.raises(InputError, match="examples: got"):
            bucketed_order(lengths, batch_size, np.random.default_rng(seed), drop_last=True)
        return
    rng = np.random.default_rng(seed)
    batches = bucketed_order(lengths, batch_size, rng, drop_last=drop_last)
    assert len(batches) == steps_per_epoch(len(lengths), batch_size, drop_last=drop_last)
    used = np.concatenate(batches)
    assert len(np.unique(used)) == len(used)
    rest = len(lengths) % batch_size
    assert len(used) == len(lengths) - (rest if drop_last else 0)
    sizes = sorted(len(batch) for batch in batches)
    assert sizes[-1] <= batch_size
    assert all(size == batch_size for size in sizes[1:])
    # Buckets: two batches overlap in no more than an end point.
    spans = sorted((lengths[b].min(), lengths[b].max()) for b in batches)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_ties_and_the_incomplete_batch_are_random():
    lengths = np.repeat([3, 9], [5, 6])
    seen = [bucketed_order(lengths, 4, np.random.default_rng(s)) for s in range(40)]
    short = {int(lengths[b].max()) for batches in seen for b in batches if len(b) == 3}
    assert short == {3, 9}
    firsts = {tuple(sorted(batches[0].tolist())) for batches in seen}
    assert len(firsts) > 10


@settings(max_examples=25)
@given(st.integers(1, 23), st.integers(1, 6), st.integers(0, 12), st.booleans())
def test_a_stream_resumes_at_any_step(size, batch_size, start, drop_last):
    if drop_last and size < batch_size:
        return
    encoded = make(list(1 + np.arange(size) % 5), np.arange(size))
    options = {"seed": [5, 2], "steps": 12, "drop_last": drop_last}
    full = list(batch_stream(encoded, batch_size, PAD, **options))
    tail = list(batch_stream(encoded, batch_size, PAD, start_step=start, **options))
    assert len(full) == 12
    assert len(tail) == 12 - start
    for a, b in zip(full[start:], tail, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.labels, b.labels)


def test_epochs_differ_and_seeds_differ():
    encoded = make([4] * 30, np.arange(30))

    def labels(seed):
        stream = batch_stream(encoded, 30, PAD, seed=seed, steps=2)
        return [batch.labels.tolist() for batch in stream]

    first, second = labels([1])
    assert first != second
    assert sorted(first) == sorted(second) == list(range(30))
    assert labels([2])[0] != first


def test_nothing_to_batch_is_refused():
    with pytest.raises(InputError, match="examples: got 0"):
        list(batch_stream(make([]), 4, PAD, seed=[0], steps=1))
    with pytest.raises(InputError, match="batch_size: got 0"):
        steps_per_epoch(3, 0)
    with pytest.raises(InputError, match="shards: got 0"):
        collate(make([2, 3]), [0, 1], PAD).split(0)


@given(LENGTHS, st.integers(1, 6), st.sampled_from(["none", "class", "score", "token"]))
def test_shards_are_the_rows_of_the_batch_trimmed(lengths, shards, kind):
    rows, width = len(lengths), max(lengths)
    labels = {
        "none": None,
        "class": np.arange(rows),
        "score": np.linspace(0, 1, rows),
        "token": np.arange(rows * width).reshape(rows, width),
    }[kind]
    batch = collate(make(lengths), range(rows), PAD)._replace(labels=labels)
    parts = batch.split(shards)
    assert len(parts) == min(shards, rows)
    start = 0
    for part in parts:
        size, longest = len(part.ids), max(lengths[start : start + len(part.ids)])
        assert part.ids.shape == part.keep.shape == part.segments.shape == (size, longest)
        for name in ("ids", "keep", "segments"):
            whole = getattr(batch, name)[start : start + size, :longest]
            np.testing.assert_array_equal(getattr(part, name), whole)
        if kind == "none":
            assert part.labels is None
        else:
            whole = labels[start : start + size]
            np.testing.assert_array_equal(
                part.labels, whole[:, :longest] if kind == "token" else whole
            )
        start += size
    assert start == rows


def test_shards_count_what_the_batch_counts():
    batch = collate(make([3, 5, 2, 6, 1], np.array([0, 1, IGNORE, 1, 0])), range(5), PAD)
    counts = batch.counts
    assert counts == (5, 17, 9 + 25 + 4 + 36 + 1, 4)
    total = np.sum([part.counts for part in batch.split(3)], axis=0)
    assert tuple(total) == counts
    assert batch._replace(labels=None).counts.targets == 0
    assert batch._replace(labels=np.full(5, -100.0)).counts.targets == 5


def masking_input(rows=400, width=31):
    rng = np.random.default_rng(0)
    ids = rng.integers(8, 60, size=(rows, width))
    keep = np.arange(width) < rng.integers(3, width + 1, size=(rows, 1))
    ids[:, 0], ids[:, 1] = SPECIAL.cls, SPECIAL.unk
    return np.where(keep, ids, PAD), keep


def test_masking_rates_and_what_it_never_touches():
    ids, keep = masking_input()
    before = ids.copy()
    masked, labels = mask_tokens(
        ids, keep, SPECIAL, np.random.default_rng(1), vocab_size=60, p_mask=0.15
    )
    np.testing.assert_array_equal(ids, before)
    chosen = labels != IGNORE
    np.testing.assert_array_equal(labels[chosen], ids[chosen])
    np.testing.assert_array_equal(masked[~chosen], ids[~chosen])
    can = keep & ~np.isin(ids, SPECIAL)
    assert not (chosen & ~can).any()
    n = chosen.sum()
    assert n > 900
    assert abs(n / can.sum() - 0.15) < 0.02
    hidden = masked[chosen] == SPECIAL.mask
    changed = ~hidden & (masked[chosen] != ids[chosen])
    assert abs(hidden.mean() - 0.8) < 0.04
    assert abs(changed.mean() - 0.1 * 53 / 54) < 0.03
    random_ids = masked[chosen][changed]
    assert not np.isin(random_ids, SPECIAL).any()
    assert len(np.unique(random_ids)) > 30
    assert {0, 5, 6} & set(random_ids.tolist())  # an id is special by name, not by being small


def test_at_least_one_token_is_masked_only_on_request():
    ids, keep = masking_input(50)
    keep[7] = False
    rng = np.random.default_rng
    _, labels = mask_tokens(ids, keep, SPECIAL, rng(0), vocab_size=60, p_mask=0.0)
    assert (labels == IGNORE).all()
    masked, labels = mask_tokens(
        ids, keep, SPECIAL, rng(0), vocab_size=60, p_mask=0.0, at_least_one=True
    )
    can = keep & ~np.isin(ids, SPECIAL)
    np.testing.assert_array_equal((labels != IGNORE).sum(axis=1), can.any(axis=1).astype(int))
    assert (masked != ids).any()
    _, labels = mask_tokens(ids, keep, SPECIAL, rng(0), vocab_size=60, p_mask=1.0)
    np.testing.assert_array_equal(labels != IGNORE, can)


def test_masking_refuses_a_wrong_rate_and_shape():
    ids, keep = masking_input(4)
    rng = np.random.default_rng(0)
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="p_mask: got"):
            mask_tokens(ids, keep, SPECIAL, rng, vocab_size=60, p_mask=rate)
    with pytest.raises(InputError, match="keep: got shape"):
        mask_tokens(ids, keep[:, :3], SPECIAL, rng, vocab_size=60)


def test_batch_is_a_plain_tuple():
    assert Batch._fields == ("ids", "keep", "segments", "labels", "teacher_logits")

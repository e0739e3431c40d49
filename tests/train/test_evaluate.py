"""Predictions of a whole data set: in its order, whatever batches and threads they come from."""

import time

import numpy as np
import pytest
from models import small

from npformer.checks import InputError
from npformer.data.batches import IGNORE, Batch, Encoded
from npformer.train.evaluate import masked_scores, predict_logits, score, time_calls


def encoded(lengths=(5, 1, 7, 3, 3, 6, 2, 4)):
    rng = np.random.default_rng(0)
    ids = [rng.integers(5, small.SIZES["vocab_size"], n) for n in lengths]
    return Encoded(ids, [np.arange(len(row)) % 2 for row in ids])


def test_logits_are_in_the_order_of_the_examples():
    model, data = small.make("sequence"), encoded()
    logits = predict_logits(model, data, 0, batch_size=3)
    assert logits.shape == (len(data), small.CLASSES)
    for i, (ids, segments) in enumerate(zip(data.ids, data.segments, strict=True)):
        keep = np.ones((1, len(ids)), bool)
        alone, _ = model.forward(ids[None], keep, segments[None])
        np.testing.assert_allclose(logits[i], alone.logits[0], rtol=1e-10, atol=1e-12)


def test_logits_do_not_depend_on_threads():
    model, data = small.make("sequence", dtype=np.float32), encoded()
    one, three = (predict_logits(model, data, 0, batch_size=3, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one, three)
    assert one.dtype == np.float32


def test_there_is_no_dropout():
    model = small.make("sequence", dropout=0.5)
    one, two = (predict_logits(model, encoded(), 0) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_broken_weights_are_refused():
    model = small.make("sequence")
    model.params["pooler.b"][0] = np.nan
    with pytest.raises(InputError, match="logits: got NaN or infinity"):
        predict_logits(model, encoded(), 0)


def test_scores_of_two_classes():
    logits = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 4.0], [5.0, 1.0]])
    scores = score(logits, np.array([0, 1, 0, 0]), "classification")
    assert list(scores) == ["accuracy", "f1", "matthews"]
    assert scores["accuracy"] == 0.75
    assert scores["f1"] == pytest.approx(2 / 3)


def test_scores_of_three_classes():
    scores = score(np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 0]), "classification")
    assert scores["accuracy"] == 0.75
    assert scores["f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_scores_of_a_regression():
    scores = score(np.array([[1.0], [2.0], [4.0]]), np.array([10.0, 20.0, 30.0]), "regression")
    assert list(scores) == ["pearson", "spearman"]
    assert scores["spearman"] == pytest.approx(1.0)
    assert 0.9 < scores["pearson"] < 1.0


def masked(model, seed, lengths):
    """Return a batch with labels, some of them what the model will guess."""
    inputs, rng = small.inputs(seed=seed, lengths=lengths), np.random.default_rng(seed)
    hidden = inputs.keep & (rng.random(inputs.keep.shape) < 0.6)
    guesses = model.forward(*inputs)[0].logits.argmax(axis=-1)
    labels = np.where(rng.random(inputs.ids.shape) < 0.3, guesses, inputs.ids)
    return Batch(*inputs, np.where(hidden, labels, IGNORE))


def test_scores_of_a_masked_lm_count_every_hidden_token_once():
    model = small.make("masked_lm")
    batches = [masked(model, 3, (3, 7, 1)), masked(model, 4, (5,)), masked(model, 5, (6, 2, 4, 1))]
    right, losses = [], []
    for batch in batches:
        logits = model.forward(*batch[:3])[0].logits
        probs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)  # (B, T, V)
        rows = probs.reshape(-1, probs.shape[-1])
        for row, label in zip(rows, batch.labels.reshape(-1), strict=True):
            if label != IGNORE:
                right.append(row.argmax() == label)
                losses.append(-np.log(row[label]))
    assert 0 < sum(right) < len(right)
    for threads in (1, 3):
        scores = masked_scores(model, batches, threads=threads)
        assert scores["masked_accuracy"] == np.mean(right)
        assert scores["masked_loss"] == pytest.approx(np.mean(losses), rel=1e-12)


def test_text_without_a_hidden_token_has_no_score():
    model = small.make("masked_lm")
    batch = masked(model, 3, (3, 7, 1))
    silent = batch._replace(labels=np.full_like(batch.ids, IGNORE))
    with pytest.raises(InputError, match="batches: got no hidden token"):
        masked_scores(model, [silent])


def test_times_are_milliseconds_and_the_names_take_turns():
    order = []

    def call(name, seconds):
        def run():
            order.append(name)
            time.sleep(seconds)

        return run

    slow, quick = call("slow", 0.004), call("quick", 0.0)
    times = time_calls({"slow": [slow, slow], "quick": [quick]}, rounds=2)
    assert order == ["slow", "slow", "quick", "quick", "slow", "slow"] * 2
    assert 4.0 <= times["slow"] < 40.0
    assert times["quick"] < 2.0

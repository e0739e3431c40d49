"""Shards: cutting a batch changes neither the loss nor a gradient, and no thread is ever first."""

import time
from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from models import small

from npformer.checks import InputError
from npformer.data.batches import IGNORE, Batch
from npformer.models import Encoder
from npformer.train.objective import (
    HeadObjective,
    MaskedLMObjective,
    StepResult,
    SupervisedObjective,
    add_results,
)
from npformer.train.parallel import shard_threads

LENGTHS = (3, 7, 1, 5, 2, 6, 4)


def batch_of(kind: str) -> Batch:
    inputs = small.inputs(lengths=LENGTHS)
    rng = np.random.default_rng(3)
    labels = rng.integers(0, small.CLASSES, len(LENGTHS))
    if kind == "regression":
        labels = rng.standard_normal(len(LENGTHS))
    if kind == "masked LM":
        # All of them in some rows: shards have very different numbers of targets.
        masked = inputs.keep & (rng.random(inputs.keep.shape) < 0.4)
        masked[1] = inputs.keep[1]
        masked[4:] = False
        labels = np.where(masked, inputs.ids, IGNORE)
    return Batch(*inputs, labels)


def objective_of(kind: str, **changes):
    if kind == "masked LM":
        return MaskedLMObjective(small.make("masked_lm", **changes))
    if kind == "regression":
        changes = {"num_classes": 1, "problem": "regression", **changes}
    return SupervisedObjective(small.make("sequence", **changes))


def assert_same(one: StepResult, two: StepResult, tolerance: float = 1e-12) -> None:
    assert two.values == pytest.approx(one.values, rel=tolerance, abs=0)
    assert two.squared_norms == pytest.approx(one.squared_norms, rel=tolerance, abs=0)
    assert two.grads.keys() == one.grads.keys()
    largest = max(np.abs(g).max() for g in one.grads.values())
    for name, g in one.grads.items():
        np.testing.assert_allclose(two.grads[name], g, rtol=0, atol=tolerance * largest)


def on(shards, objective, batch, seed=None):
    with shard_threads(shards) as run:
        return reduce(add_results, run(objective, batch, seed))


KINDS = ("classification", "regression", "masked LM")


def test_a_head_on_a_frozen_encoder_gets_the_gradients_of_the_whole():
    objective = objective_of("masked LM", dropout=0.3, attention_dropout=0.2)
    batch = batch_of("masked LM")
    head = HeadObjective(objective.model)
    whole = objective(batch, batch.counts, None)  # no dropout, which a frozen encoder has never
    parts = {name: g for name, g in whole.grads.items() if name.startswith("head.")}
    assert len(parts) == 5
    for shards in (1, 3):
        assert_same(whole._replace(grads=parts), on(shards, head, batch, [5]))


@pytest.mark.parametrize("kind", KINDS)
def test_one_shard_is_two_is_three_is_four_accumulated_batches(kind):
    objective, batch = objective_of(kind), batch_of(kind)
    counts = batch.counts
    whole = objective(batch, counts, None)
    assert all(np.abs(g).max() > 0 for n, g in whole.grads.items() if not n.endswith("b_k"))
    for shards in (1, 2, 3):
        assert_same(whole, on(shards, objective, batch))
    parts = [objective(part, counts, None) for part in batch.split(4)]
    assert len(parts) == 4
    assert_same(whole, reduce(add_results, parts))


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_divides_by_its_own_counts_does_not_add_up(kind):
    # What the test above would miss if all parts had the same size.
    objective, batch = objective_of(kind), batch_of(kind)
    parts = [objective(part, part.counts, None) for part in batch.split(4)]
    whole = objective(batch, batch.counts, None)
    assert reduce(add_results, parts).values["loss"] != pytest.approx(whole.values["loss"], rel=0.1)


def test_more_shards_than_rows():
    objective, batch = objective_of("classification"), batch_of("classification")
    assert_same(on(1, objective, batch), on(19, objective, batch))


@pytest.mark.parametrize("kind", KINDS)
def test_recomputation_is_asked_for_and_changes_nothing(kind, monkeypatch):
    objective, batch = objective_of(kind, dropout=0.3, attention_dropout=0.2), batch_of(kind)
    asked = []
    run = Encoder.forward

    def forward(self, *args, **options):
        asked.append(options["recompute"])
        return run(self, *args, **options)

    monkeypatch.setattr(Encoder, "forward", forward)
    results = [on(2, replace(objective, recompute=x), batch, [5]) for x in (False, True)]
    assert asked == [False, False, True, True]
    assert_same(*results, tolerance=0)


class Delayed:
    """An objective whose shards end in another order than they start."""

    def __init__(self, objective, seconds):
        self.objective, self.seconds = objective, seconds

    def __call__(self, batch, counts, rng):
        time.sleep(self.seconds[len(batch.ids)])
        return self.objective(batch, counts, rng)


def test_results_do_not_depend_on_timing():
    changes = {"dropout": 0.3, "attention_dropout": 0.2, "dtype": np.float32}
    objective, batch = objective_of("classification", **changes), batch_of("classification")
    sizes = [len(part.ids) for part in batch.split(3)]
    assert sizes == [2, 3, 2]
    runs = [
        on(3, Delayed(objective, seconds), batch, [5, 1])
        for seconds in ({2: 0.0, 3: 0.03}, {2: 0.03, 3: 0.0})
    ]
    assert runs[0].values == runs[1].values
    assert runs[0].squared_norms == runs[1].squared_norms
    for name, g in runs[0].grads.items():
        assert g.dtype == np.float32
        np.testing.assert_array_equal(runs[1].grads[name], g)


def test_shards_drop_out_differently_and_by_their_seed():
    drawn = []

    def objective(batch, counts, rng):
        drawn.append(rng.random())
        return StepResult({"loss": 0.0}, {"loss": 0.0}, {})

    batch = batch_of("classification")
    for seed in ([1, 2], [1, 2], [1, 3]):
        on(3, objective, batch, seed)
    first, second, third = (set(drawn[i : i + 3]) for i in (0, 3, 6))
    assert first == second == {np.random.default_rng([1, 2, i]).random() for i in range(3)}
    assert len(first | third) == 6


def test_matrix_products_have_one_thread_inside_and_what_they_had_outside():
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas():
        return {i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        if blas() != {2}:
            pytest.skip("a matrix library whose threads cannot be set")
        with shard_threads(2):
            assert blas() == {1}
        assert blas() == {2}


def test_an_error_in_a_shard_comes_out():
    def objective(batch, counts, rng):
        raise InputError("ids: got 99, expected 0 to 28")

    with pytest.raises(InputError, match="got 99"):
        on(3, objective, batch_of("classification"))


@pytest.mark.parametrize("shards", [0, -1])
def test_no_shards(shards):
    with pytest.raises(InputError, match="shards: got"), shard_threads(shards):
        pass


def test_a_part_with_no_target_gives_zero_and_not_nan():
    objective, batch = objective_of("masked LM"), batch_of("masked LM")
    part = batch.split(7)[-1]
    assert (part.labels == IGNORE).all()
    result = objective(part, batch.counts, None)
    assert result.values == {"loss": 0.0}
    assert all((g == 0).all() for g in result.grads.values())

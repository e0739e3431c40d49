"""The loop: what it yields, what it leaves alone, where it stops."""

import itertools

import numpy as np
import pytest
from models import small

from npformer.checks import InputError
from npformer.data.batches import Batch
from npformer.optim import AdamW, Sgd, clip_by_global_norm, clip_by_tensor_norm
from npformer.train.loop import StepMetrics, train
from npformer.train.objective import StepResult, SupervisedObjective


def batches(count=4):
    for i in range(count):
        inputs = small.inputs(seed=i)
        yield Batch(*inputs, np.random.default_rng(i).integers(0, small.CLASSES, 4))


def clip(grads):
    return clip_by_global_norm(grads, 1.0)


def start(model, names=None, *, steps=4, seed=(3,), shards=2, optimizer=None, rate=0.01, clip=clip):
    params = {n: p for n, p in model.params.items() if names is None or n in names}
    optimizer = optimizer or AdamW(weight_decay=0.1)
    return train(
        SupervisedObjective(model),
        params,
        optimizer,
        optimizer.init(params),
        batches(steps),
        learning_rate=lambda step: rate * (step + 1),
        clip=clip,
        seed=seed,
        shards=shards,
    )


def test_metrics_come_after_each_update():
    model = small.make("sequence")
    before = {name: p.copy() for name, p in model.params.items()}
    loop = start(model)
    first = next(loop)
    assert isinstance(first, StepMetrics)
    assert first.step == 1
    assert first.learning_rate == 0.01
    assert first.values.keys() == first.norms.keys() == {"loss"}
    assert any((model.params[name] != p).any() for name, p in before.items())
    after_one = {name: p.copy() for name, p in model.params.items()}
    rest = list(loop)
    assert [m.step for m in rest] == [2, 3, 4]
    assert [m.learning_rate for m in rest] == pytest.approx([0.02, 0.03, 0.04])
    assert any((model.params[name] != p).any() for name, p in after_one.items())


def test_the_norm_is_that_of_the_gradient_at_the_models_output():
    model = small.make("sequence")
    batch = next(batches())
    logits = model.forward(*batch[:3])[0].logits
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    dlogits = (probs - np.eye(small.CLASSES)[batch.labels]) / len(logits)
    first = next(start(model))
    assert first.norms["loss"] == pytest.approx(np.linalg.norm(dlogits), rel=1e-12)
    assert first.values["loss"] == pytest.approx(-np.log(probs[range(4), batch.labels]).mean())


def test_to_stop_stop_asking():
    model = small.make("sequence")
    for metrics in start(model):
        if metrics.step == 2:
            break
    stopped = {name: p.copy() for name, p in model.params.items()}
    other = small.make("sequence")
    list(itertools.islice(start(other), 2))
    for name, p in stopped.items():
        np.testing.assert_array_equal(other.params[name], p)


def test_parameters_that_are_not_trained_neither_move_nor_decay():
    model = small.make("sequence", dtype=np.float32)
    before = {name: p.tobytes() for name, p in model.params.items()}
    trained = {name for name in before if ".layers.1." in name or name.startswith("pooler")}
    list(start(model, trained))
    moved = {name for name, p in model.params.items() if p.tobytes() != before[name]}
    # A key bias has no gradient but rounding; whatever else is trained has moved.
    assert moved <= trained
    assert trained - moved <= {"encoder.layers.1.attention.b_k"}


@pytest.mark.parametrize("shards", [1, 2])
def test_dropout_depends_on_the_seed_and_on_nothing_else(shards):
    ends = []
    for seed in ((3,), (3,), (4,)):
        model = small.make("sequence", dropout=0.3)
        list(start(model, seed=seed, shards=shards))
        ends.append(model.params["pooler.w"])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any()


def test_every_step_drops_out_anew():
    drawn = []

    def objective(batch, counts, rng):
        drawn.append(rng.random())
        return StepResult({"loss": 0.0}, {"loss": 0.0}, {"x": np.zeros(1)})

    params, optimizer = {"x": np.zeros(1)}, Sgd()
    loop = train(
        objective,
        params,
        optimizer,
        optimizer.init(params),
        batches(3),
        learning_rate=lambda step: 0.1,
        clip=clip,
        seed=(7, 8),
        shards=1,
    )
    list(loop)
    assert drawn == [np.random.default_rng([7, 8, step, 0]).random() for step in range(3)]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["value", "norm", "gradient"])
@pytest.mark.parametrize("by", [clip_by_global_norm, clip_by_tensor_norm])
def test_what_is_not_finite_stops_before_it_is_written(bad, where, by):
    def objective(batch, counts, rng):
        odd = {where: bad}
        grads = {"x": np.array([1.0, odd.get("gradient", 1.0)]), "y": np.ones(1)}
        value, norm = odd.get("value", 1.0), odd.get("norm", 1.0)
        return StepResult({"loss": 1.0, "term": value}, {"loss": 1.0, "term": norm}, grads)

    params, optimizer = {"x": np.zeros(2), "y": np.zeros(1)}, AdamW()
    state = optimizer.init(params)
    loop = train(
        objective,
        params,
        optimizer,
        state,
        batches(1),
        learning_rate=lambda step: 0.25,
        clip=lambda grads: by(grads, 1.0),
        seed=(0,),
        shards=1,
    )
    with pytest.raises(InputError, match=r"learning rate: got 0\.25, expected .* \(step 1"):
        next(loop)
    assert state.step == 0
    assert not params["x"].any()
    assert not params["y"].any()


def test_a_rate_far_too_high_is_one_error_and_no_warning():
    # filterwarnings = error: an overflow that warned would raise something else.
    model = small.make("sequence", dtype=np.float32)
    with pytest.raises(InputError, match="stay finite"):
        list(start(model, rate=1e30, steps=10))

"""The distillation loss of a batch: sums, shards, names, and who is left alone."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
import toy_distillation as toy

from npformer.checks import InputError
from npformer.data.batches import Batch
from npformer.distill.build import build_terms, init_projections
from npformer.distill.objective import (
    DISTILL_PHASES,
    DistillObjective,
    combine,
    joint_params,
    trainable,
)
from npformer.distill.recipes import RECIPES
from npformer.distill.terms import EmbeddingTerm, HiddenTerm
from npformer.models import Encoder, output_arrays
from npformer.train.objective import add_results
from npformer.train.parallel import shard_threads
from npformer.types import part, prefixed

CORRECTED = RECIPES["corrected"]
TERMS_OF = {
    "general": {"loss", "embedding", "hidden", "attention"},
    "intermediate": {"loss", "embedding", "hidden", "attention"},
    "prediction": {"loss", "prediction"},
}


def assert_same(one, two, tolerance):
    for a, b in ((one.values, two.values), (one.squared_norms, two.squared_norms)):
        assert a.keys() == b.keys()
        assert all(b[name] == pytest.approx(a[name], rel=tolerance) for name in a)
    assert one.grads.keys() == two.grads.keys()
    largest = max(abs(g).max() for g in one.grads.values())
    for name, g in one.grads.items():
        np.testing.assert_allclose(two.grads[name], g, rtol=0, atol=tolerance * largest)


# --- shards, batches, padding ----------------------------------------------------------------


@pytest.mark.parametrize("phase", DISTILL_PHASES)
@pytest.mark.parametrize("recipe", ["corrected", "paper"])
def test_one_shard_is_two_is_three(recipe, phase):
    objective, _ = toy.objective(RECIPES[recipe], phase)
    batch = toy.ragged_batch()
    results = []
    for shards in (1, 2, 3):
        with shard_threads(shards) as run:
            results.append(reduce(add_results, run(objective, batch, None)))
    for result in results[1:]:
        assert_same(results[0], result, 1e-12)


@pytest.mark.parametrize("phase", DISTILL_PHASES)
def test_accumulated_batches_are_one(phase):
    objective, _ = toy.objective(CORRECTED, phase)
    batch = toy.ragged_batch()
    counts = batch.counts
    parts = [objective(part, counts, None) for part in batch.split(4)]
    assert_same(objective(batch, counts, None), reduce(add_results, parts), 1e-12)


@pytest.mark.parametrize("phase", DISTILL_PHASES)
def test_a_batch_of_two_is_two_batches_of_one(phase):
    objective, _ = toy.objective(CORRECTED, phase)
    batch = toy.ragged_batch((7, 4))
    counts = batch.counts
    halves = (Batch(*(a if a is None else a[i : i + 1] for a in batch)) for i in range(2))
    ones = [objective(half, counts, None) for half in halves]
    assert_same(objective(batch, counts, None), add_results(*ones), 1e-12)


@pytest.mark.parametrize("phase", DISTILL_PHASES)
@pytest.mark.parametrize("recipe", ["corrected", "paper"])
def test_padding_changes_nothing(recipe, phase):
    objective, _ = toy.objective(RECIPES[recipe], phase)
    narrow, wide = toy.ragged_batch(), toy.ragged_batch(width=max(toy.LENGTHS) + 4)
    results = [objective(batch, batch.counts, None) for batch in (narrow, wide)]
    # The rows of positions that only padding has are zero in both.
    assert_same(*results, 1e-12)


def test_padding_changes_the_released_recipe():
    objective, _ = toy.objective(replace(RECIPES["released"], teacher_dropout=False), "general")
    narrow, wide = toy.ragged_batch(), toy.ragged_batch(width=max(toy.LENGTHS) + 4)
    before, after = (objective(batch, batch.counts, None) for batch in (narrow, wide))
    for name in before.values:
        assert after.values[name] != pytest.approx(before.values[name], rel=1e-3)


# --- sums ------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", DISTILL_PHASES)
def test_every_terms_value_and_gradient_norm_is_there(phase):
    objective, _ = toy.objective(CORRECTED, phase)
    batch = toy.ragged_batch()
    result = objective(batch, batch.counts, None)
    assert result.values.keys() == result.squared_norms.keys() == TERMS_OF[phase]
    assert all(v > 1e-3 for v in result.values.values())
    assert all(n > 1e-9 for n in result.squared_norms.values())
    single = sum(v for name, v in result.values.items() if name != "loss")
    assert result.values["loss"] == pytest.approx(single)


def test_the_gradient_of_a_sum_is_the_sum_of_the_terms_gradients():
    batch = toy.ragged_batch()
    counts = batch.counts
    weights = {"embedding": 0.7, "hidden": 1.3, "attention": 2.1}
    whole, _ = toy.objective(CORRECTED, "general", weights=weights)
    total = whole(batch, counts, None)
    singles = [replace(whole, terms={n: t})(batch, counts, None) for n, t in whole.terms.items()]
    for name, g in total.grads.items():
        parts = sum(single.grads[name] for single in singles if name in single.grads)
        np.testing.assert_allclose(parts, g, rtol=0, atol=1e-14)
    for name, single in zip(whole.terms, singles, strict=True):
        assert total.values[name] == single.values[name]
        assert single.values["loss"] == pytest.approx(weights[name] * single.values[name])
        assert total.squared_norms[name] == single.squared_norms["loss"]


def test_norms_are_those_of_the_gradient_at_the_students_output():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    terms = {name: (0.5, toy.TERMS[name]) for name in ("embedding", "hidden", "attention")}
    total = combine(terms, student, teacher, batch.keep)
    # These three look at different arrays, so their squares add up.
    three = sum(n for name, n in total.squared_norms.items() if name != "loss")
    assert total.squared_norms["loss"] == pytest.approx(three)
    whole = sum(float((a**2).sum()) for a in output_arrays(total.dstudent))
    assert total.squared_norms["loss"] == pytest.approx(whole)
    error = student.hidden[0] @ toy.W - teacher.hidden[0]
    dx = 0.5 * 2 * error * batch.keep[:, :, None] / (batch.keep.sum() * toy.TEACHER.d_model)
    expected = float(((dx @ toy.W.T) ** 2).sum())
    assert total.squared_norms["embedding"] == pytest.approx(expected)


def test_terms_that_name_the_same_projection_share_it():
    batch = toy.ragged_batch()
    outputs = toy.outputs(batch)
    shared = {"shared.w": toy.W}
    terms = {
        "embedding": (1.0, EmbeddingTerm("shared", shared)),
        "hidden": (2.0, HiddenTerm(toy.LAYERS, ("shared", "shared"), shared)),
    }
    grads = combine(terms, *outputs, batch.keep).grads
    ones = [combine({n: t}, *outputs, batch.keep).grads["shared.w"] for n, t in terms.items()]
    assert grads.keys() == {"shared.w"}
    np.testing.assert_allclose(grads["shared.w"], sum(ones), rtol=1e-13)


def test_a_key_bias_learns_from_the_scores_and_from_nothing_else():
    batch = toy.ragged_batch()
    objective, _ = toy.objective(CORRECTED, "general")
    without, _ = toy.objective(CORRECTED, "general", weights={"attention": 0})
    assert "attention" not in without.terms
    results = [o(batch, batch.counts, None).grads for o in (objective, without)]
    for i in range(toy.STUDENT.num_layers):
        name = f"student.encoder.layers.{i}.attention.b_k"
        assert abs(results[0][name]).max() > 1e-3
        assert abs(results[1][name]).max() < 1e-15


# --- names and phases ------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("phase", DISTILL_PHASES)
def test_every_trained_parameter_has_a_gradient_and_every_other_none(recipe, phase):
    objective, projections = toy.objective(RECIPES[recipe], phase)
    joint = joint_params(objective.student.params, projections)
    batch = toy.ragged_batch()
    grads = objective(batch, batch.counts, np.random.default_rng(1)).grads
    chosen = trainable(joint, phase)
    assert chosen == [name for name in joint if name in set(chosen)]
    for name, p in joint.items():
        if name in chosen:
            assert grads[name].shape == p.shape
            assert grads[name].any(), name
        else:
            assert name not in grads or not grads[name].any()


@pytest.mark.parametrize("phase", DISTILL_PHASES)
def test_what_a_phase_trains(phase):
    objective, projections = toy.objective(CORRECTED, phase)
    chosen = set(trainable(joint_params(objective.student.params, projections), phase))
    heads = {f"student.{head}.{kind}" for head in ("pooler", "classifier") for kind in "wb"}
    encoder = set(prefixed("student.encoder", part(objective.student.params, "encoder")))
    learned = set(prefixed("projection", projections))
    assert learned == {"projection.embedding.w", "projection.hidden.w"}
    assert chosen == (encoder | heads if phase == "prediction" else encoder | learned)


def test_an_encoder_alone_can_be_the_student():
    small, large = toy.models()
    rng = np.random.default_rng(2)
    projections = init_projections(CORRECTED, toy.STUDENT, toy.TEACHER, rng, np.float64)
    terms = build_terms(CORRECTED, "general", toy.STUDENT, toy.TEACHER, projections)
    batch = toy.ragged_batch()._replace(labels=None)
    alone = DistillObjective(Encoder(toy.STUDENT, part(small.params, "encoder")), large, terms)
    inside = DistillObjective(small, large.encoder, terms)
    one, two = (o(batch, batch.counts, None) for o in (alone, inside))
    joint = joint_params(alone.student.params, projections)
    assert set(one.grads) == set(joint)
    assert trainable(joint, "general") == list(joint)
    assert one.values == two.values
    for name, g in part(one.grads, "student").items():
        np.testing.assert_array_equal(g, two.grads[f"student.encoder.{name}"])


def test_unknown_phase():
    with pytest.raises(InputError, match="phase: got 'task', expected one of general, inter"):
        trainable([], "task")


def test_no_terms():
    small, large = toy.models()
    with pytest.raises(InputError, match="terms: got none"):
        DistillObjective(small, large, {})


# --- the teacher, and randomness -------------------------------------------------------------


class OnlyForward:
    """A model that notes how it is called and has no backward to call."""

    def __init__(self, model):
        self.model, self.calls = model, []

    def forward(self, *inputs, **options):
        self.calls.append(options)
        return self.model.forward(*inputs, **options)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("phase", DISTILL_PHASES)
def test_the_teacher_is_read_only_and_gives_scores_only_where_needed(phase, dropout):
    objective, _ = toy.objective(replace(CORRECTED, teacher_dropout=dropout), phase)
    before = {name: p.copy() for name, p in objective.teacher.params.items()}
    watched = OnlyForward(objective.teacher)
    batch = toy.ragged_batch()
    replace(objective, teacher=watched)(batch, batch.counts, np.random.default_rng(1))
    (options,) = watched.calls
    assert options["output_scores"] == (phase != "prediction")
    assert (options["rng"] is not None) == dropout
    for name, p in objective.teacher.params.items():
        np.testing.assert_array_equal(p, before[name])


def test_dropout_is_the_students_and_a_function_of_the_generator():
    objective, _ = toy.objective(CORRECTED, "general")
    batch = toy.ragged_batch()
    counts = batch.counts
    one, same, other = (objective(batch, counts, np.random.default_rng(s)) for s in (1, 1, 2))
    assert_same(one, same, 0)
    assert other.values["loss"] != pytest.approx(one.values["loss"], rel=1e-6)
    assert objective(batch, counts, None).values["loss"] != pytest.approx(one.values["loss"])


def test_the_students_masks_do_not_depend_on_the_teachers_dropout():
    batch = toy.ragged_batch()
    still = replace(toy.TEACHER, dropout=0.0)
    values = []
    for flag in (False, True):
        recipe = replace(CORRECTED, teacher_dropout=flag)
        objective, _ = toy.objective(recipe, "general", teacher=still)
        result = objective(batch, batch.counts, np.random.default_rng(1))
        values.append(result.values)
    assert values[0] == values[1]

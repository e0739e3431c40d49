"""Terms against plain loops, and what must not change them: padding, shards."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import toy_distillation as toy

from npformer.checks import InputError
from npformer.data.batches import Counts
from npformer.distill.terms import (
    AttentionScoresTerm,
    EmbeddingTerm,
    HardLabelTerm,
    HiddenTerm,
    LogitMseTerm,
    PredictionTerm,
)
from npformer.models import ModelOutput, output_arrays

ALL_TERMS = toy.TERMS | toy.PADDED_TERMS


def evaluate(term, student, teacher, batch, counts=None):
    """Value, gradient of the student's output, gradients of the projections."""
    value, cache = term.forward(student, teacher, batch.keep, labels=batch.labels, counts=counts)
    return value, *term.backward(1.7, cache)


# --- values, by the definitions --------------------------------------------------------------


def test_hidden_is_the_mean_over_real_tokens_summed_over_levels():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    expected, tokens = 0.0, sum(toy.LENGTHS)
    for m, g in toy.LAYERS:
        for b, length in enumerate(toy.LENGTHS):
            for t in range(length):
                error = student.hidden[m][b, t] @ toy.W - teacher.hidden[g][b, t]
                expected += (error**2).sum() / (tokens * toy.TEACHER.d_model)
    assert evaluate(toy.TERMS["hidden"], student, teacher, batch)[0] == pytest.approx(expected)


def test_embedding_is_hidden_at_level_zero():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    error = student.hidden[0] @ toy.W + toy.BIAS - teacher.hidden[0]
    value, _, _ = evaluate(toy.TERMS["embedding, bias"], student, teacher, batch)
    assert value == pytest.approx((error[batch.keep] ** 2).mean())


def test_attention_is_the_mean_over_real_pairs_and_heads_summed_over_layers():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    expected, pairs = 0.0, sum(n * n for n in toy.LENGTHS)
    for m, g in toy.LAYERS:
        for b, n in enumerate(toy.LENGTHS):
            error = student.scores[m - 1][b, :, :n, :n] - teacher.scores[g - 1][b, :, :n, :n]
            expected += (error**2).sum() / (toy.STUDENT.num_heads * pairs)
    assert evaluate(toy.TERMS["attention"], student, teacher, batch)[0] == pytest.approx(expected)


def test_attention_of_groups_compares_with_their_mean():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    many = np.random.default_rng(8).standard_normal((4, len(batch.ids), 6, 7, 7))
    expected, pairs = 0.0, sum(n * n for n in toy.LENGTHS)
    for m, g in toy.LAYERS:
        for h in range(3):
            target = (many[g - 1][:, 2 * h] + many[g - 1][:, 2 * h + 1]) / 2
            for b, n in enumerate(toy.LENGTHS):
                error = (student.scores[m - 1][b, h] - target[b])[:n, :n]
                expected += (error**2).sum() / (3 * pairs)
    term = AttentionScoresTerm(toy.LAYERS, heads="group_mean")
    teacher = teacher._replace(scores=tuple(many))
    value, dstudent, _ = evaluate(term, student, teacher, batch)
    assert value == pytest.approx(expected)
    assert [d.shape for d in dstudent.scores] == [a.shape for a in student.scores]
    with pytest.raises(InputError, match="got 3 in the student and 6 in the teacher"):
        toy.TERMS["attention"].forward(student, teacher, batch.keep)


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def test_prediction_is_the_mean_over_sequences():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    p, q = softmax(teacher.logits / 2.3), softmax(student.logits / 2.3)
    kl = (p * np.log(p / q)).sum(axis=1).mean()
    value, _, _ = evaluate(toy.TERMS["prediction"], student, teacher, batch)
    assert value == pytest.approx(2.3**2 * kl)


def test_prediction_of_tokens_leaves_padding_out():
    batch = toy.ragged_batch()
    rng = np.random.default_rng(3)
    student, teacher = (
        ModelOutput(logits=rng.standard_normal((*batch.ids.shape, 5))) for _ in range(2)
    )
    p, q = softmax(teacher.logits), softmax(student.logits)
    expected = -(p * np.log(q)).sum(axis=2)[batch.keep].mean()
    for counts in (None, batch.counts):
        value, dstudent, _ = evaluate(PredictionTerm(), student, teacher, batch, counts)
        assert value == pytest.approx(expected)
        assert not dstudent.logits[~batch.keep].any()


def test_hard_label_and_logit_mse():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    nll = -np.log(softmax(student.logits))[np.arange(len(batch.ids)), batch.labels].mean()
    assert evaluate(HardLabelTerm(), student, teacher, batch)[0] == pytest.approx(nll)
    mse = ((student.logits - teacher.logits) ** 2).mean()
    assert evaluate(LogitMseTerm(), student, teacher, batch)[0] == pytest.approx(mse)


def test_a_hard_label_of_minus_100_counts_for_nothing():
    batch = toy.ragged_batch()
    labels = np.where(np.arange(len(batch.ids)) == 2, -100, batch.labels)
    batch = batch._replace(labels=labels)
    student, teacher = toy.outputs(batch)
    alone = evaluate(HardLabelTerm(), student, teacher, batch)
    counted = evaluate(HardLabelTerm(), student, teacher, batch, batch.counts)
    assert counted[0] == alone[0]
    np.testing.assert_array_equal(counted[1].logits, alone[1].logits)


# --- what a term does when there is nothing to learn -----------------------------------------


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
def test_the_teacher_has_nothing_to_learn_from_itself(tau):
    batch = toy.ragged_batch()
    _, teacher = toy.outputs(batch)
    d = toy.TEACHER.d_model
    same = ((1, 1), (3, 3))
    identity = HiddenTerm(same, ("hidden", "hidden"), {"hidden.w": np.eye(d)})
    terms = [identity, AttentionScoresTerm(same), LogitMseTerm(), PredictionTerm(tau, kind="kl")]
    for term in terms:
        value, dstudent, _ = evaluate(term, teacher, teacher, batch)
        assert value == pytest.approx(0, abs=1e-25)
        assert all(abs(a).max() < 1e-12 for a in output_arrays(dstudent))


def test_the_soft_cross_entropy_of_the_teacher_with_itself_is_its_entropy():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    p = softmax(teacher.logits)
    entropy = -(p * np.log(p)).sum(axis=1).mean()
    soft, hard = PredictionTerm(), PredictionTerm(kind="kl")
    assert evaluate(soft, teacher, teacher, batch)[0] == pytest.approx(entropy)
    difference = evaluate(soft, student, teacher, batch)[0]
    difference -= evaluate(hard, student, teacher, batch)[0]
    assert difference == pytest.approx(entropy)


def test_a_batch_of_padding_alone_is_zero_and_not_nan():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    batch = batch._replace(keep=np.zeros_like(batch.keep))
    for name in ("embedding", "hidden", "attention"):
        value, dstudent, grads = evaluate(toy.TERMS[name], student, teacher, batch)
        assert value == 0
        assert not any(a.any() for a in (*output_arrays(dstudent), *grads.values()))


# --- padding, shards, batches ----------------------------------------------------------------


@pytest.mark.parametrize("term", toy.TERMS.values(), ids=toy.TERMS.keys())
def test_padding_changes_no_value_and_no_gradient(term):
    width = max(toy.LENGTHS)
    narrow, wide = toy.ragged_batch(), toy.ragged_batch(width=width + 4)
    value, dstudent, grads = evaluate(term, *toy.outputs(narrow), narrow)
    wide_value, wide_dstudent, wide_grads = evaluate(term, *toy.outputs(wide), wide)
    assert wide_value == pytest.approx(value, rel=1e-13)
    assert wide_grads.keys() == grads.keys()
    for name in grads:
        np.testing.assert_allclose(wide_grads[name], grads[name], rtol=0, atol=1e-13)
    for field in ("hidden", "scores"):
        for got, want in zip(
            getattr(wide_dstudent, field) or (), getattr(dstudent, field) or (), strict=True
        ):
            if want is None:
                assert got is None
                continue
            inner = (..., *(slice(width),) * 2) if field == "scores" else np.s_[:, :width]
            np.testing.assert_allclose(got[inner], want, rtol=0, atol=1e-13)
            assert abs(got).sum() == pytest.approx(abs(got[inner]).sum(), rel=1e-13)


@pytest.mark.parametrize("name", ["embedding", "hidden"])
def test_padding_changes_the_released_ones(name):
    narrow, wide = toy.ragged_batch(), toy.ragged_batch(width=max(toy.LENGTHS) + 4)
    term = toy.PADDED_TERMS[f"{name}, padding"]
    before, after = (evaluate(term, *toy.outputs(b), b)[0] for b in (narrow, wide))
    assert after != pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
@pytest.mark.parametrize("term", toy.TERMS.values(), ids=toy.TERMS.keys())
def test_shards_add_up(term, shards):
    batch = toy.ragged_batch()
    outputs = toy.outputs(batch)
    value, dstudent, grads = evaluate(term, *outputs, batch)
    parts = batch.split(shards)
    assert any(part.ids.shape[1] < batch.ids.shape[1] for part in parts) or shards == 1
    _check_parts(term, batch, parts, outputs, value, dstudent, grads)


@pytest.mark.parametrize("term", ALL_TERMS.values(), ids=ALL_TERMS.keys())
def test_parts_of_one_width_add_up(term):
    batch = toy.ragged_batch()
    outputs = toy.outputs(batch)
    parts = [
        type(batch)(*(a if a is None else a[i : i + 1] for a in batch))
        for i in range(len(batch.ids))
    ]
    _check_parts(term, batch, parts, outputs, *evaluate(term, *outputs, batch))


def _check_parts(term, batch, parts, outputs, value, dstudent, grads):
    counts = batch.counts
    bounds = np.cumsum([0, *(len(part.ids) for part in parts)])
    sum_value, sum_grads = 0.0, {name: np.zeros_like(g) for name, g in grads.items()}
    for part, (start, stop) in zip(parts, pairwise(bounds), strict=True):
        rows, width = slice(start, stop), part.ids.shape[1]
        small = [toy.rows(output, rows, width) for output in outputs]
        part_value, part_dstudent, part_grads = evaluate(term, *small, part, counts)
        sum_value += part_value
        for name, g in part_grads.items():
            sum_grads[name] = sum_grads[name] + g
        whole = dstudent.hidden or dstudent.scores or (dstudent.logits,)
        piece = part_dstudent.hidden or part_dstudent.scores or (part_dstudent.logits,)
        for got, want in zip(piece, whole, strict=True):
            assert (got is None) == (want is None)
            if got is not None:
                inside = tuple(slice(n) for n in got.shape[1:])
                np.testing.assert_allclose(got, want[(rows, *inside)], rtol=0, atol=1e-14)
    assert sum_value == pytest.approx(value, rel=1e-12)
    for name, g in grads.items():
        np.testing.assert_allclose(sum_grads[name], g, rtol=0, atol=1e-12 * abs(g).max())


# --- the contract ----------------------------------------------------------------------------


@pytest.mark.parametrize("term", ALL_TERMS.values(), ids=ALL_TERMS.keys())
def test_nothing_is_written_and_types_stay(term):
    batch = toy.ragged_batch()
    outputs = [_as(output, np.float32) for output in toy.outputs(batch)]
    term = replace(term, params={k: p.astype(np.float32) for k, p in term.params.items()})
    arrays = [*output_arrays(outputs[0]), *output_arrays(outputs[1]), *term.params.values()]
    before = [a.copy() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    value, cache = term.forward(*outputs, batch.keep, labels=batch.labels)
    dstudent, grads = term.backward(0.6, cache)
    again, grads_again = term.backward(0.6, cache)
    assert type(value) is float
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))
    assert grads.keys() == term.params.keys()
    for one, two in zip(output_arrays(dstudent), output_arrays(again), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, two)
    for name, g in grads.items():
        assert (g.dtype, g.shape) == (np.float32, term.params[name].shape)
        np.testing.assert_array_equal(g, grads_again[name])


def _as(output, dtype):
    return ModelOutput(
        tuple(h.astype(dtype) for h in output.hidden),
        tuple(a.astype(dtype) for a in output.scores),
        output.logits.astype(dtype),
    )


def test_a_term_is_silent_where_it_does_not_look():
    batch = toy.ragged_batch()
    outputs = toy.outputs(batch)
    _, dstudent, _ = evaluate(toy.TERMS["embedding"], *outputs, batch)
    assert [h is None for h in dstudent.hidden] == [False, True, True]
    assert dstudent.scores is None
    assert dstudent.logits is None
    _, dstudent, _ = evaluate(AttentionScoresTerm(((2, 3),)), *outputs, batch)
    assert [a is None for a in dstudent.scores] == [True, False]
    assert dstudent.hidden is None


def test_a_shared_projections_gradient_is_the_sum_of_its_levels():
    batch = toy.ragged_batch()
    outputs = toy.outputs(batch)
    _, _, shared = evaluate(toy.TERMS["hidden"], *outputs, batch)
    apart = HiddenTerm(toy.LAYERS, ("a", "b"), {"a.w": toy.W, "b.w": toy.W})
    _, _, grads = evaluate(apart, *outputs, batch)
    np.testing.assert_allclose(shared["hidden.w"], grads["a.w"] + grads["b.w"], rtol=1e-12)


# --- what is refused -------------------------------------------------------------------------


def test_different_numbers_of_heads_say_what_to_do():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    fewer = student._replace(scores=tuple(a[:, :2] for a in student.scores))
    message = (
        r"num_heads: got 2 in the student and 3 in the teacher.*--student LxDx3.*attention=0\)"
    )
    with pytest.raises(InputError, match=message):
        AttentionScoresTerm(toy.LAYERS).forward(fewer, teacher, batch.keep)


@pytest.mark.parametrize(
    ("term", "missing", "message"),
    [
        ("hidden", {"hidden": None}, "the student's hidden states: got none"),
        ("hidden", {"hidden": (None,) * 3}, "hidden states: got none at index 1 of 3"),
        ("attention", {"scores": None}, "the student's attention scores: got none"),
        ("prediction", {"logits": None}, "the student's logits: got none"),
    ],
)
def test_an_output_that_is_not_there(term, missing, message):
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    with pytest.raises(InputError, match=message):
        toy.TERMS[term].forward(student._replace(**missing), teacher, batch.keep)


def test_a_layer_that_the_teacher_has_not():
    batch = toy.ragged_batch()
    with pytest.raises(InputError, match="the teacher's attention scores: got none at index 8"):
        AttentionScoresTerm(((1, 9),)).forward(*toy.outputs(batch), batch.keep)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PredictionTerm(tau=0.0), "tau: got 0.0"),
        (lambda: PredictionTerm(kind="js"), "kind: got 'js', expected one of soft_cross_entropy"),
        (lambda: LogitMseTerm("both"), "target: got 'both', expected one of teacher, label"),
        (lambda: HiddenTerm(toy.LAYERS, ("a",), {}), "projections: got 1, expected 2"),
    ],
)
def test_unknown_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("term", "labels", "message"),
    [
        (HardLabelTerm(), None, "labels: got none, expected integer classes"),
        (HardLabelTerm(), np.ones(7), "labels: got float64 array, expected integer classes"),
        (LogitMseTerm("label"), None, "labels: got none, expected numbers"),
    ],
)
def test_labels_that_do_not_fit(term, labels, message):
    batch = toy.ragged_batch()
    with pytest.raises(InputError, match=message):
        term.forward(*toy.outputs(batch), batch.keep, labels=labels)


def test_widths_that_do_not_fit_the_projection():
    batch = toy.ragged_batch()
    student, teacher = toy.outputs(batch)
    with pytest.raises(InputError, match="w: got shape"):
        EmbeddingTerm("e", {"e.w": np.ones((5, 12))}).forward(student, teacher, batch.keep)
    with pytest.raises(InputError, match="target: got shape"):
        EmbeddingTerm("e", {"e.w": np.ones((6, 13))}).forward(student, teacher, batch.keep)


def test_the_whole_batchs_counts_are_what_is_divided_by():
    batch = toy.ragged_batch()
    outputs = toy.outputs(batch)
    counts = batch.counts
    double = Counts(*(2 * n for n in counts))
    for term in ALL_TERMS.values():
        value = evaluate(term, *outputs, batch, counts)[0]
        assert evaluate(term, *outputs, batch, double)[0] == pytest.approx(value / 2)

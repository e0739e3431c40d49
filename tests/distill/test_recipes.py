"""Recipes: what each flag changes, in numbers."""

import ast
import inspect
import json
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
import toy_distillation as toy

from npformer.checks import InputError
from npformer.data.augment import augment
from npformer.data.batches import IGNORE, steps_per_epoch
from npformer.data.glue import Examples
from npformer.data.masking import mask_tokens
from npformer.data.tokenizer import SpecialIds, train_wordpiece
from npformer.distill import recipes
from npformer.distill.build import build_terms, init_projections
from npformer.distill.recipes import RECIPES, Recipe, find_recipe
from npformer.models import ModelOutput
from npformer.train.objective import StepResult
from npformer.train.phase import Phase, run_phase
from npformer.train.run import Run

CORRECTED, PAPER, RELEASED = (RECIPES[name] for name in ("corrected", "paper", "released"))
FLAGS = [f.name for f in fields(Recipe)]
# On these all three agree; they are in a recipe so that an experiment can be one.
AGREED = {"mapping", "heads", "tau", "candidates_once"}


def terms_of(recipe, phase="intermediate", **weights):
    rng = np.random.default_rng(1)
    projections = init_projections(
        recipe, toy.STUDENT, toy.TEACHER, rng, np.float64, weights=weights
    )
    return build_terms(recipe, phase, toy.STUDENT, toy.TEACHER, projections, weights=weights)


def terms_projections():
    return init_projections(CORRECTED, toy.STUDENT, toy.TEACHER, np.random.default_rng(1))


def value_of(recipe, name, student, teacher, keep, labels=None):
    """Value of one term, and its gradient at the student's output."""
    _, term = terms_of(recipe, "prediction" if name == "prediction" else "intermediate")[name]
    value, cache = term.forward(student, teacher, keep, labels=labels)
    return value, term.backward(1.0, cache)[0]


def flagged(flag):
    """Return `corrected` with one flag as the released code has it."""
    return replace(CORRECTED, **{flag: getattr(RELEASED, flag)})


def padded(scale=1.0):
    """Outputs of independent noise: one sequence of 32 tokens, padded to 128."""
    rng = np.random.default_rng(2)

    def output(config):
        return ModelOutput(
            tuple(scale * rng.standard_normal((config.num_layers + 1, 1, 128, config.d_model))),
            tuple(scale * rng.standard_normal((config.num_layers, 1, 3, 128, 128))),
        )

    return output(toy.STUDENT), output(toy.TEACHER), np.arange(128)[None] < 32


# --- the intermediate losses -----------------------------------------------------------------


def test_flag_mapping_chooses_the_teachers_layers():
    def layers(mapping):
        return [g for _, g in terms_of(replace(CORRECTED, mapping=mapping))["hidden"][1].levels]

    assert layers("uniform") == [2, 4]
    assert layers("top") == [3, 4]
    assert layers("bottom") == [1, 2]
    assert layers((4, 1)) == [4, 1]
    assert terms_of(replace(CORRECTED, mapping="top"))["attention"][1].levels == ((1, 3), (2, 4))


def test_flag_heads_chooses_what_a_head_is_compared_with():
    student, teacher, keep = padded()
    same = replace(CORRECTED, heads="group_mean")
    # With as many heads on both sides a group has one, and the bits are the same.
    for one, other in zip(
        value_of(CORRECTED, "attention", student, teacher, keep)[1].scores,
        value_of(same, "attention", student, teacher, keep)[1].scores,
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    several = replace(toy.TEACHER, num_heads=6)
    with pytest.raises(InputError, match="compare with means of groups \\(--heads group_mean\\)"):
        build_terms(CORRECTED, "general", toy.STUDENT, several, terms_projections())
    terms = build_terms(same, "general", toy.STUDENT, several, terms_projections())
    assert terms["attention"][1].heads == "group_mean"
    odd = replace(toy.TEACHER, num_heads=4)
    for recipe, said in ((same, "cannot be grouped evenly, expected a student of 1, 2, 4 heads"),):
        with pytest.raises(InputError, match=said):
            build_terms(recipe, "general", toy.STUDENT, odd, terms_projections())
    with pytest.raises(InputError, match="head by head: give the student 4"):
        build_terms(CORRECTED, "general", toy.STUDENT, odd, terms_projections())


def test_flag_projection_chooses_who_shares():
    rng = np.random.default_rng(1)

    def names(projection):
        recipe = replace(CORRECTED, projection=projection)
        return list(init_projections(recipe, toy.STUDENT, toy.TEACHER, rng))

    assert names("separate") == ["embedding.w", "hidden.w"]
    assert names("shared") == ["shared.w"]
    assert names("per_level") == ["level_0.w", "level_1.w", "level_2.w"]
    terms = terms_of(replace(CORRECTED, projection="shared"))
    held = [terms[name][1].params["shared.w"] for name in ("embedding", "hidden")]
    assert held[0] is held[1]
    # One matrix cannot be two: here W_e = 1 and W_h = -1 fit exactly, apart, and 0 is the best
    # that both together can do.
    x = np.random.default_rng(2).standard_normal((2, 500))
    errors = {"apart": ((x - x) ** 2).mean(), "shared": ((0 * x - x) ** 2).mean()}
    assert errors["apart"] == 0 < errors["shared"]


def test_flag_projection_bias_lets_a_constant_through():
    student = ModelOutput(hidden=(np.zeros((1, 4, 6)),) * 3)
    teacher = ModelOutput(hidden=(np.full((1, 4, 12), 3.0),) * 5)
    keep = np.ones((1, 4), bool)
    for bias in (False, True):
        terms = terms_of(replace(CORRECTED, projection_bias=bias))
        _, term = terms["embedding"]
        value, cache = term.forward(student, teacher, keep)
        _, grads = term.backward(1.0, cache)
        assert value == 9
        # Of zeros W makes zeros: only a bias can learn the teacher's mean.
        assert not grads["embedding.w"].any()
        assert [name.endswith(".b") for name in grads] == [False] + [True] * bias
    np.testing.assert_allclose(grads["embedding.b"], -2 * 3.0 / 12)


@pytest.mark.parametrize("name", ["embedding", "hidden"])
def test_flag_mask_hidden_three_quarters_of_the_loss_are_padding(name):
    student, teacher, keep = padded()
    for recipe, share in ((CORRECTED, 0.0), (flagged("mask_hidden"), 0.75)):
        _, dstudent = value_of(recipe, name, student, teacher, keep)
        squares = sum((h**2).sum(axis=2) for h in dstudent.hidden if h is not None)
        assert squares[~keep].sum() / squares.sum() == pytest.approx(share, abs=0.05)


def test_flag_mask_queries_three_quarters_of_the_loss_are_padded_queries():
    student, teacher, keep = padded()
    for recipe, share in ((CORRECTED, 0.0), (flagged("mask_queries"), 0.75)):
        _, dstudent = value_of(recipe, "attention", student, teacher, keep)
        rows = sum((a**2).sum(axis=(1, 3)) for a in dstudent.scores)  # (B, T)
        assert rows[~keep].sum() / rows.sum() == pytest.approx(share, abs=0.02)
        assert not any(a[..., 32:].any() for a in dstudent.scores)  # keys: never


def test_flag_divide_by_area_dilutes_the_loss():
    student, teacher, keep = padded(scale=0.5**0.5)
    right, _ = value_of(CORRECTED, "attention", student, teacher, keep)
    area, _ = value_of(flagged("divide_by_area"), "attention", student, teacher, keep)
    both = replace(CORRECTED, divide_by_area=True, mask_queries=False)
    released, _ = value_of(both, "attention", student, teacher, keep)
    # Errors of variance 1 in each of two layers.
    assert right == pytest.approx(2, rel=0.03)
    assert area == pytest.approx(right / 16)
    # Four times diluted, and that only because the padded queries fill it up again.
    assert released == pytest.approx(right / 4, rel=0.03)


# --- the prediction loss ---------------------------------------------------------------------


def two_logits(scale=1.0, columns=2):
    rng = np.random.default_rng(3)
    return [ModelOutput(logits=scale * rng.standard_normal((6, columns))) for _ in range(2)]


KEEP = np.ones((6, 4), bool)


def test_flag_prediction_kind_differs_by_the_teachers_entropy():
    student, teacher = two_logits()
    kl, dkl = value_of(CORRECTED, "prediction", student, teacher, KEEP)
    soft, dsoft = value_of(flagged("prediction_kind"), "prediction", student, teacher, KEEP)
    p = np.exp(teacher.logits) / np.exp(teacher.logits).sum(axis=1, keepdims=True)
    assert soft - kl == pytest.approx(-(p * np.log(p)).sum(axis=1).mean())
    np.testing.assert_array_equal(dsoft.logits, dkl.logits)
    assert value_of(CORRECTED, "prediction", teacher, teacher, KEEP)[0] == pytest.approx(0)


@pytest.mark.parametrize("columns", [2, 3, 7])
def test_flag_divide_by_classes_halves_the_loss_of_two_classes(columns):
    outputs = two_logits(columns=columns)
    right, dright = value_of(CORRECTED, "prediction", *outputs, KEEP)
    divided, ddivided = value_of(flagged("divide_by_classes"), "prediction", *outputs, KEEP)
    assert divided == pytest.approx(right / columns)
    np.testing.assert_allclose(ddivided.logits, dright.logits / columns)


def test_flag_tau_softens():
    outputs = two_logits(4.0)
    losses = [
        value_of(replace(PAPER, tau=tau), "prediction", *outputs, KEEP)[0] for tau in (1, 4, 256)
    ]
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] == pytest.approx(np.log(2), rel=1e-3)  # all classes alike


def test_flag_tau_squared_holds_the_gradient():
    student, teacher = two_logits(columns=5)

    def norms(tau_squared):
        made = (replace(CORRECTED, tau=t, tau_squared=tau_squared) for t in (1.0, 4.0, 16.0, 64.0))
        return np.array(
            [
                np.linalg.norm(value_of(r, "prediction", student, teacher, KEEP)[1].logits)
                for r in made
            ]
        )

    plain, flat = norms(False), norms(True)
    np.testing.assert_allclose(flat, plain * [1, 16, 256, 4096])
    assert plain[0] / plain[3] > 2000  # 1 / tau^2
    assert flat[1:].max() / flat[1:].min() < 1.15
    # The limit is the squared error of the centred logits.
    z = student.logits - teacher.logits
    z -= z.mean(axis=1, keepdims=True)
    assert flat[3] == pytest.approx(np.linalg.norm(z) / z.size, rel=0.03)


def test_flag_regression_target_label_ignores_the_teacher():
    regressor = replace(toy.STUDENT, num_classes=1, problem="regression")
    student, teacher = two_logits(columns=1)
    labels = np.arange(6.0)
    for recipe, target in (
        (CORRECTED, teacher.logits[:, 0]),
        (flagged("regression_target"), labels),
    ):
        ((weight, term),) = build_terms(recipe, "prediction", regressor, toy.TEACHER, {}).values()
        value, _ = term.forward(student, teacher, KEEP, labels=labels)
        assert (weight, value) == (1, pytest.approx(((student.logits[:, 0] - target) ** 2).mean()))


# --- the models ------------------------------------------------------------------------------


def test_flag_relu_before_classifier_changes_a_teachers_logits():
    batch = toy.ragged_batch()
    logits = []
    for recipe in (CORRECTED, RELEASED):
        config = replace(toy.TEACHER, relu_before_classifier=recipe.relu_before_classifier)
        _, teacher = toy.models(teacher=config)
        logits.append(teacher.forward(batch.ids, batch.keep, batch.segments)[0].logits)
    assert abs(logits[0] - logits[1]).max() > 0.1 * abs(logits[0]).max()


def test_flag_teacher_dropout_makes_the_target_noise():
    # No dropout in the student, so that what is left is the teacher's.
    still = replace(toy.STUDENT, dropout=0.0)
    batch = toy.ragged_batch()
    for recipe, noisy in ((CORRECTED, False), (flagged("teacher_dropout"), True)):
        objective, _ = toy.objective(recipe, "general", student=still)
        losses = [
            objective(batch, batch.counts, np.random.default_rng(s)).values["loss"]
            for s in range(3)
        ]
        assert (np.ptp(losses) > 1e-3) == noisy


# --- the optimization ------------------------------------------------------------------------


def steps_of(recipe):
    """Return how far a constant gradient moves a number at each of 1000 steps of rate 1."""
    optimizer = recipe.make_optimizer()
    params, grads = {"x": np.zeros(1)}, {"x": np.full(1, 0.5)}
    state, path = optimizer.init(params), [0.0]
    for _ in range(1000):
        optimizer.update(params, grads, state, 1.0)
        path.append(float(params["x"][0]))
    return -np.diff(path)


def test_flag_optimizer_bert_adam_overshoots_at_a_constant_rate():
    ratio = steps_of(flagged("optimizer")) / steps_of(CORRECTED)
    assert ratio[0] == pytest.approx(3.16, abs=0.01)
    assert (ratio.argmax() + 1, ratio.max()) == (12, pytest.approx(6.57, abs=0.01))
    assert ratio[99] == pytest.approx(3.24, abs=0.01)
    assert ratio[999] == pytest.approx(1.26, abs=0.01)


def phase_of(recipe, **options):
    return Phase(
        "intermediate",
        100,
        2.0,
        recipe.make_optimizer(),
        (0,),
        schedule=recipe.schedule,
        clip=recipe.clipping,
        keep_best=recipe.select_best,
        **options,
    )


def test_flag_clipping_per_tensor_turns_the_step():
    for recipe, expected in ((CORRECTED, (4 / 5, 3 / 5)), (flagged("clipping"), (1, 1))):
        grads = {"large": np.array([4.0]), "small": np.array([3.0])}
        phase_of(recipe).clipper(grads)
        assert [float(g[0]) for g in grads.values()] == pytest.approx(expected, rel=1e-5)


def test_flag_intermediate_schedule_constant_neither_warms_up_nor_decays():
    linear, constant = phase_of(CORRECTED), phase_of(flagged("intermediate_schedule"))
    assert [linear.rate(t) for t in (0, 5, 10, 55)] == pytest.approx([0, 1, 2, 1])
    assert [constant.rate(t) for t in (0, 5, 10, 55, 99)] == [2] * 5


def test_flag_select_best_keeps_the_best_dev_score(tmp_path):
    ends = []
    for i, recipe in enumerate((CORRECTED, flagged("select_best"))):
        run = Run.create(tmp_path / str(i), {})
        params, seen = {"x": np.zeros(1)}, []
        scores = iter((0.6, 0.9, 0.7))

        def objective(batch, counts, rng):
            return StepResult({"loss": 1.0}, {"loss": 1.0}, {"x": np.ones(1)})

        def evaluate(seen=seen, params=params, scores=scores):
            seen.append(float(params["x"][0]))
            return {"accuracy": next(scores)}

        phase = replace(phase_of(recipe, shards=1, evaluate_every=1), steps=3)
        batches = [toy.ragged_batch()] * 3
        with run_phase(run, phase, params, objective, lambda _, b=batches: b, evaluate) as progress:
            for update in progress.updates:
                progress.record(update)
        told = progress.info
        run.log.close()
        ends.append((told["accuracy"], seen.index(float(params["x"][0]))))
    # The last step's honest 0.7, or the lucky 0.9 of the step before.
    assert ends == [(0.7, 2), (0.9, 1)]


# --- the data --------------------------------------------------------------------------------


def test_flag_drop_last_drops_the_incomplete_batch():
    steps = [steps_per_epoch(10, 4, drop_last=r.drop_last) for r in (CORRECTED, RELEASED)]
    assert steps == [3, 2]


def test_flag_mlm_at_least_one_masks_one_token_of_each_text():
    batch = toy.ragged_batch((7, 3, 5))
    ids = batch.ids + 5
    special = SpecialIds(0, 1, 2, 3, 4)
    for recipe, masked in ((CORRECTED, [0, 0, 0]), (flagged("mlm_at_least_one"), [1, 1, 1])):
        _, labels = mask_tokens(
            ids,
            batch.keep,
            special,
            np.random.default_rng(1),
            vocab_size=18,
            p_mask=0.0,
            at_least_one=recipe.mlm_at_least_one,
        )
        assert (labels != IGNORE).sum(axis=1).tolist() == masked


def augmented(recipe, first, second=None, *, p_t=1.0, n_a=4):
    """Augment with a model that likes every word alike; return the copies and what it was asked."""
    tokenizer = train_wordpiece([*first, *(second or ())], 100)
    size = tokenizer.get_vocab_size()
    asked = []

    def predict_masked(batch, positions):
        asked.extend(batch.ids.tolist())
        return np.random.default_rng(len(positions)).standard_normal((len(positions), size))

    table = np.random.default_rng(4).standard_normal((size, 8))
    copies = augment(
        Examples(first, second, None),
        tokenizer,
        predict_masked,
        table,
        seed=(5,),
        max_len=24,
        p_t=p_t,
        n_a=n_a,
        k=5,
        candidates_once=recipe.candidates_once,
        show_original=recipe.show_original,
        skip_non_latin=recipe.skip_non_latin,
        reuse_last_first=recipe.reuse_last_first,
    )
    return copies, asked, tokenizer


TEXT = ["green apples taste sharp"]


def test_flag_show_original_leaks_every_masked_word():
    for recipe, leaks in ((CORRECTED, 0), (flagged("show_original"), 4)):
        _, asked, tokenizer = augmented(recipe, TEXT, n_a=1)
        whole = set(tokenizer.encode(TEXT[0]).ids)
        assert len(asked) == 4
        assert sum(whole <= set(ids) for ids in asked) == leaks


def test_flag_candidates_once_asks_about_each_word_once():
    _, once, _ = augmented(CORRECTED, TEXT)
    _, again, _ = augmented(replace(CORRECTED, candidates_once=False), TEXT)
    assert len(once) == 4  # words
    # Each copy's later words stand in a sentence of its own: 1 + 3 for each of up to 4 copies.
    assert 4 < len(again) <= 13


def test_flag_skip_non_latin_leaves_chinese_without_copies():
    text = ["这部电影很好看"]
    assert len(augmented(CORRECTED, text)[0]) == 4
    assert len(augmented(flagged("skip_non_latin"), text)[0]) == 0


def test_flag_reuse_last_first_pairs_all_second_sentences_with_one_first():
    pair = ["sweet pears ripen early"], ["green apples taste sharp"]

    def firsts_of_changed_seconds(recipe):
        return {c.first for c in augmented(recipe, *pair, p_t=0.7)[0] if c.second != pair[1][0]}

    assert len(firsts_of_changed_seconds(CORRECTED)) == 4
    assert len(firsts_of_changed_seconds(flagged("reuse_last_first"))) == 1


# --- recipes as such -------------------------------------------------------------------------


def test_every_flag_has_a_test_of_its_effect():
    tests = [name for name in globals() if name.startswith("test_flag_")]
    missing = [f for f in FLAGS if not any(t.startswith(f"test_flag_{f}_") for t in tests)]
    assert not missing


def test_every_flag_says_what_paper_and_code_do_and_what_is_corrected():
    (body,) = (
        node.body
        for node in ast.parse(inspect.getsource(recipes)).body
        if isinstance(node, ast.ClassDef) and node.name == "Recipe"
    )
    documented = {
        a.target.id: b.value.value
        for a, b in pairwise(body)
        if isinstance(a, ast.AnnAssign) and isinstance(b, ast.Expr)
    }
    assert list(documented) == FLAGS
    for flag, text in documented.items():
        for word in ("Paper", "ode:", "Corrected:"):
            assert word in text or (word == "ode:" and "and code" in text), (flag, word)


def test_released_differs_from_corrected_in_every_flag_but_four():
    same = {f for f in FLAGS if getattr(CORRECTED, f) == getattr(RELEASED, f)}
    assert same == AGREED


def test_paper_differs_from_corrected_where_the_paper_speaks():
    different = {f for f in FLAGS if getattr(CORRECTED, f) != getattr(PAPER, f)}
    assert different == {"prediction_kind", "tau_squared", "candidates_once"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name):
    recipe = replace(RECIPES[name], mapping=(4, 1))
    back = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert terms_of(back)["hidden"][1].levels == ((1, 4), (2, 1))
    assert replace(back, mapping=(4, 1)) == recipe


def test_a_loss_of_the_padded_batch_is_not_split():
    assert [RECIPES[name].shards(3) for name in ("corrected", "paper", "released")] == [3, 3, 1]
    for flag in ("mask_hidden", "mask_queries", "divide_by_area"):
        assert flagged(flag).shards(2) == 1


def test_a_weight_of_zero_leaves_a_term_and_its_projection_out():
    assert list(terms_of(CORRECTED, attention=0.0)) == ["embedding", "hidden"]
    assert list(terms_of(CORRECTED, hidden=0.0)) == ["embedding", "attention"]
    rng = np.random.default_rng(1)
    left = init_projections(CORRECTED, toy.STUDENT, toy.TEACHER, rng, weights={"hidden": 0.0})
    assert list(left) == ["embedding.w"]
    assert {n: w for n, (w, _) in terms_of(CORRECTED, "prediction", hard_label=0.5).items()} == {
        "prediction": 1.0,
        "hard_label": 0.5,
    }


def test_projections_are_held_and_not_copied():
    rng = np.random.default_rng(1)
    for name, recipe in RECIPES.items():
        projections = init_projections(recipe, toy.STUDENT, toy.TEACHER, rng)
        terms = build_terms(recipe, "general", toy.STUDENT, toy.TEACHER, projections)
        for _, term in terms.values():
            for key, p in term.params.items():
                assert p is projections[key], name
        assert {p.dtype for p in projections.values()} == {np.dtype(np.float32)}
        assert all(p.shape[-1] == toy.TEACHER.d_model for p in projections.values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: find_recipe("huawei"), "recipe: got 'huawei', expected one of corrected, paper"),
        (lambda: Recipe(projection="two"), "projection: got 'two', expected one of separate"),
        (lambda: Recipe(optimizer="sgd"), "optimizer: got 'sgd', expected one of adamw"),
        (lambda: Recipe(tau=-1.0), "tau: got -1.0"),
        (lambda: Recipe.from_dict({"relu": True}), "Recipe: got unknown relu"),
        (lambda: terms_of(CORRECTED, "finetune"), "phase: got 'finetune'"),
        (lambda: terms_of(CORRECTED, attn=1.0), "weights: got 'attn', expected one of embedding"),
        (lambda: terms_of(CORRECTED, hidden=-1.0), "weights: got hidden = -1.0"),
        (lambda: terms_of(CORRECTED, hidden=float("nan")), "weights: got hidden = nan"),
    ],
)
def test_what_no_recipe_can_be(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_models_that_do_not_fit_are_refused_before_any_step():
    rng = np.random.default_rng(1)

    def build(student, teacher, **weights):
        projections = init_projections(CORRECTED, student, teacher, rng, weights=weights)
        return build_terms(CORRECTED, "general", student, teacher, projections, weights=weights)

    two_heads = replace(toy.STUDENT, num_heads=2)
    with pytest.raises(InputError, match="num_heads: got 2 in the student and 3 in the teacher"):
        build(two_heads, toy.TEACHER)
    assert list(build(two_heads, toy.TEACHER, attention=0.0)) == ["embedding", "hidden"]
    with pytest.raises(InputError, match="got 3 student and 4 teacher layers"):
        build(replace(toy.STUDENT, num_layers=3), toy.TEACHER)

"""The bug museum: every bug is found, by its witness and by the checks that the library has."""

import inspect
import json
import re

import numpy as np
import pytest

from npformer import ops
from npformer.checks import InputError
from npformer.distill.terms import AttentionScoresTerm, HiddenTerm, LogitMseTerm
from npformer.exercises.course import find as find_exercise
from npformer.exercises.exercise import HEADER, TRACKS
from npformer.exercises.museum import BUGS, TestReport, check_test, find
from npformer.exercises.museum.rounds import NOISE
from npformer.exercises.museum.verdict import VERDICTS
from npformer.exercises.text import Text
from npformer.gradcheck import GradientError, check_pair, numeric_gradient
from npformer.models import ModelOutput

TEXTS = ("title", "story", "statement", "symptom")
CHAPTERS = "calculus attention positions encoder optimization distillation programs".split()
over_bugs = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)


def seeded():
    return np.random.default_rng(11)


# The exhibits


def test_there_are_many_and_each_has_a_name_of_its_own():
    assert len(BUGS) >= 26
    assert len({bug.id for bug in BUGS}) == len({bug.said["title"] for bug in BUGS}) == len(BUGS)
    assert len({bug.wrong for bug in BUGS}) == len(BUGS)
    assert sum(bug.id.startswith("blog-") for bug in BUGS) >= 6


@over_bugs
def test_an_exhibit_is_complete(bug):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", bug.id)
    assert find(bug.id) is bug
    assert find_exercise(bug.exercise).topic in CHAPTERS
    assert bug.tracks
    assert set(bug.tracks) <= set(TRACKS)
    for name in TEXTS:
        text = bug.said[name]
        assert isinstance(text, Text)
        assert not re.search("[\u4e00-\u9fff]", text.en), name
        assert re.search("[\u4e00-\u9fff]", text.zh), name
    assert bug.function in bug.said["statement"].en
    assert bug.function in bug.said["statement"].zh
    assert inspect.signature(bug.right) == inspect.signature(bug.wrong)
    assert inspect.getdoc(bug.right)


def test_code_is_named_only_where_its_maintainers_said_so():
    named = re.compile(r"huawei|TinyBERT's released|TinyBERT 发布|PyTorch|TextBrewer|torchdistill")
    told = {b.id for b in BUGS if any(named.search(str(b.said[name])) for name in TEXTS)}
    assert told == {b.id for b in BUGS if b.acknowledged}
    assert told == {"kl-default-reduction", "regression-against-the-label"}


def test_an_unknown_bug_is_refused():
    with pytest.raises(InputError, match="adam-without-bias-correction"):
        find("adam-without-bias")


# Their witnesses


def given_read_only(function):
    def wrapped(*args, **kwargs):
        for array in args:
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        return function(*args, **kwargs)

    return wrapped


@over_bugs
def test_the_witness_finds_it(bug):
    assert check_test(bug.id, bug.witness).verdict == "found"


@over_bugs
def test_the_solution_finds_it_as_text(bug):
    names = {}
    exec(HEADER + bug.solution, names)
    assert check_test(bug.id, names["test"]).verdict == "found"


@over_bugs
def test_the_stub_is_not_written_yet(bug):
    names = {}
    exec(HEADER + bug.stub, names)
    assert bug.signature in names["test"].__doc__
    report = check_test(bug.id, names["test"])
    assert (report.verdict, report.passed) == ("unwritten", False)


@over_bugs
def test_no_input_is_written_to(bug):
    bug.witness(given_read_only(bug.right))


# The same bugs under the checks of the library: none survives


def gradcheck(forward, backward, *args):
    """Values from the code under test, slopes from the library, or the other way round."""
    check_pair(forward, backward, args)


def layer_norm_gradient(fn):
    x, gamma, beta = seeded().normal(size=(3, 5)), *seeded().normal(size=(2, 5))
    gradcheck(
        lambda x: (ops.layernorm_forward(x, gamma, beta)[0], x),
        lambda dy, x: fn(dy, x, gamma),
        x,
    )


def cross_entropy_gradient(fn):
    logits, labels = np.round(2 * seeded().normal(size=(4, 3))) / 2, np.array([2, 0, 1, 1])
    gradcheck(
        lambda z: (ops.cross_entropy_forward(z, labels)[0], z),
        lambda dloss, z: dloss * fn(z, labels),
        logits,
    )


def embedding_gradient(fn):
    ids = np.array([[1, 4, 1], [0, 1, 4]])
    gradcheck(
        lambda table: (table[ids], len(table)),
        lambda dy, rows: fn(dy, ids, rows),
        seeded().normal(size=(5, 4)),
    )


def mix_gradient(fn):
    rng = seeded()
    r = 2.0 * (rng.random((2, 4, 5)) < 0.5)
    gradcheck(
        lambda probs, v: ((probs * r) @ v, (probs, v)),
        lambda dctx, cache: fn(dctx, cache[0], r, cache[1]),
        rng.dirichlet(np.ones(5), size=(2, 4)),
        rng.normal(size=(2, 5, 3)),
    )


def layer_norm_slope(fn):
    def forward(x, gamma, beta):
        return fn(x, gamma, beta), ops.layernorm_forward(x, gamma, beta)[1]

    args = seeded().normal(size=(3, 5)), *seeded().normal(size=(2, 5))
    gradcheck(forward, ops.layernorm_backward, *args)


def constant_rows_are_finite(fn):
    assert np.isfinite(fn(np.full((2, 3), 0.25), np.ones(3), np.ones(3))).all()


def evaluation_is_the_identity(fn):
    gradcheck(lambda x: (fn(x, 0.3), x), lambda dy, x: dy.copy(), seeded().normal(size=(4, 5)))


def known_frequencies(fn):
    table = fn(6, 8)
    for i in range(4):
        turn = 10000 ** (-2 * i / 8)
        on_circle = table[:, 2 * i + 1] + 1j * table[:, 2 * i]
        assert np.allclose(on_circle, np.exp(1j * turn * np.arange(6)))


def cross_attention_slope(fn):
    rng = seeded()
    w_q, w_k, w_v = rng.normal(size=(3, 5, 4))

    def forward(x, memory):
        heads = [a[:, None] for a in (x @ w_q, memory @ w_k, memory @ w_v)]
        return fn(x, memory, w_q, w_k, w_v), ops.attention_forward(*heads)[2]

    def backward(dctx, cache):
        dq, dk, dv, _ = ops.attention_backward(dctx[:, None], None, cache)
        return dq[:, 0] @ w_q.T, dk[:, 0] @ w_k.T + dv[:, 0] @ w_v.T

    # Of equal length, or it crashes.
    gradcheck(forward, backward, *rng.normal(size=(2, 2, 3, 5)))


def masked_rows_stay_finite(fn):
    keep = np.array([[True, False, True], [False, False, False]])
    probs = fn(seeded().normal(size=(2, 4, 3)), keep)
    assert np.isfinite(probs).all()
    assert (probs[~np.broadcast_to(keep[:, None], probs.shape)] == 0).all()


def adam_under_a_constant_gradient(fn):
    g = np.array([3.0, -0.02])
    p, m, v = np.zeros((3, 2))
    for t in range(1, 13):
        p, m, v = fn(p, g, m, v, t, 0.1)
    assert np.allclose(p, -1.2 * np.sign(g), rtol=1e-5)


def clipping_scales(fn):
    grads = [seeded().normal(size=(2, 3)), 9 * seeded().normal(size=4)]
    before, after = (np.concatenate([g.ravel() for g in a]) for a in (grads, fn(grads, 0.5)))
    assert np.allclose(after, 0.5 * before / np.linalg.norm(before), rtol=1e-5)


def decay_is_linear(fn):
    p, g = seeded().normal(size=(2, 2, 3))
    assert np.allclose(fn(p, g, 0.1, 0.7) - fn(p, g, 0.1, 0.0), -0.07 * p)


def any_stop_is_no_stop(fn):
    p, grads = seeded().normal(size=3), seeded().normal(size=(5, 3))
    for stop in range(6):
        assert np.allclose(fn(p, grads, 0.1, stop), fn(p, grads, 0.1, len(grads)))


def masking_follows_its_probability(fn):
    ids = np.full((300, 2), 7)
    for p_mask in (0.0, 0.1):
        _, labels = fn(ids, p_mask, 20, seeded())
        assert abs((labels != -100).mean() - p_mask) < 0.05


def soft_slope(fn):
    student, teacher = seeded().normal(size=(2, 3, 4))
    gradcheck(
        lambda z: (fn(z, teacher), ops.kl_forward(z, teacher, 1.0)[1]), ops.kl_backward, student
    )


def kd_slope_without_labels(fn):
    student, teacher = seeded().normal(size=(2, 3, 4))
    labels = np.array([3, 0, 1])
    gradcheck(
        lambda z: (
            fn(z, teacher, labels, 3.0, 0.0),
            ops.kl_forward(z, teacher, 3.0, tau_squared=True)[1],
        ),
        ops.kl_backward,
        student,
    )


def attention_loss_slope(fn):
    student, teacher = seeded().normal(size=(2, 2, 3, 4, 4))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    term = AttentionScoresTerm(levels=((1, 1),))

    def forward(a):
        return fn(a, teacher, keep), term.forward(
            ModelOutput(scores=(a,)), ModelOutput(scores=(teacher,)), keep
        )[1]

    gradcheck(forward, lambda dloss, cache: term.backward(dloss, cache)[0].scores[0], student)


def regression_slope(fn):
    student, teacher = seeded().normal(size=(2, 4, 1))
    labels, keep, term = seeded().normal(size=4), np.ones((4, 1), bool), LogitMseTerm()

    def forward(z):
        _, cache = term.forward(ModelOutput(logits=z), ModelOutput(logits=teacher), keep)
        return fn(z, teacher, labels), cache

    gradcheck(forward, lambda dloss, cache: term.backward(dloss, cache)[0].logits, student)


def hidden_slope(fn):
    rng = seeded()
    teacher, keep = rng.normal(size=(2, 4, 5)), np.arange(4) < np.array([[3], [2]])

    def term(w):
        return HiddenTerm(levels=((0, 0),), projections=("fit",), params={"fit.w": w})

    def forward(student, w):
        outputs = ModelOutput(hidden=(student,)), ModelOutput(hidden=(teacher,))
        return fn(student, teacher, w, keep), (w, term(w).forward(*outputs, keep)[1])

    def backward(dloss, cache):
        dstudent, grads = term(cache[0]).backward(dloss, cache[1])
        return dstudent.hidden[0], grads["fit.w"]

    gradcheck(forward, backward, rng.normal(size=(2, 4, 3)), rng.normal(size=(3, 5)))


def the_teacher_is_no_random_variable(fn):
    x, w = seeded().normal(size=(3, 6)), seeded().normal(size=(6, 2))
    answers = [fn(x, w, w, 0.4, np.random.default_rng(seed)) for seed in range(3)]
    assert np.ptp([teacher for _, teacher in answers], axis=0).max() == 0
    assert np.ptp([student for student, _ in answers], axis=0).max() > 0


def queries_are_linear_in_the_table(fn):
    ids, table, w_q = np.array([[1, 0, 2], [2, 2, 3]]), *np.split(seeded().normal(size=(7, 3)), [4])
    assert np.allclose(fn(ids, 2 * table, w_q), 2 * fn(ids, table, w_q))


def weights_of_an_encoder():
    rng = seeded()
    return [*rng.normal(size=(4, 2, 4, 4)), rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 5, 4))]


def every_layer_attends(fn):
    x, dy = seeded().normal(size=(2, 2, 3, 4))
    q, k, v, *rest = weights_of_an_encoder()
    dv = numeric_gradient(lambda v: fn(x, q, k, v, *rest), v, dy)
    assert np.abs(dv).max(axis=(1, 2)).min() > 1e-4


def outputs_are_normalised(fn):
    y = fn(seeded().normal(size=(2, 3, 4)), *weights_of_an_encoder())
    assert np.allclose(y.mean(axis=-1), 0)
    assert np.allclose(y.var(axis=-1), 1)


def logits_have_a_column_a_class(fn):
    assert fn(seeded().normal(size=(3, 5)), 2, seeded()).shape == (3, 2)


def hard_slope(fn):
    labels = np.array([3, 0, 1])
    gradcheck(
        lambda z: (fn(z, labels), ops.cross_entropy_forward(z, labels)[1]),
        ops.cross_entropy_backward,
        seeded().normal(size=(3, 4)),
    )


def a_step_goes_down(fn):
    rng = seeded()
    w, x, labels = rng.normal(size=(3, 4)), rng.normal(size=(5, 3)), np.array([3, 0, 1, 1, 2])
    dw = numeric_gradient(lambda w: ops.cross_entropy_forward(x @ w, labels)[0], w)
    assert np.allclose(fn(w, [(x, labels)], 1, 0.3), w - 0.3 * dw)


KILLERS = {
    "layer-norm-gamma-outside": layer_norm_gradient,
    "cross-entropy-label-by-value": cross_entropy_gradient,
    "embedding-repeated-ids": embedding_gradient,
    "dv-from-undropped-probs": mix_gradient,
    "layer-norm-bessel": layer_norm_slope,
    "layer-norm-without-eps": constant_rows_are_finite,
    "dropout-never-off": evaluation_is_the_identity,
    "sinusoidal-one-zero-too-many": known_frequencies,
    "cross-attention-swapped": cross_attention_slope,
    "fully-masked-row-of-nan": masked_rows_stay_finite,
    "adam-without-bias-correction": adam_under_a_constant_gradient,
    "clip-each-tensor": clipping_scales,
    "setting-never-read": decay_is_linear,
    "resume-forgets-the-moments": any_stop_is_no_stop,
    "masks-at-probability-zero": masking_follows_its_probability,
    "soft-cross-entropy-over-classes": soft_slope,
    "kl-default-reduction": soft_slope,
    "tau-squared-skipped": kd_slope_without_labels,
    "attention-loss-after-the-mask": attention_loss_slope,
    "attention-loss-padded-queries": attention_loss_slope,
    "attention-loss-padded-area": attention_loss_slope,
    "attention-loss-threshold": attention_loss_slope,
    "regression-against-the-label": regression_slope,
    "hidden-loss-counts-padding": hidden_slope,
    "teacher-in-training-mode": the_teacher_is_no_random_variable,
    "blog-ids-as-vectors": queries_are_linear_in_the_table,
    "blog-one-attention-layer": every_layer_attends,
    "blog-no-residuals-no-norms": outputs_are_normalised,
    "blog-no-output-layer": logits_have_a_column_a_class,
    "blog-teacher-mixed-in": soft_slope,
    "blog-index-as-probability": hard_slope,
    "blog-undefined-names": a_step_goes_down,
}


def killed_by(bug):
    """Return the class of the error that the check of the library raises on the bug."""
    with np.errstate(all="ignore"):
        try:
            KILLERS[bug.id](bug.wrong)
        except (GradientError, AssertionError, NameError) as error:
            return type(error)
    return None


@over_bugs
def test_a_check_of_the_library_kills_it(bug):
    KILLERS[bug.id](bug.right)
    assert killed_by(bug) is not None


def test_no_survivor_and_every_wrong_gradient_dies_of_gradcheck():
    causes = {bug.id: killed_by(bug) for bug in BUGS}
    assert KILLERS.keys() == causes.keys()
    assert None not in causes.values()
    by_gradient = {name for name, cause in causes.items() if cause is GradientError}
    assert {bug.id for bug in BUGS if "gradcheck" in bug.tracks} <= by_gradient
    assert len(by_gradient) >= 16


# The judge

SINUSOIDAL = find("sinusoidal-one-zero-too-many")


def table_of_positions(length, d_model):
    angles = np.arange(length)[:, None] / 10_000 ** (np.arange(0, d_model, 2) / d_model)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, d_model)


def asserts(condition):
    assert condition


def line_of(function, text):
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


def judged(test, bug="sinusoidal-one-zero-too-many"):
    report = check_test(bug, test)
    assert report.bug == bug
    assert report.verdict in VERDICTS
    assert report.passed == (report.verdict == "found")
    assert TestReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert report.text("zh") == f"{bug}：{report.message.zh}"
    for text in report.message:
        assert text.endswith((".", "。"))
        assert "\n" not in text
    return report


def test_a_test_that_finds_it():
    def test(fn):
        assert np.allclose(fn(5, 6), table_of_positions(5, 6))  # here

    report = judged(test)
    line = line_of(test, "# here")
    code = "`assert np.allclose(fn(5, 6), table_of_positions(5, 6))  # here`"
    assert (report.verdict, report.line) == ("found", line)
    assert report.message == (
        "Found: your test passes on the right code and fails on the bug at your line "
        f"{line} {code}.",
        f"找到了：正确的代码通过了你的测试，有错的代码在第 {line} 行 {code} 没有通过。",
    )


def test_a_test_that_accepts_the_bug():
    report = judged(lambda fn: asserts(fn(5, 2).shape == (5, 2)))
    assert (report.verdict, report.line) == ("accepts", None)
    assert report.message == (
        "Your test accepts the bug: it passes on the wrong code too.",
        "你的测试放过了错误：它在错误的代码上也通过了。",
    )


def test_a_test_that_never_calls_the_function():
    report = judged(lambda fn: None)
    assert report.verdict == "accepts"
    assert "never calls fn" in report.message.en


def test_a_test_that_returns_what_it_should_assert():
    report = judged(lambda fn: np.allclose(fn(5, 6), table_of_positions(5, 6)))
    assert report.verdict == "accepts"
    assert "returns a bool" in report.message.en


def test_a_test_that_rejects_right_code():
    def test(fn):
        assert fn(5, 6)[0, 0] == 1, "the first\ncolumn"  # here

    report = judged(test)
    assert (report.verdict, report.line) == ("rejects", line_of(test, "# here"))
    code = '`assert fn(5, 6)[0, 0] == 1, "the first\\ncolumn"  # here`'
    assert report.message == (
        f"Your test rejects right code: its assertion at your line {report.line} {code} fails "
        "(the first). Right code may differ in the last digits from what you expect: compare with "
        "np.allclose.",
        f"你的测试拒绝了正确的代码：第 {report.line} 行 {code} 断言失败（the first）。"
        "正确的代码在最后几位上可能与你的预期不同：请用 np.allclose 比较。",
    )


def test_a_line_that_cannot_be_read_is_not_quoted():
    names = {}
    exec("def test(fn):\n    assert fn(5, 6) is None\n", names)
    assert "assertion at your line 2 fails. Right" in judged(names["test"]).message.en


def test_a_test_that_compares_bits():
    def test(fn):
        assert (fn(5, 6) == SINUSOIDAL.right(5, 6)).all()

    report = judged(test)
    assert report.verdict == "bits"
    assert "`assert (fn(5, 6) == SINUSOIDAL.right(5, 6)).all()`" in report.message.en
    assert all("np.allclose" in text for text in report.message)

    def tolerant(fn):
        assert abs(fn(5, 6) - SINUSOIDAL.right(5, 6)).max() < 10 * NOISE

    assert judged(tolerant).verdict == "found"


def test_a_test_with_a_mistake_of_its_own():
    def test(fn):
        fn(5, 6)[7, 0]  # here

    report = judged(test)
    assert (report.verdict, report.line) == ("raised", line_of(test, "# here"))
    assert report.message.en.startswith(
        f"Your test raised IndexError at your line {report.line} `fn(5, 6)[7, 0]  # here` on the "
        "right code: index 7"
    )


def test_a_test_that_calls_the_function_wrongly():
    report = judged(lambda fn: fn(5, -6))
    assert report.verdict == "raised"
    assert "raised InputError at your line" in report.message.en
    assert "expected length >= 0" in report.message.en


def test_a_test_of_another_signature():
    report = judged(lambda: None)
    assert (report.verdict, report.line) == ("raised", None)
    assert "TypeError" in report.message.en


def test_a_slip_in_the_line_that_tells_is_no_find():
    def test(fn):
        if not np.allclose(fn(5, 6), table_of_positions(5, 6)):
            raise AssertionError(f"wrong: {tabel}")  # noqa: F821

    report = judged(test)
    assert report.verdict == "raised"
    assert "NameError" in report.message.en
    assert "on the bug" in report.message.en


def test_a_shape_that_does_not_fit_is_a_find():
    def test(fn):  # the assertion itself cannot be computed: (2, 1, 3) minus (2, 5, 3)
        rng = np.random.default_rng(0)
        ids = rng.integers(4, size=(2, 5))
        q = fn(ids, rng.normal(size=(4, 5)), rng.normal(size=(5, 3)))
        assert np.abs(q.reshape(10, 3)).max() > 0

    report = judged(test, "blog-ids-as-vectors")
    assert report.verdict == "found"
    assert "by a ValueError" in report.message.en


@pytest.mark.parametrize("bug", ["blog-undefined-names", "blog-no-output-layer"])
def test_a_bug_that_crashes_is_found_by_a_call(bug):
    inputs = {
        "blog-undefined-names": (np.ones((3, 2)), [], 1, 0.1),
        "blog-no-output-layer": (np.ones((2, 3)), 2, seeded(), np.array([0, 1])),
    }

    def test(fn):
        fn(*inputs[bug])

    report = judged(test, bug)
    assert report.verdict == "found"
    assert re.search("by a (NameError|KeyError)", report.message.en)


def test_a_test_that_finds_it_by_chance():
    calls = []

    def test(fn):
        calls.append(1)
        assert np.allclose(fn(5, 6), table_of_positions(5, 6)) or len(calls) != 5

    report = judged(test)
    assert report.verdict == "unsteady"
    assert "in 1 of 3 runs" in report.message.en


def test_a_test_that_leaves_by_another_door():
    report = judged(lambda fn: pytest.fail("no"))
    assert (report.verdict, "Failed" in report.message.en) == ("raised", True)
    with pytest.raises(KeyboardInterrupt):
        check_test(SINUSOIDAL, interrupted)


def interrupted(fn):
    raise KeyboardInterrupt


def test_what_a_test_prints_is_not_repeated(capsys):
    judged(lambda fn: print(fn(5, 6)))
    assert capsys.readouterr().out == ""


def test_the_function_does_not_give_itself_away():
    seen = []

    def test(fn):
        seen.append((fn.__name__, fn.__qualname__, fn.__doc__, fn.__module__))

    judged(test)
    assert len(set(seen)) == 1


def test_what_is_no_function_is_refused():
    with pytest.raises(InputError, match=r"test: got int, expected a function test\(fn\)"):
        check_test(SINUSOIDAL.id, 3)
    with pytest.raises(InputError, match="id: got 'sinus'"):
        check_test("sinus", interrupted)

"""The referee itself: it must fail, with the right diagnosis, before its praise counts."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from dims import B, D, I, O, T

from npformer import ops
from npformer.checks import InputError
from npformer.gradcheck import GradientError, check_model, check_pair, numeric_gradient
from npformer.types import FloatArray, Params

rng = np.random.default_rng(0)
X, W, BIAS = rng.normal(size=(B, T, I)), rng.normal(size=(I, O)), rng.normal(size=O)
SQUARE = rng.normal(size=(I, I))


def linear_with(change):
    """Return linear's backward with its gradients changed."""

    def backward(dy, cache):
        return change(*ops.linear_backward(dy, cache))

    return backward


def fails(change, *, args=(X, W, BIAS), name, diagnosis):
    with pytest.raises(GradientError) as caught:
        check_pair(ops.linear_forward, linear_with(change), args)
    error = caught.value
    assert error.name == name
    assert error.diagnosis.startswith(diagnosis), error.diagnosis
    assert not error.ok
    return error


# What it must see, and what it must call it.


def test_right_gradients_pass():
    report = check_pair(ops.linear_forward, ops.linear_backward, (X, W, BIAS))
    assert report.ok
    assert (report.name, report.kind, report.tolerance) == ("linear_forward", "pair", 1e-7)
    assert set(report.errors) == {"x", "w", "b"}
    assert report.error == max(report.errors.values()) <= 1e-9


def test_sign():
    error = fails(lambda dx, dw, db: (dx, -dw, db), name="w", diagnosis="sign")
    assert error.analytic == pytest.approx(-error.numeric)
    assert error.error == pytest.approx(2)


def test_constant_factor():
    error = fails(lambda dx, dw, db: (2.001 * dx, dw, db), name="x", diagnosis="constant factor")
    assert "analytic = 2.001 x numeric" in error.diagnosis


def test_a_tiny_wrong_factor_is_still_wrong():
    fails(lambda dx, dw, db: (dx, dw, db * (1 + 1e-6)), name="b", diagnosis="constant factor")


@pytest.mark.parametrize(
    ("factor", "hint"),
    [
        (3, "a factor 3 too many"),
        (O, f"summed instead of averaged over an axis of size {O}"),
        (1 / I, f"averaged instead of summed over an axis of size {I}"),
        (I * O, f"over axes of sizes {I} and {O}"),
        (I**0.5, f"the square root of {I}"),
        (-2, "sign and a constant factor"),
    ],
)
def test_factors_that_have_a_name(factor, hint):
    error = fails(lambda dx, dw, db: (factor * dx, dw, db), name="x", diagnosis="")
    assert hint in error.diagnosis


def test_summed_instead_of_averaged():
    def forward(x):
        return float(np.mean(x * x)), x

    def backward(dloss, x):
        return 2 * dloss * x

    with pytest.raises(GradientError, match="summed instead of averaged over axes") as caught:
        check_pair(forward, backward, (rng.normal(size=(B, I)),))
    assert f"sizes {B} and {I}" in caught.value.diagnosis


def test_missing_term():
    def backward(dprobs, cache):
        return dprobs * cache.probs  # without the mean of dprobs under probs

    with pytest.raises(GradientError) as caught:
        check_pair(ops.softmax_forward, backward, (X,))
    assert caught.value.diagnosis.startswith("term")
    assert caught.value.index is not None


def test_index_and_values_name_the_worst_entry():
    def change(dx, dw, db):
        dw[2, 3] += 5
        return dx, dw, db

    error = fails(change, name="w", diagnosis="term")
    assert error.index == (2, 3)
    assert error.analytic == pytest.approx(error.numeric + 5)
    assert "w is wrong at [2, 3]" in str(error)
    assert f"{error.numeric:.9g}" in str(error)


def test_transpose_of_a_square_array():
    args = (X, SQUARE)
    fails(lambda dx, dw, db: (dx, dw.T, db), args=args, name="w", diagnosis="transpose")


def test_data_drawn_with_the_checkers_seed_hide_nothing():
    """If dy equalled x, then x^T dy would be symmetric and its transpose would pass."""
    x = np.random.default_rng(0).normal(size=(B, T, I))
    fails(lambda dx, dw, db: (dx, dw.T, db), args=(x, SQUARE), name="w", diagnosis="transpose")


def test_transpose_of_another_shape():
    error = fails(lambda dx, dw, db: (dx, dw.T, db), name="w", diagnosis="transpose")
    assert error.error == np.inf


def test_missing_broadcast_sum():
    def forward(x, b):
        return x + b, None

    with pytest.raises(GradientError) as caught:
        check_pair(forward, lambda dy, cache: (dy, dy), (X, rng.normal(size=(T, 1))))
    assert caught.value.diagnosis.startswith("missing broadcast sum")
    assert "sum over axes (0, 2)" in caught.value.diagnosis


def test_wrong_shape():
    fails(lambda dx, dw, db: (dx, dw, db[:3]), name="b", diagnosis="shape")
    fails(lambda dx, dw, db: (dx, dw, db.sum()), name="b", diagnosis="type")
    fails(lambda dx, dw, db: (dx, dw, np.asarray(db.sum())), name="b", diagnosis="shape")


def test_all_zero():
    fails(lambda dx, dw, db: (0 * dx, dw, db), name="x", diagnosis="zero: backward returns zeros")
    fails(lambda dx, dw, db: (0 * dx, 0 * dw, 0 * db), name="x", diagnosis="zero")


def test_nan_and_infinity():
    def change(dx, dw, db):
        dw[1, 2] = np.nan
        return dx, dw, db

    error = fails(change, name="w", diagnosis="NaN or infinity in 1 of")
    assert error.index == (1, 2)
    fails(lambda dx, dw, db: (dx, dw, db + np.inf), name="b", diagnosis="NaN or infinity")


def test_gradient_of_another_type():
    fails(lambda dx, dw, db: (dx.astype(np.float32), dw, db), name="x", diagnosis="dtype")


def test_lost_entries_and_ignored_masks():
    table, ids = rng.normal(size=(I, D)), np.array([0, 3, 3, 5])

    def overwrite(dy, cache):
        dtable = np.zeros_like(table)
        dtable[ids[:-1]] = dy[:-1]
        dtable[3] += dy[1]
        return dtable

    with pytest.raises(GradientError, match="lost entries: 18 of 126"):
        check_pair(ops.embedding_forward, overwrite, (ids, table))

    keep = np.arange(T) < T - 1

    def forward(x):
        return x * keep, None

    with pytest.raises(GradientError, match="mask ignored"):
        check_pair(forward, lambda dy, cache: dy.copy(), (rng.normal(size=(B, T)),))


def test_factor_along_an_axis():
    gamma = rng.normal(size=I)

    def forward(x):
        return x * gamma, None

    with pytest.raises(GradientError, match="each slice of axis 2"):
        check_pair(forward, lambda dy, cache: dy.copy(), (X,))


# Arguments, constants, None.


def test_count_of_gradients():
    with pytest.raises(GradientError, match="got 2 gradients, expected one for each of x, w, b"):
        check_pair(ops.linear_forward, linear_with(lambda dx, dw, db: (dx, dw)), (X, W, BIAS))
    with pytest.raises(GradientError, match="declared in constants"):
        check_pair(ops.mse_forward, ops.mse_backward, (X, X + 1))
    check_pair(ops.mse_forward, ops.mse_backward, (X, X + 1), constants=("target",))


def test_an_argument_left_out_has_the_gradient_none():
    check_pair(ops.linear_forward, ops.linear_backward, (X, W))
    change = linear_with(lambda dx, dw, db: (dx, dw, np.zeros(O)))
    with pytest.raises(GradientError, match="the argument is None") as caught:
        check_pair(ops.linear_forward, change, (X, W))
    assert caught.value.name == "b"


def test_an_argument_given_must_not_have_the_gradient_none():
    fails(lambda dx, dw, db: (dx, dw, None), name="b", diagnosis="type: got None")


def test_unannotated_functions_work_too():
    def forward(x, scale=None):
        return x * (1 if scale is None else scale), scale

    def backward(dy, scale):
        return dy * (1 if scale is None else scale), None

    check_pair(forward, backward, (X,))
    with pytest.raises(GradientError, match="type: got None"):
        check_pair(forward, backward, (X, np.asarray(1.7)))


def test_float32_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"x: got float32, expected float64: .* proves nothing"):
        check_pair(ops.tanh_forward, ops.tanh_backward, (X.astype(np.float32),))
    args = (X, X.astype(np.float32))
    with pytest.raises(InputError, match="target: got float32"):
        check_pair(ops.mse_forward, ops.mse_backward, args, constants=("target",))


def test_a_check_that_makes_no_sense_is_refused():
    def cut(x):
        return x.astype(np.float32), None

    with pytest.raises(InputError, match=r"output\.0: got float32"):
        check_pair(cut, lambda dy, cache: dy, (X,))
    with pytest.raises(InputError, match="got no floating-point array"):
        check_pair(ops.mse_forward, ops.mse_backward, (X, X), constants=("x", "target"))
    with pytest.raises(InputError, match="constants: got 'teacher'"):
        check_pair(ops.mse_forward, ops.mse_backward, (X, X), constants=("teacher",))
    with pytest.raises(InputError, match="zero: got 'y'"):
        check_pair(ops.tanh_forward, ops.tanh_backward, (X,), zero=("y",))
    with pytest.raises(InputError, match="expected at least one entry"):
        check_pair(ops.tanh_forward, ops.tanh_backward, (X[:0],))
    with pytest.raises(InputError, match="expected forward to return a tuple"):
        check_pair(lambda x: np.tanh(x), ops.tanh_backward, (X,))
    with pytest.raises(InputError, match="got NaN or infinity in output"):
        check_pair(lambda x: (x / 0.0 if x is None else x * np.inf, None), None, (X,))


def test_a_forward_that_writes_to_its_argument_is_stopped():
    def forward(x):
        x *= 2
        return x, None

    x = X.copy()
    with pytest.raises(ValueError, match="read-only"):
        check_pair(forward, lambda dy, cache: 2 * dy, (x,))
    assert np.array_equal(x, X)


# Dropout.


def test_dropout_needs_the_same_mask_at_every_call():
    args = (X, 0.3)
    check_pair(ops.dropout_forward, ops.dropout_backward, args, make_rng=lambda: rng_of(3))
    with pytest.raises(InputError, match="make_rng"):
        check_pair(ops.dropout_forward, ops.dropout_backward, (*args, rng_of(3)))


def test_a_second_dropout_mask_is_seen():
    def backward(dy, cache):
        return ops.dropout_forward(dy, 0.3, rng_of(4))[0]

    with pytest.raises(GradientError):
        check_pair(ops.dropout_forward, backward, (X, 0.3), make_rng=lambda: rng_of(3))


def rng_of(seed):
    return np.random.default_rng(seed)


# Several outputs.


def two_forward(x, y):
    return x * y, float(np.sum(np.sin(x))), (x, y)


def two_backward(dproduct, dloss, cache):
    x, y = cache
    if dproduct is None:
        return dloss * np.cos(x), np.zeros_like(y)
    return dproduct * y + (0 if dloss is None else dloss * np.cos(x)), dproduct * x


def test_each_output_is_tried_alone():
    report = check_pair(two_forward, two_backward, (X, X[::-1].copy()))
    assert report.ok

    def forgets(dproduct, dloss, cache):
        if dproduct is not None and dloss is None:
            dproduct = 2 * dproduct
        return two_backward(dproduct, dloss, cache)

    with pytest.raises(GradientError, match=r"with a cotangent on output \.?0 alone"):
        check_pair(two_forward, forgets, (X, X[::-1].copy()))


def test_none_must_be_taken_for_zero():
    def crashes(dproduct, dloss, cache):
        x, y = cache
        return dproduct * y + dloss * np.cos(x), dproduct * x

    with pytest.raises(TypeError):
        check_pair(two_forward, crashes, (X, X[::-1].copy()))


# Zero gradients.


def half_forward(x, unused):
    return np.sin(x), (x, unused)


def half_backward(dy, cache):
    x, unused = cache
    return dy * np.cos(x), np.zeros_like(unused)


def test_a_zero_gradient_must_be_declared():
    with pytest.raises(GradientError, match=r"declare it with zero=\('unused',\)") as caught:
        check_pair(half_forward, half_backward, (X, W))
    assert caught.value.name == "unused"
    report = check_pair(half_forward, half_backward, (X, W), zero=("unused",))
    assert report.errors["unused"] == 0


def test_rounding_alone_counts_as_zero():
    def backward(dy, cache):
        dx, dunused = half_backward(dy, cache)
        return dx, dunused + 1e-14

    with pytest.raises(GradientError, match="declare it"):
        check_pair(half_forward, backward, (X, W))


def test_declared_zero_must_be_zero():
    with pytest.raises(GradientError, match=r"declared zero .* and is not"):
        check_pair(ops.linear_forward, ops.linear_backward, (X, W, BIAS), zero=("b",))

    def claims(dy, cache):
        dx, dunused = half_backward(dy, cache)
        return dx, dunused + 1e-5

    with pytest.raises(GradientError, match=r"declared zero .* and is not"):
        check_pair(half_forward, claims, (X, W), zero=("unused",))

    # The other way round: backward says zero and forward does depend on it.
    zeros = linear_with(lambda dx, dw, db: (dx, dw, 0 * db))
    with pytest.raises(GradientError, match=r"declared zero .* and is not"):
        check_pair(ops.linear_forward, zeros, (X, W, BIAS), zero=("b",))


# Models.


class Pair(NamedTuple):
    hidden: tuple[FloatArray | None, ...]
    y: FloatArray


@dataclass(frozen=True)
class Model:
    """Two affine maps with a tanh between, in three outputs; ``wrong`` names a mistake."""

    params: Params
    wrong: str = ""

    def forward(self, x, *, rng=None):
        p = self.params
        h, first = ops.linear_forward(x, p["w_1"], p["b_1"])
        a, bent = ops.tanh_forward(h)
        d, dropped = ops.dropout_forward(a, 0.3, rng)
        y, second = ops.linear_forward(d, p["w_2"])
        return Pair((h, None, a), y), (first, bent, dropped, second)

    def backward(self, doutput, cache):
        first, bent, dropped, second = cache
        dh, _, da = doutput.hidden
        dd, dw_2, _ = ops.linear_backward(doutput.y, second)
        total = ops.dropout_backward(dd, dropped)
        if da is not None and self.wrong != "hidden":
            total = total + da
        total = ops.tanh_backward(total, bent)
        if dh is not None:
            total = total + dh
        dx, dw_1, db_1 = ops.linear_backward(total, first)
        grads = {"w_1": dw_1, "b_1": db_1, "w_2": dw_2}
        if self.wrong in grads:
            grads[self.wrong] = {"w_1": -dw_1, "b_1": db_1 / T, "w_2": dw_2.T}[self.wrong]
        if self.wrong == "key":
            del grads["b_1"]
        return dx, grads


def model(wrong=""):
    draw = np.random.default_rng(2)
    params = {"w_1": draw.normal(size=(I, D)), "b_1": np.zeros(D), "w_2": draw.normal(size=(D, D))}
    return Model(params, wrong)


@pytest.mark.parametrize("entrywise", [False, True])
def test_a_right_model_passes_and_is_untouched(entrywise):
    right = model()
    before = {name: p.copy() for name, p in right.params.items()}
    report = check_model(right, (X,), entrywise=entrywise, make_rng=lambda: rng_of(3))
    assert (report.name, report.kind) == ("Model", "model")
    assert set(report.errors) == {"x", "w_1", "b_1", "w_2"}
    assert report.error < 1e-7
    assert all(np.array_equal(p, before[name]) for name, p in right.params.items())


@pytest.mark.parametrize("entrywise", [False, True])
@pytest.mark.parametrize(
    ("wrong", "name", "diagnosis"),
    [
        ("w_1", "w_1", "sign"),
        ("b_1", "b_1", f"constant factor: analytic = {1 / T:.6g} x numeric"),
        ("w_2", "w_2", "transpose"),
        ("hidden", "x", ""),
        ("key", "b_1", "keys"),
    ],
)
def test_a_wrong_model_fails(wrong, name, diagnosis, entrywise):
    with pytest.raises(GradientError) as caught:
        check_model(model(wrong), (X,), entrywise=entrywise)
    assert caught.value.name == name
    assert caught.value.diagnosis.startswith(diagnosis)
    assert caught.value.kind == "model"
    if wrong != "key":
        assert caught.value.index is not None


@dataclass(frozen=True)
class Term:
    """A loss on one entry of a nest; the other is silent."""

    params: Params
    wrong: str = ""

    def forward(self, student, teacher):
        x, first = ops.linear_forward(student.hidden[0], self.params["proj.w"])
        value, second = ops.mse_forward(x, teacher.hidden[0])
        return value, (first, second)

    def backward(self, dvalue, cache):
        first, second = cache
        dx, dw, _ = ops.linear_backward(ops.mse_backward(dvalue, second), first)
        grads = {"proj.w": None if self.wrong == "w" else dw}
        dy = X if self.wrong == "extra" else None
        return Pair((None if self.wrong == "hidden" else dx, None), dy), grads


def check_term(wrong="", y=X):
    draw = np.random.default_rng(4)
    student = Pair((draw.normal(size=(B, T, I)), draw.normal(size=(B, T, I))), y)
    teacher = Pair((draw.normal(size=(B, T, O)), None), X)
    term = Term({"proj.w": draw.normal(size=(I, O))}, wrong)
    return check_model(term, (student, teacher), constants=("teacher",))


def test_an_entry_of_a_nest_may_stay_silent():
    report = check_term()
    assert set(report.errors) == {"student.hidden.0", "student.hidden.1", "student.y", "proj.w"}
    assert report.errors["student.hidden.1"] == report.errors["student.y"] == 0


def test_an_entry_that_matters_must_not_stay_silent():
    with pytest.raises(GradientError, match="or its gradient left None") as caught:
        check_term("hidden")
    assert caught.value.name == "student.hidden.0"


def test_an_entry_that_is_not_there_has_no_gradient():
    with pytest.raises(GradientError, match="the input is None") as caught:
        check_term("extra", y=None)
    assert caught.value.name == "student.y"


def test_a_parameter_never_stays_silent():
    with pytest.raises(GradientError, match="type: got None") as caught:
        check_term("w")
    assert caught.value.name == "proj.w"


def test_a_models_parameters_must_be_float64():
    small = Model({name: p.astype(np.float32) for name, p in model().params.items()})
    with pytest.raises(InputError, match="w_1: got float32, expected float64"):
        check_model(small, (X,))


def test_directions_that_disagree_do_not_blame_a_kink():
    """A difference across the kink of a relu says nothing: it is taken again closer by."""

    @dataclass(frozen=True)
    class Relu:
        params: Params

        def forward(self, x):
            h, first = ops.linear_forward(x, self.params["w"])
            y, second = ops.relu_forward(h)
            return y, (first, second)

        def backward(self, dy, cache):
            first, second = cache
            dx, dw, _ = ops.linear_backward(ops.relu_backward(dy, second), first)
            return dx, {"w": dw}

    draw = np.random.default_rng(1)
    x = draw.normal(size=(40, I))
    report = check_model(Relu({"w": draw.normal(size=(I, 30))}), (x,), seed=1)
    assert report.error < 1e-6


# Exercises.


def test_numeric_gradient():
    dy = rng.normal(size=(B, T, O))
    expected, _, _ = ops.linear_backward(dy, ops.linear_forward(X, W)[1])
    got = numeric_gradient(lambda x: x @ W, X, dy)
    np.testing.assert_allclose(got, expected, atol=1e-8)
    got = numeric_gradient(lambda x: float(np.sum(x**3)), X)
    np.testing.assert_allclose(got, 3 * X**2, atol=1e-8)


def test_numeric_gradient_needs_a_cotangent_and_float64():
    with pytest.raises(InputError, match="dy: got None"):
        numeric_gradient(np.tanh, X)
    with pytest.raises(InputError, match="dy: got shape"):
        numeric_gradient(np.tanh, X, X[0])
    with pytest.raises(InputError, match="float32"):
        numeric_gradient(np.tanh, X.astype(np.float32), X)

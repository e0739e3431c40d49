"""Every pair of `npformer.ops` against the contract of docs: one test a clause, one row a case."""

import inspect

import numpy as np
import pytest
from documented import Shapes
from pairs import ALIASES, PAIRS, cotangents, mapped, pull, run, sliced

from npformer import ops
from npformer.checks import InputError
from npformer.gradcheck.tree import is_float


def over(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def snapshot(tree):
    if isinstance(tree, tuple):
        return tuple(snapshot(x) for x in tree)
    return (tree.shape, tree.dtype, tree.tobytes()) if isinstance(tree, np.ndarray) else tree


def read_only(name, array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def assert_close(got, expected, tolerance):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    scale = np.abs(expected).max(initial=1e-300)
    assert np.abs(got - expected).max(initial=0) <= tolerance * scale


def test_every_public_pair_has_a_row():
    public = {name.removesuffix("_forward") for name in vars(ops) if name.endswith("_forward")}
    undone = {name.removesuffix("_backward") for name in vars(ops) if name.endswith("_backward")}
    assert public == undone
    assert public == {case.name.split("/")[0] for case in PAIRS}
    assert len({case.name for case in PAIRS}) == len(PAIRS)


def test_the_rows_hide_nothing():
    for case in PAIRS:
        for name in case.axes:
            array = case.arguments[name]
            sizes = [n for n in array.shape if n > 1]
            assert len(set(sizes)) == len(sizes), (case.name, name)
            if is_float(array):
                assert not np.isin(array, (0, 1)).any(), (case.name, name)
        assert case.name != "relu" or np.abs(case.arguments["x"]).min() > 1e-4


@over(PAIRS)
def test_finite_differences(case):
    report = case.check()
    assert report.ok
    assert report.error <= 1e-7


@over(PAIRS)
def test_inputs_and_cache_are_untouched(case):
    arguments = mapped(case, read_only)
    outputs, cache = run(case, arguments)
    dys = [read_only("", dy) if is_float(dy) else dy for dy in cotangents(outputs)]
    before = snapshot((tuple(arguments.values()), cache, outputs, tuple(dys)))
    pull(case, arguments, dys, cache)
    assert snapshot((tuple(arguments.values()), cache, outputs, tuple(dys))) == before
    assert snapshot(run(case, arguments)[0]) == snapshot(outputs)


@over(PAIRS)
def test_backward_twice_gives_the_same_bits(case):
    outputs, cache = run(case, case.arguments)
    dys = cotangents(outputs)
    first, second = (pull(case, case.arguments, dys, cache) for _ in range(2))
    assert snapshot(tuple(first.values())) == snapshot(tuple(second.values()))


@over([case for case in PAIRS if case.name not in ALIASES])
def test_results_are_fresh_arrays(case):
    outputs, cache = run(case, case.arguments)
    dys = cotangents(outputs)
    grads = pull(case, case.arguments, dys, cache)
    given = [a for a in (*case.arguments.values(), *dys) if isinstance(a, np.ndarray)]
    made = [a for a in (*outputs, *grads.values()) if isinstance(a, np.ndarray)]
    for i, new in enumerate(made):
        for old in (*given, *made[:i]):
            assert not np.shares_memory(new, old)


@over([case for case in PAIRS if len(run(case, case.arguments)[0]) > 1])
def test_no_cotangent_at_all_means_zero(case):
    outputs, cache = run(case, case.arguments)
    grads = pull(case, case.arguments, [None] * len(outputs), cache)
    assert all(not np.any(g) and g.shape == case.arguments[name].shape for name, g in grads.items())


@over(PAIRS)
def test_float32_in_is_float32_out(case):
    def single(name, array):
        return array.astype(np.float32) if is_float(array) else array

    exact, exact_cache = run(case, case.arguments)
    dys = cotangents(exact)
    arguments = mapped(case, single)
    outputs, cache = run(case, arguments)
    grads = pull(case, arguments, [single("", dy) for dy in dys], cache)
    exact_grads = pull(case, case.arguments, dys, exact_cache)
    for y, expected in zip(outputs, exact, strict=True):
        assert isinstance(y, float) or y.dtype == np.float32
        assert_close(y, expected, 1e-5)
    for name, expected in exact_grads.items():
        assert grads[name].dtype == np.float32
        assert_close(grads[name], expected, 1e-5)


@over([case for case in PAIRS if any(axes[0] == "B" for axes in case.axes.values())])
def test_a_batch_of_two_is_two_batches_of_one(case):
    options = {}
    if case.dropout:
        options["rng"] = None
    if "count" in inspect.signature(case.forward).parameters:
        options["count"] = 17
    whole = {**case.arguments, **options}
    outputs, cache = run(case, whole)
    dys = cotangents(outputs)
    expected = pull(case, whole, dys, cache)
    halves, half_grads = [], []
    for i in range(2):
        half = slice(i, i + 1)
        arguments = {**sliced(case, "B", half), **options}
        y, half_cache = run(case, arguments)
        half_dys = [dy if isinstance(dy, float) else dy[half] for dy in dys]
        halves.append(y)
        half_grads.append(pull(case, arguments, half_dys, half_cache))
    for y, *parts in zip(outputs, *halves, strict=True):
        assert_close(sum(parts) if isinstance(y, float) else np.concatenate(parts), y, 1e-12)
    for name, g in expected.items():
        parts = [grads[name] for grads in half_grads]
        batched = case.axes[name][0] == "B"
        assert_close(np.concatenate(parts) if batched else sum(parts), g, 1e-12)


def strided(name, array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def backwards(name, array):
    return array[::-1].copy()[::-1]


def column_major(name, array):
    return np.asfortranarray(array)


@pytest.mark.parametrize("layout", [strided, backwards, column_major])
@over(PAIRS)
def test_memory_layout_does_not_matter(case, layout):
    outputs, cache = run(case, case.arguments)
    dys = cotangents(outputs)
    expected = pull(case, case.arguments, dys, cache)
    arguments = mapped(case, layout)
    got, cache = run(case, arguments)
    grads = pull(case, arguments, [layout("", dy) if is_float(dy) else dy for dy in dys], cache)
    for y, exact in zip(got, outputs, strict=True):
        assert_close(y, exact, 1e-13)
    for name, g in expected.items():
        assert_close(grads[name], g, 1e-13)


def letters_of(case):
    return set("".join(case.axes.values())) & set("BTS")


@pytest.mark.parametrize(
    ("case", "letter"),
    [(case, letter) for case in PAIRS for letter in sorted(letters_of(case) - set(case.reduced))],
    ids=lambda x: getattr(x, "name", x),
)
def test_an_empty_axis_gives_empty_results_and_zeros(case, letter):
    arguments = sliced(case, letter, slice(0))
    outputs, cache = run(case, arguments)
    grads = pull(case, arguments, cotangents(outputs), cache)
    for y in outputs:
        assert y == 0.0 if isinstance(y, float) else np.all(np.isfinite(y))
    for name, g in grads.items():
        assert g.shape == arguments[name].shape
        assert not np.any(g)


@over([case for case in PAIRS if case.reduced])
def test_an_empty_softmax_axis_is_an_error(case):
    with pytest.raises(InputError, match=r"expected (axis -?\d not to be empty|0 to -1)"):
        run(case, sliced(case, case.reduced, slice(0)))


@over(PAIRS)
def test_documented_shapes_are_true(case):
    shapes = Shapes()
    outputs, cache = run(case, case.arguments)
    parameters, returns = shapes.sections(case.forward)
    for name, value in case.arguments.items():
        if isinstance(value, np.ndarray):
            shapes.later(f"{case.name}: {name}", parameters[name], value)
    shapes.settle()
    *documented, _ = returns.items()
    for (name, text), y in zip(documented, outputs, strict=True):
        shapes.check(f"{case.name}: {name}", text, y)

    dys = cotangents(outputs)
    parameters, returns = shapes.sections(case.backward)
    *documented, _ = parameters.items()
    for (name, text), dy in zip(documented, dys, strict=True):
        shapes.check(f"{case.name}: {name}", text, dy)
    grads = pull(case, case.arguments, dys, cache)
    for name, g in grads.items():
        shapes.check(f"{case.name}: d{name}", returns[f"d{name}"], g)
    assert set(returns) - {f"d{name}" for name in grads} <= {"db", "dbias"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("ndarray of shape (B, T, D)", np.zeros((2, 5, 3))),
        ("ndarray of shape (..., D)", np.zeros((4, 2, 3))),
        ("ndarray of shape (B, T)", np.zeros((2, 4, 3))),
        ("ndarray of shape (B, 1, D)", np.zeros((2, 4, 3))),
        ("boolean ndarray of shape (B, T)", np.zeros((2, 4), dtype=int)),
        ("integer ndarray of shape (B, T)", np.zeros((2, 4))),
        ("boolean ndarray that broadcasts to (B, T)", np.zeros((4, 2), dtype=bool)),
        ("boolean ndarray that broadcasts to (B, T)", np.zeros((7, 2, 4), dtype=bool)),
        ("array of a good size", np.zeros(3)),
    ],
)
def test_a_false_statement_about_a_shape_is_noticed(text, wrong):
    shapes = Shapes()
    shapes.check("x", "ndarray of shape (B, T, D)", np.zeros((2, 4, 3)))
    shapes.check("x", "ndarray of shape (..., D)", np.zeros((2, 4, 3)))
    with pytest.raises((AssertionError, ValueError)):
        shapes.check("x", text, wrong)


@over(PAIRS)
def test_a_cache_is_a_named_tuple_with_true_comments(case):
    def check(cache, shapes):
        fields = shapes.fields(type(cache))
        assert list(fields) == list(cache._fields)
        for name, value in zip(cache._fields, cache, strict=True):
            if hasattr(value, "_fields"):
                check(value, Shapes())
            elif isinstance(value, np.ndarray):
                shapes.check(f"{type(cache).__name__}.{name}", fields[name], value)

    check(run(case, case.arguments)[1], Shapes())

"""The contract of whole models: names, types, determinism, threads, padding, bad input."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models.small import CLASSES, MODELS, SIZES, inputs, make, random_like

from npformer.checks import InputError
from npformer.layers import attend
from npformer.layers.stack import BlockInputs
from npformer.models import ModelOutput, output_arrays

DROPOUT = {"dropout": 0.2, "attention_dropout": 0.3}
every_kind = pytest.mark.parametrize("kind", MODELS)


def run(model, arguments, *, rng=None):
    """One forward and backward with gradients from everywhere: all arrays that come out."""
    output, cache = model.forward(*arguments, rng=rng, output_scores=True)
    _, grads = model.backward(random_like(output), cache)
    return output_arrays(output), grads


def assert_same(a, b):
    for x, y in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(x, y)
    assert set(a[1]) == set(b[1])
    for name in a[1]:
        np.testing.assert_array_equal(a[1][name], b[1][name], err_msg=name)


@every_kind
@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_names_shapes_and_types(kind, norm_first, dtype):
    model = make(kind, dtype=dtype, norm_first=norm_first, **DROPOUT)
    outputs, grads = run(model, inputs(), rng=np.random.default_rng(0))
    assert all(a.dtype == dtype for a in outputs)
    assert list(grads) != []
    assert set(grads) == set(model.params)
    for name, p in model.params.items():
        assert grads[name].shape == p.shape, name
        assert grads[name].dtype == dtype, name
        assert np.abs(grads[name]).max() > 0, name


@every_kind
def test_what_comes_out(kind):
    model = make(kind)
    output, _ = model.forward(*inputs())
    assert [h.shape for h in output.hidden] == [(4, 7, 12)] * 3
    assert output.scores is None
    shapes = {"sequence": (4, CLASSES), "token": (4, 7, CLASSES), "masked_lm": (4, 7, 29)}
    assert (output.logits is None) == (kind == "encoder")
    assert kind == "encoder" or output.logits.shape == shapes[kind]
    with_scores, _ = model.forward(*inputs(), output_scores=True)
    assert [s.shape for s in with_scores.scores] == [(4, 3, 7, 7)] * 2


@every_kind
def test_nothing_is_written_to_and_forward_may_run_twice_before_backward(kind):
    model = make(kind, **DROPOUT)
    for p in model.params.values():
        p.flags.writeable = False
    first, second = inputs(1), inputs(5, (6, 2))
    expected = [run(model, x, rng=np.random.default_rng(i)) for i, x in enumerate((first, second))]
    passes = [
        model.forward(*x, rng=np.random.default_rng(i), output_scores=True)
        for i, x in enumerate((first, second))
    ]
    for (output, cache), wanted in zip(passes, expected, strict=True):
        for _ in range(2):  # backward twice too
            _, grads = model.backward(random_like(output), cache)
            assert_same((output_arrays(output), grads), wanted)


@every_kind
def test_one_model_in_two_threads(kind):
    model = make(kind, dtype=np.float32, **DROPOUT)
    batches = [inputs(seed) for seed in range(8)]

    def work(i):
        return run(model, batches[i], rng=np.random.default_rng([7, i]))

    expected = [work(i) for i in range(8)]
    with ThreadPoolExecutor(2) as pool:
        for got, wanted in zip(pool.map(work, range(8)), expected, strict=True):
            assert_same(got, wanted)


@every_kind
def test_dropout_is_the_generator_and_nothing_else(kind):
    model = make(kind, **DROPOUT)
    same = [run(model, inputs(), rng=np.random.default_rng(8)) for _ in range(2)]
    assert_same(*same)
    other = run(model, inputs(), rng=np.random.default_rng(9))
    assert all((a != b).any() for a, b in zip(same[0][0], other[0], strict=True))
    plain = make(kind)
    without = run(model, inputs())
    assert_same(without, run(plain, inputs()))
    assert_same(without, run(plain, inputs(), rng=np.random.default_rng(8)))


def test_both_types_drop_the_same_entries():
    # Dropped entries of the embeddings are zeros of hidden[0].
    pair = [make("encoder", dtype=t, **DROPOUT) for t in (np.float32, np.float64)]
    single, double = (m.forward(*inputs(), rng=np.random.default_rng(1))[0].hidden for m in pair)
    np.testing.assert_array_equal(single[0] == 0, double[0] == 0)
    assert 0.1 < (double[0] == 0).mean() < 0.3
    np.testing.assert_allclose(single[-1], double[-1], rtol=0, atol=2e-5)


# Recomputation


@every_kind
@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
@pytest.mark.parametrize("scores", [False, True], ids=["no scores", "scores"])
@pytest.mark.parametrize("blockwise_from", [1, 10**6], ids=["blockwise", "whole"])
def test_recomputation_gives_the_same_bits(kind, norm_first, scores, blockwise_from, monkeypatch):
    monkeypatch.setattr(attend, "BLOCKWISE_FROM", blockwise_from)
    model = make(kind, norm_first=norm_first, dtype=np.float32, **DROPOUT)
    results = []
    for recompute in (False, True):
        output, cache = model.forward(
            *inputs(),
            rng=np.random.default_rng(6),
            output_scores=scores,
            recompute=recompute,
        )
        kept = getattr(cache, "encoder", cache).blocks
        assert [isinstance(block, BlockInputs) for block in kept] == [recompute] * 2
        for _ in range(2):  # backward twice too
            _, grads = model.backward(random_like(output), cache)
            results.append((output_arrays(output), grads))
    for result in results[1:]:
        assert_same(result, results[0])


def test_recomputation_hands_on_the_shared_bias():
    model = make("encoder", relative="t5", num_buckets=6, max_distance=5, **DROPOUT)
    results = []
    for recompute in (False, True):
        output, cache = model.forward(*inputs(), rng=np.random.default_rng(6), recompute=recompute)
        _, grads = model.backward(random_like(output), cache)
        assert grads["relative_bias"].any()
        results.append((output_arrays(output), grads))
    assert_same(*results)


def peak_memory(num_layers, recompute):
    """Return the bytes held between forward and backward, and the most held in backward."""
    sizes = {"d_model": 48, "num_heads": 4, "d_ff": 192, "max_len": 64}
    model = make("encoder", dtype=np.float32, num_layers=num_layers, **sizes)
    ids = np.random.default_rng(0).integers(0, SIZES["vocab_size"], (8, 64))
    tracemalloc.start()
    output, cache = model.forward(ids, recompute=recompute)
    doutput = ModelOutput(hidden=(*[None] * num_layers, output.hidden[-1]))
    held, _ = tracemalloc.get_traced_memory()
    model.backward(doutput, cache)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return np.array([held, most])


def test_recomputation_holds_one_block_however_many_there_are():
    """Six more blocks: a hidden state and the gradients of the weights for each."""
    hidden, weights = 8 * 64 * 48 * 4, 12 * 48 * 48 * 4
    held, most = peak_memory(8, True) - peak_memory(2, True)
    assert held < 6 * 1.1 * hidden
    assert most < 6 * 1.2 * (hidden + weights)
    held, most = peak_memory(8, False) - peak_memory(2, False)
    assert held > 6 * 10 * hidden
    alone = peak_memory(1, False)
    assert (peak_memory(2, True) < 1.1 * alone + hidden + weights).all()


# Padding


@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.sampled_from(sorted(MODELS)),
    st.booleans(),
    st.integers(0, 1000),
)
def test_padding_changes_nothing(lengths, kind, norm_first, seed):
    """Each row alone and unpadded, against the same rows padded together with noise."""
    model = make(kind, norm_first=norm_first)
    ids, keep, segments = inputs(seed, (*lengths, 9))  # padded to 9 at least
    output, cache = model.forward(ids, keep, segments, output_scores=True)
    cotangent = _only_kept(random_like(output, seed), keep)
    _, grads = model.backward(cotangent, cache)
    total = {name: np.zeros_like(p) for name, p in model.params.items()}
    for b, n in enumerate((*lengths, 9)):
        alone, alone_cache = model.forward(
            ids[b : b + 1, :n], None, segments[b : b + 1, :n], output_scores=True
        )
        expected = _row(output, b, n, ids.shape)
        for got, wanted in zip(output_arrays(alone), output_arrays(expected), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-11)
        _, row_grads = model.backward(_row(cotangent, b, n, ids.shape), alone_cache)
        for name in total:
            total[name] += row_grads[name]
    for name in total:
        np.testing.assert_allclose(grads[name], total[name], rtol=0, atol=1e-10, err_msg=name)


def _row(output, b, n, shape):
    """The kept part of row b."""
    logits = output.logits
    if logits is not None:
        flat = logits.shape[0] == shape[0] * shape[1]  # of MaskedLM: one row a token
        logits = logits.reshape(*shape, -1)[b, :n] if flat else logits[b : b + 1]
        logits = logits[:, :n] if logits.ndim == 3 else logits
    return ModelOutput(
        tuple(h[b : b + 1, :n] for h in output.hidden),
        tuple(s[b : b + 1, :, :n, :n] for s in output.scores),
        logits,
    )


def _only_kept(doutput, keep):
    """A loss looks at kept tokens, and at scores between kept tokens."""
    pairs = keep[:, None, :, None] & keep[:, None, None, :]
    logits = doutput.logits
    if logits is not None and logits.ndim == 3:
        logits = logits * keep[..., None]
    elif logits is not None and len(logits) == keep.size:
        logits = logits * keep.reshape(-1, 1)
    return ModelOutput(
        tuple(h * keep[..., None] for h in doutput.hidden),
        tuple(s * pairs for s in doutput.scores),
        logits,
    )


def test_a_mask_that_hides_nothing_is_no_mask():
    for kind in MODELS:
        model = make(kind)
        ids, _, segments = inputs()
        everything = run(model, (ids, np.ones(ids.shape, bool), segments))
        assert_same(everything, run(model, (ids, None, segments)))


# Bad input


@every_kind
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": np.zeros((2, 12), int)}, "ids: got 12 tokens, expected at most max_len = 11"),
        ({"ids": np.full((2, 3), 29)}, "ids: got 29, expected 0 to 28"),
        ({"ids": np.full((2, 3), -1)}, "ids: got -1, expected 0 to 28"),
        ({"ids": np.zeros((2, 3))}, "ids: got float64 array, expected an integer array"),
        ({"ids": np.zeros(3, int)}, r"ids: got shape \(3,\), expected \(B, T\)"),
        ({"keep": np.ones((2, 3), int)}, "keep: got int64 array, expected a boolean array"),
        ({"keep": np.zeros((2, 3))}, "keep: got float64 array, expected a boolean array"),
        ({"keep": np.ones((2, 4), bool)}, r"keep: got shape \(2, 4\), expected \(2, 3\)"),
        ({"keep": np.ones((3, 2), bool)}, r"keep: got shape \(3, 2\), expected \(2, 3\)"),
        ({"segments": np.full((2, 3), 6)}, "segments: got 6, expected 0 to 5"),
        ({"segments": np.zeros((2, 4), int)}, r"segments: got shape \(2, 4\)"),
    ],
)
def test_bad_input_at_the_call(kind, change, message):
    arguments = {"ids": np.zeros((2, 3), int), "keep": None, "segments": None, **change}
    with pytest.raises(InputError, match=message) as raised:
        make(kind).forward(**arguments)
    assert "\n" not in str(raised.value)


def test_positions_outside_the_batch():
    with pytest.raises(InputError, match="positions: got 28, expected 0 to 27"):
        make("masked_lm").forward(*inputs(), positions=np.array([3, 28]))


@every_kind
def test_a_wrong_number_of_cotangents(kind):
    model = make(kind)
    output, cache = model.forward(*inputs(), output_scores=True)
    for wrong in (ModelOutput(hidden=output.hidden[1:]), ModelOutput(scores=output.scores[1:])):
        with pytest.raises((InputError, ValueError)):
            model.backward(wrong, cache)


def test_a_new_head_copies_the_encoder():
    encoder = make("encoder", dtype=np.float32)
    config = make("sequence").config
    model = MODELS["sequence"].on(config, encoder.params, np.random.default_rng(0))
    for name, p in encoder.params.items():
        np.testing.assert_array_equal(model.params[f"encoder.{name}"], p)
        assert not np.shares_memory(model.params[f"encoder.{name}"], p)
    assert (
        model.encoder.params["layers.1.attention.w_q"]
        is (model.params["encoder.layers.1.attention.w_q"])
    )


@every_kind
def test_initial_values(kind):
    model = MODELS[kind].init(make(kind).config, np.random.default_rng(0), np.float32)
    double = MODELS[kind].init(make(kind).config, np.random.default_rng(0), np.float64)
    for name, p in model.params.items():
        last = name.rsplit(".", 1)[-1]
        assert p.dtype == np.float32
        np.testing.assert_array_equal(p, double.params[name].astype(np.float32))
        if last == "gamma":
            assert (p == 1).all(), name
        elif p.ndim == 1:
            assert not p.any(), name
        else:
            assert 0.015 < p.std() < 0.025, name
    assert SIZES["num_layers"] == sum("w_q" in name for name in model.params)

import math

import numpy as np
import pytest
from optim.trajectory import gradients, rate, run, start

from npformer.checks import InputError
from npformer.optim import Adam, AdamW, BertAdam, Optimizer, OptimizerState, Sgd, decays, optimizer

# The last entry of w, table and b after 20 steps of PyTorch 2.13 (tests/parity/test_optim_torch.py,
# same names; bertadam: the tensor reference there).
FROZEN: dict[str, tuple[Optimizer, list[float]]] = {
    "sgd": (
        Sgd(momentum=0.0),
        [0.3233232224737118, -1.3439404646858681, -1.7840065813553967],
    ),
    "sgd momentum": (
        Sgd(momentum=0.9),
        [0.21261905633443326, -1.342775028270448, 1.1420751811173508],
    ),
    "sgd decay": (
        Sgd(momentum=0.8, weight_decay=0.1),
        [0.14732376825059548, -1.023505123323481, 0.4011137380377565],
    ),
    "adam": (
        Adam(),
        [0.3633569351132035, -1.1840196925719586, -1.1132912752842596],
    ),
    "adam L2": (
        Adam(betas=(0.8, 0.99), eps=1e-5, weight_decay=0.1),
        [0.33464403570169127, -0.8049302452166194, -1.1352765297800702],
    ),
    "adamw": (
        AdamW(weight_decay=0.1),
        [0.34295996041673504, -1.1143463355584031, -1.1132912752842596],
    ),
    "bertadam": (
        BertAdam(weight_decay=0.1),
        [0.3377656471810271, -0.36512174435117756, -0.5239967739665667],
    ),
}
ALL = [Sgd(weight_decay=0.1), Adam(weight_decay=0.1), AdamW(), BertAdam()]


def name_of(value: object) -> str:
    return type(value).__name__


@pytest.mark.parametrize("case", FROZEN)
def test_twenty_steps_of_pytorch(case: str) -> None:
    made, expected = FROZEN[case]
    last = run(made, rate)[-1]
    got = [last[name].flat[-1] for name in ("w", "table", "b")]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


def test_bert_adam_overshoots_by_six_and_a_half() -> None:
    """A constant gradient: the step in units of the rate, which is what Adam's would be."""
    lr, steps = 1e-3, 1000
    params = {"b": np.zeros(1)}
    made = BertAdam(eps=1e-12)
    state = made.init(params)
    sizes = []
    for _ in range(steps):
        before = params["b"][0]
        made.update(params, {"b": np.array([0.37])}, state, lr)
        sizes.append((before - params["b"][0]) / lr)
    assert sizes[0] == pytest.approx(0.1 / math.sqrt(0.001), rel=1e-6)
    assert round(sizes[0], 2) == 3.16
    assert 1 + int(np.argmax(sizes)) == 12
    assert round(max(sizes), 2) == 6.57
    assert [round(sizes[t - 1], 2) for t in (100, 1000)] == [3.24, 1.26]


def test_adam_does_not_overshoot() -> None:
    params = {"b": np.zeros(1)}
    made = Adam(eps=1e-12)
    state = made.init(params)
    for step in range(1, 30):
        made.update(params, {"b": np.array([0.37])}, state, 1e-3)
        assert params["b"][0] == pytest.approx(-1e-3 * step, rel=1e-9)


@pytest.mark.parametrize("made", ALL, ids=name_of)
def test_decay_is_for_arrays_of_two_axes_or_more(made: Optimizer) -> None:
    params = {"w": np.full((2, 3), 5.0), "b": np.full(3, 5.0), "scalar": np.array(5.0)}
    made.update(params, {n: np.zeros_like(p) for n, p in params.items()}, made.init(params), 0.1)
    assert np.all(params["w"] < 5.0)
    assert np.all(params["b"] == 5.0)
    assert params["scalar"] == 5.0
    assert [decays(p) for p in params.values()] == [True, False, False]


@pytest.mark.parametrize("made", ALL, ids=name_of)
@pytest.mark.parametrize("block", [1, 3, 7])
def test_the_block_size_changes_nothing(
    made: Optimizer, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(made, rate)[-1]
    monkeypatch.setattr(optimizer, "BLOCK", block)
    cut = run(made, rate)[-1]
    for name in whole:
        np.testing.assert_array_equal(whole[name], cut[name])


def test_blocks_are_cut() -> None:
    """Else the test above compares a sweep with itself."""
    a, b = np.zeros((5, 4)), np.arange(20.0).reshape(4, 5).T
    assert len(list(optimizer.blocks(a, b))) == 1
    big = np.zeros((3 * optimizer.BLOCK // 8 + 1, 8))
    sizes = [len(x) for (x,) in optimizer.blocks(big)]
    assert sizes == [optimizer.BLOCK // 8] * 3 + [1]
    assert list(optimizer.blocks(np.zeros((0, 3)), np.zeros((0, 3)))) == []


@pytest.mark.parametrize("made", ALL, ids=name_of)
def test_in_place_whatever_the_layout(made: Optimizer) -> None:
    """A transposed view, as loading a Hugging Face file gives: the array itself must change."""
    plain = {"w": np.arange(12.0).reshape(3, 4) + 1}
    turned = {"w": np.ascontiguousarray(plain["w"].T).T}
    w, grads = turned["w"], {"w": plain["w"] ** 2}
    for params in (plain, turned):
        state = made.init(params)
        made.update(params, grads, state, 0.1)
        assert state.step == 1
    assert turned["w"] is w
    assert not np.array_equal(w, np.arange(12.0).reshape(3, 4) + 1)
    np.testing.assert_array_equal(plain["w"], w)


@pytest.mark.parametrize("made", ALL, ids=name_of)
def test_gradients_are_only_read(made: Optimizer) -> None:
    params, grads = start(), gradients(start(), 0)
    made.update(params, grads, made.init(params), 0.1)
    for name, g in gradients(start(), 0).items():
        np.testing.assert_array_equal(grads[name], g)


@pytest.mark.parametrize("made", ALL, ids=name_of)
def test_float32_stays_float32(made: Optimizer) -> None:
    """Also with a rate from np.linspace, a float64 scalar, which must not widen anything."""
    ends = []
    for lr in (0.1, np.float64(0.1)):
        params = {name: p.astype(np.float32) for name, p in start().items()}
        state = made.init(params)
        for _ in range(3):
            made.update(params, {n: 0.3 * p for n, p in params.items()}, state, lr)
        for arrays in (params, *state.arrays.values()):
            assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}
        ends.append(params)
    for name in ends[0]:
        np.testing.assert_array_equal(ends[0][name], ends[1][name])


@pytest.mark.parametrize("made", ALL, ids=name_of)
def test_resuming_from_flat_arrays_is_bit_exact(made: Optimizer) -> None:
    straight = {f"encoder.layers.0.{n}": p for n, p in start().items()}
    resumed = {n: p.copy() for n, p in straight.items()}

    def steps(params: dict, state: OptimizerState, first: int, last: int) -> None:
        for t in range(first, last):
            named = {n.rpartition(".")[2]: p for n, p in params.items()}
            grads = {f"encoder.layers.0.{n}": g for n, g in gradients(named, t).items()}
            made.update(params, grads, state, rate(t))

    steps(straight, made.init(straight), 0, 12)
    state = made.init(resumed)
    steps(resumed, state, 0, 5)
    flat = {name: a.copy() for name, a in state.to_arrays().items()}
    assert len(flat) == len(resumed) * len(state.arrays)
    assert all(name.partition(".")[2] in resumed for name in flat)
    steps(resumed, OptimizerState.from_arrays(flat, state.step), 5, 12)
    for name in straight:
        np.testing.assert_array_equal(straight[name], resumed[name])


def test_flat_names() -> None:
    state = AdamW().init({"encoder.w_q": np.zeros((2, 3))})
    assert list(state.to_arrays()) == ["m.encoder.w_q", "v.encoder.w_q"]
    assert OptimizerState.from_arrays({}, 3) == OptimizerState(3, {})


@pytest.mark.parametrize("made", ALL, ids=name_of)
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"b": None}, "grads: got none for b, expected exactly the names of params"),
        ({"more": np.zeros(2)}, "grads: got unknown more"),
        ({"b": np.zeros(5)}, r"grads b: got float64 \(5,\), expected float64 \(6,\)"),
        ({"b": np.zeros((6, 1))}, r"grads b: got float64 \(6, 1\)"),
        ({"b": np.zeros(6, np.float32)}, r"grads b: got float32 \(6,\)"),
        ({"b": 0.0}, "grads b: got float, expected"),
    ],
)
def test_gradients_that_do_not_fit_write_nothing(
    made: Optimizer, broken: dict, message: str
) -> None:
    params = start()
    state = made.init(params)
    grads = {n: g for n, g in {**gradients(params, 0), **broken}.items() if g is not None}
    with pytest.raises(InputError, match=message):
        made.update(params, grads, state, 0.1)
    assert state.step == 0
    assert all(np.array_equal(params[n], p) for n, p in start().items())
    assert not any(a.any() for a in state.to_arrays().values())


def test_a_state_that_does_not_fit_is_refused() -> None:
    params = start()
    grads = gradients(params, 0)
    with pytest.raises(InputError, match=r"state: got .*velocity.*, expected .*made by this"):
        Adam().update(params, grads, Sgd().init(params), 0.1)
    part = {name: params[name] for name in ("w", "table")}
    with pytest.raises(InputError, match="state 'm': got none for b"):
        Adam().update(params, grads, Adam().init(part), 0.1)
    params["w"].flags.writeable = False
    with pytest.raises(InputError, match="w: got a read-only array"):
        Adam().update(params, grads, Adam().init(params), 0.1)


def test_parameters_that_cannot_be_trained_are_refused() -> None:
    with pytest.raises(InputError, match="ids: got int64 array, expected a floating"):
        Adam().init({"ids": np.zeros(3, np.int64)})
    with pytest.raises(InputError, match="params: got no arrays"):
        Sgd().init({})


@pytest.mark.parametrize("made", ALL, ids=name_of)
@pytest.mark.parametrize("lr", [-0.1, np.nan, np.inf])
def test_rates_that_make_no_sense_are_refused(made: Optimizer, lr: float) -> None:
    params = start()
    state = made.init(params)
    with pytest.raises(InputError, match="lr: got"):
        made.update(params, gradients(params, 0), state, lr)
    assert state.step == 0


@pytest.mark.parametrize(
    ("make", "numbers", "message"),
    [
        (Sgd, {"momentum": 1.0}, "momentum: got 1.0"),
        (Sgd, {"momentum": float("nan")}, "momentum: got nan"),
        (Sgd, {"weight_decay": -0.1}, "weight_decay: got -0.1"),
        *(
            (make, numbers, message)
            for make in (Adam, AdamW, BertAdam)
            for numbers, message in (
                ({"betas": (0.9, 1.0)}, "betas: got 1.0"),
                ({"betas": (-0.1, 0.9)}, "betas: got -0.1"),
                ({"betas": (0.9,)}, "betas: got .*expected two"),
                ({"eps": 0.0}, "eps: got 0.0"),
                ({"eps": float("nan")}, "eps: got nan"),
                ({"weight_decay": -1.0}, "weight_decay: got -1.0"),
                ({"weight_decay": float("nan")}, "weight_decay: got nan"),
            )
        ),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make, numbers, message) -> None:
    with pytest.raises(InputError, match=message):
        make(**numbers)

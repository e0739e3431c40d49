"""The benchmarks: what they count and compare, and what they say to bad input. No times."""

import importlib
import json
import math
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compare, frontier, positions
from benchmarks.arguments import Parser, fractions, names_of, new_file, positive
from benchmarks.case import Case, flops
from benchmarks.child import ROOT, Child, ChildError, child_environment
from benchmarks.cli import main
from benchmarks.contenders import ours
from benchmarks.contenders.inputs import make_batches, make_examples, make_model
from benchmarks.lengths import HISTOGRAM, data_folder, full_batch, read_histogram, real_batches
from benchmarks.libraries import KERNELS, LIBRARIES, PEERS, Contender, contenders_for
from benchmarks.measure import Disagreement, measure
from benchmarks.memory import peak_memory
from benchmarks.others import busy_seconds, cores_of_others
from benchmarks.plan import peak_case, plan
from benchmarks.positions import accuracy, last_follower, places_back, train, verdict
from benchmarks.profiling import PACKAGE, own_seconds
from benchmarks.report import case_table
from benchmarks.results import (
    Measured,
    Result,
    as_json,
    disagreement,
    median_of_ratios,
    ratio_of_minima,
)
from benchmarks.scaling.command import sweep_table
from benchmarks.scaling.figures import save_figure
from benchmarks.scaling.fit import Point, exponent
from benchmarks.scaling.sweeps import SWEEPS
from benchmarks.sizes import SIZES, Shape
from benchmarks.targets import TARGETS, summary, verdicts

NATIVE, HASWELL, TORCH = (
    Contender("npformer", "native"),
    Contender("npformer", "haswell"),
    Contender("torch"),
)
TINY = Shape(vocab_size=11, max_len=8, d_model=4, num_heads=2, num_layers=3, d_ff=5)


def tiny_case(mode="train", lengths=((3, 2),), **more) -> Case:
    return Case(mode, "tiny", "real", TINY, lengths, **more)


def made_up(case: Case, **more) -> Result:
    """Return three contenders in two rounds: ours take 2 and 3 ms at best, PyTorch 4."""
    return Result(
        case,
        [
            Measured(NATIVE, [[0.004, 0.002], [0.003, 0.006]], [0.0, 0.1], 50 << 20, **more),
            Measured(HASWELL, [[0.003], [0.005]], [0.0, 0.0], 60 << 20, **more),
            Measured(TORCH, [[0.008], [0.004]], [0.0, 0.9], 40 << 20, **more),
        ],
    )


# The command line


BAD = {
    "--sizes huge": "argument --sizes: got 'huge', expected some of micro, tinybert4,",
    "--mode micro": "argument --mode: got 'micro', expected some of train, distill, infer",
    "--peers jax": "argument --peers: got 'jax', expected some of torch,",
    "--kernels avx": "argument --kernels: got 'avx', expected some of native, haswell",
    "--kernels ,": "argument --kernels: got none, expected some of native, haswell",
    "--rounds 0": "argument --rounds: got '0', expected a whole number of at least 1",
    "--threads two": "argument --threads: got 'two', expected a whole number of at least 1",
    "--dropout 1": "argument --dropout: got '1', expected numbers from 0 to below 1",
    "--dropout x": "argument --dropout: got 'x', expected numbers from 0 to below 1",
    "--json /no/such/file": "argument --json: got '/no/such/file', expected a file in a folder",
    "--frob": "unrecognized arguments: --frob",
    "--mode distill --sizes micro": "got no case to measure",
    "against no-such-commit": "REV: got no-such-commit, expected a commit of this repository",
    "scaling --sweeps heads": "argument --sweeps: got 'heads', expected some of length,",
    "scaling --rounds -1": "argument --rounds: got '-1', expected a whole number of at least 1",
}


@pytest.mark.parametrize(("line", "expected"), BAD.items(), ids=list(BAD))
def test_bad_arguments_are_one_sentence(line, expected, capsys):
    assert main(line.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"benchmarks: {expected}")
    assert captured.err.count("\n") == 1


def test_the_folder_of_figures_may_not_be_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["scaling", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"benchmarks: {tmp_path / 'file'}: ")


def test_lists_of_arguments(tmp_path):
    assert names_of("abc")("c, a,c") == ["c", "a"]
    assert names_of("abc")("") == []
    assert fractions("0,0.1,0") == [0.0, 0.1]
    assert positive("12") == 12
    assert new_file(str(tmp_path / "new.json")) == tmp_path / "new.json"
    parser = Parser()
    parser.add_argument("--names", type=names_of("ab"), default="a,b")
    assert parser.parse_args([]).names == ["a", "b"]


# Cases


def test_flops_are_those_of_a_count_by_hand():
    # Each layer: q, k, v, o on 5 tokens, the feed-forward up and down, then for 3 and 2 tokens
    # the scores and the mix: 2 heads of 2 columns each.
    maps = 4 * (2 * 5 * 4 * 4) + 2 * (2 * 5 * 4 * 5)
    attention = 2 * 2 * (2 * 3 * 3 * 2) + 2 * 2 * (2 * 2 * 2 * 2)
    head = 2 * 2 * 4 * 4 + 2 * 2 * 4 * 2
    forward = 3 * (maps + attention) + head
    assert flops(tiny_case("infer")) == forward
    assert flops(tiny_case("train")) == 3 * forward
    teacher = replace(TINY, d_model=6, num_layers=1)
    assert flops(tiny_case("distill", teacher=teacher)) == (
        3 * forward + flops(replace(tiny_case("infer"), shape=teacher)) + 3 * 4 * (2 * 5 * 4 * 6)
    )


def test_flops_of_several_batches_are_their_mean():
    both = flops(tiny_case("infer", ((3, 2), (7,))))
    parts = flops(tiny_case("infer", ((3, 2),))), flops(tiny_case("infer", ((7,),)))
    assert both == sum(parts) / 2
    assert flops(peak_case(1)) == 2 * 2048 * 768 * 3072


def test_flops_agree_with_the_published_count_of_bert():
    # Clark et al. 2020 (ELECTRA), table 8: BERT-base, 128 tokens, 2.9e10 with all elementwise
    # work and the masked-LM head; matrix products of the encoder alone are a little less.
    case = Case("infer", "base", "full", SIZES["base"].shape, full_batch(1, 128))
    assert 2.1e10 < flops(case) < 2.9e10


def test_cases_reach_the_child_as_they_are():
    for case in (tiny_case(), tiny_case("distill", dropout=0.1, teacher=TINY)):
        assert Case.from_json(case.to_json()) == case


def test_a_plan_has_every_case_once():
    cases = plan(["train", "distill", "infer"], list(SIZES), ["full", "real"], [0.0, 0.1], 2)
    titles = [case.title for case in cases]
    assert len(set(titles)) == len(titles)
    count = {mode: sum(case.mode == mode for case in cases) for mode in ("train", "distill")}
    assert count == {"train": 2 * (5 + 4), "distill": 2}
    assert "infer, tinybert4, one sentence x 64, full" in titles
    assert "train, base8x128, batch 8 x 128, full, dropout 0.1" in titles
    assert [c.title for c in cases if c.dropout and c.mode != "train"] == []
    # Every target speaks of a case that is in the plan.
    asked = {(c.mode, c.size, len(c.lengths[0])) for c in cases if c.batches == "full"}
    assert {(t.mode, t.size, t.rows) for t in TARGETS} <= asked


def test_who_takes_part():
    kernels = list(KERNELS)
    assert contenders_for("distill", "", 0.0, list(PEERS), kernels) == [NATIVE, HASWELL, TORCH]
    with_autograd = contenders_for("train", "micro", 0.0, ["autograd"], kernels)
    assert with_autograd[2:] == [Contender("autograd", kernel) for kernel in kernels]
    for size, dropout in (("base", 0.0), ("micro", 0.1)):
        assert contenders_for("train", size, dropout, ["autograd"], ["native"]) == [NATIVE]


# Lengths


def test_the_histogram_is_that_of_sst_2():
    assert sum(HISTOGRAM) == 67_349  # GLUE's count
    mean = sum(n * words for words, n in enumerate(HISTOGRAM, start=1)) / 67_349
    assert mean == pytest.approx(9.41, abs=0.01)
    path = data_folder() / "SST-2" / "train.tsv.gz"
    if path.exists():
        assert dict(read_histogram(path)) == dict(enumerate(HISTOGRAM, start=1))


def test_real_batches_are_buckets(monkeypatch, tmp_path):
    monkeypatch.setenv("NPFORMER_DATA", str(tmp_path))  # nothing there: the recorded histogram
    batches = real_batches(32, 512)
    assert [len(rows) for rows in batches] == [32] * 8
    assert [min(rows) for rows in batches] == sorted(min(rows) for rows in batches)
    kept, padded = sum(map(sum, batches)), sum(32 * max(rows) for rows in batches)
    assert kept >= 0.97 * padded
    assert kept / (8 * 32) == pytest.approx(9.41 + 2, rel=0.1)
    assert max(map(max, real_batches(32, 5))) == 5


def test_the_batches_have_the_lengths_and_are_the_same_every_time():
    case = tiny_case(lengths=((3, 2), (8, 1, 1)))
    first, again = make_batches(case), make_batches(case)
    for batch, same, lengths in zip(first, again, case.lengths, strict=True):
        assert tuple(batch.keep.sum(axis=1)) == lengths
        np.testing.assert_array_equal(batch.ids, same.ids)
        np.testing.assert_array_equal(batch.labels, same.labels)
    for encoded, batch in zip(make_examples(case), first, strict=True):
        np.testing.assert_array_equal(np.concatenate(encoded.ids), batch.ids[batch.keep])
    a, b = make_model(TINY).params, make_model(TINY).params
    assert all(np.array_equal(a[name], b[name]) for name in a)


# Results


def test_ratios_of_made_up_times():
    result = made_up(tiny_case())
    native, haswell, torch = result.measured
    assert (native.minimum, native.median) == (0.002, 0.0035)
    assert ratio_of_minima(native, torch) == 0.5
    assert median_of_ratios(native, torch) == pytest.approx((0.002 / 0.008 + 0.003 / 0.004) / 2)
    assert ratio_of_minima(haswell, torch) == 0.75
    assert result.gflops(native) == pytest.approx(flops(result.case) / 0.002 / 1e9)
    assert result.ours() == [native, haswell]
    assert result.peer("torch", native) is torch
    assert result.peer("autograd", native) is None


def test_a_peer_on_numpy_is_compared_on_the_same_kernel():
    slow, fast = (Measured(Contender("autograd", k), [[1.0]]) for k in KERNELS)
    result = made_up(tiny_case())
    result.measured += [slow, fast]
    assert [result.peer("autograd", m) for m in result.ours()] == [slow, fast]


def test_the_table_of_a_case():
    result = made_up(Case("train", "micro", "full", SIZES["micro"].shape, full_batch(32, 16)))
    rate = result.gflops(result.measured[0])
    text = case_table(result, {NATIVE: 2 * rate, TORCH: rate})
    title, head, native, haswell, torch = text.splitlines()
    assert title == "train, micro, batch 32 x 16, full"
    assert head.split("  ")[-1].strip() == "/ torch"
    assert native.split() == [
        *("npformer", "native", "2", "3.5", f"{rate:.0f}", "50%", "50", "0.1", "0.50", "(0.50)")
    ]
    assert haswell.split()[5:] == ["-", "60", "0.0", "0.75", "(0.81)"]
    assert torch.split()[4:] == ["50%", "40", "0.5", "-"]


def test_targets_are_met_or_missed():
    shape = SIZES["tinybert4"].shape
    case = Case("train", "tinybert4", "full", shape, full_batch(32, 64))
    found = {(v.target.figure, v.kernel): v for v in verdicts([made_up(case)], {})}
    assert {key: (v.value, v.met) for key, v in found.items()} == {
        ("time", "native"): (0.5, True),  # target 0.60
        ("time", "haswell"): (0.75, True),  # target 0.90
        ("memory", "native"): (1.25, False),  # target 1.0
        ("memory", "haswell"): (1.5, False),
    }
    text = summary(list(found.values()), import_seconds=0.2)
    assert [line.split()[-1] for line in text.splitlines()[1:]] == ["ok", "ok", *["MISS"] * 3]


@pytest.mark.parametrize(
    "change", [{"dropout": 0.1}, {"batches": "real"}, {"lengths": full_batch(8, 64)}]
)
def test_targets_speak_of_their_own_case_alone(change):
    shape = SIZES["tinybert4"].shape
    case = Case("train", "tinybert4", "full", shape, full_batch(32, 64))
    assert verdicts([made_up(replace(case, **change))], {}) == []


def test_a_share_of_the_peak_is_better_if_larger():
    case = Case("train", "base", "full", SIZES["base"].shape, full_batch(32, 64))
    result = made_up(case)
    rate = result.gflops(result.measured[0])
    for peak, met in ((rate / 0.85, True), (rate / 0.75, False)):
        [verdict] = [v for v in verdicts([result], {NATIVE: peak}) if v.target.figure == "share"]
        assert verdict.value == pytest.approx(rate / peak)
        assert verdict.met is met


def test_a_busy_machine_is_named():
    case = Case("train", "micro", "full", SIZES["micro"].shape, full_batch(32, 16))
    result = made_up(case)
    assert all(v.quiet for v in verdicts([result], {}))
    result.of("torch").others = [0.9, 0.8]
    found = verdicts([result], {})
    assert not any(v.quiet for v in found)
    assert "ok, but busy" in summary(found, 0.1)


def test_what_others_do():
    assert cores_of_others(10.0, 11.5, ours=0.5, wall=2.0) == 0.5
    assert cores_of_others(10.0, 10.1, ours=0.5, wall=2.0) == 0.0
    assert cores_of_others(None, None, ours=0.5, wall=2.0) == 0.0
    if sys.platform == "linux":
        assert busy_seconds() > 0


def test_disagreement_shows_both():
    steps = [{"loss": [0.5], "logits": [1.0, -2.0]}]
    assert disagreement(steps, [{"loss": [0.5004], "logits": [1.001, -2.001]}]) is None
    assert disagreement(steps, [{"loss": [0.506], "logits": [1.0, -2.0]}]) == (
        "loss of step 1: 0.5 against 0.506"
    )
    for bad in ([1.0, -2.003], [1.0], [math.nan, -2.0]):
        assert disagreement(steps, [{"logits": bad}]).startswith("logits of step 1: 1, -2 against")
    assert disagreement(steps, [{"other": [7.0]}]) is None


def test_results_go_to_json():
    text = json.dumps(as_json(made_up(tiny_case(), about={"version": "1"})))
    found = json.loads(text)["contenders"][2]
    assert (found["library"], found["minimum_ms"], found["memory_mb"]) == ("torch", 4.0, 40.0)
    assert found["seconds"] == [[0.008], [0.004]]


# Children


def test_a_peer_that_is_not_installed_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.libraries.find_spec", lambda name: None)
    assert compare.is_installed("onnxruntime") is False
    said = capsys.readouterr().err
    assert said.startswith("onnxruntime is left out: not installed: onnxruntime, onnx, torch (")
    assert said.endswith("pip install '.[bench]')\n")
    assert compare.is_installed("npformer") is True  # needs nothing else


def test_the_environment_of_a_child():
    parent = {
        "OPENBLAS_CORETYPE": "Zen",
        "OPENBLAS_L2_SIZE": "512",
        "HOME": "/h",
        "PYTHONPATH": "x",
    }
    native = child_environment(parent, "native", 3)
    assert not [name for name in native if name.startswith("OPENBLAS_")]
    assert native["HOME"] == "/h"
    assert native["OMP_NUM_THREADS"] == "3"
    assert child_environment(parent, None, 3) == native
    haswell = child_environment(parent, "haswell", 3)
    assert haswell == native | {"OPENBLAS_CORETYPE": "Haswell"}
    assert "OPENBLAS_CORETYPE" in parent


def test_peak_memory_is_not_that_of_the_parent():
    before = peak_memory()
    untouched = np.empty(1 << 30, np.uint8)  # has no pages yet
    assert peak_memory() < before + (100 << 20)
    ballast = np.ones(300 << 20, np.uint8)
    assert peak_memory() > 300 << 20
    code = "from benchmarks.memory import peak_memory; print(peak_memory())"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert 1 << 20 < int(done.stdout) < 200 << 20
    del ballast, untouched


def test_a_micro_run():
    case = Case("train", "micro", "full", SIZES["micro"].shape, full_batch(4, 5), dropout=0.1)
    result = measure(case, [NATIVE], 1)
    [measured] = result.measured
    assert measured.minimum > 0
    assert measured.memory > 1 << 20
    assert len(measured.values) == 2
    assert measured.values[0]["loss"][0] == pytest.approx(math.log(2), abs=0.3)
    assert measured.values[1] != measured.values[0]  # it learns
    assert "version" in measured.about


def test_another_checkout_runs_its_own_code(tmp_path):
    folder = tmp_path / "abc123"
    (folder / "benchmarks").mkdir(parents=True)
    (folder / "benchmarks" / "__init__.py").touch()
    ready = '{"seconds": 1, "values": [], "about": {"version": "of long ago"}}'
    (folder / "benchmarks" / "worker.py").write_text(f"print({ready!r})")
    contender = Contender("npformer", "native", checkout=folder)
    assert contender.label == "abc123 native"
    with Child(contender, tiny_case()) as child:
        assert child.about == {"version": "of long ago"}


def test_contenders_that_disagree_are_not_timed(monkeypatch):
    case = tiny_case("infer")
    children = []

    class Shifted(Child):
        def __init__(self, contender, case):
            super().__init__(contender, case)
            children.append(self)
            self.values[0]["logits"][0] += 0.1 * (len(children) - 1)

    monkeypatch.setattr("benchmarks.measure.Child", Shifted)
    with pytest.raises(Disagreement, match=r"npformer native and npformer native disagree in log"):
        measure(case, [NATIVE, NATIVE], 1)
    assert [child.rounds for child in children] == [[], []]


def test_a_contender_that_fails_says_why(capfd):
    case = tiny_case(lengths=((9,),))  # longer than max_len
    with pytest.raises(ChildError, match=r"npformer native: .*got.* 9"):
        Child(NATIVE, case)
    assert measure(case, [NATIVE], 1).measured == []
    assert "left out npformer native" in capfd.readouterr().err


# Scaling


def test_exponents_are_of_the_larger_half():
    values = [1, 2, 4, 8, 16, 32]
    assert exponent(values, [100.0, 100.0, 100.0, *(v**1.5 for v in (8, 16, 32))]) == (
        pytest.approx(1.5)
    )


def test_every_sweep_rises_in_work():
    for sweep in SWEEPS.values():
        work = [flops(sweep.case(value, "train", 1)) for value in sweep.values]
        assert work == sorted(set(work)), sweep.name


def test_the_table_and_the_figure_of_a_sweep(tmp_path: Path):
    sweep = SWEEPS["depth"]
    points = [
        Point(v, sweep.case(v, "train", 1), seconds=0.001 * v, memory=v << 20) for v in sweep.values
    ]
    series = {"train, 1 thread": points}
    lines = sweep_table(sweep, series).splitlines()
    assert lines[2].split() == ["1", "1", "1"]
    assert lines[-3].split() == ["exponent", "1.00", "1.00"]
    assert lines[-2].split() == ["of", "the", "operations", "1.00"]
    assert save_figure(sweep, series, tmp_path).read_bytes().startswith(b"\x89PNG")


# Positions


def test_the_tasks_of_positions_ask_for_what_they_say():
    ids, labels = places_back(np.random.default_rng(0), 3, 20, back=2)
    again, followers = last_follower(np.random.default_rng(0), 3, 20)
    np.testing.assert_array_equal(ids, again)
    for b, t in np.ndindex(ids.shape):
        assert labels[b, t] == (ids[b, t - 2] if t >= 2 else -100)
        before = [s for s in range(t) if ids[b, s] == ids[b, t]]
        assert followers[b, t] == (ids[b, before[-1] + 1] if before else -100)


def test_a_seed_that_fails_is_in_the_verdict():
    good, mixed, bad = [0.99, 0.95, 1.0], [0.99, 0.94, 1.0], [0.3, 0.94, 0.1]
    assert verdict([good, good, good]) == "up to 128"
    assert verdict([good, bad, good]) == "up to 32"  # what comes after a failure is luck
    assert verdict([good, mixed, bad]) == "up to 32; 2 of 3 at 64"
    assert verdict([mixed, good, good]) == "not learnt; 2 of 3 at 32"
    assert verdict([bad, bad, bad]) == "not learnt"


def test_positions_are_what_the_task_needs():
    task = partial(places_back, back=2)
    found = {
        name: accuracy(task, train(task, name, seed=0, steps=180), 32, seed=0)
        for name in ("rotary", "none")
    }
    assert found["rotary"] > 0.95
    assert found["none"] < 0.3


def test_a_tiny_run_of_positions(tmp_path, capsys):
    figure = tmp_path / "positions.png"
    line = f"--seeds 2 --steps 2 --back 3 --encodings none,t5-near --figure {figure}"
    assert positions.main(line.split()) == 0
    blocks = capsys.readouterr().out.strip().split("\n\n")
    assert [block.split(";")[0] for block in blocks] == [
        "back: the token 3 back",
        "follower: what followed it last time",
    ]
    for block in blocks:
        lines = [row.split() for row in block.splitlines()[1:]]
        assert [row[0] for row in lines] == ["encoding", "none", "t5-near"]
        assert lines[1][-2:] == ["not", "learnt"]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_every_encoding_of_positions_is_a_model_of_its_own():
    task = partial(places_back, back=2)
    ids = np.random.default_rng(0).integers(0, 11, (2, 32))
    logits = [train(task, name, seed=0, steps=0).forward(ids)[0] for name in positions.ENCODINGS]
    for i, a in enumerate(logits):
        assert all(not np.array_equal(a, b) for b in logits[:i])


def distilled(retained, faster, **more):
    """Return a model's row of ``results.json``."""
    ratios = dict(zip(frontier.COLUMNS, (8.0, faster, 9.0, 7.0), strict=True))
    return {"accuracy": 0.9 * retained, "retained": retained, **ratios, **more}


def test_the_frontier_of_finished_runs(tmp_path, capsys):
    settings = {"student": "3x8x2", "activation": "relu"}
    seeds = [
        {"settings": settings, "student": distilled(0.97, 10.0), "scratch": distilled(0.8, 10.5)},
        {"settings": settings, "student": distilled(0.99, 11.0)},
    ]
    one = {"settings": {"student": "2x4"}, "measure": "accuracy", "student": distilled(0.95, 20)}
    runs = {"seeds": {"measure": "accuracy", "seeds": seeds}, "one": one}
    for name, results in runs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(results))
    figure = tmp_path / "frontier.png"
    folders = [str(tmp_path / name) for name in runs]
    assert frontier.main([*folders, "--out", str(figure)]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    rows = [" ".join(line.split()) for line in lines]
    assert rows == [
        "3x8x2 relu, distilled student 2 0.8820 98.0 % 8.0x 10.5x 9.0x 7.0x",
        "3x8x2 relu, same, from scratch 1 0.7200 80.0 % 8.0x 10.5x 9.0x 7.0x",
        "2x4 gelu, distilled student 1 0.8550 95.0 % 8.0x 20.0x 9.0x 7.0x",
    ]
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert frontier.main([str(tmp_path)]) == 2
    assert f"RUN: got {tmp_path}, expected the folder of a finished" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--seeds 0", "--steps x", "--encodings xl", "--figure /no/x"])
def test_bad_arguments_of_positions(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        positions.main(option.split())
    assert f"argument {option.split()[0]}: got '{option.split()[1]}'" in capsys.readouterr().err


# The peers compute what we do: three steps of training, and a prediction, all with padding


LENGTHS = ((7, 7, 6, 5), (3, 2, 2, 1))
PARITY = [
    *(("torch", mode) for mode in ("train", "distill", "infer")),
    *(("transformers", mode) for mode in ("train", "infer")),
]


@pytest.fixture
def in_this_process(monkeypatch):
    """Leave the C library's settings and the BLAS threads as they were."""
    with ExitStack() as stack:
        monkeypatch.setattr(ours, "_OPEN", stack)
        monkeypatch.setattr(ours, "keep_freed_memory", lambda: True)
        yield


@pytest.mark.parity
@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("library", "mode"), PARITY)
def test_peers_agree_step_by_step(library, mode):
    for package in LIBRARIES[library].requires:
        pytest.importorskip(package)
    _agree(library, mode)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("library", "mode"), [("onnxruntime", "infer"), ("autograd", "train")])
def test_rarer_peers_agree_step_by_step(library, mode):
    for package in LIBRARIES[library].requires:
        pytest.importorskip(package)
    _agree(library, mode)


def _agree(library: str, mode: str) -> None:
    # In this process: an import of PyTorch takes longer than all of the steps.
    shape = Shape(vocab_size=50, max_len=8, d_model=12, num_heads=2, num_layers=4, d_ff=20)
    teacher = replace(shape, d_model=16, num_layers=6) if mode == "distill" else None
    case = Case(mode, "tiny", "real", shape, LENGTHS, teacher=teacher)
    their_module = importlib.import_module(f"benchmarks.contenders.{LIBRARIES[library].module}")
    step, their_step = ours.make(case), their_module.make(case)
    for i in (0, 1, 0):
        mine, theirs = step(i, False), their_step(i, False)
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-7), name


def test_a_profile_charges_foreign_functions_to_whichever_of_ours_called_them():
    ours_a = str(PACKAGE / "ops" / "linear.py"), 19, "linear_forward"
    ours_b = str(PACKAGE / "optim" / "adam.py"), 3, "update"
    foreign, main = ("~", 0, "<method 'reduce'>"), ("/elsewhere/npformer/benchmarks/x.py", 1, "f")
    stats = {  # function: calls, primitive calls, own seconds, all seconds, {caller: the same four}
        main: (1, 1, 9.0, 20.0, {}),
        ours_a: (1, 1, 2.0, 5.0, {main: (1, 1, 2.0, 5.0)}),
        ours_b: (1, 1, 1.0, 5.0, {main: (1, 1, 1.0, 5.0)}),
        foreign: (3, 3, 4.0, 4.0, {ours_a: (2, 2, 3.0, 3.0), ours_b: (1, 1, 1.0, 1.0)}),
    }
    found = own_seconds(stats)
    assert found == {"ops/linear.py linear_forward": 5.0, "optim/adam.py update": 2.0}

"""The translation job: it learns, is resumed bit by bit, and runs from the command line."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_pairs

from npformer.cli import main
from npformer.data.pairs import EncodedPairs
from npformer.data.vocabulary import KINDS
from npformer.jobs.translate.evaluate import compare, exact_match
from npformer.jobs.translate.job import train
from npformer.jobs.translate.settings import Settings
from npformer.layers.attention_config import ATTENTIONS
from npformer.layers.positions import POSITIONS
from npformer.layers.relative import SCHEMES
from npformer.models.config import Seq2SeqConfig
from npformer.models.seq2seq import Seq2Seq
from npformer.models.seq2seq_folder import load_seq2seq
from npformer.train.objective import TranslationObjective, add_results
from npformer.train.run import Run

TINY = "--size 1x16x2 --pairs 64 --batch-size 16 --steps 8 --dropout 0.1".split()


def model() -> Seq2Seq:
    config = Seq2SeqConfig(
        vocab_size=9,
        target_vocab_size=9,
        shared_embeddings=True,
        num_encoder_layers=1,
        num_decoder_layers=2,
        d_model=6,
        num_heads=3,
        d_ff=7,
        max_len=12,
        activation="gelu",  # no kinks
    )
    return Seq2Seq.init(config, np.random.default_rng(0), np.float64)


def pairs() -> EncodedPairs:
    rng = np.random.default_rng(4)
    rows = [[rng.integers(4, 9, rng.integers(2, 8)) for _ in range(5)] for _ in range(2)]
    return EncodedPairs(rows[0], rows[1])


def test_objective_matches_finite_differences_and_its_shards_add_up() -> None:
    net, batch = model(), pairs().collate(range(5), 0)
    objective = TranslationObjective(net, 1, label_smoothing=0.1)
    values, _, grads = objective(batch, batch.counts, None)
    rng = np.random.default_rng(1)
    for name, array in net.params.items():
        direction = rng.standard_normal(array.shape)
        eps, losses = 1e-5, []
        for sign in (1, -1):
            moved = Seq2Seq(net.config, net.params | {name: array + sign * eps * direction})
            losses.append(
                TranslationObjective(moved, 1, 0.1)(batch, batch.counts, None).values["loss"]
            )
        numeric = (losses[0] - losses[1]) / (2 * eps)
        assert np.vdot(grads[name], direction) == pytest.approx(numeric, rel=1e-6, abs=1e-9), name
    parts = [objective(part, batch.counts, None) for part in batch.split(2)]
    both = add_results(*parts)
    assert both.values["loss"] == pytest.approx(values["loss"], rel=1e-12)
    for name in grads:
        np.testing.assert_allclose(both.grads[name], grads[name], atol=1e-12)


def test_padding_does_not_matter() -> None:
    net, batch = model(), pairs().collate(range(5), 0)
    other = pairs().collate(range(5), 7)
    assert (batch.source != other.source).any()
    a, b = (TranslationObjective(net, 1)(x, x.counts, None) for x in (batch, other))
    assert a.values == b.values


def test_measures() -> None:
    assert exact_match(["a", "b"], ["a", "c"]) == 0.5
    pytest.importorskip("sacrebleu")
    same = compare(["我们在学习数学", "他来了没有"], ["我们在学习数学", "他来了没有"])
    assert same["bleu"] == pytest.approx(100)
    assert same["chrf"] == pytest.approx(100)
    assert compare(["the cat sat on a mat"], ["a dog ran in the park"])["bleu"] < 10


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_interrupted_and_resumed_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["translate", "train", *TINY, "--out", str(tmp_path / "a")]) == 0

    def broken(left: int) -> Callable[..., object]:
        real, calls = TranslationObjective.__call__, [left * 2]  # two shards a step

        def call(self: TranslationObjective, *args: object) -> object:
            calls[0] -= 1
            if calls[0] < 0:
                raise KeyboardInterrupt
            return real(self, *args)  # type: ignore[arg-type]

        return call

    out = ["--out", str(tmp_path / "b")]
    with monkeypatch.context() as patched:
        patched.setattr(TranslationObjective, "__call__", broken(5))  # checkpoints at 2 and 4
        assert main(["translate", "train", *TINY, *out]) == 130
    assert not (tmp_path / "b" / "model").exists()
    assert main(["translate", "train", *out, "--resume"]) == 0
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    results = [json.loads((tmp_path / x / "results.json").read_text()) for x in "ab"]
    assert results[0]["test"] == results[1]["test"]


def test_run_and_distil(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["translate", "train", *TINY, "--out", str(run)]) == 0
    assert {p.name for p in run.iterdir()} >= {"attention.png", "loss.png", "results.json"}
    capsys.readouterr()
    png = tmp_path / "a.png"
    assert main(["translate", "run", str(run), "ten", "五", "--attention", str(png)]) == 0
    greedy = capsys.readouterr().out
    assert greedy.count("\n") == 2
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert main(["translate", "run", str(run), "ten", "--beams", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["text"] == "ten"
    small = tmp_path / "small"
    options = ["--size", "1x8x2", "--pairs", "64", "--steps", "4"]
    code = main(
        ["translate", "distill", "--teacher", str(run), *options, "--out", str(small), "--json"]
    )
    assert code == 0
    results = json.loads(capsys.readouterr().out)
    assert results["student"]["parameters"] < results["teacher"]["parameters"]
    assert load_seq2seq(small / "student").config.d_model == 8
    assert len((small / "translations.tsv").read_text("utf-8").splitlines()) == 65


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny_pairs.write(tmp_path / "pairs")


def test_json_is_the_results_and_nothing_else(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(data), "--size", "1x8x2", "--steps", "2", "--beams", "2"]
    assert main(["translate", "train", *options, "--out", str(tmp_path / "run"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results == json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["steps"] == 2
    assert [results[split]["pairs"] for split in ("dev", "test")] == [6, 5]
    found = load_seq2seq(tmp_path / "run" / "model").params
    assert results["parameters"] == sum(array.size for array in found.values())


def test_noam_is_the_formula(data: Path, tmp_path: Path) -> None:
    options = "--size 1x16x2 --steps 10 --schedule noam --rate 0.5 --warmup 0.4".split()
    out = tmp_path / "run"
    assert main(["translate", "train", "--data", str(data), *options, "--out", str(out)]) == 0
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [record["learning_rate"] for record in records if "loss" in record]
    # The rate of update t is that of t - 1, as with every schedule here; 4 updates of warm-up.
    expected = [0.5 * 16**-0.5 * min(t**-0.5, t * 4**-1.5) if t else 0.0 for t in range(10)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_vocabulary_trains_and_runs(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence is learned by heart, so that what comes out must be it, spaces and all."""
    source, target = "They are learning maths, 42!", "他们在学习 maths，42！"
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text(f"source\ttarget\n{source}\t{target}\n", "utf-8")
    options = ["--vocab", kind, "--vocab-size", "60", "--size", "1x32x2", "--steps", "60"]
    options += ["--data", str(tmp_path), "--dropout", "0", "--rate", "0.3", "--shards", "1"]
    assert main(["translate", "train", *options, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    for beams in "13":
        assert main(["translate", "run", str(tmp_path / "run"), source, "--beams", beams]) == 0
        assert capsys.readouterr().out == target + "\n"


@pytest.mark.parametrize(
    "options",
    [
        *(["--relative", name] for name in SCHEMES),
        *(["--positions", name] for name in POSITIONS),
        *(["--attention", name] for name in ATTENTIONS),
    ],
    ids=" ".join,
)
def test_every_choice_trains(
    options: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*options, "--data", str(data), "--size", "1x8x2", "--steps", "2"]
    assert main(["translate", "train", *given, "--out", str(tmp_path / "run")]) == 0
    config = load_seq2seq(tmp_path / "run" / "model").config
    assert getattr(config, options[0][2:]) == options[1]
    with pytest.raises(SystemExit):
        main(["translate", "train", "--help"])
    assert options[1] in re.split(r"[\s,;]+", capsys.readouterr().out)


@pytest.mark.slow
def test_learns_to_reverse(tmp_path: Path) -> None:
    """A folder of one's own, with a task that a small model learns in seconds."""
    rng = np.random.default_rng(0)
    for name, size in (("train", 4000), ("dev", 100)):
        texts = ["".join(rng.choice(list("abcd"), rng.integers(2, 6))) for _ in range(size)]
        rows = ["source\ttarget", *(f"{t}\t{t[::-1]}" for t in texts)]
        (tmp_path / f"{name}.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    given = {"data": str(tmp_path), "size": "1x32x4", "epochs": 12, "rate": 0.5, "dropout": 0.0}
    settings = Settings.of({**given, "label_smoothing": 0.0})
    run = Run.create(tmp_path / "run", settings.to_dict())
    results = train(run, settings, lambda _: None)
    run.log.close()
    assert results["dev"]["exact_match"] > 0.9


@pytest.mark.slow
def test_the_embedded_default_learns_in_two_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No option at all: 99 % of held-out items to the character."""
    before = time.process_time()
    assert main(["translate", "train", "--out", str(tmp_path / "run"), "--json"]) == 0
    used = time.process_time() - before
    results = json.loads(capsys.readouterr().out)
    assert results["test"]["pairs"] == 2000
    assert results["test"]["exact_match"] >= 0.99
    # Time on a processor, of which it uses two: the clock on the wall runs for others as well.
    assert used < 2 * 120

"""Fine-tuning: it learns, is killed and resumed bit by bit, keeps a whole model, and says no."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_task
from models.small import make
from tiny_checkpoint import write_checkpoint

from npformer.cli import main
from npformer.data.glue import load_folder
from npformer.data.tokenizer import encode_examples, load_tokenizer
from npformer.models import SequenceClassifier, from_pretrained, save_pretrained
from npformer.models.huggingface import load_labels
from npformer.train import phase as phase_module
from npformer.train.evaluate import predict_logits, score

OPTIONS = "--batch-size 5 --epochs 4 --max-len 20 --rate 3e-3".split()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    return write_checkpoint(folder, dropout=0.1, attention_dropout=0.1)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny_task.write_task(tmp_path_factory.mktemp("data") / "task", "strings")


def finetune(*argv):
    return main(["finetune", *(str(a) for a in argv)])


@pytest.fixture(scope="module")
def whole(model, task, tmp_path_factory):
    """Return the folder of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert finetune("--model", model, "--data", task, *OPTIONS, "--out", out) == 0
    return out


def test_what_a_run_leaves(whole, model, task, capsys):
    assert {path.name for path in whole.iterdir()} == {
        *("run.json", "progress.json", "state.safetensors", "metrics.jsonl"),
        *("results.json", "training.png", "model"),
    }
    found = from_pretrained(whole / "model", SequenceClassifier)
    assert load_labels(whole / "model") == ("no", "yes")
    tokenizer = load_tokenizer(whole / "model", vocab_size=found.config.vocab_size)
    dev = load_folder(task).dev
    encoded, _ = encode_examples(tokenizer, dev.first, max_len=20)
    scores = score(predict_logits(found, encoded, 0), dev.labels, "classification")
    results = json.loads((whole / "results.json").read_text())
    assert results["dev"] == scores
    assert results["steps"] == 20
    assert results["measure"] == "accuracy"
    assert results["parameters"] == sum(a.size for a in found.params.values())
    # The other commands read it.
    assert main(["eval", str(whole / "model"), "--data", str(task), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == scores["accuracy"]


def test_it_learns(model, task, tmp_path):
    argv = ["--model", model, "--data", task, "--max-len", 20, "--out", tmp_path / "run"]
    assert finetune(*argv, "--batch-size", 5, "--epochs", 20, "--rate", 2e-2) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [r["loss"] for r in map(json.loads, lines) if "loss" in r]
    assert len(losses) == 100
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:10])


def test_all_of_it_moves(whole, model):
    before = from_pretrained(model).params
    after = from_pretrained(whole / "model").params
    still = {n for n, a in before.items() if np.array_equal(a, after[f"encoder.{n}"])}
    assert still == set()


@pytest.mark.parametrize(
    ("kind", "name", "measure"),
    [
        ("pair", "RTE", "accuracy"),
        ("single", "CoLA", "matthews"),
        ("regression", "STS-B", "pearson"),
        ("three", "three", "accuracy"),
    ],
)
def test_kinds_of_tasks(kind, name, measure, model, tmp_path, capsys):
    data = tiny_task.write_task(tmp_path / name, kind)
    argv = ["--model", model, "--data", data, *OPTIONS[:4], "--max-len", 20]
    assert finetune(*argv, "--out", tmp_path / "run", "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert results["measure"] == measure
    others = {"pearson": {"spearman"}}.get(measure, {"accuracy", "f1", "matthews"})
    assert results["dev"].keys() == others | {measure}
    assert next(iter(results["dev"])) == measure
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert len(config["id2label"]) == {"regression": 1, "three": 3}.get(kind, 2)
    assert config["architectures"] == ["BertForSequenceClassification"]


def test_segments_of_pairs_reach_the_model(model, tmp_path):
    # A pair's second sentence has segment 1, whose row must therefore move.
    data = tiny_task.write_task(tmp_path / "pairs", "pair")
    argv = ["--model", model, "--data", data, "--max-len", 20, "--out", tmp_path / "run"]
    assert finetune(*argv) == 0
    before = from_pretrained(model).params["embeddings.segment"]
    after = from_pretrained(tmp_path / "run" / "model").params["encoder.embeddings.segment"]
    moved = np.abs(after - before).max(axis=1)
    assert (moved > 1e-6).all()


def test_some_of_the_labels(model, task, tmp_path, capsys):
    argv = ["--model", model, "--data", task, *OPTIONS, "--labelled", 9, "--seed", 3]
    assert finetune(*argv, "--out", tmp_path / "run") == 0
    assert "task: 9 labelled, 10 dev" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "results.json").read_text())["steps"] == 8


# --- killed and resumed ----------------------------------------------------------------------


def made(folder):
    """Return the bytes that must be the same; times and what holds them are new every time."""
    files = tiny_task.contents(folder)
    assert not [n for n in files if ".tmp-" in n or ".new" in n or ".old" in n]
    names = [n for n in files if n.startswith("model/") or n == "metrics.jsonl"]
    assert len(names) == 5
    return {n: files[n] for n in names}


class Killed(BaseException):
    """What no ``except Exception`` catches."""


@pytest.mark.parametrize("saved", [1, 2, 4])
def test_killed_after_a_checkpoint_and_resumed(saved, whole, model, task, tmp_path, monkeypatch):
    out, save_state, calls = tmp_path / "run", phase_module.save_state, []

    def save(path, state):
        save_state(path, state)
        calls.append(state.optimizer.step)
        if len(calls) == saved:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(phase_module, "save_state", save)
        with pytest.raises(Killed):
            finetune("--model", model, "--data", task, *OPTIONS, "--out", out)
    assert calls == [5, 10, 15, 20][:saved]
    assert finetune("--out", out, "--resume") == 0
    assert made(out) == made(whole)


def process(*argv):
    return subprocess.Popen(
        [sys.executable, "-m", "npformer", "finetune", *(str(a) for a in argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "MPLBACKEND": "Agg"},
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_real_signal(number, whole, model, task, tmp_path):
    out = tmp_path / "run"
    run = process("--model", model, "--data", task, *OPTIONS, "--out", out)
    give_up = time.monotonic() + 60
    while not (out / "state.safetensors").exists() and time.monotonic() < give_up:
        time.sleep(0.002)
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode in {-signal.SIGKILL, 130, 0}, err
    assert "Traceback" not in err
    if run.returncode == 130:
        assert f"stopped; to go on: npformer finetune --out {out} --resume" in err
    assert finetune("--out", out, "--resume") == 0
    assert made(out) == made(whole)


def test_a_finished_run_does_nothing_again(whole, model, task, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    before = made(tmp_path / "run")
    assert finetune("--out", tmp_path / "run", "--resume") == 0
    assert made(tmp_path / "run") == before
    results = [json.loads((f / "results.json").read_text()) for f in (whole, tmp_path / "run")]
    assert results[0] == results[1]


# --- what is refused -------------------------------------------------------------------------


@pytest.fixture
def refused(model, task, tmp_path, capsys):
    """Return a function that runs the command, which must fail, and gives its sentence."""

    def run(*argv, out=tmp_path / "run", model=model, data=task):
        before = tiny_task.contents(tmp_path)
        assert finetune("--model", model, "--data", data, "--out", out, *argv) == 2
        done = capsys.readouterr()
        assert done.out == ""
        assert done.err.count("\n") == 1
        assert done.err.startswith("npformer finetune: ")
        assert tiny_task.contents(tmp_path) == before
        assert not (tmp_path / "run").exists()
        return done.err

    return run


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--epochs 0", "epochs: got 0.0"),
        ("--epochs nan", "epochs: got nan"),
        ("--rate -1", "rate: got -1.0"),
        ("--batch-size 0", "batch_size: got 0"),
        ("--warmup 1", "warmup: got 1.0"),
        ("--dropout 1", "dropout: got 1.0"),
        ("--max-len 25", "max_len: got 25, expected at most the model's 24"),
        ("--max-len 2", "max_len: got 2, expected room"),
        ("--seed -1", "seed: got -1"),
        ("--shards 0", "shards: got 0"),
        ("--labelled 0", "labelled: got 0"),
        ("--labelled 24", "labelled: got 24, expected at most the 23 examples of task"),
        ("--labelled 1", "labelled: got 1 with one label between them"),
    ],
)
def test_options(options, said, refused):
    assert said in refused(*options.split())


def test_a_rate_at_which_training_diverges(model, task, tmp_path, capsys):
    argv = ["--model", model, "--data", task, *OPTIONS, "--rate", 1e30, "--out", tmp_path / "run"]
    assert finetune(*argv) == 2
    assert "learning rate: got " in capsys.readouterr().err.splitlines()[-1]


def test_models_and_data_that_do_not_fit(refused, model, task, tmp_path):
    assert "got no such folder, expected one, minilm or" in refused(model="no/such/x")
    mute = write_checkpoint(tmp_path / "mute")
    (mute / "tokenizer.json").unlink()
    assert "without tokenizer.json and vocab.txt" in refused("--max-len", 20, model=mute)
    small = tmp_path / "small"
    save_pretrained(make("encoder", dtype=np.float32, vocab_size=30, num_segments=2), small)
    (small / "tokenizer.json").write_bytes((model / "tokenizer.json").read_bytes())
    said = refused("--max-len", 10, model=small)
    assert "expected ids below the model's vocab_size = 30" in said
    five = write_checkpoint(tmp_path / "five", "sequence")
    assert "of 5 outputs, expected classification with 2" in refused("--max-len", 20, model=five)
    unlabelled = tmp_path / "unlabelled"
    shutil.copytree(task, unlabelled)
    lines = (unlabelled / "train.tsv").read_text().splitlines()
    (unlabelled / "train.tsv").write_text("\n".join(line.split("\t")[0] for line in lines))
    assert "train.tsv, line 1: got header ['sentence']" in refused(data=unlabelled)
    assert "no such folder" in refused(data=tmp_path / "nowhere")


def test_an_error_before_the_first_step_leaves_no_folder(model, task, tmp_path, monkeypatch):
    argv = ["--model", model, "--data", task, *OPTIONS, "--out", tmp_path / "run"]

    def broken(*args, **kwargs):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("npformer.jobs.finetune.job.encode_examples", broken)
        with pytest.raises(MemoryError):
            finetune(*argv)
    assert not (tmp_path / "run").exists()
    with monkeypatch.context() as patch:
        patch.setattr("npformer.jobs.finetune.job.save", broken)
        with pytest.raises(MemoryError):
            finetune(*argv)
    assert (tmp_path / "run" / "state.safetensors").exists()


def test_what_the_other_commands_make_of_labels_and_segments(model, tmp_path, capsys):
    """eval takes a model without names for its labels, and neither it nor predict wrong pairs."""
    single = tiny_task.write_task(tmp_path / "single", "single")
    pairs = tiny_task.write_task(tmp_path / "pairs", "pair")
    unnamed = write_checkpoint(tmp_path / "unnamed", "sequence", num_classes=2)
    assert main(["eval", str(unnamed), "--data", str(single), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sentences"] == 10
    one = write_checkpoint(tmp_path / "one", "sequence", num_classes=2, num_segments=1)
    said = "one: got a model of one segment, expected two, for pairs\n"
    for argv in (["eval", str(one), "--data", str(pairs)], ["predict", str(one), "the\tfilm"]):
        assert main(argv) == 2
        assert capsys.readouterr().err.endswith(said)
    for kind in ("encoder", "masked_lm", "sequence"):
        sizes = {"num_classes": 2} if kind == "sequence" else {}
        folder = write_checkpoint(tmp_path / kind, kind, pooler=False, num_segments=1, **sizes)
        argv = ["finetune", "--model", str(folder), "--data", str(pairs), "--max-len", "20"]
        assert main([*argv, "--out", str(tmp_path / "refused")]) == 2
        assert capsys.readouterr().err.endswith(said.replace("one:", f"{kind}:", 1))
        assert not (tmp_path / "refused").exists()
    write_checkpoint(tmp_path / "distilbert", "encoder", pooler=False, num_segments=0)
    argv = [
        "finetune",
        "--model",
        str(tmp_path / "distilbert"),
        "--data",
        str(pairs),
        "--max-len",
        "20",
    ]
    assert main([*argv, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0  # as a DistilBERT
    distilbert = {"num_segments": 0, "tanh_pooler": False, "relu_before_classifier": True}
    none = write_checkpoint(tmp_path / "none", "sequence", num_classes=2, **distilbert)
    assert main(["eval", str(none), "--data", str(pairs)]) == 0
    assert main(["predict", str(none), "the\tfilm"]) == 0
    capsys.readouterr()
    assert main(["predict", str(model), "the film"]) == 2
    said = "architectures: got an Encoder, expected a SequenceClassifier\n"
    assert capsys.readouterr().err.endswith(said)


def test_what_cannot_be_resumed(whole, tmp_path, capsys):
    def said(*argv):
        assert finetune(*argv) == 2
        return capsys.readouterr().err

    assert "--resume: got no --out" in said("--resume")
    assert "expected the folder of a run" in said("--resume", "--out", tmp_path)
    assert "--rate: got 1.0, expected what the run" in said("--resume", "--out", whole, "--rate", 1)
    (tmp_path / "run.json").write_text('{"command": "distill"}')
    assert "expected a run of npformer finetune" in said("--resume", "--out", tmp_path)
    assert "not empty" in said("--data", "x", "--out", whole)
    assert "data" in said("--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()

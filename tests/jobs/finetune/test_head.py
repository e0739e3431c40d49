"""A masked-LM head: it alone moves, it learns, it resumes bit by bit, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import tiny_task
from tiny_checkpoint import TEXTS, write_checkpoint

from npformer.cli import main
from npformer.data.tokenizer import load_tokenizer
from npformer.models import Encoder, MaskedLM, from_pretrained
from npformer.train import phase as phase_module

OPTIONS = "--batch-size 6 --epochs 12 --max-len 20 --rate 1e-2".split()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    # Dropout is the checkpoint's, and must not reach a frozen encoder.
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model", dropout=0.5)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "some.txt"
    path.write_text("\n".join(TEXTS) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny_task.write_task(tmp_path_factory.mktemp("data") / "task") / "train.tsv"


def train(*argv):
    return main(["mlm-head", *(str(a) for a in argv)])


@pytest.fixture(scope="module")
def asked(model, text, table):
    return ["--model", model, "--unlabelled", text, table, "--heldout", text, *OPTIONS]


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert train(*asked, "--out", out) == 0
    return out


def test_the_head_alone_moves(whole, model):
    found = from_pretrained(whole / "model", MaskedLM)
    for name, a in from_pretrained(model, Encoder).params.items():
        np.testing.assert_array_equal(found.params[f"encoder.{name}"], a)
    assert (found.params["head.gamma"] != 1).all()
    for name in ("b", "beta", "b_decoder"):
        assert found.params[f"head.{name}"].any()
    config = json.loads((whole / "model" / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    load_tokenizer(whole / "model", vocab_size=found.config.vocab_size)


def test_it_learns(whole):
    results = json.loads((whole / "results.json").read_text())
    assert results["texts"] == len(TEXTS) + 23
    assert results["steps"] == 12 * 11
    assert results["heldout_targets"] > 20
    before, after = results["before"], results["after"]
    assert before.keys() == after.keys() == {"masked_accuracy", "masked_loss"}
    assert after["masked_loss"] < 0.7 * before["masked_loss"]
    assert after["masked_accuracy"] > before["masked_accuracy"] + 0.1
    found = from_pretrained(whole / "model", MaskedLM)
    sizes = {name: a.size for name, a in found.params.items() if name.startswith("head.")}
    assert results["parameters"] == sum(sizes.values())


def test_without_held_out_text(model, text, tmp_path, capsys):
    argv = ["--model", model, "--unlabelled", text, "--max-len", 20, "--out", tmp_path / "run"]
    assert train(*argv) == 0
    assert "masked_accuracy" not in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["before"] == results["after"] == {}


def made(folder):
    files = tiny_task.contents(folder)
    return {n: b for n, b in files.items() if n.startswith("model/") or n == "metrics.jsonl"}


class Killed(BaseException):
    """What no ``except Exception`` catches."""


@pytest.mark.parametrize("saved", [1, 3])
def test_killed_and_resumed(saved, whole, asked, tmp_path, monkeypatch):
    out, save_state, calls = tmp_path / "run", phase_module.save_state, []

    def save(path, state):
        save_state(path, state)
        calls.append(set(state.params))
        if len(calls) == saved:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(phase_module, "save_state", save)
        with pytest.raises(Killed):
            train(*asked, "--out", out)
    # The frozen encoder is in no checkpoint.
    assert calls[0] == {f"head.{n}" for n in ("w", "b", "gamma", "beta", "b_decoder")}
    assert train("--out", out, "--resume") == 0
    assert made(out) == made(whole)
    results = [json.loads((f / "results.json").read_text()) for f in (out, whole)]
    assert results[0]["before"] == results[1]["before"]
    assert results[0]["after"] == results[1]["after"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "unlabelled: got no file"),
        (["--unlabelled", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--unlabelled", "notes.csv"], "notes.csv: got a name in '.csv'"),
        (["--unlabelled", "TEXT", "--heldout", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--unlabelled", "TEXT", "--max-len", "25"], "max_len: got 25, expected at most"),
        (["--unlabelled", "TEXT", "--rate", "0"], "rate: got 0.0"),
    ],
)
def test_bad_input(options, said, model, text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = [str(text) if a == "TEXT" else a for a in options]
    assert train("--model", model, "--max-len", 20, *argv, "--out", "run") == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_models_that_need_no_head(whole, text, tmp_path, capsys):
    def said(model):
        argv = ["--model", model, "--unlabelled", text, "--max-len", 20]
        assert train(*argv, "--out", tmp_path / "run") == 2
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    assert "which has a masked-LM head, expected one without" in said(whole / "model")
    classifier = write_checkpoint(tmp_path / "classifier", "sequence")
    assert "a SequenceClassifier, expected a pretrained encoder" in said(classifier)
    shutil.rmtree(classifier)
    assert "got no such folder" in said(classifier)

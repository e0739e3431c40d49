"""``npformer embed`` on a tiny model: rows, files, and what it refuses."""

import json

import numpy as np
import pytest
from models.small import make

pytest.importorskip("tokenizers")

from npformer.cli import main
from npformer.data.tokenizer import save_tokenizer, train_wordpiece
from npformer.models import save_pretrained

TEXTS = ["the cat sat on the mat", "", "猫 🙂", "a dog sat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = train_wordpiece(TEXTS, 40)
    model = make("encoder", dtype=np.float32, vocab_size=tokenizer.get_vocab_size())
    path = tmp_path_factory.mktemp("embed") / "model"
    save_pretrained(model, path)
    save_tokenizer(tokenizer, path)
    return path


@pytest.fixture
def call(folder, capsys):
    def run(*argv, code=0, model=folder):
        assert main(["embed", "--model", str(model), *(str(a) for a in argv)]) == code
        return capsys.readouterr()

    return run


def test_rows_of_numbers(call):
    done = call(*TEXTS)
    rows = np.array([line.split() for line in done.out.splitlines()], float)
    assert rows.shape == (4, 12)
    np.testing.assert_allclose((rows * rows).sum(axis=1), 1, atol=1e-5)
    assert len({tuple(row) for row in rows}) == 4
    told = json.loads(call(*TEXTS, "--json").out)
    assert [row["text"] for row in told] == TEXTS
    np.testing.assert_allclose([row["embedding"] for row in told], rows, atol=1e-6)


def test_files(call, tmp_path):
    whole = json.loads(call(*TEXTS, "--json").out)
    # Every line is a text, the empty one and the one with a line separator in it too.
    (tmp_path / "texts").write_text("\n".join(TEXTS[1:]) + "\nmat\u2028mat\n", "utf-8")
    done = call(TEXTS[0], "--file", tmp_path / "texts", "--out", tmp_path / "x.npy")
    assert done.out == ""
    assert done.err == f"5 rows of 12 in {tmp_path / 'x.npy'}\n"
    rows = np.load(tmp_path / "x.npy")
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows[:4], [row["embedding"] for row in whole], atol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["texts", "x.npy"]


def test_what_is_cut(call, folder):
    long = "cat " * 30
    assert call(long, "cat").err == "1 of 2 cut at 11 pieces\n"
    assert call(long, "--max-len", 4).err == "1 of 1 cut at 4 pieces\n"
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 5}')
    assert call(long).err == "1 of 1 cut at 5 pieces\n"
    (folder / "sentence_bert_config.json").unlink()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "TEXT: got none"),
        (["x", "--max-len", "12"], "--max-len: got 12, expected at most the model's 11"),
        (["x", "--max-len", "2"], "max_len: got 2"),
        (["x", "--batch-size", "0"], "--batch-size: got 0"),
        (["x", "--out", "x.txt"], "--out: got x.txt, expected a .npy file"),
        (["x", "--out", "nowhere/x.npy"], "--out: got nowhere/x.npy"),
        (["x", "--file", "nowhere"], "nowhere: No such file"),
        (["\udcff"], "TEXT: got '\\udcff', expected UTF-8"),
    ],
)
def test_bad_input(argv, said, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(*argv, code=2)
    assert said in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_other_models(call, tmp_path, folder):
    assert "got no such folder, expected one, minilm or" in call("x", code=2, model="no/such/x").err
    small = tmp_path / "small"
    save_pretrained(make("encoder", dtype=np.float32, vocab_size=20), small)
    (small / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    said = call("x", code=2, model=small).err
    assert "got a piece of id" in said
    assert "expected ids below the model's vocab_size = 20" in said
    (small / "tokenizer.json").write_text("version https://git-lfs.example/spec/v1\n")
    assert "tokenizer.json: got a Git LFS pointer" in call("x", code=2, model=small).err

"""``npformer cost``: names, sizes, files and folders; text and JSON; what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from models.small import make
from models.small_causal_lm import make as make_causal_lm
from models.small_seq2seq import make as make_seq2seq

from npformer.cli import main
from npformer.models import Seq2Seq
from npformer.models.folder import write_folder
from npformer.models.huggingface import save_pretrained, write_model
from npformer.models.seq2seq_folder import write_seq2seq


def call(capsys, *argv):
    assert main(["cost", *(str(a) for a in argv)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def report(capsys, *argv):
    return json.loads(call(capsys, *argv, "--json"))


@pytest.fixture
def folder(tmp_path):
    save_pretrained(make("sequence", dtype=np.float32), tmp_path / "model")
    return tmp_path / "model"


def test_the_table_of_bert_base(capsys):
    out = call(capsys, "bert-base")
    for line in (
        r"bert-base: Encoder of 12 layers, width 768, 12 heads, d_ff 3072, on 1 x 128 tokens",
        r"embeddings: token +23,440,896 +21\.4% +0 +0\.0% +0\.0 +0\.0%",
        r"total +109,482,240 +100\.0% +11,174,215,680 +100\.0% +127\.1 +100\.0%",
        r"22\.347 GFLOP a forward: 2 for each multiply-add of the layers",
        r"parameters, as on disk +437,928,960 +417\.6",
    ):
        assert re.search(rf"^{line}$", out, re.MULTILINE), line


def test_the_columns_add_up(capsys):
    found = report(capsys, "tinybert-4", "--batch-size", "3", "--seq-len", "17")
    assert (found["model"], found["batch_size"], found["seq_len"]) == ("tinybert-4", 3, 17)
    for column, whole in found["total"].items():
        assert whole == sum(part[column] for part in found["parts"].values()) > 0
    memory = found["memory"]
    assert memory["kept"] == found["total"]["kept"]
    assert memory["parameters"] == 4 * found["total"]["parameters"]
    others = sum(memory[name] for name in ("parameters", "gradients", "optimizer", "kept"))
    assert memory["training"] == others


def test_the_table_of_three_ratios(capsys):
    out = call(capsys, "tinybert-4", "--against", "bert-base")
    for line in (
        r"  all +14,350,248 +109,482,240 +7\.63",
        r"  with the projection, for training +14,590,632 +109,482,240 +7\.50",
        r"  layers +1\.247 +22\.347 +17\.92",
        r"  published, on a K80 GPU +9\.4",
    ):
        assert re.search(rf"^{line}$", out, re.MULTILINE), line
    found = report(capsys, "tinybert-4", "--against", "bert-base")
    assert found["projection"] == 240_384
    assert [one["model"] for one in found["models"]] == ["tinybert-4", "bert-base"]
    assert found["times"]["published_speed_up"] == 9.4
    assert found["times"]["kept"] > 1


def test_a_part_that_only_one_has(capsys, folder):
    out = call(capsys, folder, "--against", "2x64", "--seq-len", 11)
    assert re.search(r"^  classifier +65 +0$", out, re.MULTILINE)
    assert re.search(r"^  published, on a K80 GPU +none$", out, re.MULTILINE)


def test_a_size_is_the_preset_of_this_size(capsys):
    by_name, by_size = (report(capsys, name) for name in ("tinybert-4", "4x312x12x1200"))
    assert by_size == {**by_name, "model": "4x312x12x1200"}
    assert report(capsys, "2x128")["config"] == {
        **by_name["config"],
        **{"num_layers": 2, "d_model": 128, "num_heads": 2, "d_ff": 512},
    }


def test_a_folder_and_its_config(capsys, folder):
    found = report(capsys, folder, "--seq-len", 7)
    assert found["kind"] == "SequenceClassifier"
    assert found["total"]["parameters"] == sum(p.size for p in make("sequence").params.values())
    (folder / "model.safetensors").unlink()  # no weights are read
    file = folder / "config.json"
    assert report(capsys, file, "--seq-len", 7) == {**found, "model": str(file)}


def test_a_factorised_table(capsys, tmp_path):
    argv = "3x128x4x512", "--embedding-size", 64, "--against", "3x128x4x512"
    found = report(capsys, *argv)
    one, two = found["models"]
    assert one["parts"]["embeddings: projection"]["parameters"] == 64 * 128 + 128
    assert "embeddings: projection" not in two["parts"]
    assert (one["total"]["parameters"], two["total"]["parameters"]) == (2_606_080, 4_584_192)
    first, second = call(capsys, *argv).splitlines()[:2]
    assert "3 layers, width 128, tables 64, 4 heads" in first
    assert "3 layers, width 128, 4 heads" in second
    model = make("masked_lm", dtype=np.float32, embedding_size=7)
    save_pretrained(model, tmp_path / "model")
    stored = report(capsys, tmp_path / "model", "--seq-len", 7)
    assert stored["total"]["parameters"] == sum(p.size for p in model.params.values())
    assert stored["config"]["embedding_size"] == 7
    error = said(capsys, tmp_path / "model", "--embedding-size", 7)
    assert "--embedding-size: got 7, expected none with" in error


PAGE = Path(__file__).parents[2] / "docs" / "cost.md"
QUOTED = re.findall(
    r"^```sh\nnpformer cost (.+)\n```\n\n```text\n((?:.*\n)*?)```$",
    PAGE.read_text("utf-8"),
    re.MULTILINE,
)


def test_the_page_quotes_commands():
    assert [line.split()[0] for line, _ in QUOTED] == ["tinybert-4", "bert-base"]


@pytest.mark.parametrize(("line", "text"), QUOTED, ids=[line for line, _ in QUOTED])
def test_the_page_quotes_what_is_printed(line, text, capsys):
    assert call(capsys, *line.split()) == text


# --- bad input -------------------------------------------------------------------------------


def said(capsys, *argv):
    code = main(["cost", *(str(a) for a in argv)])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("npformer cost: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bert-large", "CONFIG: got 'bert-large', expected bert-base, tinybert-4, tinybert-6, a "),
        ("2y16", "CONFIG: got '2y16', expected"),
        ("2x16xx", "size: got '2x16xx', expected LxD"),
        ("2x10x3", "a width that divides into 3 heads"),
        ("0x16", "layers: got 0"),
        ("bert-base --seq-len 513", "seq_len: got 513, expected at most max_len = 512"),
        ("bert-base --seq-len 0", "seq_len: got 0, expected a whole number of at least 1"),
        ("bert-base --batch-size -1", "batch_size: got -1"),
        ("2x128 --embedding-size 0", "embedding_size: got 0, expected a whole number of at least"),
        ("tinybert-4 --against bert-huge", "CONFIG: got 'bert-huge'"),
    ],
)
def test_options(line, expected, capsys):
    assert expected in said(capsys, *line.split())


@pytest.mark.parametrize("line", ["", "bert-base --seq-len many", "bert-base --batch-size 1.5"])
def test_arguments(line, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["cost", *line.split()])
    assert caught.value.code == 2
    assert "usage: npformer cost" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "got no JSON"),
        ("[]", "got a JSON list, expected an object"),
        ('{"model_type": "gpt2"}', "vocab_size: got nothing, expected int"),
        ('{"model_type": "mamba"}', "model_type: got 'mamba', expected one of bert, distilbert, "),
        ("{}", "architectures: got None, expected one name in a list"),
        (b"\xff", "got no JSON"),
    ],
)
def test_a_config_that_is_none(content, expected, tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    for path in (file, tmp_path):
        error = said(capsys, path)
        assert expected in error
        assert "config.json" in error


def test_a_config_with_a_longest_sequence(folder, capsys):
    assert "config.json: seq_len: got 128, expected at most max_len = 11" in said(capsys, folder)


def test_other_folders(tmp_path, capsys):
    assert "got a folder without config.json" in said(capsys, tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert f"got a run, expected one of its models, such as {tmp_path}/student" in said(
        capsys, tmp_path
    )


GENERATE = {
    "gpt2": make_causal_lm(positions="learned"),
    "marian": make_seq2seq(
        target_vocab_size=23, sinusoidal_layout="half-split", shared_embeddings=True
    ),
    "t5": make_seq2seq(
        **{"target_vocab_size": 23, "shared_embeddings": True, "scale_embeddings": False},
        **{"relative": "t5", "positions": "none", "attention_scale": 1.0, "use_bias": False},
        **{"norm": "rms", "norm_first": True, "dropout": 0.0},
    ),
    "ours": make_seq2seq(num_heads=6, num_kv_heads=2, relative="shaw"),
}


@pytest.mark.parametrize("name", GENERATE)
def test_models_that_generate(name, tmp_path, capsys):
    model, folder = GENERATE[name], tmp_path / "model"
    write = write_seq2seq if name == "ours" else write_model
    write_folder(folder, lambda new: write(model, new))
    two = isinstance(model, Seq2Seq)
    found = report(capsys, folder, "--seq-len", 7, *(("--source-len", 5) if two else ()))
    assert found["kind"] == type(model).__name__
    assert found["layers"] == ({"encoder": 2, "decoder": 3} if two else {"layers": 2})
    assert found["total"]["parameters"] == sum(p.size for p in model.params.values())
    assert found["memory"]["kept"] == found["total"]["kept"] > 0
    seen, kv = (3 * 12 if two else 2 * 7), 4 if name == "ours" else 12
    assert found["memory"]["key_values"] == 4 * 2 * seen * kv
    out = call(capsys, folder, "--seq-len", 7)
    assert f"{found['kind']} of {'2 + 3' if two else '2'} layers" in out
    assert re.search(r"^KV cache, after these tokens +[\d,]+ +0\.0$", out, re.MULTILINE)
    assert ("6 heads on 2 of keys and values" in out) is (name == "ours")
    both = report(capsys, folder, "--against", folder, "--seq-len", 7)
    assert both["times"]["parameters"] == 1
    assert both["times"]["published_speed_up"] is None


def test_a_source_where_there_is_none(folder, capsys):
    assert "config.json: source_len: got 5, expected None for a SequenceClassifier" in said(
        capsys, folder, "--seq-len", 7, "--source-len", 5
    )

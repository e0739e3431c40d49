"""Bad input of ``npformer translate``: one line on stderr, exit 2, and nothing half-written."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_pairs

from npformer.cli import main
from npformer.data.vocabulary import load_vocabulary

OPTIONS = "--size 1x8x2 --batch-size 16 --steps 2 --max-len 16".split()


def line(name: str, text: str) -> Callable[[Path], object]:
    """Return what puts a text in the place of the second pair of a table."""

    def change(data: Path) -> None:
        lines = (data / name).read_text("utf-8").split("\n")
        lines[2] = text
        (data / name).write_text("\n".join(lines), "utf-8")

    return change


BAD_DATA = {
    "a target too long": (
        line("train.tsv", f"ab\t{'a' * 16}"),
        "train target 2: got 17 tokens with the end, expected at most max_len = 16 ('aaaa",
    ),
    "a source too long": (
        line("train.tsv", f"{'b' * 20}\tab"),
        "train source 2: got 21 tokens with the end, expected at most max_len = 16 ('bbbb",
    ),
    "a target of dev too long": (line("dev.tsv", f"ab\t{'a' * 16}"), "dev target 2: got 17"),
    "a source of test too long": (line("test.tsv", f"{'a' * 16}\tab"), "test source 2: got 17"),
    "an empty source": (line("train.tsv", "\tab"), "train.tsv, line 3: got 2 fields, one of them"),
    "a source of spaces": (line("dev.tsv", "  \tab"), "dev.tsv, line 3: got 2 fields, one of them"),
    "an empty target": (line("test.tsv", "ab\t"), "test.tsv, line 3: got 2 fields, one of them"),
    "no tab": (line("train.tsv", "ab ba"), "train.tsv, line 3: got 1 fields, expected a source"),
    "two tabs": (line("train.tsv", "ab\tb\ta"), "train.tsv, line 3: got 3 fields, expected"),
    "no dev": (lambda d: (d / "dev.tsv").unlink(), "dev.tsv is missing"),
    "header alone": (lambda d: (d / "train.tsv").write_text("a\tb\n"), "got a header and no pair"),
    "not UTF-8": (lambda d: (d / "dev.tsv").write_bytes(b"a\tb\n\xff\tb\n"), "line 2: got byte 0x"),
}
BAD_OPTIONS = {
    "--vocab bytes": "vocab: got 'bytes', expected one of char, bpe, wordpiece",
    "--relative far": "relative: got 'far', expected one of none, rotary",
    "--relative rotary --size 1x6x2": "expected d_model / num_heads even with rotary",
    "--attention average --relative rotary": "relative: got 'rotary', expected 'none' with",
    "--attention soft": "attention: got 'soft', expected one of softmax, average",
    "--positions far": "positions: got 'far', expected one of sinusoidal",
    "--schedule cosine": "schedule: got 'cosine', expected one of linear, noam",
    "--size 2y8": "size: got '2y8', expected LxD",
    "--max-len 0": "max_len: got 0",
    "--vocab-size 0": "vocab_size: got 0",
    "--batch-size -1": "batch_size: got -1",
    "--beams 0": "beams: got 0",
    "--shards 0": "shards: got 0",
    "--steps 0": "steps: got 0",
    "--epochs 0": "epochs: got 0.0",
    "--epochs nan": "epochs: got nan",
    "--rate -1": "rate: got -1.0",
    "--warmup 2": "warmup: got 2.0",
    "--label-smoothing 1": "label_smoothing: got 1.0",
    "--dropout 1": "dropout: got 1.0",
    "--seed -1": "seed: got -1",
    "--data nowhere": "nowhere: no such folder",
    "--pairs 9": "pairs: got it beside data",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run."""
    folder = tmp_path_factory.mktemp("model")
    data = tiny_pairs.write(folder / "pairs")
    options = ["--data", str(data), *OPTIONS, "--out", str(folder / "run")]
    assert main(["translate", "train", *options]) == 0
    return folder / "run"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return what a command says that must fail: one line, exit 2."""
    capsys.readouterr()
    assert main(["translate", *map(str, arguments)]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("npformer translate: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("command", ["train", "distill"])
@pytest.mark.parametrize(("spoil", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_bad_data(
    spoil: Callable[[Path], object],
    message: str,
    command: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tiny_pairs.write(tmp_path / "pairs")
    spoil(data)
    options = ["--data", data, *OPTIONS, "--out", tmp_path / "run"]
    if command == "distill":
        options += ["--teacher", model]
    assert message in refused(capsys, command, *options)
    assert {path.name for path in tmp_path.iterdir()} == {"pairs"}


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS.items(), ids=BAD_OPTIONS)
def test_bad_options(
    options: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tiny_pairs.write(tmp_path / "pairs")
    given = ["--data", data, *OPTIONS, *options.split(), "--out", tmp_path / "run"]
    assert message in refused(capsys, "train", *given)
    assert {path.name for path in tmp_path.iterdir()} == {"pairs"}


def test_embedded_pairs_longer_than_max_len(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--pairs", 9, "--max-len", 5, "--out", tmp_path / "run"]
    assert "expected at most max_len = 5" in refused(capsys, "train", *options)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_is_left_alone(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    assert "which is not empty" in refused(capsys, "train", "--pairs", 9, "--out", model)
    message = refused(capsys, "train", "--resume", "--out", model, "--seed", 4)
    assert "--seed: got 4, expected what the run was started with, 0" in message
    assert "expected a run of npformer translate distill" in refused(
        capsys, "distill", "--resume", "--out", model
    )
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before


def test_the_vocabulary_of_a_student_is_its_teachers(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["translate", "distill", "--teacher", str(model), "--vocab", "bpe"])
    assert stopped.value.code == 2
    assert "unrecognized arguments: --vocab bpe" in capsys.readouterr().err


def test_resume_needs_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected the folder of a run" in refused(capsys, "train", "--resume", "--out", tmp_path)
    assert "got no --out" in refused(capsys, "train", "--resume")
    assert not list(tmp_path.iterdir())


def test_a_teacher_that_cannot_teach(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tiny_pairs.write(tmp_path / "pairs"), ["--out", tmp_path / "run"]
    assert "--teacher: got none" in refused(capsys, "distill", "--data", data, *out)
    given = ["--teacher", tmp_path, "--data", data, *OPTIONS, *out]
    assert "config.json" in refused(capsys, "distill", *given)
    given = ["--teacher", model, "--data", data, *OPTIONS, *out]
    message = refused(capsys, "distill", *given, "--max-len", 32)
    assert "max_len: got 32, expected at most the teacher's 16" in message
    line("train.tsv", "aéa\tab")(data)
    assert "data: got a source with 'é', expected" in refused(capsys, "distill", *given)
    assert {path.name for path in tmp_path.iterdir()} == {"pairs"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "text 1: got an empty text"),
        (["ab", " "], "text 2: got an empty text"),
        (["ab", "aéa"], "TEXT: got 'aéa' with 'é', expected characters of the vocabulary"),
        (["a" * 16], "text 1: got 17 tokens with the end, expected at most max_len = 16"),
        (["ab", "--beams", "0"], "--beams: got 0, expected at least 1"),
        (["ab", "--attention", "a.gif"], "--attention: got a.gif, expected a path that ends in"),
        (["ab", "--attention", "no/a.png"], "no/a.png: No such file or directory"),
    ],
)
def test_run(
    arguments: list[str],
    message: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "run", model, *arguments)
    assert not list(tmp_path.iterdir())


def test_run_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "config.json" in refused(capsys, "run", tmp_path / "none", "ab")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["char", "bpe", "wordpiece"])
def test_unknown_characters_may_be_allowed(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = tiny_pairs.write(tmp_path / "pairs"), tmp_path / "run"
    options = ["--data", data, *OPTIONS, "--vocab", kind, "--vocab-size", 24, "--out", run]
    assert main(["translate", "train", *map(str, options)]) == 0
    assert "'é €'" in refused(capsys, "run", run, "aé b€")
    assert main(["translate", "run", str(run), "aé b€", "--allow-unknown"]) == 0
    assert load_vocabulary(run / "model" / "tokenizer.json").encode("é").ids[-1] == 3

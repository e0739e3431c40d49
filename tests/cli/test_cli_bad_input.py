"""Bad input: one sentence on stderr that says what and where, exit 2, and no file touched."""

import errno
import shutil
from types import SimpleNamespace

import pytest
import tiny_task

from npformer.cli import main
from npformer.jobs.distill import student, teacher, tinybert

BAD_DATA = {
    # What is done to the folder, what is said.
    "no folder": (lambda d: shutil.rmtree(d), "task: no such folder"),
    "a file": (lambda d: (shutil.rmtree(d), d.write_text("x")), "task: got a file"),
    "no train": (lambda d: (d / "train.tsv").unlink(), "train.tsv is missing"),
    "no dev": (lambda d: (d / "dev.tsv").unlink(), "dev.tsv is missing"),
    "empty train": (lambda d: (d / "train.tsv").write_text(""), "train.tsv: got an empty file"),
    "header alone": (lambda d: (d / "train.tsv").write_text("a\tlabel\n"), "no example"),
    "train is a folder": (
        lambda d: ((d / "train.tsv").unlink(), (d / "train.tsv").mkdir()),
        "train.tsv: got a folder, expected a file",
    ),
    "wrong header": (lambda d: replace(d / "dev.tsv", "sentence", "text"), "dev.tsv, line 1"),
    "no header": (
        lambda d: replace(d / "train.tsv", "sentence\tlabel\n", ""),
        "line 1: got header",
    ),
    "no label column": (lambda d: cut_labels(d / "train.tsv"), "train.tsv, line 1: got header"),
    "one class": (lambda d: replace(d / "train.tsv", "\tno\n", "\tyes\n"), "'yes' in every line"),
    "not UTF-8": (
        lambda d: (d / "train.tsv").write_bytes(b"sentence\tlabel\nthe \xff film\tyes\n"),
        "train.tsv, line 2: got byte 0xff, expected UTF-8",
    ),
    "a tab is missing": (
        lambda d: replace(d / "train.tsv", "\tno\n", " no\n", 1),
        "train.tsv, line 3: got 0 tabs, expected 1",
    ),
    "a tab too many": (
        lambda d: replace(d / "dev.tsv", "\tno\n", "\tx\tno\n", 1),
        "dev.tsv, line 3: got 2 tabs, expected 1",
    ),
    "an empty text": (
        lambda d: (d / "train.tsv").write_text("sentence\tlabel\na\tyes\n\tno\n"),
        "train.tsv, line 3: sentence is empty",
    ),
    "unknown label": (lambda d: replace(d / "dev.tsv", "\tno\n", "\tnope\n"), "got label 'nope'"),
}

BAD_OPTIONS = {
    "--teacher 2x10x3": "a width that divides into 3 heads",
    "--teacher 2y16": "--teacher: got 2y16, expected a size such as 4x128x4, or the",
    "--teacher 2x16xx": "size: got '2x16xx', expected LxD",
    "--teacher 0x16": "layers: got 0",
    "--student 1x9": "a width that divides into 2 heads",
    "--student 1x8x4": "heads",
    "--student big": "size: got 'big', expected LxD",
    "--teacher 4x16x2 --student 3x8x2": "layers",
    "--student 3x8x2": "layers",
    "--rate finetune=-0.1": "--rate finetune: got -0.1, expected a finite number above 0",
    "--rate finetune=nan": "--rate finetune: got nan",
    "--rate finetune=0": "--rate finetune: got 0.0",
    "--epochs finetune=0": "--epochs finetune: got 0.0",
    "--epochs general=nan": "--epochs general: got nan",
    "--epochs scratch=3": "--epochs: got scratch=3.0, expected --steps",
    "--steps pretrain=0": "--steps pretrain: got 0",
    "--steps pretrain=-4": "--steps pretrain: got -4",
    "--steps general=-1": "--steps general: got -1",
    "--steps prediction=0": "--steps prediction: got 0",
    "--mapping middle": "mapping: got 'middle', expected uniform, top, bottom",
    "--steps warmup=4": "--steps: got phase 'warmup', expected one of pretrain, general",
    "--steps augment=4": "--steps: got phase 'augment'",
    "--labelled 24": "labelled: got 24, expected at most the 23 examples",
    "--labelled 0": "labelled: got 0",
    "--labelled 1": "labelled: got 1 with one label",
    "--recipe tasty": "recipe: got 'tasty', expected one of corrected, paper, released",
    "--recipe released --batch-size 24": "examples: got 23, expected at least batch_size = 24",
    "--dropout 1": "dropout: got 1.0",
    "--dropout nan": "dropout: got nan",
    "--copies -1": "--copies: got -1",
    "--seed -1": "--seed: got -1",
    "--seeds 0": "--seeds: got 0",
    "--shards 0": "shards: got 0",
    "--batch-size 0": "batch_size: got 0",
    "--max-len 2": "max_len: got 2",
    "--general-teacher nowhere": "--teacher: got the size 2x16x2 beside --general-teacher",
    "--teacher nowhere": "--teacher: got nowhere, expected a size such as",
    "--weight prediction=0": "expected a term above 0 for the prediction phase",
    "--weight embedding=0 --weight hidden=0 --weight attention=0": "for the general phase",
    "--weight attention=-1": "weights: got attention = -1.0",
    "--weight beauty=1": "weights: got 'beauty', expected one of",
    "--resume": "--resume: got ",
}

BAD_ARGUMENTS = [
    "",
    "distil",
    "distill --stepss 3",
    "distill --steps 3",
    "distill --steps finetune=x",
    "distill --steps finetune=1.5",
    "distill --rate finetune",
    "distill --labelled many",
    "predict somewhere",
    "eval",
    "eval somewhere --split train",
]


def replace(path, old, new, count=-1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def cut_labels(path):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.partition("\t")[0] for line in lines) + "\n")


@pytest.fixture
def task(tmp_path):
    return tiny_task.write_task(tmp_path / "task", "strings")


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """Return a function that runs a command which must fail, and gives its one sentence."""

    def no_training(*args, **kwargs):
        raise AssertionError("trained")

    for module in (teacher, student):
        monkeypatch.setattr(module, "run_phase", no_training)

    def run(*argv):
        before = tiny_task.contents(tmp_path)
        folders = sorted(tmp_path.rglob("*"))
        code = main([str(a) for a in argv])
        out, err = capsys.readouterr()
        assert code == 2
        assert out == ""
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert err.startswith(f"npformer {argv[0]}: ")
        assert "Traceback" not in err
        assert tiny_task.contents(tmp_path) == before
        assert sorted(tmp_path.rglob("*")) == folders
        return err

    return run


@pytest.mark.parametrize("kind", BAD_DATA)
def test_data(kind, task, tmp_path, call):
    spoil, said = BAD_DATA[kind]
    spoil(task)
    assert said in call("distill", "--data", task, *tiny_task.OPTIONS, "--out", tmp_path / "run")


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_options(options, task, tmp_path, call):
    argv = ["distill", "--data", task, *tiny_task.OPTIONS, "--out", tmp_path / "run"]
    assert BAD_OPTIONS[options] in call(*argv, *options.split())


@pytest.mark.parametrize("line", BAD_ARGUMENTS)
def test_arguments(line, capsys):
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2
    assert "usage: npformer" in capsys.readouterr().err


def test_an_error_before_the_first_step_leaves_no_folder(task, tmp_path, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(teacher, "run_phase", broken)
    argv = ["distill", "--data", task, *tiny_task.OPTIONS, "--out", tmp_path / "run"]
    with pytest.raises(MemoryError):
        main([str(a) for a in argv])
    assert not (tmp_path / "run").exists()
    capsys.readouterr()


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_could_not_start_leaves_its_folder_to_the_next(seeds, task, tmp_path, call, capsys):
    argv = ["distill", *tiny_task.OPTIONS, "--out", tmp_path / "run", "--seeds", seeds]
    call(*argv, "--data", tmp_path / "typo")
    with pytest.raises(AssertionError, match="trained"):
        main([str(a) for a in [*argv, "--data", task]])
    capsys.readouterr()


def test_an_out_that_is_not_empty(task, tmp_path, call):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    said = call("distill", "--data", task, "--out", tmp_path / "run")
    assert "not empty, expected a new folder" in said
    assert "not empty" in call("distill", "--data", task, "--out", task / "dev.tsv")


def test_an_out_that_cannot_be(task, call):
    assert "dev.tsv" in call("distill", "--data", task, "--out", task / "dev.tsv" / "run")


def test_resume_without_a_folder(call):
    assert "--resume: got no --out" in call("distill", "--resume")


def test_resume_of_no_run(tmp_path, call):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.tmp-1").write_text("mine")
    for name in ("other", "nothing"):
        said = call("distill", "--out", tmp_path / name, "--resume")
        assert "expected the folder of a run" in said
    (tmp_path / "other" / "run.json").write_text('{"name": "of another tool"}')
    assert "unknown name" in call("distill", "--out", tmp_path / "other", "--resume")


# --- with a run or a model that is there -----------------------------------------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    top = tmp_path_factory.mktemp("ran")
    runs = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
        for kind in ("strings", "regression"):
            data, out = tiny_task.write_task(top / kind, kind), top / f"{kind}-run"
            argv = ["--data", data, "--out", out, *tiny_task.OPTIONS, "--rate", "scratch=1e-3"]
            assert main(["distill", *(str(a) for a in argv)]) == 0
            runs[kind] = SimpleNamespace(data=data, out=out)
    return runs


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seed", 3], "--seed: got 3, expected what the run was started with, 0"),
        (["--seeds", 2], "--seeds: got 2, expected what the run was started with, 1"),
        (["--batch-size", 6], "--batch-size: got 6"),
        (["--steps", "finetune=3"], "--steps: got {'finetune': 3}"),
        (["--rate", "finetune=3"], "--rate: got {'finetune': 3.0}"),
        (["--data", "elsewhere"], "--data: got elsewhere"),
    ],
)
def test_resume_with_other_options(options, said, ran, call):
    out = ran["strings"].out
    (out / "state.safetensors.tmp-1").write_text("stale")
    before = tiny_task.contents(out)
    assert said in call("distill", "--out", out, "--resume", *options)
    assert tiny_task.contents(out) == before


@pytest.mark.parametrize("name", ["run.json", "progress.json", "state.safetensors"])
@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff\xfe", b""])
def test_resume_of_a_broken_run(name, data, ran, tmp_path, call):
    shutil.copytree(ran["strings"].out, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(data)
    assert name in call("distill", "--out", tmp_path / "run", "--resume")


def test_teachers_that_do_not_fit(ran, tmp_path, call):
    words, scores = ran["strings"], ran["regression"]
    general = ["--general-teacher", words.out / "phases" / "pretrain"]
    new = ["--student", "1x8x2", "--max-len", 16, "--out", tmp_path / "run"]
    ours = ["distill", "--data", words.data, *new]

    def said(*options):
        return call(*ours, *options)

    finetuned, pretrained = words.out / "teacher", words.out / "phases" / "pretrain"
    assert "a fine-tuned model, expected --general-teacher DIR" in said("--teacher", finetuned)
    assert "expected classification with 2" in said("--teacher", scores.out / "teacher", *general)
    assert "before fine-tuning" in said("--teacher", finetuned, "--general-teacher", finetuned)
    assert "beside a pretrained --teacher" in said("--teacher", pretrained, *general)
    # Another depth and width before fine-tuning than after it.
    other = ["--general-teacher", words.out / "phases" / "general"]
    assert "--general-teacher: got d_model 8, expected 16" in said("--teacher", finetuned, *other)
    fits = ["--teacher", finetuned, *general]
    assert "--max-len: got 17, expected at most the teacher's 16" in said(*fits, "--max-len", 17)
    assert "layers" in said(*fits, "--student", "3x8x2")
    assert "heads" in said(*fits, "--student", "1x8x4")
    numbers = tiny_task.write_task(tmp_path / "numbers", "single")
    labels = said(*fits, "--data", numbers)
    assert "got a model of the labels no, yes, expected those of the data, 0, 1 (if they" in labels
    three = tiny_task.write_task(tmp_path / "three", "three")
    assert "of 2 outputs, expected classification with 3" in said(*fits, "--data", three)


def test_a_teacher_with_another_vocabulary(ran, tmp_path, call):
    shutil.copytree(ran["strings"].out / "phases" / "pretrain", tmp_path / "teacher")
    words = [f"word{i}" for i in range(5000)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (tmp_path / "teacher" / "tokenizer.json").unlink()
    (tmp_path / "teacher" / "vocab.txt").write_text("\n".join([*special, *words]) + "\n")
    argv = ["distill", "--data", ran["strings"].data, "--student", "1x8x2", "--max-len", 16]
    said = call(*argv, "--teacher", tmp_path / "teacher", "--out", tmp_path / "run")
    assert "--teacher: got a tokenizer with a piece of id 5004, expected ids below" in said


def test_predict(ran, tmp_path, call):
    student = ran["strings"].out / "student"
    assert "nowhere: got no such folder" in call("predict", tmp_path / "nowhere", "text")
    assert "without config.json" in call("predict", ran["strings"].data, "text")
    pretrained = ran["strings"].out / "phases" / "pretrain"
    assert "got a MaskedLM, expected a SequenceClassifier" in call("predict", pretrained, "text")
    assert "TEXT: got texts and pairs" in call("predict", student, "one", "two\tthree")
    assert "TEXT: got" in call("predict", student, "one\ttwo\tthree")
    shutil.copytree(student, tmp_path / "half")
    weights = tmp_path / "half" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "(a download that was cut short?)" in call("predict", tmp_path / "half", "text")
    shutil.copytree(student, tmp_path / "mute")
    (tmp_path / "mute" / "tokenizer.json").unlink()
    assert "without tokenizer.json" in call("predict", tmp_path / "mute", "text")


def test_eval(ran, tmp_path, call):
    words, scores = ran["strings"], ran["regression"]
    student = words.out / "student"
    said = call("eval", student, "--data", scores.data)
    assert "got a classification model of 2 outputs, expected regression with 1" in said
    said = call("eval", student)
    assert "of the labels no, yes, expected those of the data, negative, positive" in said
    assert "rename them in id2label and label2id of its config.json" in said
    assert "no such folder" in call("eval", student, "--data", tmp_path / "nowhere")
    shutil.copytree(words.data, tmp_path / "untested")
    (tmp_path / "untested" / "test.tsv").unlink()
    said = call("eval", student, "--data", tmp_path / "untested", "--split", "test")
    assert "--split: got test, expected one that" in said


def test_gradcheck(call):
    assert "NAME: got 'lineal', expected one of attention" in call("gradcheck", "lineal")


# --- a full disk -----------------------------------------------------------------------------


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("safetensors.numpy.save_file", "state.safetensors"),
        ("npformer.train.run.Path.write_bytes", "run.json"),
        ("os.fsync", "metrics.jsonl"),
        ("npformer.jobs.distill.job.write_model", "pretrain"),
    ],
)
def test_no_space_left(target, where, task, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    before = tiny_task.contents(task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, full)
        argv = ["distill", "--data", task, *tiny_task.OPTIONS, "--out", out]
        assert main([str(a) for a in argv]) == 2
    _, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert last.startswith("npformer distill: ")
    assert "No space left on device" in last
    assert where in last
    assert "Traceback" not in err
    assert tiny_task.contents(task) == before
    assert not list(tmp_path.rglob("*.tmp-*"))
    if where == "pretrain":  # and once there is space again
        monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
        assert main(["distill", "--out", str(out), "--resume"]) == 0


def test_a_rate_at_which_training_diverges(task, tmp_path, capsys):
    argv = ["distill", "--data", task, *tiny_task.OPTIONS, "--out", tmp_path / "run"]
    assert main([str(a) for a in [*argv, "--rate", "pretrain=1e30"]]) == 2
    _, err = capsys.readouterr()
    assert "learning rate: got " in err.splitlines()[-1]
    assert "Warning" not in err

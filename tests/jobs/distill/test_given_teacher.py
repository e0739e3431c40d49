"""A teacher that is there: fine-tuned elsewhere, with more heads, another model as augmenter."""

import gzip
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_task
from safetensors.numpy import load_file, save_file
from test_resume import Killed, Moments, made, without_comparison

from npformer.checks import InputError
from npformer.cli import main
from npformer.data.glue import load_folder, read_texts
from npformer.data.tokenizer import (
    encode_examples,
    load_tokenizer,
    save_tokenizer,
    train_wordpiece,
)
from npformer.jobs.distill import baseline, teacher, tinybert
from npformer.jobs.distill.comparison import table
from npformer.jobs.distill.settings import Settings, quick
from npformer.jobs.distill.tables import principal_directions
from npformer.models import ClassifierConfig, Encoder, MaskedLM, SequenceClassifier
from npformer.models.huggingface import from_pretrained, save_pretrained
from npformer.train.run import Run

STEPS = {"intermediate": 9, "prediction": 10, "scratch": 8, "soft": 7}
OPTIONS = {
    "student": "1x8x2",
    "batch_size": 5,
    "max_len": 16,
    "steps": {"general": 0, **STEPS},
    "copies": 1,
    "long_copies": 2,
    "long_pieces": 9,
    "baselines": ["scratch", "soft"],
    "rates": {"scratch": 1e-3},
}


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Write a task, a classifier of four heads, the encoder it came from and a masked LM."""
    top = tmp_path_factory.mktemp("there")
    task = tiny_task.write_task(top / "task")
    texts = load_folder(task).train.first
    tokenizer = train_wordpiece(texts, 80)
    config = ClassifierConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_len=18,
        d_model=16,
        num_heads=4,
        num_layers=2,
        d_ff=24,
        num_classes=2,
        initializer_range=0.2,
    )
    rng = np.random.default_rng(3)
    models = {
        "teacher": SequenceClassifier.init(config, rng),
        "general": Encoder.init(config, rng),
        "augmenter": MaskedLM.init(config, rng),
    }
    for name, model in models.items():
        labels = ["0", "1"] if name == "teacher" else None
        save_pretrained(model, top / name, labels=labels)
        save_tokenizer(tokenizer, top / name)
    return SimpleNamespace(task=task, **{name: top / name for name in models})


def settings(there, **changes):
    given = {**OPTIONS, "data": str(there.task), "teacher": str(there.teacher)}
    return Settings.of({**given, **changes})


def go(folder, there, **changes):
    """Run, or go on; return what was said and the results."""
    asked, said = settings(there, **changes), []
    run = Run.resume(folder) if folder.exists() else Run.create(folder, asked.to_dict())
    try:
        results = tinybert.distil(run, asked, said.append)
    finally:
        run.log.close()
    return said, results


@pytest.fixture
def quiet(monkeypatch):
    without_comparison(monkeypatch)


def test_the_defaults_of_a_checkpoint(there):
    asked = Settings.of({"data": str(there.task), "teacher": str(there.teacher)})
    assert asked.kind == "checkpoint"
    assert (asked.student, asked.activation) == ("3x128x4x384", "relu")
    assert (asked.heads, asked.init_table) == ("group_mean", "pca")
    assert (asked.augmenter, asked.copies, asked.long_copies) == ("neighbours", 3, 6)
    assert Settings.of({"data": str(there.task)}).kind == "folder"
    assert Settings.of({"teacher": str(there.teacher)}).kind == "reviews"


def test_quick_is_less_of_everything_unless_asked_for(there):
    given = {"data": str(there.task), "teacher": str(there.teacher)}
    asked = Settings.of(quick({**given, "copies": 2, "epochs": {"prediction": 4.0}}))
    assert asked.skips_general
    assert (asked.copies, asked.baselines, asked.epochs["prediction"]) == (2, [], 4.0)
    for less in ({}, {"data": "x"}, {"data": "x", "teacher": "2x8"}, {"teacher": "minilm"}):
        with pytest.raises(InputError, match="--quick"):
            quick(less)


def test_a_whole_run_with_baselines(there, tmp_path, monkeypatch):
    monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
    said, results = go(tmp_path / "run", there)
    assert "general: none" in said
    assert any(line.startswith("augment: up to 1 copies of 23 sentences and 2") for line in said)
    rows = {name: results[name] for name in ("teacher", "student", "scratch", "soft")}
    assert rows["student"]["parameters"] == rows["soft"]["parameters"]
    assert rows["teacher"]["mflops"] > 3 * rows["student"]["mflops"] > 0
    # Per level 2 (8, 16): W_e and W_h.
    assert rows["student"]["parameters_in_training"] - rows["student"]["parameters"] == 256
    assert results["timing"]["threads"] == 2
    for name in ("student", "soft", "scratch"):
        model = from_pretrained(tmp_path / "run" / name, SequenceClassifier)
        assert model.config.num_heads == 2
    progress = json.loads((tmp_path / "run" / "progress.json").read_text())
    assert {p: progress[p]["steps"] for p in STEPS} == STEPS


def test_the_student_starts_from_the_teachers_words(there, tmp_path, quiet):
    go(tmp_path / "run", there)
    table = from_pretrained(there.teacher).params["encoder.embeddings.token"]
    first = from_pretrained(tmp_path / "run" / "phases" / "general", Encoder).params
    expected = (table @ principal_directions(table, 8)).astype(np.float32)
    np.testing.assert_array_equal(first["embeddings.token"], expected)


def test_a_factorised_table_is_the_teachers_in_as_many_directions(there, tmp_path, quiet):
    go(tmp_path / "run", there, embedding_size=5)
    table = from_pretrained(there.teacher).params["encoder.embeddings.token"]
    first = from_pretrained(tmp_path / "run" / "phases" / "general", Encoder)
    assert first.config.embedding_size == 5
    expected = (table @ principal_directions(table, 5)).astype(np.float32)
    np.testing.assert_array_equal(first.params["embeddings.token"], expected)
    for name in ("student", "scratch", "soft"):
        params = from_pretrained(tmp_path / "run" / name, SequenceClassifier).params
        assert params["encoder.embeddings.token"].shape == (len(table), 5)
        assert params["encoder.embeddings.projection.w"].shape == (5, 8)
    with pytest.raises(InputError, match="17 wide, expected at most the teacher's 16"):
        go(tmp_path / "wide", there, embedding_size=17)
    assert not (tmp_path / "wide" / "phases").exists()  # refused before anything is made


def test_the_activation_is_the_students(there, tmp_path, quiet):
    go(tmp_path / "run", there, activation="relu", steps={"general": 0, **STEPS}, baselines=[])
    config = json.loads((tmp_path / "run" / "student" / "config.json").read_text("utf-8"))
    assert config["hidden_act"] == "relu"
    assert from_pretrained(there.teacher).config.activation == "gelu"
    with pytest.raises(InputError, match="--activation: got 'swish', expected one of gelu, "):
        settings(there, activation="swish")


def test_soft_labels_only_starts_as_the_student_did(there, tmp_path, quiet, monkeypatch):
    starts = []
    real = baseline.distil_predictions

    def watched(job, phase, student, teacher, texts):
        starts.append({name: p.copy() for name, p in student.params.items()})
        return real(job, phase, student, teacher, texts)

    monkeypatch.setattr(baseline, "distil_predictions", watched)
    go(tmp_path / "run", there)
    first = from_pretrained(tmp_path / "run" / "phases" / "general", Encoder).params
    (start,) = starts
    assert start.keys() == first.keys()
    for name, p in first.items():
        np.testing.assert_array_equal(start[name], p)


def test_copies_by_neighbours_are_of_their_sources(there, tmp_path, quiet):
    go(tmp_path / "run", there, baselines=[])
    arrays = load_file(tmp_path / "run" / "augmented.safetensors")
    train = load_folder(there.task).train
    encoded, _ = encode_examples(load_tokenizer(there.teacher), train.first, max_len=16)
    sources = arrays["sources"]
    ends = np.cumsum(encoded.lengths[sources])
    assert ends[-1] == len(arrays["ids"])
    for ids, source in zip(np.split(arrays["ids"], ends)[:-1], sources, strict=True):
        same = ids == encoded.ids[source]
        assert same[[0, -1]].all()
        assert not same.all()
    counts = np.bincount(sources, minlength=23)
    assert counts[encoded.lengths >= 9].max() == 3
    assert counts[encoded.lengths < 9].max() == 1


def test_general_distillation_of_the_teacher_before_fine_tuning(there, tmp_path, quiet):
    steps = {"general": 3, **STEPS}
    said, _ = go(tmp_path / "run", there, general_teacher=str(there.general), steps=steps)
    assert any(line.startswith("general: intermediate layers") for line in said)
    with pytest.raises(InputError, match="leave that phase out: --epochs general=0"):
        go(tmp_path / "none", there, steps=steps)


PHASES = ("intermediate", "prediction", "scratch-0.001", "soft")


@pytest.mark.parametrize("general", [0, 6])
def test_killed_in_each_phase_and_resumed(general, there, tmp_path, monkeypatch):
    without_comparison(monkeypatch)
    changes = {"steps": {"general": general, **STEPS}, "general_teacher": str(there.general)}
    go(tmp_path / "whole", there, **changes)
    moments = Moments(monkeypatch)
    ends = [f"{phase} {step}" for phase in PHASES for step in (2, 6)]
    ends += ["general 5"] * (general > 0)
    ends += ["augmented.safetensors replaced after start"] * (general == 0)
    order = []
    for moments.last in sorted(ends, key=lambda m: ("gaips".index(m[0]), m)):
        with pytest.raises(Killed):
            go(tmp_path / "run", there, **changes)
        order.append(moments.last)
    moments.last = None
    go(tmp_path / "run", there, **changes)
    whole, again = made(tmp_path / "whole"), made(tmp_path / "run")
    assert whole.keys() == again.keys()
    assert [name for name in whole if whole[name] != again[name]] == []


def test_fine_tuning_starts_from_the_models_own_pooler(there, tmp_path, quiet, monkeypatch):
    folder = shutil.copytree(there.general, tmp_path / "pooled")
    arrays = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(8)
    w, b = rng.standard_normal((16, 16), np.float32), rng.standard_normal(16, np.float32)
    save_file(
        arrays | {"pooler.dense.weight": w, "pooler.dense.bias": b}, folder / "model.safetensors"
    )
    starts = []

    def begun(run, phase, params, *rest):
        starts.append({name: p.copy() for name, p in params.items()})
        raise Killed

    monkeypatch.setattr(teacher, "run_phase", begun)
    with pytest.raises(Killed):
        go(
            tmp_path / "run",
            there,
            teacher=str(folder),
            steps={"general": 0, **STEPS, "finetune": 5},
        )
    (start,) = starts
    np.testing.assert_array_equal(start["pooler.w"], w.T)
    np.testing.assert_array_equal(start["pooler.b"], b)


def test_cola_is_scored_by_its_own_measure(there, tmp_path, monkeypatch):
    monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
    task = tiny_task.write_task(tmp_path / "CoLA")
    changes = {"steps": {"general": 0, **STEPS, "finetune": 60}, "rates": {"finetune": 1e-2}}
    _, results = go(tmp_path / "run", there, data=str(task), teacher=str(there.general), **changes)
    assert (results["measure"], results["constant"]) == ("matthews", 0.0)
    teacher, student = results["teacher"], results["student"]
    assert teacher["matthews"] > 0.5
    assert student["retained"] == student["matthews"] / teacher["matthews"]
    assert student["retained"] != student["accuracy"] / teacher["accuracy"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    looks = [row["dev"] for row in map(json.loads, lines) if "dev" in row]
    assert looks
    assert all(next(iter(look)) == "matthews" for look in looks)
    assert any(line.startswith("naive Bayes, accuracy, on") for line in table(results, "matthews"))


@pytest.mark.parametrize(("width", "segments"), [(None, 0), (4, 2)])
@pytest.mark.parametrize("general", [0, 6])
def test_a_distilbert_as_teacher(width, segments, general, there, tmp_path, monkeypatch):
    monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
    config = from_pretrained(there.teacher).config
    small = {"num_segments": 0, "tanh_pooler": False, "relu_before_classifier": True}
    model = SequenceClassifier.init(replace(config, **small), np.random.default_rng(4))
    for name, given in (("teacher", model), ("general", model.encoder)):
        save_pretrained(given, tmp_path / name, labels=["0", "1"] if name == "teacher" else None)
        save_tokenizer(load_tokenizer(there.teacher), tmp_path / name)
    _, results = go(
        tmp_path / "run",
        there,
        teacher=str(tmp_path / "teacher"),
        general_teacher=str(tmp_path / "general"),
        embedding_size=width,
        steps={**STEPS, "general": general},
    )
    assert {"teacher", "student", "scratch", "soft"} <= results.keys()
    student = from_pretrained(tmp_path / "run" / "student")
    assert student.config.num_segments == segments
    kind = json.loads((tmp_path / "run" / "student" / "config.json").read_text())["model_type"]
    assert kind == ("distilbert" if width is None else "albert")


def test_another_model_as_augmenter(there, tmp_path, quiet):
    go(tmp_path / "run", there, augmenter=str(there.augmenter))
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "augmented.jsonl").read_text().splitlines()
    ]
    long = [row for row in rows if len(row["first"].split()) + 2 >= 9]
    assert len(rows) > 20
    assert {row["source"] for row in rows} <= set(range(23))
    # A copy of all and two more of the long ones: of these some have three.
    sources = [row["source"] for row in long]
    assert max(sources.count(source) for source in sources) == 3
    train = load_folder(there.task).train.first
    for row in rows:
        assert len(row["first"].split()) == len(train[row["source"]].split())


@pytest.mark.parametrize(
    "changes", [{"augmenter": "none"}, {"copies": 0, "long_copies": 0}, {"augmenter": "teacher"}]
)
def test_no_copies(changes, there, tmp_path, quiet):
    said, _ = go(tmp_path / "run", there, baselines=[], **changes)
    assert any(line.startswith("augment: none") for line in said)
    assert "intermediate: 23 sentences of the task, 9 steps" in said


def test_a_teacher_at_chance_is_told_loudly(there, tmp_path, quiet):
    said, _ = go(tmp_path / "run", there, baselines=[], copies=0)
    # Drawn weights: at chance, or as good as.
    assert any(line.startswith("WARNING: the teacher's accuracy on dev is") for line in said)


def test_unlabelled_files_beside_the_tasks_own_text(there, tmp_path, quiet):
    with gzip.open(tmp_path / "more.txt.gz", "wt", encoding="utf-8") as file:
        file.write("the film\n\nthe plot was fine\n")
    (tmp_path / "pairs.tsv").write_text("a\tb\tlabel\nthe end\tthe cast\t1\n")
    files = [str(tmp_path / name) for name in ("more.txt.gz", "pairs.tsv")]
    assert read_texts(files[1]) == ["the end", "the cast"]
    said, _ = go(tmp_path / "run", there, unlabelled=files, baselines=[], copies=0)
    assert any("23 labelled, 27 unlabelled, 10 dev" in line for line in said)
    (tmp_path / "more.json").write_text("{}")
    with pytest.raises(InputError, match=r"got a name in '.json', expected .txt or .tsv"):
        go(tmp_path / "other", there, unlabelled=[str(tmp_path / "more.json")])


def test_a_teacher_with_a_piece_too_many(there, tmp_path):
    """What counts is the last id: a vocabulary may have holes."""
    folder = shutil.copytree(there.teacher, tmp_path / "teacher")
    made = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocab = made["model"]["vocab"]
    size = len(vocab)
    vocab["zebra"] = vocab.pop(max(vocab, key=vocab.__getitem__)) + 1
    assert len(vocab) == size
    (folder / "tokenizer.json").write_text(json.dumps(made), "utf-8")
    with pytest.raises(InputError, match=f"--teacher: .* of id {size}, expected ids below {size}"):
        go(tmp_path / "run", there, teacher=str(folder))


def test_models_that_read_other_pieces_are_refused(there, tmp_path):
    other = train_wordpiece(["quite another text of other words"], 40)
    cased = train_wordpiece(load_folder(there.task).train.first, 80, lowercase=False)
    more = load_tokenizer(there.augmenter)  # gives the same pieces, but knows one more
    more.add_tokens(["zebra"])
    for name, tokenizer in (("other", other), ("cased", cased), ("more", more)):
        shutil.copytree(there.augmenter, tmp_path / name)
        save_tokenizer(tokenizer, tmp_path / name)
    for option in ("augmenter", "general_teacher"):
        with pytest.raises(InputError, match="whose tokenizer gives other pieces or numbers"):
            go(tmp_path / "run", there, **{option: str(tmp_path / "other")})
        shutil.rmtree(tmp_path / "run")
    with pytest.raises(InputError, match=r"--augmenter: got .*more, whose tokenizer"):
        go(tmp_path / "more-run", there, augmenter=str(tmp_path / "more"))
    data = shutil.copytree(there.task, tmp_path / "task")
    dev = (data / "dev.tsv").read_text()
    (data / "dev.tsv").write_text(dev.replace("the", "The"))
    with pytest.raises(InputError, match=r"--augmenter: got .*cased, whose tokenizer"):
        go(tmp_path / "run", there, data=str(data), augmenter=str(tmp_path / "cased"))


def test_pairs_need_two_segments_or_none(there, tmp_path, quiet):
    data = tiny_task.write_task(tmp_path / "pairs", "pair")
    for segments in (1, 0):
        config = replace(
            from_pretrained(there.teacher).config,
            num_segments=segments,
            tanh_pooler=segments > 0,
            relu_before_classifier=segments == 0,
            layer_norm_eps=1e-12,
        )
        model = SequenceClassifier.init(config, np.random.default_rng(4))
        folder = tmp_path / f"teacher-{segments}"
        save_pretrained(model, folder, labels=["0", "1"])
        shutil.copy(there.teacher / "tokenizer.json", folder)
        changes = {"data": str(data), "teacher": str(folder), "baselines": []}
        if segments:
            with pytest.raises(InputError, match="--teacher: got a model of one segment, expected"):
                go(tmp_path / "one", there, **changes)
        else:
            go(tmp_path / "none", there, **changes)
    student = from_pretrained(tmp_path / "none" / "student", SequenceClassifier)
    assert student.config.num_segments == 0
    config = replace(from_pretrained(there.augmenter).config, num_segments=1)
    save_pretrained(MaskedLM.init(config, np.random.default_rng(5)), tmp_path / "augmenter")
    shutil.copy(there.teacher / "tokenizer.json", tmp_path / "augmenter")
    changes = {"data": str(data), "augmenter": str(tmp_path / "augmenter")}
    with pytest.raises(InputError, match="--augmenter: got a model of one segment, expected two"):
        go(tmp_path / "augmented", there, **changes)


def test_augmenters_that_are_none(there, tmp_path):
    with pytest.raises(InputError, match="a SequenceClassifier, expected a masked LM, or one of"):
        go(tmp_path / "run", there, augmenter=str(there.teacher))
    with pytest.raises(InputError, match="--augmenter: got no/where/at all, expected a model"):
        go(tmp_path / "other", there, augmenter="no/where/at all")


def test_weights_that_are_not_finite_are_refused(there, tmp_path):
    model = from_pretrained(there.teacher)
    model.params["classifier.b"][0] = np.nan
    save_pretrained(model, tmp_path / "broken", labels=["0", "1"])
    shutil.copy(there.teacher / "tokenizer.json", tmp_path / "broken")
    with pytest.raises(InputError, match=r"got NaN in classifier\.bias"):
        go(tmp_path / "run", there, teacher=str(tmp_path / "broken"))


def command(there, out, *options):
    return main(
        [
            *("distill", "--data", str(there.task), "--teacher", str(there.teacher)),
            *("--student", "1x8x2", "--max-len", "16", "--out", str(out), *options),
        ]
    )


def test_the_command_says_what_to_pass_for_other_heads(there, tmp_path, capsys):
    assert command(there, tmp_path / "run", "--quick", "--heads", "equal") == 2
    said = capsys.readouterr().err
    assert "got 2 in the student and 4 in the teacher" in said
    assert "compare with means of groups (--heads group_mean)" in said
    assert not (tmp_path / "run").exists()
    assert command(there, tmp_path / "run", "--quick", "--student", "1x9x3") == 2
    assert "cannot be grouped evenly, expected a student of 1, 2, 4" in capsys.readouterr().err


def test_the_command_without_a_baseline(there, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
    steps = ["--steps", "intermediate=2", "--steps", "prediction=2", "--batch-size", "5"]
    assert command(there, tmp_path / "run", "--quick", *steps, "--seeds", "2") == 0
    done = capsys.readouterr()
    assert "same, from scratch" not in done.out
    assert "of 10 of dev at their own lengths" in done.out
    assert "retained:" in done.out
    assert "WARNING" in done.err
    assert json.loads((tmp_path / "run" / "results.json").read_text())["verdicts"] == {}
    assert main(["distill", "--out", str(tmp_path / "run"), "--resume", "--json"]) == 0

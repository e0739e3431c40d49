"""``npformer distill``, ``predict`` and ``eval`` from end to end, on every kind of task."""

import json
from types import SimpleNamespace

import pytest
import tiny_task

from npformer.cli import main
from npformer.jobs.distill import tinybert

QUICK = [*tiny_task.OPTIONS, "--rate", "scratch=1e-3"]


@pytest.fixture(autouse=True)
def quiet_figures(request, monkeypatch):
    """Draw figures only where a test asks for them: they take as long as all the rest."""
    if "figures" not in request.keywords and "figures" not in request.node.name:
        monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])


def call(capsys, *argv):
    capsys.readouterr()  # what a fixture printed, when this test is the first to need it
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return SimpleNamespace(code=code, out=out, err=err)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run each kind of task once; keyed by kind, its folders."""
    folders = {}

    def get(kind):
        if kind not in folders:
            top = tmp_path_factory.mktemp(kind)
            task, out = tiny_task.write_task(top / "task", kind), top / "run"
            with pytest.MonkeyPatch.context() as monkeypatch:
                monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
                argv = ["distill", "--data", str(task), "--out", str(out), *QUICK]
                assert main(argv) == 0
            results = json.loads((out / "results.json").read_text("utf-8"))
            folders[kind] = SimpleNamespace(task=task, out=out, results=results)
        return folders[kind]

    return get


def test_the_reviews_with_figures(tmp_path, capsys):
    out = tmp_path / "run"
    steps = [f"--steps={phase}=2" for phase in tiny_task.PHASES]
    sizes = ["--teacher", "2x16x2", "--student", "1x8", "--labelled", 12, "--reviews", 30]
    more = ["--batch-size", 6, "--copies", 0, "--rate", "scratch=1e-3", "--recipe", "paper"]
    done = call(capsys, "distill", *sizes, *steps, *more, "--out", out)
    assert done.code == 0
    for said in ("reviews: 12 labelled, 30 unlabelled, 1,000 dev", "pretrain:", "figure:"):
        assert said in done.err
    lines = done.out.splitlines()
    for start in (2, 8):
        assert [line.split("  ")[0] for line in lines[start : start + 3]] == [
            "teacher",
            "distilled student",
            "same, from scratch",
        ]
    assert "parameters" in lines[0]
    assert "MFLOP" in lines[6]
    assert "of 128 of dev at their own lengths; 2 threads, openblas" in lines[11]
    assert "naive Bayes" in lines[12]
    assert str(out) in lines[-1]
    for name in ("loss-per-term", "accuracy", "attention"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    # The student has the teacher's number of heads, where 1x8 does not say.
    assert json.loads((out / "student" / "config.json").read_text())["num_attention_heads"] == 2
    scores = call(capsys, "eval", out / "student", "--json")
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert json.loads(scores.out)["accuracy"] == results["student"]["accuracy"]


MEASURES = {"accuracy", "f1", "matthews", "calibration_error", "agreement"}
TIMES = {"ms_per_sentence", "ms_in_batches", "ms_end_to_end"}
OTHERS = {"parameters", "megabytes", "mflops"} | TIMES
SPEED_UPS = {"speed_up", "speed_up_in_batches", "speed_up_end_to_end"}
COMPARED = {"retained", "times_smaller"} | SPEED_UPS


@pytest.mark.parametrize("kind", ["single", "pair", "strings", "three"])
def test_results_of_a_classification(kind, ran):
    results = ran(kind).results
    assert set(results) == {
        *("settings", "measure", "teacher", "student", "scratch"),
        *("timing", "constant", "naive_bayes"),
    }
    assert results["measure"] == "accuracy"
    assert set(results["teacher"]) == MEASURES | OTHERS
    for name in ("student", "scratch"):
        row = results[name]
        training = {"parameters_in_training"} if name == "student" else set()
        assert set(row) == MEASURES | OTHERS | COMPARED | training
        assert 0 <= row["accuracy"] <= 1
        if row["retained"] is not None:
            assert row["retained"] == row["accuracy"] / results["teacher"]["accuracy"]
        assert row["times_smaller"] == results["teacher"]["parameters"] / row["parameters"] > 1
    assert results["student"]["parameters"] == results["scratch"]["parameters"]
    # W_e and W_h, each (8, 16), are needed for training only.
    student = results["student"]
    assert student["parameters_in_training"] == student["parameters"] + 2 * 8 * 16
    assert results["settings"]["student"] == "1x8x2"
    assert set(results["naive_bayes"]) == {"unigram", "bigram"}


def test_results_of_a_regression(ran):
    results = ran("regression").results
    kinds = {"teacher", "student", "scratch"}
    assert set(results) == kinds | {"settings", "measure", "constant", "timing"}
    assert results["measure"] == "pearson"
    assert set(results["teacher"]) == {"pearson", "spearman"} | OTHERS


@pytest.mark.parametrize("kind", ["pair", "strings", "regression", "three"])
def test_eval_agrees_with_the_run(kind, ran, capsys):
    one = ran(kind)
    done = call(capsys, "eval", one.out / "student", "--data", one.task, "--json")
    scores = json.loads(done.out)
    assert scores["sentences"] == 10
    assert scores["cut"] == 0
    measure = one.results["measure"]
    assert scores[measure] == one.results["student"][measure]
    test = call(capsys, "eval", one.out / "student", "--data", one.task, "--split", "test")
    assert test.code == 0
    assert "sentences  6" in test.out
    assert measure in test.out


def test_predict_names_the_labels(ran, capsys):
    student = ran("strings").out / "student"
    texts = ["the film was fine", "the plot was dull and cold"]
    done = call(capsys, "predict", student, *texts)
    assert done.code == 0
    rows = [line.split("\t") for line in done.out.splitlines()]
    assert [row[2] for row in rows] == texts
    assert {row[0] for row in rows} <= {"yes", "no"}
    told = json.loads(call(capsys, "predict", student, *texts, "--json").out)
    assert [set(row) for row in told] == [{"text", "label", "probability"}] * 2
    assert [row["label"] for row in told] == [row[0] for row in rows]
    assert all(0.5 <= row["probability"] <= 1 for row in told)
    assert done.err == ""


def test_predict_a_pair_by_a_tab(ran, capsys):
    student = ran("pair").out / "student"
    one, other = "the film was fine\tthey liked it", "the film was fine\tthey left it"
    told = json.loads(call(capsys, "predict", student, one, other, "--json").out)
    assert told[0]["probability"] != told[1]["probability"]
    assert told[0]["label"] in ("0", "1")


def test_predict_a_score(ran, capsys):
    student = ran("regression").out / "student"
    told = json.loads(call(capsys, "predict", student, "the film was fine", "--json").out)
    assert set(told[0]) == {"text", "score"}
    done = call(capsys, "predict", student, "the film was fine")
    assert done.out == f"{told[0]['score']:.4f}\tthe film was fine\n"


def test_predict_says_what_was_cut(ran, capsys):
    done = call(capsys, "predict", ran("strings").out / "student", "the " * 40, "the film")
    assert done.code == 0
    assert done.err == "1 of 2 cut at 16 pieces\n"


def test_what_is_cut_is_counted(ran, tmp_path, capsys):
    one = ran("strings")
    done = call(capsys, "distill", "--data", one.task, *QUICK, "--out", tmp_path / "run")
    assert " cut " not in done.err
    done = call(
        *(capsys, "distill", "--data", one.task, *QUICK),
        *("--max-len", 9, "--out", tmp_path / "short"),
    )
    assert done.code == 0
    assert "cut at 9 pieces" in done.err


def test_json_is_all_that_goes_to_stdout(ran, tmp_path, capsys):
    task = ran("three").task
    done = call(capsys, "distill", "--data", task, *QUICK, "--out", tmp_path / "run", "--json")
    assert done.code == 0
    assert json.loads(done.out) == json.loads((tmp_path / "run" / "results.json").read_text())


def test_seeds_and_their_verdict(ran, tmp_path, capsys):
    out = tmp_path / "run"
    argv = ["distill", "--data", ran("strings").task, *QUICK, "--copies", 0, "--out", out]
    done = call(capsys, *argv, "--seeds", 2, "--seed", 5)
    assert done.code == 0
    assert done.out.count("distilled student") == 2 * 2
    assert "distilled against scratch over 2 seeds: " in done.out
    summary = json.loads((out / "results.json").read_text())
    assert set(summary) == {"settings", "measure", "verdicts", "retained", "seeds"}
    (verdict,) = summary["verdicts"].values()
    assert verdict["verdict"] in ("better", "not better", "inconclusive")
    assert [one["settings"]["seed"] for one in summary["seeds"]] == [5, 6]
    differences = [r["student"]["accuracy"] - r["scratch"]["accuracy"] for r in summary["seeds"]]
    assert verdict["mean_difference"] == pytest.approx(sum(differences) / 2)
    before = tiny_task.contents(out / "seed-5" / "student")
    again = call(capsys, "distill", "--out", out, "--resume", "--json")
    assert again.code == 0
    assert json.loads(again.out)["verdicts"] == summary["verdicts"]
    # A seed's own folder is a run too.
    alone = call(capsys, "distill", "--out", out / "seed-5", "--resume", "--json")
    assert (
        json.loads(alone.out)["student"]["accuracy"] == summary["seeds"][0]["student"]["accuracy"]
    )
    assert tiny_task.contents(out / "seed-5" / "student") == before


def test_the_default_folder_is_named_by_the_time(ran, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(capsys, "distill", "--data", ran("strings").task, *QUICK, "--copies", 0)
    assert done.code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "results.json").exists()
    assert f"runs/{folder.name}" in done.out


def test_resume_with_the_same_options(ran, capsys):
    one = ran("pair")
    results = (one.out / "student" / "model.safetensors").read_bytes()
    done = call(capsys, "distill", "--data", one.task, *QUICK, "--out", one.out, "--resume")
    assert done.code == 0
    assert (one.out / "student" / "model.safetensors").read_bytes() == results


# --- gradcheck -------------------------------------------------------------------------------


def test_gradcheck_of_some(capsys):
    done = call(capsys, "gradcheck", "linear", "layernorm/eps", "--json")
    rows = json.loads(done.out)
    assert done.code == 0
    assert [row["name"] for row in rows] == ["linear", "linear/no bias", "layernorm/eps"]
    for row in rows:
        assert set(row) == {"name", "kind", "error", "tolerance", "ok"}
        assert row["ok"] is True
        assert row["error"] <= row["tolerance"] == 1e-7


def test_gradcheck_prints_a_row_each(capsys):
    done = call(capsys, "gradcheck", "relu", "regressor")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["pair", "relu"], ["model", "regressor"]]
    assert lines[2] == "2 right, 0 wrong"


def test_gradcheck_of_a_wrong_backward_is_exit_code_1(capsys, monkeypatch):
    from npformer import ops

    right = ops.relu_backward
    monkeypatch.setattr(ops, "relu_backward", lambda dy, cache: 2.0 * right(dy, cache))
    done = call(capsys, "gradcheck", "relu", "tanh")
    assert done.code == 1
    assert "WRONG" in done.out
    assert "1 right, 1 wrong" in done.out
    assert "relu" in done.err
    rows = json.loads(call(capsys, "gradcheck", "relu", "tanh", "--json").out)
    assert [row["ok"] for row in rows] == [False, True]

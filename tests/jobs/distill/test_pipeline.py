"""TinyBERT in its real order: who reads whose weights, and who is left alone."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_task

from npformer.jobs.distill import baseline, student, teacher, tinybert
from npformer.jobs.distill.settings import PHASES, Settings
from npformer.models import Encoder, MaskedLM, SequenceClassifier
from npformer.models.huggingface import from_pretrained
from npformer.train.run import Run
from npformer.types import part


def copied(params):
    return {name: p.copy() for name, p in params.items()}


def same(a, b):
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def differ(a, b):
    """Whether the arrays are of one model but not one of the matrices has stayed."""
    assert a.keys() == b.keys()
    return all((a[name] != b[name]).any() for name in a if a[name].ndim > 1)


def distil(folder, task, record, **changes):
    """Run all phases; tell ``record`` about each one what it starts and ends with."""

    @contextmanager
    def watched(run, phase, params, objective, batches, evaluate=None):
        model = getattr(objective, "model", None) or objective.student
        guide = getattr(objective, "teacher", None)
        one = SimpleNamespace(
            phase=phase,
            trained=copied(params),
            start=copied(model.params),
            guide=None if guide is None else copied(guide.params),
            batches=list(batches(0)),
            evaluated=evaluate is not None,
        )
        with real(run, phase, params, objective, batches, evaluate) as progress:
            yield progress
        one.end, one.trained_end = copied(model.params), copied(params)
        one.guide_end = None if guide is None else copied(guide.params)
        record[phase.name] = one

    real = teacher.run_phase
    settings = Settings.from_dict({**tiny_task.SETTINGS, "data": str(task), **changes})
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (teacher, student, baseline):
            monkeypatch.setattr(module, "run_phase", watched)
        monkeypatch.setattr(tinybert, "compare", lambda job, models: {})
        monkeypatch.setattr(tinybert, "save_figures", lambda *args: [])
        run = Run.create(folder, settings.to_dict())
        try:
            tinybert.distil(run, settings, lambda line: None)
        finally:
            run.log.close()
    return settings


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    top = tmp_path_factory.mktemp("pipeline")
    phases = {}
    distil(top / "run", tiny_task.write_task(top / "task"), phases)
    return SimpleNamespace(
        folder=top / "run", **{n: p for n, p in phases.items() if "-" not in n}, phases=phases
    )


def test_the_order(ran):
    scratch = ["scratch-0.0003", "scratch-0.001", "scratch-0.003"]
    assert list(ran.phases) == [*(p for p in PHASES[:-2] if p != "augment"), *scratch]


def test_every_phase_makes_the_steps_it_was_asked_for(ran):
    for name, one in ran.phases.items():
        asked = tiny_task.SETTINGS["steps"][name.partition("-")[0]]
        assert one.phase.steps == len(one.batches) == asked


def test_each_phase_has_its_own_seed(ran):
    seeds = {name: one.phase.seed for name, one in ran.phases.items()}
    # The three rates of scratch share theirs: they differ in the rate alone.
    assert len(set(seeds.values())) == len(tiny_task.PHASES)
    ids = {name: one.batches[0].ids.tobytes() for name, one in ran.phases.items()}
    assert len(set(ids.values())) == len(tiny_task.PHASES)


def test_general_distillation_reads_the_teacher_before_fine_tuning(ran):
    assert same(ran.general.guide, part(ran.pretrain.end, "encoder"))
    assert differ(ran.general.guide, part(ran.finetune.end, "encoder"))


def test_fine_tuning_starts_from_the_pretrained_encoder(ran):
    assert same(part(ran.finetune.start, "encoder"), part(ran.pretrain.end, "encoder"))
    assert same(ran.finetune.start, ran.finetune.trained)


def test_task_distillation_reads_the_fine_tuned_teacher(ran):
    assert same(ran.intermediate.guide, part(ran.finetune.end, "encoder"))
    assert_answered_by(ran.folder / "teacher", ran.prediction)


def assert_answered_by(folder, one):
    """Whether the phase's batches bring the answers of the model in a folder."""
    model = from_pretrained(folder, SequenceClassifier)
    assert one.guide is None
    for batch in one.batches:
        output, _ = model.forward(batch.ids, batch.keep, batch.segments)
        np.testing.assert_allclose(batch.teacher_logits, output.logits, rtol=1e-5, atol=1e-6)


def test_the_student_carries_over_from_phase_to_phase(ran):
    assert same(ran.intermediate.start, ran.general.end)
    assert same(part(ran.prediction.start, "encoder"), ran.intermediate.end)
    assert differ(ran.general.start, ran.general.end)
    assert differ(ran.intermediate.start, ran.intermediate.end)
    assert differ(ran.prediction.start, ran.prediction.end)


def test_the_projections_carry_over_and_are_dropped_at_last(ran):
    first, second = (
        [part(trained, "projection") for trained in (p.trained, p.trained_end)]
        for p in (ran.general, ran.intermediate)
    )
    assert set(first[0]) == {"embedding.w", "hidden.w"}
    assert differ(first[0], first[1])
    assert same(second[0], first[1])
    assert differ(second[0], second[1])
    assert not part(ran.prediction.trained, "projection")


def test_the_intermediate_phases_train_the_encoder_and_the_last_one_all(ran):
    for one in (ran.general, ran.intermediate):
        assert set(part(one.trained, "student")) == set(one.start)
        assert not [name for name in one.trained if "pooler" in name or "classifier" in name]
    assert set(part(ran.prediction.trained, "student")) == set(ran.prediction.start)
    assert {"pooler.w", "classifier.w"} <= set(ran.prediction.start)


def test_a_teacher_never_moves(ran):
    for one in (ran.general, ran.intermediate):
        assert same(one.guide, one.guide_end)
    assert same(from_pretrained(ran.folder / "teacher").params, ran.finetune.end)


def test_the_next_phase_reads_what_is_in_the_folder(ran):
    for name, phase, kind in (
        ("phases/pretrain", "pretrain", MaskedLM),
        ("phases/general", "general", Encoder),
        ("teacher", "finetune", SequenceClassifier),
        ("phases/intermediate", "intermediate", Encoder),
        ("student", "prediction", SequenceClassifier),
    ):
        assert same(from_pretrained(ran.folder / name, kind).params, ran.phases[phase].end)


def test_scratch_owes_the_student_nothing(ran):
    runs = [one for name, one in ran.phases.items() if name.startswith("scratch")]
    assert len({one.phase.learning_rate for one in runs}) == 3
    taught = part(ran.prediction.end, "encoder")
    for one in runs:
        assert same(one.start, runs[0].start)
        for other in (ran.general.start, ran.general.end, ran.intermediate.end, taught):
            assert differ(part(one.start, "encoder"), other)
        assert {p.shape for p in one.start.values()} == {
            p.shape for p in ran.prediction.start.values()
        }
    kept = from_pretrained(ran.folder / "scratch", SequenceClassifier).params
    assert [same(kept, one.end) for one in runs].count(True) == 1


def test_general_distillation_has_no_labels_and_the_tasks_has_copies(ran):
    assert all(batch.labels is None for batch in ran.general.batches)
    seen = {row.tobytes() for b in ran.finetune.batches for row in trimmed(b)}
    more = {row.tobytes() for b in ran.intermediate.batches for row in trimmed(b)}
    assert more - seen
    assert (ran.folder / "augmented.jsonl").read_text().count("\n") > 10


def trimmed(batch):
    return [ids[keep] for ids, keep in zip(batch.ids, batch.keep, strict=True)]


def test_masked_language_modelling_hides_words(ran):
    labels = np.concatenate([b.labels.ravel() for b in ran.pretrain.batches])
    assert 0.02 < np.mean(labels != -100) < 0.3


def test_who_is_evaluated(ran):
    told = {name for name, one in ran.phases.items() if one.evaluated}
    assert told == {"finetune", "prediction", *(n for n in ran.phases if n.startswith("scratch"))}


def test_by_default_scratch_makes_as_many_updates_as_the_student_in_all(tmp_path):
    steps = {p: 2 + i for i, p in enumerate(tiny_task.PHASES) if p != "scratch"}
    phases = {}
    task = tiny_task.write_task(tmp_path / "task")
    changes = {"steps": steps, "rates": {"scratch": 0.002}, "copies": 0}
    distil(tmp_path / "run", task, phases, **changes)
    expected = steps["general"] + steps["intermediate"] + steps["prediction"]
    assert phases["scratch-0.002"].phase.steps == expected
    assert [n for n in phases if n.startswith("scratch")] == ["scratch-0.002"]


def test_given_teachers_are_read_and_not_trained(ran, tmp_path):
    phases = {}
    task = tiny_task.write_task(tmp_path / "task")
    general = ran.folder / "phases" / "pretrain"
    before = tiny_task.contents(ran.folder)
    distil(
        tmp_path / "run",
        task,
        phases,
        teacher=str(ran.folder / "teacher"),
        general_teacher=str(general),
    )
    assert "pretrain" not in phases
    assert "finetune" not in phases
    assert same(phases["general"].guide, part(ran.pretrain.end, "encoder"))
    assert_answered_by(ran.folder / "teacher", phases["prediction"])
    # The same weights, data and seeds: the same student as where the teacher was trained.
    assert same(phases["prediction"].end, ran.prediction.end)
    assert tiny_task.contents(ran.folder) == before


def test_a_pretrained_teacher_is_fine_tuned(ran, tmp_path):
    phases = {}
    task = tiny_task.write_task(tmp_path / "task")
    teacher = str(ran.folder / "phases" / "pretrain")
    # A checkpoint is fine-tuned at a smaller rate by default, as if it came from much text.
    distil(tmp_path / "run", task, phases, teacher=teacher, rates={"finetune": 5e-4})
    assert "pretrain" not in phases
    assert same(phases["finetune"].end, ran.finetune.end)
    assert same(phases["prediction"].end, ran.prediction.end)


def test_two_runs_are_equal_and_another_seed_is_another_run(ran, tmp_path):
    task = tiny_task.write_task(tmp_path / "task")
    again, other = {}, {}
    distil(tmp_path / "again", task, again)
    distil(tmp_path / "other", task, other, seed=1)
    for name, one in ran.phases.items():
        assert same(one.end, again[name].end)
        assert differ(one.end, other[name].end)
    assert (tmp_path / "again" / "metrics.jsonl").read_bytes() == (
        ran.folder / "metrics.jsonl"
    ).read_bytes()


def test_heads_may_differ_where_scores_are_not_compared(tmp_path):
    phases = {}
    task = tiny_task.write_task(tmp_path / "task")
    changes = {"student": "1x8x4", "weights": {"attention": 0.0}, "copies": 0}
    distil(tmp_path / "run", task, phases, **changes)
    assert "prediction" in phases
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert '"hidden"' in metrics
    assert '"attention"' not in metrics


def test_without_projections(tmp_path):
    phases = {}
    task = tiny_task.write_task(tmp_path / "task")
    weights = {"embedding": 0.0, "hidden": 0.0, "hard_label": 0.5}
    distil(tmp_path / "run", task, phases, weights=weights, copies=0)
    assert not part(phases["intermediate"].trained, "projection")
    assert '"hard_label"' in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_phases_left_out_by_0_steps(ran, tmp_path):
    phases = {}
    task = tiny_task.write_task(tmp_path / "task")
    steps = tiny_task.SETTINGS["steps"] | {"general": 0, "intermediate": 0}
    distil(tmp_path / "run", task, phases, steps=steps)
    assert "general" not in phases
    assert phases["intermediate"].batches == []
    assert same(phases["intermediate"].start, phases["intermediate"].end)
    assert same(phases["intermediate"].start, ran.general.start)
    assert same(part(phases["prediction"].start, "encoder"), ran.general.start)
    assert same(phases["finetune"].end, ran.finetune.end)


def test_the_mapping_of_the_settings_is_used(tmp_path):
    ends = []
    task = tiny_task.write_task(tmp_path / "task")
    for mapping in (None, "top", "bottom"):
        phases = {}
        distil(tmp_path / f"{mapping}", task, phases, mapping=mapping, copies=0)
        ends.append(phases["general"].end)
    # A student of one layer learns from the last one in both "uniform", the default, and "top".
    assert same(ends[0], ends[1])
    assert differ(ends[0], ends[2])

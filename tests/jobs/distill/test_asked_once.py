"""The teacher is asked once for what it thinks of a sentence, and never where that would not do."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_task
import toy_distillation as toy
from safetensors.numpy import load_file
from test_resume import without_comparison

from npformer.checks import InputError
from npformer.data.batches import Encoded, collate
from npformer.data.glue import load_folder
from npformer.data.tokenizer import encode_examples, load_tokenizer, special_ids
from npformer.distill.recipes import RECIPES
from npformer.distill.terms import LogitMseTerm
from npformer.jobs.distill import student, teacher_logits, tinybert
from npformer.jobs.distill.settings import Settings
from npformer.models import ModelOutput, SequenceClassifier
from npformer.models.huggingface import from_pretrained
from npformer.train.run import Run

CORRECTED = RECIPES["corrected"]
COUNTS = toy.ragged_batch().counts


def with_answers(objective, batch):
    inputs = batch.ids, batch.keep, batch.segments
    return batch._replace(teacher_logits=objective.teacher.forward(*inputs)[0].logits)


@pytest.mark.parametrize("weights", [None, {"hard_label": 0.7}])
def test_answers_give_the_loss_and_gradients_of_the_teacher_itself(weights):
    asked, _ = toy.objective(CORRECTED, "prediction", weights=weights)
    batch = toy.ragged_batch()
    told = replace(asked, teacher=None)
    one = asked(batch, COUNTS, np.random.default_rng(5))
    two = told(with_answers(asked, batch), COUNTS, np.random.default_rng(5))
    assert one.values == two.values
    assert one.grads.keys() == two.grads.keys()
    for name, g in one.grads.items():
        np.testing.assert_array_equal(g, two.grads[name])
    other = told(batch._replace(teacher_logits=np.ones((len(batch.ids), 4))), COUNTS, None)
    assert other.values["prediction"] != pytest.approx(one.values["prediction"])


def test_answers_come_from_one_side():
    asked, _ = toy.objective(CORRECTED, "prediction")
    batch = toy.ragged_batch()
    with pytest.raises(InputError, match="batch: got answers beside a teacher, expected"):
        asked(with_answers(asked, batch), COUNTS, None)
    with pytest.raises(InputError, match="batch: got no teacher's answers, expected"):
        replace(asked, teacher=None)(batch, COUNTS, None)


@pytest.mark.parametrize("weights", [{"prediction": 0.0, "hard_label": 0.7}, {"hard_label": 0.7}])
def test_a_teacher_that_no_term_looks_at_is_not_run(weights):
    """Of hard labels alone: the same student at a fraction of the time."""
    asked, _ = toy.objective(CORRECTED, "prediction", weights=weights)
    runs = []

    class Counted:
        def __init__(self, model):
            self.params, self.backward = model.params, model.backward
            self.model = model

        def forward(self, *inputs, **options):
            runs.append(len(inputs))
            return self.model.forward(*inputs, **options)

    step = replace(asked, teacher=Counted(asked.teacher))(toy.ragged_batch(), COUNTS, None)
    assert len(runs) == ("prediction" in asked.terms)
    assert step.values["hard_label"] > 0
    for target in ("teacher", "label"):
        assert LogitMseTerm(target=target).needs_teacher == (target == "teacher")


def test_each_sentence_keeps_its_answers():
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 9, n) for n in (4, 2, 5, 3)]
    logits = rng.standard_normal((4, 3))
    encoded = Encoded(ids, ids, teacher_logits=logits)
    batch = collate(encoded, [2, 0, 3], 0)
    np.testing.assert_array_equal(batch.teacher_logits, logits[[2, 0, 3]])
    first, second = batch.split(2)
    np.testing.assert_array_equal(
        np.concatenate([first.teacher_logits, second.teacher_logits]), batch.teacher_logits
    )
    assert len(first.teacher_logits) == len(first.ids)
    assert collate(Encoded(ids, ids), [1], 0).teacher_logits is None


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return tiny_task.write_task(tmp_path_factory.mktemp("data") / "task")


def go(folder, task, monkeypatch, **changes):
    """Run; return how often the teacher was asked by an objective, who answered and what."""
    without_comparison(monkeypatch)
    asked = Settings.of(
        {
            **tiny_task.SETTINGS,
            "data": str(task),
            "baselines": ["soft"],
            "rates": {"soft": 1e-3},
            "steps": {**tiny_task.SETTINGS["steps"], "soft": 8},
            **changes,
        }
    )
    live, said, real = [], [], student.DistillObjective

    def objective(model, teacher, terms, dropout):
        if "prediction" in terms or "hard_label" in terms:
            live.append(teacher)
        return real(model, teacher, terms, dropout)

    monkeypatch.setattr(student, "DistillObjective", objective)
    run = Run.resume(folder) if folder.exists() else Run.create(folder, asked.to_dict())
    try:
        tinybert.distil(run, asked, said.append)
    finally:
        run.log.close()
    said = [line for line in said if line.startswith("answer:")]
    return SimpleNamespace(live=[t is not None for t in live], said=said)


def test_once_for_the_student_and_the_baseline(task, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    seen = go(folder, task, monkeypatch, copies=1)
    assert seen.live == [False, False]
    (line,) = seen.said
    logits = load_file(folder / teacher_logits.FILE)["logits"]
    assert line == f"answer: the teacher's predictions of {len(logits)} sentences"
    # In the order of the texts: the labelled ones come first.
    tokenizer = load_tokenizer(folder / "teacher")
    train, _ = encode_examples(tokenizer, load_folder(task).train.first, None, max_len=16)
    teacher = from_pretrained(folder / "teacher", SequenceClassifier)
    for i in (0, 7, 3):
        batch = collate(train, [i], special_ids(tokenizer).pad)
        output: ModelOutput = teacher.forward(batch.ids, batch.keep, batch.segments)[0]
        np.testing.assert_allclose(logits[i], output.logits[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"copies": 20},  # more sentences than the updates come round to
        {"recipe": "released"},
        {"weights": {"prediction": 0.0, "hard_label": 1.0}},
    ],
    ids=["few updates", "dropout", "labels alone"],
)
def test_asked_on_the_way_where_that_is_cheaper_or_another_answer(
    changes, task, tmp_path, monkeypatch
):
    seen = go(tmp_path / "run", task, monkeypatch, **changes)
    assert seen.live == [True, True]
    assert seen.said == []
    assert not (tmp_path / "run" / teacher_logits.FILE).exists()

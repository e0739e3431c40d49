"""The fair baselines: the student's architecture without the teacher, or without its layers."""

from dataclasses import replace

from npformer.data.batches import Encoded
from npformer.jobs.distill.job import INIT, Job
from npformer.jobs.distill.settings import SCRATCH_RATES
from npformer.jobs.distill.student import distil_predictions, new_student
from npformer.jobs.distill.teacher import Pretrained, encoder_of
from npformer.jobs.distill.teacher_logits import with_teacher_logits
from npformer.models.config import EncoderConfig
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface import from_pretrained
from npformer.train.objective import SupervisedObjective
from npformer.train.phase import run_phase


def student_updates(job: Job) -> int:
    """Return how many updates the student made in all its phases together."""
    phases = [job.run.finished(name) for name in ("general", "intermediate", "prediction")]
    return sum(int(phase["steps"]) for phase in phases if phase is not None)


def scratch(job: Job, student: EncoderConfig) -> SequenceClassifier:
    """Train the student's architecture on the labels alone, from drawn weights.

    The same labelled examples, as many updates as the student had in all its phases together,
    and the best of several learning rates, chosen on dev: that favours the baseline.
    """
    if job.run.finished("scratch") is None:
        steps = job.settings.steps.get("scratch") or student_updates(job)
        given = job.settings.rates.get("scratch")
        rates = SCRATCH_RATES[job.settings.kind] if given is None else (given,)
        job.say(
            f"scratch: the student's size on {len(job.train):,} labelled examples, "
            f"{steps:,} steps at each of {len(rates)} learning rates"
        )
        scores = [_scratch_at(job, student, rate, steps) for rate in rates]
        best = rates[scores.index(max(scores))]
        model = from_pretrained(job.folder(f"scratch-{best:g}"), SequenceClassifier)
        info = {"learning_rate": best, "steps": steps}
        job.run.finish("scratch", info, lambda: job.save(model, "scratch"))
    return from_pretrained(job.folder("scratch"), SequenceClassifier)


def soft(
    job: Job, pretrained: Pretrained, teacher: SequenceClassifier, texts: Encoded
) -> SequenceClassifier:
    """Train a student on the teacher's predictions alone, as Hinton et al. did.

    A student that starts as the other one did, its tables included; the same augmented texts, and
    as many updates as that one had in all its phases together. What it lacks is the teacher's
    layers.
    """
    if job.run.finished("soft") is None:
        steps = job.settings.steps.get("soft") or student_updates(job)
        texts = with_teacher_logits(job, teacher, texts, steps)
        job.say(f"soft: predictions alone on {len(texts):,} sentences, {steps:,} steps")
        student = new_student(job, encoder_of(pretrained), job.rng("general", INIT))
        rate = job.settings.rates.get("soft") or job.settings.rate_of("prediction")
        phase = replace(job.phase("soft", steps), learning_rate=rate)
        model, info = distil_predictions(job, phase, student, teacher, texts)
        job.run.finish("soft", info, lambda: job.save(model, "soft"))
    return from_pretrained(job.folder("soft"), SequenceClassifier)


def _scratch_at(job: Job, student: EncoderConfig, rate: float, steps: int) -> float:
    name = f"scratch-{rate:g}"
    if job.run.finished(name) is None:
        config = job.classifier_config(student)
        model = SequenceClassifier.init(config, job.rng("scratch", INIT))
        with run_phase(
            job.run,
            replace(job.phase("scratch", steps, name=name), learning_rate=rate),
            model.params,
            SupervisedObjective(model),
            job.batches("scratch", job.train, steps),
            job.evaluator(model),
        ) as progress:
            for update in progress.updates:
                progress.record(update)
        info = progress.info
        job.run.finish(name, info, lambda: job.save(model, name))
    info = job.run.finished(name) or {}
    return float(info[job.primary])

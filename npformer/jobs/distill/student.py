"""The student's phases: general distillation, then the task's two.

Weights carry over: the student's from each phase to the next, the projections from the first to
the second. The third needs no projection; they are dropped.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Batch, Encoded
from npformer.distill.build import build_terms, init_projections
from npformer.distill.objective import DistillObjective, joint_params, trainable
from npformer.jobs.distill.job import INIT, MASK, Job
from npformer.jobs.distill.tables import check_width, initial_tables
from npformer.jobs.distill.teacher import Given, Pretrained, encoder_of, teacher_configs
from npformer.jobs.distill.teacher_logits import with_teacher_logits
from npformer.jobs.finetune.start import check_pairs
from npformer.layers.init import initializer_range
from npformer.models.config import EncoderConfig, size
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface import from_pretrained
from npformer.train.job import masked
from npformer.train.phase import Phase, run_phase
from npformer.types import Params


def student_config(job: Job, teacher: EncoderConfig) -> EncoderConfig:
    """Return the student's configuration: the teacher's vocabulary and, by default, heads."""
    settings = job.settings
    sizes = size(settings.student, heads=teacher.num_heads)
    # A student with a factorised table is an ALBERT, which has segments if its teacher has none.
    segments = teacher.num_segments or (0 if settings.embedding_size is None else 2)
    return EncoderConfig(
        vocab_size=teacher.vocab_size,
        embedding_size=settings.embedding_size,
        max_len=teacher.max_len,
        num_segments=segments,
        layer_norm_eps=teacher.layer_norm_eps,
        dropout=settings.dropout,
        attention_dropout=settings.dropout,
        **sizes,
        activation=settings.activation,
        initializer_range=initializer_range(sizes["d_model"]),
    )


def check_fit(job: Job, given: Given) -> None:
    """Refuse what would fail in one of the phases, before anything is trained.

    Raises
    ------
    InputError
        If the depths, widths or numbers of heads of student and teacher do not fit, if a given
        teacher does not fit the tokenizer or the other one, if a phase is left without a term, or
        if the data do not make one batch.
    """
    before, after = teacher_configs(job, given)
    _check_given(job, before, after)
    student = student_config(job, before)
    if job.settings.init_table == "pca":
        check_width(student.table_width, before.table_width)
    weights, classifier = job.settings.weights, job.classifier_config(student)
    projections = init_projections(
        job.recipe, student, before, job.rng("general", INIT), weights=weights
    )
    for phase, config, teacher in (
        ("general", student, before),
        ("intermediate", student, after),
        ("prediction", classifier, after),
    ):
        if not build_terms(job.recipe, phase, config, teacher, projections, weights=weights):
            raise InputError(
                f"--weight: got {weights}, expected a term above 0 for the {phase} phase"
            )
    if weights.get("hard_label") and job.task.kind == "regression":
        raise InputError("--weight: got hard_label for a regression, expected it for classes only")
    for phase, texts in (("general", job.unlabelled), ("finetune", job.train)):
        job.steps(phase, len(texts))


def _check_given(job: Job, before: EncoderConfig, after: EncoderConfig) -> None:
    for name in ("vocab_size", "max_len", "num_segments", "d_model"):
        if getattr(before, name) != getattr(after, name):
            raise InputError(
                f"--general-teacher: got {name} {getattr(before, name)}, "
                f"expected {getattr(after, name)}, that of --teacher"
            )
    last = max(job.tokenizer.get_vocab().values())
    if last >= before.vocab_size:
        raise InputError(
            f"--teacher: got a tokenizer with a piece of id {last}, expected ids below "
            f"{before.vocab_size}, those that the model knows"
        )
    if job.settings.max_len > before.max_len:
        raise InputError(
            f"--max-len: got {job.settings.max_len}, expected at most the teacher's "
            f"{before.max_len}"
        )
    if job.task.train.second is not None:
        check_pairs(before, job.tokenizer, source="--teacher")


def general(job: Job, pretrained: Pretrained) -> Encoder:
    """Distil the *pretrained* teacher's intermediate layers into a new student, on plain text.

    With 0 steps the student and its projections are made and nothing is trained.
    """
    if job.run.finished("general") is None:
        teacher = encoder_of(pretrained)
        recipe, rng = job.recipe, job.rng("general", INIT)
        student = new_student(job, teacher, rng)
        projections = init_projections(
            recipe, student.config, teacher.config, rng, weights=job.settings.weights
        )
        steps = job.steps("general", len(job.unlabelled))
        stream = job.batches("general", job.unlabelled, steps)

        def batches(start: int) -> Iterator[Batch]:
            for step, batch in enumerate(stream(start), start=start):
                if recipe.mlm_at_least_one:
                    seed = (*job.seed("general", MASK), step)
                    batch = masked(batch, job.tokenizer, seed, p_mask=0.0, at_least_one=True)
                yield batch._replace(labels=None)

        info: dict[str, float] = {"steps": 0}
        if steps:
            texts = len(job.unlabelled)
            job.say(f"general: intermediate layers on {texts:,} texts, {steps:,} steps")
            info = _distil_layers(job, "general", student, teacher, projections, steps, batches)
        else:
            job.say("general: none")
        job.run.finish("general", info, lambda: job.save(student, "general", projections))
    return from_pretrained(job.folder("general"), Encoder)


def new_student(job: Job, teacher: Encoder, rng: np.random.Generator) -> Encoder:
    """Draw a student; its tables may come from the teacher's (``--init-table``)."""
    student = Encoder.init(student_config(job, teacher.config), rng)
    tables = initial_tables(job.settings.init_table, student.params, teacher.params)
    return replace(student, params=student.params | tables)


def intermediate(
    job: Job, student: Encoder, teacher: SequenceClassifier, texts: Encoded
) -> Encoder:
    """Distil the *fine-tuned* teacher's intermediate layers, on the task's augmented text."""
    if job.run.finished("intermediate") is None:
        projections = job.projections("general")
        steps = job.steps("intermediate", len(texts))
        job.say(f"intermediate: {len(texts):,} sentences of the task, {steps:,} steps")
        info = _distil_layers(
            job,
            "intermediate",
            student,
            teacher.encoder,
            projections,
            steps,
            job.batches("intermediate", texts, steps),
        )
        job.run.finish("intermediate", info, lambda: job.save(student, "intermediate"))
    return from_pretrained(job.folder("intermediate"), Encoder)


def prediction(
    job: Job, student: Encoder, teacher: SequenceClassifier, texts: Encoded
) -> SequenceClassifier:
    """Distil the fine-tuned teacher's predictions, on the task's augmented text."""
    if job.run.finished("prediction") is None:
        steps = job.steps("prediction", len(texts))
        texts = with_teacher_logits(job, teacher, texts, steps)
        job.say(f"prediction: {len(texts):,} sentences of the task, {steps:,} steps")
        model, info = distil_predictions(
            job, job.phase("prediction", steps), student, teacher, texts
        )
        job.run.finish("prediction", info, lambda: job.save(model, "student"))
    return from_pretrained(job.folder("student"), SequenceClassifier)


def distil_predictions(
    job: Job, phase: Phase, student: Encoder, teacher: SequenceClassifier, texts: Encoded
) -> tuple[SequenceClassifier, dict[str, float]]:
    """Put a classifier on a student and train both on the teacher's predictions.

    The teacher runs on the way if ``texts`` do not bring its answers.
    """
    config = job.classifier_config(student.config)
    model = SequenceClassifier.on(config, student.params, job.rng(phase.name, INIT))
    terms = build_terms(
        job.recipe, "prediction", config, teacher.config, {}, weights=job.settings.weights
    )
    asked = teacher if texts.teacher_logits is None else None
    objective = DistillObjective(model, asked, terms, job.recipe.teacher_dropout)
    joint = joint_params(model.params, {})
    with run_phase(
        job.run,
        phase,
        {name: joint[name] for name in trainable(joint, "prediction")},
        objective,
        job.batches(phase.name, texts, phase.steps),
        job.evaluator(model),
    ) as progress:
        for update in progress.updates:
            progress.record(update)
    info = progress.info
    return model, info


def _distil_layers(
    job: Job,
    phase: str,
    student: Encoder,
    teacher: Encoder,
    projections: Params,
    steps: int,
    batches: Callable[[int], Iterable[Batch]],
) -> dict[str, float]:
    terms = build_terms(
        job.recipe,
        phase,
        student.config,
        teacher.config,
        projections,
        weights=job.settings.weights,
    )
    objective = DistillObjective(student, teacher, terms, job.recipe.teacher_dropout)
    joint = joint_params(student.params, projections)
    params = {name: joint[name] for name in trainable(joint, phase)}
    with run_phase(job.run, job.phase(phase, steps), params, objective, batches) as progress:
        for update in progress.updates:
            progress.record(update)
    return progress.info

"""The teacher's phases: masked-LM pretraining and fine-tuning."""

from collections.abc import Iterator

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Batch
from npformer.data.masking import mask_tokens
from npformer.distill.job import INIT, MASK, Job
from npformer.models.config import EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import MaskedLM, SequenceClassifier
from npformer.models.huggingface import load_pretrained
from npformer.train.objective import MaskedLMObjective, SupervisedObjective
from npformer.train.phase import run_phase

Pretrained = MaskedLM | Encoder


def pretrained_teacher(job: Job) -> Pretrained:
    """Return the weights before fine-tuning, from which general distillation learns.

    Raises
    ------
    InputError
        If only a fine-tuned teacher was given.
    """
    settings = job.settings
    given = settings.general_teacher or settings.teacher_folder
    if given is None:
        return pretrain(job)
    model = load_pretrained(given)
    if isinstance(model, MaskedLM | Encoder):
        return model
    if settings.general_teacher is None:
        raise InputError(
            f"--teacher: got {given}, a fine-tuned model, expected --general-teacher DIR beside "
            "it: general distillation learns from the weights before fine-tuning"
        )
    return model.encoder


def teacher_config(job: Job) -> EncoderConfig:
    """Return the configuration of the teacher, also of one that is still to be trained."""
    given = job.settings.general_teacher or job.settings.teacher_folder
    if given is not None:
        return load_pretrained(given).config
    return job.settings.encoder_config(job.settings.teacher, job.tokenizer.get_vocab_size())


def pretrain(job: Job) -> MaskedLM:
    """Train a teacher on the unlabelled text: masked words, 15 %, 80-10-10."""
    if job.run.finished("pretrain") is None:
        model = MaskedLM.init(teacher_config(job), job.rng("pretrain", INIT))
        steps = job.steps("pretrain", len(job.unlabelled))
        stream = job.batches("pretrain", job.unlabelled, steps)

        def batches(start: int) -> Iterator[Batch]:
            for step, batch in enumerate(stream(start), start=start):
                yield masked(job, "pretrain", batch, step)

        job.say(f"pretrain: masked LM on {len(job.unlabelled):,} texts, {steps:,} steps")
        info = run_phase(
            job.run,
            job.phase("pretrain", steps),
            model.params,
            MaskedLMObjective(model),
            batches,
        )
        job.run.finish("pretrain", info, lambda: job.keep(model, "pretrain"))
    return load_pretrained(job.folder("pretrain"), MaskedLM)


def finetune(job: Job, pretrained: Pretrained) -> SequenceClassifier:
    """Train the pretrained weights and a new classifier on the labelled examples."""
    given = job.settings.teacher_folder
    if given is not None:
        model = load_pretrained(given)
        if isinstance(model, SequenceClassifier):
            check_teacher(job, model)
            return model
    if job.run.finished("finetune") is None:
        encoder = pretrained if isinstance(pretrained, Encoder) else pretrained.encoder
        config = job.classifier_config(encoder.config)
        model = SequenceClassifier.on(config, encoder.params, job.rng("finetune", INIT))
        steps = job.steps("finetune", len(job.train))
        job.say(f"finetune: teacher on {len(job.train):,} labelled examples, {steps:,} steps")
        info = run_phase(
            job.run,
            job.phase("finetune", steps),
            model.params,
            SupervisedObjective(model),
            job.batches("finetune", job.train, steps),
            job.evaluator(model),
        )
        job.run.finish("finetune", info, lambda: job.keep(model, "teacher"))
    return load_pretrained(job.folder("teacher"), SequenceClassifier)


def check_teacher(job: Job, model: SequenceClassifier) -> None:
    """Refuse a given teacher that does not know the task."""
    classes = 1 if job.task.kind == "regression" else len(job.task.label_names)
    if (model.config.problem, model.config.num_classes) != (job.task.kind, classes):
        raise InputError(
            f"--teacher: got a {model.config.problem} model of {model.config.num_classes} "
            f"outputs, expected {job.task.kind} with {classes}"
        )


def masked(
    job: Job, phase: str, batch: Batch, step: int, *, p_mask: float = 0.15, least: bool = False
) -> Batch:
    """Hide words of a batch; which ones depends on the seed, the phase and the step alone."""
    ids, labels = mask_tokens(
        batch.ids,
        batch.keep,
        job.special,
        np.random.default_rng([*job.seed(phase, MASK), step]),
        vocab_size=job.tokenizer.get_vocab_size(),
        p_mask=p_mask,
        at_least_one=least,
    )
    return batch._replace(ids=ids, labels=labels)

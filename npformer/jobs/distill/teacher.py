"""The teacher's phases: masked-LM pretraining and fine-tuning."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, article
from npformer.data.batches import Batch
from npformer.data.tokenizer import is_byte_level, load_tokenizer
from npformer.jobs.distill.job import INIT, MASK, Job, find_given
from npformer.jobs.distill.settings import AUGMENTERS
from npformer.jobs.finetune.start import check_classifier, check_pairs
from npformer.models.config import EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface import from_pretrained, load_labels, read_pooler
from npformer.models.huggingface.family import Model
from npformer.models.masked_lm import MaskedLM
from npformer.train.job import masked
from npformer.train.objective import MaskedLMObjective, SupervisedObjective
from npformer.train.phase import run_phase

Pretrained = MaskedLM | Encoder


# A teacher that is not this much better than a constant answer has nothing to teach.
AT_CHANCE = 0.05


class Given(NamedTuple):
    """The models that are there already; None is still to be trained, or not asked for."""

    pretrained: Pretrained | None
    finetuned: SequenceClassifier | None
    augmenter: MaskedLM | None


def given_models(job: Job) -> Given:
    """Read the models of ``--teacher``, ``--general-teacher`` and ``--augmenter``.

    Raises
    ------
    InputError
        If the weights before fine-tuning, from which general distillation learns, are not among
        them, if they do not know the task, or if they read other pieces than the teacher.
    """
    return Given(*_given_teachers(job), _given_augmenter(job))


def _given_teachers(job: Job) -> tuple[Pretrained | None, SequenceClassifier | None]:
    first, general = job.teacher_folder, job.settings.general_teacher
    if first is None:
        if general is not None:
            raise InputError(
                f"--teacher: got the size {job.settings.teacher} beside --general-teacher, "
                "expected the folder of a fine-tuned model"
            )
        return None, None
    model = from_pretrained(first)
    if isinstance(model, MaskedLM | Encoder):
        if general is not None:
            raise InputError(
                f"--general-teacher: got {general} beside a pretrained --teacher, expected it "
                "beside a fine-tuned one only"
            )
        return model, None
    finetuned = from_pretrained(first, SequenceClassifier)
    check_classifier(finetuned, load_labels(first), job.task, source="--teacher")
    if general is None:
        if job.settings.skips_general:
            return finetuned.encoder, finetuned  # read for its sizes and its word table
        raise InputError(
            f"--teacher: got {first}, a fine-tuned model, expected --general-teacher DIR beside "
            "it: general distillation learns from the weights before fine-tuning (or leave that "
            "phase out: --epochs general=0)"
        )
    pretrained = _read_like_the_teacher(job, "general-teacher", general)
    if not isinstance(pretrained, MaskedLM | Encoder):
        raise InputError(
            f"--general-teacher: got {general}, a fine-tuned model, expected the weights before "
            "fine-tuning"
        )
    return pretrained, finetuned


def _given_augmenter(job: Job) -> MaskedLM | None:
    name = job.settings.augmenter
    if name not in ("neighbours", "none") and is_byte_level(job.tokenizer):
        raise InputError(
            f"--augmenter: got {name}, expected neighbours or none beside a teacher of byte-level "
            "BPE: a masked LM is asked about words of WordPiece"
        )
    if name in AUGMENTERS:
        return None
    model = _read_like_the_teacher(job, "augmenter", name)
    if not isinstance(model, MaskedLM):
        raise InputError(
            f"--augmenter: got {name}, {article(type(model).__name__)}, expected a masked LM, or "
            f"one of {', '.join(AUGMENTERS)}"
        )
    if job.task.train.second is not None:
        check_pairs(model.config, job.tokenizer, source="--augmenter")
    if job.settings.max_len > model.config.max_len:
        raise InputError(
            f"--max-len: got {job.settings.max_len}, expected at most the augmenter's "
            f"{model.config.max_len}"
        )
    return model


def _read_like_the_teacher(job: Job, option: str, name: str) -> Model:
    """Read a model that gets the teacher's ids, once it is sure that its own would be the same."""
    folder = find_given(option, name)
    theirs, texts = load_tokenizer(folder), job.task.dev.first[:100]
    ours = job.tokenizer
    if theirs.get_vocab() != ours.get_vocab() or any(
        a.ids != b.ids
        for a, b in zip(theirs.encode_batch(texts), ours.encode_batch(texts), strict=True)
    ):
        raise InputError(
            f"--{option}: got {name}, whose tokenizer gives other pieces or numbers than the "
            "teacher's, expected the same one"
        )
    return from_pretrained(folder)


def warn_at_chance(job: Job, scores: Mapping[str, float]) -> None:
    """Say it loudly if a teacher knows no more of the task than what is commonest."""
    chance = constant_score(job)
    if scores[job.primary] <= chance + AT_CHANCE:
        job.say(
            f"WARNING: the teacher's {job.primary} on dev is {scores[job.primary]:.4f}, that of a "
            f"constant answer {chance:.4f}: it has nothing to teach. Fine-tune it first."
        )


def constant_score(job: Job) -> float:
    """Return what the best constant answer scores: no correlation, or dev's commonest class."""
    if job.primary != "accuracy":
        return 0.0
    counts = np.bincount(np.asarray(job.dev.labels, dtype=np.int64))
    return float(counts.max() / counts.sum())


def teacher_configs(job: Job, given: Given) -> tuple[EncoderConfig, EncoderConfig]:
    """Return the configurations before and after fine-tuning, also of what is yet to be trained."""
    if given.pretrained is None:
        size = job.settings.teacher
        before = job.settings.encoder_config(size, job.tokenizer.get_vocab_size())
    else:
        before = given.pretrained.config
    return before, before if given.finetuned is None else given.finetuned.config


def encoder_of(pretrained: Pretrained) -> Encoder:
    """Return the encoder, with or without a head on it."""
    return pretrained if isinstance(pretrained, Encoder) else pretrained.encoder


def pretrain(job: Job) -> MaskedLM:
    """Train a teacher on the unlabelled text: masked words, 15 %, 80-10-10."""
    if job.run.finished("pretrain") is None:
        config, _ = teacher_configs(job, Given(None, None, None))
        model = MaskedLM.init(config, job.rng("pretrain", INIT))
        steps = job.steps("pretrain", len(job.unlabelled))
        stream = job.batches("pretrain", job.unlabelled, steps)

        def batches(start: int) -> Iterator[Batch]:
            for step, batch in enumerate(stream(start), start=start):
                yield masked(batch, job.tokenizer, (*job.seed("pretrain", MASK), step))

        job.say(f"pretrain: masked LM on {len(job.unlabelled):,} texts, {steps:,} steps")
        with run_phase(
            job.run,
            job.phase("pretrain", steps),
            model.params,
            MaskedLMObjective(model),
            batches,
        ) as progress:
            for update in progress.updates:
                progress.record(update)
        info = progress.info
        job.run.finish("pretrain", info, lambda: job.save(model, "pretrain"))
    return from_pretrained(job.folder("pretrain"), MaskedLM)


def finetune(job: Job, pretrained: Pretrained) -> SequenceClassifier:
    """Train the pretrained weights and a new classifier on the labelled examples.

    The pooler of a given model is read if it is there, as in `npformer.jobs.finetune.start`.
    """
    if job.run.finished("finetune") is None:
        encoder = encoder_of(pretrained)
        config = job.classifier_config(encoder.config)
        drawn = SequenceClassifier.on(config, encoder.params, job.rng("finetune", INIT))
        pooler = {} if job.teacher_folder is None else read_pooler(job.teacher_folder)
        model = SequenceClassifier(config, drawn.params | pooler)
        steps = job.steps("finetune", len(job.train))
        job.say(f"finetune: teacher on {len(job.train):,} labelled examples, {steps:,} steps")
        with run_phase(
            job.run,
            job.phase("finetune", steps),
            model.params,
            SupervisedObjective(model),
            job.batches("finetune", job.train, steps),
            job.evaluator(model),
        ) as progress:
            for update in progress.updates:
                progress.record(update)
        info = progress.info
        job.run.finish("finetune", info, lambda: job.save(model, "teacher"))
    return from_pretrained(job.folder("teacher"), SequenceClassifier)

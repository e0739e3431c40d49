"""The job: read or make the pairs, train, measure, draw; it can be left and resumed at any step."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import steps_per_epoch
from npformer.data.conversions import generate_conversions
from npformer.data.pairs import EncodedPairs, Pairs, PairTask, load_pairs, read_pairs
from npformer.data.vocabulary import (
    encode_pairs,
    load_vocabulary,
    sequence_ids,
    train_vocabulary,
    unknown_characters,
)
from npformer.jobs.translate.evaluate import compare, exact_match, translate
from npformer.jobs.translate.settings import Settings
from npformer.models.seq2seq import Seq2Seq
from npformer.models.seq2seq_folder import load_seq2seq, write_seq2seq
from npformer.optim import Adam
from npformer.train.job import save
from npformer.train.objective import TranslationObjective
from npformer.train.phase import Phase, run_phase
from npformer.train.run import Run, write_json, write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Independent streams of random numbers.
INIT, ORDER, DROPOUT = range(1, 4)
# Of dev, for the measurements on the way.
GLIMPSE = 256


@dataclass(frozen=True)
class Job:
    """A run with its data."""

    run: Run
    settings: Settings
    task: PairTask
    tokenizer: "Tokenizer"
    train: EncodedPairs
    say: Callable[[str], None]  # gets one line of what is going on

    @property
    def longest(self) -> int:
        """Tokens a translation may have: a few more than the longest target of train."""
        return min(self.settings.max_len, max(map(len, self.train.targets)) + 10)


def prepare(run: Run, settings: Settings, say: Callable[[str], None]) -> Job:
    """Read or make the pairs, and the vocabulary of both sides of train.

    Raises
    ------
    InputError
        If the data cannot be used.
    """
    if settings.data is None:
        task = generate_conversions(train=settings.pairs, seed=settings.seed)
    else:
        task = load_pairs(settings.data)
    path = run.folder / "tokenizer.json"
    if path.exists():
        tokenizer = load_vocabulary(path)
    else:
        texts = [*task.train.sources, *task.train.targets]
        tokenizer = train_vocabulary(texts, settings.vocab, settings.vocab_size)
        write_text(path, tokenizer.to_str(pretty=True))
    splits = {"dev": task.dev} if task.test is None else {"dev": task.dev, "test": task.test}
    for name, pairs in splits.items():  # before hours of training, not after them
        encode_pairs(tokenizer, pairs, max_len=settings.max_len, name=name)
    train = encode_pairs(tokenizer, task.train, max_len=settings.max_len, name="train")
    return Job(run, settings, task, tokenizer, train, say)


def train_model(job: Job, name: str = "train", targets: EncodedPairs | None = None) -> Seq2Seq:
    """Train a model, or read it if it has been trained; ``name`` is the phase and the folder.

    Parameters
    ----------
    job : Job
    name : str
    targets : EncodedPairs, optional
        Other pairs than those of train, such as a teacher's translations.
    """
    settings = job.settings
    folder = job.run.folder / ("model" if name == "train" else name)
    if job.run.finished(name) is not None:
        return load_seq2seq(folder)
    special = sequence_ids(job.tokenizer)
    config = settings.model_config(job.tokenizer.get_vocab_size())
    model = Seq2Seq.init(config, np.random.default_rng([settings.seed, INIT]))
    pairs = job.train if targets is None else targets
    per_epoch = steps_per_epoch(len(pairs), settings.batch_size)
    steps = settings.steps or max(1, round(settings.epochs * per_epoch))
    parameters = sum(array.size for array in model.params.values())
    job.say(
        f"{name}: {len(pairs):,} pairs, {job.tokenizer.get_vocab_size():,} tokens, "
        f"{parameters:,} parameters, {steps:,} updates"
    )
    some = Pairs(*(side[:GLIMPSE] for side in job.task.dev))

    def evaluate() -> dict[str, float]:
        found = translate(model, job.tokenizer, some.sources, max_new=job.longest)
        return {"exact_match": exact_match(found, some.targets)}

    phase = Phase(
        name,
        steps,
        settings.rate,
        Adam(betas=(0.9, 0.98), eps=1e-9),
        (settings.seed, DROPOUT),
        schedule=settings.schedule_of(steps),
        warmup=settings.warmup,
        shards=settings.shards,
        evaluate_every=max(1, steps // 5),
        checkpoint_every=max(1, min(500, steps // 4)),
    )
    with run_phase(
        job.run,
        phase,
        model.params,
        TranslationObjective(model, special.start, settings.label_smoothing),
        lambda start: pairs.batches(
            settings.batch_size,
            special.pad,
            seed=(settings.seed, ORDER),
            steps=steps,
            start_step=start,
        ),
        evaluate,
    ) as progress:
        for update in progress.updates:
            progress.record(update)
    info = progress.info
    info["parameters"] = parameters

    def write(new: Path) -> None:
        write_seq2seq(model, new)

    job.run.finish(name, info, lambda: save(folder, job.tokenizer, write))
    return model


def measure(job: Job, model: Seq2Seq) -> dict[str, Any]:
    """Return what the model is worth on dev and test."""
    measured: dict[str, Any] = {}
    for name, pairs in (("dev", job.task.dev), ("test", job.task.test)):
        if pairs is not None:
            found = translate(
                model,
                job.tokenizer,
                pairs.sources,
                beams=job.settings.beams,
                max_new=job.longest,
            )
            measured[name] = {"pairs": len(found), **compare(found, pairs.targets)}
    return measured


def train(run: Run, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Train a model on pairs and measure it; ``results.json`` holds what this returns."""
    from npformer.jobs.translate.figures import save_figures

    job = prepare(run, settings, say)
    model = train_model(job)
    info = run.finished("train") or {}
    results = {
        "task": job.task.name,
        "parameters": info["parameters"],
        "steps": info["steps"],
        "seconds": round(info["seconds"], 1),
        **measure(job, model),
    }
    write_json(run.folder / "results.json", results)
    save_figures(job, model)
    return results


def distil(
    run: Run, settings: Settings, teacher: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Distil a translation model into a smaller one, on sequences.

    The teacher translates the training sources with beam search; the student learns these
    translations instead of the right ones. The same student from scratch, on the right ones,
    with as many updates, stands beside it.

    Raises
    ------
    InputError
        If the data cannot be used, or not by the teacher.

    References
    ----------
    Kim and Rush 2016, "Sequence-level knowledge distillation", section 3.2. Deviations: the
    teacher's beam is that of the settings, at least 2 (the paper has 5); no word-level loss is
    added.
    """
    original, tokenizer = load_seq2seq(teacher), load_vocabulary(teacher / "tokenizer.json")
    if settings.max_len > original.config.max_len:
        raise InputError(
            f"max_len: got {settings.max_len}, expected at most the teacher's "
            f"{original.config.max_len}"
        )
    if not (run.folder / "tokenizer.json").exists():
        write_text(run.folder / "tokenizer.json", tokenizer.to_str(pretty=True))
    job = prepare(run, settings, say)
    for source in job.task.train.sources:
        if unknown := unknown_characters(tokenizer, source):
            raise InputError(
                f"data: got a source with {' '.join(unknown)!r}, expected texts of the teacher's "
                f"vocabulary ({source[:40]!r})"
            )
    translated = translate_train(job, original)
    pairs = encode_pairs(tokenizer, translated, max_len=settings.max_len, name="translation")
    student = train_model(job, "student", pairs)
    scratch = train_model(job, "scratch")
    results: dict[str, Any] = {
        "task": job.task.name,
        "teacher_targets": exact_match(translated.targets, job.task.train.targets),
    }
    for name, model in (("teacher", original), ("student", student), ("scratch", scratch)):
        size = sum(array.size for array in model.params.values())
        results[name] = {"parameters": size, **measure(job, model)}
    write_json(run.folder / "results.json", results)
    return results


def translate_train(job: Job, teacher: Seq2Seq) -> Pairs:
    """Return the sources of train with the teacher's translations, made once and then read."""
    path = job.run.folder / "translations.tsv"
    if job.run.finished("translate") is None:
        sources, targets = job.task.train
        job.say(f"translate: the teacher translates {len(sources):,} sources")
        longest = min(job.longest, job.settings.max_len - 1)  # a target has an end besides
        beams = max(job.settings.beams, 2)
        found = translate(teacher, job.tokenizer, sources, beams=beams, max_new=longest)
        # A translation may be empty, which is no text to learn: the right one stands in for it.
        rows = [(a, b.strip() or c) for a, b, c in zip(sources, found, targets, strict=True)]
        text = "".join(f"{a}\t{b}\n" for a, b in [("source", "target"), *rows])
        job.run.finish("translate", {}, lambda: write_text(path, text))
    return read_pairs(path)

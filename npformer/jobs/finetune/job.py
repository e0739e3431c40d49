"""Fine-tuning: a pretrained encoder and a new classifier, trained on a task, all of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Encoded, batch_stream, steps_per_epoch
from npformer.data.glue import Examples, Task, load_folder, take_labelled
from npformer.data.tokenizer import encode_examples, load_tokenizer, special_ids
from npformer.jobs.finetune.figures import save_curves
from npformer.jobs.finetune.settings import Settings
from npformer.jobs.finetune.start import check_pairs, start_classifier
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface import find_model, write_model
from npformer.optim import AdamW
from npformer.train.job import dev_scores, save
from npformer.train.objective import SupervisedObjective
from npformer.train.phase import Phase, run_phase
from npformer.train.run import Run, write_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Independent streams of random numbers.
INIT, ORDER, DROPOUT = range(1, 4)


@dataclass(frozen=True)
class Job:
    """A run with its data, and the model as it begins."""

    run: Run
    settings: Settings
    task: Task
    tokenizer: "Tokenizer"
    train: Encoded
    dev: Encoded
    cut: int  # how many texts were longer than max_len
    model: SequenceClassifier

    @property
    def pad(self) -> int:
        """The id of [PAD]."""
        return special_ids(self.tokenizer).pad

    @property
    def steps(self) -> int:
        """How many updates the training has."""
        per_epoch = steps_per_epoch(len(self.train), self.settings.batch_size)
        return max(1, round(self.settings.epochs * per_epoch))

    def scores(self) -> dict[str, float]:
        """Score the model, as it is now, on dev; the measure that counts comes first."""
        return dev_scores(self.model, self.dev, self.pad, self.task)


def prepare(run: Run, settings: Settings, say: Callable[[str], None]) -> Job:
    """Read the data and the checkpoint.

    Raises
    ------
    InputError
        If they cannot be used, or do not fit what is asked for.
    """
    task = take_labelled(load_folder(settings.data), settings.labelled, settings.seed)
    folder = find_model(settings.model)
    rng = np.random.default_rng([settings.seed, INIT])
    model, origin = start_classifier(folder, task, rng, dropout=settings.dropout)
    if settings.max_len > model.config.max_len:
        raise InputError(
            f"max_len: got {settings.max_len}, expected at most the model's {model.config.max_len}"
        )
    tokenizer = load_tokenizer(folder, vocab_size=model.config.vocab_size)
    if task.train.second is not None:
        check_pairs(model.config, tokenizer, source=str(folder))

    def encode(split: Examples) -> tuple[Encoded, int]:
        texts = split.first, split.second, split.labels
        return encode_examples(tokenizer, *texts, max_len=settings.max_len)

    (train, cut_train), (dev, cut_dev) = encode(task.train), encode(task.dev)
    cut = cut_train + cut_dev
    say(f"{folder}: {origin}")
    say(
        f"{task.name}: {len(train):,} labelled, {len(dev):,} dev"
        + (f"; {cut:,} cut at {settings.max_len} pieces" if cut else "")
    )
    return Job(run, settings, task, tokenizer, train, dev, cut, model)


def finetune(run: Run, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Train a classifier, or go on with one, and save it in the run's ``model``.

    Parameters
    ----------
    run : Run
        New or resumed.
    settings : Settings
    say : callable
        Gets a line of what is going on.

    Returns
    -------
    dict
        What ``results.json`` holds.

    Raises
    ------
    InputError
        If the data, the model or what is asked of them do not fit.
    KeyboardInterrupt
        After Ctrl-C, once the state is saved.

    References
    ----------
    Devlin et al. 2019, "BERT", sections 4.1 and A.3. Deviations: the gradient is clipped and the
    rate warmed up as in its released code; batches are of near-equal length.
    """
    job = prepare(run, settings, say)
    parameters = sum(array.size for array in job.model.params.values())
    if run.finished("finetune") is None:
        say(f"finetune: {parameters:,} parameters, {job.steps:,} updates")
        info, labels = train(job), list(job.task.label_names) or None

        def write(folder: Path) -> None:
            write_model(job.model, folder, labels=labels)

        run.finish("finetune", info, lambda: save(run.folder / "model", job.tokenizer, write))
    info = run.finished("finetune") or {}
    results = {
        "settings": settings.to_dict(),
        "task": job.task.name,
        "measure": job.task.measure,
        "labelled": len(job.train),
        "dev_examples": len(job.dev),
        "cut": job.cut,
        "parameters": parameters,
        **{name: info[name] for name in ("dev", "steps", "seconds")},
    }
    write_json(run.folder / "results.json", results)
    say(f"figure: {save_curves(run.folder, job.task.measure)}")
    return results


def train(job: Job) -> dict[str, Any]:
    """Train the job's model, in place, from the start or from where the run was left.

    Returns
    -------
    dict
        The scores on dev, the updates, the seconds since it was started or resumed.
    """
    settings, steps = job.settings, job.steps
    phase = Phase(
        "finetune",
        steps,
        settings.rate,
        AdamW(),
        (settings.seed, DROPOUT),
        warmup=settings.warmup,
        shards=settings.shards,
        evaluate_every=max(1, steps // 5),
        checkpoint_every=max(1, min(500, steps // 4)),
    )
    with run_phase(
        job.run,
        phase,
        job.model.params,
        SupervisedObjective(job.model),
        lambda start: batch_stream(
            job.train,
            settings.batch_size,
            job.pad,
            seed=(settings.seed, ORDER),
            steps=steps,
            start_step=start,
        ),
        job.scores,
    ) as progress:
        for update in progress.updates:
            progress.record(update)
    info = progress.info
    own = {name: info.pop(name) for name in ("steps", "seconds")}
    return {"dev": info, **own}

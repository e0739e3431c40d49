"""The augmentation phase: more sentences of the task, with a record of every change."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from npformer.data.augment import Augmented, augment
from npformer.data.batches import Batch, Encoded
from npformer.data.glue import select
from npformer.data.neighbours import neighbour_copies
from npformer.data.tokenizer import encode_examples
from npformer.jobs.distill.job import MASK, Job
from npformer.jobs.distill.teacher import Pretrained
from npformer.models.heads import SequenceClassifier
from npformer.models.masked_lm import MaskedLM
from npformer.train.parallel import one_blas_thread
from npformer.train.run import write_bytes, write_text
from npformer.types import FloatArray, IntArray

# Where copies are kept, by who made them.
COPIES = {"neighbours": "augmented.safetensors", "model": "augmented.jsonl"}


class Amount(NamedTuple):
    """How many copies are wanted of which labelled examples."""

    copies: int
    examples: IntArray  # their numbers


def augmented_texts(
    job: Job, pretrained: Pretrained, teacher: SequenceClassifier, given: MaskedLM | None
) -> Encoded:
    """Return the labelled sentences with their augmented copies, encoded.

    Parameters
    ----------
    job : Job
        Its ``augmenter`` says who makes the copies: the masked-LM head of ``pretrained`` or of
        ``given``, or the neighbours in the word table of ``teacher``.
    pretrained, teacher, given
        The teacher before and after fine-tuning; the model of ``--augmenter``.

    Notes
    -----
    Copies by a model are kept in ``augmented.jsonl``: where each came from and which words
    changed; those by neighbours in ``augmented.safetensors``, as ids. Without a masked-LM head, or
    with 0 copies, there are none.
    """
    amounts = amounts_of(job)
    if not amounts:
        job.say("augment: none")
        return job.train
    if job.settings.augmenter == "neighbours":
        return _with_neighbours(job, teacher, amounts)
    model = pretrained if job.settings.augmenter == "teacher" else given
    if not isinstance(model, MaskedLM):
        job.say("augment: none, the teacher has no masked-LM head")
        return job.train
    return _with_guesses(job, model, amounts)


def amounts_of(job: Job) -> list[Amount]:
    """Return what is asked for: copies of all examples, and more of the long ones."""
    settings = job.settings
    copies = settings.copies_of(len(job.train))
    long = np.flatnonzero(job.train.lengths >= settings.long_pieces)
    more = 0 if settings.augmenter == "none" else settings.long_copies
    both = Amount(copies, np.arange(len(job.train))), Amount(more, long)
    return [amount for amount in both if amount.copies and len(amount.examples)]


def _say(job: Job, amounts: list[Amount]) -> None:
    parts = [f"{amount.copies} copies of {len(amount.examples):,} sentences" for amount in amounts]
    job.say(f"augment: up to {' and '.join(parts)}")


def _with_neighbours(job: Job, teacher: SequenceClassifier, amounts: list[Amount]) -> Encoded:
    from safetensors.numpy import load_file, save

    path = job.run.folder / COPIES["neighbours"]
    if job.run.finished("augment") is None:
        _say(job, amounts)
        table = teacher.params["encoder.embeddings.token"]
        rng = job.rng("augment", MASK)
        rows: list[IntArray] = []
        sources: list[IntArray] = []
        for copies, examples in amounts:
            some = Encoded(
                [job.train.ids[i] for i in examples], [job.train.segments[i] for i in examples]
            )
            made, source = neighbour_copies(some, job.tokenizer, table, rng, copies=copies)
            rows += made.ids
            sources.append(examples[source])
        none = np.zeros(0, dtype=np.int64)  # short sentences may all have stayed as they were
        arrays = {"ids": np.concatenate([none, *rows]), "sources": np.concatenate(sources)}
        job.run.finish("augment", {"sentences": len(rows)}, lambda: write_bytes(path, save(arrays)))
    arrays = load_file(path)
    of = arrays["sources"]
    ends = np.cumsum(job.train.lengths[of])  # a copy is as long as its source
    train, labels = job.train, job.train.labels
    return Encoded(
        train.ids + np.split(arrays["ids"], ends)[:-1],
        train.segments + [train.segments[i] for i in of],
        None if labels is None else np.concatenate([labels, labels[of]]),
    )


def _with_guesses(job: Job, model: MaskedLM, amounts: list[Amount]) -> Encoded:
    path = job.run.folder / COPIES["model"]
    if job.run.finished("augment") is None:
        _say(job, amounts)
        augmented = [
            item._replace(source=int(amount.examples[item.source]))
            for stream, amount in enumerate(amounts)
            for item in _augment(job, model, amount, stream)
        ]

        def write() -> None:
            lines = (json.dumps(item._asdict(), ensure_ascii=False) for item in augmented)
            write_text(path, "\n".join(lines) + "\n")

        job.run.finish("augment", {"sentences": len(augmented)}, write)
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    more, _ = encode_examples(
        job.tokenizer,
        [row["first"] for row in rows],
        [row["second"] for row in rows] if job.task.train.second is not None else None,
        max_len=job.settings.max_len,
    )
    labels = job.train.labels
    if labels is not None:
        labels = labels[[*range(len(job.train)), *(row["source"] for row in rows)]]
    return Encoded(job.train.ids + more.ids, job.train.segments + more.segments, labels)


def _augment(job: Job, model: MaskedLM, amount: Amount, stream: int) -> list[Augmented]:
    from tqdm import tqdm

    recipe = job.recipe
    shards = job.settings.shards

    def logits_of(batch: Batch, positions: IntArray) -> FloatArray:
        output, _ = model.forward(
            batch.ids, batch.keep, batch.segments, positions=positions, recompute=True
        )
        if output.logits is None:
            raise ValueError("a masked LM always gives logits")
        return output.logits

    with (
        tqdm(desc=f"{'augment':>12}", unit=" batches", disable=None) as bar,
        one_blas_thread(),
        ThreadPoolExecutor(shards) as pool,
    ):

        def predict_masked(batch: Batch, positions: IntArray) -> FloatArray:
            """Answer in threads; a request asks for one position in each row."""
            bar.update()
            parts = batch.split(shards)
            columns = positions % batch.ids.shape[1]
            bounds = np.cumsum([len(part.ids) for part in parts])[:-1]
            flat = [
                np.arange(len(part.ids)) * part.ids.shape[1] + at
                for part, at in zip(parts, np.split(columns, bounds), strict=True)
            ]
            logits: FloatArray = np.concatenate(list(pool.map(logits_of, parts, flat)))
            return logits

        return augment(
            select(job.task.train, amount.examples),
            job.tokenizer,
            predict_masked,
            model.params["encoder.embeddings.token"],
            # One number more for the long ones, so that their copies are others.
            seed=(*job.seed("augment", MASK), *[stream] * (stream > 0)),
            max_len=job.settings.max_len,
            n_a=amount.copies,
            candidates_once=recipe.candidates_once,
            show_original=recipe.show_original,
            skip_non_latin=recipe.skip_non_latin,
            reuse_last_first=recipe.reuse_last_first,
        )

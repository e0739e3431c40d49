"""The augmentation phase: more sentences of the task, with a record of every change."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from npformer.data.augment import Augmented, augment
from npformer.data.batches import Batch, Encoded
from npformer.data.tokenizer import encode_examples
from npformer.distill.job import MASK, Job
from npformer.distill.teacher import Pretrained
from npformer.models.masked_lm import MaskedLM
from npformer.train.parallel import one_blas_thread
from npformer.train.run import write_text
from npformer.types import FloatArray, IntArray


def augmented_texts(job: Job, pretrained: Pretrained) -> Encoded:
    """Return the labelled sentences with their augmented copies, encoded.

    The copies are kept in ``augmented.jsonl``: where each came from and which words changed.
    Without a masked-LM head, or with 0 copies, there are none.
    """
    copies = job.settings.copies_of(len(job.train))
    if copies == 0 or not isinstance(pretrained, MaskedLM):
        job.say("augment: none" + ("" if copies == 0 else ", the teacher has no masked-LM head"))
        return job.train
    path = job.run.folder / "augmented.jsonl"
    if job.run.finished("augment") is None:
        job.say(f"augment: up to {copies} copies of {len(job.train):,} sentences")
        augmented = _augment(job, pretrained, copies)

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


def _augment(job: Job, pretrained: MaskedLM, copies: int) -> list[Augmented]:
    from tqdm import tqdm

    recipe = job.recipe
    shards = job.settings.shards

    def logits_of(batch: Batch, positions: IntArray) -> FloatArray:
        output, _ = pretrained.forward(
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
            job.task.train,
            job.tokenizer,
            predict_masked,
            pretrained.params["encoder.embeddings.token"],
            seed=job.seed("augment", MASK),
            max_len=job.settings.max_len,
            n_a=copies,
            candidates_once=recipe.candidates_once,
            show_original=recipe.show_original,
            skip_non_latin=recipe.skip_non_latin,
            reuse_last_first=recipe.reuse_last_first,
        )

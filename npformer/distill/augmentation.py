"""The augmentation phase: more sentences of the task, with a record of every change."""

import json
import os

from npformer.data.augment import Augmented, augment
from npformer.data.batches import Batch, Encoded
from npformer.data.tokenizer import encode_examples
from npformer.distill.job import MASK, Job
from npformer.distill.teacher import Pretrained
from npformer.models.heads import MaskedLM
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
            temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
            lines = (json.dumps(item._asdict(), ensure_ascii=False) for item in augmented)
            temporary.write_text("\n".join(lines) + "\n", "utf-8")
            temporary.replace(path)

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

"""The teacher's predictions on the task's text: asked once, and read at every pass over it."""

from dataclasses import replace

from npformer.data.batches import Encoded
from npformer.jobs.distill.job import Job
from npformer.models.heads import SequenceClassifier
from npformer.train.evaluate import predict_logits
from npformer.train.run import write_bytes

FILE = "answers.safetensors"


def with_teacher_logits(
    job: Job, teacher: SequenceClassifier, texts: Encoded, steps: int
) -> Encoded:
    """Return the texts with the teacher's logits, or as they are if it must be asked anew.

    A loss on predictions needs no more of the teacher than a sentence's C logits, and these never
    change. They are kept in ``answers.safetensors``, for further passes and for the soft baseline.

    Parameters
    ----------
    job : Job
    teacher : SequenceClassifier
    texts : Encoded
        Of all phases that ask in this run.
    steps : int
        Updates that will read them. If they do not come round to every text, the teacher is asked
        on the way, for those that they do read: that is cheaper. A teacher with dropout is always
        asked on the way, for it never answers twice alike; a loss that does not look at
        predictions has no use for them.
    """
    from safetensors.numpy import load_file, save

    if job.recipe.teacher_dropout or job.settings.weights.get("prediction") == 0:
        return texts
    path = job.run.folder / FILE
    if job.run.finished("answer") is None:
        if steps * job.settings.batch_size < len(texts):
            return texts
        job.say(f"answer: the teacher's predictions of {len(texts):,} sentences")
        logits = predict_logits(
            teacher, texts, job.special.pad, threads=job.settings.shards, name=f"{'answer':>12}"
        )
        arrays = {"logits": logits}
        job.run.finish("answer", {"sentences": len(texts)}, lambda: write_bytes(path, save(arrays)))
    return replace(texts, teacher_logits=load_file(path)["logits"])

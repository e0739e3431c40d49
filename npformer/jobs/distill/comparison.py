"""The honest comparison: teacher, distilled student, and its like without distillation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npformer.data.batches import collate
from npformer.data.glue import select
from npformer.data.naive_bayes import naive_bayes_accuracy
from npformer.data.tokenizer import encode_examples
from npformer.jobs.distill.job import Job
from npformer.jobs.distill.teacher import AT_CHANCE, constant_score
from npformer.models.cost import Workload, layer_flops
from npformer.models.heads import SequenceClassifier
from npformer.ops.softmax import softmax_forward
from npformer.train.evaluate import predict_logits, score, time_calls
from npformer.train.metrics import agreement, expected_calibration_error
from npformer.train.parallel import blas_name, blas_threads
from npformer.types import IntArray, Params

# Dev sentences that are timed, one by one and in batches.
TIMED = 128
BATCH = 32
TITLES = {
    "teacher": "teacher",
    "student": "distilled student",
    "scratch": "same, from scratch",
    "soft": "same, soft labels only",
}


def compare(job: Job, models: Mapping[str, SequenceClassifier]) -> dict[str, Any]:
    """Measure the models on dev.

    Parameters
    ----------
    job : Job
    models : mapping of str to SequenceClassifier
        "teacher" and "student", and the baselines: "scratch", "soft".

    Returns
    -------
    dict
        What ``results.json`` holds. "timing" says how the times were taken. For each model:

        - ``parameters``, and of the student ``parameters_in_training``, with the projections that
          are thrown away; ``megabytes`` on disk;
        - its scores on dev; of a classifier the calibration error and the agreement with the
          teacher;
        - ``mflops``, millions of floating-point operations for a dev sentence of its own length,
          the mean (`npformer.models.cost.layer_flops`: the layers' matrix products);
        - ``ms_per_sentence`` and ``ms_in_batches``, the model alone on one sentence and on batches
          of 32 of near-equal length; ``ms_end_to_end`` from the text of one sentence.

        For all but the teacher also the share of the teacher's score that is ``retained``,
        ``times_smaller``, and for each of the times how many times faster. For a classification
        naive Bayes on the same labels too. "constant" is what a constant answer scores.
    """
    logits = {
        name: predict_logits(model, job.dev, job.special.pad) for name, model in models.items()
    }
    times = _times(job, models)
    results: dict[str, Any] = {}
    for name, model in models.items():
        row: dict[str, Any] = {
            "parameters": _size(model.params),
            "megabytes": _megabytes(job, name),
            **score(logits[name], job.dev.labels, job.task.kind),
            "mflops": _flops(job, model) / 1e6,
            **{kind: of[name] for kind, of in times.items()},
        }
        if name == "student":
            row["parameters_in_training"] = row["parameters"] + _size(job.projections("general"))
        if job.task.kind == "classification":
            labels = np.asarray(job.dev.labels, dtype=np.int64)
            probs, _ = softmax_forward(logits[name])
            row["calibration_error"] = expected_calibration_error(probs, labels)
            row["agreement"] = agreement(logits[name], logits["teacher"])
        results[name] = row
    for name, row in results.items():
        teacher = results["teacher"]
        if name != "teacher":
            # Not NaN, which JSON does not have: a teacher may have learnt nothing.
            whole_score = teacher[job.primary]
            row["retained"] = row[job.primary] / whole_score if whole_score else None
            row["times_smaller"] = teacher["parameters"] / row["parameters"]
            row["speed_up"] = teacher["ms_per_sentence"] / row["ms_per_sentence"]
            row["speed_up_in_batches"] = teacher["ms_in_batches"] / row["ms_in_batches"]
            row["speed_up_end_to_end"] = teacher["ms_end_to_end"] / row["ms_end_to_end"]
    results["timing"] = {
        "sentences": min(TIMED, len(job.dev)),
        "batch_size": BATCH,
        "threads": job.settings.shards,
        "blas": blas_name(),
        "numpy": np.__version__,
    }
    results["constant"] = constant_score(job)
    if job.task.kind == "classification":
        results["naive_bayes"] = {
            "unigram": _naive_bayes(job, 1),
            "bigram": _naive_bayes(job, 2),
        }
    return results


def table(results: Mapping[str, Any], measure: str) -> list[str]:
    """Return the comparison as lines of text: what the models know, then what they cost."""
    names = [name for name in TITLES if name in results]
    quality = [("", measure, "retained", "agreement", "parameters", "in training", "smaller", "MB")]
    speed = [
        ("", "MFLOP", "ms", "faster", f"ms, {BATCH} at once", "faster", "end to end", "faster")
    ]
    for name in names:
        row = results[name]
        training = row.get("parameters_in_training", row["parameters"])
        quality.append(
            (
                TITLES[name],
                f"{row[measure]:.4f}",
                f"{100 * row['retained']:.1f} %" if row.get("retained") is not None else "",
                f"{row['agreement']:.3f}" if "agreement" in row else "",
                f"{row['parameters']:,}",
                f"{training:,}",
                _times_more(row, "times_smaller"),
                f"{row['megabytes']:.1f}",
            )
        )
        speed.append(
            (
                TITLES[name],
                f"{row['mflops']:.1f}",
                f"{row['ms_per_sentence']:.2f}",
                _times_more(row, "speed_up"),
                f"{row['ms_in_batches']:.3f}",
                _times_more(row, "speed_up_in_batches"),
                f"{row['ms_end_to_end']:.2f}",
                _times_more(row, "speed_up_end_to_end"),
            )
        )
    timing = results["timing"]
    lines = [
        *_aligned(quality),
        "",
        *_aligned(speed),
        f"for a sentence, the mean of {timing['sentences']} of dev at their own lengths; "
        f"{timing['threads']} threads, {timing['blas']}",
    ]
    if "naive_bayes" in results:
        bayes = results["naive_bayes"]
        what = "naive Bayes" if measure == "accuracy" else "naive Bayes, accuracy,"
        lines.append(
            f"{what} on the same labels: unigrams {bayes['unigram']:.4f}, "
            f"bigrams {bayes['bigram']:.4f}"
        )
    if results["teacher"][measure] <= results["constant"] + AT_CHANCE:
        lines.append("the teacher is hardly better than a constant answer")
    return lines


def _times_more(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]:.1f}x" if name in row else ""


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a line for each row, and a rule below the first."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(len(line) for line in lines), *lines[1:]]


def _size(params: Params) -> int:
    return sum(a.size for a in params.values())


def _megabytes(job: Job, name: str) -> float:
    folder = job.folder(name)
    if not folder.exists() and job.teacher_folder is not None:
        folder = job.teacher_folder
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6


def _flops(job: Job, model: SequenceClassifier) -> float:
    """Return the operations for a dev sentence, the mean over dev."""
    lengths, counts = np.unique(job.dev.lengths, return_counts=True)
    each = [
        layer_flops(Workload(kind=SequenceClassifier, config=model.config, seq_len=int(length)))
        for length in lengths
    ]
    return float(np.average(each, weights=counts))


def _times(job: Job, models: Mapping[str, SequenceClassifier]) -> dict[str, dict[str, float]]:
    """Return the milliseconds for a sentence in three ways, for each model."""
    rows = range(min(TIMED, len(job.dev)))
    by_length = np.argsort(job.dev.lengths[: len(rows)], kind="stable")
    batches = [by_length[i : i + BATCH] for i in rows[::BATCH]]
    with blas_threads(job.settings.shards):
        alone = time_calls({n: [_forward(job, m, [i]) for i in rows] for n, m in models.items()})
        whole = time_calls({n: [_end_to_end(job, m, i) for i in rows] for n, m in models.items()})
        many = time_calls({n: [_forward(job, m, b) for b in batches] for n, m in models.items()})
    return {
        "ms_per_sentence": alone,
        "ms_in_batches": {name: ms * len(batches) / len(rows) for name, ms in many.items()},
        "ms_end_to_end": whole,
    }


def _forward(
    job: Job, model: SequenceClassifier, rows: IntArray | list[int]
) -> Callable[[], object]:
    """Return a call that runs the model on these dev sentences."""
    batch = collate(job.dev, rows, job.special.pad)
    return lambda: model.forward(batch.ids, batch.keep, batch.segments, recompute=True)


def _end_to_end(job: Job, model: SequenceClassifier, row: int) -> Callable[[], object]:
    """Return a call that starts from the text of a dev sentence."""
    dev = select(job.task.dev, [row])

    def call() -> object:
        encoded, _ = encode_examples(
            job.tokenizer, dev.first, dev.second, max_len=job.settings.max_len
        )
        batch = collate(encoded, [0], job.special.pad)
        return model.forward(batch.ids, batch.keep, batch.segments, recompute=True)

    return call


def _naive_bayes(job: Job, order: int) -> float:
    def texts(first: list[str], second: list[str] | None) -> list[str]:
        return first if second is None else [f"{a} {b}" for a, b in zip(first, second, strict=True)]

    train, dev = job.task.train, job.task.dev
    return naive_bayes_accuracy(
        texts(train.first, train.second),
        np.asarray(train.labels),
        texts(dev.first, dev.second),
        np.asarray(dev.labels),
        order=order,
    )

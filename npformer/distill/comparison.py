"""The honest comparison: teacher, distilled student, and the same student from scratch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npformer.data.batches import collate
from npformer.data.naive_bayes import naive_bayes_accuracy
from npformer.data.tokenizer import encode_examples
from npformer.distill.job import Job
from npformer.models.heads import SequenceClassifier
from npformer.ops.softmax import softmax_forward
from npformer.train.evaluate import predict_logits, score, time_calls
from npformer.train.metrics import agreement, expected_calibration_error

# Sentences that are timed one by one; the median of their times counts.
TIMED = 100
# A teacher that is not this much better than the commonest class has nothing to teach.
AT_CHANCE = 0.05


def compare(job: Job, models: Mapping[str, SequenceClassifier]) -> dict[str, Any]:
    """Measure the models on dev.

    Parameters
    ----------
    job : Job
    models : mapping of str to SequenceClassifier
        "teacher", "student" and "scratch".

    Returns
    -------
    dict
        What ``results.json`` holds. For each model: parameters, megabytes on disk, its scores on
        dev, milliseconds a sentence (the model alone, and end to end from text), and of a
        classifier the calibration error and the agreement with the teacher. For student and
        scratch also the share of the teacher's score that is retained, and how many times faster
        and smaller they are. For a classification also the share of the commonest
        class and naive Bayes on the same labels.
    """
    logits = {
        name: predict_logits(model, job.dev, job.special.pad) for name, model in models.items()
    }
    forward = time_calls({name: _forwards(job, model) for name, model in models.items()})
    whole = time_calls({name: _end_to_ends(job, model) for name, model in models.items()})
    results: dict[str, Any] = {}
    for name, model in models.items():
        weights = job.folder(name) / "model.safetensors"
        given = job.settings.teacher_folder
        if name == "teacher" and given is not None and not weights.exists():
            weights = given / "model.safetensors"
        row: dict[str, Any] = {
            "parameters": sum(a.size for a in model.params.values()),
            "megabytes": weights.stat().st_size / 1e6,
            **score(logits[name], job.dev.labels, job.task.kind),
            "ms_per_sentence": forward[name],
            "ms_end_to_end": whole[name],
        }
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
            row["speed_up"] = teacher["ms_per_sentence"] / row["ms_per_sentence"]
            row["times_smaller"] = teacher["parameters"] / row["parameters"]
    if job.task.kind == "classification":
        counts = np.bincount(np.asarray(job.dev.labels, dtype=np.int64))
        results["commonest_class"] = float(counts.max() / counts.sum())
        results["naive_bayes"] = {
            "unigram": _naive_bayes(job, 1),
            "bigram": _naive_bayes(job, 2),
        }
    return results


def table(results: Mapping[str, Any], measure: str) -> list[str]:
    """Return the comparison as lines of text."""
    head = (
        "",
        "parameters",
        "MB",
        measure,
        "retained",
        "agreement",
        "ms",
        "end to end",
        "speed-up",
    )
    rows = [head]
    for name in ("teacher", "student", "scratch"):
        row = results[name]
        rows.append(
            (
                {"student": "distilled student", "scratch": "same, from scratch"}.get(name, name),
                f"{row['parameters']:,}",
                f"{row['megabytes']:.1f}",
                f"{row[measure]:.4f}",
                f"{100 * row['retained']:.1f} %" if row.get("retained") is not None else "",
                f"{row['agreement']:.3f}" if "agreement" in row else "",
                f"{row['ms_per_sentence']:.2f}",
                f"{row['ms_end_to_end']:.2f}",
                f"{row['speed_up']:.1f}x" if "speed_up" in row else "",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(len(line) for line in lines))
    if "naive_bayes" in results:
        bayes = results["naive_bayes"]
        lines.append(
            f"naive Bayes on the same labels: unigrams {bayes['unigram']:.4f}, "
            f"bigrams {bayes['bigram']:.4f}"
        )
    if results["teacher"][measure] <= results.get("commonest_class", -1) + AT_CHANCE:
        lines.append("the teacher is hardly better than always saying the commonest class")
    return lines


def _forwards(job: Job, model: SequenceClassifier) -> list[Callable[[], object]]:
    """Return calls that run the model on one dev sentence each, at its own length."""

    def call(i: int) -> Callable[[], object]:
        batch = collate(job.dev, [i], job.special.pad)
        return lambda: model.forward(batch.ids, batch.keep, batch.segments, recompute=True)

    return [call(i) for i in range(min(TIMED, len(job.dev)))]


def _end_to_ends(job: Job, model: SequenceClassifier) -> list[Callable[[], object]]:
    """Return calls that start from the text."""
    first, second = job.task.dev.first, job.task.dev.second

    def call(i: int) -> Callable[[], object]:
        def run() -> object:
            pair = None if second is None else [second[i]]
            encoded, _ = encode_examples(
                job.tokenizer, [first[i]], pair, max_len=job.settings.max_len
            )
            batch = collate(encoded, [0], job.special.pad)
            return model.forward(batch.ids, batch.keep, batch.segments, recompute=True)

        return run

    return [call(i) for i in range(min(TIMED, len(job.dev)))]


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

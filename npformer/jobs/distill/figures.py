"""The figures of a run, from its metrics and its models."""

from pathlib import Path
from typing import Any

from npformer.data.batches import collate
from npformer.distill.build import WEIGHTS
from npformer.jobs.distill.job import Job
from npformer.models.heads import SequenceClassifier
from npformer.ops.softmax import softmax_forward
from npformer.train.job import read_metrics, save_figure
from npformer.types import FloatArray

# Whose accuracy a phase measures.
MODELS = {
    "finetune": "teacher (finetune)",
    "prediction": "student (prediction)",
    "soft": "soft labels only",
}
TERMS = tuple(WEIGHTS)


def save_figures(job: Job, teacher: SequenceClassifier, student: SequenceClassifier) -> list[Path]:
    """Draw the loss of each term, accuracy against steps, and attention side by side."""
    from matplotlib.figure import Figure

    from npformer.plot import plot_accuracy, plot_attention_pair, plot_losses

    records = read_metrics(job.run.folder)
    figures = {
        "loss-per-term": Figure((9.0, 4.5), layout="constrained"),
        "accuracy": Figure((9.0, 4.5), layout="constrained"),
        "attention": Figure((12.0, 5.5), layout="constrained"),
    }
    losses = [r for r in records if any(term in r for term in TERMS)]
    plot_losses(losses, terms=TERMS, ax=figures["loss-per-term"].subplots())
    plot_accuracy(
        _curves(records, job.primary),
        measure=job.primary,
        ax=figures["accuracy"].subplots(),
    )
    plot_attention_pair(
        *_attention(job, teacher, student), axes=list(figures["attention"].subplots(1, 2))
    )
    return [save_figure(figure, job.run.folder / f"{name}.png") for name, figure in figures.items()]


def _curves(records: list[dict[str, Any]], measure: str) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        if "dev" in record:
            point = record["step"], record["dev"][measure]
            phase = record["phase"]
            curves.setdefault(MODELS.get(phase, phase), []).append(point)
    return curves


def _attention(
    job: Job, teacher: SequenceClassifier, student: SequenceClassifier
) -> tuple[FloatArray, FloatArray, list[str]]:
    """Return the last layer's weights, mean over heads, for a dev sentence of usual length."""
    lengths = job.dev.lengths
    middle = int(lengths.argsort(kind="stable")[len(lengths) // 2])
    batch = collate(job.dev, [middle], job.special.pad)
    maps = []
    for model in (teacher, student):
        output, _ = model.forward(batch.ids, batch.keep, batch.segments, output_scores=True)
        scores = (output.scores or (None,))[-1]
        if scores is None:
            raise ValueError("scores were asked for")
        probs, _ = softmax_forward(scores)  # (1, H, T, T)
        maps.append(probs[0].mean(axis=0))
    tokens = [job.tokenizer.id_to_token(int(i)) or "" for i in batch.ids[0]]
    return maps[0], maps[1], tokens

"""The figure of a run: its loss, and what was measured on the way."""

from pathlib import Path

from npformer.train.job import read_metrics, save_figure


def save_curves(folder: Path, measure: str) -> Path:
    """Draw the loss and a measure on dev against the updates, from ``metrics.jsonl``."""
    from matplotlib.figure import Figure

    from npformer.plot import plot_accuracy, plot_losses

    records = read_metrics(folder)
    points = [(r["step"], r["dev"][measure]) for r in records if "dev" in r]
    figure = Figure((12.0, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_losses([r for r in records if "loss" in r], terms=["loss"], ax=left)
    if points:
        plot_accuracy({"dev": points}, measure=measure, ax=right)
    return save_figure(figure, folder / "training.png")

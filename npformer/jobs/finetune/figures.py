"""The figure of a run: its loss, and what was measured on the way."""

import json
from pathlib import Path

from npformer.train.checkpoint import naming


def save_figure(folder: Path, measure: str) -> Path:
    """Draw the loss and a measure on dev against the updates, from ``metrics.jsonl``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from npformer.plot import plot_accuracy, plot_losses

    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    points = [(r["step"], r["dev"][measure]) for r in records if "dev" in r]
    figure = Figure((12.0, 4.5), layout="constrained")  # not pyplot's: those need a screen
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    plot_losses([r for r in records if "loss" in r], terms=["loss"], ax=left)
    if points:
        plot_accuracy({"dev": points}, measure=measure, ax=right)
    path = folder / "training.png"
    with naming(path):
        figure.savefig(path, dpi=120)
    return path

"""The ablations as a picture: what each row loses against the full method, here and there."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npformer.jobs.ablate.rows import FULL, TABLES
from npformer.train.job import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OURS, PAPER = "#1f77b4", "#d95f02"


def save_tables(found: Mapping[str, Any], path: Path) -> Path:
    """Draw all tables, one below the other, ours on the left and the paper's on the right."""
    from matplotlib.figure import Figure

    tables = found["tables"]
    heights = [len(table["rows"]) for table in tables.values()]
    figure = Figure((9.5, 1.6 + 0.42 * sum(heights)), layout="constrained")
    axes = figure.subplots(
        len(tables), 2, squeeze=False, sharey="row", sharex="col", height_ratios=heights
    )
    for (name, table), (left, right) in zip(tables.items(), axes, strict=True):
        plot_ours(table, left)
        plot_paper(table, right)
        left.set_title(f"{TABLES[name].title} (table {TABLES[name].number})", loc="left", size=10)
    axes[0, 1].set_title("the paper", loc="left", size=10)
    seeds = len(found["seeds"])
    axes[-1, 0].set_xlabel(f"{found['measure']} minus full method, points ({seeds} seeds, 95 %)")
    axes[-1, 1].set_xlabel("dev average minus full method, points")
    return save_figure(figure, path)


def plot_ours(table: Mapping[str, Any], ax: "Axes") -> "Axes":
    """Draw our differences to the full method with their intervals, and each seed's own."""
    full = table["rows"][0]["scores"]
    rows = _variants(table)
    for y, row in enumerate(rows):
        beside = row["minus_full"]
        mean = 100 * beside["mean"]
        reach = [[mean - 100 * beside["low"]], [100 * beside["high"] - mean]]
        seeds = [100 * (a - b) for a, b in zip(row["scores"], full, strict=True)]
        ax.plot(seeds, [y] * len(seeds), "o", markersize=3, color="0.6", zorder=1)
        ax.errorbar(mean, y, xerr=reach, fmt="o", color=OURS, capsize=3, zorder=2)
    return _frame(ax, rows)


def plot_paper(table: Mapping[str, Any], ax: "Axes") -> "Axes":
    """Draw the paper's differences of averages."""
    top = table["rows"][0]["paper"]["average"]
    rows = _variants(table)
    for y, row in enumerate(rows):
        if row["paper"] is not None:
            ax.plot(row["paper"]["average"] - top, y, "D", color=PAPER)
    return _frame(ax, rows)


def _variants(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in table["rows"] if row["name"] != FULL.name]


def _frame(ax: "Axes", rows: list[dict[str, Any]]) -> "Axes":
    ax.axvline(0.0, color="0.4", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [row["label"] for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.locator_params(axis="x", nbins=6)
    ax.grid(axis="x", alpha=0.3)
    return ax

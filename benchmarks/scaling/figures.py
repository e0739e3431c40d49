"""Figures of the sweeps: time and memory, both axes logarithmic."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scaling.fit import Point, exponent
from benchmarks.scaling.sweeps import Sweep
from npformer.plot import COLOURS, STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = Mapping[str, Sequence[Point]]  # label -> points, by rising value


def save_figure(sweep: Sweep, series: Series, folder: Path) -> Path:
    """Draw a sweep into ``folder`` and return the file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_time(series, sweep.axis, left)
    plot_memory(series, sweep.axis, right)
    path = folder / f"{sweep.name}.png"
    figure.savefig(path, dpi=150)
    return path


def plot_time(series: Series, axis: str, ax: "Axes") -> "Axes":
    """Draw the shortest steps; dotted, the count of operations, scaled to the last point."""
    for i, (label, points) in enumerate(series.items()):
        values = [p.value for p in points]
        seconds = [p.seconds for p in points]
        _line(ax, i, values, [1e3 * s for s in seconds], f"{label} {_power(values, seconds)}")
        scale = 1e3 * seconds[-1] / points[-1].flops
        ax.plot(values, [scale * p.flops for p in points], ":", color=COLOURS[i], linewidth=1)
    ax.set_ylabel("ms a step (dotted: operations)")
    return _finish(ax, axis)


def plot_memory(series: Series, axis: str, ax: "Axes") -> "Axes":
    """Draw the peak memory above imports."""
    for i, (label, points) in enumerate(series.items()):
        values = [p.value for p in points]
        memory = [p.memory / 2**20 for p in points]
        _line(ax, i, values, memory, f"{label} {_power(values, memory)}")
    ax.set_ylabel("peak memory above imports, MB")
    return _finish(ax, axis)


def _line(ax: "Axes", i: int, x: Sequence[float], y: Sequence[float], label: str) -> None:
    ax.plot(x, y, STYLES[i % len(STYLES)], color=COLOURS[i], marker="o", markersize=3, label=label)


def _power(values: Sequence[float], costs: Sequence[float]) -> str:
    return f"(exponent {exponent(values, costs):.2f})"


def _finish(ax: "Axes", axis: str) -> "Axes":
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlabel(axis)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return ax

"""What is kept against what is saved, over runs: ``python -m benchmarks.frontier RUN...``.

Reads the ``results.json`` of finished runs of ``npformer distill`` on one task with one teacher,
prints a line for each model beside the teacher, and draws the share of the teacher's score against
size and time. Nothing is trained or timed here: each ratio is what a run measured itself, in turns
with its teacher.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.arguments import new_file
from npformer.checks import InputError
from npformer.jobs.distill.comparison import TITLES
from npformer.plot import COLOURS

PAPER = 0.968  # of the teacher's score, Jiao et al. 2020, abstract: "more than"
MARKERS = {"student": "o", "soft": "s", "scratch": "^"}
COLUMNS = ("times_smaller", "speed_up", "speed_up_in_batches", "speed_up_end_to_end")
AXES = {
    "times_smaller": "times smaller than the teacher",
    "speed_up": "times faster than the teacher, one sentence",
}


class Point(NamedTuple):
    """One model of one run, over its seeds."""

    run: str  # what the student is
    model: str  # a key of `MARKERS`
    score: float
    retained: list[float]  # of each seed
    ratios: dict[str, float]  # the means of `COLUMNS`


def main(argv: Sequence[str] | None = None) -> int:
    """Read, print and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frontier", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folders of runs")
    parser.add_argument("--out", type=new_file, metavar="FILE.png", help="where to draw")
    args = parser.parse_args(argv)
    try:
        points = [point for run in args.runs for point in read(run)]
    except InputError as error:
        print(f"benchmarks.frontier: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(points)))
    if args.out is not None:
        draw(points, args.out)
    return 0


def read(run: Path) -> list[Point]:
    """Return a run's models but for the teacher.

    Raises
    ------
    InputError
        If the run is not finished.
    """
    path = run / "results.json"
    if not path.is_file():
        raise InputError(f"RUN: got {run}, expected the folder of a finished run (results.json)")
    found = json.loads(path.read_text("utf-8"))
    seeds: list[Mapping[str, Any]] = found.get("seeds", [found])
    measure, settings = found["measure"], seeds[0]["settings"]
    name = f"{settings['student']} {settings.get('activation', 'gelu')}"
    points = []
    for model in MARKERS:
        rows = [seed[model] for seed in seeds if model in seed]
        if rows:
            ratios = {column: fmean(row[column] for row in rows) for column in COLUMNS}
            score = fmean(row[measure] for row in rows)
            points.append(Point(name, model, score, [row["retained"] for row in rows], ratios))
    return points


def table(points: Sequence[Point]) -> list[str]:
    """Return a line for each point, below a heading."""
    lines = [
        f"{'':42}{'seeds':>6}{'dev':>8}{'retained':>10}{'smaller':>9}"
        f"{'faster':>8}{'batches':>9}{'end to end':>12}"
    ]
    for point in points:
        ratios = [point.ratios[column] for column in COLUMNS]
        lines.append(
            f"{point.run + ', ' + TITLES[point.model]:42}{len(point.retained):>6}{point.score:8.4f}"
            f"{100 * fmean(point.retained):8.1f} %{ratios[0]:8.1f}x{ratios[1]:7.1f}x"
            f"{ratios[2]:8.1f}x{ratios[3]:11.1f}x"
        )
    return lines


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw the share that each seed kept; the bar is the paper's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    runs = list(dict.fromkeys(point.run for point in points))
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (column, label) in zip(panels, AXES.items(), strict=True):
        ax.axhline(100 * PAPER, color="0.6", linewidth=1, linestyle="--")
        for point in points:
            ax.plot(
                [point.ratios[column]] * len(point.retained),
                [100 * share for share in point.retained],
                MARKERS[point.model],
                color=COLOURS[runs.index(point.run)],
                markerfacecolor="none",
                label=f"{point.run}, {TITLES[point.model]}",
            )
        ax.set_xlabel(label)
        ax.grid(alpha=0.3)
    panels[0].set_ylabel("% of the teacher's score on dev")
    panels[0].annotate(
        "TinyBERT's claim", (0.02, 100 * PAPER), xycoords=("axes fraction", "data"), va="bottom"
    )
    panels[1].legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())

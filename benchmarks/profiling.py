"""``python -m benchmarks profile``: which functions a training step spends its time in.

One shard in one thread, so that the parts add up to the whole. Python's profiler charges a
function with its own operations and the NumPy functions it calls, not with npformer's.
"""

import cProfile
import pstats
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import npformer
from benchmarks.arguments import Parser, names_of, positive
from benchmarks.plan import plan
from benchmarks.report import table
from benchmarks.sizes import SIZES

ROWS = 14
PACKAGE = Path(npformer.__file__).parent


def main(argv: Sequence[str]) -> int:
    """Profile, print, and return 0."""
    parser = Parser(prog="python -m benchmarks profile", description=__doc__)
    parser.add_argument("--sizes", type=names_of(SIZES), default=["tinybert4"])
    parser.add_argument("--steps", type=positive, default=5)
    args = parser.parse_args(argv)
    from benchmarks.contenders import ours

    for case in plan(["train"], args.sizes, ["full"], [0.0], 1):
        step = ours.make(case)
        step(0, False)
        profiler = cProfile.Profile()
        # The one shard runs in this thread, where the profiler sees it.
        profiler.enable()
        for _ in range(args.steps):
            step(0, False)
        profiler.disable()
        print(f"\n{case.title}, one thread\n{report(pstats.Stats(profiler), args.steps)}")
    return 0


def report(stats: Any, steps: int) -> str:
    """Return the functions of npformer that take longest, each with what it calls in NumPy."""
    seconds = own_seconds(stats.stats)
    whole = stats.total_tt
    rows = [["", "ms a step", "share"]]
    for name in sorted(seconds, key=lambda name: -seconds[name])[:ROWS]:
        rows.append([name, f"{1e3 * seconds[name] / steps:.2f}", f"{seconds[name] / whole:.1%}"])
    rows.append(["the whole step", f"{1e3 * whole / steps:.2f}", "100.0%"])
    return table(rows)


def own_seconds(stats: dict[Any, Any]) -> dict[str, float]:
    """Return the seconds of each function in npformer, those of foreign callees included."""
    seconds: dict[str, float] = {}
    for function, (_, _, own, _, callers) in stats.items():
        if name := _name(function):
            seconds[name] = seconds.get(name, 0.0) + own
            continue
        # A function from elsewhere, charged to whichever of ours called it.
        for caller, (_, _, share, _) in callers.items():
            if name := _name(caller):
                seconds[name] = seconds.get(name, 0.0) + share
    return seconds


def _name(function: tuple[str, int, str]) -> str:
    path, _, name = function
    if not Path(path).is_relative_to(PACKAGE):
        return ""
    return f"{Path(path).relative_to(PACKAGE).as_posix()} {name}"

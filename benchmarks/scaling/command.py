"""``python -m benchmarks scaling``: run the sweeps, print exponents, draw figures."""

import time
from argparse import ArgumentDefaultsHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.arguments import Parser, names_of, positive
from benchmarks.child import Child, ChildError
from benchmarks.header import header, load_average, render
from benchmarks.libraries import KERNELS, OURS, Contender
from benchmarks.measure import PAUSE, measure
from benchmarks.plan import peak_case
from benchmarks.report import table
from benchmarks.scaling.figures import Series, save_figure
from benchmarks.scaling.fit import Point, exponent
from benchmarks.scaling.sweeps import SERIES, SWEEPS, Sweep
from npformer.checks import InputError
from npformer.train.run import write_json

TURN = 0.2  # seconds
PEAK_ROUNDS = 2


def main(argv: Sequence[str]) -> int:
    """Measure, print, draw, and return the exit code."""
    args = _parser().parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    contender = Contender(OURS, args.kernel)
    load = load_average()
    lines = header(measure(peak_case(2), [contender], PEAK_ROUNDS), [], load)
    print(render(lines), flush=True)
    points = {}
    for name in args.sweeps:
        series = run_sweep(SWEEPS[name], contender, args.rounds)
        points[name] = {label: list(map(_as_json, found)) for label, found in series.items()}
        print(f"\n{sweep_table(SWEEPS[name], series)}")
        print(save_figure(SWEEPS[name], series, args.out), flush=True)
    write_json(args.out / "scaling.json", {"header": lines, "sweeps": points})
    return 0


def run_sweep(sweep: Sweep, contender: Contender, rounds: int) -> Series:
    """Measure every series at every value, each in a process of its own.

    Memory is a peak: a process that had done something larger before would only show that.
    """
    from tqdm import tqdm

    series: dict[str, list[Point]] = {}
    steps = list(_steps(sweep))
    for label, value, mode, threads in tqdm(steps, desc=sweep.name, disable=None, leave=False):
        case = sweep.case(value, mode, threads)
        try:
            with Child(contender, case) as child:
                for _ in range(rounds):
                    time.sleep(PAUSE)
                    child.take_turn(TURN)
        except ChildError as error:
            raise InputError(f"{case.title}: {error}") from error
        seconds = min(t for times in child.rounds for t in times)
        series.setdefault(label, []).append(Point(value, case, seconds, child.memory))
    return series


def sweep_table(sweep: Sweep, series: Series) -> str:
    """Return the costs, and under them the exponents beside those of the operations.

    The exponents are of the larger half of the values. Memory grows as the operations do, less
    what does not grow at all: weights, and the optimizer's state.
    """
    labels = list(series)
    first = series[labels[0]]
    rows = [[sweep.axis, *(f"{label} ms" for label in labels), *(f"{n} MB" for n in labels)]]
    for i, point in enumerate(first):
        times = [f"{1e3 * series[label][i].seconds:.4g}" for label in labels]
        memory = [f"{series[label][i].memory / 2**20:.0f}" for label in labels]
        rows.append([str(point.value), *times, *memory])
    values = [float(p.value) for p in first]

    def powers(costs: Sequence[Sequence[float]]) -> list[str]:
        return [f"{exponent(values, c):.2f}" for c in costs]

    times = powers([[p.seconds for p in series[label]] for label in labels])
    memory = powers([[p.memory for p in series[label]] for label in labels])
    operations = powers([[p.flops for p in series[label]] for label in labels])
    nothing = [""] * len(labels)
    rows.append(["exponent", *times, *memory])
    rows.append(["of the operations", *operations, *nothing])
    rows.append(["in the limits", *[sweep.theory] * len(labels), *nothing])
    return f"{sweep.name}\n{table(rows)}"


def _steps(sweep: Sweep) -> Iterator[tuple[str, int, str, int]]:
    for mode, threads in SERIES:
        label = f"{mode}, {threads} thread{'s' if threads > 1 else ''}"
        for value in sweep.values:
            yield label, value, mode, threads


def _as_json(point: Point) -> dict[str, float]:
    return {
        "value": point.value,
        "milliseconds": 1e3 * point.seconds,
        "memory_mb": point.memory / 2**20,
        "gflop": point.flops / 1e9,
    }


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks scaling",
        description="How the cost of npformer's steps grows: tables, fitted exponents, figures.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    names = ",".join(SWEEPS)
    parser.add_argument("--out", type=Path, default="runs/scaling", help="folder of the figures")
    parser.add_argument("--sweeps", type=names_of(SWEEPS), default=names, help=f"some of {names}")
    parser.add_argument("--rounds", type=positive, default=2, help="turns at each point")
    parser.add_argument("--kernel", choices=KERNELS, default="native", help="of NumPy's products")
    return parser

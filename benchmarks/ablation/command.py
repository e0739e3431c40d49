"""``python -m benchmarks ablation``: the training step without each technique in turn."""

from collections.abc import Sequence

from benchmarks.ablation.techniques import TECHNIQUES
from benchmarks.arguments import Parser, names_of, positive
from benchmarks.libraries import KERNELS, OURS, Contender
from benchmarks.measure import measure
from benchmarks.plan import plan
from benchmarks.report import table
from benchmarks.results import Result, median_of_ratios, ratio_of_minima
from benchmarks.sizes import SIZES


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return 0."""
    parser = Parser(prog="python -m benchmarks ablation", description=__doc__)
    parser.add_argument("--sizes", type=names_of(SIZES), default=["micro", "tinybert4"])
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--kernel", choices=KERNELS, default="native")
    args = parser.parse_args(argv)
    contenders = [Contender(OURS, args.kernel, without) for without in (None, *TECHNIQUES)]
    for case in plan(["train"], args.sizes, ["full"], [0.0], args.threads):
        print(f"\n{report(measure(case, contenders, args.rounds))}", flush=True)
    return 0


def report(result: Result) -> str:
    """Return a row for each technique: the step without it, and how much longer that takes."""
    everything = result.measured[0]
    rows = [["without", "min ms", "slower", "median"]]
    for m in result.measured:
        rows.append(
            [
                m.contender.without or "(everything on)",
                f"{1e3 * m.minimum:.1f}",
                f"{ratio_of_minima(m, everything):.2f}",
                f"{median_of_ratios(m, everything):.2f}",
            ]
        )
    return f"{result.case.title}\n{table(rows)}"

"""``python -m benchmarks``: npformer and its peers, case by case."""

import sys
from argparse import ArgumentDefaultsHelpFormatter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from benchmarks.arguments import Parser, fractions, names_of, new_file, positive
from benchmarks.case import Case
from benchmarks.header import header, import_seconds, load_average, render
from benchmarks.libraries import (
    KERNELS,
    OURS,
    PEERS,
    Contender,
    contenders_for,
    missing_packages,
)
from benchmarks.measure import Disagreement, measure
from benchmarks.plan import BATCH_KINDS, MODES, peak_case, plan
from benchmarks.report import Peaks, case_table
from benchmarks.results import Result, as_json
from benchmarks.sizes import SIZES
from benchmarks.targets import summary, verdicts
from npformer.checks import InputError
from npformer.train.run import write_json

PEAK_ROUNDS = 4


def main(argv: Sequence[str]) -> int:
    """Measure, print, and return the exit code: 1 if a contender failed or disagreed."""
    args = _parser().parse_args(argv)
    if not args.kernels:
        raise InputError(f"argument --kernels: got none, expected some of {', '.join(KERNELS)}")
    cases = plan(args.mode, args.sizes, args.batches, args.dropout, args.threads)
    if not cases:
        raise InputError("got no case to measure, expected a mode and a size that takes part in it")
    peers = [name for name in args.peers if is_installed(name)]
    engines = [Contender(OURS, kernel) for kernel in args.kernels]
    engines += [Contender("torch")] if {"torch", "transformers"} & set(peers) else []

    load, seconds = load_average(), import_seconds()
    peaks = measure(peak_case(args.threads), engines, PEAK_ROUNDS)
    lines = header(peaks, peers, load)
    print(render(lines), flush=True)
    kernels = [kernel for kernel in args.kernels if _is_known(kernel, peaks)]
    rates = {m.contender: peaks.gflops(m) for m in peaks.measured}
    results = list(_results(cases, peers, kernels, args.rounds, rates))
    # Once more: a busy moment at the start would have made every share too large.
    for m in (again := measure(peaks.case, engines, PEAK_ROUNDS)).measured:
        rates[m.contender] = max(again.gflops(m), rates.get(m.contender, 0.0))
    found = verdicts([r for r in results if r is not None], rates)
    print(f"\ntargets (ratios of minima, full batches, dropout 0)\n{summary(found, seconds)}")
    if args.json is not None:
        everything = {
            "header": lines,
            "peak_gflops": {contender.label: rate for contender, rate in rates.items()},
            "import_seconds": seconds,
            "cases": [as_json(result) for result in results if result is not None],
            "targets": [asdict(verdict) | {"met": verdict.met} for verdict in found],
        }
        write_json(args.json, everything)
    return 1 if None in results else 0


def _results(
    cases: Sequence[Case],
    peers: Sequence[str],
    kernels: Sequence[str],
    rounds: int,
    rates: Peaks,
) -> Iterator[Result | None]:
    """Measure and print case by case; None stands for a contender that failed or disagreed."""
    for case in cases:
        contenders = contenders_for(case.mode, case.size, case.dropout, peers, kernels)
        try:
            result = measure(case, contenders, rounds)
        except Disagreement as error:
            print(error, file=sys.stderr)
            yield None
            continue
        if len(result.measured) < len(contenders):
            yield None
        if result.measured:
            print(f"\n{case_table(result, rates)}", flush=True)
            yield result


def _is_known(kernel: str, peaks: Result) -> bool:
    wanted, ours = KERNELS[kernel], peaks.of(OURS, kernel)
    known = ours is not None and wanted in (None, ours.about.get("architecture"))
    if not known:
        print(
            f"{kernel} is left out: NumPy's matrix library has no such kernels here",
            file=sys.stderr,
        )
    return known


def is_installed(peer: str) -> bool:
    """Tell whether a peer can take part; if not, say what is missing."""
    missing = missing_packages(peer)
    if missing:
        print(
            f"{peer} is left out: not installed: {', '.join(missing)} "
            "(from the checkout: pip install '.[bench]')",
            file=sys.stderr,
        )
    return not missing


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks",
        description="npformer's speed and memory next to other libraries, on the same weights "
        "and batches, in processes that take turns. `python -m benchmarks scaling --help`: how "
        "npformer's own cost grows.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    for name, choices, default, text in (
        ("sizes", SIZES, ",".join(SIZES), "models; distillation belongs to tinybert4"),
        ("mode", MODES, ",".join(MODES), "training step, distillation step, inference"),
        ("peers", PEERS, "torch", "what to compare with"),
        (
            "kernels",
            KERNELS,
            ",".join(KERNELS),
            "NumPy's matrix products: OpenBLAS's choice, or AVX2",
        ),
        ("batches", BATCH_KINDS, ",".join(BATCH_KINDS), "all rows full, or of SST-2's lengths"),
    ):
        help_text = f"{text}; some of {','.join(choices)}"
        parser.add_argument(f"--{name}", type=names_of(choices), default=default, help=help_text)
    parser.add_argument("--dropout", type=fractions, default="0", help="of training steps")
    parser.add_argument("--rounds", type=positive, default=5, help="turns of each contender")
    parser.add_argument("--threads", type=positive, default=2, help="of every contender")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write everything there")
    return parser

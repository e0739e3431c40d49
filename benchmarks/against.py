"""``python -m benchmarks against REV``: this checkout and another commit of it, in turns.

Both do the same steps on the same weights and batches, each from a folder of its own; before
anything is timed their losses or logits must agree. A ratio is this checkout's divided by the
other's: below 1 the change made it faster, or smaller.
"""

import subprocess
import tempfile
from argparse import ArgumentDefaultsHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.arguments import Parser, names_of, positive
from benchmarks.child import ROOT
from benchmarks.header import commit, load_average, processor
from benchmarks.libraries import OURS, Contender
from benchmarks.measure import measure
from benchmarks.plan import BATCH_KINDS, MODES, plan
from benchmarks.report import table
from benchmarks.results import Result, median_of_ratios, ratio_of_minima
from benchmarks.sizes import SIZES
from npformer.checks import InputError


def main(argv: Sequence[str]) -> int:
    """Measure and print; return the exit code."""
    args = _parser().parse_args(argv)
    load = load_average()
    with checkout(args.revision) as folder:
        contenders = [Contender(OURS), Contender(OURS, checkout=folder)]
        rows = [["", "min ms", args.revision, "ratio", "of rounds", "MB", args.revision, "ratio"]]
        for case in plan(args.mode, args.sizes, args.batches, [0.0], args.threads):
            rows.append(_row(measure(case, contenders, args.rounds)))
    print(f"{processor()}; {args.threads} threads; load average {load}")
    print(f"{commit()} against {args.revision}\n{table(rows)}")
    return 0


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Give a folder, called like the revision, that holds it; afterwards it is gone.

    Raises
    ------
    InputError
        If git knows no such revision.
    """
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / revision.replace("/", "-")
        made = _git("worktree", "add", "--detach", str(folder), revision)
        if made.returncode:
            raise InputError(f"REV: got {revision}, expected a commit of this repository")
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _git(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True)


def _row(result: Result) -> list[str]:
    if len(result.measured) < 2:
        raise InputError(f"{result.case.title}: got one commit that runs it, expected both")
    here, there = result.measured
    return [
        result.case.title,
        f"{1e3 * here.minimum:.3g}",
        f"{1e3 * there.minimum:.3g}",
        f"{ratio_of_minima(here, there):.3f}",
        f"{median_of_ratios(here, there):.3f}",
        f"{here.memory / 2**20:.0f}",
        f"{there.memory / 2**20:.0f}",
        f"{here.memory / there.memory:.3f}",
    ]


def _parser() -> Parser:
    parser = Parser(
        prog="python -m benchmarks against",
        description="This checkout's step times and peak memory against another commit's.",
        formatter_class=ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("revision", metavar="REV", help="a commit, a tag or a branch")
    for name, choices, default in (
        ("sizes", SIZES, "micro,tinybert4,minilm"),
        ("mode", MODES, ",".join(MODES)),
        ("batches", BATCH_KINDS, "full"),
    ):
        help_text = f"some of {','.join(choices)}"
        parser.add_argument(f"--{name}", type=names_of(choices), default=default, help=help_text)
    parser.add_argument("--rounds", type=positive, default=9, help="turns of each")
    parser.add_argument("--threads", type=positive, default=2, help="of each")
    return parser

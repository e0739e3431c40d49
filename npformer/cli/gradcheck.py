"""``npformer gradcheck``: every hand-written gradient against finite differences."""

import argparse
import json
import math
import sys

from npformer.checks import InputError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "gradcheck",
        help="check every gradient against finite differences",
        description=(
            "Check every pair, model and distillation term against centred finite differences in "
            "float64, with padding and dropout on. Exit code 1 if any fails."
        ),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these; default: all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.gradcheck import GradientError, GradientReport
    from npformer.selfcheck import ModelCase, PairCase, distill_cases, model_cases, pair_cases

    cases: list[PairCase | ModelCase] = [*pair_cases(), *model_cases(), *distill_cases()]
    known = {case.name.partition("/")[0] for case in cases} | {case.name for case in cases}
    for name in args.names:
        if name not in known:
            raise InputError(f"NAME: got {name!r}, expected one of {', '.join(sorted(known))}")
    rows = []
    failures = []
    width = max(len(case.name) for case in cases)
    for case in cases:
        if args.names and not {case.name, case.name.partition("/")[0]} & set(args.names):
            continue
        result: GradientReport | GradientError
        try:
            result = case.check()
        except GradientError as error:
            result = error
            failures.append(str(error))
        rows.append(
            {
                "name": case.name,
                "kind": result.kind,
                "error": result.error
                if math.isfinite(result.error)
                else None,  # JSON has no infinity
                "tolerance": result.tolerance,
                "ok": result.ok,
            }
        )
        if not args.json:
            verdict = "ok" if result.ok else "WRONG"
            print(
                f"{result.kind:5}  {case.name:{width}}  {result.error:.1e}  "
                f"<= {result.tolerance:.0e}  {verdict}",
                flush=True,
            )
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"{len(rows) - len(failures)} right, {len(failures)} wrong")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0

"""``npformer ablate``: what is each piece of TinyBERT worth?"""

import argparse
import time
from concurrent.futures import BrokenExecutor

from npformer.checks import InputError
from npformer.cli.distill import add_settings, given_settings
from npformer.cli.in_folder import (
    add_folder,
    given_options,
    how_to_go_on,
    open_asked,
    print_json,
    read_asked,
    say,
)
from npformer.jobs.distill.settings import Settings

# The options that choose rows, and the table of the paper that each belongs to.
CHOICES = {"stages": "stages", "drop": "losses", "mapping": "mapping"}
HELP = {
    "stages": "stages to leave out, one per row: general, task, augmentation",
    "drop": "terms to leave out, one per row: attention, hidden, embedding, prediction; + joins",
    "mapping": "layer mappings, one per row: uniform (the full method), top, bottom",
}
SEEDS, JOBS = 3, 2


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ablate",
        help="leave out one piece of TinyBERT at a time, beside the paper's tables 2 to 4",
        description=(
            "Distil without one stage, one loss term, or with another layer mapping, at several "
            "seeds, and compare with tables 2 to 4 of TinyBERT's paper. Without --stages, --drop "
            "and --mapping: all rows of the three tables. The other options are those of "
            "npformer distill, of the full method."
        ),
    )
    for name, text in HELP.items():
        parser.add_argument(
            f"--{name}", type=_names, metavar="NAME,...", help=text, default=argparse.SUPPRESS
        )
    add_settings(parser, omit=HELP)
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help=f"runs of each row (default {SEEDS})",
        default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="K",
        default=JOBS,
        help=f"processes, of --shards threads each (default {JOBS} of 1); no result depends on it",
    )
    add_folder(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.jobs.ablate.grid import ablate, process_pool
    from npformer.jobs.ablate.report import report
    from npformer.jobs.ablate.rows import TABLES, rows_of

    given = given_settings(args) | given_options(args, ("seeds", *CHOICES))
    chosen = any(name in given for name in CHOICES)
    beside = {
        option: [] if chosen else list(TABLES[table].names) for option, table in CHOICES.items()
    }
    if not args.resume:
        given.setdefault("shards", 1)
    asked = read_asked(
        args, "ablate", Settings, given, make=Settings.of, beside={**beside, "seeds": SEEDS}
    )
    seeds = asked.beside["seeds"]
    rows = rows_of({table: asked.beside[option] for option, table in CHOICES.items()})
    if seeds < 2:
        raise InputError(f"--seeds: got {seeds}, expected at least 2, for an interval")
    pool = process_pool(args.jobs)
    started = time.perf_counter()
    try:
        with open_asked(asked) as run, pool:
            found = ablate(
                run, asked.settings, rows, seeds=seeds, executor=pool, say=say, at_once=args.jobs
            )
    except BrokenExecutor:
        raise InputError(
            f"--jobs: got {args.jobs} processes, of which one was ended from outside, for example "
            f"for want of memory; {how_to_go_on(asked)}"
        ) from None
    if args.json:
        print_json(found)
        return 0
    print("\n".join(report(found)))
    print(f"{time.perf_counter() - started:.0f} s; everything is in {asked.folder}")
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

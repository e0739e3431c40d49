"""``npformer ablate``: what is each piece of TinyBERT worth?"""

import argparse
import json
import sys
import time
from concurrent.futures import BrokenExecutor
from pathlib import Path

from npformer.checks import InputError
from npformer.cli.distill import add_settings, check_same, given_settings

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
    parser.add_argument("--out", type=Path, metavar="DIR", help="default runs/<date-time>")
    parser.add_argument("--resume", action="store_true", help="go on with the grid in --out")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.ablate.grid import ablate, process_pool
    from npformer.ablate.report import report
    from npformer.ablate.rows import TABLES, rows_of
    from npformer.distill.settings import Settings
    from npformer.train.run import Run, read_settings

    folder = args.out or Path("runs") / time.strftime("%Y-%m-%d-%H%M%S")
    given = given_settings(args)
    given |= {name: getattr(args, name) for name in ("seeds", *CHOICES) if hasattr(args, name)}
    if args.resume:
        if args.out is None:
            raise InputError(
                "--resume: got no --out, expected the folder of the grid to go on with"
            )
        asked = read_settings(folder)
        if not set(CHOICES) <= set(asked):
            raise InputError(f"--resume: got {folder}, expected the folder of a grid")
        check_same(given, asked)
    else:
        chosen = any(name in given for name in CHOICES)
        defaults = {
            option: [] if chosen else list(TABLES[table].names) for option, table in CHOICES.items()
        }
        asked = {"seeds": SEEDS, "shards": 1, **defaults, **given}
    seeds = asked.pop("seeds")
    names = {option: asked.pop(option) for option in CHOICES}
    rows = rows_of({table: names[option] for option, table in CHOICES.items()})
    settings = Settings.from_dict(asked) if args.resume else Settings.of(asked)
    if seeds < 2:
        raise InputError(f"--seeds: got {seeds}, expected at least 2, for an interval")
    pool = process_pool(args.jobs)
    if args.resume:
        opened = Run.resume(folder)
    else:
        opened = Run.create(folder, {**settings.to_dict(), "seeds": seeds, **names})

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    again = f"to go on: npformer ablate --out {folder} --resume"
    started = time.perf_counter()
    try:
        with pool:
            found = ablate(
                opened, settings, rows, seeds=seeds, executor=pool, say=say, at_once=args.jobs
            )
    except InputError:
        if not args.resume:
            opened.discard()
        raise
    except BrokenExecutor:
        raise InputError(
            f"--jobs: got {args.jobs} processes, of which one was ended from outside, for example "
            f"for want of memory; {again}"
        ) from None
    except KeyboardInterrupt:
        say(f"stopped; {again}")
        raise
    finally:
        opened.log.close()
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    print("\n".join(report(found)))
    print(f"{time.perf_counter() - started:.0f} s; everything is in {folder}")
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

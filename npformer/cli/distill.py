"""``npformer distill``: the main job."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from npformer.checks import InputError
from npformer.distill.settings import TRAINED

# Options that are settings of the run, by the name of the setting.
OPTIONS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "data": (
        str,
        "DIR",
        "a GLUE-style folder: train and dev as .tsv or .tsv.gz",
    ),
    "teacher": (
        str,
        "LxD[xH[xF]]|DIR",
        "size of the teacher, or its folder; H defaults to D // 64, F to 4D; "
        "default 4x96x4, with --data 4x128x4",
    ),
    "general_teacher": (str, "DIR", "weights before fine-tuning, if --teacher is a fine-tuned one"),
    "student": (
        str,
        "LxD[xH[xF]]",
        "size of the student; H defaults to the teacher's, F to 4D; default 2x64, with --data 2x96",
    ),
    "labelled": (int, "N", "how many labelled examples to use"),
    "unlabelled": (int, "N", "how many unlabelled reviews to generate"),
    "recipe": (str, "NAME", "corrected, paper or released"),
    "mapping": (str, "NAME", "which teacher layers teach: uniform (default), top or bottom"),
    "seed": (int, "S", "the first seed"),
    "batch_size": (int, "B", "sequences a step"),
    "vocab_size": (int, "V", "word pieces at most"),
    "max_len": (int, "T", "pieces a sequence at most"),
    "dropout": (float, "P", "dropout of the student, and of a teacher trained here"),
    "copies": (int, "N", "augmented sentences for each labelled one (N_a)"),
    "shards": (int, "N", "threads that share a batch (--recipe released: one)"),
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "distill",
        help="train a teacher, distil a TinyBERT student, compare them honestly",
        description=(
            "Pretrain and fine-tune a teacher, distil a student in TinyBERT's three phases, train "
            "the same student from scratch, and compare. Without --data, on embedded reviews."
        ),
    )
    add_settings(parser)
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="seeds, each in DIR/seed-S, with a verdict"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default runs/<date-time>")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=run)


def add_settings(parser: argparse.ArgumentParser, *, omit: Collection[str] = ()) -> None:
    """Add an option for each setting of a run."""
    for name, (kind, metavar, text) in OPTIONS.items():
        if name not in omit:
            parser.add_argument(
                _option(name), type=kind, metavar=metavar, help=text, default=argparse.SUPPRESS
            )
    for name, kind, text in (
        (
            "steps",
            int,
            f"updates of a phase: {', '.join(TRAINED)} (general, intermediate: 0 leaves it out)",
        ),
        ("epochs", float, "passes of a phase over its data, such as finetune=3"),
        ("rates", float, "peak learning rate of a phase, such as finetune=3e-4"),
        ("weights", float, "weight of a loss term, such as attention=0 to leave it out"),
    ):
        parser.add_argument(
            _option(name),
            dest=name,
            type=_amount(kind),
            action="append",
            metavar="NAME=N",
            help=text,
            default=argparse.SUPPRESS,
        )


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were asked for, by name; the others are not in it."""
    given = {name: getattr(args, name) for name in OPTIONS if hasattr(args, name)}
    return given | {
        name: dict(getattr(args, name))
        for name in ("steps", "epochs", "rates", "weights")
        if hasattr(args, name)
    }


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.distill.comparison import table
    from npformer.distill.seeds import distil_seeds, verdict_line
    from npformer.distill.settings import Settings
    from npformer.distill.tinybert import distil
    from npformer.train.malloc import keep_freed_memory
    from npformer.train.run import Run, read_settings

    keep_freed_memory()
    given = given_settings(args)
    if args.seeds is not None:
        given["seeds"] = args.seeds
    if given.get("seeds", 1) < 1:
        raise InputError(f"--seeds: got {args.seeds}, expected at least 1")
    folder = args.out or Path("runs") / time.strftime("%Y-%m-%d-%H%M%S")
    if args.resume:
        if args.out is None:
            raise InputError("--resume: got no --out, expected the folder of the run to go on with")
        saved = {"seeds": 1, **read_settings(folder)}  # a seed's own folder has no number of seeds
        check_same(given, saved)
    else:
        saved = {"seeds": 1, **given}
    seeds = saved.pop("seeds")
    settings = Settings.from_dict(saved) if args.resume else Settings.of(saved)
    if args.resume:
        opened = Run.resume(folder)
    else:
        opened = Run.create(folder, {**settings.to_dict(), "seeds": seeds})

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    started = time.perf_counter()
    try:
        if seeds > 1:
            results = distil_seeds(opened, settings, seeds, say)
        else:
            results = distil(opened, settings, say)
    except InputError:
        if not args.resume:
            opened.discard()
        raise
    except KeyboardInterrupt:
        say(f"stopped; to go on: npformer distill --out {folder} --resume")
        raise
    finally:
        opened.log.close()
    if args.json:
        print(json.dumps(results, indent=2))
        return 0
    for one in results["seeds"] if seeds > 1 else [results]:
        print("\n".join(table(one, one["measure"])))
    if seeds > 1:
        print(verdict_line(results))
    print(f"{time.perf_counter() - started:.0f} s; everything is in {folder}")
    return 0


def check_same(given: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Refuse to go on with a run with other settings than it was started with."""
    for name, value in given.items():
        if name not in saved or saved[name] != value:
            raise InputError(
                f"{_option(name)}: got {value}, expected what the run was started with, "
                f"{saved.get(name)} (--resume needs no other options)"
            )


def _option(name: str) -> str:
    """Return the option that gives a setting."""
    singular = {"rates": "rate", "weights": "weight"}
    return "--" + singular.get(name, name).replace("_", "-")


def _amount(kind: Callable[[str], Any]) -> Callable[[str], tuple[str, Any]]:
    def read(text: str) -> tuple[str, Any]:
        phase, equals, number = text.partition("=")
        if not equals:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected NAME=N")
        try:
            return phase, kind(number)
        except ValueError:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected a number after =") from None

    return read

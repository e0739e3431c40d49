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


def _baselines(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


# Options that are settings of the run, by the name of the setting.
Option = tuple[Callable[[str], Any], str, str]
OPTIONS: dict[str, dict[str, Option]] = {
    "data": {
        "data": (str, "DIR", "a GLUE-style folder: train and dev as .tsv or .tsv.gz"),
        "labelled": (int, "N", "how many labelled examples to use"),
        "unlabelled": (
            str,
            "FILE",
            "more unlabelled text, beside the folder's unlabelled.txt or the task's own: the lines "
            "of a .txt, the text columns of a .tsv, or .gz of these",
        ),
        "reviews": (int, "N", "without --data: how many unlabelled reviews to generate"),
        "max_len": (int, "T", "pieces a sequence at most"),
        "vocab_size": (int, "V", "word pieces at most, of a teacher trained here"),
    },
    "models": {
        "teacher": (
            str,
            "LxD[xH[xF]]|MODEL",
            "size of a teacher to train, H defaults to D // 64, F to 4D; or a model that is there: "
            "a folder, minilm, or a name on the hub; default 4x96x4, with --data 4x128x4",
        ),
        "general_teacher": (
            str,
            "MODEL",
            "the weights before fine-tuning, if --teacher is a fine-tuned model",
        ),
        "student": (
            str,
            "LxD[xH[xF]]",
            "size of the student; H defaults to the teacher's, F to 4D; default 2x64, with --data "
            "2x96, with --data and a model as teacher 3x128x4x384",
        ),
        "embedding_size": (
            int,
            "E",
            "width of the student's word table, with a projection to D behind it, as in ALBERT",
        ),
        "activation": (
            str,
            "NAME",
            "of the student's feed-forward layers: gelu, as in BERT; relu, which is faster, "
            "default with --data and a model as teacher; gelu_tanh or silu",
        ),
        "heads": (
            str,
            "NAME",
            "what a student's head is compared with: equal, the teacher's of that number, or "
            "group_mean, a group of the teacher's",
        ),
        "init_table": (
            str,
            "NAME",
            "the student's first word table: drawn, or pca of the teacher's",
        ),
        "dropout": (float, "P", "dropout of the student, and of a teacher trained here"),
    },
    "augmentation": {
        "augmenter": (
            str,
            "NAME|MODEL",
            "who exchanges words: teacher, its masked-LM head, if it has one; neighbours, those in "
            "its word table; none; or another masked LM with the teacher's tokenizer",
        ),
        "copies": (int, "N", "augmented sentences for each labelled one (N_a)"),
        "long_copies": (int, "N", "so many more for each long one"),
        "long_pieces": (int, "L", "long is what has at least so many pieces"),
    },
    "training": {
        "recipe": (str, "NAME", "corrected, paper or released"),
        "mapping": (str, "NAME", "which teacher layers teach: uniform (default), top or bottom"),
        "seed": (int, "S", "the first seed"),
        "batch_size": (int, "B", "sequences a step"),
        "baselines": (
            _baselines,
            "NAMES",
            "what the student is compared with: scratch (the labels alone), soft (the teacher's "
            "predictions alone), scratch,soft or none; each is trained too",
        ),
        "shards": (int, "N", "threads that share a batch (--recipe released: one)"),
    },
}
AMOUNTS: dict[str, tuple[Callable[[str], Any], str]] = {
    "steps": (
        int,
        f"updates of a phase: {', '.join(TRAINED)} (general, intermediate: 0 leaves it out)",
    ),
    "epochs": (float, "passes of a phase over its data, such as finetune=3"),
    "rates": (float, "peak learning rate of a phase, such as finetune=3e-4"),
    "weights": (float, "weight of a loss term, such as attention=0 to leave it out"),
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "distill",
        help="train a teacher, distil a TinyBERT student, compare them honestly",
        description=(
            "Pretrain and fine-tune a teacher, or take one that is there; distil a student in "
            "TinyBERT's three phases; train the same student without distillation; compare. "
            "Without --data, on embedded reviews."
        ),
    )
    group = add_settings(parser)
    group.add_argument(
        "--quick",
        action="store_true",
        help="with a model as teacher: fewer copies and passes, no general distillation and no "
        "baselines, unless these are asked for",
    )
    group = parser.add_argument_group("the run")
    group.add_argument(
        "--seeds", type=int, metavar="N", help="seeds, each in DIR/seed-S, with a verdict"
    )
    group.add_argument("--out", type=Path, metavar="DIR", help="default runs/<date-time>")
    group.add_argument("--resume", action="store_true", help="go on with the run in --out")
    group.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=run)


def add_settings(
    parser: argparse.ArgumentParser, *, omit: Collection[str] = ()
) -> "argparse._ArgumentGroup":
    """Add an option for each setting of a run, in groups, and return the last of these."""
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        for name, (kind, metavar, text) in options.items():
            if name not in omit:
                group.add_argument(
                    _option(name),
                    type=kind,
                    nargs="+" if name == "unlabelled" else None,
                    metavar=metavar,
                    help=text,
                    default=argparse.SUPPRESS,
                )
    for name, (kind, text) in AMOUNTS.items():
        group.add_argument(
            _option(name),
            dest=name,
            type=_amount(kind),
            action="append",
            metavar="NAME=N",
            help=text,
            default=argparse.SUPPRESS,
        )
    return group


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were asked for, by name; the others are not in it."""
    names = [*(name for group in OPTIONS.values() for name in group), *AMOUNTS]
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    return given | {name: dict(given[name]) for name in AMOUNTS if name in given}


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.distill.comparison import table
    from npformer.distill.seeds import distil_seeds, verdict_lines
    from npformer.distill.settings import Settings, quick
    from npformer.distill.tinybert import distil
    from npformer.train.malloc import keep_freed_memory
    from npformer.train.run import Run, read_settings

    keep_freed_memory()
    given = given_settings(args)
    if args.quick:
        given = quick(given)
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
    except Exception:
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
        print("\n".join(verdict_lines(results)))
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

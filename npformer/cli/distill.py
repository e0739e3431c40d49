"""``npformer distill``: the main job."""

import argparse
import time
from collections.abc import Callable, Collection
from typing import Any

from npformer.checks import InputError
from npformer.cli.in_folder import (
    Options,
    add_folder,
    add_options,
    given_options,
    open_asked,
    option_of,
    print_json,
    read_asked,
    say,
)
from npformer.jobs.distill.settings import DEFAULTS, TRAINED, Settings, quick


def _baselines(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


# Options that are settings of the run, by the name of the setting.
OPTIONS: dict[str, Options] = {
    "data": {
        "data": (str, "DIR", "a GLUE-style folder: train and dev as .tsv or .tsv.gz"),
        "labelled": (int, "N", "how many labelled examples to use"),
        "unlabelled": (
            str,
            "FILE...",
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
            "a folder, minilm, or a name on the hub",
        ),
        "general_teacher": (
            str,
            "MODEL",
            "the weights before fine-tuning, if --teacher is a fine-tuned model",
        ),
        "student": (
            str,
            "LxD[xH[xF]]",
            "size of the student; H defaults to the teacher's, F to 4D",
        ),
        "embedding_size": (
            int,
            "E",
            "width of the student's word table, with a projection to D behind it, as in ALBERT",
        ),
        "activation": (
            str,
            "NAME",
            "of the student's feed-forward layers: gelu, as in BERT; relu, which is faster; "
            "gelu_tanh or silu",
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
    add_folder(group)
    parser.set_defaults(run=run)


def add_settings(
    parser: argparse.ArgumentParser, *, omit: Collection[str] = ()
) -> "argparse._ArgumentGroup":
    """Add an option for each setting of a run, in groups, and return the last of these."""
    others = {"--data": DEFAULTS["folder"], "a model as teacher": DEFAULTS["checkpoint"]}
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        some = {name: option for name, option in options.items() if name not in omit}
        add_options(group, some, Settings, others)
    for name, (kind, text) in AMOUNTS.items():
        group.add_argument(
            option_of(name),
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
    given = given_options(args, [name for group in OPTIONS.values() for name in group])
    return given | {name: dict(pairs) for name, pairs in given_options(args, AMOUNTS).items()}


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.jobs.distill.comparison import table
    from npformer.jobs.distill.seeds import distil_seeds, verdict_lines
    from npformer.jobs.distill.tinybert import distil

    given = given_settings(args)
    if args.quick:
        given = quick(given)
    if args.seeds is not None:
        given["seeds"] = args.seeds
    if given.get("seeds", 1) < 1:
        raise InputError(f"--seeds: got {args.seeds}, expected at least 1")
    asked = read_asked(args, "distill", Settings, given, make=Settings.of, beside={"seeds": 1})
    seeds = asked.beside["seeds"]
    started = time.perf_counter()
    with open_asked(asked) as run:
        if seeds > 1:
            results = distil_seeds(run, asked.settings, seeds, say)
        else:
            results = distil(run, asked.settings, say)
    if args.json:
        print_json(results)
        return 0
    for one in results["seeds"] if seeds > 1 else [results]:
        print("\n".join(table(one, one["measure"])))
    if seeds > 1:
        print("\n".join(verdict_lines(results)))
    print(f"{time.perf_counter() - started:.0f} s; everything is in {asked.folder}")
    return 0


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

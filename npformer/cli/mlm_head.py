"""``npformer mlm-head``: a masked-LM head for a checkpoint that has none."""

import argparse

from npformer.cli.finetune import TRAINING
from npformer.cli.in_folder import (
    Options,
    add_folder,
    add_options,
    given_options,
    open_asked,
    print_json,
    read_asked,
    say,
)
from npformer.jobs.finetune.settings import HeadSettings

OPTIONS: Options = {
    "unlabelled": (
        str,
        "FILE...",
        "text to learn from: .txt, one text per line, or a table, .tsv; either may be .gz",
    ),
    "heldout": (str, "FILE", "text to be measured on, before and after"),
    **TRAINING,
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "mlm-head",
        help="train a masked-LM head on a pretrained encoder",
        description=(
            "Train a masked-LM head on unlabelled text; the encoder, and with it the token table "
            "that the head reads its words from, stays as it is. The model is then in RUN/model."
        ),
    )
    add_options(parser, OPTIONS, HeadSettings)
    add_folder(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.jobs.finetune.head import train_head

    given = given_options(args, OPTIONS)
    asked = read_asked(args, "mlm-head", HeadSettings, given, beside={"command": "mlm-head"})
    with open_asked(asked) as run:
        results = train_head(run, asked.settings, say)
    if args.json:
        print_json(results)
    else:
        for when in ("before", "after"):
            for name, value in results[when].items():
                print(f"{when:>6}  {name:>15}  {value:.4f}")
        print(f"{results['steps']:,} updates in {results['seconds']:.0f} s")
    say(f"everything is in {asked.folder}")
    return 0

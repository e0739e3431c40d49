"""``npformer finetune``: a classifier on a pretrained encoder."""

import argparse

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
from npformer.jobs.finetune.settings import Settings

# Those of every training on a pretrained model.
TRAINING: Options = {
    "model": (
        str,
        "minilm|DIR|NAME",
        "the package's all-MiniLM-L6-v2 (minilm), a folder, or a name on the hub",
    ),
    "epochs": (float, "E", "passes over the examples"),
    "rate": (float, "R", "peak learning rate"),
    "batch_size": (int, "B", "examples per step"),
    "warmup": (float, "P", "share of the updates in which the rate rises"),
    "max_len": (int, "T", "pieces an example at most"),
    "seed": (int, "S", "of everything random"),
    "shards": (int, "N", "threads that share a batch"),
}
OPTIONS: Options = {
    "data": (str, "DIR", "a GLUE-style folder: train and dev as .tsv or .tsv.gz"),
    "labelled": (int, "N", "how many labelled examples to use; default all"),
    "dropout": (float, "P", "default: what the model's config.json says"),
    **TRAINING,
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "finetune",
        help="train a classifier on a pretrained model",
        description=(
            "Put a classifier, or a regressor, on a pretrained encoder and train all of it. The "
            "model is then in RUN/model, a folder that transformers reads as well."
        ),
    )
    add_options(parser, OPTIONS, Settings)
    add_folder(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.jobs.finetune.job import finetune

    given = given_options(args, OPTIONS)
    asked = read_asked(args, "finetune", Settings, given, beside={"command": "finetune"})
    with open_asked(asked) as run:
        results = finetune(run, asked.settings, say)
    if args.json:
        print_json(results)
    else:
        print(f"{results['task']}, {results['dev_examples']:,} dev examples")
        for name, value in results["dev"].items():
            print(f"{name:>10}  {value:.4f}")
        print(f"{results['steps']:,} updates in {results['seconds']:.0f} s")
    say(f"everything is in {asked.folder}")
    return 0

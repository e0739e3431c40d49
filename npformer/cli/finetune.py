"""``npformer finetune``: a classifier on a pretrained encoder."""

import argparse

from npformer.cli.in_folder import Options, add_options, run_in_folder

OPTIONS: Options = {
    "data": (str, "DIR", "a GLUE-style folder: train and dev as .tsv or .tsv.gz"),
    "model": (
        str,
        "minilm|DIR|NAME",
        "the package's all-MiniLM-L6-v2 (default), a folder, or a name on the hub",
    ),
    "epochs": (float, "E", "passes over the labelled examples; default 1"),
    "rate": (float, "R", "peak learning rate; default 4e-5"),
    "batch_size": (int, "B", "examples per step; default 32"),
    "warmup": (float, "P", "share of the updates in which the rate rises; default 0.06"),
    "dropout": (float, "P", "default: what the model's config.json says"),
    "max_len": (int, "T", "pieces an example at most; default 128"),
    "labelled": (int, "N", "how many labelled examples to use; default all"),
    "seed": (int, "S", "of everything random; default 0"),
    "shards": (int, "N", "threads that share a batch; default 2"),
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
    add_options(parser, OPTIONS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.finetune.job import finetune
    from npformer.finetune.settings import Settings

    results = run_in_folder(args, OPTIONS, Settings, finetune)
    if not args.json:
        print(f"{results['task']}, {results['dev_examples']:,} dev examples")
        for name, value in results["dev"].items():
            print(f"{name:>10}  {value:.4f}")
        print(f"{results['steps']:,} updates in {results['seconds']:.0f} s")
    return 0

"""``npformer mlm-head``: a masked-LM head for a checkpoint that has none."""

import argparse

from npformer.cli.in_folder import Options, add_options, run_in_folder

OPTIONS: Options = {
    "unlabelled": (
        str,
        "FILE...",
        "text to learn from: .txt, one text per line, or a table, .tsv; either may be .gz",
    ),
    "heldout": (str, "FILE", "text to be measured on, before and after"),
    "model": (
        str,
        "minilm|DIR|NAME",
        "the package's all-MiniLM-L6-v2 (default), a folder, or a name on the hub",
    ),
    "epochs": (float, "E", "passes over the text; default 1"),
    "rate": (float, "R", "peak learning rate; default 1e-3"),
    "batch_size": (int, "B", "texts per step; default 32"),
    "warmup": (float, "P", "share of the updates in which the rate rises; default 0.06"),
    "max_len": (int, "T", "pieces a text at most; default 128"),
    "seed": (int, "S", "of everything random; default 0"),
    "shards": (int, "N", "threads that share a batch; default 2"),
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
    add_options(parser, OPTIONS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.finetune.head import train_head
    from npformer.finetune.settings import HeadSettings

    results = run_in_folder(args, OPTIONS, HeadSettings, train_head)
    if not args.json:
        for when in ("before", "after"):
            for name, value in results[when].items():
                print(f"{when:>6}  {name:>15}  {value:.4f}")
        print(f"{results['steps']:,} updates in {results['seconds']:.0f} s")
    return 0

"""``npformer cost``: what a model costs, from its configuration alone."""

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npformer.checks import InputError

if TYPE_CHECKING:
    from npformer.models.cost import Workload

MODELS = "bert-base, tinybert-4, tinybert-6, a size LxD[xH[xF]], a config.json or a model folder"


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "cost",
        help="count a model's parameters, multiply-adds and memory",
        description=(
            "Count parameters, multiply-adds and memory of a model, part by part, from its "
            "configuration alone. A name or a size means BERT's vocabulary, and a pooler."
        ),
    )
    parser.add_argument("model", metavar="CONFIG|DIR", help=MODELS)
    parser.add_argument(
        "--embedding-size",
        type=int,
        metavar="E",
        help="width of the first model's tables, if it is a name or a size; default its own",
    )
    parser.add_argument("--against", metavar="CONFIG|DIR", help="a larger model to compare with")
    parser.add_argument("--seq-len", type=int, default=128, metavar="T", help="default 128")
    parser.add_argument(
        "--source-len", type=int, metavar="S", help="of an encoder-decoder's source; default T"
    )
    parser.add_argument("--batch-size", type=int, default=1, metavar="B", help="default 1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.cli.cost_report import bill, bill_lines, comparison, comparison_lines

    report: dict[str, Any]
    work = _workload(args.model, args, args.embedding_size)
    if args.against is None:
        report = bill(args.model, work)
        lines = bill_lines(report)
    else:
        report = comparison(args.model, work, args.against, _workload(args.against, args))
        lines = comparison_lines(report)
    print(json.dumps(report, indent=2) if args.json else "\n".join(lines))
    return 0


def _workload(text: str, args: argparse.Namespace, embedding_size: int | None = None) -> "Workload":
    from npformer.models.config import PRESETS, preset, size
    from npformer.models.cost import Workload
    from npformer.models.encoder import Encoder

    batch = {"batch_size": args.batch_size, "seq_len": args.seq_len, "source_len": args.source_len}
    if text in PRESETS or re.fullmatch(r"\d+x[\dx]+", text):
        config = preset(text) if text in PRESETS else replace(preset("bert-base"), **size(text))
        config = replace(config, embedding_size=embedding_size)
        return Workload(kind=Encoder, config=config, pooler=True, **batch)
    path = _config_file(text)
    if embedding_size is not None:
        raise InputError(
            f"--embedding-size: got {embedding_size}, expected none with {text}, which has its own"
        )
    kind, config = _read(path)
    try:
        return Workload(kind=kind, config=config, **batch)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _config_file(text: str) -> Path:
    from npformer.models.folder import find_folder

    path = find_folder(text)
    if not path.exists():
        raise InputError(f"CONFIG: got {text!r}, expected {MODELS}")
    if not path.is_dir():
        return path
    if (path / "run.json").is_file():
        raise InputError(f"{text}: got a run, expected one of its models, such as {text}/student")
    if not (path / "config.json").is_file():
        raise InputError(f"{text}: got a folder without config.json, expected a model folder")
    return path / "config.json"


def _read(path: Path) -> tuple[Any, Any]:
    """Return the model that a config.json describes, ours or a Hugging Face family's."""
    from npformer.models.huggingface.config import read_config, read_kind
    from npformer.models.huggingface.weights import read_json
    from npformer.models.seq2seq import Seq2Seq
    from npformer.models.seq2seq_folder import MODEL_TYPE, read_seq2seq_config

    fields = read_json(path)
    try:
        if fields.get("model_type") == MODEL_TYPE:
            return Seq2Seq, read_seq2seq_config(fields)
        kind = read_kind(fields)
        return kind, read_config(fields, kind)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None

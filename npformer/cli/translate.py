"""``npformer translate``: sequence to sequence."""

import argparse
import json
from collections.abc import Collection
from pathlib import Path

from npformer.checks import InputError
from npformer.cli.in_folder import (
    Asked,
    Options,
    add_folder,
    add_options,
    given_options,
    open_asked,
    print_json,
    read_asked,
    say,
)
from npformer.data.vocabulary import KINDS
from npformer.jobs.translate.settings import FOLDER, SCHEDULES, Settings
from npformer.layers.attention_config import ATTENTIONS
from npformer.layers.positions import POSITIONS
from npformer.layers.relative import SCHEMES

# Options that are settings of the run, by the name of the setting.
OPTIONS: Options = {
    "data": (str, "DIR", "a folder of pairs: train, dev and perhaps test, .tsv or .tsv.gz"),
    "size": (str, "LxD[xH[xF]]", "layers of each side, width, heads, d_ff"),
    "vocab": (str, "KIND", ", ".join(KINDS)),
    "vocab_size": (int, "V", "pieces at most"),
    "max_len": (int, "T", "tokens per text at most"),
    "attention": (str, "NAME", f"{', '.join(ATTENTIONS)}; average: all source tokens alike"),
    "positions": (str, "NAME", ", ".join(POSITIONS)),
    "relative": (str, "NAME", f"of self-attention: {', '.join(SCHEMES)}"),
    "seed": (int, "S", "of everything random"),
    "pairs": (int, "N", "embedded pairs to generate"),
    "epochs": (float, "E", "passes over the pairs"),
    "steps": (int, "N", "updates, instead of epochs"),
    "batch_size": (int, "B", "pairs a step"),
    "schedule": (str, "NAME", ", ".join(SCHEDULES)),
    "rate": (float, "F", "peak learning rate; with noam the factor of its rate"),
    "warmup": (float, "P", "share of the updates in which the rate rises"),
    "label_smoothing": (float, "P", "share of the target spread over all tokens"),
    "dropout": (float, "P", "share of activations dropped in training"),
    "beams": (int, "N", "beams of the evaluation; 1 is greedy"),
    "shards": (int, "N", "threads that share a batch"),
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "translate",
        help="train an encoder-decoder on pairs of texts, run it, distil it",
        description="Sequence to sequence: train, run, distil.",
    )
    parts = parser.add_subparsers(dest="part", required=True, metavar="COMMAND")
    train = parts.add_parser(
        "train",
        help="train a model on pairs of texts",
        description="Train, measure and draw. Without --data, on embedded dates and numbers.",
    )
    _add_run(train)
    train.set_defaults(run=run_train)
    distil = parts.add_parser(
        "distill",
        help="train a smaller model on a teacher's translations",
        description="Sequence-level distillation (Kim and Rush 2016), from scratch beside it.",
    )
    distil.add_argument("--teacher", type=Path, metavar="DIR", help="the folder of its run")
    _add_run(distil, without=("vocab", "vocab_size"))  # the vocabulary is the teacher's
    distil.set_defaults(run=run_distill)
    use = parts.add_parser(
        "run", help="translate texts", description="Translate texts with a trained model."
    )
    use.add_argument("model", type=Path, metavar="DIR", help="the folder of a run or a model")
    use.add_argument("texts", nargs="+", metavar="TEXT")
    use.add_argument("--beams", type=int, default=1, metavar="N", help="default 1: greedy")
    use.add_argument("--allow-unknown", action="store_true", help="read unknown characters as one")
    use.add_argument(
        "--attention", type=Path, metavar="PNG", help="draw the alignment of the first TEXT"
    )
    use.add_argument("--json", action="store_true", help="print JSON")
    use.set_defaults(run=run_texts)


def _add_run(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    some = {name: option for name, option in OPTIONS.items() if name not in without}
    add_options(parser, some, Settings, {"--data": FOLDER})
    add_folder(parser)


def run_train(args: argparse.Namespace) -> int:
    """Run ``translate train``."""
    from npformer.jobs.translate.job import train

    asked = _asked(args, "train", {})
    with open_asked(asked) as run:
        results = train(run, asked.settings, say)
    if args.json:
        print_json(results)
        return 0
    say(f"everything is in {asked.folder}")
    print(f"{results['parameters']:,} parameters, {results['steps']:,} updates, ", end="")
    print(f"{results['seconds']:.0f} s of training")
    _print_rows({split: results[split] for split in ("dev", "test") if split in results})
    return 0


def run_distill(args: argparse.Namespace) -> int:
    """Run ``translate distill``."""
    from npformer.jobs.translate.job import distil

    teacher = {"teacher": None if args.teacher is None else str(args.teacher)}
    if args.teacher is None and not args.resume:
        raise InputError("--teacher: got none, expected the folder of a trained run")
    asked = _asked(args, "distill", teacher)
    with open_asked(asked) as run:
        results = distil(run, asked.settings, model_folder(Path(asked.beside["teacher"])), say)
    if args.json:
        print_json(results)
        return 0
    say(f"everything is in {asked.folder}")
    print(f"the teacher's translations of train: {results['teacher_targets']:.4f} exact")
    rows = {}
    for name in ("teacher", "student", "scratch"):
        split = "test" if "test" in results[name] else "dev"
        rows[f"{name}, {split}"] = {
            "parameters": results[name]["parameters"],
            **results[name][split],
        }
    _print_rows(rows)
    return 0


def _asked(args: argparse.Namespace, part: str, teacher: dict[str, str | None]) -> Asked:
    given = given_options(args, OPTIONS)
    given |= {name: value for name, value in teacher.items() if value is not None}
    beside = {"command": part, **teacher}
    return read_asked(args, f"translate {part}", Settings, given, make=Settings.of, beside=beside)


def run_texts(args: argparse.Namespace) -> int:
    """Run ``translate run``."""
    from npformer.data.vocabulary import load_vocabulary, unknown_characters
    from npformer.jobs.translate.evaluate import translate
    from npformer.jobs.translate.figures import save_attention
    from npformer.models.seq2seq_folder import load_seq2seq

    folder = model_folder(args.model)
    model, tokenizer = load_seq2seq(folder), load_vocabulary(folder / "tokenizer.json")
    if args.beams < 1:
        raise InputError(f"--beams: got {args.beams}, expected at least 1")
    if args.attention is not None and args.attention.suffix != ".png":
        raise InputError(f"--attention: got {args.attention}, expected a path that ends in .png")
    texts = [text.strip() for text in args.texts]  # as in a folder of pairs
    for text in texts:
        unknown = unknown_characters(tokenizer, text)
        if unknown and not args.allow_unknown:
            raise InputError(
                f"TEXT: got {text!r} with {' '.join(unknown)!r}, expected characters of the "
                "vocabulary (or --allow-unknown)"
            )
    found = translate(model, tokenizer, texts, beams=args.beams)
    if args.attention is not None:
        save_attention(model, tokenizer, texts[0], args.attention, model.config.max_len)
    if args.json:
        rows = [{"text": a, "translation": b} for a, b in zip(texts, found, strict=True)]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print("\n".join(found))
    return 0


def model_folder(folder: Path) -> Path:
    """Return the folder of the model: that of a run holds it in ``model``, or ``student``."""
    for name in ("model", "student"):
        if (folder / name / "config.json").is_file():
            return folder / name
    return folder


def _print_rows(rows: dict[str, dict[str, float]]) -> None:
    for name, row in rows.items():
        values = (f"{k} {v:,}" if isinstance(v, int) else f"{k} {v:.4f}" for k, v in row.items())
        print(f"{name:>14}  {'  '.join(values)}")

"""``npformer embed``: sentence embeddings of some texts."""

import argparse
import json
import sys
from io import BytesIO
from pathlib import Path

import numpy as np

from npformer.checks import InputError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "embed",
        help="sentence embeddings of texts",
        description=(
            "Print a row of numbers for each text: the mean of the encoder's states over its "
            "tokens, of length one, so that a product of two rows is their cosine."
        ),
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    parser.add_argument(
        "--model",
        default="minilm",
        metavar="minilm|DIR|NAME",
        help="the package's all-MiniLM-L6-v2 (default), a folder, or a name on the hub",
    )
    parser.add_argument("--file", type=Path, metavar="FILE", help="more texts, one per line")
    parser.add_argument("--max-len", type=int, metavar="T", help="pieces a text at most")
    parser.add_argument("--batch-size", type=int, default=32, metavar="B", help="default 32")
    parser.add_argument("--out", type=Path, metavar="FILE.npy", help="write an array instead")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.data.sentence_folder import sentence_length
    from npformer.data.tokenizer import encode_examples, load_tokenizer, special_ids
    from npformer.models.encoder import Encoder
    from npformer.models.huggingface import find_model, from_pretrained
    from npformer.train.embed import embed
    from npformer.train.run import write_bytes

    texts = _texts(args)
    if args.batch_size < 1:
        raise InputError(f"--batch-size: got {args.batch_size}, expected at least 1")
    if args.out is not None and (args.out.suffix != ".npy" or not args.out.parent.is_dir()):
        raise InputError(f"--out: got {args.out}, expected a .npy file in a folder that is there")
    folder = find_model(args.model)
    model = from_pretrained(folder, Encoder)
    tokenizer = load_tokenizer(folder, vocab_size=model.config.vocab_size)
    longest = model.config.max_len
    max_len = sentence_length(folder, longest) if args.max_len is None else args.max_len
    if max_len > longest:
        raise InputError(f"--max-len: got {max_len}, expected at most the model's {longest}")
    encoded, cut = encode_examples(tokenizer, texts, max_len=max_len)
    if cut:
        print(f"{cut} of {len(texts)} cut at {max_len} pieces", file=sys.stderr)
    pad_id = special_ids(tokenizer).pad
    many = len(texts) > 10 * args.batch_size
    rows = embed(model, encoded, pad_id, batch_size=args.batch_size, progress=many)
    if args.out is not None:
        array = BytesIO()
        np.save(array, rows)
        write_bytes(args.out, array.getvalue())
        print(f"{len(rows)} rows of {rows.shape[1]} in {args.out}", file=sys.stderr)
    if args.json:
        told = [{"text": t, "embedding": r.tolist()} for t, r in zip(texts, rows, strict=True)]
        print(json.dumps(told, ensure_ascii=False))
    elif args.out is None:
        for row in rows:
            print(" ".join(f"{x:.6f}" for x in row))
    return 0


def _texts(args: argparse.Namespace) -> list[str]:
    texts: list[str] = list(args.texts)
    if args.file is not None:
        try:
            # Not splitlines, which also cuts at characters inside a line.
            lines = args.file.read_text("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{args.file}: got bytes that are not UTF-8, expected UTF-8"
            ) from error
        texts += lines[:-1] if lines[-1] == "" else lines
    if not texts:
        raise InputError("TEXT: got none, expected a text or --file with at least a line")
    for text in texts:
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise InputError(f"TEXT: got {text!r}, expected UTF-8")
    return texts

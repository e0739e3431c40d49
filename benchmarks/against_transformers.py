"""Same answers in transformers: ``python -m benchmarks.against_transformers DIR... --data DIR``.

Each folder of a classifier is read by npformer and by transformers, tokenizer included, and both
answer the sentences of dev. Printed are what transformers finds missing or unexpected, the largest
difference of the logits, the share of equal predictions and both accuracies.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npformer.checks import InputError
from npformer.data.glue import Examples, load_folder
from npformer.data.tokenizer import encode_examples, load_tokenizer, special_ids
from npformer.models import SequenceClassifier, from_pretrained
from npformer.train.evaluate import predict_logits
from npformer.types import FloatArray

BATCH = 64
REPORTED = ("missing_keys", "unexpected_keys", "mismatched_keys")


def main(argv: Sequence[str] | None = None) -> int:
    """Answer with both, and print a line for each folder; 1 if any of them differ."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.against_transformers", description=__doc__
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="classifiers")
    parser.add_argument("--data", required=True, metavar="DIR", help="a GLUE-style folder")
    args = parser.parse_args(argv)
    same = True
    try:
        dev = load_folder(args.data).dev
        for folder in args.folders:
            ours, (theirs, report) = our_logits(folder, dev), their_logits(folder, dev)
            equal = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
            right = [float((z.argmax(axis=1) == dev.labels).mean()) for z in (ours, theirs)]
            print(
                f"{folder}: {report}; logits differ by {np.abs(ours - theirs).max():.1e} at most, "
                f"predictions equal {equal:.4f} of {len(ours)}, accuracy {right[0]:.4f} here and "
                f"{right[1]:.4f} there"
            )
            same &= equal == 1 and report.endswith("nothing to report")
    except InputError as error:
        print(f"benchmarks.against_transformers: {error}", file=sys.stderr)
        return 2
    return 0 if same else 1


def our_logits(folder: Path, dev: Examples) -> FloatArray:
    """Return npformer's logits (N, C)."""
    model = from_pretrained(folder, SequenceClassifier)
    tokenizer = load_tokenizer(folder, vocab_size=model.config.vocab_size)
    encoded, _ = encode_examples(tokenizer, dev.first, dev.second, max_len=model.config.max_len)
    return predict_logits(model, encoded, special_ids(tokenizer).pad)


def their_logits(folder: Path, dev: Examples) -> tuple[FloatArray, str]:
    """Return transformers' logits (N, C), and what it says about the folder."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model, info = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, output_loading_info=True
    )
    model.eval()
    found = [f"{name} {sorted(info[name])}" for name in REPORTED if info[name]]
    report = f"{type(model).__name__}, {'; '.join(found) or 'nothing to report'}"
    parts = []
    with torch.inference_mode():
        for start in range(0, len(dev.first), BATCH):
            texts = [
                side[start : start + BATCH] for side in (dev.first, dev.second) if side is not None
            ]
            batch = tokenizer(*texts, padding=True, truncation=True, return_tensors="pt")
            parts.append(model(**batch).logits.numpy())
    return np.concatenate(parts), report


if __name__ == "__main__":
    sys.exit(main())

"""``npformer predict``: the labels of some texts."""

import argparse
import json
import sys


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "predict", help="label texts with a model", description="Label texts with a model."
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a classifier: its folder, or a name on the hub"
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="a pair is separated by a tab")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.checks import InputError
    from npformer.data.tokenizer import encode_examples, load_tokenizer, special_ids
    from npformer.jobs.finetune.start import check_pairs
    from npformer.models.heads import SequenceClassifier
    from npformer.models.huggingface import find_model, from_pretrained, load_labels
    from npformer.ops.softmax import softmax_forward
    from npformer.train.evaluate import predict_logits

    folder = find_model(args.model)
    model = from_pretrained(folder, SequenceClassifier)
    tokenizer = load_tokenizer(folder, vocab_size=model.config.vocab_size)
    pairs = [text.split("\t") for text in args.texts]
    if len({len(pair) for pair in pairs}) != 1 or len(pairs[0]) > 2:
        raise InputError("TEXT: got texts and pairs, expected all single or all with one tab")
    if len(pairs[0]) == 2:
        check_pairs(model.config, tokenizer, source=str(folder))
    encoded, cut = encode_examples(
        tokenizer,
        [pair[0] for pair in pairs],
        [pair[1] for pair in pairs] if len(pairs[0]) == 2 else None,
        max_len=model.config.max_len,
    )
    if cut:
        print(f"{cut} of {len(encoded)} cut at {model.config.max_len} pieces", file=sys.stderr)
    logits = predict_logits(model, encoded, special_ids(tokenizer).pad)  # (N, C)
    rows = []
    if model.config.problem == "regression":
        rows = [{"text": t, "score": float(z[0])} for t, z in zip(args.texts, logits, strict=True)]
    else:
        names = load_labels(folder)
        probs, _ = softmax_forward(logits)
        for text, p in zip(args.texts, probs, strict=True):
            best = int(p.argmax())
            rows.append({"text": text, "label": names[best], "probability": float(p[best])})
    if args.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        for row in rows:
            answer = row.get("label", "") or f"{row['score']:.4f}"
            sure = f"{row['probability']:.3f}" if "probability" in row else ""
            print(f"{answer}\t{sure}\t{row['text']}" if sure else f"{answer}\t{row['text']}")
    return 0

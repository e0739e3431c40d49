"""``npformer eval``: the scores of a model on a task."""

import argparse
import json


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "eval",
        help="score a model on labelled data",
        description="Score a model on the dev or test split of a folder, or of the reviews.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a classifier: its folder, or a name on the hub"
    )
    parser.add_argument("--data", metavar="DIR", help="a GLUE-style folder; default: reviews")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--seed", type=int, default=0, help="of the reviews")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.checks import InputError
    from npformer.data.glue import load_folder
    from npformer.data.reviews import generate_reviews
    from npformer.data.tokenizer import encode_examples, load_tokenizer, special_ids
    from npformer.jobs.finetune.start import check_pairs, class_order
    from npformer.models.heads import SequenceClassifier
    from npformer.models.huggingface import find_model, from_pretrained, load_labels
    from npformer.train.evaluate import predict_logits, score

    folder = find_model(args.model)
    model = from_pretrained(folder, SequenceClassifier)
    tokenizer = load_tokenizer(folder, vocab_size=model.config.vocab_size)
    if args.data is None:
        task = generate_reviews(labelled=2, unlabelled=0, seed=args.seed)
    else:
        task = load_folder(args.data)
    order = class_order(model, load_labels(folder), task, source=str(folder))
    if task.train.second is not None:
        check_pairs(model.config, tokenizer, source=str(folder))
    split = task.dev if args.split == "dev" else task.test
    if split is None or split.labels is None:
        raise InputError(f"--split: got {args.split}, expected one that {args.data} holds")
    encoded, cut = encode_examples(
        tokenizer, split.first, split.second, split.labels, max_len=model.config.max_len
    )
    logits = predict_logits(model, encoded, special_ids(tokenizer).pad)[:, order]
    results = {"sentences": len(encoded), "cut": cut, **score(logits, split.labels, task.kind)}
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        for name, value in results.items():
            print(
                f"{name:>10}  {value:.4f}" if isinstance(value, float) else f"{name:>10}  {value:,}"
            )
    return 0

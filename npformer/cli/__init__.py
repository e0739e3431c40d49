"""Part VIII, the command line: one file per command.

Bad input is one sentence on stderr and exit code 2; a failed check is exit code 1; Ctrl-C is 130.
A reader of the output that leaves early, as ``head`` does, ends a command without a word: 141.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from npformer.checks import InputError
from npformer.cli import (
    ablate,
    cost,
    distill,
    embed,
    evaluate,
    finetune,
    gradcheck,
    learn,
    mlm_head,
    predict,
    quiz,
    translate,
)

COMMANDS = (
    distill,
    ablate,
    finetune,
    mlm_head,
    predict,
    evaluate,
    embed,
    translate,
    cost,
    gradcheck,
    learn,
    quiz,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="npformer",
        description="Transformers and TinyBERT distillation in NumPy, every gradient by hand.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    args = parser.parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except InputError as error:
        print(f"npformer {args.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # What is left would be written when Python ends, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, as of other tools
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"npformer {args.command}: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nnpformer {args.command}: stopped", file=sys.stderr)
        return 130
    return code

"""The command line: ``python -m benchmarks``; ``against``, ``scaling``, ``ablation``, ``profile``.

Bad input is one sentence on stderr and exit code 2; contenders that failed or disagreed are exit
code 1, after everything else has been measured; Ctrl-C is 130.
"""

import sys
from collections.abc import Callable, Sequence

from benchmarks import against, compare, profiling
from benchmarks.ablation import command as ablation
from benchmarks.scaling import command as scaling
from npformer.checks import InputError

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "against": against.main,
    "scaling": scaling.main,
    "ablation": ablation.main,
    "profile": profiling.main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    command = COMMANDS.get(arguments[0]) if arguments else None
    try:
        return compare.main(arguments) if command is None else command(arguments[1:])
    except InputError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"benchmarks: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nbenchmarks: stopped", file=sys.stderr)
        return 130

"""What commands that train in a run's folder have in common: new runs, resumed ones, Ctrl-C."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from npformer.checks import InputError

# For each setting: its type, what stands for its value in the help, the help.
Options = Mapping[str, tuple[Callable[[str], Any], str, str]]


class Settings(Protocol):
    """What `npformer.layers.config.Config` gives its subclasses."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make settings of exactly these names."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return all names and values."""
        ...


def add_options(parser: argparse.ArgumentParser, options: Options) -> None:
    """Add an option for each setting, and those of the folder."""
    for name, (kind, metavar, text) in options.items():
        many: dict[str, Any] = {"nargs": "+"} if metavar.endswith("...") else {}
        parser.add_argument(
            _option(name),
            type=kind,
            metavar=metavar.removesuffix("..."),
            help=text,
            default=argparse.SUPPRESS,
            **many,
        )
    parser.add_argument("--out", type=Path, metavar="RUN", help="default runs/<date-time>")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run_in_folder(
    args: argparse.Namespace,
    options: Options,
    settings_class: type[Settings],
    job: Callable[[Any, Any, Callable[[str], None]], dict[str, Any]],
) -> dict[str, Any]:
    """Run ``job(run, settings, say)`` in the folder of ``--out``, which is new or resumed.

    Raises
    ------
    InputError
        If the folder or the options cannot be used. A new run in which no step was made leaves
        no folder.
    """
    from npformer.train.malloc import keep_freed_memory
    from npformer.train.run import Run, read_settings

    keep_freed_memory()
    given = {name: getattr(args, name) for name in options if hasattr(args, name)}
    folder = args.out or Path("runs") / time.strftime("%Y-%m-%d-%H%M%S")
    if args.resume:
        if args.out is None:
            raise InputError("--resume: got no --out, expected the folder of the run to go on with")
        saved = read_settings(folder)
        if saved.pop("command", None) != args.command:
            raise InputError(f"--resume: got {folder}, expected a run of npformer {args.command}")
        for name, value in given.items():
            if saved.get(name) != value:
                raise InputError(
                    f"{_option(name)}: got {value}, expected what the run was started with, "
                    f"{saved.get(name)} (--resume needs no other options)"
                )
        settings = settings_class.from_dict(saved)
        opened = Run.resume(folder)
    else:
        settings = settings_class.from_dict(given)
        opened = Run.create(folder, {"command": args.command, **settings.to_dict()})

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        results = job(opened, settings, say)
    except Exception:
        if not args.resume:
            opened.discard()
        raise
    except KeyboardInterrupt:
        say(f"stopped; to go on: npformer {args.command} --out {folder} --resume")
        raise
    finally:
        opened.log.close()
    if args.json:
        print(json.dumps(results, indent=2))
    say(f"everything is in {folder}")
    return results


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")

"""What commands that train in a run's folder have in common: options, new runs, resumed ones."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from npformer.checks import InputError
from npformer.layers.config import Config

if TYPE_CHECKING:
    from npformer.train.run import Run

# For each setting: its type, what stands for its value in the help (with ... for several), the
# help, to which the default is added.
Options = Mapping[str, tuple[Callable[[str], Any], str, str]]
# Settings that are a table, from phases for example: an option gives one entry.
ENTRIES = {"rates": "rate", "weights": "weight"}


def add_options(
    group: "argparse.ArgumentParser | argparse._ArgumentGroup",
    options: Options,
    settings: type[Config],
    others: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> None:
    """Add an option for each setting; its default stands in the help, not in the arguments.

    Parameters
    ----------
    group : ArgumentParser or group of arguments
    options : mapping
    settings : class
        Whose defaults hold.
    others : mapping of mappings
        Other defaults, by what they come with.
    """
    defaults = {field.name: field.default for field in fields(settings)}
    for name, (kind, metavar, text) in options.items():
        known = [] if defaults[name] in (None, MISSING) else [f"default {defaults[name]}"]
        known += [
            f"with {what} {values[name]}" for what, values in others.items() if name in values
        ]
        group.add_argument(
            option_of(name),
            type=kind,
            nargs="+" if metavar.endswith("...") else None,
            metavar=metavar.removesuffix("..."),
            help=f"{text}; {', '.join(known)}" if known else text,
            default=argparse.SUPPRESS,
        )


def add_folder(group: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add the options of the folder."""
    group.add_argument("--out", type=Path, metavar="RUN", help="default runs/<date-time>")
    group.add_argument("--resume", action="store_true", help="go on with the run in --out")
    group.add_argument("--json", action="store_true", help="print the results as JSON")


def option_of(name: str) -> str:
    """Return the option that gives a setting."""
    return "--" + ENTRIES.get(name, name).replace("_", "-")


@dataclass(frozen=True)
class Asked:
    """What a command is asked to do, in which folder."""

    command: str
    folder: Path
    resume: bool
    settings: Any
    beside: dict[str, Any]  # what ``run.json`` holds beside the settings


def read_asked(
    args: argparse.Namespace,
    command: str,
    settings: type[Config],
    given: Mapping[str, Any],
    *,
    make: Callable[[Mapping[str, Any]], Any] | None = None,
    beside: Mapping[str, Any],
) -> Asked:
    """Return what the run in ``--out`` was started with, or for a new run what is given.

    Parameters
    ----------
    args : Namespace
        With ``out`` and ``resume``.
    command : str
        As it is called.
    settings : class
    given : mapping
        What was asked for on the command line, by name.
    make : callable, optional
        Makes the settings of a new run; by default ``settings.from_dict``.
    beside : mapping
        What is no setting, with its default.

    Raises
    ------
    InputError
        If the folder holds no run of this command, or one that was started with other values.
    """
    folder = args.out or Path("runs") / time.strftime("%Y-%m-%d-%H%M%S")
    asked = _saved(args, command, given, beside) if args.resume else {**beside, **given}
    rest = {name: asked.pop(name) for name in beside}
    make = settings.from_dict if args.resume or make is None else make
    return Asked(command, folder, args.resume, make(asked), rest)


def _saved(
    args: argparse.Namespace, command: str, given: Mapping[str, Any], beside: Mapping[str, Any]
) -> dict[str, Any]:
    from npformer.train.run import read_settings

    if args.out is None:
        raise InputError("--resume: got no --out, expected the folder of the run to go on with")
    saved = read_settings(args.out)
    missing = set(beside) - {"seeds"} - set(saved)  # a seed's own folder has no number of seeds
    if missing or saved.get("command") != beside.get("command"):
        raise InputError(f"--resume: got {args.out}, expected a run of npformer {command}")
    saved = {**beside, **saved}
    for name, value in given.items():
        if name not in saved or saved[name] != value:
            raise InputError(
                f"{option_of(name)}: got {value}, expected what the run was started with, "
                f"{saved.get(name)} (--resume needs no other options)"
            )
    return saved


@contextmanager
def open_asked(asked: Asked) -> Iterator["Run"]:
    """Open the run that was asked for; see `npformer.train.run.open_run`."""
    from npformer.train.malloc import keep_freed_memory
    from npformer.train.run import open_run

    keep_freed_memory()
    new = None if asked.resume else {**asked.settings.to_dict(), **asked.beside}
    try:
        with open_run(asked.folder, new) as run:
            yield run
    except KeyboardInterrupt:
        say(f"stopped; {how_to_go_on(asked)}")
        raise


def how_to_go_on(asked: Asked) -> str:
    """Return the command that resumes a run."""
    return f"to go on: npformer {asked.command} --out {asked.folder} --resume"


def say(line: str) -> None:
    """Print a line of what is going on."""
    print(line, file=sys.stderr, flush=True)


def given_options(args: argparse.Namespace, names: Collection[str]) -> dict[str, Any]:
    """Return those of the settings that were asked for."""
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def print_json(results: Mapping[str, Any]) -> None:
    """Print what a run has found as JSON."""
    print(json.dumps(results, indent=2))

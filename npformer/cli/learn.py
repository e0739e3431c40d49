"""``npformer learn``: the exercises in a terminal."""

import argparse
import io
import re
import sys
from pathlib import Path

from npformer.checks import InputError

EPILOG = """\
a session:
  npformer learn init my_exercises      a file for each exercise, and test_exercises.py
  cd my_exercises
  npformer learn check --watch          in order, whenever a file is saved; Ctrl-C ends it
  npformer learn hint softmax           one hint more at each call
  npformer learn list

An interview: `npformer learn check softmax-backward --timed 20m` watches that file and ends when it
is right (exit code 0) or the time is up (1). Without --timed nothing is measured.

The exit code of check is 0 if what was checked is right, else 1.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its own commands."""
    parser = commands.add_parser(
        "learn",
        help="exercises that know what you did wrong",
        description="Write each function yourself; the check says what is wrong and why.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--lang",
        metavar="en|zh",
        help="default: NPFORMER_LANG, else the folder's, for a new one the locale's",
    )
    common.add_argument(
        "--course",
        metavar="DIR",
        help="exercises of your own: a folder, or an installed course (default: the folder's, else "
        "npformer's)",
    )
    inside = argparse.ArgumentParser(add_help=False, parents=[common])
    inside.add_argument(
        "--dir", type=Path, default=Path(), help="default: the folder you are in, or one above"
    )

    action = actions.add_parser("init", parents=[common], help="make a folder of exercises")
    action.add_argument(
        "path",
        type=Path,
        nargs="?",
        metavar="DIR",
        help="new, or one to complete; default: the one you are in",
    )

    action = actions.add_parser("list", parents=[inside], help="what is done and what is left")
    action.add_argument(
        "--track",
        help="only interview (what interviews ask), gradcheck (gradients to derive) or class (what "
        "fits a class: all)",
    )

    action = actions.add_parser("check", parents=[inside], help="check what you wrote")
    action.add_argument(
        "id", nargs="?", metavar="ID", help="or its file; default: up to the first not done"
    )
    how = action.add_mutually_exclusive_group()
    how.add_argument("--all", action="store_true", help="every file that you wrote in")
    how.add_argument("--watch", action="store_true", help="again whenever a file is saved")
    how.add_argument(
        "--timed", type=duration, metavar="20m", help="watch one exercise until the time is up"
    )
    action.add_argument(
        "--time-limit", type=duration, metavar="10s", help="how long a file may run"
    )

    for name, text in (
        ("hint", "one hint more"),
        ("reset", "begin a file anew; the old one is kept beside it"),
        ("solution", "the solution, and the library's own code"),
    ):
        action = actions.add_parser(name, parents=[inside], help=text)
        action.add_argument("id", metavar="ID", help="or the path of its file")

    action = actions.add_parser("export", parents=[common], help="files for a class")
    action.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    action.add_argument("--format", required=True, metavar="nbgrader|ipynb|py")

    action = actions.add_parser("new", help="an exercise of your own, to be changed")
    action.add_argument("id", metavar="ID", help="such as weighted-mean")
    action.add_argument("--course", type=Path, default=Path(), metavar="DIR", help="default: .")
    action.add_argument("--chapter", default="exercises", metavar="NAME", help="a folder in DIR")
    action.add_argument("--zh", action="store_true", help="its texts in Chinese, too")

    action = actions.add_parser("verify", help="whether a course of your own holds what ours do")
    action.add_argument("course", metavar="DIR|NAME")
    action.add_argument("--seeds", type=count, default=100, metavar="N", help="default: 100")
    parser.set_defaults(run=run)


def duration(text: str) -> float:
    """Return the seconds of "20m", "90s" or "1h"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a time such as 20m, 90s or 1h")
    return seconds


def count(text: str) -> int:
    """Return a number from 1."""
    if not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number from 1")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.exercises.export import export
    from npformer.exercises.learn import authors, checking, commands, state, table
    from npformer.exercises.learn.folder import Folder
    from npformer.exercises.learn.run import SECONDS
    from npformer.exercises.learn.session import Session
    from npformer.exercises.own import open_course
    from npformer.exercises.text import asked, language

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may have no Chinese letters
    if args.action == "new":
        return authors.new(args.id, args.course, args.chapter, args.zh, say)
    if args.action == "verify":
        return authors.verify(open_course(args.course), args.seeds, say)
    chosen = asked(args.lang)
    if args.action == "init":
        return commands.init(args.path, language(), chosen, say, args.course)
    if args.action == "export":
        course = open_course(args.course or "")
        paths = export(args.out, args.format, course=course, lang=language(args.lang))
        say(f"{args.out}: {len(paths)} files, the first is {paths[0]}")
        if args.format == "nbgrader":
            first = paths[0].parent.name
            say(f"then: cd {args.out} && nbgrader generate_assignment {first}")
        return 0
    folder = Folder.find(args.dir, args.course)
    lang = chosen or state.load(folder.path).lang
    session = Session(folder, lang, say, getattr(args, "time_limit", None) or SECONDS)
    match args.action:
        case "list":
            return table.show_list(session, args.track)
        case "hint":
            return commands.hint(session, args.id)
        case "reset":
            return commands.reset(session, args.id)
        case "solution":
            return commands.solution(session, args.id)
    if args.all and args.id:
        raise InputError(f"ID: got {args.id!r} and --all, expected one of them")
    if args.all:
        return checking.check_all(session)
    if args.watch or args.timed:
        return checking.watch(session, args.id, args.timed)
    return checking.check(session, args.id)


def say(line: str) -> None:
    """Print a line at once, so that a watch can be piped."""
    print(line, flush=True)

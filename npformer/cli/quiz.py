"""``npformer quiz``: interview questions, each with a proof that runs."""

import argparse
import sys
from datetime import date
from pathlib import Path

from npformer.checks import InputError


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "quiz",
        help="interview questions with answers that prove themselves",
        description=(
            "Ask interview questions: the answer, the follow-up, and code that proves the answer, "
            "which is run. How well you knew it (1 to 4) decides when it comes again, today or in "
            "up to 90 days. Every grade is saved at once; q, Ctrl-D or Ctrl-C ends."
        ),
    )
    parser.add_argument("--topic", metavar="TOPIC", help="one topic; --list names them")
    parser.add_argument("--lang", metavar="en|zh", help="default NPFORMER_LANG or the locale's")
    number = parser.add_mutually_exclusive_group()
    number.add_argument(
        "--count", type=int, default=10, metavar="N", help="ask N at most of those due; default 10"
    )
    number.add_argument("--all", action="store_true", help="ask every card, due or not")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help=(
            "where the schedule is kept; default npformer/quiz.json in XDG_DATA_HOME or "
            "~/.local/share, on Windows in LOCALAPPDATA"
        ),
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="list the cards and ask nothing")
    instead.add_argument("--show", metavar="ID", help="show a card, run its proof and ask nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from npformer.exercises.quiz import deck, session
    from npformer.exercises.quiz.schedule import due
    from npformer.exercises.quiz.state import default_path, load, save
    from npformer.exercises.text import language

    if args.count < 1:
        raise InputError(f"--count: got {args.count}, expected at least 1")
    lang, today = language(args.lang), date.today()
    if args.show is not None:
        return 0 if session.show(deck.find(args.show), lang, _say) else 1
    cards = deck.of_topic(args.topic)
    path = default_path() if args.state is None else args.state
    state = load(path)
    if args.list:
        _say(session.listing(cards, state, lang))
        return 0
    save(path, state)  # a file that cannot be written is refused before the first question
    asked = cards if args.all else due(cards, state, today)[: args.count]
    if not asked:
        _say(session.nothing_due(cards, state, lang))
        return 0
    return 0 if session.ask(asked, path, lang, today, _say, _read) else 1


def _say(line: str) -> None:
    print(line, flush=True)


def _read(prompt: str) -> str | None:
    """Return the next line of the input, or None at its end."""
    print(prompt, end=" ", flush=True)
    line = sys.stdin.readline()
    if not (line and sys.stdin.isatty()):
        print(line.rstrip("\n"))  # nobody typed it into this terminal
    return line.strip() if line else None

"""``npformer learn`` init, hint, reset and solution; each returns the exit code."""

from collections.abc import Callable
from pathlib import Path

from npformer.checks import InputError
from npformer.exercises.learn import state
from npformer.exercises.learn.folder import around, make
from npformer.exercises.learn.layout import fill
from npformer.exercises.learn.session import Session
from npformer.exercises.task import find
from npformer.exercises.text import COLON
from npformer.exercises.translation import message


def init(
    path: Path | None,
    lang: str,
    chosen: str | None,
    say: Callable[[str], None],
    course: str | None = None,
) -> int:
    """Make a folder or add what one lacks: ``path``, else the one that one is in.

    Raises
    ------
    InputError
        If there is none, or `make` raises it.
    """
    if path is None:
        path = around(Path())
        if path is None:
            raise InputError(
                "DIR: got none, expected a folder to make, such as "
                "`npformer learn init my-exercises`"
            )
    folder, new = make(path, lang, chosen, course)
    session = Session(folder, state.load(folder.path).lang, say)
    if len(new) == 1:
        session.tell("{path}: 1 new file.", path=folder.path)
    else:
        session.tell("{path}: {number} new files.", path=folder.path, number=len(new))
    if task := session.first_open():
        session.tell("Begin with {where}", where=session.where(task))
        where = "" if Path.cwd().is_relative_to(folder.path) else f" --dir {path}"
        session.tell("then: npformer learn check{where}", where=where)
    return 0


def hint(session: Session, task_id: str) -> int:
    """Show the hints seen so far and one more."""
    task = find(task_id, session.course)
    seen = state.load(session.folder.path).of(task.id).hints
    now = min(seen + 1, len(task.hints))
    state.record(session.folder.path, task.id, hints=now)
    for number, text in enumerate(task.hints[:now], start=1):
        label = message("Hint {number} of {all}", number=number, all=len(task.hints))
        said = (label.to(session.lang), text.to(session.lang))
        for line in fill(COLON.to(session.lang).join(said)):
            session.say(line)
    if seen == now:
        session.tell("That was the last one. npformer learn solution {id}", id=task.id)
    return 0


def reset(session: Session, task_id: str) -> int:
    """Put the file back as it was, and keep what was written in it beside it."""
    task = find(task_id, session.course)
    where = session.where(task)
    if session.folder.new(task, session.lang):
        session.tell("{where} is as it was at first: nothing to put back.", where=where)
        return 0
    kept = session.folder.reset(task, session.lang)
    session.tell("{where} is new again.", where=where)
    if kept:
        session.tell("What was in it is in {name}.", name=kept.name)
    return 0


def solution(session: Session, task_id: str) -> int:
    """Show the solution, and remember that it was shown."""
    task = find(task_id, session.course)
    state.record(session.folder.path, task.id, solution=True)
    session.say(f"{task.solution()}\n")
    if behind := task.behind().rstrip():
        session.tell("# What is behind it:")
        session.say(f"\n{behind}\n")
    for line in fill(task.reading.to(session.lang)) if task.docs else ():
        session.say(f"# {line}")
    return 0

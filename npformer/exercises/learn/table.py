"""``npformer learn list``: what is done and what is left."""

from itertools import groupby

from npformer.checks import InputError
from npformer.exercises.exercise import TRACKS
from npformer.exercises.learn import state
from npformer.exercises.learn.layout import pad
from npformer.exercises.learn.session import Session
from npformer.exercises.task import CATCH_IT, FIND_THE_BUG, Task, tasks
from npformer.exercises.text import COLON, width
from npformer.exercises.translation import message


def show_list(session: Session, track: str | None) -> int:
    """Print a table of all exercises, or those of a track, and the progress.

    Raises
    ------
    InputError
        If there is no such track.
    """
    if track is not None and track not in TRACKS:
        raise InputError(f"--track: got {track!r}, expected one of {', '.join(TRACKS)}")
    saved = state.load(session.folder.path)
    chosen = [task for task in tasks(session.course) if track is None or track in task.tracks]
    done = [task for task in chosen if session.folder.done(task, saved)]
    rows = [_row(session, task, task in done, saved.of(task.id)) for task in chosen]
    sizes = [max(map(width, column)) for column in zip(*rows, strict=True)]
    chapters = groupby(
        zip(chosen, rows, strict=True), key=lambda pair: pair[0].place.partition("/")[0]
    )
    for chapter, members in chapters:
        colon = COLON.to(session.lang)
        about = f"{colon}{CATCH_IT.to(session.lang)}" if chapter.endswith(FIND_THE_BUG) else ""
        session.say(f"{chapter}{about}")
        for _, row in members:
            cells = [pad(cell, size) for cell, size in zip(row, sizes, strict=True)]
            session.say("  " + "  ".join(cells).rstrip())
    left = sum(task.minutes for task in chosen if task not in done)
    bar = "#" * (20 * len(done) // max(len(chosen), 1))
    session.tell(
        "[{bar:.<20}] {done} of {all} done, about {left} to go.",
        bar=bar,
        done=len(done),
        all=len(chosen),
        left=session.clock(60 * left),
    )
    return 0


def _row(session: Session, task: Task, done: bool, seen: state.Record) -> tuple[str, ...]:
    notes = []
    if seen.hints:
        notes.append(message("hints").to(session.lang) + f" {seen.hints}/{len(task.hints)}")
    if seen.solution:
        notes.append(message("solution seen").to(session.lang))
    if seen.seconds is not None:
        notes.append(session.clock(seen.seconds))
    return (
        (message("done") if done else message("open")).to(session.lang),
        task.id,
        task.title.to(session.lang),
        session.clock(60 * task.minutes),
        " ".join(task.tracks),
        ", ".join(notes),
    )

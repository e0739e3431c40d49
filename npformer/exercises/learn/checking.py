"""``npformer learn check``: one exercise, all, or whenever a file is saved."""

from time import monotonic, sleep

from npformer.exercises.learn import state
from npformer.exercises.learn.layout import fill
from npformer.exercises.learn.run import Checked, check_file
from npformer.exercises.learn.session import Session
from npformer.exercises.task import Task, find, tasks
from npformer.exercises.text import COLON
from npformer.exercises.translation import message

POLL = 0.3  # seconds between two looks at a file


def check(session: Session, task_id: str | None) -> int:
    """Check one exercise, or in order up to the first that is not done."""
    if task_id is not None:
        return 0 if check_one(session, find(task_id, session.course)) else 1
    while task := session.first_open():
        if not check_one(session, task):
            return 1
    return _all_done(session)


def check_all(session: Session) -> int:
    """Check every file that was written in, a line for each."""
    begun = [task for task in tasks(session.course) if not session.folder.untouched(task)]
    right = 0
    for task in begun:
        checked = _run(session, task)
        right += checked.report.passed
        mark = message("right") if checked.report.passed else message("WRONG")
        session.say(f"{mark.to(session.lang)}  {task.id}")
    total = len(tasks(session.course))
    session.tell(
        "{right} right, {wrong} wrong, {rest} not begun.",
        right=right,
        wrong=len(begun) - right,
        rest=total - len(begun),
    )
    return 0 if begun and right == len(begun) else 1


def check_one(session: Session, task: Task) -> bool:
    """Check one exercise, print the report and return whether it is right."""
    if session.folder.untouched(task):
        session.say(f"{task.id}{COLON.to(session.lang)}{task.title.to(session.lang)}")
        where = session.where(task)
        session.say(f"  {message('not begun: write {where}', where=where).to(session.lang)}")
        return False
    checked = _run(session, task)
    for line in fill(checked.report.text(session.lang)):
        session.say(line)
    if checked.printed:
        session.tell("Your file printed:")
        lines = checked.printed.splitlines()
        for line in lines[:10]:
            session.say(f"    {line}")
        if len(lines) > 10:
            session.say("    ...")
    for text in task.afterword if checked.report.passed else ():
        for line in fill(text.to(session.lang)):
            session.say(line)
    if not checked.report.passed:
        session.tell("Stuck? npformer learn hint {id}", id=task.id)
    elif following := session.first_open():
        session.tell("Right. Next: {where}", where=session.where(following))
    return checked.report.passed


def watch(session: Session, task_id: str | None, limit: float | None = None) -> int:
    """Check whenever a file is saved: one exercise, or all in order; with a limit, one."""
    begin = monotonic()
    task = session.first_open() if task_id is None else find(task_id, session.course)
    if limit is not None and task is not None:
        if session.done(task):
            session.tell("{id} is done: `npformer learn reset {id}` opens it again.", id=task.id)
            return 1
        session.tell("The clock runs: {limit}.", limit=session.clock(limit))
    seen = None
    while task is not None:
        now = (task.id, session.folder.digest(task))
        if now != seen and check_one(session, task):
            spent = monotonic() - begin
            if limit is not None and spent <= limit:
                state.record(session.folder.path, task.id, seconds=round(spent, 1))
                clock = {"spent": session.clock(spent), "limit": session.clock(limit)}
                session.tell("Solved in {spent} of {limit}.", **clock)
            if task_id is not None or limit is not None:
                return 0
            task = session.first_open()
            continue
        seen = now
        if limit is not None and monotonic() - begin > limit:
            session.tell("Time is up: {limit}.", limit=session.clock(limit))
            return 1
        sleep(POLL)
    return _all_done(session)


def _run(session: Session, task: Task) -> Checked:
    digest = session.folder.digest(task)  # before: the file may be saved again meanwhile
    checked = check_file(session.folder.file(task), task, session.seconds)
    state.record(session.folder.path, task.id, passed=digest if checked.report.passed else "")
    return checked


def _all_done(session: Session) -> int:
    session.tell("All exercises are done.")
    return 0

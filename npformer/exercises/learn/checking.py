"""``npformer learn check``: one exercise, all, or whenever a file is saved."""

from time import monotonic, sleep

from npformer.exercises.learn import state
from npformer.exercises.learn.layout import fill
from npformer.exercises.learn.run import Checked, check_file
from npformer.exercises.learn.session import Session
from npformer.exercises.task import Task, find, tasks
from npformer.exercises.text import COLON, Text

POLL = 0.3  # seconds between two looks at a file


def check(session: Session, task_id: str | None) -> int:
    """Check one exercise, or in order up to the first that is not done."""
    if task_id is not None:
        return 0 if check_one(session, find(task_id)) else 1
    while task := session.first_open():
        if not check_one(session, task):
            return 1
    return _all_done(session)


def check_all(session: Session) -> int:
    """Check every file that was written in, a line for each."""
    begun = [task for task in tasks() if not session.folder.untouched(task)]
    right = 0
    for task in begun:
        checked = _run(session, task)
        right += checked.report.passed
        mark = Text("right", "正确") if checked.report.passed else Text("WRONG", "错误")
        session.say(f"{mark.to(session.lang)}  {task.id}")
    total = len(tasks())
    session.tell(
        f"{right} right, {len(begun) - right} wrong, {total - len(begun)} not begun.",
        f"{right} 个正确，{len(begun) - right} 个错误，{total - len(begun)} 个未开始。",
    )
    return 0 if begun and right == len(begun) else 1


def check_one(session: Session, task: Task) -> bool:
    """Check one exercise, print the report and return whether it is right."""
    if session.folder.untouched(task):
        session.say(f"{task.id}{COLON.to(session.lang)}{task.title.to(session.lang)}")
        where = session.where(task)
        session.tell(f"  not begun: write {where}", f"  还没有开始：请编辑 {where}")
        return False
    checked = _run(session, task)
    for line in fill(checked.report.text(session.lang)):
        session.say(line)
    if checked.printed:
        session.tell("Your file printed:", "你的文件输出了：")
        lines = checked.printed.splitlines()
        for line in lines[:10]:
            session.say(f"    {line}")
        if len(lines) > 10:
            session.say("    ...")
    for text in task.afterword if checked.report.passed else ():
        for line in fill(text.to(session.lang)):
            session.say(line)
    if not checked.report.passed:
        session.tell(
            f"Stuck? npformer learn hint {task.id}", f"卡住了？npformer learn hint {task.id}"
        )
    elif following := session.first_open():
        session.tell(
            f"Right. Next: {session.where(following)}", f"正确。下一题：{session.where(following)}"
        )
    return checked.report.passed


def watch(session: Session, task_id: str | None, limit: float | None = None) -> int:
    """Check whenever a file is saved: one exercise, or all in order; with a limit, one."""
    begin = monotonic()
    task = session.first_open() if task_id is None else find(task_id)
    if limit is not None and task is not None:
        if session.done(task):
            session.tell(
                f"{task.id} is done: `npformer learn reset {task.id}` opens it again.",
                f"{task.id} 已经完成：`npformer learn reset {task.id}` 可以重新开始。",
            )
            return 1
        session.tell(
            f"The clock runs: {session.clock(limit)}.", f"开始计时，限时 {session.clock(limit)}。"
        )
    seen = None
    while task is not None:
        now = (task.id, session.folder.digest(task))
        if now != seen and check_one(session, task):
            spent = monotonic() - begin
            if limit is not None and spent <= limit:
                state.record(session.folder.path, task.id, seconds=round(spent, 1))
                session.tell(
                    f"Solved in {session.clock(spent)} of {session.clock(limit)}.",
                    f"用时 {session.clock(spent)}，限时 {session.clock(limit)}。",
                )
            if task_id is not None or limit is not None:
                return 0
            task = session.first_open()
            continue
        seen = now
        if limit is not None and monotonic() - begin > limit:
            session.tell(
                f"Time is up: {session.clock(limit)}.", f"时间到：{session.clock(limit)}。"
            )
            return 1
        sleep(POLL)
    return _all_done(session)


def _run(session: Session, task: Task) -> Checked:
    digest = session.folder.digest(task)  # before: the file may be saved again meanwhile
    checked = check_file(session.folder.file(task), task, session.seconds)
    state.record(session.folder.path, task.id, passed=digest if checked.report.passed else "")
    return checked


def _all_done(session: Session) -> int:
    session.tell("All exercises are done.", "所有练习都完成了。")
    return 0

"""``npformer learn`` init, hint, reset and solution; each returns the exit code."""

from collections.abc import Callable
from pathlib import Path

from npformer.checks import InputError
from npformer.exercises.learn import state
from npformer.exercises.learn.folder import Folder, make
from npformer.exercises.learn.layout import fill
from npformer.exercises.learn.session import Session
from npformer.exercises.task import find
from npformer.exercises.text import Text


def init(path: Path | None, lang: str, chosen: str | None, say: Callable[[str], None]) -> int:
    """Make a folder or add what one lacks: ``path``, else the one that one is in.

    Raises
    ------
    InputError
        If there is none, or `make` raises it.
    """
    if path is None:
        around = Folder.around(Path())
        if around is None:
            raise InputError(
                "DIR: got none, expected a folder to make, such as `npformer learn init my-exercises`"
            )
        path = around.path
    folder, new = make(path, lang, chosen)
    session = Session(folder, state.load(folder.path).lang, say)
    session.tell(
        f"{folder.path}: {len(new)} new file{'s' * (len(new) != 1)}.",
        f"{folder.path}：新建 {len(new)} 个文件。",
    )
    if task := session.first_open():
        session.tell(f"Begin with {session.where(task)}", f"从这里开始：{session.where(task)}")
        where = "" if Path.cwd().is_relative_to(folder.path) else f" --dir {path}"
        session.tell(f"then: npformer learn check{where}", f"然后：npformer learn check{where}")
    return 0


def hint(session: Session, task_id: str) -> int:
    """Show the hints seen so far and one more."""
    task = find(task_id)
    seen = state.load(session.folder.path).of(task.id).hints
    now = min(seen + 1, len(task.hints))
    state.record(session.folder.path, task.id, hints=now)
    for number, text in enumerate(task.hints[:now], start=1):
        label = Text(
            f"Hint {number} of {len(task.hints)}: ", f"提示 {number}/{len(task.hints)}："
        ).to(session.lang)
        for line in fill(label + text.to(session.lang)):
            session.say(line)
    if seen == now:
        session.tell(
            f"That was the last one. npformer learn solution {task.id}",
            f"没有更多提示了。npformer learn solution {task.id}",
        )
    return 0


def reset(session: Session, task_id: str) -> int:
    """Put the file back as it was, and keep what was written in it beside it."""
    task = find(task_id)
    where = session.where(task)
    if session.folder.new(task, session.lang):
        session.tell(
            f"{where} is as it was at first: nothing to put back.",
            f"{where} 没有改动过，无需恢复。",
        )
        return 0
    kept = session.folder.reset(task, session.lang)
    session.tell(f"{where} is new again.", f"{where} 已恢复原样。")
    if kept:
        session.tell(f"What was in it is in {kept.name}.", f"原来的内容在 {kept.name} 里。")
    return 0


def solution(session: Session, task_id: str) -> int:
    """Show the solution, and remember that it was shown."""
    task = find(task_id)
    state.record(session.folder.path, task.id, solution=True)
    session.say(f"{task.solution()}\n")
    session.tell("# What is behind it:\n", "# 背后的代码：\n")
    session.say(task.behind().rstrip())
    session.say("")
    for line in fill(task.reading.to(session.lang)):
        session.say(f"# {line}")
    return 0

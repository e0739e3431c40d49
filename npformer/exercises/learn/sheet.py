"""The learner's file as it is before the learner writes in it."""

from functools import cache

from npformer.exercises.learn.layout import fill
from npformer.exercises.task import Task
from npformer.exercises.text import Text


@cache
def sheet(task: Task, lang: str) -> str:
    """Return the statement as a comment, and the stub."""
    about = Text(
        f"{task.id}: difficulty {task.difficulty} of 3, about {task.minutes} minutes",
        f"{task.id}：难度 {task.difficulty}/3，约 {task.minutes} 分钟",
    )
    commands = Text("Check it, or ask for a hint:", "检查答案，或看提示：")
    lines = [
        *fill(task.title.to(lang)),
        about.to(lang),
        "",
        *fill(task.statement.to(lang)),
        "",
        commands.to(lang),
        f"    npformer learn check {task.id}",
        f"    npformer learn hint {task.id}",
        "",
        *fill(task.reading.to(lang)),
    ]
    comment = "\n".join(f"# {line}".rstrip() for line in lines)
    return f"{comment}\n\n{task.code}"

"""The learner's file as it is before the learner writes in it."""

from functools import cache

from npformer.exercises.learn.layout import fill
from npformer.exercises.task import Task
from npformer.exercises.translation import message


@cache
def sheet(task: Task, lang: str) -> str:
    """Return the statement as a comment, and the stub."""
    about = message(
        "{id}: difficulty {difficulty} of 3, about {minutes} minutes",
        id=task.id,
        difficulty=task.difficulty,
        minutes=task.minutes,
    )
    commands = message("Check it, or ask for a hint:")
    lines = [
        *fill(task.title.to(lang)),
        about.to(lang),
        "",
        *fill(task.statement.to(lang)),
        "",
        commands.to(lang),
        f"    npformer learn check {task.id}",
        f"    npformer learn hint {task.id}",
    ]
    if task.docs:
        lines += ["", *fill(task.reading.to(lang))]
    comment = "\n".join(f"# {line}".rstrip() for line in lines)
    return f"{comment}\n\n{task.code}"

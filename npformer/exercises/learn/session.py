"""What every command works with: the folder, the language, and where lines are printed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from npformer.exercises.course import Course
from npformer.exercises.learn import state
from npformer.exercises.learn.folder import Folder
from npformer.exercises.learn.run import SECONDS
from npformer.exercises.task import Task, tasks
from npformer.exercises.translation import message


@dataclass(frozen=True)
class Session:
    """A folder, the language, how long a file may run, and where lines are printed."""

    folder: Folder
    lang: str
    say: Callable[[str], None]
    seconds: float = SECONDS

    @property
    def course(self) -> Course:
        """The folder's."""
        return self.folder.course

    def tell(self, english: str, **fields: object) -> None:
        """Print a `message` in the session's language."""
        self.say(message(english, **fields).to(self.lang))

    def done(self, task: Task) -> bool:
        """Return whether the file as it is now has passed."""
        return self.folder.done(task, state.load(self.folder.path))

    def first_open(self) -> Task | None:
        """Return the first exercise that is not done."""
        saved = state.load(self.folder.path)
        return next(
            (task for task in tasks(self.course) if not self.folder.done(task, saved)), None
        )

    def where(self, task: Task) -> str:
        """Return the path of an answer, as short as the current folder allows."""
        path = self.folder.file(task)
        here = Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)

    def clock(self, seconds: float) -> str:
        """Return a duration such as "1 h 20 min", "7 min 12 s" or "20 min"."""
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        parts = (
            (hours, message("h")),
            (minutes, message("min")),
            (0 if hours else rest, message("s")),
        )
        said = [f"{number} {unit.to(self.lang)}" for number, unit in parts if number]
        return " ".join(said) or f"0 {parts[1][1].to(self.lang)}"

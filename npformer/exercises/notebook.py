"""The notebook's front: the function is handed over, what is known is in one object."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from npformer.checks import InputError
from npformer.exercises.checker import Report
from npformer.exercises.course import OURS, Course
from npformer.exercises.exercise import TRACKS
from npformer.exercises.task import Task, find, tasks
from npformer.exercises.text import COLON, language
from npformer.exercises.translation import message

DONE, OPEN = message("done"), message("open")


@dataclass(frozen=True)
class Shown:
    """Text that a notebook shows as HTML."""

    text: str
    html: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


@dataclass(frozen=True, repr=False)
class Checked(Shown):
    """What `check` returns: true if everything is right."""

    report: Report

    @property
    def passed(self) -> bool:
        """Whether everything is right."""
        return self.report.passed

    def __bool__(self) -> bool:
        return self.passed


@dataclass
class Progress:
    """The exercises of a session; `npformer.exercises` has one, and its four functions are its.

    Those of a course of one's own are ``Progress(open_course("DIR"))``.
    """

    course: Course = OURS
    solved: set[str] = field(default_factory=set)
    hints: dict[str, int] = field(default_factory=dict)
    solutions: set[str] = field(default_factory=set)

    def check(
        self,
        exercise: str,
        fn: Callable[..., Any],
        *,
        lang: str | None = None,
        library: bool = False,
    ) -> Checked:
        """Check a function.

        Parameters
        ----------
        exercise : str
            The id, such as "softmax-backward"; `status` lists them.
        fn : callable
            Your function.
        lang : {"en", "zh"}, optional
            The default is ``NPFORMER_LANG``, else the locale's.
        library : bool
            For teachers: the function may call npformer, as the official solutions do.

        Returns
        -------
        Checked
            A property a line, pass or fail; if it fails, what the mistake is. It is true if all is
            right: ``assert check(...)``.

        Raises
        ------
        InputError
            If there is no such exercise. What the function does is reported, never raised.
        """
        lang = language(lang)
        task = find(exercise, self.course)
        report = task.check(fn, library=library)
        if report.passed:
            self.solved.add(task.id)
        after = [text.to(lang) for text in task.afterword] if report.passed else []
        shown = "".join(f"<p>{inline(text)}</p>" for text in after)
        return Checked(
            "\n".join([report.text(lang), *after]),
            report.html(lang) + _shapes(task, lang) + shown,
            report,
        )

    def hint(self, exercise: str, *, lang: str | None = None) -> Shown:
        """Show the hints so far and one more; parameters as of `check`."""
        lang = language(lang)
        task = find(exercise, self.course)
        hints = task.hints
        shown = self.hints[task.id] = min(self.hints.get(task.id, 0) + 1, len(hints))
        said = [text.to(lang) for text in hints[:shown]]
        head, colon = message("Hint").to(lang), COLON.to(lang)
        lines = [f"{head} {n}/{len(hints)}{colon}{text}" for n, text in enumerate(said, start=1)]
        items = "".join(f"<li>{inline(text)}</li>" for text in said)
        return Shown("\n".join(lines), f"<p><b>{head} {shown}/{len(hints)}</b></p><ol>{items}</ol>")

    def solution(self, exercise: str, *, lang: str | None = None) -> Shown:
        """Show the solution, the code behind it and what to read; parameters as of `check`."""
        lang = language(lang)
        task = find(exercise, self.course)
        code = f"{task.solution()}\n\n{task.behind()}".rstrip()
        self.solutions.add(task.id)
        reading = task.reading.to(lang)
        text = f"{code}\n\n# {reading}" if reading else code
        shown = f"<p>{html.escape(reading)}</p>" if reading else ""
        return Shown(text, f"<pre><code>{html.escape(code)}</code></pre>{shown}")

    def status(self, *, track: str | None = None, lang: str | None = None) -> Shown:
        """Show all exercises, or those of a track, and which are done."""
        lang = language(lang)
        if track is not None and track not in TRACKS:
            raise InputError(f"track: got {track!r}, expected one of {', '.join(TRACKS)}")
        chosen = [task for task in tasks(self.course) if track is None or track in task.tracks]
        rows = [self._row(task, lang) for task in chosen]
        done = sum(task.id in self.solved for task in chosen)
        total = message("{done} of {all} done", done=done, all=len(chosen)).to(lang)
        lines = ["  ".join(row).rstrip() for row in rows]
        cells = [
            [f'<td style="text-align:left">{html.escape(c)}</td>' for c in row] for row in rows
        ]
        table = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
        return Shown("\n".join([*lines, total]), f"<table>{table}</table><p>{total}</p>")

    def _row(self, task: Task, lang: str) -> tuple[str, ...]:
        notes = []
        if task.id in self.hints:
            hints = f"{self.hints[task.id]}/{len(task.hints)}"
            notes.append(message("hints {hints}", hints=hints).to(lang))
        if task.id in self.solutions:
            notes.append(message("solution seen").to(lang))
        mark = (DONE if task.id in self.solved else OPEN).to(lang)
        return mark, task.chapter, task.id, task.title.to(lang), ", ".join(notes)


def _shapes(task: Task, lang: str) -> str:
    """Return a table of what the smallest case gives and expects."""
    head = message("Shapes in the smallest case").to(lang)
    cells = [
        f'<td style="text-align:left"><code>{html.escape(name)}</code></td>'
        f"<td>{html.escape(shape)}</td>"
        for name, shape in task.shapes().items()
    ]
    rows = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<details><summary>{head}</summary><table>{rows}</table></details>" if rows else ""


def inline(markdown: str) -> str:
    """Return Markdown's code and bold as HTML; formulas are left to the notebook."""
    text = html.escape(markdown, quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    return re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)

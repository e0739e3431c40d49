"""Sizes of a tiny grid, and an executor without other processes."""

from concurrent.futures import Executor, Future
from typing import Any

import tiny_task

STEPS = {phase: 3 + i for i, phase in enumerate(tiny_task.PHASES) if phase != "scratch"}
# A teacher of four layers and a student of two: each mapping is another.
SIZES = {**tiny_task.SETTINGS, "teacher": "4x16x2", "student": "2x8x2", "steps": STEPS}
OPTIONS = [
    *("--teacher", "4x16x2", "--student", "2x8x2", "--batch-size", "5", "--copies", "1"),
    *("--max-len", "16", *(f"--steps={phase}={n}" for phase, n in STEPS.items())),
]


class Serial(Executor):
    """Runs in this process, at once."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a future that is done; what no ``except Exception`` catches ends the test."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future

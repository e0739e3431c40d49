"""The other side of `run`: a process that runs one file, checks its function and reports.

``python -m npformer.exercises.learn.worker ID FILE OUT SECONDS COURSE``
"""

import contextlib
import faulthandler
import os
import sys
from pathlib import Path

from npformer.exercises.learn.load import Unusable, load_function
from npformer.exercises.learn.run import LINE, MEMORY, REPORT, failed
from npformer.exercises.own import open_course
from npformer.exercises.task import find
from npformer.train.run import write_json


def main(task_id: str, file: str, out: str, seconds: str, course: str) -> None:
    """Write the report of a check, or the line where the process stopped."""
    path = Path(file)
    task = find(task_id, open_course(course))
    _limit_memory()
    end = os._exit
    os._exit = sys.exit  # type: ignore[assignment]  # so that its line, too, can be reported
    with (Path(out) / LINE).open("w") as line:
        faulthandler.enable(line)
        faulthandler.dump_traceback_later(float(seconds), exit=True, file=line)
        try:
            report = task.check(load_function(path, task))
        except Unusable as error:
            report = failed(task, error.said)
        faulthandler.cancel_dump_traceback_later()
    write_json(Path(out) / REPORT, report.to_json())
    sys.stdout.flush()
    end(0)  # a thread of the file's may run on


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS maps more than that to begin with
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    main(*sys.argv[1:])

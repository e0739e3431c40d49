"""A check in a process of its own: whatever a learner's file does, it is reported."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, NamedTuple

import npformer
from npformer.exercises.checker import Report, Result
from npformer.exercises.learn.load import line_of
from npformer.exercises.task import Task
from npformer.exercises.text import Text
from npformer.exercises.translation import message

SECONDS = 10.0  # for a file and its check
STARTUP = 60.0  # for Python and NumPy, on a busy machine
MEMORY = 8 << 30  # bytes of address space
PRINTED = 2000  # bytes kept of what is printed
RUNS = message("runs")
REPORT = "report.json"
LINE = "line.txt"


class Checked(NamedTuple):
    """A report, and the beginning of what was printed meanwhile."""

    report: Report
    printed: str


def failed(task: Task, said: Text) -> Report:
    """Return the report of a file that could not be checked."""
    return Report(task.id, task.title, [Result(RUNS, False, None, said)], [], [])


def check_file(path: Path, task: Task, seconds: float = SECONDS) -> Checked:
    """Run a learner's file and check its function, in a fresh process with a time limit."""
    with tempfile.TemporaryDirectory(prefix="npformer-") as out:
        worker = "npformer.exercises.learn.worker"
        process = subprocess.Popen(
            # -P: a file of the learner's called numpy.py is not NumPy.
            [
                sys.executable,
                "-P",
                "-m",
                worker,
                task.id,
                str(path),
                out,
                str(seconds),
                task.course,
            ],
            cwd=path.parent.parent,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        printed = bytearray()
        reader = threading.Thread(target=_read, args=(process.stdout, printed), daemon=True)
        reader.start()
        try:
            code = process.wait(seconds + STARTUP)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill(process)
        reader.join(1.0)  # a process that the learner's started may hold the pipe open
        report = Path(out) / REPORT
        shown = printed.decode(errors="replace").rstrip()
        if report.exists():
            return Checked(Report.from_json(json.loads(report.read_text("utf-8"))), shown)
        dump = Path(out) / LINE
        where = dump.read_text(errors="replace") if dump.exists() else ""
        return Checked(failed(task, _why(code, where, path, seconds)), shown)


def _environment() -> dict[str, str]:
    """Return one where this very npformer is found, and where NumPy has a single thread."""
    paths = [str(Path(npformer.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONIOENCODING": "utf-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _read(stream: IO[bytes], printed: bytearray) -> None:
    """Keep the beginning and drop the rest, so that endless output fills no memory."""
    with stream:
        while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]
            printed += chunk[: PRINTED - len(printed)]


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End the process and what it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended by itself
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _line(dump: str, path: Path) -> Text | None:
    """Return the learner's line in a dump of ``faulthandler``, which is innermost first."""
    name = str(path).encode("ascii", "backslashreplace").decode()
    found = re.search(rf'File "{re.escape(name)}", line (\d+)', dump)
    return line_of(path, int(found[1])) if found else None


def _why(code: int | None, dump: str, path: Path, seconds: float) -> Text:
    """Say why there is no report."""
    line = _line(dump, path)
    at = Text(f" in {line.en}", f"，停在{line.zh}") if line else Text("", "")
    if code is None or dump.startswith("Timeout"):
        return message(
            "stopped after {seconds:g} s{at}: does a loop end? (--time-limit gives more time)",
            seconds=seconds,
            at=at,
        )
    if code < 0 and -code == getattr(signal, "SIGKILL", None):
        return message("the system ended Python: it probably ran out of memory.")
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return message("Python itself ended ({how}){at}, before the check was over.", how=how, at=at)

"""The parent's end of a contender: start it, ask it for a turn, let it go."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.case import Case
from benchmarks.libraries import KERNELS, Contender
from benchmarks.others import busy_seconds, cores_of_others

ROOT = Path(__file__).parent.parent
TURN = 0.4  # seconds; a turn is at least one pass


class ChildError(Exception):
    """A contender's process ended early; the message is the last thing that it said."""


class Child:
    """A running contender.

    Parameters
    ----------
    contender : Contender
    case : Case

    Raises
    ------
    ChildError
        If it fails before it is ready.
    """

    def __init__(self, contender: Contender, case: Case) -> None:
        self.contender = contender
        self._batches = len(case.lengths)
        self.rounds: list[list[float]] = []  # seconds of each step, round by round
        self.others: list[float] = []  # cores that others kept busy, round by round
        self.memory = 0  # bytes, the peak above imports
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by `close`
        root = contender.checkout or ROOT
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.worker"),
                *(contender.library, case.to_json(), contender.without or ""),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=root,  # "-m" looks there before it looks along the path
            env=child_environment(os.environ, contender.kernel, case.threads, root),
        )
        ready = self._listen()
        self._one_pass = float(ready["seconds"])
        self.values: list[dict[str, list[float]]] = ready["values"]
        self.about: dict[str, str] = ready["about"]

    def take_turn(self, seconds: float = TURN) -> None:
        """Time as many passes as fit in ``seconds``, at least one."""
        stdin = self._process.stdin
        assert stdin is not None
        start, before = time.perf_counter(), busy_seconds()
        stdin.write(f"{max(1, int(seconds / self._one_pass))}\n")
        stdin.flush()
        answer = self._listen()
        wall = time.perf_counter() - start
        self.others.append(cores_of_others(before, busy_seconds(), answer["processor"], wall))
        self.rounds.append(answer["seconds"])
        self._one_pass = min(answer["seconds"]) * self._batches
        self.memory = int(answer["memory"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _listen(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines() or [f"ended with code {code}"]
            self.close()
            raise ChildError(f"{self.contender.label}: {said[-1]}")
        message: dict[str, Any] = json.loads(line)
        return message


def child_environment(
    parent: Mapping[str, str], kernel: str | None, threads: int, root: Path = ROOT
) -> dict[str, str]:
    """Return the environment of a contender whose code is in ``root``.

    Whatever the parent's OpenBLAS was told is dropped: "native" is what NumPy does on a fresh
    installation. Thread pools of all libraries get ``threads``.
    """
    environment = {name: v for name, v in parent.items() if not name.startswith("OPENBLAS_")}
    core = KERNELS[kernel] if kernel is not None else None
    if core is not None:
        environment["OPENBLAS_CORETYPE"] = core
    environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(threads)
    path = [str(root), *filter(None, [parent.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    return environment

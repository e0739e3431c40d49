"""A run: a folder that training can leave at any moment and come back to.

``run.json`` holds the settings, ``progress.json`` the finished phases, ``state.safetensors`` the
phase under way and ``metrics.jsonl`` what was measured on the way. The first three are replaced as
a whole, ``metrics.jsonl`` grows and is cut back on resuming; what a phase makes is written before
the phase is called finished. While a run is open, ``run.lock`` keeps others out.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npformer.checks import InputError
from npformer.train.checkpoint import (
    MetricsLog,
    TrainerState,
    is_stale,
    load_state,
    naming,
    remove_stale,
)
from npformer.train.lock import LOCK, locked

# What a run has written before its first step, beside temporary files.
BEGINNING = ("run.json", "metrics.jsonl", "tokenizer.json")


def write_text(path: Path, text: str) -> None:
    """Write ``path`` as a whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``path`` as a whole or not at all."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with naming(path):
            temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``path`` as a whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Run:
    """An open run folder."""

    folder: Path
    log: MetricsLog

    @classmethod
    def create(cls, folder: Path, settings: Mapping[str, Any]) -> "Run":
        """Start a run in a folder that is new or empty; see `open_run`, which locks it as well.

        What a start leaves that was killed before ``run.json`` was complete counts as empty.

        Raises
        ------
        InputError
            If the folder holds something already.
        """
        _check_empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale(folder)
        write_json(folder / "run.json", settings)
        return cls(folder, MetricsLog(folder / "metrics.jsonl"))

    @classmethod
    def resume(cls, folder: Path) -> "Run":
        """Open a run that was left, cut back to its last checkpoint.

        Raises
        ------
        InputError
            If the folder holds no run.
        """
        read_settings(folder)  # first all that may fail: a folder that is no run is not touched
        finished = _read(folder / "progress.json")
        length = max((phase["metrics_length"] for phase in finished.values()), default=0)
        state = load_state(folder / "state.safetensors")
        if state is not None and state.phase not in finished:
            length = state.numbers["metrics_length"]
        log = MetricsLog(folder / "metrics.jsonl", length)
        remove_stale(folder)
        return cls(folder, log)

    def close(self) -> None:
        """Close the files of a run."""
        self.log.close()

    def finished(self, phase: str) -> dict[str, Any] | None:
        """Return what `finish` was told about the phase, or None if it is still to be done."""
        info: dict[str, Any] | None = _read(self.folder / "progress.json").get(phase)
        return info

    def finish(self, phase: str, info: Mapping[str, Any], make: Callable[[], None]) -> None:
        """Write what the phase made, then call it finished."""
        make()
        done = _read(self.folder / "progress.json")
        done[phase] = {**info, "metrics_length": self.log.length}
        write_json(self.folder / "progress.json", done)

    def state_of(self, phase: str) -> TrainerState | None:
        """Return where the phase was left, if it was."""
        state = load_state(self.folder / "state.safetensors")
        return state if state is not None and state.phase == phase else None


@contextmanager
def open_run(folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Run]:
    """Work on a run in a folder that is locked meanwhile: a new one, or with no settings its own.

    A new run that fails before its first step leaves nothing behind; Ctrl-C leaves it as it is.

    Raises
    ------
    InputError
        If another process is working in the folder, if it holds no run to resume, or for a new run
        anything at all.
    """
    if settings is None:
        read_settings(folder)  # a folder that is no run is not touched
        with locked(folder), closing(Run.resume(folder)) as run:
            yield run
        return
    _check_empty(folder)
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            _check_empty(folder)  # again, now that nobody else can be writing to it
            try:
                with closing(Run.create(folder, settings)) as run:
                    yield run
            except Exception:
                _discard(folder)
                raise
    except Exception:
        if is_new:
            with suppress(OSError):  # something is in it: a run, or a file of the user's
                folder.rmdir()
        raise


def _discard(folder: Path) -> None:
    """Remove what a run wrote that came to nothing, so that its folder can be had again.

    A run that made a step, finished a phase or holds other runs stays. Files that the run did
    not write stay as well.
    """
    log = folder / "metrics.jsonl"
    has_steps = log.exists() and log.stat().st_size > 0
    if has_steps or (folder / "progress.json").exists() or any(folder.rglob("*/run.json")):
        return
    remove_stale(folder)
    for name in BEGINNING:
        (folder / name).unlink(missing_ok=True)
    for path in sorted(folder.rglob("*/"), reverse=True):  # in which other runs were to be
        with suppress(OSError):
            path.rmdir()


def _check_empty(folder: Path) -> None:
    if folder.is_dir() and all(path.name == LOCK or is_stale(path) for path in folder.iterdir()):
        return
    if folder.exists():
        raise InputError(
            f"--out: got {folder}, which is not empty, expected a new folder "
            "(or --resume, to go on with a run that is there)"
        )


def read_settings(folder: Path) -> dict[str, Any]:
    """Return what the run in a folder was started with.

    Raises
    ------
    InputError
        If the folder holds no run.
    """
    if not (folder / "run.json").is_file():
        raise InputError(f"--resume: got {folder}, expected the folder of a run (run.json)")
    return _read(folder / "run.json")


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: got {error}, expected the JSON of a run") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: got a JSON {type(value).__name__}, expected an object")
    return value

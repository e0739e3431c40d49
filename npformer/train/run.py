"""A run: a folder that training can leave at any moment and come back to.

``run.json`` holds the settings, ``progress.json`` the finished phases, ``state.safetensors`` the
phase under way and ``metrics.jsonl`` what was measured on the way. The first three are replaced as
a whole, ``metrics.jsonl`` grows and is cut back on resuming; what a phase makes is written before
the phase is called finished.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npformer.checks import InputError
from npformer.train.checkpoint import MetricsLog, TrainerState, load_state, naming, remove_stale


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
        """Start a run in a folder that is new or empty.

        Raises
        ------
        InputError
            If the folder holds something already.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(
                f"--out: got {folder}, which is not empty, expected a new folder "
                "(or --resume, to go on with a run that is there)"
            )
        folder.mkdir(parents=True, exist_ok=True)
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

    def discard(self) -> None:
        """Remove a run in which no step was made, so that its folder can be had again."""
        self.log.close()
        if any(path.stat().st_size for path in self.folder.rglob("metrics.jsonl")):
            return
        shutil.rmtree(self.folder, ignore_errors=True)

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

"""What a run needs to go on where it stopped: one file, replaced as a whole.

The file holds the arrays being trained, the optimizer's arrays and the numbers that place
the run: phase, step, and how long the metrics file was. Everything random is derived from
seeds and steps, so nothing else is needed for the same bits.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npformer.checks import InputError
from npformer.optim import OptimizerState
from npformer.types import Params, part, prefixed


@dataclass(frozen=True)
class TrainerState:
    """A moment of a phase of training."""

    phase: str
    params: Params  # those being trained
    optimizer: OptimizerState  # its step is the step of the phase
    numbers: dict[str, Any]  # whatever else the phase wants to remember; JSON
    extra: Params  # arrays of the same kind, such as the best weights so far


def save_state(path: Path, state: TrainerState) -> None:
    """Write ``path``, which is at every moment either the old file or the new one."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    arrays = (
        prefixed("params", state.params)
        | prefixed("optimizer", state.optimizer.to_arrays())
        | prefixed("extra", state.extra)
    )
    numbers = {"phase": state.phase, "step": state.optimizer.step, "numbers": state.numbers}
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with naming(path):
            save_file(arrays, temporary, metadata={"trainer": json.dumps(numbers)})
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except SafetensorError as error:  # how the library reports a full disk
        raise OSError(None, str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def load_state(path: Path) -> TrainerState | None:
    """Read what `save_state` wrote, or None if there is no such file.

    Raises
    ------
    InputError
        If the file is not one of ours.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            numbers = json.loads((file.metadata() or {})["trainer"])
        return TrainerState(
            numbers["phase"],
            part(arrays, "params"),
            OptimizerState.from_arrays(part(arrays, "optimizer"), numbers["step"]),
            numbers["numbers"],
            part(arrays, "extra"),
        )
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: got another file ({error!r}), expected the state of a training run"
        ) from error


def is_stale(path: Path) -> bool:
    """Whether this is a temporary file or folder of ours, or one that safetensors was writing."""
    return re.search(r"\.tmp-\d+$|^\.tmp\w{6}$", path.name) is not None


def remove_stale(directory: Path) -> None:
    """Remove the temporary files and folders of a run that was cut off while writing."""
    for path in filter(is_stale, directory.rglob("*.tmp*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class MetricsLog:
    """A file of JSON lines that is cut back to where a resumed run stands."""

    def __init__(self, path: Path, length: int = 0) -> None:
        path.touch()
        if path.stat().st_size < length:  # which truncating would fill up with zeros
            raise InputError(
                f"{path}: got {path.stat().st_size} bytes, expected at least {length}, "
                "which the last checkpoint has seen"
            )
        os.truncate(path, length)
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Add one line."""
        with naming(self._file.name):
            self._file.write(json.dumps(record) + "\n")

    @property
    def length(self) -> int:
        """Bytes so far, all of them on disk."""
        with naming(self._file.name):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        with naming(self._file.name):
            self._file.close()


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Add the file's name to an error that has none: a full disk is met in a nameless write."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise

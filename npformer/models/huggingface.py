"""Reading and writing BERT folders as Hugging Face's transformers has them.

config.json speaks of the sizes, model.safetensors holds the arrays. There a weight is stored
(out, in), here (in, out); the tables stay as they are.
"""

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError
from npformer.models.config import EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.folder import find_folder, write_folder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface_config import (
    Model,
    read_config,
    read_labels,
    write_config,
)
from npformer.models.huggingface_names import (
    TIED,
    ArrayName,
    array_names,
    current_name,
    is_transposed,
    is_unused,
    parameter_shapes,
    shape_of,
)
from npformer.models.masked_lm import MaskedLM
from npformer.types import FloatArray, Params, part

M = TypeVar("M", Encoder, SequenceClassifier, TokenClassifier, MaskedLM)
CONFIG_FILE = "config.json"
ARRAYS_FILE = "model.safetensors"


def save_pretrained(
    model: Model, directory: str | os.PathLike[str], *, labels: list[str] | None = None
) -> None:
    """Write a model as a folder that transformers reads with nothing missing or unexpected.

    The arrays keep their type. An `Encoder` is a BertModel without its pooler.

    Parameters
    ----------
    model : Encoder, SequenceClassifier, TokenClassifier or MaskedLM
    directory : path
        As in `npformer.models.folder.write_folder`: never half there.
    labels : list of str, optional
        The names of a classifier's classes; default LABEL_0, LABEL_1, ...

    Raises
    ------
    InputError
        If the model is pre-LN, which has no counterpart, or the folder cannot be written.
    """
    write_folder(directory, lambda folder: write_model(model, folder, labels=labels))


def write_model(model: Model, folder: Path, *, labels: list[str] | None = None) -> None:
    """Write the two files into a folder that exists, for a `write_folder` that adds others."""
    from safetensors.numpy import save

    arrays: Params = {}
    dtypes = {a.dtype for a in model.params.values()}
    if len(dtypes) != 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        names = ", ".join(sorted(str(d) for d in dtypes))
        raise InputError(f"params: got {names}, expected all float32 or all float64")
    values = write_config(model, labels) | {"dtype": str(dtypes.pop())}
    expected = parameter_shapes(type(model), model.config)
    for name in sorted(expected.keys() | model.params.keys()):
        have = model.params[name].shape if name in model.params else None
        if have != expected.get(name):
            raise InputError(f"{name}: got shape {have}, expected {expected.get(name)}")
    for row in array_names(type(model), model.config):
        a = model.params[row.ours]
        # safetensors writes memory as it lies, so a view would come out scrambled.
        arrays[row.theirs] = np.ascontiguousarray(a.T if is_transposed(row) else a)
    (folder / ARRAYS_FILE).write_bytes(save(arrays, metadata={"format": "pt"}))
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


@overload
def load_pretrained(
    directory: str | os.PathLike[str], head: None = None, *, dtype: DTypeLike = np.float32
) -> Model: ...


@overload
def load_pretrained(
    directory: str | os.PathLike[str], head: type[M], *, dtype: DTypeLike = np.float32
) -> M: ...


def load_pretrained(
    directory: str | os.PathLike[str],
    head: type[Any] | None = None,
    *,
    dtype: DTypeLike = np.float32,
) -> Any:
    """Read a BERT folder; strict: nothing in it may be missing, unknown or of another shape.

    Parameters
    ----------
    directory : path
    head : class, optional
        What it must hold: `Encoder`, `SequenceClassifier`, `TokenClassifier` or `MaskedLM`. The
        encoder of any of them can be had by `Encoder`. Default: whatever config.json's
        ``architectures`` says.
    dtype : dtype
        Of the arrays, whatever the stored ones are.

    Returns
    -------
    model : Encoder, SequenceClassifier, TokenClassifier or MaskedLM

    Raises
    ------
    InputError
        If the folder or a file is missing, broken or cut short, or anything is in it that would
        change the numbers and is not understood.
    """
    folder, values = _open_folder(directory)
    try:
        kind, config = read_config(values)
    except InputError as error:
        raise InputError(f"{folder / CONFIG_FILE}: {error}") from None
    if head not in (None, kind, Encoder):
        raise InputError(f"{directory}: got a {kind.__name__}, expected a {head.__name__}")
    if not np.issubdtype(dtype, np.floating):
        raise InputError(f"dtype: got {np.dtype(dtype)}, expected a floating-point type")
    params = _read_arrays(folder / ARRAYS_FILE, kind, config, dtype)
    if head is Encoder and kind is not Encoder:
        sizes = {field.name: getattr(config, field.name) for field in fields(EncoderConfig)}
        return Encoder(EncoderConfig.from_dict(sizes), part(params, "encoder"))
    make: Any = kind  # each takes its own configuration, which read_config has chosen
    return make(config, params)


def load_labels(directory: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of a classifier's classes, in the order of its logits."""
    folder, values = _open_folder(directory)
    try:
        return read_labels(values)
    except InputError as error:
        raise InputError(f"{folder / CONFIG_FILE}: {error}") from None


def _open_folder(directory: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    folder = find_folder(directory)
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise InputError(f"{directory}: got {what}, expected a model folder")
    for name in (CONFIG_FILE, ARRAYS_FILE):
        if not (folder / name).is_file():
            raise InputError(f"{directory}: got a folder without {name}, expected a model folder")
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: got no JSON ({error}), expected a BERT configuration") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: got a JSON {type(values).__name__}, expected an object")
    return folder, values


def _read_arrays(path: Path, kind: type[Model], config: EncoderConfig, dtype: DTypeLike) -> Params:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            stored = {current_name(name): name for name in file.keys()}  # noqa: SIM118
            rows = array_names(kind, config)
            shapes = {name: tuple(file.get_slice(at).get_shape()) for name, at in stored.items()}
            _check_names(path, kind, config, rows, shapes)
            params: Params = {}
            for row in rows:
                kept = file.get_slice(stored[row.theirs]).get_dtype()
                if kept not in ("F32", "F64"):
                    raise InputError(f"{path}: got {kept} in {row.theirs}, expected F32 or F64")
                a: FloatArray = file.get_tensor(stored[row.theirs])
                # A fresh array in row order, which an optimizer may write to.
                params[row.ours] = (a.T if is_transposed(row) else a).astype(dtype, order="C")
            for copy, tied in TIED.items():
                if copy in stored and not np.array_equal(
                    file.get_tensor(stored[copy]), file.get_tensor(stored[tied])
                ):
                    raise InputError(f"{path}: got {copy}, expected it to be equal to {tied}")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: got a broken file ({error}), expected safetensors") from error
    return params


def _check_names(
    path: Path,
    kind: type[Model],
    config: EncoderConfig,
    rows: list[ArrayName],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    tied = set(TIED) if kind is MaskedLM else set()
    expected = {r.theirs: shape_of(r, config)[:: -1 if is_transposed(r) else 1] for r in rows}
    missing = [name for name in expected if name not in shapes]
    odd = [n for n in shapes if n not in expected and n not in tied and not is_unused(n)]
    wrong = [
        f"{name} {shapes[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    problems = {"missing": missing, "unexpected": odd, "mis-shaped": wrong}
    report = "; ".join(f"{what} {_some(names)}" for what, names in problems.items() if names)
    if report:
        raise InputError(f"{path}: got arrays that do not fit {CONFIG_FILE}: {report}")


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

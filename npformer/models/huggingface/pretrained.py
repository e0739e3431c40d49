"""A model from a folder, and a folder from a model.

A weight is stored (out, in) there, here (in, out); the tables stay as they are.
"""

import json
import os
import warnings
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, article, shown, some
from npformer.models.causal_lm import CausalLM
from npformer.models.config import EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.folder import find_folder, write_folder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.arrays import StoredArray, read_array
from npformer.models.huggingface.config import (
    read_config,
    read_family,
    read_kind,
    read_labels,
    unread_positions,
    write_config,
)
from npformer.models.huggingface.family import ArrayName, Family, Model
from npformer.models.huggingface.generator import Generating, read_generator, write_generator
from npformer.models.huggingface.generators import GENERATORS, written_generator
from npformer.models.huggingface.names import (
    PROJECTION,
    array_names,
    is_transposed,
    other_names,
    parameter_shapes,
    plain_name,
    shape_of,
)
from npformer.models.huggingface.weights import (
    ARRAYS_FILE,
    CONFIG_FILE,
    read_json,
    refuse_pickles,
    stored_arrays,
)
from npformer.models.masked_lm import MaskedLM
from npformer.models.seq2seq import Seq2Seq
from npformer.types import FloatArray, Params

M = TypeVar("M", Encoder, SequenceClassifier, TokenClassifier, MaskedLM, CausalLM, Seq2Seq)


def save_pretrained(
    model: Model | Generating, directory: str | os.PathLike[str], *, labels: list[str] | None = None
) -> None:
    """Write a model as a folder that transformers reads with nothing missing or unexpected.

    The arrays keep their type. An `Encoder` is a BertModel without its pooler, with
    ``embedding_size`` an AlbertModel, without segments a DistilBertModel; a `CausalLM` is a
    GPT-2, a `Seq2Seq` a T5 if its positions are, else a Marian.

    Parameters
    ----------
    model : Encoder, SequenceClassifier, TokenClassifier, MaskedLM, CausalLM or Seq2Seq
    directory : path
        As in `npformer.models.folder.write_folder`: never half there.
    labels : list of str, optional
        The names of a classifier's classes; default LABEL_0, LABEL_1, ...

    Raises
    ------
    InputError
        If the model has no counterpart there (pre-LN, ...), or the folder cannot be written.
    """
    write_folder(directory, lambda folder: write_model(model, folder, labels=labels))


def write_model(
    model: Model | Generating, folder: Path, *, labels: list[str] | None = None
) -> None:
    """Write the two files into a folder that exists, for a `write_folder` that adds others."""
    from safetensors.numpy import save

    if isinstance(model, CausalLM | Seq2Seq):
        if labels is not None:
            raise InputError(
                f"labels: got {labels}, expected None for {article(type(model).__name__)}"
            )
        write_generator(model, folder, written_generator(model))
        return
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
def from_pretrained(
    directory: str | os.PathLike[str], head: None = None, *, dtype: DTypeLike = np.float32
) -> Model | Generating: ...


@overload
def from_pretrained(
    directory: str | os.PathLike[str], head: type[M], *, dtype: DTypeLike = np.float32
) -> M: ...


def from_pretrained(
    directory: str | os.PathLike[str],
    head: type[Any] | None = None,
    *,
    dtype: DTypeLike = np.float32,
) -> Any:
    """Read a folder; strict: nothing in it may be missing, unknown or of another shape.

    Parameters
    ----------
    directory : path
    head : class, optional
        What it must hold: `Encoder`, `SequenceClassifier`, `TokenClassifier` or `MaskedLM`, the
        encoder of any of which can be had by `Encoder`; `CausalLM` (GPT-2) or `Seq2Seq` (T5,
        Marian). Default: whatever config.json says.
    dtype : dtype
        Of the arrays, whatever the stored ones are: float16, bfloat16, float32 or float64.

    Returns
    -------
    model : Encoder, SequenceClassifier, TokenClassifier, MaskedLM, CausalLM or Seq2Seq

    Warns
    -----
    UserWarning
        If TinyBERT's projections are there, which no model has: see `read_projections`.

    Raises
    ------
    InputError
        If the folder or a file is missing, broken or cut short, or anything is in it that would
        change the numbers and is not understood.
    """
    if not np.issubdtype(dtype, np.floating):
        raise InputError(f"dtype: got {np.dtype(dtype)}, expected a floating-point type")
    folder, fields = _open_folder(directory)
    generator = GENERATORS.get(str(fields.get("model_type")))
    if generator is not None:
        if head not in (None, generator.kind):
            raise InputError(
                f"{folder / CONFIG_FILE}: model_type: got {generator.model_type!r}, expected "
                f"{article(head.__name__)}"
            )
        return read_generator(folder, fields, generator, dtype)
    if head in (CausalLM, Seq2Seq):
        expected = [name for name, g in GENERATORS.items() if g.kind is head]
        raise InputError(
            f"{folder / CONFIG_FILE}: model_type: got {shown(fields.get('model_type'))}, expected "
            f"{' or '.join(expected)}"
        )
    try:
        family, kind = read_family(fields), read_kind(fields, head)
        config, skip = read_config(fields, kind), unread_positions(fields)
    except InputError as error:
        raise InputError(f"{folder / CONFIG_FILE}: {error}") from None
    stored = _by_plain_name(folder, stored_arrays(folder, _architecture(fields)), family)
    rows = array_names(kind, config, family)
    _check_names(folder, kind, family, rows, _expected_shapes(rows, config, family, skip), stored)
    params: Params = {}
    for row in rows:
        a = read_array(stored[plain_name(row.theirs, family)])
        if row.axes[0] == "P":
            a = a[skip:]
        params[row.ours] = _converted(a.T if is_transposed(row) else a, row, folder, dtype)
    if kind is MaskedLM:
        _check_tied(family, stored)
    make: Any = kind  # each takes its own configuration, which read_config has chosen
    return make(config, params)


def load_labels(directory: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of a classifier's classes, in the order of its logits."""
    folder, fields = _open_folder(directory)
    try:
        return read_labels(fields)
    except InputError as error:
        raise InputError(f"{folder / CONFIG_FILE}: {error}") from None


def read_pooler(directory: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> Params:
    """Read what transformers begins a classifier with beside the encoder: the pooler, if any.

    Returns
    -------
    dict
        ``pooler.w`` of shape (D, D) and ``pooler.b`` (D,); empty if the folder has none, or if its
        family has it in the classifier's head and not in the encoder, as RoBERTa.

    Raises
    ------
    InputError
        If it is of another shape, or not whole.
    """
    folder, fields = _open_folder(directory)
    family = read_family(fields)
    config = read_config(fields, Encoder)
    stored = _by_plain_name(folder, stored_arrays(folder, _architecture(fields)), family)
    heads = family.heads[SequenceClassifier]
    rows = [row for row in heads if row.theirs.startswith(family.prefix)]
    if not any(plain_name(row.theirs, family) in stored for row in rows):
        return {}
    expected = _expected_shapes(rows, config, family, 0)
    found = {name: stored[name] for name in expected if name in stored}
    _check_names(folder, SequenceClassifier, family, rows, expected, found)
    return {
        row.ours: _converted(a.T if is_transposed(row) else a, row, folder, dtype)
        for row in rows
        for a in [read_array(found[plain_name(row.theirs, family)])]
    }


def read_projections(
    directory: str | os.PathLike[str], *, dtype: DTypeLike = np.float32
) -> list[Params]:
    """Read TinyBERT's projections, which its folders hold beside the student.

    Returns
    -------
    list of dict
        ``w`` of shape (D_S, D_T) and ``b`` (D_T,) for each: the one ``fit_dense`` of the first
        release, which all levels share, or ``fit_denses`` 0, 1, ... of the second, one per level.

    Raises
    ------
    InputError
        If there are none, or one is not whole.
    """
    folder, fields = _open_folder(directory)
    found: dict[int, Params] = {}
    for name, stored in stored_arrays(folder, _architecture(fields)).items():
        match = PROJECTION.fullmatch(name)
        if match is not None:
            row = ArrayName("w" if match[2] == "weight" else "b", name, "")
            a = read_array(stored)
            level = found.setdefault(int(match[1] or 0), {})
            level[row.ours] = _converted(a.T, row, folder, dtype)
    levels = [found[i] for i in sorted(found)]
    if not levels or any(set(p) != {"w", "b"} for p in levels) or len(found) != max(found) + 1:
        raise InputError(f"{folder}: got {len(found)} projections, expected weights and biases")
    return levels


def _open_folder(directory: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    folder = find_folder(directory)
    if not folder.is_dir():
        if folder.exists():
            refuse_pickles([folder], "AutoModel")
        what = "a file" if folder.exists() else "no such folder"
        raise InputError(f"{directory}: got {what}, expected a model folder")
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(
            f"{directory}: got a folder without {CONFIG_FILE}, expected a model folder"
        )
    return folder, read_json(folder / CONFIG_FILE)


def _architecture(fields: dict[str, Any]) -> str:
    names = fields.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else "AutoModel"


def _by_plain_name(
    folder: Path, stored: dict[str, StoredArray], family: Family
) -> dict[str, StoredArray]:
    plain: dict[str, StoredArray] = {}
    for name, array in stored.items():
        twin = plain.setdefault(plain_name(name, family), array)
        if twin is not array:
            raise InputError(
                f"{folder}: got {twin.name[:80]} and {name[:80]}, expected one of them"
            )
    return plain


def _expected_shapes(
    rows: list[ArrayName], config: EncoderConfig, family: Family, skip: int
) -> dict[str, tuple[int, ...]]:
    """Return the stored shape of every array, by plain name."""
    shapes = {}
    for row in rows:
        shape = shape_of(row, config)
        if row.axes[0] == "P":
            shape = shape[0] + skip, *shape[1:]
        shapes[plain_name(row.theirs, family)] = shape[::-1] if is_transposed(row) else shape
    return shapes


def _check_names(
    folder: Path,
    kind: type[Model],
    family: Family,
    rows: list[ArrayName],
    expected: dict[str, tuple[int, ...]],
    stored: dict[str, StoredArray],
) -> None:
    known = expected.keys() | other_names(kind, family)
    projections = [a.name for name, a in stored.items() if PROJECTION.fullmatch(name)]
    names = {plain_name(row.theirs, family): row.theirs for row in rows}
    missing = [names[name] for name in expected if name not in stored]
    odd = [a.name for name, a in stored.items() if name not in known and a.name not in projections]
    wrong = [
        f"{stored[name].name[:80]} {stored[name].shape} instead of {shape}"
        for name, shape in expected.items()
        if name in stored and stored[name].shape != shape
    ]
    problems = {"missing": missing, "unexpected": odd, "mis-shaped": wrong}
    report = "; ".join(f"{what} {some(which)}" for what, which in problems.items() if which)
    if report:
        raise InputError(f"{folder}: got arrays that do not fit {CONFIG_FILE}: {report}")
    if projections:
        warnings.warn(
            f"{folder}: {some(projections)} unused: only distillation needs TinyBERT's "
            "projections (npformer.models.read_projections reads them)",
            stacklevel=3,
        )


def _converted(a: FloatArray, row: ArrayName, folder: Path, dtype: DTypeLike) -> FloatArray:
    """Return an array just read as one in row order, which an optimizer may write to."""
    with np.errstate(over="ignore"):  # refused below, with a reason
        converted: FloatArray = a.astype(dtype, order="C", copy=False)
    if not np.isfinite(converted).all():
        what = "NaN" if np.isnan(a).any() else f"infinity (in {converted.dtype})"
        raise InputError(f"{folder}: got {what} in {row.theirs}, expected finite weights")
    return converted


def _check_tied(family: Family, stored: dict[str, StoredArray]) -> None:
    for copy, tied in family.tied.items():
        if copy in stored and not np.array_equal(
            read_array(stored[copy]), read_array(stored[tied])
        ):
            raise InputError(
                f"{stored[copy].path}: got {stored[copy].name}, expected it to be equal to "
                f"{stored[tied].name}"
            )

"""The arrays of a folder: which there must be, reading them, laying them out to be written."""

import re
import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, article, some
from npformer.layers.shapes import sizes
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.arrays import StoredArray, read_array
from npformer.models.huggingface.family import Family, Model, Row
from npformer.models.huggingface.registry import written_family
from npformer.models.huggingface.weights import CONFIG_FILE
from npformer.types import FloatArray, Params

# What TinyBERT's distillation learned beside the student: only training needs it.
PROJECTION = re.compile(r"fit_dense(?:s\.(\d+))?\.(weight|bias)")
LAYER = re.compile(r"(?<=layers\.)\d+")
Shape = tuple[int, ...]


def array_rows(kind: Any, config: Any, family: Family | None = None) -> list[Row]:
    """Return a row for every parameter of a model, its layer's number in both names.

    Raises
    ------
    InputError
        If the family's table has no row for one.
    """
    family = family or written_family(config)
    table, found = family.table(kind, config), []
    for name in kind.shapes(config):
        row, number = table.get(LAYER.sub("{i}", name)), LAYER.search(name)
        if row is None:
            raise InputError(
                f"{family.model_type}: got no row for {name}, expected one for every parameter of "
                f"{article(kind.__name__)}"
            )
        theirs = row.theirs.replace("{i}", number[0]) if number else row.theirs
        found.append(row._replace(ours=name, theirs=theirs))
    return found


def read_arrays(
    folder: Path,
    stored: Mapping[str, StoredArray],
    family: Family,
    kind: type[Model],
    config: Any,
    *,
    unread: int = 0,
    dtype: DTypeLike,
) -> Params:
    """Read the parameters of a model; nothing may be missing, unknown or of another shape.

    ``unread`` rows of the position table stand before the first token's.
    """
    shapes = _shapes(kind, config)
    plain = by_plain_name(folder, stored, family)
    groups = _by_array(array_rows(kind, config, family))
    _check_names(folder, family, kind, plain, groups, shapes, unread)
    params: Params = dict.fromkeys(shapes, np.empty(0))
    for theirs, group in groups.items():
        whole = read_array(plain[plain_name(theirs, family)])
        for row, a in zip(group, _split(whole, group, shapes, unread), strict=True):
            params[row.ours] = converted(a, theirs, folder, dtype)
    return params


def lay_out(params: Params, kind: type[Model], config: Any, family: Family) -> Params:
    """Return the arrays of a model as a family's file has them.

    Raises
    ------
    InputError
        If the parameters are not those of the configuration.
    """
    dtypes = {a.dtype for a in params.values()}
    if len(dtypes) != 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        names = ", ".join(sorted(str(d) for d in dtypes))
        raise InputError(f"params: got {names}, expected all float32 or all float64")
    expected = _shapes(kind, config)
    for name in sorted(expected.keys() | params.keys()):
        have = params[name].shape if name in params else None
        if have != expected.get(name):
            raise InputError(f"{name}: got shape {have}, expected {expected.get(name)}")
    arrays: Params = {}
    for theirs, group in _by_array(array_rows(kind, config, family)).items():
        a = np.concatenate([params[row.ours] for row in group], axis=-1)
        if group[0].transposed:
            a = a.T
        # safetensors writes memory as it lies, so a view would come out scrambled.
        arrays[theirs] = np.ascontiguousarray(a[None] if group[0].place == "row" else a)
    return arrays


def by_plain_name(
    folder: Path, stored: Mapping[str, StoredArray], family: Family
) -> dict[str, StoredArray]:
    """Return what a folder holds by today's names, without the family's prefix."""
    plain: dict[str, StoredArray] = {}
    for name, array in stored.items():
        twin = plain.setdefault(plain_name(name, family), array)
        if twin is not array:
            raise InputError(
                f"{folder}: got {twin.name[:80]} and {name[:80]}, expected one of them"
            )
    return plain


def plain_name(name: str, family: Family) -> str:
    """Return today's name without the prefix; TensorFlow's layer norms have gamma and beta."""
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
    return name.removeprefix(family.prefix)


def converted(a: FloatArray, theirs: str, folder: Path, dtype: DTypeLike) -> FloatArray:
    """Return an array just read as one in row order, which an optimizer may write to."""
    with np.errstate(over="ignore"):  # refused below, with a reason
        whole: FloatArray = a.astype(dtype, order="C", copy=False)
    if not np.isfinite(whole).all():
        what = "NaN" if np.isnan(a).any() else f"infinity (in {whole.dtype})"
        raise InputError(f"{folder}: got {what} in {theirs}, expected finite weights")
    return whole


def _shapes(kind: Any, config: Any) -> dict[str, Shape]:
    return {name: sizes(axes) for name, axes in kind.shapes(config).items()}


def _by_array(rows: list[Row]) -> dict[str, list[Row]]:
    """Return the rows of each array there, its parts in order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.theirs, []).append(row)
    return {theirs: sorted(group, key=lambda row: row.part) for theirs, group in groups.items()}


def _stored_shape(group: list[Row], shapes: Mapping[str, Shape], unread: int) -> Shape:
    first = group[0]
    shape = *shapes[first.ours][:-1], sum(shapes[row.ours][-1] for row in group)
    if first.place == "after padding":
        shape = shape[0] + unread, *shape[1:]
    if first.transposed:
        shape = shape[::-1]
    return (1, *shape) if first.place == "row" else shape


def _split(
    whole: FloatArray, group: list[Row], shapes: Mapping[str, Shape], unread: int
) -> list[FloatArray]:
    """Undo the layout of one array: the parameters of ours that lie in it."""
    first = group[0]
    if first.place == "row":
        whole = whole[0]
    if first.transposed:
        whole = whole.T
    if first.place == "after padding":
        whole = whole[unread:]
    ends = np.cumsum([shapes[row.ours][-1] for row in group])
    return np.split(whole, ends[:-1], axis=-1)


def _check_names(
    folder: Path,
    family: Family,
    kind: type[Model],
    plain: Mapping[str, StoredArray],
    groups: Mapping[str, list[Row]],
    shapes: Mapping[str, Shape],
    unread: int,
) -> None:
    names = {plain_name(theirs, family): theirs for theirs in groups}
    expected = {name: _stored_shape(groups[names[name]], shapes, unread) for name in names}
    copies = {} if kind in (SequenceClassifier, TokenClassifier) else family.copies
    known = {*expected, *copies}
    if kind not in family.heads:  # whoever asks for an encoder can have it from below any head
        heads = [row.theirs for head in family.heads.values() for row in head]
        known |= {plain_name(theirs, family) for theirs in heads}
    projections = [
        a.name for name, a in plain.items() if family.heads and PROJECTION.fullmatch(name)
    ]
    odd = [
        a.name
        for name, a in plain.items()
        if name not in known
        and a.name not in projections
        and not any(fnmatchcase(name, pattern) for pattern in family.unused)
    ]
    wrong = [
        f"{plain[name].name[:80]} {plain[name].shape} instead of {shape}"
        for name, shape in expected.items()
        if name in plain and plain[name].shape != shape
    ]
    missing = [theirs for name, theirs in names.items() if name not in plain]
    problems = {"missing": missing, "unexpected": odd, "mis-shaped": wrong}
    report = "; ".join(f"{what} {some(which)}" for what, which in problems.items() if which)
    if report:
        raise InputError(f"{folder}: got arrays that do not fit {CONFIG_FILE}: {report}")
    for copy, original in copies.items():
        if copy in plain and original in expected:
            first, second = plain[copy], plain[original]
            if not np.array_equal(read_array(first), read_array(second)):
                raise InputError(
                    f"{first.path}: got {first.name}, expected it to be equal to {second.name}"
                )
    if projections:
        warnings.warn(
            f"{folder}: {some(projections)} unused: only distillation needs TinyBERT's "
            "projections (npformer.models.read_projections reads them)",
            stacklevel=4,
        )

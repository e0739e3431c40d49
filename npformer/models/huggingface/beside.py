"""What a folder holds beside the model: the names of classes, a pooler, TinyBERT's projections."""

import os

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface.arrays import read_array
from npformer.models.huggingface.classes import read_labels
from npformer.models.huggingface.config import read_config, read_family
from npformer.models.huggingface.pretrained import architecture_of, open_folder
from npformer.models.huggingface.tensors import (
    PROJECTION,
    by_plain_name,
    converted,
    plain_name,
)
from npformer.models.huggingface.weights import CONFIG_FILE, stored_arrays
from npformer.types import Params


def load_labels(directory: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of a classifier's classes, in the order of its logits."""
    folder, fields = open_folder(directory)
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
    folder, fields = open_folder(directory)
    family = read_family(fields, SequenceClassifier)
    width = read_config(fields, Encoder).d_model
    stored = by_plain_name(folder, stored_arrays(folder, architecture_of(fields)), family)
    rows = [r for r in family.heads[SequenceClassifier] if r.theirs.startswith(family.prefix)]
    found = [stored.get(plain_name(row.theirs, family)) for row in rows]
    if not any(found):
        return {}
    pooler: Params = {}
    for row, array in zip(rows, found, strict=True):
        shape = (width, width) if row.transposed else (width,)
        if array is None or array.shape != shape:
            wrong = array and f"mis-shaped {array.name} {array.shape} instead of {shape}"
            raise InputError(
                f"{folder}: got arrays that do not fit {CONFIG_FILE}: "
                f"{wrong or f'missing {row.theirs}'}"
            )
        pooler[row.ours] = converted(read_array(array).T, row.theirs, folder, dtype)
    return pooler


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
    folder, fields = open_folder(directory)
    found: dict[int, Params] = {}
    for name, stored in stored_arrays(folder, architecture_of(fields)).items():
        match = PROJECTION.fullmatch(name)
        if match is not None:
            level = found.setdefault(int(match[1] or 0), {})
            ours = "w" if match[2] == "weight" else "b"
            level[ours] = converted(read_array(stored).T, name, folder, dtype)
    levels = [found[i] for i in sorted(found)]
    if not levels or any(set(p) != {"w", "b"} for p in levels) or len(found) != max(found) + 1:
        raise InputError(f"{folder}: got {len(found)} projections, expected weights and biases")
    return levels

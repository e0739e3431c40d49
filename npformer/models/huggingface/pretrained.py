"""A model from a folder, and a folder from a model."""

import json
import os
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError
from npformer.models.causal_lm import CausalLM
from npformer.models.encoder import Encoder
from npformer.models.folder import find_folder, write_folder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.config import (
    read_config,
    read_family,
    read_kind,
    unread_positions,
    write_config,
)
from npformer.models.huggingface.family import Model
from npformer.models.huggingface.registry import written_family
from npformer.models.huggingface.tensors import lay_out, read_arrays
from npformer.models.huggingface.weights import (
    ARRAYS_FILE,
    CONFIG_FILE,
    read_json,
    refuse_pickles,
    stored_arrays,
)
from npformer.models.masked_lm import MaskedLM
from npformer.models.seq2seq import Seq2Seq

M = TypeVar("M", Encoder, SequenceClassifier, TokenClassifier, MaskedLM, CausalLM, Seq2Seq)


def save_pretrained(
    model: Model, directory: str | os.PathLike[str], *, labels: list[str] | None = None
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


def write_model(model: Model, folder: Path, *, labels: list[str] | None = None) -> None:
    """Write the two files into a folder that exists, for a `write_folder` that adds others."""
    from safetensors.numpy import save

    kind, config, family = type(model), model.config, written_family(model.config)
    fields = write_config(config, kind, family, labels)
    arrays = lay_out(model.params, kind, config, family)
    fields["dtype"] = str(next(iter(arrays.values())).dtype)
    (folder / ARRAYS_FILE).write_bytes(save(arrays, metadata={"format": "pt"}))
    (folder / CONFIG_FILE).write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")


@overload
def from_pretrained(
    directory: str | os.PathLike[str], head: None = None, *, dtype: DTypeLike = np.float32
) -> Model: ...


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
    folder, fields = open_folder(directory)
    try:
        family, kind = read_family(fields, head), read_kind(fields, head)
        config, unread = read_config(fields, kind), unread_positions(fields, family)
    except InputError as error:
        raise InputError(f"{folder / CONFIG_FILE}: {error}") from None
    stored = stored_arrays(folder, architecture_of(fields))
    make: Any = kind  # each takes its own configuration, which read_config has chosen
    return make(
        config, read_arrays(folder, stored, family, kind, config, unread=unread, dtype=dtype)
    )


def open_folder(directory: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """Return where a model folder is, and its config.json."""
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


def architecture_of(fields: dict[str, Any]) -> str:
    """Return the class that transformers reads a folder with."""
    names = fields.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else "AutoModel"

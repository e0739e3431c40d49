"""The folder of a `Seq2Seq`: ``config.json`` and ``model.safetensors``, under our own names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npformer.checks import InputError, some
from npformer.layers.shapes import sizes
from npformer.models.config import Seq2SeqConfig
from npformer.models.huggingface.arrays import read_array
from npformer.models.huggingface.weights import ARRAYS_FILE, CONFIG_FILE, read_json, stored_arrays
from npformer.models.seq2seq import Seq2Seq

MODEL_TYPE = "npformer-seq2seq"


def write_seq2seq(model: Seq2Seq, folder: Path) -> None:
    """Write a model into a folder that is there."""
    from safetensors.numpy import save

    config = {"model_type": MODEL_TYPE, **model.config.to_dict()}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    # A slice or a transpose would be written in the order of its memory.
    arrays = {name: np.ascontiguousarray(array) for name, array in model.params.items()}
    # Not save_file, which reports a full disk as an error of its own kind.
    (folder / ARRAYS_FILE).write_bytes(save(arrays))


def read_seq2seq_config(fields: Mapping[str, Any]) -> Seq2SeqConfig:
    """Return the configuration that a config.json of ours holds."""
    return Seq2SeqConfig.from_dict({n: v for n, v in fields.items() if n != "model_type"})


def load_seq2seq(folder: Path) -> Seq2Seq:
    """Read what `write_seq2seq` wrote.

    Raises
    ------
    InputError
        If the folder holds no such model, or its arrays do not fit its configuration.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise InputError(f"{folder}: got no {CONFIG_FILE}, expected a translation model")
    fields = read_json(path)
    if fields.get("model_type") != MODEL_TYPE:
        raise InputError(f"{path}: got another file, expected model_type {MODEL_TYPE}")
    config = read_seq2seq_config(fields)
    expected = {name: sizes(axes) for name, axes in Seq2Seq.shapes(config).items()}
    stored = stored_arrays(folder, "AutoModel")
    odd = sorted(expected.keys() ^ stored.keys())
    if odd:
        raise InputError(f"{folder / ARRAYS_FILE}: {some(odd)} missing or unexpected")
    for name, shape in expected.items():
        if stored[name].shape != shape:
            raise InputError(
                f"{folder / ARRAYS_FILE}: {name} has shape {stored[name].shape}, expected {shape}"
            )
    return Seq2Seq(config, {name: read_array(stored[name]) for name in expected})

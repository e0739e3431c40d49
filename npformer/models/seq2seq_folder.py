"""The folder of a `Seq2Seq`: ``config.json`` and ``model.safetensors``, under our own names."""

import json
from pathlib import Path

import numpy as np

from npformer.checks import InputError
from npformer.models.config import Seq2SeqConfig
from npformer.models.seq2seq import Seq2Seq
from npformer.types import Params

MODEL_TYPE = "npformer-seq2seq"


def write_seq2seq(model: Seq2Seq, folder: Path) -> None:
    """Write a model into a folder that is there."""
    from safetensors.numpy import save

    config = {"model_type": MODEL_TYPE, **model.config.to_dict()}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    # A slice or a transpose would be written in the order of its memory.
    arrays = {name: np.ascontiguousarray(array) for name, array in model.params.items()}
    # Not save_file, which reports a full disk as an error of its own kind.
    (folder / "model.safetensors").write_bytes(save(arrays))


def load_seq2seq(folder: Path) -> Seq2Seq:
    """Read what `write_seq2seq` wrote.

    Raises
    ------
    InputError
        If the folder holds no such model, or its arrays do not fit its configuration.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder}: got no config.json, expected a translation model")
    try:
        values = json.loads(path.read_text("utf-8"))
        if values.pop("model_type") != MODEL_TYPE:
            raise KeyError("model_type")
    except (ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: got another file, expected model_type {MODEL_TYPE}") from error
    config = Seq2SeqConfig.from_dict(values)
    try:
        params: Params = load_file(folder / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder / 'model.safetensors'}: {error}") from error
    expected = Seq2Seq.init(config, np.random.default_rng(0)).params
    if params.keys() != expected.keys():
        differ = sorted(params.keys() ^ expected.keys())
        raise InputError(
            f"{folder / 'model.safetensors'}: {', '.join(differ[:3])} missing or unexpected"
        )
    for name, array in params.items():
        if array.shape != expected[name].shape:
            raise InputError(
                f"{folder / 'model.safetensors'}: {name} has shape {array.shape}, expected "
                f"{expected[name].shape}"
            )
    return Seq2Seq(config, params)

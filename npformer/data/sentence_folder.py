"""The few files that sentence-transformers adds to a model's folder."""

import json
from pathlib import Path
from typing import Any

from npformer.checks import InputError, shown

# What `npformer.train.embed` does; more modules, such as Dense, would give other embeddings.
MODULES = ("Transformer", "Pooling", "Normalize")


def sentence_length(folder: Path, limit: int) -> int:
    """Return how many pieces of a sentence such a model reads, at most ``limit``.

    Parameters
    ----------
    folder : path
        Without ``sentence_bert_config.json`` the answer is ``limit``.
    limit : int
        The model's positions.

    Raises
    ------
    InputError
        If the folder asks for anything else than the mean of the token states.
    """
    for module in _read(folder / "modules.json", []):
        kind = str(module.get("type", "")).rpartition(".")[2] if isinstance(module, dict) else ""
        if kind not in MODULES:
            raise InputError(
                f"{folder / 'modules.json'}: got {shown(kind)}, expected one of "
                f"{', '.join(MODULES)}"
            )
    for name, value in _read(folder / "1_Pooling" / "config.json", {}).items():
        if name.startswith("pooling_mode_") and value is not (name == "pooling_mode_mean_tokens"):
            raise InputError(
                f"{folder / '1_Pooling' / 'config.json'}: got {name} = {shown(value)}, expected "
                "the mean over the tokens alone"
            )
    length = _read(folder / "sentence_bert_config.json", {}).get("max_seq_length")
    if length is None:
        return limit
    if not isinstance(length, int) or length < 1:
        raise InputError(
            f"max_seq_length: got {shown(length)}, expected a whole number of at least 1"
        )
    return min(length, limit)


def _read(path: Path, empty: Any) -> Any:
    if not path.is_file():
        return empty
    try:
        values = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: got no JSON ({error}), expected some") from error
    if not isinstance(values, type(empty)):
        raise InputError(
            f"{path}: got a JSON {type(values).__name__}, expected a {type(empty).__name__}"
        )
    return values

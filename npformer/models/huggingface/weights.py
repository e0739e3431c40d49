"""The weight files of a folder: one, or shards with an index; nothing that is pickled."""

import json
from pathlib import Path
from typing import Any

from npformer.checks import InputError, shown, some
from npformer.data.placeholders import check_downloaded
from npformer.models.huggingface.arrays import StoredArray, read_header

CONFIG_FILE = "config.json"
ARRAYS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
# Reading a pickle runs the code in it; the others are no format of NumPy's.
OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack")


def stored_arrays(folder: Path, architecture: str) -> dict[str, StoredArray]:
    """Return every array of a folder by its name there, without reading it.

    Parameters
    ----------
    folder : path
    architecture : str
        The class that transformers would read the folder with: the advice names it.

    Raises
    ------
    InputError
        If there are no weights, a shard is missing, or a file is broken.
    """
    path, index = folder / ARRAYS_FILE, folder / INDEX_FILE
    if path.is_file():
        return read_header(path)
    if index.is_file():
        return _shards(index)
    shards = sorted(path.name for path in folder.glob("*-of-*.safetensors"))
    if shards:
        raise InputError(
            f"{folder}: got the shards {some(shards)} without {INDEX_FILE}, expected it beside them"
        )
    refuse_pickles(sorted(folder.iterdir()), architecture)
    raise InputError(f"{folder}: got a folder without {ARRAYS_FILE}, expected a model folder")


def refuse_pickles(paths: list[Path], architecture: str) -> None:
    """Say how to convert weights that are in another format, if there are any."""
    pickles = [path for path in paths if path.suffix in OTHER_WEIGHTS]
    if pickles:
        raise InputError(
            f"{pickles[0]}: got {pickles[0].suffix} weights, expected {ARRAYS_FILE}: reading a "
            'pickle can run any code, so convert a file that you trust with `python -c "import '
            f"transformers as t; t.{architecture}.from_pretrained('{pickles[0].parent}')"
            ".save_pretrained('DIR', safe_serialization=True)\"`"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object."""
    check_downloaded(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: got no JSON ({error}), expected an object") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: got a JSON {type(values).__name__}, expected an object")
    return values


def _shards(index: Path) -> dict[str, StoredArray]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(f, str) for f in places.values()):
        raise InputError(f"{index}: got no weight_map, expected the file of each array")
    found: dict[str, StoredArray] = {}
    for file in sorted(set(places.values())):
        path = index.parent / file
        if Path(file).name != file or len(file) > 255:
            raise InputError(f"{index}: got {shown(file)}, expected the name of a file beside it")
        if not path.is_file():
            raise InputError(f"{path}: got no such file, expected a shard that {index.name} names")
        header = read_header(path)
        listed = {name for name, place in places.items() if place == file}
        if listed != header.keys():
            differ = sorted(listed ^ header.keys())[0]
            where = "only the index has" if differ in listed else "the index does not have"
            raise InputError(
                f"{path}: got other arrays than {index.name} says: {where} {differ[:80]}"
            )
        found |= header
    return found

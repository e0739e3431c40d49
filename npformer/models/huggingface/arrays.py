"""Reading safetensors files: a header that says what lies where, then the bytes.

The format is small: 8 bytes with the length of the header, the header in JSON, the arrays one after
another without a gap. It is read here by hand because NumPy has no bfloat16, which the format's own
library would need, and because a header is not to be believed: nothing is allocated before
everything that it says fits the file.
"""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from npformer.checks import InputError, shown
from npformer.data.placeholders import check_downloaded
from npformer.types import FloatArray

HEADER_LIMIT = 100_000_000  # bytes, the format's own
MOST_AXES, MOST = 32, 2**63  # no array of NumPy's has more axes, no file as many bytes
BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1}
BYTES |= {f"{kind}{8 * n}": n for n in (2, 4, 8) for kind in "UIF"} | {"BF16": 2}
FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
PICKLES = (b"PK\x03\x04", b"\x80")  # what torch.save writes, now and formerly


class StoredArray(NamedTuple):
    """Where an array lies."""

    path: Path
    name: str
    kind: str  # a key of BYTES
    shape: tuple[int, ...]
    start: int  # its first byte in the file
    stop: int


def read_header(path: Path) -> dict[str, StoredArray]:
    """Return what a file holds, by name, in the order of its bytes.

    Raises
    ------
    InputError
        If it is no safetensors file, is cut short, or its header contradicts itself or the file.
    """
    check_downloaded(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) == 8 and length <= min(size - 8, HEADER_LIMIT):
            text = file.read(length)
        elif start.startswith(PICKLES):
            raise InputError(f"{path}: got a pickled file, expected safetensors")
        else:
            raise InputError(
                f"{path}: got {size} bytes that begin with a header of {length}, expected "
                "safetensors (a download that was cut short?)"
            )
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: got a broken header ({error}), expected safetensors") from error
    if not isinstance(header, dict):
        raise InputError(f"{path}: got a header without names, expected safetensors")
    header.pop("__metadata__", None)
    arrays = [_entry(path, name, entry, 8 + length) for name, entry in header.items()]
    arrays.sort(key=lambda a: (a.start, a.stop))
    end = 8 + length
    for array in arrays:
        if array.start != end:
            what = "overlap" if array.start < end else "a gap"
            raise InputError(
                f"{path}: got {what} before {array.name}, expected one array after another"
            )
        end = array.stop
    if end != size:
        raise InputError(
            f"{path}: got {size} bytes, expected {end} (a download that was cut short?)"
        )
    return {array.name: array for array in arrays}


def read_array(stored: StoredArray) -> FloatArray:
    """Read one array; bfloat16 comes as float32, of which it is the upper half.

    Raises
    ------
    InputError
        If it does not hold floating-point numbers.
    """
    path, name, kind, shape, start, _ = stored
    if kind not in FLOATS:
        raise InputError(f"{path}: got {kind} in {name}, expected one of {', '.join(FLOATS)}")
    a: Any = np.fromfile(path, FLOATS[kind], math.prod(shape), offset=start)
    if kind == "BF16":
        a = (a.astype(np.uint32) << 16).view(np.float32)
    read: FloatArray = a.reshape(shape)
    return read


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        [(twin, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twin[:80]} twice")
    return entries


def _entry(path: Path, name: str, entry: Any, base: int) -> StoredArray:
    """Read the header's words on one array; ``base`` is the first byte after the header."""
    words = entry if isinstance(entry, dict) else {}
    kind, shape, offsets = (words.get(word) for word in ("dtype", "shape", "data_offsets"))
    if not (_counts(shape) and _counts(offsets) and len(offsets) == 2):
        raise InputError(
            f"{path}: got {shown(entry)} for {name[:80]}, expected dtype, shape, data_offsets"
        )
    if not (isinstance(kind, str) and kind in BYTES):
        raise InputError(
            f"{path}: got dtype {shown(kind)} in {name[:80]}, expected one of {', '.join(BYTES)}"
        )
    start, stop = offsets
    if 0 in shape and math.prod(n or 1 for n in shape) >= MOST // 8:
        raise InputError(
            f"{path}: got shape ({', '.join(map(str, shape))[:80]}) of {name[:80]}, expected one "
            "that an array can have"
        )
    if stop - start != BYTES[kind] * math.prod(shape):
        raise InputError(
            f"{path}: got {stop - start} bytes for {name[:80]}, expected those of shape "
            f"({', '.join(map(str, shape))[:80]}) in {kind}"
        )
    return StoredArray(path, name, kind, tuple(shape), base + start, base + stop)


def _counts(numbers: Any) -> TypeGuard[list[int]]:
    return (
        isinstance(numbers, list)
        and len(numbers) <= MOST_AXES
        and all(type(n) is int and 0 <= n < MOST for n in numbers)
    )

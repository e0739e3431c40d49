"""Text files as people have them: UTF-8, plain or packed as ``.gz``."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from npformer.checks import InputError


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 file, plain or ``.gz``, each with its number from 1.

    Raises
    ------
    InputError
        If the file is missing, a folder, empty, not UTF-8, or a damaged ``.gz``.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: got a folder, expected a file")
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not data.strip():
        raise InputError(f"{path}: got an empty file, expected text")
    data = data.removeprefix(b"\xef\xbb\xbf")  # the byte-order mark that some editors write
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            yield number, line.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"0x{line[error.start]:02x}"
            raise InputError(f"{path}, line {number}: got byte {byte}, expected UTF-8") from error


def find_table(folder: Path, name: str) -> Path:
    """Return the path of a table, plain or packed."""
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.exists() and packed.exists():
        raise InputError(f"{folder}: got both {name} and {name}.gz, expected one of them")
    if not plain.exists() and not packed.exists():
        raise InputError(f"{folder}: {name} is missing (or {name}.gz)")
    return plain if plain.exists() else packed

"""What lies in the place of a file when a download went wrong."""

from pathlib import Path

from npformer.checks import InputError

LFS = b"version https://git-lfs"
HTML = (b"<!doctype html", b"<html")


def check_downloaded(path: Path) -> None:
    """Refuse a Git LFS pointer and a web page.

    Raises
    ------
    InputError
        If ``path``, which is a file, holds one of them and not what its name says.
    """
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(LFS):
        raise InputError(
            f"{path}: got a Git LFS pointer, expected the file itself (`git lfs pull` fetches it)"
        )
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(HTML):
        raise InputError(
            f"{path}: got an HTML page, expected the file itself (download it by its raw link)"
        )

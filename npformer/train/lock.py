"""One process a folder: a lock that the system lets go when its owner ends, however it ends."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from npformer.checks import InputError

LOCK = "run.lock"
# What a file system says that has no locks; there the folder is used without one.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Own a folder: ``run.lock`` is locked, and names this process to whoever comes second.

    What a killed process left behind is not locked any more, so it is taken over.

    Raises
    ------
    InputError
        If another process, or another run of this one, owns the folder.
    """
    path = folder / LOCK
    with _lock(path) as file:
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is locked: nobody else owns it yet


def _lock(path: Path) -> IO[str]:
    """Return the lock file, open and locked."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read() or "another process"
            file.close()
            raise InputError(
                f"--out: got {path.parent}, which {owner} is working in, expected a folder that "
                "no other run is using"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                raise
        # The one before may have removed its file between our opening and our locking it.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()

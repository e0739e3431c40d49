"""Ask the C library to keep the memory it is given back."""

import ctypes
import sys

# From glibc's malloc.h: the names of what `mallopt` sets.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8


def keep_freed_memory() -> bool:
    """Make fresh arrays cheap for the rest of this process; return whether that was possible.

    By default glibc returns large blocks to the system as soon as they are freed, and every
    new array pays for its pages again, often more than for the arithmetic on it. A training step
    allocates the same sizes again and again, so memory once had is better kept. Linux with glibc
    only; elsewhere nothing happens.

    Commands and benchmarks call this; importing npformer does not.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    settings = {
        _M_MMAP_MAX: 0,
        _M_TRIM_THRESHOLD: 2**31 - 1,
        _M_TOP_PAD: 64 << 20,
        _M_ARENA_MAX: 1,
    }
    return all(mallopt(name, value) for name, value in settings.items())

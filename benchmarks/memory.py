"""The most memory that this process has ever held."""

import sys
from pathlib import Path


def peak_memory() -> int:
    """Return the peak resident memory so far, in bytes."""
    if sys.platform == "win32":
        return 0
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux that one is inherited from the process that started this one.
        [line] = [row for row in status.read_text().splitlines() if row.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

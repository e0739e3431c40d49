"""What other processes do meanwhile: a busy machine slows the contenders, and not all alike."""

import os
from pathlib import Path

_STAT = Path("/proc/stat")
# Columns of its first line, from proc(5): all that keeps a processor busy, and what a
# hypervisor's other guests took.
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def busy_seconds() -> float | None:
    """Return the processor time that all processes have used so far; None but on Linux."""
    if not _STAT.exists():
        return None
    ticks = _STAT.read_text().split("\n", 1)[0].split()[1:]
    used = dict(zip(_COLUMNS, map(int, ticks), strict=False))
    return sum(used.get(name, 0) for name in _BUSY) / os.sysconf("SC_CLK_TCK")


def cores_of_others(before: float | None, after: float | None, ours: float, wall: float) -> float:
    """Return how many cores others kept busy, on average, while ``wall`` seconds went by.

    Parameters
    ----------
    before, after : float, optional
        From `busy_seconds`.
    ours : float
        The processor time that was ours meanwhile.
    wall : float
    """
    if before is None or after is None or wall <= 0:
        return 0.0
    return max(0.0, after - before - ours) / wall

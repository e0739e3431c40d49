"""What the figures were measured on."""

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.child import ROOT, child_environment
from benchmarks.libraries import LIBRARIES, OURS
from benchmarks.results import Result
from npformer.checks import InputError

IMPORTS = 7  # of which the median counts
TIME_IMPORT = """
import time
start = time.perf_counter()
import npformer
print(time.perf_counter() - start)
"""


def header(peaks: Result, peers: Sequence[str], load: str) -> dict[str, str]:
    """Return the machine, the libraries with their matrix products, and the moment.

    Parameters
    ----------
    peaks : Result
        Of `benchmarks.plan.peak_case`; its contenders say which kernels they chose.
    peers : sequence of str
    load : str
        From `load_average`, before the first measurement.
    """
    lines = {
        "processor": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "Python": f"{platform.python_version()}, {peaks.case.threads} threads",
        "commit": commit(),
        "time": datetime.now().astimezone().isoformat(timespec="minutes"),
        "load average": load,
    }
    for m in peaks.measured:
        chosen = m.about.get("version", "")
        if m.contender.library == OURS:
            chosen = (
                f"NumPy {m.about['numpy']}, {m.about.get('blas', 'an unknown BLAS')}, "
                f"kernels for {m.about.get('architecture', 'an unknown processor')}"
            )
        lines[m.contender.label] = f"{chosen}, {peaks.gflops(m):.0f} GFLOP/s"
    for peer in peers:
        lines.setdefault(peer, " ".join(f"{n} {_version(n)}" for n in LIBRARIES[peer].requires))
    return lines


def render(lines: dict[str, str]) -> str:
    """Return the header as text."""
    width = max(map(len, lines))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in lines.items())


def import_seconds() -> float:
    """Return the time that ``import npformer`` takes in a fresh interpreter.

    Raises
    ------
    InputError
        If it fails.
    """
    environment = child_environment(os.environ, None, 1)
    times = []
    for _ in range(IMPORTS):
        done = subprocess.run(
            [sys.executable, "-c", TIME_IMPORT],
            capture_output=True,
            text=True,
            env=environment,
        )
        if done.returncode:
            raise InputError(f"npformer cannot be imported: {done.stderr.strip().splitlines()[-1]}")
        times.append(float(done.stdout))
    return statistics.median(times)


def processor() -> str:
    """Return the processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        pairs = [line.partition(":") for line in info.read_text().splitlines()]
        fields = {name.strip(): value.strip() for name, _, value in pairs}
        if "model name" in fields:
            family, model = fields.get("cpu family"), fields.get("model")
            return f"{fields['model name']} (family {family}, model {model})"
    return platform.processor() or platform.machine()


def commit() -> str:
    """Return the commit of the checkout, and whether it has been changed since."""
    try:
        head, changes = (
            subprocess.run(
                ["git", *command], cwd=ROOT, check=True, capture_output=True, text=True
            ).stdout.strip()
            for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} with changes" if changes else head


def load_average() -> str:
    """Return what else the machine was doing."""
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return f"{os.getloadavg()[0]:.2f} over the minute before"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

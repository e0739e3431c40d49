"""Keeping freed memory: it is asked for, it works, and importing does not do it."""

import subprocess
import sys

import pytest

from npformer.train import malloc

COUNT_FAULTS = """
import resource, sys
import numpy as np
from npformer.train.malloc import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory() is True

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(1 << 19)  # 4 MB: 1,024 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is asked, on Linux")
def test_fresh_arrays_are_cheap_once_it_was_asked_for():
    def run(how):
        # glibc's own threshold grows with use; pinned, so that both runs start alike.
        out = subprocess.run(
            [sys.executable, "-c", COUNT_FAULTS, how],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": "", "MALLOC_MMAP_THRESHOLD_": "131072"},
        )
        return int(out.stdout)

    if run("leave") < 1000:
        pytest.skip("huge pages or another allocator: there is nothing to keep")
    assert run("keep") < 100


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(malloc.ctypes, "CDLL", None)
    assert malloc.keep_freed_memory() is False


def test_another_c_library(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: object())
    assert malloc.keep_freed_memory() is False

"""Settings of every test run: one BLAS thread, no display, repeatable property tests."""

import os
from collections.abc import Generator
from typing import Any

# Before NumPy loads: xdist's two workers share two cores, so more threads only wait on each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest

hypothesis.settings.register_profile("npformer", deadline=None)
hypothesis.settings.register_profile("npformer-ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("npformer-ci" if os.environ.get("CI") else "npformer")

# .ci/run sets this for tests/parity: there a skipped comparison is a failed one.
REQUIRE_PARITY = os.environ.get("NPFORMER_REQUIRE_PARITY") == "1"


def _fail_if_skipped(report: Any) -> Any:
    if REQUIRE_PARITY and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but NPFORMER_REQUIRE_PARITY=1: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    return _fail_if_skipped((yield))

"""What npformer aims at, in one place, and whether a run reached it.

Ratios are npformer's shortest step divided by PyTorch's, for full batches without dropout. The
columns are kernels: "native" is what NumPy chooses on a fresh installation, which was AVX-512 where
the targets were set, and "haswell" is AVX2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.report import Peaks, peak_of, table
from benchmarks.results import Measured, Result, ratio_of_minima

_DISTILL = "minilm to tinybert4"


@dataclass(frozen=True)
class Target:
    """A bound on one figure of one case.

    ``figure`` is "time", "memory" (both relative to ``peer``) or "share", of the rate of a large
    matrix product, where more is better.
    """

    mode: str
    size: str
    native: float
    haswell: float
    rows: int = 32
    figure: str = "time"
    peer: str = "torch"


TARGETS = (
    Target("train", "tinybert4", 0.60, 0.90),
    Target("train", "minilm", 0.56, 0.90),
    Target("train", "base", 0.54, 0.88),
    Target("train", "base8x128", 0.54, 0.88, rows=8),
    Target("distill", _DISTILL, 0.65, 0.95),
    Target("train", "micro", 1.3, 1.5),
    Target("infer", "tinybert4", 0.62, 0.97),
    Target("infer", "minilm", 0.62, 0.97),
    Target("infer", "base", 0.62, 0.97),
    Target("infer", "tinybert4", 0.75, 1.0, rows=1),
    Target("infer", "base", 0.75, 1.0, rows=1),
    Target("train", "tinybert4", 1.0, 1.0, figure="memory"),
    Target("train", "minilm", 1.05, 1.05, figure="memory"),
    Target("train", "base", 1.25, 1.25, figure="memory"),
    Target("train", "base", 0.80, 0.80, figure="share"),
    Target("train", "micro", 0.2, 0.2, peer="autograd"),
    Target("train", "tinybert4", 0.2, 0.2, peer="autograd"),
)
IMPORT_SECONDS = 0.15


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured, and whether that is good enough."""

    target: Target
    kernel: str
    bound: float
    value: float
    quiet: bool  # the machine had a moment for each side

    @property
    def met(self) -> bool:
        """Whether the figure keeps to the bound."""
        if self.target.figure == "share":
            return self.value >= self.bound
        return self.value <= self.bound


def verdicts(results: Sequence[Result], peaks: Peaks) -> list[Verdict]:
    """Return the verdict on every target that the results speak of."""
    return [v for target in TARGETS for result in results for v in _judge(target, result, peaks)]


def summary(found: Sequence[Verdict], import_seconds: float) -> str:
    """Return the table of targets.

    "busy": others used the machine in every round, which slows PyTorch more than npformer.
    """
    rows = [["", "kernels", "measured", "target", ""]]
    for v in found:
        sign = ">=" if v.target.figure == "share" else "<="
        said = ("ok" if v.met else "MISS") + ("" if v.quiet else ", but busy")
        rows.append([_name(v.target), v.kernel, f"{v.value:.2f}", f"{sign} {v.bound:.2f}", said])
    said = "ok" if import_seconds <= IMPORT_SECONDS else "MISS"
    seconds = f"{import_seconds:.2f}", f"<= {IMPORT_SECONDS:.2f}"
    rows.append(["import npformer, seconds", "", *seconds, said])
    return table(rows)


def _judge(target: Target, result: Result, peaks: Peaks) -> Iterator[Verdict]:
    case = result.case
    asked = (target.mode, target.size, target.rows, "full", 0.0)
    if (case.mode, case.size, len(case.lengths[0]), case.batches, case.dropout) != asked:
        return
    for ours in result.ours():
        kernel = str(ours.contender.kernel)
        bound = {"native": target.native, "haswell": target.haswell}[kernel]
        value = _value(target, result, ours, peaks)
        if value is not None:
            peer = result.peer(target.peer, ours) or ours
            # Memory does not depend on the moment.
            quiet = target.figure == "memory" or (ours.quiet and peer.quiet)
            yield Verdict(target, kernel, bound, value, quiet)


def _value(target: Target, result: Result, ours: Measured, peaks: Peaks) -> float | None:
    if target.figure == "share":
        peak = peak_of(ours.contender, peaks)
        return None if peak is None else result.gflops(ours) / peak
    peer = result.peer(target.peer, ours)
    if peer is None:
        return None
    if target.figure == "memory":
        return ours.memory / peer.memory if peer.memory else None
    return ratio_of_minima(ours, peer)


def _name(target: Target) -> str:
    batch = "one sentence" if target.rows == 1 else f"batch {target.rows}"
    case = f"{target.mode}, {target.size}, {batch}"
    if target.figure == "share":
        return f"{case}: share of the matrix product's rate"
    return f"{case}: {target.figure} / {target.peer}"

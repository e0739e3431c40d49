"""Tables of results, as text."""

from collections.abc import Mapping, Sequence
from statistics import mean

from benchmarks.libraries import LIBRARIES, OURS, Contender
from benchmarks.results import Measured, Result, median_of_ratios, ratio_of_minima

# GFLOP/s of a large matrix product, by contender.
Peaks = Mapping[Contender, float]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align the columns of a table: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def case_table(result: Result, peaks: Peaks) -> str:
    """Return one case: a row for each contender, a column of ratios for each peer.

    A ratio is npformer's time divided by the peer's, of the shortest steps, and in parentheses the
    median of the rounds' ratios. Below 1 npformer is faster. "Others" is the number of cores that
    other processes kept busy meanwhile: PyTorch, whose threads wait for each other in every
    operation, suffers more from them, so that times count only where it is about 0.
    """
    libraries = dict.fromkeys(m.contender.library for m in result.measured)
    peers = [name for name in libraries if name != OURS]
    head = ["", "min ms", "median ms", "GFLOP/s", "of peak", "memory MB", "others"]
    rows = [head + [f"/ {peer}" for peer in peers]]
    for m in result.measured:
        rows.append(
            [
                m.contender.label,
                _milliseconds(m.minimum),
                _milliseconds(m.median),
                f"{result.gflops(m):.0f}",
                _share(result.gflops(m), peak_of(m.contender, peaks)),
                f"{m.memory / 2**20:.0f}",
                f"{mean(m.others or [0.0]):.1f}",
                *(_ratio(result, m, peer) for peer in peers),
            ]
        )
    return f"{result.case.title}\n{table(rows)}"


def peak_of(contender: Contender, peaks: Peaks) -> float | None:
    """Return the matrix product's rate for the library that does a contender's products."""
    if LIBRARIES[contender.library].numpy:
        return peaks.get(Contender(OURS, contender.kernel))
    if contender.library == "onnxruntime":  # has matrix products of its own
        return None
    return peaks.get(Contender("torch"))


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def _share(rate: float, peak: float | None) -> str:
    return "-" if peak is None else f"{rate / peak:.0%}"


def _ratio(result: Result, m: Measured, peer: str) -> str:
    other = result.peer(peer, m)
    if m.contender.library != OURS or other is None:
        return "-"
    return f"{ratio_of_minima(m, other):.2f} ({median_of_ratios(m, other):.2f})"

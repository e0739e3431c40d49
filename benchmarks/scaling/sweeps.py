"""The sweeps: one dimension grows, the others stand still."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.case import Case
from benchmarks.lengths import full_batch
from benchmarks.sizes import Shape

_HEAD_SIZE = 64
_SHAPE = Shape(vocab_size=2000, max_len=512, d_model=256, num_heads=4, num_layers=4, d_ff=1024)
# Maps so narrow that attention is most of the work.
_NARROW = replace(_SHAPE, d_model=64, num_layers=2, d_ff=64)


@dataclass(frozen=True)
class Sweep:
    """Values of one dimension, and the model, rows and tokens a row at each.

    ``theory`` says how the cost grows for values without end. Where a range is given, the first
    number holds for small values and the second for large ones.
    """

    name: str
    axis: str
    values: tuple[int, ...]
    at: Callable[[int], tuple[Shape, int, int]]
    theory: str

    def case(self, value: int, mode: str, threads: int) -> Case:
        """Return the case at one value."""
        shape, rows, length = self.at(value)
        return Case(mode, self.name, "full", shape, full_batch(rows, length), threads)


def _width(d_model: int) -> tuple[Shape, int, int]:
    heads = d_model // _HEAD_SIZE
    shape = replace(_SHAPE, d_model=d_model, num_heads=heads, num_layers=2, d_ff=4 * d_model)
    return shape, 8, 64


SWEEPS = {
    sweep.name: sweep
    for sweep in (
        Sweep(
            "length",
            "tokens a row, T",
            (16, 32, 64, 128, 256, 512),
            lambda length: (_SHAPE, 8, length),
            "1 to 2",
        ),
        Sweep(
            "narrow",
            "tokens a row, T (narrow: mostly attention)",
            (16, 32, 64, 128, 256, 512),
            lambda length: (_NARROW, 8, length),
            "1 to 2",
        ),
        Sweep(
            "batch",
            "rows, B",
            (1, 2, 4, 8, 16, 32, 64, 128, 256),
            lambda rows: (_SHAPE, rows, 32),
            "1",
        ),
        Sweep("width", "width, D", (64, 128, 256, 512, 1024), _width, "1 to 2"),
        Sweep(
            "depth",
            "layers, L",
            (1, 2, 4, 8, 16),
            lambda layers: (replace(_SHAPE, num_layers=layers), 8, 64),
            "1",
        ),
    )
}
# (mode, threads): what is measured at every value.
SERIES = (("train", 1), ("train", 2), ("infer", 2))

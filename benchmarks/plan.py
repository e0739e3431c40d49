"""Which cases a request comes to."""

from collections.abc import Iterator, Sequence

from benchmarks.case import Case
from benchmarks.lengths import full_batch, real_batches
from benchmarks.sizes import SENTENCE_LENGTH, SENTENCE_SIZES, SIZES, STUDENT, TEACHER

MODES = ("train", "distill", "infer")
BATCH_KINDS = ("full", "real")
# Has the model of "base", and a name for its full batch alone.
FULL_ONLY = ("base8x128",)


def peak_case(threads: int) -> Case:
    """Return the matrix product that the others are measured against."""
    size = SIZES["micro"]
    return Case("peak", "matrix product", "full", size.shape, full_batch(1, 1), threads)


def plan(
    modes: Sequence[str],
    sizes: Sequence[str],
    kinds: Sequence[str],
    dropouts: Sequence[float],
    threads: int,
) -> list[Case]:
    """Return the cases, mode by mode and size by size.

    Dropout is a matter of training alone. Distillation has one pair of models, and takes part
    where the student's size does.
    """
    return [
        case
        for mode in modes
        for size in sizes
        for kind in kinds
        for case in _cases(mode, size, kind, dropouts, threads)
    ]


def _cases(
    mode: str, size: str, kind: str, dropouts: Sequence[float], threads: int
) -> Iterator[Case]:
    shape, rows, length = SIZES[size].shape, SIZES[size].rows, SIZES[size].length
    if kind == "real" and size in FULL_ONLY:
        return
    lengths = full_batch(rows, length) if kind == "full" else real_batches(rows, shape.max_len)
    if mode == "train":
        for dropout in dropouts:
            yield Case(mode, size, kind, shape, lengths, threads, dropout)
    elif mode == "distill" and size == STUDENT:
        name = f"{TEACHER} to {STUDENT}"
        yield Case(mode, name, kind, shape, lengths, threads, teacher=SIZES[TEACHER].shape)
    elif mode == "infer":
        yield Case(mode, size, kind, shape, lengths, threads)
        if kind == "full" and size in SENTENCE_SIZES:
            yield Case(mode, size, kind, shape, full_batch(1, SENTENCE_LENGTH), threads)

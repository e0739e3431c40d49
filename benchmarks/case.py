"""A case: what all contenders are asked to do, and how much arithmetic that is."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.sizes import Shape

# What a step computed, by name: compared between the contenders.
Values = dict[str, list[float]]
# Does the step on batch i, with or without dropout.
Step = Callable[[int, bool], Values]

# Of the matrix products of a forward pass, backward has two for each.
FORWARD, FORWARD_AND_BACKWARD = 1, 3
# x (2048, 768) times w (768, 3072): BERT-base's first feed-forward map on 32 x 64 tokens.
PEAK_PRODUCT = (2048, 768, 3072)


@dataclass(frozen=True)
class Case:
    """One thing to do, the same for every contender.

    Parameters
    ----------
    mode : str
        "train", "distill", "infer", or "peak", a single matrix product.
    size : str
        The name that tables show.
    batches : str
        "full" or "real": the name of the kind of ``lengths``.
    shape : Shape
        The model; in distillation the student.
    lengths : tuple of tuple of int
        The tokens of each row of each batch. A step is timed as a pass over all batches.
    teacher : Shape, optional
    """

    mode: str
    size: str
    batches: str
    shape: Shape
    lengths: tuple[tuple[int, ...], ...]
    threads: int = 2
    dropout: float = 0.0
    teacher: Shape | None = None

    @property
    def title(self) -> str:
        """One line that names the case."""
        rows = len(self.lengths[0])
        many = "one sentence" if rows == 1 else f"batch {rows}"
        length = max(map(max, self.lengths))
        tokens = f"x {length}" if self.batches == "full" else f"of up to {length} tokens"
        dropout = f", dropout {self.dropout:g}" if self.dropout else ""
        return f"{self.mode}, {self.size}, {many} {tokens}, {self.batches}{dropout}"

    def to_json(self) -> str:
        """Write the case for a child process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Case":
        """Undo `to_json`."""
        values: dict[str, Any] = json.loads(text)
        values["shape"] = Shape(**values["shape"])
        values["lengths"] = tuple(map(tuple, values["lengths"]))
        if values["teacher"] is not None:
            values["teacher"] = Shape(**values["teacher"])
        return cls(**values)


def flops(case: Case) -> float:
    """Return the floating-point operations of one batch, those of matrix products alone.

    Padding is not counted: work on it is not work that anybody asked for. Of several batches, the
    mean.
    """
    if case.mode == "peak":
        rows, inner, columns = PEAK_PRODUCT
        return 2.0 * rows * inner * columns
    passes = FORWARD if case.mode == "infer" else FORWARD_AND_BACKWARD
    total = 0.0
    for lengths in case.lengths:
        total += passes * forward_flops(case.shape, lengths)
        if case.teacher is not None:
            total += forward_flops(case.teacher, lengths)
            # Embeddings and hidden states go through a projection to the teacher's width.
            states, widths = case.shape.num_layers + 1, case.shape.d_model * case.teacher.d_model
            total += passes * 2.0 * states * sum(lengths) * widths
    return total / len(case.lengths)


def forward_flops(shape: Shape, lengths: tuple[int, ...]) -> float:
    """Return the floating-point operations of a classifier's forward pass.

    A product of (m, k) and (k, n) takes 2 m k n: a multiplication and an addition each.
    """
    d, f = shape.d_model, shape.d_ff
    tokens, pairs = sum(lengths), sum(n * n for n in lengths)
    maps = 2.0 * tokens * (4 * d * d + 2 * d * f)  # q, k, v, o and the two of the feed-forward
    attention = 2.0 * 2 * pairs * d  # scores and mix, all heads together
    head = 2.0 * len(lengths) * (d * d + d * shape.num_classes)
    return shape.num_layers * (maps + attention) + head

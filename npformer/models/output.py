"""What a model gives, and, as a cotangent, what it is given back."""

from typing import NamedTuple

from npformer.types import FloatArray


class ModelOutput(NamedTuple):
    """Everything a loss may look at.

    As a cotangent it has the same shape: a field, or an entry of one, is None where the loss
    is silent.
    """

    hidden: tuple[FloatArray | None, ...] | None = None  # L + 1 times (B, T, D); 0: embeddings
    scores: tuple[FloatArray | None, ...] | None = None  # L times (B, H, T, T), before the mask
    logits: FloatArray | None = None  # (B, C), (B, T, C) or (P, V)


def add_outputs(a: ModelOutput, b: ModelOutput) -> ModelOutput:
    """Add two cotangents; None counts as zero."""
    return ModelOutput(
        _add_tuples(a.hidden, b.hidden), _add_tuples(a.scores, b.scores), _add(a.logits, b.logits)
    )


def output_arrays(output: ModelOutput) -> list[FloatArray]:
    """Return the arrays that are there."""
    arrays = (*(output.hidden or ()), *(output.scores or ()), output.logits)
    return [a for a in arrays if a is not None]


def last_hidden(output: ModelOutput) -> FloatArray:
    """Return hidden[L], which every encoder gives."""
    states = output.hidden
    if states is None or states[-1] is None:
        raise ValueError("an encoder always gives its last hidden state")
    return states[-1]


def _add(a: FloatArray | None, b: FloatArray | None) -> FloatArray | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _add_tuples(
    a: tuple[FloatArray | None, ...] | None, b: tuple[FloatArray | None, ...] | None
) -> tuple[FloatArray | None, ...] | None:
    if a is None or b is None:
        return b if a is None else a
    return tuple(_add(x, y) for x, y in zip(a, b, strict=True))

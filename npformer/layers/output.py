"""What a model gives, and, as a cotangent, what it is given back."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import check_ids
from npformer.types import FloatArray, IntArray

Each = tuple[FloatArray | None, ...]


class ModelOutput(NamedTuple):
    """Everything a loss may look at.

    As a cotangent it has the same shape: a field, or an entry of one, is None where the loss
    is silent.
    """

    hidden: Each | None = None  # L + 1 times (B, T, D); 0: embeddings
    scores: Each | None = None  # L times (B, H, T, T), before the mask
    logits: FloatArray | None = None  # (B, C), (B, T, C), or (P, C) where positions were asked for
    values: Each | None = None  # L times (B, G, T, K)
    cross_scores: Each | None = None  # L times (B, H, T, S), of a decoder that looks at a source
    encoder: "ModelOutput | None" = None  # what the encoder of an encoder-decoder gives
    past: tuple[Any, ...] | None = None  # L KV caches, if a past was given; has no cotangent


def add_outputs(a: ModelOutput, b: ModelOutput) -> ModelOutput:
    """Add two cotangents; None counts as zero."""
    encoder = b.encoder if a.encoder is None else a.encoder
    if a.encoder is not None and b.encoder is not None:
        encoder = add_outputs(a.encoder, b.encoder)
    return ModelOutput(
        _add_each(a.hidden, b.hidden),
        _add_each(a.scores, b.scores),
        _add(a.logits, b.logits),
        _add_each(a.values, b.values),
        _add_each(a.cross_scores, b.cross_scores),
        encoder,
    )


def output_arrays(output: ModelOutput) -> list[FloatArray]:
    """Return the arrays that are there."""
    each = (output.hidden, output.scores, output.values, output.cross_scores, (output.logits,))
    own = [a for field in each for a in field or () if a is not None]
    return own if output.encoder is None else own + output_arrays(output.encoder)


def last_hidden(output: ModelOutput) -> FloatArray:
    """Return hidden[L], which every encoder gives."""
    states = output.hidden
    if states is None or states[-1] is None:
        raise ValueError("an encoder always gives its last hidden state")
    return states[-1]


def or_zeros(dlogits: FloatArray | None, shape: tuple[int, ...], dtype: DTypeLike) -> FloatArray:
    """Return the cotangent of logits, zeros if the loss is silent there."""
    return np.zeros(shape, dtype) if dlogits is None else dlogits


class RowsCache(NamedTuple):
    """What `rows_backward` needs."""

    shape: tuple[int, ...]  # (B, T, D)
    positions: IntArray | None  # (P,)


def rows_forward(x: FloatArray, positions: IntArray | None) -> tuple[FloatArray, RowsCache]:
    """Return some of the B T states of x (B, T, D) as (P, D); without positions x itself."""
    cache = RowsCache(x.shape, positions)
    if positions is None:
        return x, cache
    rows = x.reshape(-1, x.shape[-1])  # (B T, D)
    check_ids("positions", positions, len(rows), "batch")
    return rows[positions], cache  # (P, D)


def rows_backward(drows: FloatArray, cache: RowsCache) -> FloatArray:
    """Undo `rows_forward`: a position given twice gets both gradients."""
    if cache.positions is None:
        return drows
    dx = np.zeros(cache.shape, drows.dtype)
    np.add.at(dx.reshape(-1, cache.shape[-1]), cache.positions, drows)
    return dx


def _add(a: FloatArray | None, b: FloatArray | None) -> FloatArray | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _add_each(a: Each | None, b: Each | None) -> Each | None:
    if a is None or b is None:
        return b if a is None else a
    return tuple(_add(x, y) for x, y in zip(a, b, strict=True))

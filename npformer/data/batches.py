"""Batches of token ids: padding, buckets of near-equal length, shards.

The order of an epoch is a function of numbers alone, ``default_rng([*seed, epoch])``, so that
training resumes at any step without a saved generator state.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from npformer.checks import InputError
from npformer.types import BoolArray, FloatArray, IntArray

IGNORE = -100  # the label of a position that has none, as in PyTorch's cross-entropy


class Counts(NamedTuple):
    """What the losses of a batch divide by.

    They are taken from the whole batch, so that its shards' losses add up to its loss.
    """

    sequences: int  # B
    tokens: int  # sum of n_b, the kept tokens of row b
    pairs: int  # sum of n_b squared, the kept entries of one head's scores
    targets: int  # labels other than IGNORE


class Batch(NamedTuple):
    """A padded batch: what a model reads and what a loss compares with."""

    ids: IntArray  # (B, T)
    keep: BoolArray  # (B, T), True = real token
    segments: IntArray  # (B, T), 0 for the first sentence and 1 for the second
    labels: IntArray | FloatArray | None  # (B,), or (B, T) token labels
    teacher_logits: FloatArray | None = None  # (B, C) the logits that a teacher gave

    @property
    def counts(self) -> Counts:
        """What the losses of this batch divide by."""
        per_row = self.keep.sum(axis=1)  # (B,)
        labels = self.labels
        if labels is None:
            targets = 0
        elif np.issubdtype(labels.dtype, np.floating):
            targets = labels.size
        else:
            targets = int((labels != IGNORE).sum())
        return Counts(len(per_row), int(per_row.sum()), int((per_row**2).sum()), targets)

    def split(self, shards: int) -> list[Self]:
        """Split into contiguous rows, each shard trimmed to its own longest row.

        Parameters
        ----------
        shards : int
            At least 1. A batch of fewer rows gives fewer shards: none is empty.

        Returns
        -------
        list of Batch
            In the order of the rows; the arrays are views.
        """
        return [self._trim(rows) for rows in shard_rows(len(self.ids), shards)]

    def _trim(self, rows: slice) -> Self:
        used = np.flatnonzero(self.keep[rows].any(axis=0))
        width = int(used[-1]) + 1 if used.size else 0
        labels = self.labels
        if labels is not None:
            labels = labels[rows, :width] if labels.ndim == 2 else labels[rows]
        teacher_logits = None if self.teacher_logits is None else self.teacher_logits[rows]
        cut = rows, slice(width)
        return type(self)(self.ids[cut], self.keep[cut], self.segments[cut], labels, teacher_logits)


@dataclass(frozen=True)
class Encoded:
    """Examples as token ids, from [CLS] to the last [SEP], not yet padded.

    Parameters
    ----------
    ids, segments : list of ndarray of shape (T,)
        One pair of integer arrays an example; T differs from example to example.
    labels : ndarray of shape (N,), optional
        Integer classes or floating-point scores.
    teacher_logits : ndarray of shape (N, C), optional
        The logits that a teacher gave for each.
    """

    ids: list[IntArray]
    segments: list[IntArray]
    labels: IntArray | FloatArray | None = None
    teacher_logits: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> IntArray:
        """ndarray of shape (N,): the number of tokens of each example."""
        return np.array([len(row) for row in self.ids], dtype=np.int64)


def collate(encoded: Encoded, indices: IntArray | Sequence[int], pad_id: int) -> Batch:
    """Gather examples into a batch, padded on the right to the longest of them.

    Parameters
    ----------
    encoded : Encoded
    indices : sequence of B integers
    pad_id : int

    Returns
    -------
    Batch
    """
    ids, keep = pad([encoded.ids[i] for i in indices], pad_id)  # (B, T)
    segments, _ = pad([encoded.segments[i] for i in indices], 0)  # (B, T)
    rows = np.asarray(indices, dtype=np.int64)
    labels = None if encoded.labels is None else encoded.labels[rows]
    teacher_logits = None if encoded.teacher_logits is None else encoded.teacher_logits[rows]
    return Batch(ids, keep, segments, labels, teacher_logits)


def pad(rows: Sequence[IntArray], pad_id: int) -> tuple[IntArray, BoolArray]:
    """Return the rows as one array (B, T), padded on the right, and where it is not padding."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    keep = np.arange(int(lengths.max(initial=0))) < lengths[:, None]  # (B, T)
    ids = np.full(keep.shape, pad_id, dtype=np.int64)
    for b, row in enumerate(rows):
        ids[b, : lengths[b]] = row
    return ids, keep


def shard_rows(rows: int, shards: int) -> list[slice]:
    """Return the rows of each shard: contiguous, in order, none empty.

    Raises
    ------
    InputError
        If ``shards`` is below 1.
    """
    if shards < 1:
        raise InputError(f"shards: got {shards}, expected at least 1")
    bounds = np.linspace(0, rows, shards + 1).round().astype(int)
    return [slice(a, b) for a, b in itertools.pairwise(bounds.tolist()) if b > a]


def bucketed_order(
    lengths: IntArray, batch_size: int, rng: np.random.Generator, *, drop_last: bool = False
) -> list[IntArray]:
    """Put every example in one batch, together with others of near-equal length.

    Examples are sorted by length, equal lengths in random order, and cut into batches; the batches
    are then shuffled. The incomplete batch is cut at a random place, so that it is not always the
    longest examples that are in it.

    Parameters
    ----------
    lengths : ndarray of shape (N,)
    batch_size : int
    rng : numpy.random.Generator
    drop_last : bool
        Leave the incomplete batch out, as TinyBERT's released code does.

    Returns
    -------
    list of ndarray of shape (B,)
        Indices of examples, one array per batch.
    """
    steps_per_epoch(len(lengths), batch_size, drop_last=drop_last)  # refuses what gives no batch
    shuffled = rng.permutation(len(lengths))
    order = shuffled[np.argsort(lengths[shuffled], kind="stable")]
    full, rest = divmod(len(order), batch_size)
    at = int(rng.integers(full + 1)) * batch_size
    batches = np.split(np.delete(order, np.s_[at : at + rest]), full) if full else []
    if rest and not drop_last:
        batches.append(order[at : at + rest])
    return [batches[i] for i in rng.permutation(len(batches))]


def steps_per_epoch(examples: int, batch_size: int, *, drop_last: bool = False) -> int:
    """Return the number of batches that `bucketed_order` makes.

    Raises
    ------
    InputError
        If it would be none.
    """
    if batch_size < 1:
        raise InputError(f"batch_size: got {batch_size}, expected at least 1")
    if examples < (batch_size if drop_last else 1):
        needed = f"at least batch_size = {batch_size}" if drop_last else "at least 1"
        raise InputError(f"examples: got {examples}, expected {needed}")
    return examples // batch_size if drop_last else -(-examples // batch_size)


def batch_stream(
    encoded: Encoded,
    batch_size: int,
    pad_id: int,
    *,
    seed: Sequence[int],
    steps: int,
    start_step: int = 0,
    drop_last: bool = False,
) -> Iterator[Batch]:
    """Yield the batches of steps ``start_step .. steps - 1``, epoch after epoch.

    Parameters
    ----------
    encoded : Encoded
    batch_size, pad_id : int
    seed : sequence of int
        Epoch e is ordered by ``default_rng([*seed, e])``.
    steps : int
        The step to stop before, counted from the start of training and not from ``start_step``.
    start_step : int
        A stream that starts at step k is the tail of the one that starts at 0.
    drop_last : bool
        As in `bucketed_order`.

    Yields
    ------
    Batch
    """
    order = index_stream(
        encoded.lengths,
        batch_size,
        seed=seed,
        steps=steps,
        start_step=start_step,
        drop_last=drop_last,
    )
    for indices in order:
        yield collate(encoded, indices, pad_id)


def index_stream(
    lengths: IntArray,
    batch_size: int,
    *,
    seed: Sequence[int],
    steps: int,
    start_step: int = 0,
    drop_last: bool = False,
) -> Iterator[IntArray]:
    """Yield the indices of the batches that `batch_stream` makes of examples of these lengths."""
    per_epoch = steps_per_epoch(len(lengths), batch_size, drop_last=drop_last)
    for epoch in range(start_step // per_epoch, -(-steps // per_epoch)):
        rng = np.random.default_rng([*seed, epoch])
        order = bucketed_order(lengths, batch_size, rng, drop_last=drop_last)
        first = epoch * per_epoch
        yield from order[max(start_step - first, 0) : steps - first]

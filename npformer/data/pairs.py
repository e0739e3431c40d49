"""Pairs of texts, a source and its target: folders of them, and batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Counts, index_stream, pad, shard_rows
from npformer.data.files import find_table, read_lines
from npformer.types import BoolArray, IntArray


class Pairs(NamedTuple):
    """N sources and their N targets."""

    sources: list[str]
    targets: list[str]


@dataclass(frozen=True)
class PairTask:
    """A task: its splits."""

    name: str
    train: Pairs
    dev: Pairs
    test: Pairs | None


def load_pairs(folder: str | Path) -> PairTask:
    """Read a folder of ``train``, ``dev`` and perhaps ``test``, as ``.tsv`` or ``.tsv.gz``.

    A table is UTF-8, its first line names the columns, each other line is a source, one tab
    and a target.

    Raises
    ------
    InputError
        Naming the file, and the line where there is one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "got a file" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}, expected a folder that holds train.tsv and dev.tsv")
    has_test = any((folder / f"test.tsv{end}").exists() for end in ("", ".gz"))
    return PairTask(
        folder.resolve().name,
        read_pairs(find_table(folder, "train.tsv")),
        read_pairs(find_table(folder, "dev.tsv")),
        read_pairs(find_table(folder, "test.tsv")) if has_test else None,
    )


def read_pairs(path: Path) -> Pairs:
    """Read a table of pairs.

    Raises
    ------
    InputError
        Naming the file, and the line where there is one.
    """
    pairs = Pairs([], [])
    for number, line in read_lines(path):
        fields = [text.strip() for text in line.split("\t")]
        if len(fields) != 2 or not all(fields):
            raise InputError(
                f"{path}, line {number}: got {len(fields)} fields"
                f"{'' if all(fields) else ', one of them empty'}, expected a source, a tab and "
                "a target"
            )
        if number > 1:
            pairs.sources.append(fields[0])
            pairs.targets.append(fields[1])
    if not pairs.sources:
        raise InputError(f"{path}: got a header and no pair, expected at least one")
    return pairs


class PairBatch(NamedTuple):
    """A padded batch of pairs; a target ends with the token that ends it."""

    source: IntArray  # (B, S)
    source_keep: BoolArray  # (B, S), True = real token
    target: IntArray  # (B, T)
    target_keep: BoolArray  # (B, T)

    @property
    def counts(self) -> Counts:
        """What the losses of this batch divide by; ``targets`` are the target's tokens."""
        per_row = self.source_keep.sum(axis=1)  # (B,)
        targets = int(self.target_keep.sum())
        return Counts(len(per_row), int(per_row.sum()), int((per_row**2).sum()), targets)

    def split(self, shards: int) -> list[Self]:
        """Split into contiguous rows, each side of a shard trimmed to its own longest row."""
        parts = []
        for rows in shard_rows(len(self.source), shards):
            s = int(self.source_keep[rows].sum(axis=1).max())
            t = int(self.target_keep[rows].sum(axis=1).max())
            source = self.source[rows, :s], self.source_keep[rows, :s]
            target = self.target[rows, :t], self.target_keep[rows, :t]
            parts.append(type(self)(*source, *target))
        return parts


@dataclass(frozen=True)
class EncodedPairs:
    """Pairs as token ids, each row ending with the end token, not yet padded."""

    sources: list[IntArray]
    targets: list[IntArray]

    def __len__(self) -> int:
        return len(self.sources)

    def collate(self, indices: IntArray | Sequence[int], pad_id: int) -> PairBatch:
        """Gather pairs into a batch, both sides padded on the right."""
        source, source_keep = pad([self.sources[i] for i in indices], pad_id)
        target, target_keep = pad([self.targets[i] for i in indices], pad_id)
        return PairBatch(source, source_keep, target, target_keep)

    def batches(
        self,
        batch_size: int,
        pad_id: int,
        *,
        seed: Sequence[int],
        steps: int,
        start_step: int = 0,
    ) -> Iterator[PairBatch]:
        """Yield batches of pairs of near-equal length; see `npformer.data.batches.batch_stream`."""
        lengths = np.array(
            [len(s) + len(t) for s, t in zip(self.sources, self.targets, strict=True)]
        )
        for indices in index_stream(
            lengths, batch_size, seed=seed, steps=steps, start_step=start_step
        ):
            yield self.collate(indices, pad_id)

"""Folders of pairs and their batches."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.data.pairs import EncodedPairs, load_pairs


def folder(path: Path, train: str = "source\ttarget\na b\tc\n") -> Path:
    with gzip.open(path / "train.tsv.gz", "wt", encoding="utf-8") as file:
        file.write(train)
    (path / "dev.tsv").write_text("source\ttarget\n你好\thello\n", "utf-8")
    return path


def test_reads_a_folder(tmp_path: Path) -> None:
    task = load_pairs(folder(tmp_path))
    assert task.train.sources == ["a b"]
    assert task.dev.targets == ["hello"]
    assert task.test is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("source\ttarget\na\n", "line 2: got 1 fields"),
        ("source\ttarget\na\t\n", "one of them empty"),
        ("source\ttarget\n", "a header and no pair"),
    ],
)
def test_names_the_line_of_a_bad_table(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_pairs(folder(tmp_path, table))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_pairs(tmp_path / "none")


def encoded() -> EncodedPairs:
    rng = np.random.default_rng(2)
    rows = [[rng.integers(4, 9, rng.integers(1, 8)) for _ in range(11)] for _ in range(2)]
    return EncodedPairs(rows[0], rows[1])


def test_shards_hold_all_rows_and_their_counts_add_up() -> None:
    batch = encoded().collate(np.arange(7), 0)
    parts = batch.split(3)
    assert sum(len(p.source) for p in parts) == 7
    assert sum(p.counts.targets for p in parts) == batch.counts.targets == batch.target_keep.sum()
    for p in parts:
        assert p.source_keep.any(axis=0).all()
        assert p.target_keep.any(axis=0).all()
    rows = [row[keep] for p in parts for row, keep in zip(p.target, p.target_keep, strict=True)]
    for row, expected in zip(rows, encoded().targets[:7], strict=True):
        np.testing.assert_array_equal(row, expected)


def test_a_stream_resumes_at_any_step() -> None:
    def stream(start: int) -> list[np.ndarray]:
        batches = encoded().batches(3, 0, seed=[1], steps=9, start_step=start)
        return [np.hstack((batch.source, batch.target)) for batch in batches]

    whole, tail = stream(0), stream(5)
    assert len(whole) == 9
    for a, b in zip(whole[5:], tail, strict=True):
        np.testing.assert_array_equal(a, b)

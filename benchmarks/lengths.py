"""How long real sentences are: those of SST-2, and full batches beside them.

``python -m benchmarks.lengths`` prints the histogram that is recorded here.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npformer.data.batches import bucketed_order
from npformer.data.files import read_lines
from npformer.types import IntArray

SPECIAL_TOKENS = 2  # [CLS] and [SEP]
BATCHES = 8  # stand for an epoch's

# SST-2's training set: entry i is the number of texts of i + 1 words. Made by
# `python -m benchmarks.lengths` from ../shared/data/SST-2/train.tsv.gz.
HISTOGRAM = (
    *(4270, 7241, 7031, 5511, 4578, 4019, 3594, 3092, 2861, 2564, 2230, 2051, 1830),
    *(1748, 1560, 1388, 1265, 1182, 1040, 922, 860, 820, 741, 654, 572, 505),
    *(460, 416, 335, 297, 281, 253, 226, 166, 152, 108, 90, 91, 60),
    *(55, 53, 34, 30, 24, 27, 17, 9, 11, 9, 7, 6, 3),
)

Lengths = tuple[tuple[int, ...], ...]  # the tokens of each row of each batch


def full_batch(rows: int, length: int) -> Lengths:
    """Return one batch in which every row has ``length`` tokens."""
    return ((length,) * rows,)


def real_batches(rows: int, max_len: int) -> Lengths:
    """Return batches like those that an epoch on SST-2 is made of.

    All texts are put into buckets of near-equal length, as in training; of the batches sorted by
    length `BATCHES` are taken at even distances, the middle of each eighth. A word counts as one
    token: SST-2 is split into words already, and nearly all of them are in BERT's vocabulary.
    """
    words = sst2_words()
    tokens = np.minimum(words + SPECIAL_TOKENS, max_len)
    order = bucketed_order(tokens, rows, np.random.default_rng(0), drop_last=True)
    batches = sorted(tuple(sorted(tokens[rows].tolist())) for rows in order)
    middles = [(2 * i + 1) * len(batches) // (2 * BATCHES) for i in range(BATCHES)]
    return tuple(batches[m] for m in middles)


def sst2_words() -> IntArray:
    """Return the number of words of each training text of SST-2, or of the recorded histogram."""
    path = data_folder() / "SST-2" / "train.tsv.gz"
    counts = read_histogram(path) if path.exists() else dict(enumerate(HISTOGRAM, start=1))
    return np.repeat(np.array(list(counts)), np.array(list(counts.values())))


def read_histogram(path: Path) -> Mapping[int, int]:
    """Return the number of texts of each number of words, in order."""
    texts = [line.split("\t")[0] for number, line in read_lines(path) if number > 1]
    return dict(sorted(Counter(len(text.split()) for text in texts).items()))


def data_folder() -> Path:
    """Return where data sets lie: ``$NPFORMER_DATA``, or ``../shared/data`` beside the checkout."""
    beside = Path(__file__).parent.parent.parent / "shared" / "data"
    return Path(os.environ.get("NPFORMER_DATA", beside))


if __name__ == "__main__":
    print(tuple(read_histogram(data_folder() / "SST-2" / "train.tsv.gz").values()))

"""The order of a table's rows: is ours the paper's, is it another, or were there too few seeds?"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Literal, NamedTuple

from npformer.train.verdict import paired_verdict

# Averages of the paper nearer than this, in points, are a tie. It prints no intervals; one point
# of its average is a point on each of four dev sets, of which MRPC's has 408 examples.
TIE = 0.5
CONFIDENCE = 0.95


class Order(NamedTuple):
    """What `order_verdict` found; every field goes into JSON as it is."""

    verdict: Literal["same order", "different order", "inconclusive"]
    same: int  # pairs of rows that are apart as in the paper
    reversed: int  # the other way round
    undecided: int


def order_verdict(ours: Mapping[str, Sequence[float]], paper: Mapping[str, float]) -> Order:
    r"""Compare the order of rows, each run with the same seeds, with that of the paper.

    Every two rows that the paper holds apart by `TIE` or more are compared by Student's interval of
    their paired differences, `npformer.train.verdict.paired_verdict`:

    - "same order": each of these m pairs is apart as in the paper. All of them must be, so each
      is tested at 95 %.
    - "different order": a pair is the other way round. One of m is enough, so each is tested at
      :math:`1 - 0.05 / m` (Bonferroni), or chance would find one in a long table.
    - "inconclusive": neither. More seeds are needed, or the rows do not differ.

    Parameters
    ----------
    ours : mapping of str to sequence of float
        The scores of each row, one for each seed.
    paper : mapping of str to float
        The paper's average of each row, in points. Rows that it lacks are left out.

    Returns
    -------
    Order
    """
    pairs = [
        (above, below)
        for above, below in permutations(paper, 2)
        if paper[above] - paper[below] >= TIE
    ]
    same = reversed_pairs = 0
    for above, below in pairs:
        if _better(ours[above], ours[below], CONFIDENCE):
            same += 1
        elif _better(ours[below], ours[above], 1 - (1 - CONFIDENCE) / len(pairs)):
            reversed_pairs += 1
    undecided = len(pairs) - same - reversed_pairs
    if reversed_pairs:
        return Order("different order", same, reversed_pairs, undecided)
    if pairs and not undecided:
        return Order("same order", same, reversed_pairs, undecided)
    return Order("inconclusive", same, reversed_pairs, undecided)


def _better(ours: Sequence[float], theirs: Sequence[float], confidence: float) -> bool:
    return paired_verdict(ours, theirs, confidence=confidence).verdict == "better"

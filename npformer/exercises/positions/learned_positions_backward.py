"""The gradient of learned positions."""

import numpy as np

from npformer import layers
from npformer.exercises.exercise import Case, Exercise


def learned_positions_backward(dy, table):
    """Return dx (B, T, D) and dtable (max_len, D).

    dy: (B, T, D), of y = x + table[:T]; table: (max_len, D).
    """
    dx, grads = layers.positions.positions_backward(dy, layers.positions.LearnedCache(0, table))
    return dx, grads["position"]


def learned_positions_backward_cases(rng):
    """Return texts shorter than the table, and one as long as it."""

    def case(b, t, d, max_len, part=""):
        arrays = {"dy": rng.normal(size=(b, t, d)), "table": rng.normal(size=(max_len, d))}
        return Case(arrays, part)

    return [
        case(2, 3, 5, 7),
        case(3, 7, 5, 11),
        case(2, 1, 5, 7, "length 1"),
        case(1, 3, 5, 7, "one sequence"),
        case(2, 7, 5, 7, "a full table"),
    ]


def _into(table, rows):
    dtable = np.zeros_like(table)
    dtable[: len(rows)] = rows
    return dtable


LEARNED_POSITIONS_BACKWARD = Exercise(
    id="learned-positions-backward",
    title="Learned positions backward",
    statement=r"""
        BERT has a row of a table for each position and adds it to every sequence of the batch:

        $$y_{btd} = x_{btd} + \mathrm{table}_{td}, \qquad t = 0, \ldots, T-1$$

        `table` is (max_len, D), with max_len at least T; x and y are (B, T, D). Given `dy`
        (B, T, D), return `dx` (B, T, D) and `dtable` (max_len, D), in this order.""",
    reference=learned_positions_backward,
    library=(layers.positions.positions_backward,),
    outputs=("dx", "dtable"),
    cases=learned_positions_backward_cases,
    hints=(
        """What is broadcast in the forward is summed in the backward. Which axis does the table not
        have?""",
        r"""$d\mathrm{table}_{td} = \sum_b dy_{btd}$ for $t < T$. Rows that were not read have the
        gradient zero. A sum passes its gradient on to each addend: $dx = dy$.""",
        """`dtable = np.zeros_like(table)`, `dtable[: dy.shape[1]] = dy.sum(axis=0)`, and dy itself
        is dx.""",
    ),
    tracks=("class", "gradcheck"),
    difficulty=1,
    minutes=5,
    factors=lambda dy, table: {"B": dy.shape[0], "T": dy.shape[1], "max_len": len(table)},
    docs="derivations/positions.md",
)


@LEARNED_POSITIONS_BACKWARD.mistake("mean-over-the-batch")
def mean_over_the_batch(dy, table):
    """dtable is a mean over the batch: each of the B sequences read the row, and their gradients
    are summed. (Whether the loss is a mean is in dy already.)"""
    return dy, _into(table, dy.mean(axis=0))


@LEARNED_POSITIONS_BACKWARD.mistake("last-sequence-wins")
def the_last_sequence_wins(dy, table):
    """each sequence overwrites the one before it: add them up (+=)."""
    dtable = np.zeros_like(table)
    for sequence in dy:
        dtable[: len(sequence)] = sequence
    return dy, dtable


@LEARNED_POSITIONS_BACKWARD.mistake("cut-to-the-text")
def cut_to_the_text(dy, table):
    """dtable has T rows only: it must have the table's shape, with zeros in the rows that were not
    read."""
    return dy, dy.sum(axis=0)


@LEARNED_POSITIONS_BACKWARD.mistake("summed-over-positions")
def the_same_for_all_positions(dy, table):
    """dtable is summed over the positions too: each position has a row of its own, only the batch
    is summed."""
    return dy, np.zeros_like(table) + dy.sum(axis=(0, 1))


@LEARNED_POSITIONS_BACKWARD.mistake("end-of-the-table")
def at_the_end_of_the_table(dy, table):
    """the gradient is in the last T rows: rows 0 to T - 1 were read."""
    dtable = np.zeros_like(table)
    dtable[len(table) - dy.shape[1] :] = dy.sum(axis=0)
    return dy, dtable


@LEARNED_POSITIONS_BACKWARD.mistake("gradient-shared")
def shared_between_both(dy, table):
    """the gradient is divided between x and the table: a sum gives all of it to each of its
    addends."""
    return dy / 2, _into(table, dy.sum(axis=0) / 2)


@LEARNED_POSITIONS_BACKWARD.mistake("dx-summed")
def summed_dx(dy, table):
    """dx is summed over the batch: only the table was broadcast, x has a row for each sequence."""
    return np.broadcast_to(dy.sum(axis=0), dy.shape).copy(), _into(table, dy.sum(axis=0))

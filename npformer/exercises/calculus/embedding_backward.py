"""Looking up rows of a table, backward: a scatter that adds."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def embedding_backward(dy, ids, table):
    """Return dtable of y = table[ids]; dy: (..., D), ids: (...), table and dtable: (V, D)."""
    return ops.embedding_backward(dy, ops.EmbeddingCache(ids, table))


def embedding_backward_cases(rng):
    """Return ids that all differ, that repeat, and that are all the same."""

    def case(ids, vocab_size, d_model, part=""):
        args = {
            "dy": rng.normal(size=(*ids.shape, d_model)),
            "ids": ids,
            "table": rng.normal(size=(vocab_size, d_model)),
        }
        return Case(args, part)

    def distinct(*shape, vocab_size):
        ids = rng.permutation(vocab_size)[: np.prod(shape)].reshape(shape)
        ids[ids == 0], ids.flat[0] = ids.flat[0], 0  # id 0 is among them
        return ids

    def repeated(*shape, vocab_size):
        ids = rng.integers(vocab_size, size=shape)
        ids.flat[0], ids.flat[1], ids[..., -1] = 0, vocab_size - 1, vocab_size - 1
        return ids

    return [
        case(distinct(3, vocab_size=5), 5, 2),
        case(distinct(2, 3, vocab_size=11), 11, 5),
        case(distinct(7, vocab_size=7), 7, 4),
        case(repeated(2, 5, vocab_size=7), 7, 3, "repeated ids"),
        case(repeated(3, 4, vocab_size=5), 5, 7, "repeated ids"),
        case(repeated(2, 3, 5, vocab_size=4), 4, 7, "repeated ids"),
        case(np.full((2, 3), 1), 5, 7, "one id"),
    ]


EMBEDDING_BACKWARD = Exercise(
    id="embedding-backward",
    title="Embedding backward: ids that repeat",
    statement="""
        Forward is a look-up, `y = table[ids]`: `ids` (...), of one axis or more, has integers 0 ...
        V - 1, `table` is (V, D), y is (..., D). Given `dy` (..., D), the gradient of the loss with
        respect to y, `ids`, and `table`, return `dtable`, (V, D).

        An id may occur many times, and many ids not at all. id 0 is an id like any other.""",
    reference=embedding_backward,
    library=(ops.embedding_backward,),
    outputs=("dtable",),
    cases=embedding_backward_cases,
    hints=(
        "A row that was copied to several places gets the gradients of all of them.",
        r"""$dE_v = \sum_{n:\,\mathrm{id}_n = v} dy_n$. `dtable[ids] += dy` does not do it: NumPy
        adds once for each different id.""",
        "`dtable = np.zeros_like(table)`, then `np.add.at(dtable, ids, dy)`.",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=1,
    minutes=10,
    factors=lambda dy, ids, table: {
        "V": len(table),
        "D": table.shape[-1],
        "the number of ids": ids.size,
        "B": len(ids),
    },
    docs="derivations/linear.md",
)


@EMBEDDING_BACKWARD.mistake("last-one-wins")
def last_one_wins(dy, ids, table):
    """of an id that repeats only the last gradient is left: `dtable[ids] += dy` and
    `dtable[ids] = dy` both write each row once. `np.add.at` adds them all."""
    dtable = np.zeros_like(table)
    dtable[ids] += dy
    return dtable


@EMBEDDING_BACKWARD.mistake("first-one-wins")
def first_one_wins(dy, ids, table):
    """of an id that repeats only the first gradient is taken: add up all of them."""
    dtable = np.zeros_like(table)
    seen, first = np.unique(ids, return_index=True)
    dtable[seen] = dy.reshape(-1, dy.shape[-1])[first]
    return dtable


@EMBEDDING_BACKWARD.mistake("repeats-averaged")
def repeats_averaged(dy, ids, table):
    """the gradients of a repeated id are averaged: the row was used in every place, and they add
    up."""
    counts = np.bincount(ids.ravel(), minlength=len(table))
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy)
    return dtable / np.maximum(counts, 1)[:, None]


@EMBEDDING_BACKWARD.mistake("repeats-in-a-sequence-lost")
def once_for_each_sequence(dy, ids, table):
    """the sequences are added up, but within one of them `+=` still writes each row once: an id
    that repeats in a sequence loses all but its last gradient."""
    dtable = np.zeros_like(table)
    for row, drow in zip(ids, dy, strict=True):
        dtable[row] += drow
    return dtable


@EMBEDDING_BACKWARD.mistake("row-0-frozen")
def padding_row_frozen(dy, ids, table):
    """row 0 gets nothing, as if it were padding that is not trained. Here id 0 is an id like any
    other; masked positions have a zero gradient in dy already."""
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy)
    dtable[0] = 0
    return dtable


@EMBEDDING_BACKWARD.mistake("starts-from-the-table")
def added_to_the_table(dy, ids, table):
    """the gradient is added onto the table itself: start from zeros of its shape."""
    dtable = table.copy()
    np.add.at(dtable, ids, dy)
    return dtable


@EMBEDDING_BACKWARD.mistake("not-scattered")
def rows_in_the_order_of_the_ids(dy, ids, table):
    """dy is handed back as it is. The gradient has the shape of the table: put each row of dy where
    its id points, and add."""
    return dy


@EMBEDDING_BACKWARD.mistake("multiplied-by-the-row")
def scaled_by_the_table(dy, ids, table):
    """dy is multiplied by the row that was looked up. A look-up copies: its slope is 1."""
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy * table[ids])
    return dtable

"""Looking up rows of a table, backward: a scatter that adds."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def last_one_wins(dy, ids, table):
    dtable = np.zeros_like(table)
    dtable[ids] += dy
    return dtable


def first_one_wins(dy, ids, table):
    dtable = np.zeros_like(table)
    seen, first = np.unique(ids, return_index=True)
    dtable[seen] = dy.reshape(-1, dy.shape[-1])[first]
    return dtable


def repeats_averaged(dy, ids, table):
    counts = np.bincount(ids.ravel(), minlength=len(table))
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy)
    return dtable / np.maximum(counts, 1)[:, None]


def once_for_each_sequence(dy, ids, table):
    dtable = np.zeros_like(table)
    for row, drow in zip(ids, dy, strict=True):
        dtable[row] += drow
    return dtable


def padding_row_frozen(dy, ids, table):
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy)
    dtable[0] = 0
    return dtable


def added_to_the_table(dy, ids, table):
    dtable = table.copy()
    np.add.at(dtable, ids, dy)
    return dtable


def rows_in_the_order_of_the_ids(dy, ids, table):
    return dy


def scaled_by_the_table(dy, ids, table):
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy * table[ids])
    return dtable


EMBEDDING_BACKWARD = Exercise(
    id="embedding-backward",
    title=Text("Embedding backward: ids that repeat", "词嵌入的反向传播：重复的 id"),
    statement=Text(
        "Forward is a look-up, `y = table[ids]`: `ids` (...), of one axis or more, has integers "
        "0 ... V - 1, `table` is (V, D), y is (..., D). "
        "Given `dy` (..., D), the gradient of the loss with respect to y, `ids`, and `table`, return `dtable`, (V, D).\n\n"
        "An id may occur many times, and many ids not at all. id 0 is an id like any other.",
        "前向是查表 `y = table[ids]`：`ids` 的形状为 (...)，至少一个轴，是 0 ... V - 1 的整数，`table` 为 (V, D)，y 为 (..., D)。"
        "给定损失对 y 的梯度 `dy` (..., D)、`ids` 和 `table`，返回 `dtable`，形状 (V, D)。\n\n"
        "同一个 id 可能出现多次，也可能一次都不出现。id 0 与其他 id 没有区别。",
    ),
    reference=embedding_backward,
    library=(ops.embedding_backward,),
    outputs=("dtable",),
    cases=embedding_backward_cases,
    hints=(
        Text(
            "A row that was copied to several places gets the gradients of all of them.",
            "一行被复制到多个位置，就会收到所有这些位置的梯度。",
        ),
        Text(
            "$dE_v = \\sum_{n:\\,\\mathrm{id}_n = v} dy_n$. `dtable[ids] += dy` does not do it: NumPy adds once for each "
            "different id.",
            "$dE_v = \\sum_{n:\\,\\mathrm{id}_n = v} dy_n$。`dtable[ids] += dy` 做不到：NumPy 对每个不同的 id 只加一次。",
        ),
        Text(
            "`dtable = np.zeros_like(table)`, then `np.add.at(dtable, ids, dy)`.",
            "`dtable = np.zeros_like(table)`，然后 `np.add.at(dtable, ids, dy)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "last-one-wins",
            last_one_wins,
            Text(
                "of an id that repeats only the last gradient is left: `dtable[ids] += dy` and `dtable[ids] = dy` both "
                "write each row once. `np.add.at` adds them all.",
                "重复的 id 只剩下最后一个梯度：`dtable[ids] += dy` 和 `dtable[ids] = dy` 对每一行都只写一次。"
                "`np.add.at` 会全部加上。",
            ),
        ),
        Misconception(
            "first-one-wins",
            first_one_wins,
            Text(
                "of an id that repeats only the first gradient is taken: add up all of them.",
                "重复的 id 只取了第一个梯度：应当全部相加。",
            ),
        ),
        Misconception(
            "repeats-averaged",
            repeats_averaged,
            Text(
                "the gradients of a repeated id are averaged: the row was used in every place, and they add up.",
                "重复的 id 取了梯度的平均：这一行在每个位置都用到了，梯度应当相加。",
            ),
        ),
        Misconception(
            "repeats-in-a-sequence-lost",
            once_for_each_sequence,
            Text(
                "the sequences are added up, but within one of them `+=` still writes each row once: an id that repeats in "
                "a sequence loses all but its last gradient.",
                "各序列之间是相加的，但在一个序列内部，`+=` 仍然每行只写一次：序列中重复的 id 只留下最后一个梯度。",
            ),
        ),
        Misconception(
            "row-0-frozen",
            padding_row_frozen,
            Text(
                "row 0 gets nothing, as if it were padding that is not trained. Here id 0 is an id like any other; masked "
                "positions have a zero gradient in dy already.",
                "第 0 行没有梯度，好像它是不训练的填充。这里 id 0 与其他 id 无异；被屏蔽的位置，dy 里本来就是零。",
            ),
        ),
        Misconception(
            "starts-from-the-table",
            added_to_the_table,
            Text(
                "the gradient is added onto the table itself: start from zeros of its shape.",
                "梯度加到了表本身上：应从同形状的零开始。",
            ),
        ),
        Misconception(
            "not-scattered",
            rows_in_the_order_of_the_ids,
            Text(
                "dy is handed back as it is. The gradient has the shape of the table: put each row of dy where its id "
                "points, and add.",
                "把 dy 原样返回了。梯度要与表同形状：把 dy 的每一行放到其 id 所指的位置，并相加。",
            ),
        ),
        Misconception(
            "multiplied-by-the-row",
            scaled_by_the_table,
            Text(
                "dy is multiplied by the row that was looked up. A look-up copies: its slope is 1.",
                "dy 乘上了查到的那一行。查表只是复制，斜率是 1。",
            ),
        ),
    ),
    topic="calculus",
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

EXERCISES = (EMBEDDING_BACKWARD,)

"""The gradient of learned positions."""

import numpy as np

from npformer import layers
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def learned_positions_backward(dy, table):
    """Return dx (B, T, D) and dtable (max_len, D).

    dy: (B, T, D), of y = x + table[:T]; table: (max_len, D).
    """
    dx, grads = layers.positions.positions_backward(dy, table)
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


def mean_over_the_batch(dy, table):
    return dy, _into(table, dy.mean(axis=0))


def the_last_sequence_wins(dy, table):
    dtable = np.zeros_like(table)
    for sequence in dy:
        dtable[: len(sequence)] = sequence
    return dy, dtable


def cut_to_the_text(dy, table):
    return dy, dy.sum(axis=0)


def the_same_for_all_positions(dy, table):
    return dy, np.zeros_like(table) + dy.sum(axis=(0, 1))


def at_the_end_of_the_table(dy, table):
    dtable = np.zeros_like(table)
    dtable[len(table) - dy.shape[1] :] = dy.sum(axis=0)
    return dy, dtable


def shared_between_both(dy, table):
    return dy / 2, _into(table, dy.sum(axis=0) / 2)


def summed_dx(dy, table):
    return np.broadcast_to(dy.sum(axis=0), dy.shape).copy(), _into(table, dy.sum(axis=0))


LEARNED_POSITIONS_BACKWARD = Exercise(
    id="learned-positions-backward",
    title=Text("Learned positions backward", "可学习位置编码的反向传播"),
    statement=Text(
        "BERT has a row of a table for each position and adds it to every sequence of the batch:\n\n"
        "$$y_{btd} = x_{btd} + \\mathrm{table}_{td}, \\qquad t = 0, \\ldots, T-1$$\n\n"
        "`table` is (max_len, D), with max_len at least T; x and y are (B, T, D). Given `dy` "
        "(B, T, D), return `dx` (B, T, D) and `dtable` (max_len, D), in this order.",
        "BERT 有一张位置表，每个位置一行，加到批次里的每个序列上：\n\n"
        "$$y_{btd} = x_{btd} + \\mathrm{table}_{td}, \\qquad t = 0, \\ldots, T-1$$\n\n"
        "`table` 的形状为 (max_len, D)，max_len 不小于 T；x 和 y 为 (B, T, D)。给定 `dy` (B, T, D)，"
        "依次返回 `dx` (B, T, D) 和 `dtable` (max_len, D)。",
    ),
    reference=learned_positions_backward,
    library=(layers.positions.positions_backward,),
    outputs=("dx", "dtable"),
    cases=learned_positions_backward_cases,
    hints=(
        Text(
            "What is broadcast in the forward is summed in the backward. Which axis does the table "
            "not have?",
            "前向沿哪个轴广播，反向就沿哪个轴求和。table 没有哪个轴？",
        ),
        Text(
            "$d\\mathrm{table}_{td} = \\sum_b dy_{btd}$ for $t < T$. Rows that were not read have the "
            "gradient zero. A sum passes its gradient on to each addend: $dx = dy$.",
            "$t < T$ 时 $d\\mathrm{table}_{td} = \\sum_b dy_{btd}$。没有读过的行梯度为零。"
            "加法把梯度原样传给每个加数：$dx = dy$。",
        ),
        Text(
            "`dtable = np.zeros_like(table)`, `dtable[: dy.shape[1]] = dy.sum(axis=0)`, "
            "and dy itself is dx.",
            "`dtable = np.zeros_like(table)`，`dtable[: dy.shape[1]] = dy.sum(axis=0)`，dx 就是 dy 本身。",
        ),
    ),
    misconceptions=(
        Misconception(
            "mean-over-the-batch",
            mean_over_the_batch,
            Text(
                "dtable is a mean over the batch: each of the B sequences read the row, and their "
                "gradients are summed. (Whether the loss is a mean is in dy already.)",
                "dtable 对批次取了平均：B 个序列都读了这一行，梯度应当相加。（损失是否取平均，已经体现在 dy 里。）",
            ),
        ),
        Misconception(
            "last-sequence-wins",
            the_last_sequence_wins,
            Text(
                "each sequence overwrites the one before it: add them up (+=).",
                "每个序列都覆盖了前一个序列：应当累加 (+=)。",
            ),
        ),
        Misconception(
            "cut-to-the-text",
            cut_to_the_text,
            Text(
                "dtable has T rows only: it must have the table's shape, with zeros in the rows "
                "that were not read.",
                "dtable 只有 T 行：它的形状应与 table 相同，没有读过的行为零。",
            ),
        ),
        Misconception(
            "summed-over-positions",
            the_same_for_all_positions,
            Text(
                "dtable is summed over the positions too: each position has a row of its own, only "
                "the batch is summed.",
                "dtable 对位置也求了和：每个位置有自己的一行，只对批次求和。",
            ),
        ),
        Misconception(
            "end-of-the-table",
            at_the_end_of_the_table,
            Text(
                "the gradient is in the last T rows: rows 0 to T - 1 were read.",
                "梯度写进了最后 T 行：读的是第 0 到 T - 1 行。",
            ),
        ),
        Misconception(
            "gradient-shared",
            shared_between_both,
            Text(
                "the gradient is divided between x and the table: a sum gives all of it to each "
                "of its addends.",
                "梯度在 x 和 table 之间平分了：加法会把完整的梯度传给每个加数。",
            ),
        ),
        Misconception(
            "dx-summed",
            summed_dx,
            Text(
                "dx is summed over the batch: only the table was broadcast, x has a row for each "
                "sequence.",
                "dx 也对批次求和了：被广播的只有 table，x 的每个序列有自己的值。",
            ),
        ),
    ),
    topic="positions",
    tracks=("class", "gradcheck"),
    difficulty=1,
    minutes=5,
    factors=lambda dy, table: {"B": dy.shape[0], "T": dy.shape[1], "max_len": len(table)},
    docs="derivations/positions.md",
)

EXERCISES = (LEARNED_POSITIONS_BACKWARD,)

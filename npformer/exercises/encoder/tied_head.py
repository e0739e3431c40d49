"""The masked-LM head whose matrix is the token table, backward."""

import numpy as np

from npformer import models, ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def tied_head_backward(dlogits, dembedded, states, ids, table):
    """Return dstates, dtable, db of embedded = table[ids] and logits = states table^T + b.

    dlogits: (B, T, V); dembedded, states: (B, T, D); ids: (B, T), integers; table: (V, D).
    """
    bias = np.zeros(len(table), table.dtype)
    _, head = ops.linear_forward(states, table.T, bias)
    _, lookup = ops.embedding_forward(ids, table)
    dstates, dtable, db = ops.linear_backward(dlogits, head)
    return dstates, dtable.T + ops.embedding_backward(dembedded, lookup), db


def tied_head_backward_cases(rng):
    """Return sentences with repeated and with unused ids."""

    def case(batch, length, d_model, vocab_size, part="", same=False):
        ids = rng.integers(vocab_size, size=(batch, length))
        if same:
            ids[:] = ids[0, 0]
        args = {
            "dlogits": rng.normal(size=(batch, length, vocab_size)),
            "dembedded": rng.normal(size=(batch, length, d_model)),
            "states": rng.normal(size=(batch, length, d_model)),
            "ids": ids,
            "table": rng.normal(size=(vocab_size, d_model)),
        }
        return Case(args, part)

    return [
        case(2, 3, 5, 7),
        case(3, 5, 2, 11),
        case(5, 7, 3, 13),
        case(3, 1, 2, 7, part="one token"),
        case(2, 5, 3, 7, part="repeated ids", same=True),
    ]


def of_head(dlogits, states):
    """Return the table's gradient from its use in the head."""
    vocab_size, d_model = dlogits.shape[-1], states.shape[-1]
    return dlogits.reshape(-1, vocab_size).T @ states.reshape(-1, d_model)


def of_embedding(dembedded, ids, table):
    """Return the table's gradient from its use in the embedding."""
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dembedded)
    return dtable


def head_alone(dlogits, dembedded, states, ids, table):
    return dlogits @ table, of_head(dlogits, states), dlogits.sum(axis=(0, 1))


def embedding_alone(dlogits, dembedded, states, ids, table):
    return dlogits @ table, of_embedding(dembedded, ids, table), dlogits.sum(axis=(0, 1))


def overwriting(dlogits, dembedded, states, ids, table):
    dtable = of_head(dlogits, states)
    dtable[ids] = dembedded
    return dlogits @ table, dtable, dlogits.sum(axis=(0, 1))


def losing_repeated_ids(dlogits, dembedded, states, ids, table):
    dtable = of_head(dlogits, states)
    dtable[ids] += dembedded
    return dlogits @ table, dtable, dlogits.sum(axis=(0, 1))


def around_the_encoder(dlogits, dembedded, states, ids, table):
    dstates = dlogits @ table
    dtable = of_head(dlogits, states) + of_embedding(dstates, ids, table)
    return dstates, dtable, dlogits.sum(axis=(0, 1))


def with_embedded_instead_of_states(dlogits, dembedded, states, ids, table):
    dtable = of_head(dlogits, table[ids]) + of_embedding(dembedded, ids, table)
    return dlogits @ table, dtable, dlogits.sum(axis=(0, 1))


def adding_the_embedding_to_the_states(dlogits, dembedded, states, ids, table):
    dtable = of_head(dlogits, states) + of_embedding(dembedded, ids, table)
    return dlogits @ table + dembedded, dtable, dlogits.sum(axis=(0, 1))


TIED_HEAD_BACKWARD = Exercise(
    id="tied-head-backward",
    title=Text("Tied masked-LM head, backward", "权重共享的掩码语言模型头的反向传播"),
    statement=Text(
        "BERT's masked-LM head scores every word by its row of the token table: the same array "
        "that the embedding looked the words up in.\n\n"
        "$$\\mathrm{embedded} = E[\\mathrm{ids}], \\qquad "
        "\\mathrm{states} = \\mathrm{encoder}(\\mathrm{embedded}), \\qquad "
        "\\mathrm{logits} = \\mathrm{states}\\,E^\\top + b$$\n\n"
        "The encoder's own backward has been written by somebody else: it turned the gradient of "
        "the states into `dembedded` (B, T, D). Given also `dlogits` (B, T, V), `states` "
        "(B, T, D), the integers `ids` (B, T) and the table E, `table` (V, D), return "
        "`dstates, dtable, db`:\n\n"
        "- `dstates` (B, T, D): of the states, from the logits (this is what the encoder's "
        "backward begins with);\n"
        "- `dtable` (V, D): of the table, from **both** its uses;\n"
        "- `db` (V,): of the bias.\n\n"
        "Ids may occur more than once.",
        "BERT 的掩码语言模型头用词嵌入表中的对应行给每个词打分，而这张表正是嵌入层查词用的同一个数组。\n\n"
        "$$\\mathrm{embedded} = E[\\mathrm{ids}], \\qquad "
        "\\mathrm{states} = \\mathrm{encoder}(\\mathrm{embedded}), \\qquad "
        "\\mathrm{logits} = \\mathrm{states}\\,E^\\top + b$$\n\n"
        "编码器自身的反向传播已由别人写好：它把 states 的梯度变成了 `dembedded` (B, T, D)。"
        "另外给定 `dlogits` (B, T, V)、`states` (B, T, D)、整数 `ids` (B, T) 和表 E，即 `table` (V, D)，"
        "返回 `dstates, dtable, db`：\n\n"
        "- `dstates` (B, T, D)：logits 传给 states 的梯度（编码器的反向传播由此开始）；\n"
        "- `dtable` (V, D)：表的梯度，来自它的**两处**使用；\n"
        "- `db` (V,)：偏置的梯度。\n\n"
        "同一个 id 可能出现多次。",
    ),
    reference=tied_head_backward,
    library=(
        models.MaskedLM.backward,
        models.MaskedLM.head_backward,
        ops.linear_backward,
        ops.embedding_backward,
    ),
    outputs=("dstates", "dtable", "db"),
    cases=tied_head_backward_cases,
    hints=(
        Text(
            "An array that is used twice gets two gradients, and they are added. Compute each as "
            "if the other use did not exist.",
            "一个数组用了两次，就有两个梯度，二者相加。分别计算时当作另一处使用不存在。",
        ),
        Text(
            "$dE = dlogits^\\top\\,states + \\text{scatter}$: row v of the scatter is the sum of "
            "dembedded over all positions whose id is v. $dstates = dlogits\\,E$.",
            "$dE = dlogits^\\top\\,states + \\text{scatter}$：scatter 的第 v 行是所有 id 为 v 的位置上 "
            "dembedded 之和。$dstates = dlogits\\,E$。",
        ),
        Text(
            "`dtable = dlogits.reshape(-1, V).T @ states.reshape(-1, D)`; then "
            "`np.add.at(dtable, ids, dembedded)`, since `dtable[ids] += dembedded` counts a "
            "repeated id once.",
            "`dtable = dlogits.reshape(-1, V).T @ states.reshape(-1, D)`；然后 "
            "`np.add.at(dtable, ids, dembedded)`，因为 `dtable[ids] += dembedded` 对重复的 id 只计一次。",
        ),
    ),
    misconceptions=(
        Misconception(
            "head-alone",
            head_alone,
            Text(
                "dtable comes from the head alone: the embedding looked rows up in the same table, "
                "so dembedded must be added to the rows of ids.",
                "dtable 只来自输出头：嵌入层也在同一张表里查过行，要把 dembedded 加到 ids 对应的行上。",
            ),
        ),
        Misconception(
            "embedding-alone",
            embedding_alone,
            Text(
                "dtable comes from the embedding alone: as the head's matrix the table gets "
                "dlogits^T states as well, in every row.",
                "dtable 只来自嵌入层：作为输出头的矩阵，表的每一行还要得到 dlogits^T states。",
            ),
        ),
        Misconception(
            "overwritten",
            overwriting,
            Text(
                "`dtable[ids] = ...` replaces what the head put into these rows: the two gradients "
                "must be added, for a repeated id all of them (`np.add.at`).",
                "`dtable[ids] = ...` 覆盖了输出头写入这些行的梯度：两者应当相加，重复的 id 也要全部累加"
                "（`np.add.at`）。",
            ),
        ),
        Misconception(
            "repeated-ids-lost",
            losing_repeated_ids,
            Text(
                "`dtable[ids] += ...` writes one position for each id: where an id occurs twice "
                "one gradient is lost. `np.add.at` adds them all.",
                "`dtable[ids] += ...` 对每个 id 只写入一个位置：id 重复出现时会丢掉梯度。"
                "`np.add.at` 会全部累加。",
            ),
        ),
        Misconception(
            "around-the-encoder",
            around_the_encoder,
            Text(
                "dstates is scattered into the table: between the states and the embedding lies "
                "the encoder, whose backward has made dembedded of it.",
                "把 dstates 累加进了表：states 与嵌入之间隔着编码器，它的反向传播已给出 dembedded。",
            ),
        ),
        Misconception(
            "embedded-for-states",
            with_embedded_instead_of_states,
            Text(
                "the head's part is made of table[ids]: what was multiplied by the table there are "
                "the states, after the encoder.",
                "输出头那部分用了 table[ids]：与表相乘的是经过编码器之后的 states。",
            ),
        ),
        Misconception(
            "dembedded-in-dstates",
            adding_the_embedding_to_the_states,
            Text(
                "dembedded is added to dstates: it belongs to the other end of the encoder. What "
                "is used twice is the table, not the states.",
                "把 dembedded 加到了 dstates 上：它属于编码器的另一端。用了两次的是表，不是 states。",
            ),
        ),
    ),
    topic="encoder",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=lambda dlogits, dembedded, states, ids, table: {
        "dtable": {
            "dlogits^T states (the head)": of_head(dlogits, states),
            "dembedded at ids (the embedding)": of_embedding(dembedded, ids, table),
        }
    },
    factors=lambda dlogits, dembedded, states, ids, table: {
        "B": ids.shape[0],
        "T": ids.shape[1],
        "V": table.shape[0],
        "D": table.shape[1],
    },
    docs="derivations/linear.md",
)

EXERCISES = (TIED_HEAD_BACKWARD,)

"""The gradient of a bias that is looked up by distance."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def relative_bias_backward(dscores, bucket, num_buckets):
    """Return dtable (R, H).

    dscores: (B, H, T, S); bucket: integer (T, S), the row of the table that each pair reads;
    num_buckets: R.
    """
    table = np.zeros((num_buckets, dscores.shape[1]), dscores.dtype)
    dbias = dscores.sum(axis=0, keepdims=True)
    return ops.t5_bias_backward(dbias, ops.T5BiasCache(ops.EmbeddingCache(bucket, table)))


def relative_bias_backward_cases(rng):
    """Return clipped distances, T5's buckets, and buckets that nobody reads."""

    def case(b, h, bucket, num_buckets, part=""):
        dscores = rng.normal(size=(b, h, *bucket.shape))
        return Case({"dscores": dscores, "bucket": bucket, "num_buckets": num_buckets}, part)

    def distance(t, s):
        return np.arange(s) - np.arange(t)[:, None]

    return [
        case(2, 3, np.clip(distance(5, 7), -2, 2) + 2, 5),
        case(3, 2, ops.relative_bucket(distance(13, 11), num_buckets=8, max_distance=7), 8),
        case(2, 3, distance(5, 7) + 4, 17, "unread rows"),
        case(2, 3, np.zeros((5, 7), int), 4, "one bucket for all"),
        case(1, 5, np.clip(distance(3, 7), -2, 2) + 2, 5, "one sequence"),
        case(2, 1, np.clip(distance(5, 7), -3, 3) + 3, 7, "one head"),
        case(2, 3, distance(1, 7), 7, "one query"),
    ]


def _summed(drows, bucket, num_buckets):
    """Sum rows (T, S, H) into the buckets that read them."""
    dtable = np.zeros((num_buckets, drows.shape[-1]))
    np.add.at(dtable, bucket, drows)
    return dtable


def overwritten(dscores, bucket, num_buckets):
    dtable = np.zeros((num_buckets, dscores.shape[1]))
    dtable[bucket] += dscores.sum(axis=0).transpose(1, 2, 0)
    return dtable


def mean_over_the_batch(dscores, bucket, num_buckets):
    return _summed(dscores.mean(axis=0).transpose(1, 2, 0), bucket, num_buckets)


def mean_over_pairs(dscores, bucket, num_buckets):
    dtable = _summed(dscores.sum(axis=0).transpose(1, 2, 0), bucket, num_buckets)
    pairs = np.bincount(bucket.ravel(), minlength=num_buckets)
    return dtable / np.maximum(pairs, 1)[:, None]


def one_sequence(dscores, bucket, num_buckets):
    return _summed(dscores[0].transpose(1, 2, 0), bucket, num_buckets)


def heads_together(dscores, bucket, num_buckets):
    dtable = _summed(dscores.sum(axis=0).transpose(1, 2, 0), bucket, num_buckets)
    return np.repeat(dtable.sum(axis=1, keepdims=True), dscores.shape[1], axis=1)


def reshaped(dscores, bucket, num_buckets):
    _, h, t, s = dscores.shape
    return _summed(dscores.sum(axis=0).reshape(t, s, h), bucket, num_buckets)


def from_the_other_side(dscores, bucket, num_buckets):
    return _summed(dscores.sum(axis=0).transpose(1, 2, 0), num_buckets - 1 - bucket, num_buckets)


RELATIVE_BIAS_BACKWARD = Exercise(
    id="relative-bias-backward",
    title=Text("Relative position bias backward", "相对位置偏置的反向传播"),
    statement=Text(
        "T5 adds to each score a learned number that depends on the head and on how far the key is "
        "from the query. Distances are put in R buckets, and `bucket` (T, S), integers from 0 to "
        "R - 1, says which row of the table each pair of query and key reads:\n\n"
        "$$\\mathrm{scores}_{bhts} = \\ldots + \\mathrm{table}_{\\mathrm{bucket}_{ts},\\,h}$$\n\n"
        "`table` is (R, H); R is `num_buckets`. Given `dscores` (B, H, T, S), return `dtable` "
        "(R, H). Rows that nobody reads have the gradient zero.",
        "T5 给每个分数加上一个可学习的数，它取决于头以及 key 与 query 的距离。距离被分入 R 个桶，`bucket` (T, S) 是 0 到 R - 1 "
        "的整数，表示每一对 query 与 key 读表的哪一行：\n\n"
        "$$\\mathrm{scores}_{bhts} = \\ldots + \\mathrm{table}_{\\mathrm{bucket}_{ts},\\,h}$$\n\n"
        "`table` 的形状为 (R, H)，R 即 `num_buckets`。给定 `dscores` (B, H, T, S)，返回 `dtable` (R, H)。"
        "没有被读过的行梯度为零。",
    ),
    reference=relative_bias_backward,
    library=(ops.t5_bias_backward, ops.embedding_backward),
    outputs=("dtable",),
    cases=relative_bias_backward_cases,
    hints=(
        Text(
            "It is an embedding whose ids are the buckets. An entry of the table is read by many "
            "pairs and by every sequence: its gradient is the sum over all of them.",
            "这就是一个以桶号为 id 的嵌入。表中的一个元素被许多对、每个序列读取：它的梯度是所有这些之和。",
        ),
        Text(
            "$d\\mathrm{table}_{rh} = \\sum_b \\sum_{t,s:\\,\\mathrm{bucket}_{ts} = r} "
            "d\\mathrm{scores}_{bhts}$. Beware: `dtable[bucket] += ...` adds only one of several "
            "pairs with the same bucket.",
            "$d\\mathrm{table}_{rh} = \\sum_b \\sum_{t,s:\\,\\mathrm{bucket}_{ts} = r} "
            "d\\mathrm{scores}_{bhts}$。注意：桶号相同的多对中，`dtable[bucket] += ...` 只会加上一对。",
        ),
        Text(
            "`drows = dscores.sum(axis=0).transpose(1, 2, 0)` is (T, S, H); start with "
            "`np.zeros((num_buckets, h), dscores.dtype)` and `np.add.at(dtable, bucket, drows)`.",
            "`drows = dscores.sum(axis=0).transpose(1, 2, 0)` 的形状为 (T, S, H)；从 "
            "`np.zeros((num_buckets, h), dscores.dtype)` 开始，再 `np.add.at(dtable, bucket, drows)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "overwritten",
            overwritten,
            Text(
                "`dtable[bucket] += ...` keeps only the last pair of each bucket: with repeated "
                "indices NumPy adds once. Take `np.add.at`.",
                "`dtable[bucket] += ...` 只保留了每个桶的最后一对：下标重复时 NumPy 只加一次。要用 `np.add.at`。",
            ),
        ),
        Misconception(
            "mean-over-the-batch",
            mean_over_the_batch,
            Text(
                "dtable is a mean over the batch: every sequence read the table, and their "
                "gradients are summed.",
                "dtable 对批次取了平均：每个序列都读了这张表，梯度应当相加。",
            ),
        ),
        Misconception(
            "mean-over-pairs",
            mean_over_pairs,
            Text(
                "each row is divided by the number of pairs that read it: their gradients are "
                "summed, not averaged.",
                "每一行都除以了读它的对数：梯度应当相加，而不是取平均。",
            ),
        ),
        Misconception(
            "first-sequence-only",
            one_sequence,
            Text(
                "only the first sequence of the batch counts: sum over all of them.",
                "只算了批次中的第一个序列：应当对所有序列求和。",
            ),
        ),
        Misconception(
            "heads-summed",
            heads_together,
            Text(
                "the heads are summed together: each head has a column of its own.",
                "各个头被加在了一起：每个头有自己的一列。",
            ),
        ),
        Misconception(
            "reshape-for-transpose",
            reshaped,
            Text(
                "(H, T, S) became (T, S, H) by reshape, which mixes heads and positions: "
                "`transpose(1, 2, 0)`.",
                "用 reshape 把 (H, T, S) 变成 (T, S, H)，混淆了头与位置：应当用 `transpose(1, 2, 0)`。",
            ),
        ),
        Misconception(
            "other-direction",
            from_the_other_side,
            Text(
                "the rows are in reverse order: before and after are exchanged.",
                "行的顺序反了：前后方向弄反了。",
            ),
        ),
    ),
    topic="positions",
    tracks=("class", "gradcheck"),
    difficulty=2,
    minutes=10,
    factors=lambda dscores, bucket, num_buckets: {
        "B": dscores.shape[0],
        "H": dscores.shape[1],
        "T": dscores.shape[2],
        "S": dscores.shape[3],
        "R": num_buckets,
    },
    docs="derivations/positions.md",
)

EXERCISES = (RELATIVE_BIAS_BACKWARD,)

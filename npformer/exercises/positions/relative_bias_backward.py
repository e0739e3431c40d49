"""The gradient of a bias that is looked up by distance."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


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


RELATIVE_BIAS_BACKWARD = Exercise(
    id="relative-bias-backward",
    title="Relative position bias backward",
    statement=r"""
        T5 adds to each score a learned number that depends on the head and on how far the key is
        from the query. Distances are put in R buckets, and `bucket` (T, S), integers from 0 to R -
        1, says which row of the table each pair of query and key reads:

        $$\mathrm{scores}_{bhts} = \ldots + \mathrm{table}_{\mathrm{bucket}_{ts},\,h}$$

        `table` is (R, H); R is `num_buckets`. Given `dscores` (B, H, T, S), return `dtable` (R, H).
        Rows that nobody reads have the gradient zero.""",
    reference=relative_bias_backward,
    library=(ops.t5_bias_backward, ops.embedding_backward),
    outputs=("dtable",),
    cases=relative_bias_backward_cases,
    hints=(
        """It is an embedding whose ids are the buckets. An entry of the table is read by many pairs
        and by every sequence: its gradient is the sum over all of them.""",
        r"""$d\mathrm{table}_{rh} = \sum_b \sum_{t,s:\,\mathrm{bucket}_{ts} = r}
        d\mathrm{scores}_{bhts}$. Beware: `dtable[bucket] += ...` adds only one of several pairs
        with the same bucket.""",
        """`drows = dscores.sum(axis=0).transpose(1, 2, 0)` is (T, S, H); start with
        `np.zeros((num_buckets, h), dscores.dtype)` and `np.add.at(dtable, bucket, drows)`.""",
    ),
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


@RELATIVE_BIAS_BACKWARD.mistake("overwritten")
def overwritten(dscores, bucket, num_buckets):
    """`dtable[bucket] += ...` keeps only the last pair of each bucket: with repeated indices NumPy
    adds once. Take `np.add.at`."""
    dtable = np.zeros((num_buckets, dscores.shape[1]))
    dtable[bucket] += dscores.sum(axis=0).transpose(1, 2, 0)
    return dtable


@RELATIVE_BIAS_BACKWARD.mistake("mean-over-the-batch")
def mean_over_the_batch(dscores, bucket, num_buckets):
    """dtable is a mean over the batch: every sequence read the table, and their gradients are
    summed."""
    return _summed(dscores.mean(axis=0).transpose(1, 2, 0), bucket, num_buckets)


@RELATIVE_BIAS_BACKWARD.mistake("mean-over-pairs")
def mean_over_pairs(dscores, bucket, num_buckets):
    """each row is divided by the number of pairs that read it: their gradients are summed, not
    averaged."""
    dtable = _summed(dscores.sum(axis=0).transpose(1, 2, 0), bucket, num_buckets)
    pairs = np.bincount(bucket.ravel(), minlength=num_buckets)
    return dtable / np.maximum(pairs, 1)[:, None]


@RELATIVE_BIAS_BACKWARD.mistake("first-sequence-only")
def one_sequence(dscores, bucket, num_buckets):
    """only the first sequence of the batch counts: sum over all of them."""
    return _summed(dscores[0].transpose(1, 2, 0), bucket, num_buckets)


@RELATIVE_BIAS_BACKWARD.mistake("heads-summed")
def heads_together(dscores, bucket, num_buckets):
    """the heads are summed together: each head has a column of its own."""
    dtable = _summed(dscores.sum(axis=0).transpose(1, 2, 0), bucket, num_buckets)
    return np.repeat(dtable.sum(axis=1, keepdims=True), dscores.shape[1], axis=1)


@RELATIVE_BIAS_BACKWARD.mistake("reshape-for-transpose")
def reshaped(dscores, bucket, num_buckets):
    """(H, T, S) became (T, S, H) by reshape, which mixes heads and positions:
    `transpose(1, 2, 0)`."""
    _, h, t, s = dscores.shape
    return _summed(dscores.sum(axis=0).reshape(t, s, h), bucket, num_buckets)


@RELATIVE_BIAS_BACKWARD.mistake("other-direction")
def from_the_other_side(dscores, bucket, num_buckets):
    """the rows are in reverse order: before and after are exchanged."""
    return _summed(dscores.sum(axis=0).transpose(1, 2, 0), num_buckets - 1 - bucket, num_buckets)

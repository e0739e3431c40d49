"""T5's relative positions: a learned number for each head and each bucket of distances."""

from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_array, check_float, check_shape
from npformer.ops.embedding import EmbeddingCache, embedding_backward, embedding_forward
from npformer.ops.positions.by_distance import distances
from npformer.types import FloatArray, IntArray


def relative_bucket(
    distance: IntArray,
    *,
    num_buckets: int = 32,
    max_distance: int = 128,
    bidirectional: bool = True,
) -> IntArray:
    r"""Return the bucket of each distance: near ones alone, far ones together.

    Let n be how far the key is, R the buckets of one direction and m half of R, rounded down.

    .. math::
        \mathrm{bucket}(n) = \begin{cases} n & n < m \\
        \min\Bigl(R - 1,\; m + \Bigl\lfloor (R - m)\,
        \frac{\log(n / m)}{\log(\mathrm{max} / m)} \Bigr\rfloor\Bigr) & n \ge m \end{cases}

    The far buckets widen by a constant factor, and from ``max_distance`` on (and shortly
    before) all is the last bucket. Both directions: half of the buckets each, those of keys
    after the query behind the others. One direction: a key after the query counts as n = 0,
    and the mask hides it.

    Parameters
    ----------
    distance : integer ndarray of shape (...)
        s - t: position of the key minus position of the query.
    num_buckets : int
        Of both directions together.
    max_distance : int
    bidirectional : bool
        False for causal attention.

    Returns
    -------
    bucket : integer ndarray of shape (...)

    Raises
    ------
    InputError
        If the distances are not integers, the buckets cannot be halved, are fewer than two in
        one direction, or ``max_distance`` is not beyond the buckets of single distances.

    References
    ----------
    Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text
    Transformer", section 2.1, and its released code, which has the formula. Deviations: the
    code compares rounded logarithms in float32; here the edges are found in integers.
    """
    check_array("distance", distance)
    if not np.issubdtype(distance.dtype, np.integer):
        raise InputError(f"distance: got {distance.dtype} array, expected an integer array")
    if bidirectional and num_buckets % 2:
        raise InputError(f"num_buckets: got {num_buckets}, expected an even number")
    buckets = num_buckets // 2 if bidirectional else num_buckets
    near = buckets // 2
    if near < 1:
        raise InputError(
            f"num_buckets: got {num_buckets}, expected at least {4 if bidirectional else 2}"
        )
    if max_distance <= near:
        raise InputError(f"max_distance: got {max_distance}, expected more than {near}")
    distance = distance.astype(np.int64)  # an unsigned one has no negative
    n = np.abs(distance) if bidirectional else np.maximum(-distance, 0)
    far = near + np.searchsorted(_edges(near, buckets, max_distance), n, side="right")
    bucket = np.where(n < near, n, far)
    if bidirectional:
        bucket += buckets * (distance > 0)
    return bucket


class T5BiasCache(NamedTuple):
    """What `t5_bias_backward` needs."""

    lookup: EmbeddingCache


def t5_bias_forward(
    table: FloatArray,
    query_len: int,
    key_len: int,
    *,
    offset: int = 0,
    num_buckets: int = 32,
    max_distance: int = 128,
    bidirectional: bool = True,
) -> tuple[FloatArray, T5BiasCache]:
    r"""Look up the bias that `attention_forward` adds to the scores.

    .. math:: \mathrm{bias}_{hts} = E_{\mathrm{bucket}(s - t),\,h}

    T5 computes it once and adds it in every layer, so the cotangent of this one bias is the sum
    of the dbias of all layers. Its attention has no 1/sqrt(K): pass ``scale=1.0``.

    Parameters
    ----------
    table : ndarray of shape (R, H)
        One row per bucket, R = ``num_buckets``.
    query_len, key_len : int
        T and S.
    offset : int
        Position of the first query among the keys: the number of keys before it.
    num_buckets, max_distance, bidirectional
        See `relative_bucket`.

    Returns
    -------
    bias : ndarray of shape (1, H, T, S)
    cache : T5BiasCache

    Raises
    ------
    InputError
        If the table has not R rows, a length is negative, or as `relative_bucket`.

    References
    ----------
    Raffel et al. 2020, section 2.1. Deviations: as `relative_bucket`.
    """
    check_float("table", table)
    check_shape("table", table, (num_buckets, "H"))
    bucket = relative_bucket(
        distances(query_len, key_len, offset),
        num_buckets=num_buckets,
        max_distance=max_distance,
        bidirectional=bidirectional,
    )
    rows, lookup = embedding_forward(bucket, table)  # (T, S, H)
    bias = rows.transpose(2, 0, 1)[None]  # (1, H, T, S)
    return bias, T5BiasCache(lookup)


def t5_bias_backward(dbias: FloatArray, cache: T5BiasCache) -> FloatArray:
    r"""Undo `t5_bias_forward`: an entry of the table gets the sum over the pairs that read it.

    .. math:: dE_{rh} = \sum_{t, s:\,\mathrm{bucket}(s - t) = r} d\mathrm{bias}_{hts}

    The transposition is undone by its inverse, the lookup by `embedding_backward`.

    Parameters
    ----------
    dbias : ndarray of shape (1, H, T, S)
    cache : T5BiasCache

    Returns
    -------
    dtable : ndarray of shape (R, H)
    """
    drows = dbias[0].transpose(1, 2, 0)  # (T, S, H) bias = rows.transpose(2, 0, 1)[None]
    return embedding_backward(drows, cache.lookup)  # embedding_forward(bucket, table)


def _edges(near: int, buckets: int, max_distance: int) -> list[int]:
    """Return the least distance of each bucket after the first far one, without rounding.

    (n / m)^(R - m) >= (max / m)^i is the i-th step of the logarithm in `relative_bucket`.
    """
    far = buckets - near
    edges, n = [], near
    for i in range(1, far):
        while n**far * near**i < max_distance**i * near**far:
            n += 1
        edges.append(n)
    return edges

"""Sums over all keys that read the same row of a table of distances."""

import numpy as np

from npformer.types import FloatArray, IntArray


def sum_by_row(x: FloatArray, row: IntArray, number: int) -> FloatArray:
    """Sum x over the keys of each row of a table: what undoes a lookup by distance.

    Parameters
    ----------
    x : ndarray of shape (B, H, T, S)
    row : integer ndarray of shape (T, S)
        The row that each query and key read.
    number : int
        R, the rows of the table.

    Returns
    -------
    sums : ndarray of shape (B, H, T, R)
    """
    batch, heads, queries, keys = x.shape
    # With the pairs of positions in front, each row is added as one long vector.
    by_pair = np.ascontiguousarray(x.transpose(2, 3, 0, 1))  # (T, S, B, H)
    sums = np.zeros((queries, number, batch * heads), x.dtype)
    at = np.arange(queries)[:, None], row  # (T, S)
    np.add.at(sums, at, by_pair.reshape(queries, keys, batch * heads))
    return sums.reshape(queries, number, batch, heads).transpose(2, 3, 0, 1)  # (B, H, T, R)

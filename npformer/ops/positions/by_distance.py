"""What every scheme of relative positions begins with: how far is each key from each query?"""

import numpy as np

from npformer.checks import InputError
from npformer.types import FloatArray, IntArray


def distances(query_len: int, key_len: int, offset: int) -> IntArray:
    """Return s - t for each query and key, of shape (T, S); ``offset`` keys come before t = 0."""
    if query_len < 0 or key_len < 0:
        raise InputError(f"query_len, key_len: got {query_len}, {key_len}, expected at least 0")
    return np.arange(key_len) - np.arange(offset, offset + query_len)[:, None]  # (T, S)


def look_up(x: FloatArray, row: IntArray) -> FloatArray:
    """Return what each query and key find in their row: from (B, H, T, R) to (B, H, T, S)."""
    return np.take_along_axis(x, row[None, None], axis=-1)


def sum_by_row(x: FloatArray, row: IntArray, number: int) -> FloatArray:
    """Sum over the keys of each row: from (B, H, T, S) to (B, H, T, R); `look_up` transposed."""
    sums = np.zeros((*x.shape[:-1], number), x.dtype)
    query = np.arange(len(row))[:, None]  # (T, 1)
    np.add.at(sums.transpose(2, 3, 0, 1), (query, row), x.transpose(2, 3, 0, 1))
    return sums

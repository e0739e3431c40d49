"""Looking up rows of a table."""

from typing import NamedTuple

from npformer.checks import check_float, check_ids
from npformer.ops.fast import sum_by_id
from npformer.types import FloatArray, IntArray


class EmbeddingCache(NamedTuple):
    """What `embedding_backward` needs."""

    ids: IntArray  # (...)
    table: FloatArray  # (V, D)


def embedding_forward(ids: IntArray, table: FloatArray) -> tuple[FloatArray, EmbeddingCache]:
    r"""Look up one row of the table for each id.

    .. math:: y_{nd} = E_{\mathrm{id}_n d}

    Parameters
    ----------
    ids : integer ndarray of shape (...)
    table : ndarray of shape (V, D)

    Returns
    -------
    y : ndarray of shape (..., D)
    cache : EmbeddingCache

    Raises
    ------
    InputError
        If an id is outside 0 .. V - 1.
    """
    check_float("table", table)
    check_ids("ids", ids, len(table))
    y = table[ids]  # (..., D)
    return y, EmbeddingCache(ids, table)


def embedding_backward(dy: FloatArray, cache: EmbeddingCache) -> FloatArray:
    r"""Undo `embedding_forward`: an id that occurs twice gets both its gradients.

    .. math:: dE_{vd} = \sum_{n:\,\mathrm{id}_n = v} dy_{nd}

    Parameters
    ----------
    dy : ndarray of shape (..., D)
    cache : EmbeddingCache

    Returns
    -------
    dtable : ndarray of shape (V, D)
    """
    ids, table = cache
    return sum_by_id(dy, ids, len(table))  # y = table[ids]

"""Who may be attended to: from masks of tokens to masks of query and key."""

import numpy as np

from npformer.checks import check_keep, check_shape
from npformer.types import BoolArray


def expand_keep(keep: BoolArray | None, batch: int, length: int) -> BoolArray | None:
    """Return a mask of tokens (B, S) as one of queries and keys, (B, 1, 1, S).

    None and masks of four axes stay as they are.
    """
    if keep is None or keep.ndim != 2:
        return keep
    check_shape("keep", keep, (batch, length))
    return keep[:, None, None, :]


def causal_keep(keep: BoolArray | None, length: int, first: int = 0) -> BoolArray:
    """Return where a query may attend that sees no token after its own: (1 or B, 1, T, S).

    The first of T = ``length`` queries has ``first`` keys before it, S = first + T. ``keep`` of
    shape (B, S) also hides the padding; one of four axes says everything and stays as it is.
    """
    if keep is not None and keep.ndim == 4:
        return keep
    past: BoolArray = np.tri(length, first + length, first, dtype=bool)[None, None]  # (1, 1, T, S)
    if keep is None:
        return past
    check_shape("keep", keep, ("B", first + length))
    padding = keep[:, None, None, :]  # (B, 1, 1, S)
    check_keep(padding, (len(keep), 1, length, first + length))
    return past & padding  # (B, 1, T, S)


def unless_all(keep: BoolArray | None) -> BoolArray | None:
    """Return None for a mask that hides nothing: attention without a mask costs less."""
    return None if keep is not None and keep.dtype == np.bool_ and keep.all() else keep

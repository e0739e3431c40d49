"""One minus the cosine between vectors."""

from typing import NamedTuple

import numpy as np

from npformer.checks import InputError, check_float, check_positive, check_shape
from npformer.ops.losses.counting import divisor
from npformer.types import BoolArray, FloatArray


class CosineCache(NamedTuple):
    """What `cosine_backward` needs."""

    x_unit: FloatArray  # (..., D)
    target_unit: FloatArray  # (..., D)
    cosine: FloatArray  # (..., 1)
    rnorm: FloatArray  # (..., 1) one over the length of x
    keep: BoolArray | None  # (...)
    n: float  # the number divided by


def cosine_forward(
    x: FloatArray,
    target: FloatArray,
    keep: BoolArray | None = None,
    *,
    eps: float = 1e-12,
    count: int | None = None,
) -> tuple[float, CosineCache]:
    r"""One minus the cosine, mean over the kept vectors.

    .. math:: L = \frac1n \sum_i k_i (1 - \hat x_i \cdot \hat t_i), \qquad
              \hat x = x \big/ \sqrt{x \cdot x + \epsilon}

    Parameters
    ----------
    x : ndarray of shape (..., D)
    target : ndarray of shape (..., D)
        A constant: it gets no gradient.
    keep : boolean ndarray of shape (...), optional
        Vectors that count; default all.
    eps : float
        Keeps a zero vector finite: its cosine is 0.
    count : int, optional
        Divide by this instead of the number of vectors kept here.

    Returns
    -------
    loss : float
        0.0 if nothing is kept.
    cache : CosineCache

    Raises
    ------
    InputError
        If the shapes differ or ``keep`` is not boolean of shape (...).

    References
    ----------
    Sanh et al. 2019, "DistilBERT", section 2 (the cosine term on hidden states).
    """
    check_float("x", x)
    check_shape("target", target, x.shape)
    check_positive("eps", eps)
    rows = x.shape[:-1]
    if keep is not None and (keep.dtype != np.bool_ or keep.shape != rows):
        raise InputError(f"keep: got {keep.dtype} {keep.shape}, expected boolean {rows}")
    rnorm = one_over_length(x, eps)  # (..., 1)
    x_unit = x * rnorm
    target_unit = target * one_over_length(target, eps)
    cosine = (x_unit * target_unit).sum(axis=-1, keepdims=True)  # (..., 1)
    kept = int(np.prod(rows)) if keep is None else int(keep.sum())
    n = divisor(count, kept)
    miss = 1 - cosine[..., 0]  # (...)
    loss = float((miss if keep is None else miss[keep]).sum()) / n
    return loss, CosineCache(x_unit, target_unit, cosine, rnorm, keep, n)


def cosine_backward(dloss: float, cache: CosineCache) -> FloatArray:
    r"""Undo `cosine_forward`: the target's direction, less its part along x.

    .. math:: dx_i = -\frac{dL}{n}\,k_i\,\frac{\hat t_i - (\hat x_i \cdot \hat t_i)\,\hat x_i}
                     {\sqrt{x_i \cdot x_i + \epsilon}}

    Parameters
    ----------
    dloss : float
    cache : CosineCache

    Returns
    -------
    dx : ndarray of shape (..., D)
    """
    x_unit, target_unit, cosine, rnorm, keep, n = cache
    dx = target_unit - cosine * x_unit
    dx *= rnorm
    dx *= -dloss / n
    if keep is not None:
        dx *= keep[..., None]
    return dx


def one_over_length(x: FloatArray, eps: float) -> FloatArray:
    """Return one over the length of each vector of x (..., D), of shape (..., 1)."""
    rnorm: FloatArray = 1 / np.sqrt((x * x).sum(axis=-1, keepdims=True) + x.dtype.type(eps))
    return rnorm

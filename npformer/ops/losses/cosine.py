"""One minus the cosine between vectors."""

from typing import NamedTuple

import numpy as np

from npformer.checks import check_float, check_positive, check_shape
from npformer.ops.losses.counting import divisor, kept_rows
from npformer.types import BoolArray, FloatArray


class CosineCache(NamedTuple):
    """What `cosine_backward` needs."""

    x_unit: FloatArray  # (..., D)
    target_unit: FloatArray  # (..., D)
    rnorm: FloatArray  # (..., 1) one over the length of x
    keep: BoolArray  # (...)
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

    .. math:: L = \frac1n \sum_i \mathrm{keep}_i\,(1 - \hat x_i \cdot \hat t_i), \qquad
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
    keep = kept_rows(keep, x.shape[:-1])
    x_unit, rnorm = to_unit(x, eps)
    target_unit, _ = to_unit(target, eps)
    cos = (x_unit * target_unit).sum(axis=-1)  # (...)
    n = divisor(count, int(keep.sum()))
    loss = float((1 - cos[keep]).sum()) / n
    return loss, CosineCache(x_unit, target_unit, rnorm, keep, n)


def cosine_backward(dloss: float, cache: CosineCache) -> FloatArray:
    r"""Undo `cosine_forward`: the target's direction, less its part along x.

    .. math:: d\hat x_i = -\frac{dL}{n}\,\mathrm{keep}_i\,\hat t_i, \qquad
              dx_i = \frac{d\hat x_i - (d\hat x_i \cdot \hat x_i)\,\hat x_i}
                     {\sqrt{x_i \cdot x_i + \epsilon}}

    Parameters
    ----------
    dloss : float
    cache : CosineCache

    Returns
    -------
    dx : ndarray of shape (..., D)
    """
    x_unit, target_unit, rnorm, keep, n = cache
    dcos = -dloss / n  # loss = float((1 - cos[keep]).sum()) / n
    dx_unit = keep[..., None] * target_unit * dcos  # cos = (x_unit * target_unit).sum(axis=-1)
    return undo_to_unit(dx_unit, x_unit, rnorm)  # x_unit, rnorm = to_unit(x, eps)


def to_unit(x: FloatArray, eps: float) -> tuple[FloatArray, FloatArray]:
    """Return each vector of x (..., D) with length 1, and one over the length it had, (..., 1)."""
    rnorm = 1 / np.sqrt((x * x).sum(axis=-1, keepdims=True) + float(eps))
    return x * rnorm, rnorm


def undo_to_unit(dx_unit: FloatArray, x_unit: FloatArray, rnorm: FloatArray) -> FloatArray:
    """Undo `to_unit`: what would only make x longer is taken away."""
    along = (dx_unit * x_unit).sum(axis=-1, keepdims=True)  # (..., 1)
    return rnorm * (dx_unit - along * x_unit)

"""Patient knowledge distillation: the squared error of directions."""

from typing import NamedTuple

from npformer.checks import check_float, check_positive, check_shape
from npformer.ops.losses.cosine import to_unit, undo_to_unit
from npformer.ops.losses.counting import kept_rows
from npformer.ops.losses.mse import MseCache, mse_backward, mse_forward
from npformer.types import BoolArray, FloatArray


class PatientCache(NamedTuple):
    """What `patient_backward` needs."""

    x_unit: FloatArray  # (..., D)
    rnorm: FloatArray  # (..., 1) one over the length of x
    error: MseCache


def patient_forward(
    x: FloatArray,
    target: FloatArray,
    keep: BoolArray | None = None,
    *,
    eps: float = 1e-12,
    count: int | None = None,
) -> tuple[float, PatientCache]:
    r"""Squared error of unit vectors, mean over the kept vectors and D.

    .. math:: L = \frac{1}{n D} \sum_i \mathrm{keep}_i\,\lVert \hat x_i - \hat t_i \rVert^2, \qquad
              \hat x = x \big/ \sqrt{x \cdot x + \epsilon}

    Only directions count: :math:`\lVert \hat x - \hat t \rVert^2 = 2 (1 - \cos)`, so this is the
    loss of `cosine_forward` times 2/D.

    Parameters
    ----------
    x : ndarray of shape (..., D)
        In PKD the states of [CLS].
    target : ndarray of shape (..., D)
        A constant: it gets no gradient.
    keep : boolean ndarray of shape (...), optional
        Vectors that count; default all.
    eps : float
        Keeps a zero vector finite: it stays zero.
    count : int, optional
        Divide by this instead of the number of entries, D in each vector, kept here.

    Returns
    -------
    loss : float
        0.0 if nothing is kept.
    cache : PatientCache

    Raises
    ------
    InputError
        If the shapes differ or ``keep`` is not boolean of shape (...).

    References
    ----------
    Sun et al. 2019, "Patient knowledge distillation for BERT model compression", section 3.2.
    Deviations: the paper sums over examples and entries; the mean is that of the authors' code,
    to which their weight of this loss belongs (beta = 500 in a preset).
    """
    check_float("x", x)
    check_shape("target", target, x.shape)
    check_positive("eps", eps)
    keep = kept_rows(keep, x.shape[:-1])
    x_unit, rnorm = to_unit(x, eps)
    target_unit, _ = to_unit(target, eps)
    loss, error = mse_forward(x_unit, target_unit, keep[..., None], count=count)
    return loss, PatientCache(x_unit, rnorm, error)


def patient_backward(dloss: float, cache: PatientCache) -> FloatArray:
    r"""Undo `patient_forward`: what would make x longer is taken away.

    With :math:`\partial \hat x_i / \partial x_j = (\delta_{ij} - \hat x_i \hat x_j)
    / \sqrt{x \cdot x + \epsilon}`,

    .. math:: dx = \frac{d\hat x - (d\hat x \cdot \hat x)\,\hat x}{\sqrt{x \cdot x + \epsilon}},
              \qquad d\hat x = dL\,\frac{2}{n D}\,\mathrm{keep}\,(\hat x - \hat t)

    Parameters
    ----------
    dloss : float
    cache : PatientCache

    Returns
    -------
    dx : ndarray of shape (..., D)
    """
    x_unit, rnorm, error = cache
    dx_unit = mse_backward(dloss, error)  # mse_forward(x_unit, target_unit, ...)
    return undo_to_unit(dx_unit, x_unit, rnorm)  # x_unit, rnorm = to_unit(x, eps)

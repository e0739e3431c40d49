"""Gating: one vector decides how much of another passes."""

from typing import NamedTuple

from npformer.checks import check_float, check_shape
from npformer.types import FloatArray


class GateCache(NamedTuple):
    """What `gate_backward` needs."""

    gate: FloatArray  # (...)
    x: FloatArray  # (...)


def gate_forward(gate: FloatArray, x: FloatArray) -> tuple[FloatArray, GateCache]:
    r"""Multiply entry by entry.

    .. math:: y_i = g_i x_i

    With g a nonlinear and x a linear map of the same input this is a gated linear unit: SwiGLU
    if the nonlinearity is silu (swish).

    Parameters
    ----------
    gate : ndarray of shape (..., F)
    x : ndarray of shape (..., F)

    Returns
    -------
    y : ndarray of shape (..., F)
    cache : GateCache

    Raises
    ------
    InputError
        If the shapes differ.

    References
    ----------
    Shazeer 2020, "GLU variants improve Transformer", equations 5 and 6. Deviations: none.
    """
    check_float("gate", gate)
    check_float("x", x)
    check_shape("x", x, gate.shape)
    y = gate * x
    return y, GateCache(gate, x)


def gate_backward(dy: FloatArray, cache: GateCache) -> tuple[FloatArray, FloatArray]:
    r"""Undo `gate_forward`: each factor gets the other, :math:`dg_i = dy_i x_i, dx_i = dy_i g_i`.

    Parameters
    ----------
    dy : ndarray of shape (..., F)
    cache : GateCache

    Returns
    -------
    dgate : ndarray of shape (..., F)
    dx : ndarray of shape (..., F)
    """
    gate, x = cache
    return dy * x, dy * gate  # y = gate * x

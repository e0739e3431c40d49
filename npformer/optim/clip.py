"""Gradient clipping, in place."""

import math

import numpy as np

from npformer.checks import check_positive
from npformer.types import FloatArray, Params

# As in PyTorch's ``clip_grad_norm_``: keeps the division finite; hence a clipped gradient's
# norm is below max_norm by about one part in a million.
EPS = 1e-6


def global_norm(grads: Params) -> float:
    r"""Return the Euclidean norm of all gradients as one long vector.

    .. math::
        \lVert g \rVert = \sqrt{\textstyle\sum_i \lVert g_i \rVert^2}

    Parameters
    ----------
    grads : Params
        Name to array; an empty dict has norm 0.

    Returns
    -------
    float
        The norm; infinity or NaN if an entry is.
    """
    return math.hypot(*(float(np.linalg.norm(g)) for g in grads.values()))


def clip_by_global_norm(grads: Params, max_norm: float) -> float:
    r"""Scale all gradients by one number so that their common norm is at most ``max_norm``.

    .. math::
        g_i \leftarrow g_i \min\left(1, \frac{c}{\lVert g \rVert + 10^{-6}}\right)

    The direction of the step stays. A norm that is not finite scales nothing: the caller
    sees it in the returned value.

    Parameters
    ----------
    grads : Params
        Name to array, scaled in place.
    max_norm : float
        c, above 0.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    InputError
        If ``max_norm`` is not a finite number above 0.

    References
    ----------
    Pascanu et al. (2013), On the difficulty of training recurrent neural networks,
    algorithm 1. Same arithmetic as ``torch.nn.utils.clip_grad_norm_``. Deviations: that
    function turns gradients to NaN when the norm is infinite.
    """
    check_positive("max_norm", max_norm)
    norm = global_norm(grads)
    for g in grads.values():
        _scale(g, norm, max_norm)
    return norm


def clip_by_tensor_norm(grads: Params, max_norm: float) -> dict[str, float]:
    """Scale each gradient on its own so that no norm is above ``max_norm``.

    This is what TinyBERT's released code does (inside ``BertAdam``). Tensors with large
    gradients shrink and the others do not, so the direction of the step changes.

    Parameters
    ----------
    grads : Params
        Name to array, scaled in place.
    max_norm : float
        The largest norm an array may have, above 0.

    Returns
    -------
    dict of str to float
        Each array's norm before clipping.

    Raises
    ------
    InputError
        If ``max_norm`` is not a finite number above 0.
    """
    check_positive("max_norm", max_norm)
    norms = {name: float(np.linalg.norm(g)) for name, g in grads.items()}
    for name, g in grads.items():
        _scale(g, norms[name], max_norm)
    return norms


def _scale(g: FloatArray, norm: float, max_norm: float) -> None:
    factor = max_norm / (norm + EPS)
    if math.isfinite(norm) and factor < 1.0:
        g *= factor

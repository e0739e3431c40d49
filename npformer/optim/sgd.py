"""Stochastic gradient descent with momentum."""

from dataclasses import dataclass

from npformer.checks import check_fraction
from npformer.optim.optimizer import (
    OptimizerState,
    blocks,
    check_not_negative,
    check_update,
    decays,
    zeros,
)
from npformer.types import Params


@dataclass(frozen=True)
class Sgd:
    r"""Gradient descent with a heavy ball.

    .. math::
        g_t &= \nabla L(\theta_{t-1}) + \lambda \theta_{t-1} \\
        b_t &= \mu b_{t-1} + g_t \\
        \theta_t &= \theta_{t-1} - \eta b_t

    Parameters
    ----------
    momentum : float
        :math:`\mu`, in [0, 1). A constant gradient ends in steps of
        :math:`\eta g / (1 - \mu)`, ten times the plain step at 0.9.
    weight_decay : float
        :math:`\lambda`, on arrays of more than one axis (`decays`).

    References
    ----------
    Polyak (1964), Some methods of speeding up the convergence of iteration methods.
    Same arithmetic as ``torch.optim.SGD``. Deviations: none.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_fraction("momentum", self.momentum)
        check_not_negative("weight_decay", self.weight_decay)

    def init(self, params: Params) -> OptimizerState:
        """Return the state before the first step: a velocity of zero."""
        return zeros(params, "velocity")

    def update(self, params: Params, grads: Params, state: OptimizerState, lr: float) -> None:
        """Do one step in place.

        Raises
        ------
        InputError
            If ``grads`` or ``state`` do not fit ``params``; nothing is written then.
        """
        lr = check_update(params, grads, state, lr, "velocity")
        state.step += 1
        for name, param in params.items():
            decay = self.weight_decay if decays(param) else 0.0
            for p, g, b in blocks(param, grads[name], state.arrays["velocity"][name]):
                b *= self.momentum
                b += g + decay * p if decay else g
                p -= lr * b

r"""Adam and the two descendants that BERT's training uses.

All three keep a running mean of the gradient and of its square,

.. math::
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 ,

and divide one by the root of the other, so that a step has about the size of the rate
whatever the size of the gradient. They differ in two places:

========== ================================= ==========================================
optimizer  the early bias of m and v to 0    weight decay
========== ================================= ==========================================
Adam       corrected                         added to the gradient, so divided by root v
AdamW      corrected                         apart from the gradient: decoupled
BertAdam   left as it is                     decoupled
========== ================================= ==========================================

Decay applies to arrays of more than one axis only: see `npformer.optim.optimizer.decays`. The
table's two columns are the two switches of `Moments`, which holds the one loop.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from npformer.checks import InputError, check_fraction, check_positive
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
class Moments:
    """What `Adam`, `AdamW` and `BertAdam` have in common."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    corrected: ClassVar[bool] = True  # for the early bias of m and v
    decoupled: ClassVar[bool] = True  # the decay, from the gradient

    def __post_init__(self) -> None:
        if len(self.betas) != 2:
            raise InputError(f"betas: got {self.betas}, expected two numbers")
        for beta in self.betas:
            check_fraction("betas", beta)
        check_positive("eps", self.eps)
        check_not_negative("weight_decay", self.weight_decay)

    def init(self, params: Params) -> OptimizerState:
        """Return the state before the first step: both means zero."""
        return zeros(params, "m", "v")

    def update(self, params: Params, grads: Params, state: OptimizerState, lr: float) -> None:
        """Do one step in place.

        Raises
        ------
        InputError
            If ``grads`` or ``state`` do not fit ``params``; nothing is written then.
        """
        lr = check_update(params, grads, state, lr, "m", "v")
        state.step += 1
        beta_1, beta_2 = self.betas
        rate, root = lr, 1.0
        if self.corrected:
            rate, root = lr / (1.0 - beta_1**state.step), math.sqrt(1.0 - beta_2**state.step)
        for name, param in params.items():
            decay = self.weight_decay if decays(param) else 0.0
            slots = state.arrays["m"][name], state.arrays["v"][name]
            for p, g, m, v in blocks(param, grads[name], *slots):
                if decay and self.decoupled:
                    p *= 1.0 - lr * decay
                elif decay:
                    g = g + decay * p
                m *= beta_1
                m += (1.0 - beta_1) * g
                v *= beta_2
                v += (1.0 - beta_2) * (g * g)
                # rate * m / (sqrt(v) / root + eps), with root taken out of the fraction.
                p -= m / (np.sqrt(v) + self.eps * root) * (rate * root)


@dataclass(frozen=True)
class Adam(Moments):
    r"""Adam, with weight decay (if any) as an L2 penalty in the gradient.

    .. math::
        g_t &= \nabla L(\theta_{t-1}) + \lambda \theta_{t-1} \\
        \theta_t &= \theta_{t-1} - \eta \,
            \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    The corrections make up for m and v starting at zero: after one step m is
    :math:`(1 - \beta_1) g`, and dividing by :math:`1 - \beta_1` gives back g.

    Parameters
    ----------
    betas : tuple of float
        :math:`\beta_1, \beta_2`, each in [0, 1).
    eps : float
        :math:`\epsilon`, added outside the root.
    weight_decay : float
        :math:`\lambda`.

    References
    ----------
    Kingma and Ba (2015), Adam: a method for stochastic optimization, algorithm 1.
    Same arithmetic as ``torch.optim.Adam``. Deviations: none.
    """

    decoupled: ClassVar[bool] = False


@dataclass(frozen=True)
class AdamW(Moments):
    r"""Adam with decoupled weight decay.

    .. math::
        \theta_t = (1 - \eta \lambda)\, \theta_{t-1} - \eta \,
            \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    An L2 penalty in the gradient is divided by :math:`\sqrt{v}` like the rest of it, so
    weights with large gradients hardly decay. Decoupled, all decay at one rate.

    Parameters
    ----------
    betas : tuple of float
        :math:`\beta_1, \beta_2`, each in [0, 1).
    eps : float
        :math:`\epsilon`, added outside the root.
    weight_decay : float
        :math:`\lambda`.

    References
    ----------
    Loshchilov and Hutter (2019), Decoupled weight decay regularization, algorithm 2.
    Same arithmetic as ``torch.optim.AdamW``. Deviations: as there, the decay is multiplied
    by the rate :math:`\eta`, where the paper multiplies it by the schedule's factor alone.
    """

    weight_decay: float = 0.01


@dataclass(frozen=True)
class BertAdam(Moments):
    r"""The optimizer of BERT's and TinyBERT's released code: no bias correction.

    .. math::
        \theta_t = \theta_{t-1} - \eta \left(
            \frac{m_t}{\sqrt{v_t} + \epsilon} + \lambda \theta_{t-1} \right)

    Without the correction a step is :math:`(1 - \beta_1^t) / \sqrt{1 - \beta_2^t}` times
    Adam's: 3.16 times at t = 1, 6.57 times at its peak t = 12, still 1.26 times at
    t = 1000. Warm-up hides this; a constant rate, as in TinyBERT's first phase, does not.

    Parameters
    ----------
    betas : tuple of float
        :math:`\beta_1, \beta_2`, each in [0, 1).
    eps : float
        :math:`\epsilon`, added outside the root.
    weight_decay : float
        :math:`\lambda`.

    References
    ----------
    Devlin et al. (2019), BERT, the released ``optimization.py`` (AdamWeightDecayOptimizer).
    Deviations: TinyBERT's ``BertAdam`` also clips each tensor's gradient to norm 1 inside
    its step; here that is a call of its own, `npformer.optim.clip_by_tensor_norm`.
    """

    eps: float = 1e-6
    weight_decay: float = 0.01

    corrected: ClassVar[bool] = False

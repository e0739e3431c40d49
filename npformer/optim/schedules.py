r"""Learning-rate schedules: pure functions from the step to a factor of the peak rate.

``lr = peak * linear_schedule(step, warmup=100, total=1000)``. Steps count from 0, as in
BERT's released code, in PyTorch's ``LambdaLR`` and in transformers' ``get_*_schedule``: the
first step of a warm-up has factor 0 and moves nothing (but the moments of Adam).
"""

import math

import numpy as np

from npformer.checks import InputError


def constant_schedule(step: int) -> float:
    """Return 1 at every step (phase 1 of TinyBERT's task distillation)."""
    _check_count("step", step, least=0)
    return 1.0


def linear_schedule(step: int, *, warmup: int, total: int) -> float:
    r"""Return a factor that rises to 1 in ``warmup`` steps and falls to 0 at ``total``.

    .. math::
        f(t) = \begin{cases} t / W & t < W \\ \max(0, (T - t) / (T - W)) & t \ge W \end{cases}

    Parameters
    ----------
    step : int
        t, from 0.
    warmup : int
        W, in steps; 0 starts at 1.
    total : int
        T, in steps; the factor stays 0 from there.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If a count is negative or no integer, ``total`` is 0 or ``warmup > total``.

    References
    ----------
    Devlin et al. (2019), BERT, A.2. Deviations: BERT's released code decays by 1 - t/T,
    which jumps down from 1 at the end of the warm-up; this is continuous, as in
    TinyBERT's code and in transformers.
    """
    _check_counts(step, warmup, total)
    if step < warmup:
        return step / warmup
    return max(0.0, (total - step) / max(1, total - warmup))


def cosine_schedule(step: int, *, warmup: int, total: int) -> float:
    r"""Return a factor that rises to 1 in ``warmup`` steps and falls to 0 as half a cosine.

    .. math::
        f(t) = \begin{cases} t / W & t < W \\
        \tfrac12 \left(1 + \cos \pi \frac{t - W}{T - W}\right) & W \le t \le T \end{cases}

    Parameters
    ----------
    step : int
        t, from 0.
    warmup : int
        W, in steps; 0 starts at 1.
    total : int
        T, in steps; the factor stays 0 from there.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If a count is negative or no integer, ``total`` is 0 or ``warmup > total``.

    References
    ----------
    Loshchilov and Hutter (2017), SGDR, equation 5, one period. Deviations: transformers'
    ``get_cosine_schedule_with_warmup`` rises again after ``total``; this stays at 0.
    """
    _check_counts(step, warmup, total)
    if step < warmup:
        return step / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def noam_schedule(step: int, *, warmup: int, d_model: int) -> float:
    r"""Return the original Transformer's rate: linear warm-up, then one over a root.

    .. math::
        f(t) = D^{-1/2} \min(t^{-1/2},\ t\, W^{-3/2})

    This is a rate, not a share of a peak: use it with a peak of 1. It is largest,
    :math:`1 / \sqrt{D W}`, at t = W.

    Parameters
    ----------
    step : int
        t, from 0, where the factor is 0.
    warmup : int
        W, in steps, at least 1.
    d_model : int
        D.

    Returns
    -------
    float
        The factor.

    Raises
    ------
    InputError
        If ``step`` is negative, or ``warmup`` or ``d_model`` is below 1.

    References
    ----------
    Vaswani et al. (2017), Attention is all you need, equation 3. Deviations: none; the
    paper's first step is t = 1.
    """
    _check_count("step", step, least=0)
    _check_count("warmup", warmup, least=1)
    _check_count("d_model", d_model, least=1)
    if step == 0:
        return 0.0
    return float(d_model**-0.5 * min(step**-0.5, step * warmup**-1.5))


def _check_counts(step: int, warmup: int, total: int) -> None:
    _check_count("step", step, least=0)
    _check_count("warmup", warmup, least=0)
    _check_count("total", total, least=1)
    if warmup > total:
        raise InputError(f"warmup: got {warmup} steps, expected at most the total of {total}")


def _check_count(name: str, value: int, *, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name}: got {value!r}, expected an integer >= {least}")

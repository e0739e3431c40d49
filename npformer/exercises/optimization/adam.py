"""Adam, with its bias correction."""

import numpy as np

from npformer import optim
from npformer.exercises.exercise import Case, Exercise


def adam(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """Return the parameter and both means after one step, as new arrays.

    param, grad, m, v: arrays of one shape; step: this step's number, from 1; the others: numbers.
    """
    params = {"param": param.copy()}
    means = {"m": {"param": m.copy()}, "v": {"param": v.copy()}}
    optimizer = optim.Adam(betas=(beta_1, beta_2), eps=eps)
    optimizer.update(params, {"param": grad}, optim.OptimizerState(step - 1, means), lr)
    return params["param"], means["m"]["param"], means["v"]["param"]


def adam_args(rng, shape, step, *, lr=0.03, betas=(0.9, 0.999), eps=1e-8, scale=1.0):
    """Return a state after some steps, or before the first."""
    started = step > 1
    return {
        "param": rng.normal(size=shape),
        "grad": scale * rng.normal(size=shape),
        "m": scale * rng.normal(size=shape) * started,
        "v": scale**2 * rng.uniform(0.1, 2.0, size=shape) * started,
        "step": step,
        "lr": lr,
        "beta_1": betas[0],
        "beta_2": betas[1],
        "eps": eps,
    }


def adam_cases(rng):
    """Return steps from several states, with one eps that can be seen."""
    zero = adam_args(rng, (2, 3), 1)
    zero["grad"][:, 1] = 0.0
    return [
        Case(adam_args(rng, (3,), 2)),
        Case(adam_args(rng, (2, 5), 7, betas=(0.8, 0.95), eps=0.1)),
        Case(adam_args(rng, (3, 2, 7), 11, lr=1.3, betas=(0.7, 0.98), eps=0.3)),
        Case(adam_args(rng, (2, 3), 1), "first step"),
        Case(adam_args(rng, (2, 3), 100_000, eps=0.01), "a late step"),
        Case(adam_args(rng, (2, 3), 3, eps=1e-8, scale=1e-8), "tiny gradients"),
        Case(zero, "gradients of zero"),
    ]


def means(grad, m, v, beta_1, beta_2):
    """Return both running means after the step."""
    return beta_1 * m + (1 - beta_1) * grad, beta_2 * v + (1 - beta_2) * grad**2


def adam_step(grad, m, v, step, lr, beta_1, beta_2, eps):
    """Return what Adam subtracts."""
    m, v = means(grad, m, v, beta_1, beta_2)
    return lr * m / (1 - beta_1**step) / (np.sqrt(v / (1 - beta_2**step)) + eps)


def adam_terms(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """Return the addends of all three results."""
    return {
        "param": {
            "param": param,
            "- lr * m_hat / (sqrt(v_hat) + eps)": -adam_step(
                grad, m, v, step, lr, beta_1, beta_2, eps
            ),
        },
        "m": {"beta_1 * m": beta_1 * m, "(1 - beta_1) * grad": (1 - beta_1) * grad},
        "v": {"beta_2 * v": beta_2 * v, "(1 - beta_2) * grad^2": (1 - beta_2) * grad**2},
    }


def adam_steps(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """Return the corrected means."""
    m, v = means(grad, m, v, beta_1, beta_2)
    return {"m_hat": m / (1 - beta_1**step), "v_hat": v / (1 - beta_2**step)}


ADAM = Exercise(
    id="adam",
    title="Adam with bias correction",
    statement=r"""
        Adam keeps a running mean of the gradient and one of its square, and divides one by the root
        of the other:

        $$m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2)
        g_t^2$$

        $$\hat m = \frac{m_t}{1 - \beta_1^t}, \qquad \hat v = \frac{v_t}{1 - \beta_2^t}, \qquad
        \theta_t = \theta_{t-1} - \eta\,\frac{\hat m}{\sqrt{\hat v} + \epsilon}$$

        Do one step. `param`, `grad`, `m` and `v` are $\theta_{t-1}$, $g_t$, $m_{t-1}$ and
        $v_{t-1}$, arrays of one shape; `step` is t, 1 at the first step; `lr` is $\eta$. Return
        $\theta_t, m_t, v_t$ as `param, m, v`, new arrays: the means as they are, **not**
        corrected.""",
    reference=adam,
    library=(optim.Adam.update,),
    outputs=("param", "m", "v"),
    cases=adam_cases,
    hints=(
        """m and v start at zero, so that early on they are too small: after one step m is
        (1 - beta_1) g. Dividing by 1 - beta_1^t makes up for it, in the step only.""",
        r"""Correct both means, m by $1 - \beta_1^t$ and v by $1 - \beta_2^t$. $\epsilon$ is added
        to the root, outside of it, after the correction.""",
        """`m = beta_1 * m + (1 - beta_1) * grad`, `v = beta_2 * v + (1 - beta_2) * grad**2`,
        `m_hat = m / (1 - beta_1**step)`, `v_hat = v / (1 - beta_2**step)`; return `param - lr *
        m_hat / (np.sqrt(v_hat) + eps), m, v`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=10,
    terms=adam_terms,
    steps=adam_steps,
    factors=lambda param, grad, m, v, step, lr, beta_1, beta_2, eps: {
        "lr": lr,
        "1 - beta_1": 1 - beta_1,
        "1 - beta_2": 1 - beta_2,
        "1 - beta_1^t": 1 - beta_1**step,
        "1 - beta_2^t": 1 - beta_2**step,
    },
    docs="derivations/optimizers.md",
)


@ADAM.mistake("no-bias-correction")
def without_correction(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """the bias correction is missing, as in BERT's released optimizer: divide m by 1 - beta_1^t and
    v by 1 - beta_2^t. Without it the first step is (1 - beta_1) / sqrt(1 - beta_2) times as long,
    about three times with the usual betas."""
    m, v = means(grad, m, v, beta_1, beta_2)
    return param - lr * m / (np.sqrt(v) + eps), m, v


@ADAM.mistake("v-not-corrected")
def correcting_m_alone(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """only m is corrected: v starts at zero as well and is divided by 1 - beta_2^t."""
    m, v = means(grad, m, v, beta_1, beta_2)
    return param - lr * m / (1 - beta_1**step) / (np.sqrt(v) + eps), m, v


@ADAM.mistake("m-not-corrected")
def correcting_v_alone(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """only v is corrected: m starts at zero as well and is divided by 1 - beta_1^t."""
    m, v = means(grad, m, v, beta_1, beta_2)
    return param - lr * m / (np.sqrt(v / (1 - beta_2**step)) + eps), m, v


@ADAM.mistake("corrected-means-kept")
def storing_the_corrected(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """the corrected means are returned: the next step would correct them again. Keep m and v as
    they are."""
    m, v = means(grad, m, v, beta_1, beta_2)
    m, v = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m / (np.sqrt(v) + eps), m, v


@ADAM.mistake("step-after")
def counting_one_too_many(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """the correction uses t + 1: step is 1 at the first step already."""
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1 ** (step + 1)), v / (1 - beta_2 ** (step + 1))
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


@ADAM.mistake("step-before")
def counting_from_zero(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """the correction uses t - 1, which divides by zero at the first step: step counts from 1."""
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1 ** (step - 1)), v / (1 - beta_2 ** (step - 1))
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


@ADAM.mistake("power-missing")
def correcting_by_a_constant(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """the correction divides by 1 - beta at every step: it is 1 - beta^t and goes to 1."""
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1), v / (1 - beta_2)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


@ADAM.mistake("eps-inside-the-root")
def eps_inside_the_root(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """eps is inside the root: it is added to it, sqrt(v_hat) + eps."""
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m_hat / np.sqrt(v_hat + eps), m, v


@ADAM.mistake("eps-before-the-correction")
def eps_before_the_correction(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """eps is added to sqrt(v) and corrected along with it: add it to sqrt(v_hat). (The short form
    lr sqrt(1 - beta_2^t) / (1 - beta_1^t) has another eps.)"""
    m, v = means(grad, m, v, beta_1, beta_2)
    rate = lr * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return param - rate * m / (np.sqrt(v) + eps), m, v


@ADAM.mistake("root-missing")
def without_the_root(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """m is divided by v_hat, the mean square: divide by its root."""
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m_hat / (v_hat + eps), m, v


@ADAM.mistake("betas-exchanged")
def betas_exchanged(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """the betas are exchanged: beta_1 belongs to m, beta_2 to v."""
    m, v = means(grad, m, v, beta_2, beta_1)
    m_hat, v_hat = m / (1 - beta_2**step), v / (1 - beta_1**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


@ADAM.mistake("gradient-instead-of-m")
def moving_with_the_gradient(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """the step is made of the gradient, as in RMSprop: Adam moves with its running mean, m_hat."""
    m, v = means(grad, m, v, beta_1, beta_2)
    return param - lr * grad / (np.sqrt(v / (1 - beta_2**step)) + eps), m, v


@ADAM.mistake("sums-instead-of-means")
def adding_up(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    """the gradient enters m and v whole, as in SGD's momentum: they are means, with 1 - beta before
    the new value."""
    m, v = beta_1 * m + grad, beta_2 * v + grad**2
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v

"""AdamW: Adam with decoupled weight decay."""

import numpy as np

from npformer import optim
from npformer.exercises.exercise import Case, Exercise
from npformer.exercises.optimization.adam import adam_args, adam_step, adam_steps, adam_terms, means


def adamw(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """Return the parameter and both means after one step, as new arrays.

    param, grad, m, v: arrays of one shape; step: this step's number, from 1; the others: numbers.
    """
    params = {"param": param.copy()}
    means = {"m": {"param": m.copy()}, "v": {"param": v.copy()}}
    optimizer = optim.AdamW(betas=(beta_1, beta_2), eps=eps, weight_decay=weight_decay)
    optimizer.update(params, {"param": grad}, optim.OptimizerState(step - 1, means), lr)
    return params["param"], means["m"]["param"], means["v"]["param"]


def adamw_cases(rng):
    """Return steps of matrices and of a bias."""

    def case(shape, step, weight_decay, part="", **kwargs):
        return Case({**adam_args(rng, shape, step, **kwargs), "weight_decay": weight_decay}, part)

    return [
        case((2, 3), 2, 0.1),
        case((2, 5), 7, 0.3, betas=(0.8, 0.95), eps=0.1),
        case((3, 2, 7), 11, 0.07, lr=1.3, betas=(0.7, 0.98), eps=0.3),
        case((3, 2), 1, 0.1, eps=0.3, part="first step"),
        case((7,), 5, 0.3, part="bias"),
        case((2, 3), 5, 0.0, part="no decay"),
    ]


def adamw_terms(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """Return the addends of all three results; a bias has no decay."""
    terms = adam_terms(param, grad, m, v, step, lr, beta_1, beta_2, eps)
    decay = -lr * weight_decay * param * (param.ndim > 1)
    return {**terms, "param": {**terms["param"], "- lr * weight_decay * param": decay}}


ADAMW = Exercise(
    id="adamw",
    title="AdamW: decoupled weight decay",
    statement=r"""
        An L2 penalty adds $\lambda\theta$ to the gradient, and Adam divides it by $\sqrt{\hat v}$
        like the rest: weights with large gradients hardly decay. AdamW takes the decay out of the
        gradient:

        $$\theta_t = (1 - \eta\lambda)\,\theta_{t-1} - \eta\,\frac{\hat m}{\sqrt{\hat v} +
        \epsilon}$$

        with $\hat m = m_t / (1 - \beta_1^t)$, $\hat v = v_t / (1 - \beta_2^t)$ and the running
        means $m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t$ and $v_t = \beta_2 v_{t-1} + (1 - \beta_2)
        g_t^2$ of the plain gradient.

        Do one step. `param`, `grad`, `m` and `v` are $\theta_{t-1}$, $g_t$, $m_{t-1}$ and
        $v_{t-1}$, arrays of one shape; `step` is t, 1 at the first step; `lr` is $\eta$ and
        `weight_decay` is $\lambda$. Decay is for arrays of **more than one axis**: biases and a
        norm's gamma and beta, arrays of one axis, do not decay. Return $\theta_t, m_t, v_t$ as
        `param, m, v`, new arrays, the means not corrected.""",
    reference=adamw,
    library=(optim.AdamW.update, optim.decays),
    outputs=("param", "m", "v"),
    cases=adamw_cases,
    hints=(
        "Write Adam, then shrink the parameter: two changes that do not know of each other.",
        r"""Both use the parameter of before: $\theta - \eta\lambda\theta - \eta\,\hat m /
        (\sqrt{\hat v} + \epsilon)$; the middle term only if `param.ndim > 1`.""",
        """`decay = weight_decay if param.ndim > 1 else 0.0`; `param * (1 - lr * decay) - lr * m_hat
        / (np.sqrt(v_hat) + eps)`, with means of `grad` alone.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=10,
    terms=adamw_terms,
    steps=lambda param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay: adam_steps(
        param, grad, m, v, step, lr, beta_1, beta_2, eps
    ),
    factors=lambda param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay: {
        "lr": lr,
        "1 - beta_1": 1 - beta_1,
        "1 - beta_2": 1 - beta_2,
    },
    docs="derivations/optimizers.md",
)


@ADAMW.mistake("l2-in-the-gradient")
def as_l2(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """weight_decay * param is added to the gradient: that is Adam with an L2 penalty, which enters
    m and v. Decoupled, the decay acts on the parameter alone."""
    if param.ndim > 1:
        grad = grad + weight_decay * param
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


@ADAMW.mistake("decay-divided-by-the-root")
def divided_by_the_root(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """the decay is divided by sqrt(v_hat) + eps along with m_hat: it belongs outside the
    fraction."""
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    decay = weight_decay * param if param.ndim > 1 else 0.0
    return param - lr * (m_hat + decay) / (np.sqrt(v_hat) + eps), m, v


@ADAMW.mistake("decay-without-the-rate")
def without_the_rate(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """the parameter shrinks by weight_decay: the rate is missing, 1 - lr * weight_decay."""
    decayed = param * (1 - weight_decay) if param.ndim > 1 else param
    step_size = adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    return decayed - step_size, *means(grad, m, v, beta_1, beta_2)


@ADAMW.mistake("decay-after-the-step")
def after_the_step(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """the decay is applied to the parameter after Adam's step: it is of the parameter before it."""
    moved = param - adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    moved = moved * (1 - lr * weight_decay) if param.ndim > 1 else moved
    return moved, *means(grad, m, v, beta_1, beta_2)


@ADAMW.mistake("bias-decays")
def for_biases_too(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """an array of one axis decays: biases, gamma and beta do not, `param.ndim > 1` only."""
    decayed = param * (1 - lr * weight_decay)
    step_size = adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    return decayed - step_size, *means(grad, m, v, beta_1, beta_2)


@ADAMW.mistake("decay-sign")
def growing(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """the parameter grows: decay pulls towards zero, 1 - lr * weight_decay."""
    decayed = param * (1 + lr * weight_decay) if param.ndim > 1 else param
    step_size = adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    return decayed - step_size, *means(grad, m, v, beta_1, beta_2)


@ADAMW.mistake("decay-missing")
def without_decay(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """this is Adam: the parameter does not decay."""
    step_size = adam_step(grad, m, v, step, lr, beta_1, beta_2, eps)
    return param - step_size, *means(grad, m, v, beta_1, beta_2)


@ADAMW.mistake("no-bias-correction")
def as_bert(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    """the bias correction is missing, as in BERT's released optimizer: divide m by 1 - beta_1^t and
    v by 1 - beta_2^t."""
    decayed = param * (1 - lr * weight_decay) if param.ndim > 1 else param
    m, v = means(grad, m, v, beta_1, beta_2)
    return decayed - lr * m / (np.sqrt(v) + eps), m, v

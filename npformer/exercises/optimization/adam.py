"""Adam, with its bias correction."""

import numpy as np

from npformer import optim
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def without_correction(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    return param - lr * m / (np.sqrt(v) + eps), m, v


def correcting_m_alone(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    return param - lr * m / (1 - beta_1**step) / (np.sqrt(v) + eps), m, v


def correcting_v_alone(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    return param - lr * m / (np.sqrt(v / (1 - beta_2**step)) + eps), m, v


def storing_the_corrected(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    m, v = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m / (np.sqrt(v) + eps), m, v


def counting_one_too_many(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1 ** (step + 1)), v / (1 - beta_2 ** (step + 1))
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def counting_from_zero(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1 ** (step - 1)), v / (1 - beta_2 ** (step - 1))
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def correcting_by_a_constant(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1), v / (1 - beta_2)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def eps_inside_the_root(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m_hat / np.sqrt(v_hat + eps), m, v


def eps_before_the_correction(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    rate = lr * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    return param - rate * m / (np.sqrt(v) + eps), m, v


def without_the_root(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m_hat / (v_hat + eps), m, v


def betas_exchanged(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_2, beta_1)
    m_hat, v_hat = m / (1 - beta_2**step), v / (1 - beta_1**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


def moving_with_the_gradient(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = means(grad, m, v, beta_1, beta_2)
    return param - lr * grad / (np.sqrt(v / (1 - beta_2**step)) + eps), m, v


def adding_up(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m, v = beta_1 * m + grad, beta_2 * v + grad**2
    m_hat, v_hat = m / (1 - beta_1**step), v / (1 - beta_2**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


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
    title=Text("Adam with bias correction", "带偏差校正的 Adam"),
    statement=Text(
        "Adam keeps a running mean of the gradient and one of its square, and divides one by the "
        "root of the other:\n\n"
        "$$m_t = \\beta_1 m_{t-1} + (1 - \\beta_1) g_t, \\qquad "
        "v_t = \\beta_2 v_{t-1} + (1 - \\beta_2) g_t^2$$\n\n"
        "$$\\hat m = \\frac{m_t}{1 - \\beta_1^t}, \\qquad \\hat v = \\frac{v_t}{1 - \\beta_2^t}, "
        "\\qquad \\theta_t = \\theta_{t-1} - \\eta\\,\\frac{\\hat m}{\\sqrt{\\hat v} + \\epsilon}$$"
        "\n\nDo one step. `param`, `grad`, `m` and `v` are $\\theta_{t-1}$, $g_t$, $m_{t-1}$ and "
        "$v_{t-1}$, arrays of one shape; `step` is t, 1 at the first step; `lr` is $\\eta$. Return "
        "$\\theta_t, m_t, v_t$ as `param, m, v`, new arrays: the means as they are, **not** "
        "corrected.",
        "Adam 对梯度及其平方各维护一个滑动平均，再用前者除以后者的平方根：\n\n"
        "$$m_t = \\beta_1 m_{t-1} + (1 - \\beta_1) g_t, \\qquad "
        "v_t = \\beta_2 v_{t-1} + (1 - \\beta_2) g_t^2$$\n\n"
        "$$\\hat m = \\frac{m_t}{1 - \\beta_1^t}, \\qquad \\hat v = \\frac{v_t}{1 - \\beta_2^t}, "
        "\\qquad \\theta_t = \\theta_{t-1} - \\eta\\,\\frac{\\hat m}{\\sqrt{\\hat v} + \\epsilon}$$"
        "\n\n做一步更新。`param`、`grad`、`m`、`v` 分别是 $\\theta_{t-1}$、$g_t$、$m_{t-1}$、$v_{t-1}$，"
        "形状相同；`step` 是 t，第一步为 1；`lr` 是 $\\eta$。以新数组返回 $\\theta_t, m_t, v_t$，即 "
        "`param, m, v`；返回的滑动平均是**未**校正的。",
    ),
    reference=adam,
    library=(optim.Adam.update,),
    outputs=("param", "m", "v"),
    cases=adam_cases,
    hints=(
        Text(
            "m and v start at zero, so that early on they are too small: after one step m is "
            "(1 - beta_1) g. Dividing by 1 - beta_1^t makes up for it, in the step only.",
            "m 和 v 从零开始，因此前期偏小：一步之后 m 是 (1 - beta_1) g。除以 1 - beta_1^t 正好补回来，"
            "但只用在更新步里。",
        ),
        Text(
            "Correct both means, m by $1 - \\beta_1^t$ and v by $1 - \\beta_2^t$. "
            "$\\epsilon$ is added to the root, outside of it, after the correction.",
            "两个平均都要校正：m 除以 $1 - \\beta_1^t$，v 除以 $1 - \\beta_2^t$。"
            "$\\epsilon$ 在校正之后加在根号外面。",
        ),
        Text(
            "`m = beta_1 * m + (1 - beta_1) * grad`, `v = beta_2 * v + (1 - beta_2) * grad**2`, "
            "`m_hat = m / (1 - beta_1**step)`, `v_hat = v / (1 - beta_2**step)`; return "
            "`param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v`.",
            "`m = beta_1 * m + (1 - beta_1) * grad`，`v = beta_2 * v + (1 - beta_2) * grad**2`，"
            "`m_hat = m / (1 - beta_1**step)`，`v_hat = v / (1 - beta_2**step)`；返回 "
            "`param - lr * m_hat / (np.sqrt(v_hat) + eps), m, v`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "no-bias-correction",
            without_correction,
            Text(
                "the bias correction is missing, as in BERT's released optimizer: divide m by "
                "1 - beta_1^t and v by 1 - beta_2^t. Without it the first step is "
                "(1 - beta_1) / sqrt(1 - beta_2) times as long, about three times with the usual "
                "betas.",
                "缺少偏差校正（BERT 发布的优化器就是这样）：m 要除以 1 - beta_1^t，v 要除以 1 - beta_2^t。"
                "不校正时第一步会变成 (1 - beta_1) / sqrt(1 - beta_2) 倍，按常用的 beta 约为三倍。",
            ),
        ),
        Misconception(
            "v-not-corrected",
            correcting_m_alone,
            Text(
                "only m is corrected: v starts at zero as well and is divided by 1 - beta_2^t.",
                "只校正了 m：v 也从零开始，要除以 1 - beta_2^t。",
            ),
        ),
        Misconception(
            "m-not-corrected",
            correcting_v_alone,
            Text(
                "only v is corrected: m starts at zero as well and is divided by 1 - beta_1^t.",
                "只校正了 v：m 也从零开始，要除以 1 - beta_1^t。",
            ),
        ),
        Misconception(
            "corrected-means-kept",
            storing_the_corrected,
            Text(
                "the corrected means are returned: the next step would correct them again. Keep m "
                "and v as they are.",
                "返回了校正后的平均：下一步会再校正一次。应返回未校正的 m 和 v。",
            ),
        ),
        Misconception(
            "step-after",
            counting_one_too_many,
            Text(
                "the correction uses t + 1: step is 1 at the first step already.",
                "校正用了 t + 1：step 在第一步时已经是 1。",
            ),
        ),
        Misconception(
            "step-before",
            counting_from_zero,
            Text(
                "the correction uses t - 1, which divides by zero at the first step: step counts "
                "from 1.",
                "校正用了 t - 1，第一步会除以零：step 从 1 开始计数。",
            ),
        ),
        Misconception(
            "power-missing",
            correcting_by_a_constant,
            Text(
                "the correction divides by 1 - beta at every step: it is 1 - beta^t and goes to 1.",
                "每一步都除以 1 - beta：应为 1 - beta^t，它会趋于 1。",
            ),
        ),
        Misconception(
            "eps-inside-the-root",
            eps_inside_the_root,
            Text(
                "eps is inside the root: it is added to it, sqrt(v_hat) + eps.",
                "eps 加在了根号里：应加在根号外，sqrt(v_hat) + eps。",
            ),
        ),
        Misconception(
            "eps-before-the-correction",
            eps_before_the_correction,
            Text(
                "eps is added to sqrt(v) and corrected along with it: add it to sqrt(v_hat). (The "
                "short form lr sqrt(1 - beta_2^t) / (1 - beta_1^t) has another eps.)",
                "eps 加在了 sqrt(v) 上，也被一起校正了：应加在 sqrt(v_hat) 上。（简写 "
                "lr sqrt(1 - beta_2^t) / (1 - beta_1^t) 中的 eps 含义不同。）",
            ),
        ),
        Misconception(
            "root-missing",
            without_the_root,
            Text(
                "m is divided by v_hat, the mean square: divide by its root.",
                "m 除以了 v_hat，即均方：应除以它的平方根。",
            ),
        ),
        Misconception(
            "betas-exchanged",
            betas_exchanged,
            Text(
                "the betas are exchanged: beta_1 belongs to m, beta_2 to v.",
                "两个 beta 用反了：beta_1 属于 m，beta_2 属于 v。",
            ),
        ),
        Misconception(
            "gradient-instead-of-m",
            moving_with_the_gradient,
            Text(
                "the step is made of the gradient, as in RMSprop: Adam moves with its running mean, "
                "m_hat.",
                "更新步用了梯度本身，那是 RMSprop：Adam 用的是梯度的滑动平均 m_hat。",
            ),
        ),
        Misconception(
            "sums-instead-of-means",
            adding_up,
            Text(
                "the gradient enters m and v whole, as in SGD's momentum: they are means, with "
                "1 - beta before the new value.",
                "梯度原样加进了 m 和 v，那是 SGD 动量的写法：它们是平均，新值前要乘 1 - beta。",
            ),
        ),
    ),
    topic="optimization",
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

EXERCISES = (ADAM,)

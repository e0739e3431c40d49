"""Gradient descent with momentum."""

from npformer import optim
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def sgd_momentum(param, grad, velocity, lr, momentum):
    """Return the parameter and the velocity after one step, as new arrays.

    param, grad, velocity: arrays of one shape; lr, momentum: numbers.
    """
    params = {"param": param.copy()}
    state = optim.OptimizerState(0, {"velocity": {"param": velocity.copy()}})
    optim.Sgd(momentum=momentum).update(params, {"param": grad}, state, lr)
    return params["param"], state.arrays["velocity"]["param"]


def sgd_momentum_cases(rng):
    """Return steps from several states."""

    def case(*shape, lr, momentum, moving=True, part=""):
        args = {
            "param": rng.normal(size=shape),
            "grad": rng.normal(size=shape),
            "velocity": rng.normal(size=shape) * moving,
            "lr": lr,
            "momentum": momentum,
        }
        return Case(args, part)

    return [
        case(3, lr=0.3, momentum=0.9),
        case(2, 5, lr=0.07, momentum=0.8),
        case(7, 3, 2, lr=1.7, momentum=0.35),
        case(2, 3, lr=0.3, momentum=0.9, moving=False, part="first step"),
        case(2, 3, lr=0.3, momentum=0.0, part="no momentum"),
    ]


def averaging(param, grad, velocity, lr, momentum):
    v = momentum * velocity + (1 - momentum) * grad
    return param - lr * v, v


def rate_in_the_velocity(param, grad, velocity, lr, momentum):
    v = momentum * velocity + lr * grad
    return param - v, v


def nesterov(param, grad, velocity, lr, momentum):
    v = momentum * velocity + grad
    return param - lr * (grad + momentum * v), v


def moving_with_the_old_velocity(param, grad, velocity, lr, momentum):
    return param - lr * velocity, momentum * velocity + grad


def moving_with_the_gradient(param, grad, velocity, lr, momentum):
    return param - lr * grad, momentum * velocity + grad


def forgetting_the_velocity(param, grad, velocity, lr, momentum):
    return param - lr * (momentum * velocity + grad), velocity.copy()


def uphill(param, grad, velocity, lr, momentum):
    v = momentum * velocity + grad
    return param + lr * v, v


def velocity_downhill(param, grad, velocity, lr, momentum):
    v = momentum * velocity - grad
    return param + lr * v, v


SGD_MOMENTUM = Exercise(
    id="sgd-momentum",
    title=Text("SGD with momentum", "带动量的 SGD"),
    statement=Text(
        "A velocity b adds up the gradients g and forgets them slowly; the parameter moves with "
        "it:\n\n"
        "$$b_t = \\mu\\,b_{t-1} + g_t, \\qquad \\theta_t = \\theta_{t-1} - \\eta\\,b_t$$\n\n"
        "Do one step. `param`, `grad` and `velocity` are $\\theta_{t-1}$, $g_t$ and $b_{t-1}$, "
        "arrays of one shape; the numbers `lr` and `momentum` are $\\eta$ and $\\mu$. Return the "
        "new parameter and the new velocity, `param, velocity`, as new arrays: what you were given "
        "stays as it is.",
        "速度 b 累加梯度 g，并慢慢遗忘；参数随速度移动：\n\n"
        "$$b_t = \\mu\\,b_{t-1} + g_t, \\qquad \\theta_t = \\theta_{t-1} - \\eta\\,b_t$$\n\n"
        "做一步更新。`param`、`grad`、`velocity` 分别是 $\\theta_{t-1}$、$g_t$、$b_{t-1}$，形状相同；"
        "标量 `lr` 和 `momentum` 是 $\\eta$ 和 $\\mu$。返回新的参数和新的速度 `param, velocity`，"
        "都是新数组：不要改动传入的数组。",
    ),
    reference=sgd_momentum,
    library=(optim.Sgd.update,),
    outputs=("param", "velocity"),
    cases=sgd_momentum_cases,
    hints=(
        Text(
            "Two lines: first the velocity, then the parameter, which moves with the new velocity.",
            "两行：先算速度，再算参数；参数用新的速度移动。",
        ),
        Text(
            "The gradient enters the velocity whole, without $1 - \\mu$ and without the rate.",
            "梯度原样加进速度，不乘 $1 - \\mu$，也不乘学习率。",
        ),
        Text(
            "`velocity = momentum * velocity + grad` (not `*=`, which would write into the "
            "argument); return `param - lr * velocity` and `velocity`.",
            "`velocity = momentum * velocity + grad`（不能用 `*=`，那会改动传入的数组）；"
            "返回 `param - lr * velocity` 和 `velocity`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "running-mean",
            averaging,
            Text(
                "the gradient enters with 1 - mu: that is the running mean of Adam. Here the "
                "velocity adds gradients up, so that a constant one ends in steps 1 / (1 - mu) "
                "times as long.",
                "梯度乘了 1 - mu：那是 Adam 的滑动平均。这里速度是累加梯度，梯度不变时步长最终会是 "
                "1 / (1 - mu) 倍。",
            ),
        ),
        Misconception(
            "rate-in-the-velocity",
            rate_in_the_velocity,
            Text(
                "the rate is inside the velocity: it belongs to the step, param - lr * velocity, "
                "so that a change of rate acts at once.",
                "学习率乘进了速度里：它属于更新步 param - lr * velocity，这样改变学习率会立即生效。",
            ),
        ),
        Misconception(
            "nesterov",
            nesterov,
            Text(
                "this is Nesterov's momentum, which adds the gradient once more after the "
                "velocity. Here the step is lr times the velocity alone.",
                "这是 Nesterov 动量，它在速度之外又加了一次梯度。这里的一步只是 lr 乘速度。",
            ),
        ),
        Misconception(
            "old-velocity",
            moving_with_the_old_velocity,
            Text(
                "the parameter moves with the velocity of before: update the velocity first.",
                "参数用的是更新之前的速度：应先更新速度。",
            ),
        ),
        Misconception(
            "gradient-step",
            moving_with_the_gradient,
            Text(
                "the velocity is computed and not used: the parameter moves with it, not with the "
                "gradient.",
                "算了速度却没有用：参数应随速度移动，而不是随梯度移动。",
            ),
        ),
        Misconception(
            "velocity-not-kept",
            forgetting_the_velocity,
            Text(
                "the velocity that is returned is the old one: the next step needs the new one.",
                "返回的是旧的速度：下一步要用新的速度。",
            ),
        ),
        Misconception(
            "uphill",
            uphill,
            Text(
                "the parameter moves along the gradient, uphill: subtract.",
                "参数沿梯度方向上坡移动：应当相减。",
            ),
        ),
        Misconception(
            "velocity-with-other-sign",
            velocity_downhill,
            Text(
                "the velocity has the sign of the step: here it adds gradients up, and the step "
                "subtracts it.",
                "速度取了更新步的符号：这里速度累加的是梯度，更新时再减去它。",
            ),
        ),
    ),
    topic="optimization",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    terms=lambda param, grad, velocity, lr, momentum: {
        "param": {
            "param": param,
            "- lr * momentum * velocity": -lr * momentum * velocity,
            "- lr * grad": -lr * grad,
        },
        "velocity": {"momentum * velocity": momentum * velocity, "grad": grad},
    },
    factors=lambda param, grad, velocity, lr, momentum: {"lr": lr},
    docs="derivations/optimizers.md",
)

EXERCISES = (SGD_MOMENTUM,)

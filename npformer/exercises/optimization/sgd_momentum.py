"""Gradient descent with momentum."""

from npformer import optim
from npformer.exercises.exercise import Case, Exercise


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


SGD_MOMENTUM = Exercise(
    id="sgd-momentum",
    title="SGD with momentum",
    statement=r"""
        A velocity b adds up the gradients g and forgets them slowly; the parameter moves with it:

        $$b_t = \mu\,b_{t-1} + g_t, \qquad \theta_t = \theta_{t-1} - \eta\,b_t$$

        Do one step. `param`, `grad` and `velocity` are $\theta_{t-1}$, $g_t$ and $b_{t-1}$, arrays
        of one shape; the numbers `lr` and `momentum` are $\eta$ and $\mu$. Return the new parameter
        and the new velocity, `param, velocity`, as new arrays: what you were given stays as it
        is.""",
    reference=sgd_momentum,
    library=(optim.Sgd.update,),
    outputs=("param", "velocity"),
    cases=sgd_momentum_cases,
    hints=(
        "Two lines: first the velocity, then the parameter, which moves with the new velocity.",
        r"The gradient enters the velocity whole, without $1 - \mu$ and without the rate.",
        """`velocity = momentum * velocity + grad` (not `*=`, which would write into the argument);
        return `param - lr * velocity` and `velocity`.""",
    ),
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


@SGD_MOMENTUM.mistake("running-mean")
def averaging(param, grad, velocity, lr, momentum):
    """the gradient enters with 1 - mu: that is the running mean of Adam. Here the velocity adds
    gradients up, so that a constant one ends in steps 1 / (1 - mu) times as long."""
    v = momentum * velocity + (1 - momentum) * grad
    return param - lr * v, v


@SGD_MOMENTUM.mistake("rate-in-the-velocity")
def rate_in_the_velocity(param, grad, velocity, lr, momentum):
    """the rate is inside the velocity: it belongs to the step, param - lr * velocity, so that a
    change of rate acts at once."""
    v = momentum * velocity + lr * grad
    return param - v, v


@SGD_MOMENTUM.mistake("nesterov")
def nesterov(param, grad, velocity, lr, momentum):
    """this is Nesterov's momentum, which adds the gradient once more after the velocity. Here the
    step is lr times the velocity alone."""
    v = momentum * velocity + grad
    return param - lr * (grad + momentum * v), v


@SGD_MOMENTUM.mistake("old-velocity")
def moving_with_the_old_velocity(param, grad, velocity, lr, momentum):
    """the parameter moves with the velocity of before: update the velocity first."""
    return param - lr * velocity, momentum * velocity + grad


@SGD_MOMENTUM.mistake("gradient-step")
def moving_with_the_gradient(param, grad, velocity, lr, momentum):
    """the velocity is computed and not used: the parameter moves with it, not with the gradient."""
    return param - lr * grad, momentum * velocity + grad


@SGD_MOMENTUM.mistake("velocity-not-kept")
def forgetting_the_velocity(param, grad, velocity, lr, momentum):
    """the velocity that is returned is the old one: the next step needs the new one."""
    return param - lr * (momentum * velocity + grad), velocity.copy()


@SGD_MOMENTUM.mistake("uphill")
def uphill(param, grad, velocity, lr, momentum):
    """the parameter moves along the gradient, uphill: subtract."""
    v = momentum * velocity + grad
    return param + lr * v, v


@SGD_MOMENTUM.mistake("velocity-with-other-sign")
def velocity_downhill(param, grad, velocity, lr, momentum):
    """the velocity has the sign of the step: here it adds gradients up, and the step subtracts
    it."""
    v = momentum * velocity - grad
    return param + lr * v, v

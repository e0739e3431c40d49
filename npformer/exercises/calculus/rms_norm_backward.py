"""RMS norm, backward."""

from npformer import ops
from npformer.exercises.calculus.layer_norm_backward import mean_of, over_rows
from npformer.exercises.exercise import Case, Exercise


def rms_norm_backward(dy, xhat, rrms, gamma):
    """Return dx, dgamma of y = gamma * xhat; dy, xhat: (..., D), rrms: (..., 1), gamma: (D,)."""
    return ops.rmsnorm_backward(dy, ops.RmsNormCache(xhat, rrms, gamma))


def rms_norm_backward_cases(rng):
    """Return what an RMS norm keeps; eps is large enough to show where it is forgotten."""

    def case(*shape, eps, part=""):
        gamma = rng.normal(size=shape[-1])
        _, cache = ops.rmsnorm_forward(2 * rng.normal(size=shape) + 0.5, gamma, eps=eps)
        args = {
            "dy": rng.normal(size=shape),
            "xhat": cache.xhat,
            "rrms": cache.rrms,
            "gamma": gamma,
        }
        return Case(args, part)

    return [
        case(2, 3, eps=0.3),
        case(2, 3, 5, eps=0.1),
        case(5, 7, eps=1e-5),
        case(2, 3, 5, 7, eps=0.2),
        case(1, 5, eps=0.1, part="one row"),
        case(1, 1, 7, eps=0.3, part="one row"),
        case(3, 1, eps=0.2, part="one feature"),
    ]


def with_dx(dx, dy, xhat):
    """Return both gradients, dgamma right."""
    return dx, over_rows(dy * xhat)


def right_dx(dy, xhat, rrms, gamma):
    g = dy * gamma
    return rrms * (g - xhat * mean_of(g * xhat))


RMS_NORM_BACKWARD = Exercise(
    id="rms-norm-backward",
    title="RMS norm backward",
    statement=r"""
        RMS norm is layer norm without centring and without beta. The forward was, over the last
        axis of length D,

        $$\hat x_i = x_i\,r, \qquad r = 1\Big/\sqrt{\tfrac1D \textstyle\sum_j x_j^2 + \epsilon},
        \qquad y_i = \gamma_i \hat x_i$$

        It kept `xhat` (..., D) and `rrms` (..., 1), which is r. Given these, `dy` (..., D), the
        gradient of the loss with respect to y, and `gamma` (D,), return `dx, dgamma`, of shapes
        (..., D) and (D,).""",
    reference=rms_norm_backward,
    library=(ops.rmsnorm_backward,),
    outputs=("dx", "dgamma"),
    cases=rms_norm_backward_cases,
    hints=(
        r"Two paths lead from $x_j$ to $\hat x_i$: directly, and through r. Differentiate r first.",
        r"""$\partial r/\partial x_j = -r^3 x_j/D$, so $dx_j = r\,\bigl(d\hat x_j - \hat
        x_j\,\tfrac1D\sum_i d\hat x_i \hat x_i\bigr)$ with $d\hat x = \gamma\,dy$.""",
        """`dxhat = dy * gamma`, `mean_along = (dxhat * xhat).mean(axis=-1, keepdims=True)`, `dx =
        rrms * (dxhat - xhat * mean_along)`; dgamma is the sum of `dy * xhat` over all axes but the
        last.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=lambda dy, xhat, rrms, gamma: {
        "dx": {
            "rrms * dxhat": rrms * dy * gamma,
            "- rrms * xhat * mean(dxhat * xhat)": -rrms * xhat * mean_of(dy * gamma * xhat),
        }
    },
    steps=lambda dy, xhat, rrms, gamma: {
        "dxhat": dy * gamma,
        "mean_along": mean_of(dy * gamma * xhat),
    },
    factors=lambda dy, xhat, rrms, gamma: {
        "D": dy.shape[-1],
        "the number of rows": dy.size // dy.shape[-1],
        "B": len(dy),
        **({"rrms": rrms.item()} if rrms.size == 1 else {}),
    },
    docs="derivations/layernorm.md",
)


@RMS_NORM_BACKWARD.mistake("norm-constant")
def norm_taken_for_a_constant(dy, xhat, rrms, gamma):
    """the root mean square is taken for a constant. It depends on x: subtract xhat times the mean
    of dxhat * xhat."""
    return with_dx(rrms * dy * gamma, dy, xhat)


@RMS_NORM_BACKWARD.mistake("layer-norm-instead")
def centred_like_a_layer_norm(dy, xhat, rrms, gamma):
    """the mean of dxhat is subtracted, as in layer norm. RMS norm does not centre, so this path
    does not exist."""
    g = dy * gamma
    return with_dx(rrms * (g - mean_of(g) - xhat * mean_of(g * xhat)), dy, xhat)


@RMS_NORM_BACKWARD.mistake("gamma-dropped")
def gamma_dropped(dy, xhat, rrms, gamma):
    """dx starts from dy. Between y and xhat stands gamma: start from dxhat = dy * gamma."""
    return with_dx(rrms * (dy - xhat * mean_of(dy * xhat)), dy, xhat)


@RMS_NORM_BACKWARD.mistake("gamma-outside-the-mean")
def gamma_outside_the_mean(dy, xhat, rrms, gamma):
    """gamma is multiplied on at the end. It cannot be taken out of the mean: multiply dy by it
    first."""
    return with_dx(gamma * rrms * (dy - xhat * mean_of(dy * xhat)), dy, xhat)


@RMS_NORM_BACKWARD.mistake("mean-without-gamma")
def mean_without_gamma(dy, xhat, rrms, gamma):
    """the mean is taken of dy * xhat; it belongs to dxhat * xhat, with dxhat = dy * gamma."""
    return with_dx(rrms * (dy * gamma - xhat * mean_of(dy * xhat)), dy, xhat)


@RMS_NORM_BACKWARD.mistake("sum-instead-of-mean")
def sum_instead_of_mean(dy, xhat, rrms, gamma):
    """the sum of dxhat * xhat is taken where the mean belongs: 1/D comes from the mean of the
    squares."""
    g = dy * gamma
    return with_dx(rrms * (g - xhat * (g * xhat).sum(axis=-1, keepdims=True)), dy, xhat)


@RMS_NORM_BACKWARD.mistake("rrms-forgotten")
def rrms_forgotten(dy, xhat, rrms, gamma):
    """the factor rrms is missing: xhat is x * rrms."""
    g = dy * gamma
    return with_dx(g - xhat * mean_of(g * xhat), dy, xhat)


@RMS_NORM_BACKWARD.mistake("x-and-xhat-mixed")
def formula_of_x_with_xhat(dy, xhat, rrms, gamma):
    """r^3 belongs to the formula in x: r^3 x mean(dxhat * x). With xhat two of the three factors
    are in it already, and one r is left."""
    g = dy * gamma
    return with_dx(rrms * g - rrms**3 * xhat * mean_of(g * xhat), dy, xhat)


@RMS_NORM_BACKWARD.mistake("projection-without-xhat")
def projection_without_xhat(dy, xhat, rrms, gamma):
    """the mean of dxhat * xhat is subtracted from all features alike: multiply it by xhat first."""
    g = dy * gamma
    return with_dx(rrms * (g - mean_of(g * xhat)), dy, xhat)


@RMS_NORM_BACKWARD.mistake("dgamma-without-xhat")
def dgamma_without_xhat(dy, xhat, rrms, gamma):
    """dgamma is the sum of dy. gamma multiplies xhat: sum dy * xhat."""
    return right_dx(dy, xhat, rrms, gamma), over_rows(dy)


@RMS_NORM_BACKWARD.mistake("dgamma-of-x")
def dgamma_of_x(dy, xhat, rrms, gamma):
    """dgamma uses x. gamma multiplies xhat, the normalised x."""
    return right_dx(dy, xhat, rrms, gamma), over_rows(dy * xhat / rrms)


@RMS_NORM_BACKWARD.mistake("dgamma-not-summed")
def dgamma_not_summed(dy, xhat, rrms, gamma):
    """there is one dgamma for every row. gamma is shared by all rows: sum over all axes but the
    last."""
    return right_dx(dy, xhat, rrms, gamma), dy * xhat


@RMS_NORM_BACKWARD.mistake("dgamma-averaged")
def dgamma_averaged(dy, xhat, rrms, gamma):
    """the mean over the rows is taken where the sum belongs. If the loss is a mean, dy holds that
    factor already."""
    rows = dy.size // dy.shape[-1]
    return right_dx(dy, xhat, rrms, gamma), over_rows(dy * xhat) / rows


@RMS_NORM_BACKWARD.mistake("dgamma-over-the-first-axis")
def dgamma_over_the_first_axis(dy, xhat, rrms, gamma):
    """only the first axis is summed. With (B, T, D) the tokens are rows as well: sum over all axes
    but the last."""
    return right_dx(dy, xhat, rrms, gamma), (dy * xhat).sum(axis=0)

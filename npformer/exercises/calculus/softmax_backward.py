"""The softmax, backward."""

from npformer import ops
from npformer.exercises.calculus.softmax import softmax
from npformer.exercises.exercise import Case, Exercise


def softmax_backward(dprobs, probs):
    """Return dx, given the gradient of the softmax's output and that output; all (..., C)."""
    return ops.softmax_backward(dprobs, ops.SoftmaxCache(probs, axis=-1))


def softmax_backward_cases(rng):
    """Return probabilities of several shapes; in some rows one class has nearly all."""

    def case(*shape, scale=1.0, part=""):
        probs = softmax(scale * rng.normal(size=shape))
        return Case({"dprobs": rng.normal(size=shape), "probs": probs}, part)

    return [
        case(2, 3),
        case(2, 4, 3),
        case(4, 5, scale=3),
        case(3, 1, part="one class"),
        case(4, 3, scale=200, part="saturated rows"),
    ]


SOFTMAX_BACKWARD = Exercise(
    id="softmax-backward",
    title="Softmax: the vector-Jacobian product",
    statement=r"""
        The output of a softmax over the last axis is `probs`, and the gradient of the loss with
        respect to it is `dprobs`; both are (..., C). Return the gradient `dx` of the logits. The
        Jacobian of a row is

        $$\frac{\partial p_j}{\partial x_l} = p_j(\delta_{jl} - p_l).$$

        You need not build it, and should not: C may be 30,000. (This is not checked.)""",
    reference=softmax_backward,
    library=(ops.softmax_backward,),
    outputs=("dx",),
    cases=softmax_backward_cases,
    hints=(
        """Multiply dprobs by the Jacobian: sum over j for a fixed l. The delta leaves one term, the
        other is a sum that does not depend on l.""",
        r"$dx_l = p_l (dp_l - \sum_j dp_j p_j)$: the sum is the mean of dprobs under probs.",
        "`mean = (dprobs * probs).sum(axis=-1, keepdims=True)`; then `probs * (dprobs - mean)`.",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    terms=lambda dprobs, probs: {
        "dx": {
            "p * dp": probs * dprobs,
            "- p * sum(dp * p)": -probs * (dprobs * probs).sum(axis=-1, keepdims=True),
        }
    },
    steps=lambda dprobs, probs: {"sum(dp * p)": (dprobs * probs).sum(axis=-1, keepdims=True)},
    factors=lambda dprobs, probs: {"C": probs.shape[-1]},
    docs="derivations/softmax.md",
)


@SOFTMAX_BACKWARD.mistake("mean-term-missing")
def only_the_diagonal(dprobs, probs):
    r"""only $p_l\,dp_l$ is there. Every logit also lowers the other probabilities: subtract the
    mean of dprobs under probs, $\sum_j dp_j p_j$."""
    return dprobs * probs


@SOFTMAX_BACKWARD.mistake("independent-sigmoids")
def as_independent_sigmoids(dprobs, probs):
    """p (1 - p) is the derivative of a sigmoid, the diagonal of the softmax's Jacobian. The entries
    beside the diagonal, $-p_j p_l$, are missing."""
    return dprobs * probs * (1 - probs)


@SOFTMAX_BACKWARD.mistake("unweighted-sum")
def with_a_plain_sum(dprobs, probs):
    """dprobs is summed without weights: the sum must be of dprobs * probs."""
    return probs * (dprobs - dprobs.sum(axis=-1, keepdims=True))


@SOFTMAX_BACKWARD.mistake("unweighted-mean")
def with_a_plain_mean(dprobs, probs):
    """the mean of dprobs is taken with equal weights: the weights are the probabilities."""
    return probs * (dprobs - dprobs.mean(axis=-1, keepdims=True))


@SOFTMAX_BACKWARD.mistake("mean-over-everything")
def with_one_mean_for_all(dprobs, probs):
    """one sum is taken over all rows: each row has its own, `axis=-1, keepdims=True`."""
    return probs * (dprobs - (dprobs * probs).sum())


@SOFTMAX_BACKWARD.mistake("cross-entropy-instead")
def as_the_cross_entropy(dprobs, probs):
    """p - y is the gradient of softmax and cross-entropy together, with a target y. Here dprobs is
    any gradient, not a target."""
    return probs - dprobs

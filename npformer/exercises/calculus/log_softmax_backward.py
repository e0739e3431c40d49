"""The logarithm of the softmax, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def log_softmax_backward(dlog_probs, log_probs):
    """Return dx, given the gradient of the log-softmax's output and that output; all (..., C)."""
    return ops.log_softmax_backward(dlog_probs, ops.LogSoftmaxCache(log_probs, axis=-1))


def log_softmax_backward_cases(rng):
    """Return log-probabilities of several shapes; in some rows one class has nearly all."""

    def case(*shape, scale=1.0, part=""):
        log_probs, _ = ops.log_softmax_forward(scale * rng.normal(size=shape))
        return Case({"dlog_probs": rng.normal(size=shape), "log_probs": log_probs}, part)

    return [
        case(2, 3),
        case(2, 5, 3),
        case(4, 7, scale=3),
        case(3, 1, part="one class"),
        case(4, 3, scale=500, part="saturated rows"),
    ]


LOG_SOFTMAX_BACKWARD = Exercise(
    id="log-softmax-backward",
    title="Log-softmax: the vector-Jacobian product",
    statement=r"""
        The log-softmax of a row is

        $$\ell_j = x_j - \log \sum_l e^{x_l}.$$

        Its output over the last axis is `log_probs`, and the gradient of the loss with respect to
        it is `dlog_probs`; both are (..., C). Return the gradient `dx` of the logits. A probability
        may be so small that it is 0 in floating point; its logarithm is still finite.""",
    reference=log_softmax_backward,
    library=(ops.log_softmax_backward,),
    outputs=("dx",),
    cases=log_softmax_backward_cases,
    hints=(
        r"What is the derivative of $\log \sum_l e^{x_l}$ with respect to $x_l$?",
        r"""It is the softmax. So $\partial\ell_j/\partial x_l = \delta_{jl} - p_l$, and
        $dx_l = d\ell_l - p_l \sum_j d\ell_j$.""",
        """`total = dlog_probs.sum(axis=-1, keepdims=True)`; then
        `dlog_probs - np.exp(log_probs) * total`.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=10,
    terms=lambda dlog_probs, log_probs: {
        "dx": {
            "dl": dlog_probs,
            "- p * sum(dl)": -np.exp(log_probs) * dlog_probs.sum(axis=-1, keepdims=True),
        }
    },
    steps=lambda dlog_probs, log_probs: {
        "probs": np.exp(log_probs),
        "total": dlog_probs.sum(axis=-1, keepdims=True),
    },
    factors=lambda dlog_probs, log_probs: {"C": log_probs.shape[-1]},
    docs="derivations/softmax.md",
)


@LOG_SOFTMAX_BACKWARD.mistake("sum-term-missing")
def sum_term_missing(dlog_probs, log_probs):
    r"""only $d\ell_l$ is there. Every logit also moves the log-sum-exp of its row: subtract
    $p_l \sum_j d\ell_j$."""
    return dlog_probs


@LOG_SOFTMAX_BACKWARD.mistake("softmax-instead")
def as_the_plain_softmax(dlog_probs, log_probs):
    r"""this is the backward of the softmax. dlog_probs is the gradient of the **logarithm**: its
    Jacobian is $\delta_{jl} - p_l$, without the $p_j$ in front."""
    probs = np.exp(log_probs)
    return probs * (dlog_probs - (dlog_probs * probs).sum(axis=-1, keepdims=True))


@LOG_SOFTMAX_BACKWARD.mistake("weighted-sum")
def with_a_weighted_sum(dlog_probs, log_probs):
    """dlog_probs is weighted by the probabilities in the sum, as in the backward of the softmax.
    Here it is summed as it is."""
    probs = np.exp(log_probs)
    return dlog_probs - probs * (dlog_probs * probs).sum(axis=-1, keepdims=True)


@LOG_SOFTMAX_BACKWARD.mistake("jacobian-transposed")
def jacobian_transposed(dlog_probs, log_probs):
    r"""the Jacobian is used the wrong way round: $\sum_l p_l\,d\ell_l$ sums over the wrong index.
    The sum runs over the outputs j, and $p_l$, of the input, stands before it."""
    return dlog_probs - (dlog_probs * np.exp(log_probs)).sum(axis=-1, keepdims=True)


@LOG_SOFTMAX_BACKWARD.mistake("mean-instead-of-sum")
def with_a_mean(dlog_probs, log_probs):
    """the mean of dlog_probs is taken where the sum belongs."""
    return dlog_probs - np.exp(log_probs) * dlog_probs.mean(axis=-1, keepdims=True)


@LOG_SOFTMAX_BACKWARD.mistake("sum-over-everything")
def with_one_sum_for_all(dlog_probs, log_probs):
    """one sum is taken over all rows: each row has its own, `axis=-1, keepdims=True`."""
    return dlog_probs - np.exp(log_probs) * dlog_probs.sum()


@LOG_SOFTMAX_BACKWARD.mistake("exp-forgotten")
def exp_forgotten(dlog_probs, log_probs):
    """the sum is multiplied by the log-probabilities; it belongs to the probabilities,
    `np.exp(log_probs)`."""
    return dlog_probs - log_probs * dlog_probs.sum(axis=-1, keepdims=True)


@LOG_SOFTMAX_BACKWARD.mistake("probs-missing")
def sum_without_probs(dlog_probs, log_probs):
    """the sum is subtracted in full from every class; the share of class l is $p_l$ of it."""
    return dlog_probs - dlog_probs.sum(axis=-1, keepdims=True)


@LOG_SOFTMAX_BACKWARD.mistake("cross-entropy-instead")
def as_the_cross_entropy(dlog_probs, log_probs):
    """p + dlog_probs is right only if dlog_probs sums to -1, as under a cross-entropy (p - y). Here
    it is any gradient: multiply p by minus its sum."""
    return dlog_probs + np.exp(log_probs)

"""The gradient of the KL divergence, over the kept tokens of a batch."""

import numpy as np

from npformer import ops
from npformer.exercises.by_hand import log_softmax, softmax
from npformer.exercises.distillation.hidden_loss import tokens
from npformer.exercises.exercise import Case, Exercise


def kl_backward(dloss, student_logits, teacher_logits, keep, tau):
    """Return dstudent_logits, the gradient of dloss times the KL divergence.

    Logits and result: (B, T, C). keep: (B, T), True = real token. dloss, tau: numbers.
    """
    _, cache = ops.kl_forward(student_logits, teacher_logits, tau, tau_squared=True, keep=keep)
    return ops.kl_backward(dloss, cache)


def kl_backward_cases(rng):
    """Return logits of tokens, with and without padding."""

    def case(lengths, t, c, low, part=""):
        shape = len(lengths), t, c
        student, teacher = 1.5 * rng.normal(size=(2, *shape))
        return Case(
            {
                "dloss": float(rng.uniform(0.2, 0.7)),
                "student_logits": student,
                "teacher_logits": teacher,
                "keep": np.arange(t) < np.array(lengths)[:, None],
                "tau": float(rng.uniform(low, low + 0.4)),
            },
            part,
        )

    return [
        case([3, 3], 3, 4, 1.5),
        case([4, 4, 4], 4, 7, 2.2),
        case([5, 5], 5, 3, 0.4),
        case([3, 5, 1, 4], 6, 3, 2.2, "padding"),
        case([4, 0, 2], 5, 6, 1.5, "all-padding row"),
        case([0, 0], 3, 4, 1.5, "nothing kept"),
        case([1, 1], 1, 5, 2.2, "length 1"),
        case([3, 2], 4, 1, 1.5, "one class"),
    ]


def probabilities(student_logits, teacher_logits, tau):
    return softmax(student_logits / tau), softmax(teacher_logits / tau)


def kept_only(dlogits, keep):
    return dlogits * keep[..., None]


def kl_backward_terms(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    factor = dloss * tau / tokens(keep)
    return {
        "dstudent_logits": {
            "student_probs": factor * kept_only(p, keep),
            "- teacher_probs": -factor * kept_only(q, keep),
        }
    }


def kl_backward_steps(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return {"student_probs": p, "teacher_probs": q, "n": tokens(keep)}


KL_BACKWARD = Exercise(
    id="kl-backward",
    title="KL divergence of tokens: the gradient",
    statement=r"""
        Every token has logits, (B, T, C), and `keep` (B, T) says which tokens are real; $k_{bt}$ is
        `keep` as 0 or 1. With `student_probs` = softmax(student_logits / tau) and `teacher_probs` =
        softmax(teacher_logits / tau) the loss is

        $$L = \frac{\tau^2}{n} \sum_{b,t} k_{bt} \operatorname{KL}(p^T_{bt} \,\Vert\, p^S_{bt}) =
        \frac{\tau^2}{n} \sum_{b,t} k_{bt} \sum_c p^T_{btc} (\log p^T_{btc} - \log p^S_{btc}),
        \qquad n = \sum_{b,t} k_{bt}.$$

        The weight of this loss in the total is the number `dloss`. Return `dstudent_logits`,
        (B, T, C), the gradient of `dloss` times L; the teacher is a constant. Padded tokens get
        zero. If nothing is kept, all is zero. Logits are finite and of moderate size, at padding
        too.""",
    reference=kl_backward,
    library=(ops.kl_forward, ops.kl_backward, ops.soft_cross_entropy_backward),
    outputs=("dstudent_logits",),
    cases=kl_backward_cases,
    hints=(
        r"The teacher's part, $p^T \log p^T$, is a constant. What is left is a cross-entropy.",
        r"$dz^S_{btc} = dL\,\frac{\tau^2}{n}\,\frac{1}{\tau}\,k_{bt}\,(p^S_{btc} - p^T_{btc})$.",
        """`n = max(int(keep.sum()), 1)`; then `(student_probs - teacher_probs) * keep[..., None] *
        (dloss * tau / n)`.""",
    ),
    tracks=("class", "gradcheck"),
    difficulty=2,
    minutes=12,
    terms=kl_backward_terms,
    steps=kl_backward_steps,
    factors=lambda dloss, student_logits, teacher_logits, keep, tau: {
        "tau": tau,
        "dloss": dloss,
        "n": tokens(keep),
        "B": keep.shape[0],
        "T": keep.shape[1],
        "C": student_logits.shape[2],
    },
    docs="derivations/distillation.md",
)


@KL_BACKWARD.mistake("direction-reversed")
def direction_reversed(dloss, student_logits, teacher_logits, keep, tau):
    """this is the gradient of KL(student, teacher). The teacher's probabilities are the weights:
    KL(teacher, student), which makes the student cover all the teacher does."""
    p, _ = probabilities(student_logits, teacher_logits, tau)
    surprise = log_softmax(student_logits / tau) - log_softmax(teacher_logits / tau)
    d = p * (surprise - (p * surprise).sum(axis=-1, keepdims=True))
    return dloss * tau * kept_only(d, keep) / tokens(keep)


@KL_BACKWARD.mistake("stops-at-log-probs")
def stopped_at_the_log_probabilities(dloss, student_logits, teacher_logits, keep, tau):
    """$-p^T$ is the gradient at the logarithms. The log-softmax is still to be undone: it adds
    $p^S$ times the sum of $p^T$, which is 1."""
    _, q = probabilities(student_logits, teacher_logits, tau)
    return -dloss * tau * kept_only(q, keep) / tokens(keep)


@KL_BACKWARD.mistake("stops-at-probs")
def stopped_at_the_probabilities(dloss, student_logits, teacher_logits, keep, tau):
    """$-p^T/p^S$ is the gradient at the student's probabilities. The softmax is still to be
    undone."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return -dloss * tau * kept_only(q / p, keep) / tokens(keep)


@KL_BACKWARD.mistake("mean-over-classes")
def mean_over_classes(dloss, student_logits, teacher_logits, keep, tau):
    """divided by C as well, as PyTorch's `KLDivLoss(reduction="mean")` does: the sum over classes
    is a sum."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(p - q, keep) / (tokens(keep) * p.shape[-1])


@KL_BACKWARD.mistake("batchmean-of-tokens")
def mean_over_sequences(dloss, student_logits, teacher_logits, keep, tau):
    """divided by the number of sequences B: `batchmean` divides by the first axis alone. Here the
    mean is over the kept tokens."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(p - q, keep) / len(keep)


@KL_BACKWARD.mistake("padding-in-the-mean")
def mean_over_padding_too(dloss, student_logits, teacher_logits, keep, tau):
    """divided by B T: padding has no gradient here but is counted, so the loss depends on how long
    the batch was padded. Divide by `keep.sum()`."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(p - q, keep) / keep.size


@KL_BACKWARD.mistake("padding-has-a-gradient")
def mask_in_the_count_alone(dloss, student_logits, teacher_logits, keep, tau):
    """the mean is over the kept tokens, but the padded ones get a gradient too: multiply by
    `keep[..., None]`."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * (p - q) / tokens(keep)


@KL_BACKWARD.mistake("mean-of-means")
def mean_of_means(dloss, student_logits, teacher_logits, keep, tau):
    """each sequence is averaged by itself and then the sequences: a token of a short one counts
    more. All kept tokens count alike."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    lengths = np.maximum(keep.sum(axis=1), 1)[:, None, None]
    return dloss * tau * kept_only(p - q, keep) / (lengths * len(keep))


@KL_BACKWARD.mistake("logits-masked")
def logits_masked(dloss, student_logits, teacher_logits, keep, tau):
    """the student's logits are set to zero in the padding, which makes a uniform prediction of
    them, not none. Mask the loss of a token, or its gradient."""
    mask = keep[..., None]
    p, q = probabilities(student_logits * mask, teacher_logits, tau)
    return dloss * tau * (p - q) / keep.size


@KL_BACKWARD.mistake("cotangent-forgotten")
def cotangent_forgotten(dloss, student_logits, teacher_logits, keep, tau):
    """dloss is not used: it is the weight of this loss in the total."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return tau * kept_only(p - q, keep) / tokens(keep)


@KL_BACKWARD.mistake("tau-squared-missing")
def tau_squared_forgotten(dloss, student_logits, teacher_logits, keep, tau):
    r"""the factor $\tau^2$ is missing; what is there is the 1/tau of the chain rule."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * kept_only(p - q, keep) / (tau * tokens(keep))


@KL_BACKWARD.mistake("chain-rule-of-the-temperature")
def chain_rule_forgotten(dloss, student_logits, teacher_logits, keep, tau):
    r"""the chain rule through z / tau gives a further 1/tau, so $\tau^2$ becomes $\tau$."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau**2 * kept_only(p - q, keep) / tokens(keep)


@KL_BACKWARD.mistake("temperature-forgotten")
def temperature_forgotten(dloss, student_logits, teacher_logits, keep, tau):
    """the probabilities are those of tau = 1: both must be softened."""
    p, q = probabilities(student_logits, teacher_logits, 1.0)
    return dloss * tau * kept_only(p - q, keep) / tokens(keep)


@KL_BACKWARD.mistake("sign")
def truth_minus_prediction(dloss, student_logits, teacher_logits, keep, tau):
    """truth minus prediction: the gradient is prediction minus truth, student minus teacher."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(q - p, keep) / tokens(keep)


@KL_BACKWARD.mistake("nothing-kept")
def nothing_kept_divides_by_zero(dloss, student_logits, teacher_logits, keep, tau):
    """with nothing kept this is 0/0: divide by at least 1."""
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(p - q, keep) / keep.sum()

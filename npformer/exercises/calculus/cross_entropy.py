"""Cross-entropy with hard labels, and its gradient."""

import numpy as np

from npformer import ops
from npformer.exercises.by_hand import log_softmax
from npformer.exercises.exercise import Case, Exercise


def cross_entropy(logits, labels):
    """Return the mean loss and dlogits; logits and dlogits: (..., C), labels: (...),
    -100 = ignored.
    """
    loss, cache = ops.cross_entropy_forward(logits, labels)
    return loss, ops.cross_entropy_backward(1.0, cache)


def cross_entropy_cases(rng):
    """Return classes and tokens, some of them ignored, and some sure of themselves."""

    def case(*shape, ignored=0, scale=1.0, part=""):
        logits = scale * rng.normal(size=shape)
        labels = rng.integers(shape[-1], size=shape[:-1])
        labels.flat[rng.permutation(labels.size)[:ignored]] = -100
        return Case({"logits": logits, "labels": labels}, part)

    return [
        case(2, 3),
        case(2, 5, 3, scale=2),
        case(7, 5),
        case(2, 3, 4, 5),
        case(5, 3, ignored=2, part="ignored labels"),
        case(2, 7, 5, ignored=3, part="ignored labels"),
        case(2, 5, 3, ignored=10, part="nothing kept"),
        case(3, 1, part="one class"),
        case(4, 5, scale=2000, part="huge logits"),
        case(7, 5, scale=2000, part="huge logits"),
    ]


def one_hot(logits, labels):
    """Rows of zeros where the label is no class, such as -100."""
    return (np.arange(logits.shape[-1]) == labels[..., None]).astype(logits.dtype)


def divided_by(n, logits, labels):
    """Return loss and gradient as they are, but for the number divided by."""
    log_probs, y = log_softmax(logits), one_hot(logits, labels)
    kept = y.sum(axis=-1, keepdims=True)
    return -(y * log_probs).sum() / n, (np.exp(log_probs) - y) * kept / n


def kept_count(labels):
    return max((labels != -100).sum(), 1)


def cross_entropy_terms(logits, labels):
    """Return the addends of the loss and of the gradient."""
    log_probs, y, n = log_softmax(logits), one_hot(logits, labels), kept_count(labels)
    kept = y.sum(axis=-1, keepdims=True)
    log_sum_exp = logits - log_probs  # the same in every class
    return {
        "loss": {
            "mean(log-sum-exp)": (y * log_sum_exp).sum() / n,
            "- mean(logit of the label)": -(y * logits).sum() / n,
        },
        "dlogits": {"p / n": np.exp(log_probs) * kept / n, "- y / n": -y / n},
    }


CROSS_ENTROPY = Exercise(
    id="cross-entropy",
    title="Cross-entropy from logits, with its gradient",
    statement=r"""
        `logits` is (..., C), with one or more axes in front, and `labels` (...) holds a class 0 ...
        C - 1 for each row, or **-100: the row is ignored**. With $p_i$ the softmax of row $i$ and
        $n$ the number of labels that are not ignored, the loss in nats is the mean over these:

        $$L = -\frac1n \sum_{i\ \mathrm{kept}} \log p_{i,\mathrm{label}_i}$$

        Return `loss, dlogits`: the number L, and its gradient with respect to the logits, (..., C).
        Ignored rows get a zero gradient. If nothing is kept, the loss is 0.0 and the gradient zero.
        Logits of size 1000 must give neither infinity nor NaN.""",
    reference=cross_entropy,
    library=(ops.cross_entropy_forward, ops.cross_entropy_backward),
    outputs=("loss", "dlogits"),
    cases=cross_entropy_cases,
    hints=(
        r"""Never compute the logarithm of a softmax in two steps: the log-softmax is
        $x_j - m - \log\sum_l e^{x_l - m}$, with m the maximum of the row.""",
        """The gradient of a kept row is $(p - y)/n$, with y the one-hot row of its label; that of
        an ignored row is 0.""",
        """`kept = labels != -100`, `n = max(int(kept.sum()), 1)`,
        `y = np.arange(C) == labels[..., None]`: a row of -100 is all False. Then the loss is
        `-log_probs[y].sum() / n`, and the gradient `(np.exp(log_probs) - y) * kept[..., None] / n`,
        in the type of the logits.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=cross_entropy_terms,
    steps=lambda logits, labels: {"log_probs": log_softmax(logits), "n": kept_count(labels)},
    factors=lambda logits, labels: {
        "C": logits.shape[-1],
        "n": kept_count(labels),
        "the number of rows": labels.size,
        "B": len(labels),
        "log 2": np.log(2),
    },
    docs="derivations/softmax.md",
)


@CROSS_ENTROPY.mistake("sum-instead-of-mean")
def not_divided(logits, labels):
    """the rows are summed: the loss is their mean, so that it and its gradient are divided by the
    number of kept labels."""
    return divided_by(1, logits, labels)


@CROSS_ENTROPY.mistake("mean-over-all-rows")
def divided_by_all_rows(logits, labels):
    """the mean counts the ignored rows: divide by the number of labels that are not -100."""
    return divided_by(labels.size, logits, labels)


@CROSS_ENTROPY.mistake("mean-over-the-batch")
def divided_by_the_batch(logits, labels):
    """the sum is divided by the batch size. With tokens, (B, T, C), every kept label counts as
    one."""
    return divided_by(len(labels), logits, labels)


@CROSS_ENTROPY.mistake("mean-over-classes")
def divided_by_rows_and_classes(logits, labels):
    """the mean runs over the classes as well, so that the result is C times too small: sum over the
    classes, and take the mean over the rows."""
    return divided_by(kept_count(labels) * logits.shape[-1], logits, labels)


@CROSS_ENTROPY.mistake("nothing-kept-not-guarded")
def nothing_kept_not_guarded(logits, labels):
    """where every label is ignored it divides 0 by 0: divide by `max(n, 1)`."""
    return divided_by((labels != -100).sum(), logits, labels)


@CROSS_ENTROPY.mistake("ignored-rows-pushed")
def ignored_rows_pushed(logits, labels):
    """ignored rows have a gradient p, which pushes all their classes down. They are not in the
    loss: set their gradient to zero."""
    loss, _ = divided_by(kept_count(labels), logits, labels)
    dlogits = np.exp(log_softmax(logits)) - one_hot(logits, labels)
    return loss, dlogits / kept_count(labels)


@CROSS_ENTROPY.mistake("ignored-taken-for-class-0")
def ignored_taken_for_class_0(logits, labels):
    """-100 was replaced by class 0 and counted. Such a replacement only keeps the index legal; its
    loss and gradient have to be masked afterwards, and n counts the others."""
    return divided_by(labels.size, logits, np.maximum(labels, 0))


@CROSS_ENTROPY.mistake("label-not-subtracted")
def labels_forgotten_in_the_gradient(logits, labels):
    """the gradient is p alone: subtract 1 at the label, p - y."""
    loss, _ = divided_by(kept_count(labels), logits, labels)
    kept = (labels != -100)[..., None]
    return loss, np.exp(log_softmax(logits)) * kept / kept_count(labels)


@CROSS_ENTROPY.mistake("gradient-of-the-probabilities")
def gradient_of_the_probabilities(logits, labels):
    """-y/p is the gradient with respect to the probabilities. One step is left: through the softmax
    it becomes p - y."""
    loss, _ = divided_by(kept_count(labels), logits, labels)
    y, probs = one_hot(logits, labels), np.exp(log_softmax(logits))
    return loss, -y / probs / kept_count(labels)


@CROSS_ENTROPY.mistake("softmax-backward-again")
def through_the_softmax_again(logits, labels):
    """p - y is the gradient with respect to the logits already; it went through the softmax's
    backward once more."""
    loss, dlogits = divided_by(kept_count(labels), logits, labels)
    probs = np.exp(log_softmax(logits))
    return loss, probs * (dlogits - (dlogits * probs).sum(axis=-1, keepdims=True))


@CROSS_ENTROPY.mistake("log-of-softmax")
def logarithm_of_the_softmax(logits, labels):
    """the softmax is computed first and its logarithm taken then: a probability that rounds to 0
    gives an infinite loss. Compute the log-softmax directly."""
    _, dlogits = divided_by(kept_count(labels), logits, labels)
    log_probs, kept = np.log(np.exp(log_softmax(logits))), labels != -100
    picked = np.take_along_axis(log_probs, np.where(kept, labels, 0)[..., None], axis=-1)[..., 0]
    return -picked[kept].sum() / kept_count(labels), dlogits


@CROSS_ENTROPY.mistake("small-number-in-the-log")
def logarithm_with_a_small_number(logits, labels):
    """log(p + 1e-12) hides the infinity, but a sure mistake then costs 27.6 nats at most, whatever
    the logits. Compute the log-softmax directly."""
    _, dlogits = divided_by(kept_count(labels), logits, labels)
    log_probs = np.log(np.exp(log_softmax(logits)) + 1e-12)
    return -(one_hot(logits, labels) * log_probs).sum() / kept_count(labels), dlogits


@CROSS_ENTROPY.mistake("no-shift")
def logits_not_shifted(logits, labels):
    """exp overflows: subtract the maximum of each row before it."""
    e, y = np.exp(logits), one_hot(logits, labels)
    probs = e / e.sum(axis=-1, keepdims=True)
    kept = (labels != -100)[..., None]
    loss = -np.log(np.where(y == 1, probs, 1)).sum() / kept_count(labels)
    return loss, np.where(kept, probs - y, 0) / kept_count(labels)

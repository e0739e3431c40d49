"""Cross-entropy with smoothed labels, and its gradient."""

import numpy as np

from npformer import ops
from npformer.exercises.by_hand import log_softmax
from npformer.exercises.calculus.cross_entropy import one_hot
from npformer.exercises.exercise import Case, Exercise


def label_smoothing(logits, labels, alpha):
    """Return the mean smoothed loss and dlogits; logits and dlogits: (..., C), labels: (...)."""
    loss, cache = ops.cross_entropy_forward(logits, labels, label_smoothing=alpha)
    return loss, ops.cross_entropy_backward(1.0, cache)


def label_smoothing_cases(rng):
    """Return classes and tokens, smoothed a little and a lot."""

    def case(*shape, alpha, scale=1.0, part=""):
        args = {
            "logits": scale * rng.normal(size=shape),
            "labels": rng.integers(shape[-1], size=shape[:-1]),
            "alpha": alpha,
        }
        return Case(args, part)

    return [
        case(2, 3, alpha=0.1),
        case(2, 3, 5, alpha=0.3),
        case(5, 7, alpha=0.15, scale=3),
        case(4, 5, alpha=0.0, part="alpha = 0"),
        case(3, 1, alpha=0.1, part="one class"),
        case(3, 5, alpha=0.1, scale=1000, part="huge logits"),
    ]


def with_target(target, logits):
    log_probs, n = log_softmax(logits), logits[..., 0].size
    return -(target * log_probs).sum() / n, (np.exp(log_probs) - target) / n


def smoothed(logits, labels, alpha):
    return (1 - alpha) * one_hot(logits, labels) + alpha / logits.shape[-1]


def label_smoothing_terms(logits, labels, alpha):
    """Return the addends of the loss and of the gradient."""
    log_probs, y, n = log_softmax(logits), one_hot(logits, labels), labels.size
    return {
        "loss": {
            "(1 - alpha) * loss of the labels": -(1 - alpha) * (y * log_probs).sum() / n,
            "alpha * loss of equal targets": -alpha * log_probs.mean(axis=-1).sum() / n,
        },
        "dlogits": {
            "p / n": np.exp(log_probs) / n,
            "- (1 - alpha) * y / n": -(1 - alpha) * y / n,
            "- alpha / (C n)": np.full_like(logits, -alpha / logits.shape[-1] / n),
        },
    }


LABEL_SMOOTHING = Exercise(
    id="label-smoothing",
    title="Label smoothing, with its gradient",
    statement=r"""
        Instead of 1 at its label and 0 elsewhere, the target of row $i$ is mixed with equal shares
        for all C classes, the label's own among them:

        $$t_{ic} = (1 - \alpha)\,[c = \mathrm{label}_i] + \alpha/C, \qquad L = -\frac1n \sum_i
        \sum_c t_{ic} \log p_{ic}$$

        with $p_i$ the softmax of row $i$ and $n$ the number of rows. `logits` is (..., C), with one
        or more axes in front, `labels` (...) has a class for each row (none is ignored here),
        `alpha` is a number in [0, 1).

        Return `loss, dlogits`: the number L in nats, and its gradient with respect to the logits,
        (..., C). Logits of size 1000 must give neither infinity nor NaN.""",
    reference=label_smoothing,
    library=(ops.cross_entropy_forward, ops.cross_entropy_backward),
    outputs=("loss", "dlogits"),
    cases=label_smoothing_cases,
    hints=(
        "Only the target is new: the derivation of p - y used nothing of y but that it sums to 1.",
        r"$d\mathrm{logits} = (p - t)/n$.",
        """`y = np.arange(C) == labels[..., None]`, `t = (1 - alpha) * y + alpha / C`; the loss is
        `-(t * log_probs).sum() / n`, with the log-softmax computed directly; cast `t` to the type
        of the logits.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=label_smoothing_terms,
    steps=lambda logits, labels, alpha: {
        "log_probs": log_softmax(logits),
        "t": smoothed(logits, labels, alpha),
    },
    factors=lambda logits, labels, alpha: {
        "C": logits.shape[-1],
        "n": labels.size,
        "B": len(labels),
        "1 - alpha": 1 - alpha,
        "log 2": np.log(2),
    },
    docs="derivations/softmax.md",
)


@LABEL_SMOOTHING.mistake("mass-on-the-others")
def mass_on_the_others(logits, labels, alpha):
    """alpha is shared among the C - 1 wrong classes. In the formula asked for, all C get alpha/C,
    the label too: t is 1 - alpha + alpha/C there."""
    y = one_hot(logits, labels)
    return with_target((1 - alpha) * y + alpha / max(y.shape[-1] - 1, 1) * (1 - y), logits)


@LABEL_SMOOTHING.mistake("label-without-its-share")
def true_class_without_its_share(logits, labels, alpha):
    """the label has 1 - alpha and misses its own share alpha/C: the target must sum to 1."""
    y = one_hot(logits, labels)
    return with_target((1 - alpha) * y + alpha / y.shape[-1] * (1 - y), logits)


@LABEL_SMOOTHING.mistake("alpha-not-divided")
def alpha_not_divided(logits, labels, alpha):
    """every class got the whole of alpha: each gets alpha/C, so that the target sums to 1."""
    return with_target((1 - alpha) * one_hot(logits, labels) + alpha, logits)


@LABEL_SMOOTHING.mistake("label-not-lowered")
def label_not_lowered(logits, labels, alpha):
    """what the classes get was not taken away from the label: it keeps 1 - alpha of its 1."""
    return with_target(one_hot(logits, labels) + alpha / logits.shape[-1], logits)


@LABEL_SMOOTHING.mistake("no-share-at-all")
def nothing_for_the_others(logits, labels, alpha):
    """the label is lowered to 1 - alpha, but nothing is given to the classes: add alpha/C to
    each."""
    return with_target((1 - alpha) * one_hot(logits, labels), logits)


@LABEL_SMOOTHING.mistake("alpha-and-its-complement")
def alpha_the_wrong_way_round(logits, labels, alpha):
    """alpha and 1 - alpha are exchanged: alpha is the small part that is spread."""
    return with_target(smoothed(logits, labels, 1 - alpha), logits)


@LABEL_SMOOTHING.mistake("gradient-not-smoothed")
def gradient_of_hard_labels(logits, labels, alpha):
    """the gradient is p - y, of the hard labels. The target of the loss is t: p - t."""
    loss, _ = with_target(smoothed(logits, labels, alpha), logits)
    return loss, with_target(one_hot(logits, labels), logits)[1]


@LABEL_SMOOTHING.mistake("loss-not-smoothed")
def loss_of_hard_labels(logits, labels, alpha):
    """the loss looks at the label alone. Every class counts, with weight t."""
    _, dlogits = with_target(smoothed(logits, labels, alpha), logits)
    return with_target(one_hot(logits, labels), logits)[0], dlogits


@LABEL_SMOOTHING.mistake("divergence-instead")
def as_a_divergence(logits, labels, alpha):
    """this is the divergence KL(t, p), the cross-entropy minus the entropy of t. The gradient is
    the same, the value is not."""
    target = smoothed(logits, labels, alpha)
    loss, dlogits = with_target(target, logits)
    entropy = -(target * np.log(np.where(target > 0, target, 1))).sum() / labels.size
    return loss - entropy, dlogits


@LABEL_SMOOTHING.mistake("sum-instead-of-mean")
def smoothed_and_summed(logits, labels, alpha):
    """the rows are summed: the loss is their mean, so that it and its gradient are divided by the
    number of rows."""
    loss, dlogits = with_target(smoothed(logits, labels, alpha), logits)
    return loss * labels.size, dlogits * labels.size


@LABEL_SMOOTHING.mistake("log-of-softmax")
def smoothed_logarithm_of_the_softmax(logits, labels, alpha):
    """the softmax is computed first and its logarithm taken then: a probability that rounds to 0
    gives an infinite loss, here in every sure row, since all classes count. Compute the log-softmax
    directly."""
    target = smoothed(logits, labels, alpha)
    _, dlogits = with_target(target, logits)
    return -(target * np.log(np.exp(log_softmax(logits)))).sum() / labels.size, dlogits

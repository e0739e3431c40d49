"""Soft targets: the teacher's probabilities at a temperature, and tau^2."""

import numpy as np

from npformer import ops
from npformer.exercises.by_hand import log_softmax, softmax
from npformer.exercises.exercise import Case, Exercise


def soft_targets(student_logits, teacher_logits, tau):
    """Return the soft cross-entropy times tau^2, and its gradient dstudent_logits.

    student_logits, teacher_logits and the gradient: (B, C). The loss is a number.
    """
    loss, cache = ops.soft_cross_entropy_forward(
        student_logits, teacher_logits, tau, tau_squared=True
    )
    return loss, ops.soft_cross_entropy_backward(1.0, cache)


def soft_targets_cases(rng):
    """Return logits of several shapes and temperatures, some of them huge."""

    def case(*shape, low=1.5, high=1.9, scale=1.0, part=""):
        student, teacher = scale * rng.normal(size=(2, *shape))
        args = {"student_logits": student, "teacher_logits": teacher}
        return Case(args | {"tau": float(rng.uniform(low, high))}, part)

    return [
        case(2, 3),
        case(5, 4, low=2.2, high=2.8, scale=2),
        case(3, 7, low=3.2, high=3.8, scale=2),
        case(4, 3, low=0.4, high=0.8, part="temperature below 1"),
        case(1, 5, part="one row"),
        case(4, 1, part="one class"),
        case(3, 5, scale=2000, part="huge logits"),
    ]


def soft(student, teacher, tau):
    """The steps, as they should be."""
    student_probs, teacher_probs = softmax(student / tau), softmax(teacher / tau)
    rows = -(teacher_probs * log_softmax(student / tau)).sum(axis=-1)
    return student_probs, teacher_probs, rows


def soft_targets_steps(student_logits, teacher_logits, tau):
    student_probs, teacher_probs, rows = soft(student_logits, teacher_logits, tau)
    return {"student_probs": student_probs, "teacher_probs": teacher_probs, "rows": rows}


def soft_targets_terms(student_logits, teacher_logits, tau):
    p, q, _ = soft(student_logits, teacher_logits, tau)
    return {
        "dstudent_logits": {"student_probs": tau * p / len(p), "- teacher_probs": -tau * q / len(p)}
    }


SOFT_TARGETS = Exercise(
    id="soft-targets",
    title="Soft targets and tau^2",
    statement=r"""
        The student learns the teacher's probabilities, both softened by a temperature `tau`:
        `student_probs` = softmax(student_logits / tau), `teacher_probs` =
        softmax(teacher_logits / tau), over the last axis. Return the cross-entropy, times $\tau^2$,

        $$L = -\frac{\tau^2}{B} \sum_{b} \sum_c p^T_{bc} \log p^S_{bc},$$

        and its gradient `dstudent_logits`; the teacher is a constant. All arrays are (B, C). The
        sum runs over the classes, the mean over the B rows. Logits of size 2000 must give neither
        infinity nor NaN.""",
    reference=soft_targets,
    library=(ops.soft_cross_entropy_forward, ops.soft_cross_entropy_backward),
    outputs=("loss", "dstudent_logits"),
    cases=soft_targets_cases,
    hints=(
        """With z = student_logits / tau this is an ordinary cross-entropy whose target is a row of
        probabilities. Its gradient at z is well known; one step of the chain rule is left.""",
        r"""$dz^S = \frac{\tau^2}{B} \cdot \frac{1}{\tau}\,(p^S - p^T)$: the 1/tau comes from z /
        tau. The probabilities differ by about 1/tau too, so without $\tau^2$ the gradient falls as
        $1/\tau^2$.""",
        """`z = student_logits / tau`, `z = z - z.max(-1, keepdims=True)`, `log_probs = z -
        np.log(np.exp(z).sum(-1, keepdims=True))`; then `loss = -tau**2 * (teacher_probs *
        log_probs).sum() / B` and `tau * (np.exp(log_probs) - teacher_probs) / B`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=12,
    terms=soft_targets_terms,
    steps=soft_targets_steps,
    factors=lambda student_logits, teacher_logits, tau: {
        "tau": tau,
        "B": len(student_logits),
        "C": student_logits.shape[1],
    },
    docs="derivations/distillation.md",
)


@SOFT_TARGETS.mistake("tau-squared-missing")
def without_tau_squared(student_logits, teacher_logits, tau):
    r"""the factor $\tau^2$ is missing. The gradient of softened logits falls as $1/\tau^2$; the
    factor keeps its size as tau grows. TinyBERT's released code has none."""
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return rows.mean(), (p - q) / (tau * len(p))


@SOFT_TARGETS.mistake("chain-rule-of-the-temperature")
def gradient_without_one_over_tau(student_logits, teacher_logits, tau):
    """the gradient is that at student_logits / tau; the chain rule gives a further 1/tau."""
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return tau**2 * rows.mean(), tau**2 * (p - q) / len(p)


@SOFT_TARGETS.mistake("tau-squared-in-the-loss-alone")
def gradient_without_tau_squared(student_logits, teacher_logits, tau):
    r"""the loss is multiplied by $\tau^2$, its gradient is not: they must belong together."""
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return tau**2 * rows.mean(), (p - q) / (tau * len(p))


@SOFT_TARGETS.mistake("mean-over-classes")
def mean_over_classes_too(student_logits, teacher_logits, tau):
    """`.mean()` over (B, C) divides by the number of classes as well: sum over the classes, then
    mean over the rows. TinyBERT's released code and `KLDivLoss(reduction="mean")` have this bug."""
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return tau**2 * rows.mean() / p.shape[1], tau * (p - q) / p.size


@SOFT_TARGETS.mistake("sum-over-the-batch")
def summed_over_the_batch(student_logits, teacher_logits, tau):
    """the rows are summed: divide by B, or a larger batch takes a larger step."""
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return tau**2 * rows.sum(), tau * (p - q)


@SOFT_TARGETS.mistake("student-not-softened")
def student_without_temperature(student_logits, teacher_logits, tau):
    """only the teacher is divided by tau: a student that has the teacher's logits would not be at
    the minimum. Both need the temperature."""
    p, q = softmax(student_logits), softmax(teacher_logits / tau)
    rows = -(q * log_softmax(student_logits)).sum(axis=-1)
    return tau**2 * rows.mean(), tau**2 * (p - q) / len(p)


@SOFT_TARGETS.mistake("teacher-not-softened")
def teacher_without_temperature(student_logits, teacher_logits, tau):
    """only the student is divided by tau: the targets must be softened with the same tau."""
    p, q = softmax(student_logits / tau), softmax(teacher_logits)
    rows = -(q * log_softmax(student_logits / tau)).sum(axis=-1)
    return tau**2 * rows.mean(), tau * (p - q) / len(p)


@SOFT_TARGETS.mistake("student-and-teacher-swapped")
def student_and_teacher_swapped(student_logits, teacher_logits, tau):
    """the two are exchanged: the teacher gives the weights p, the student the logarithm."""
    p, q, rows = soft(teacher_logits, student_logits, tau)
    return tau**2 * rows.mean(), tau * (p - q) / len(p)


@SOFT_TARGETS.mistake("hard-label")
def hard_label_of_the_teacher(student_logits, teacher_logits, tau):
    """the teacher's argmax is taken for a label: what it says of the other classes, the soft part,
    is lost."""
    p, log_probs = softmax(student_logits / tau), log_softmax(student_logits / tau)
    label = np.eye(p.shape[1])[teacher_logits.argmax(axis=1)]
    return -(tau**2) * (label * log_probs).sum() / len(p), tau * (p - label) / len(p)


@SOFT_TARGETS.mistake("teacher-mixed-in")
def teacher_mixed_into_the_student(student_logits, teacher_logits, tau):
    """the teacher's logits are mixed into the student's before the loss. The student is then helped
    with its answer, and at test time there is no teacher: compare, do not mix."""
    alpha = 0.3
    mixed = (1 - alpha) * student_logits + alpha * teacher_logits
    p, q, rows = soft(mixed, teacher_logits, tau)
    return tau**2 * rows.mean(), (1 - alpha) * tau * (p - q) / len(p)


@SOFT_TARGETS.mistake("kl-instead")
def teachers_entropy_taken_away(student_logits, teacher_logits, tau):
    """this is the KL divergence, less than the cross-entropy by the teacher's entropy. Its gradient
    is the same, its value is not: here the cross-entropy is asked for."""
    p, q, rows = soft(student_logits, teacher_logits, tau)
    entropy = -(q * log_softmax(teacher_logits / tau)).sum(axis=-1)
    return tau**2 * (rows - entropy).mean(), tau * (p - q) / len(p)


@SOFT_TARGETS.mistake("softmax-twice")
def softmax_taken_twice(student_logits, teacher_logits, tau):
    """log-softmax is applied to probabilities: it expects logits, here student_logits / tau."""
    p, q, _ = soft(student_logits, teacher_logits, tau)
    return -(tau**2) * (q * log_softmax(p)).sum() / len(p), tau * (p - q) / len(p)


@SOFT_TARGETS.mistake("log-of-zero")
def logarithm_of_a_rounded_zero(student_logits, teacher_logits, tau):
    """a small probability is rounded to 0 and its logarithm is infinite: compute the log-softmax
    from the logits, never `np.log(softmax)`."""
    p, q, _ = soft(student_logits, teacher_logits, tau)
    return -(tau**2) * (q * np.log(p)).sum() / len(p), tau * (p - q) / len(p)

"""Losses on logits: what they are divided by, and what they are multiplied by."""

import numpy as np

from npformer import ops
from npformer.exercises.by_hand import log_softmax
from npformer.exercises.museum.bugs import bug


def soft_cross_entropy(student, teacher):
    """Return the cross-entropy of student with teacher, mean over the B rows; logits (B, C)."""
    loss, _ = ops.soft_cross_entropy_forward(student, teacher, 1.0)
    return loss


def test_a_student_that_knows_nothing(fn):
    teacher = np.random.default_rng(0).normal(size=(3, 5))
    assert np.isclose(fn(np.zeros((3, 5)), teacher), np.log(5))


@bug(
    "soft-cross-entropy-over-classes",
    right=soft_cross_entropy,
    witness=test_a_student_that_knows_nothing,
    exercise="soft-targets",
    tracks=("interview", "class"),
)
def soft_mean_over_classes(student, teacher):
    r"""A cross-entropy divided by the number of classes

    A distillation script takes `.mean()` of a (B, C) array of products, which divides by B and by
    C. Beside another term, its weight then depends on the task: a third with three classes, a
    thirty-thousandth with a vocabulary.

    `soft_cross_entropy(student, teacher)` returns $-\frac1B\sum_i\sum_c p^T_{ic}\log p^S_{ic}$ as a
    float, in nats, with p the softmax of the logits; both arrays are (B, C).

    With all student logits equal the loss is log C, whatever the teacher says."""
    return float((-np.exp(log_softmax(teacher)) * log_softmax(student)).mean())


def kl_divergence(student, teacher):
    """Return KL(teacher || student), mean over the B rows, in nats; logits (B, C)."""
    loss, _ = ops.kl_forward(student, teacher, 1.0)
    return loss


def test_a_sure_teacher_and_a_student_that_knows_nothing(fn):
    teacher = np.zeros((2, 7))
    teacher[:, 3] = 50.0
    assert np.isclose(fn(np.zeros((2, 7)), teacher), np.log(7))


@bug(
    "kl-default-reduction",
    right=kl_divergence,
    witness=test_a_sure_teacher_and_a_student_that_knows_nothing,
    exercise="kl-backward",
    tracks=("interview", "class"),
    acknowledged="PyTorch, documentation of torch.nn.KLDivLoss",
)
def kl_mean_over_classes(student, teacher):
    r"""A default that is not the KL divergence

    PyTorch's `KLDivLoss` divides, by default, by the number of entries, not of rows. Its
    documentation warns: `reduction="mean"` is not the divergence, use `"batchmean"`. Distillation
    code forgets it again and again.

    `kl_divergence(student, teacher)` returns $\frac1B\sum_i\sum_c p^T_{ic}(\log p^T_{ic} - \log
    p^S_{ic})$ as a float, in nats, with p the softmax of the logits; both arrays are (B, C).

    A sure teacher and equal student logits give log C. That it is 0 for equal models shows nothing:
    0 divided by C is 0."""
    log_p, log_q = log_softmax(teacher), log_softmax(student)
    return float((np.exp(log_p) * (log_p - log_q)).mean())


def kd_loss(student, teacher, labels, tau, alpha):
    """Return alpha * CE(labels) + (1 - alpha) * tau^2 * KL at tau; logits (B, C), labels (B,)."""
    hard, _ = ops.cross_entropy_forward(student, labels)
    soft, _ = ops.kl_forward(student, teacher, tau, tau_squared=True)
    return alpha * hard + (1 - alpha) * soft


def test_alpha_zero_is_the_limit(fn):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 4))
    labels = np.array([0, 3, 1])
    assert np.isclose(
        fn(student, teacher, labels, 3.0, 0.0), fn(student, teacher, labels, 3.0, 1e-9)
    )


@bug(
    "tau-squared-skipped",
    right=kd_loss,
    witness=test_alpha_zero_is_the_limit,
    exercise="soft-targets",
    tracks=("interview", "class"),
)
def tau_squared_with_labels_only(student, teacher, labels, tau, alpha):
    r"""tau^2 depends on alpha

    A toolkit multiplies the soft term by tau^2, but returns early where the hard labels have no
    weight, without the factor. Switching the labels off makes the gradient sixteen times smaller at
    tau = 4.

    `kd_loss(student, teacher, labels, tau, alpha)` returns $\alpha\,\mathrm{CE} +
    (1 - \alpha)\,\tau^2\,\mathrm{KL}$ as a float. CE is the cross-entropy of `student` (B, C) with
    integer `labels` (B,), without temperature; KL is KL(teacher || student) of the softmaxes of
    logits/tau. Both are means over B, in nats; alpha is from 0 to 1, both included.

    alpha = 0 must be the limit of a small alpha; at tau = 1 nothing shows."""
    log_p, log_q = log_softmax(teacher / tau), log_softmax(student / tau)
    soft = float((np.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean())
    if alpha == 0:
        return soft
    hard = -float(log_softmax(student)[np.arange(len(labels)), labels].mean())
    return alpha * hard + (1 - alpha) * tau**2 * soft

"""Distillation: what the student is compared with."""

import numpy as np

from npformer import ops
from npformer.distill.terms import HiddenTerm, LogitMseTerm
from npformer.exercises.museum.bugs import bug
from npformer.models import ModelOutput


def regression_loss(student, teacher, labels):
    """Return the mean squared error of student and teacher (B, 1); labels: (B,)."""
    loss, _ = LogitMseTerm().forward(
        ModelOutput(logits=student),
        ModelOutput(logits=teacher),
        np.ones((len(student), 1), bool),
        labels=labels,
    )
    return loss


def test_the_teacher_is_the_target(fn):
    teacher = np.array([[1.5], [4.0], [2.0]])
    assert abs(fn(teacher, teacher, np.array([5.0, 0.0, 3.0]))) < 1e-9


@bug(
    "regression-against-the-label",
    right=regression_loss,
    witness=test_the_teacher_is_the_target,
    exercise="hidden-loss",
    tracks=("interview", "class"),
    acknowledged="huawei-noah/Pretrained-Language-Model, issue 128",
)
def compared_with_the_label(student, teacher, labels):
    """Distillation without the teacher

    For STS-B, where the model predicts a number, TinyBERT's released script compares the student
    with the label: the teacher runs, and its answer is thrown away. Its authors say in issue 128
    that this is a mistake and that the paper's figures used the teacher's answer.

    `regression_loss(student, teacher, labels)` is the distillation loss of a regressor: the mean
    squared difference of `student` and `teacher`, both (B, 1), as a float. `labels` (B,) are handed
    over by the trainer and are not part of it.

    Labels that differ from the teacher's answers. In the data they are close, so no curve gives it
    away."""
    return float(((student[:, 0] - labels) ** 2).mean())


def hidden_loss(student, teacher, w, keep):
    """Return the mean squared error of student (B, T, I) @ w (I, O) with teacher (B, T, O)."""
    term = HiddenTerm(levels=((0, 0),), projections=("fit",), params={"fit.w": w})
    loss, _ = term.forward(ModelOutput(hidden=(student,)), ModelOutput(hidden=(teacher,)), keep)
    return loss


def test_padding_changes_nothing(fn):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 5))
    w = rng.normal(size=(3, 5))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    other = np.where(keep[:, :, None], student, 9.0)
    assert np.isclose(fn(other, teacher, w, keep), fn(student, teacher, w, keep))


@bug(
    "hidden-loss-counts-padding",
    right=hidden_loss,
    witness=test_padding_changes_nothing,
    exercise="hidden-loss",
    tracks=("class",),
)
def padding_is_distilled(student, teacher, w, keep):
    """The student learns the teacher's padding

    A released script compares whole arrays of hidden states. What a teacher computes at a padded
    place is read by nobody, but the student spends its capacity on it, and the more the longer the
    other sentences of the batch are.

    `hidden_loss(student, teacher, w, keep)` returns the mean of $(h^S W - h^T)^2$ over the real
    tokens and the teacher's O features, as a float. `student` is (B, T, I), `w` (I, O), `teacher`
    (B, T, O), `keep` boolean (B, T), True = real token.

    Change the hidden states of padding: the loss must stay."""
    return float(((student @ w - teacher) ** 2).mean())


def logits_of_both(x, w_student, w_teacher, p_drop, rng):
    """Return the logits (B, C) of student and teacher in a training step; x: (B, D), w: (D, C)."""
    dropped, _ = ops.dropout_forward(x, p_drop, rng)
    student, _ = ops.linear_forward(dropped, w_student)
    teacher, _ = ops.linear_forward(x, w_teacher)
    return student, teacher


def test_the_teacher_does_not_depend_on_chance(fn):
    x, w = np.ones((4, 6)), np.ones((6, 2))
    _, teacher = fn(x, w, w, 0.5, np.random.default_rng(0))
    assert np.allclose(teacher, 6)


@bug(
    "teacher-in-training-mode",
    right=logits_of_both,
    witness=test_the_teacher_does_not_depend_on_chance,
    exercise="tinybert-step",
    tracks=("interview", "class"),
)
def the_teacher_drops_too(x, w_student, w_teacher, p_drop, rng):
    """A teacher left in training mode

    A script switches the student between training and evaluation and never thinks of the teacher,
    which is in training mode from the start: it drops a tenth of its features, another tenth at
    every step, and the student learns from a noisy teacher.

    `logits_of_both(x, w_student, w_teacher, p_drop, rng)` returns `(student, teacher)`, the logits
    of two linear classifiers in a training step. `x` is (B, D), the weights (D, C). The student
    sees x after dropout with probability `p_drop`, drawn from `rng`; the teacher is evaluated:
    `x @ w_teacher`.

    With p_drop above 0 the teacher must give the same answer whatever the generator."""

    def logits(w):
        return (x * (rng.random(x.shape) >= p_drop) / (1 - p_drop)) @ w

    return logits(w_student), logits(w_teacher)

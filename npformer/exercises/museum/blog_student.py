"""The blog post's TinyBERT: its output, its loss and its training loop."""

import numpy as np

from npformer import ops, optim
from npformer.exercises.by_hand import log_softmax
from npformer.exercises.museum.bugs import bug
from npformer.exercises.museum.losses import soft_cross_entropy
from npformer.layers.init import normal


def student(hidden, num_classes, rng, labels=None):
    """Return logits (B, C) of hidden (B, D) under fresh weights, or with labels (B,) the loss."""
    w_out = normal(rng, hidden.shape[1], num_classes, dtype=hidden.dtype)
    logits, _ = ops.linear_forward(hidden, w_out)
    if labels is None:
        return logits
    loss, _ = ops.cross_entropy_forward(logits, labels)
    return loss


def test_one_logit_for_each_class(fn):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(3, 5))
    assert fn(hidden, 2, rng).shape == (3, 2)
    assert abs(fn(hidden, 2, rng, np.array([0, 1, 1])) - np.log(2)) < 0.5


@bug(
    "blog-no-output-layer",
    right=student,
    witness=test_one_logit_for_each_class,
    exercise="tinybert-step",
    tracks=("interview", "class"),
)
def without_output_layer(hidden, num_classes, rng, labels=None):
    """An output layer that is never built

    The loss of the blog post's student calls an output layer that its constructor does not make.
    Without a teacher the layer is not called, and the student returns D hidden features where C
    logits belong; with one, the first step of training stops.

    `student(hidden, num_classes, rng, labels=None)` draws a small output layer (D, C) from `rng`
    (standard deviation 0.02, no bias) and returns the logits (B, C) of `hidden` (B, D). With
    integer `labels` (B,) it returns their mean cross-entropy, a float.

    Call it once each way and look at the shapes. Code that was never run is found by running it."""
    width = hidden.shape[1]
    params = {"w_last": rng.normal(size=(width, width)) * 0.02}
    hidden = hidden @ params["w_last"]
    if labels is None:
        return hidden
    logits = hidden @ params["w_out"]
    return -float(log_softmax(logits)[np.arange(len(labels)), labels].mean())


def test_a_loss_does_not_see_what_the_student_lacks(fn):
    teacher = 8 * np.random.default_rng(0).normal(size=(3, 5))
    assert np.isclose(fn(np.zeros((3, 5)), teacher), np.log(5))


@bug(
    "blog-teacher-mixed-in",
    right=soft_cross_entropy,
    witness=test_a_loss_does_not_see_what_the_student_lacks,
    exercise="soft-targets",
    tracks=("interview", "class"),
)
def teacher_mixed_in(student, teacher):
    r"""The teacher's logits are mixed into the student's

    The blog post's student answers with 0.7 of its own logits and 0.3 of the teacher's, and that
    mixture is compared with the teacher. A student that knows nothing gets a good mark, the
    gradient is cut to 0.7, and without a teacher at hand the mixture is gone.

    `soft_cross_entropy(student, teacher)` returns $-\frac1B\sum_i\sum_c p^T_{ic}\log p^S_{ic}$ as a
    float, in nats, with p the softmax of the logits; both arrays are (B, C).

    A student of all equal logits has the loss log C whatever the teacher says. Here a surer teacher
    lowers it: the loss falls and nobody has learnt."""
    mixed = 0.7 * student + 0.3 * teacher
    return float(-(np.exp(log_softmax(teacher)) * log_softmax(mixed)).sum(axis=-1).mean())


def cross_entropy(logits, labels):
    """Return the cross-entropy, mean over the B rows, in nats; logits: (B, C), labels: (B,)."""
    loss, _ = ops.cross_entropy_forward(logits, labels)
    return loss


def test_a_wrong_answer_costs_also_in_class_zero(fn):
    logits = np.array([[0.0, 6.0, 0.0]])
    assert fn(logits, np.array([0])) > fn(logits, np.array([1])) + 5


@bug(
    "blog-index-as-probability",
    right=cross_entropy,
    witness=test_a_wrong_answer_costs_also_in_class_zero,
    exercise="cross-entropy",
    tracks=("interview", "class"),
)
def index_taken_for_a_probability(logits, labels):
    r"""A class index taken for a probability

    The blog post's training loop hands over labels where its loss expects the teacher's
    distribution. An index is then a weight: class 0 costs nothing, class 2 pulls all logits of its
    row towards each other twice as hard as class 1.

    `cross_entropy(logits, labels)` returns $-\frac1B\sum_i \log p_{i,\mathrm{label}_i}$ as a float,
    in nats, with p the softmax of `logits` (B, C); `labels` are B integers from 0 to C - 1.

    A wrong answer in class 0 must cost something; a right and sure one in class 2 nearly nothing.
    """
    return float(-(labels[:, None] * log_softmax(logits)).sum(axis=-1).mean())


def train(w, batches, num_epochs, lr):
    """Return w (D, C) after plain gradient descent, an update for each (x, labels) of each
    epoch.
    """
    params, sgd = {"w": w.copy()}, optim.Sgd(momentum=0.0)
    state = sgd.init(params)
    for _ in range(num_epochs):
        for x, labels in batches:
            logits, linear = ops.linear_forward(x, params["w"])
            _, loss = ops.cross_entropy_forward(logits, labels)
            _, dw, _ = ops.linear_backward(ops.cross_entropy_backward(1.0, loss), linear)
            sgd.update(params, {"w": dw}, state, lr)
    return params["w"]


def test_no_epoch_trains_nothing(fn):
    w = np.random.default_rng(0).normal(size=(3, 2))
    assert np.allclose(fn(w, [(np.ones((4, 3)), np.array([0, 1, 1, 0]))], 0, 0.1), w)


@bug(
    "blog-undefined-names",
    right=train,
    witness=test_no_epoch_trains_nothing,
    exercise="tinybert-step",
    tracks=("class",),
)
def names_of_nothing(w, batches, num_epochs, lr):
    """A training loop over nothing

    The blog post's last lines loop over a number of epochs and a data loader that no line defines.
    Python looks a name up when the line runs: the file imports, and a reader sees nothing wrong.

    `train(w, batches, num_epochs, lr)` goes `num_epochs` times through the list `batches` of pairs
    `(x, labels)`, x (B, D), labels B integers, and each time lowers the mean cross-entropy of the
    logits `x @ w` by one step of plain gradient descent with rate `lr`. Returns the last `w`
    (D, C); the given one is not written to.

    Any call. The shortest test of a program is to run it."""
    for _ in range(epochs):  # noqa: F821
        for x, labels in data_loader:  # noqa: F821
            dlogits = np.exp(log_softmax(x @ w))
            dlogits[np.arange(len(labels)), labels] -= 1
            w = w - lr * x.T @ dlogits / len(labels)
    return w

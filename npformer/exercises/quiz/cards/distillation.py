"""Knowledge distillation in general: temperatures and losses."""

import numpy as np

from npformer import models, ops
from npformer.distill.terms import PredictionTerm
from npformer.exercises.quiz.card import card


@card("what-is-distillation", exercises=("soft-targets",), docs="interview.md")
def soft_targets_rank_the_wrong_classes():
    """What is knowledge distillation, and what is dark knowledge?

    A small student is trained to imitate a large frozen teacher, beside or instead of the labels.
    The teacher's probabilities say which wrong classes are nearly right: a label pushes all of them
    down alike. That ranking is the dark knowledge; a temperature brings it out.

    Will the student be as good as the teacher? That is the hope. Compare with the same student
    trained without a teacher for as long, over several seeds."""
    student = np.zeros((1, 4))  # cat, dog, car, plane
    labels = np.array([0])
    _, cache = ops.cross_entropy_forward(student, labels)
    hard = -ops.cross_entropy_backward(1.0, cache)[0]
    assert hard[0] > 0
    assert hard[1] == hard[2] == hard[3] < 0  # a label says nothing of the others
    teacher = np.array([[6.0, 4.0, -1.0, -1.0]])
    _, cache = ops.soft_cross_entropy_forward(student, teacher, 4.0)
    soft = -ops.soft_cross_entropy_backward(1.0, cache)[0]
    assert soft[0] > soft[1] > 0 > soft[2]  # a teacher says that a dog is nearly right
    learner = student.copy()
    for _ in range(500):
        _, cache = ops.kl_forward(learner, teacher, 4.0, tau_squared=True)
        learner -= ops.kl_backward(1.0, cache)
    assert np.allclose(ops.softmax_forward(learner)[0], ops.softmax_forward(teacher)[0], atol=1e-3)


@card("temperature", exercises=("soft-targets",), docs="interview.md")
def temperature_spreads():
    """What does the temperature do to the probabilities? And in its two limits?

    `p = softmax(z / tau)`: the odds of two classes are raised to 1/tau. Larger tau: higher entropy,
    the small probabilities become visible, the order stays. tau -> 0: one-hot; tau -> infinity:
    uniform.

    Which temperature does the student use when it predicts? 1. And in training both models need the
    same tau: the teacher's alone would ask for other logits."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=6) * 3

    def probs(tau):
        return ops.softmax_forward(logits / tau)[0]

    entropies = [-(probs(t) * np.log(probs(t))).sum() for t in (0.5, 1, 2, 4, 8)]
    assert np.all(np.diff(entropies) > 0)
    assert probs(0.01).max() > 0.999  # towards one-hot
    assert np.allclose(probs(1e4), 1 / 6, atol=1e-3)  # towards uniform
    assert np.array_equal(np.argsort(probs(8)), np.argsort(logits))  # the order stays
    odds = probs(4)[:, None] / probs(4)
    assert np.allclose(odds, (probs(1)[:, None] / probs(1)) ** (1 / 4))  # odds to the power 1/tau


@card("tau-squared", exercises=("soft-targets",), docs="derivations/distillation.md")
def tau_squared_keeps_the_size():
    """Why is the soft loss multiplied by tau^2? And is the hard loss too?

    Its gradient is `(p_S - p_T) / tau`, and the difference of the softened probabilities falls as
    1/tau as well: 1/tau^2 together. The factor keeps the balance with the hard loss when tau is
    changed. The hard loss has tau = 1 and no factor.

    With the soft loss alone, does tau^2 matter? With SGD it is a learning rate; Adam hardly sees
    it, but for clipping, weight decay and eps."""
    rng = np.random.default_rng(3)
    student, teacher = 2 * rng.normal(size=(2, 6, 4))
    plain, scaled = [], []
    for tau in (4.0, 8.0, 16.0, 32.0):
        for sizes, squared in ((plain, False), (scaled, True)):
            _, cache = ops.soft_cross_entropy_forward(student, teacher, tau, tau_squared=squared)
            sizes.append(np.linalg.norm(ops.soft_cross_entropy_backward(1.0, cache)))
    assert np.allclose(np.array(plain[:-1]) / plain[1:], 4, rtol=0.15)  # twice tau, a quarter
    assert max(scaled) / min(scaled) < 1.15  # flat


@card(
    "high-temperature-limit",
    exercises=("soft-targets", "kl-backward"),
    docs="derivations/distillation.md",
)
def at_high_temperature_logits_are_matched():
    """What does distillation become as tau goes to infinity?

    softmax(z / tau) is about 1/C + (z - mean z) / (C tau), so tau^2 times the gradient tends to
    `(z_S - z_T) / C` of centred logits: matching logits by squared error.

    Then why not always match logits? A low temperature neglects very negative logits, which are
    mostly noise; a small student cannot spend capacity on them."""
    rng = np.random.default_rng(2)
    student, teacher = 2 * rng.normal(size=(2, 3, 5))

    def centred(z):
        return z - z.mean(axis=-1, keepdims=True)

    limit = (centred(student) - centred(teacher)) / 5 / 3  # of half the squared error, over C
    off = []
    for tau in (1.0, 10.0, 100.0, 1000.0):
        _, cache = ops.kl_forward(student, teacher, tau, tau_squared=True)
        dlogits = ops.kl_backward(1.0, cache)
        off.append(np.abs(dlogits - limit).max() / np.abs(limit).max())
    assert np.all(np.diff(off) < 0)
    assert off[0] > 0.1
    assert off[3] < 0.005


@card("kl-or-cross-entropy", exercises=("kl-backward", "soft-targets"), docs="interview.md")
def same_gradient_other_zero():
    """KL divergence, soft cross-entropy, MSE of logits: how do they differ?

    CE = KL + the teacher's entropy, a constant: the same gradient, but only KL is 0 when the
    student agrees. MSE of logits is their limit for high temperature, and also sees what a shift of
    all logits would change.

    Which is the better number to log? KL: one sees how far from perfect it is. And never compare
    losses at different temperatures."""
    rng = np.random.default_rng(4)
    student, teacher = rng.normal(size=(2, 6, 4))
    soft, soft_cache = ops.soft_cross_entropy_forward(student, teacher, 2.0)
    kl, kl_cache = ops.kl_forward(student, teacher, 2.0)
    p = ops.softmax_forward(teacher / 2.0)[0]
    entropy = -(p * np.log(p)).sum() / 6
    assert np.isclose(soft - kl, entropy)  # a constant to the student
    grads = ops.soft_cross_entropy_backward(1.0, soft_cache), ops.kl_backward(1.0, kl_cache)
    assert np.allclose(*grads)
    assert abs(ops.kl_forward(teacher, teacher, 2.0)[0]) < 1e-12
    assert ops.soft_cross_entropy_forward(teacher, teacher, 2.0)[0] > 0.5


@card("kl-direction", exercises=("kl-backward",), docs="derivations/softmax.md")
def covering_or_choosing():
    """KL(T || S) or KL(S || T): what does the direction change?

    Forward KL averages under the teacher: the student must give mass wherever the teacher does
    (it covers). Reverse KL averages under the student: it must avoid what the teacher avoids
    (it chooses a mode). Classical distillation is forward; for generation, reverse keeps a small
    student from writing what the teacher never would.

    Which arguments does PyTorch's `KLDivLoss` take? Log-probabilities of the student first,
    probabilities of the teacher second; swapped, it trains something else in silence."""
    x = np.linspace(-6, 6, 601)

    def normal(mean, width):
        density = np.exp(-0.5 * ((x - mean) / width) ** 2)
        return density / density.sum()

    teacher = 0.5 * normal(-2.5, 0.7) + 0.5 * normal(2.5, 0.7)  # two modes
    log_teacher = np.log(teacher)[None]
    fits = {}
    for mean in np.linspace(-3, 3, 25):
        for width in np.linspace(0.5, 3.5, 25):
            log_student = np.log(normal(mean, width))[None]
            forward = ops.kl_forward(log_student, log_teacher, 1.0)[0]  # KL(T || S)
            reverse = ops.kl_forward(log_teacher, log_student, 1.0)[0]  # KL(S || T)
            fits[mean, width] = forward, reverse
    covers = min(fits, key=lambda at: fits[at][0])
    chooses = min(fits, key=lambda at: fits[at][1])
    assert abs(covers[0]) < 0.1
    assert covers[1] > 2  # wide, over both modes and the gap between them
    assert abs(abs(chooses[0]) - 2.5) < 0.1
    assert chooses[1] < 1  # narrow, on one of them


@card("batchmean", exercises=("kl-backward",), docs="deviations.md")
def mean_over_classes():
    """Why must `KLDivLoss` have reduction="batchmean"?

    KL is a sum over the classes; only rows are averaged. The default "mean" divides by C as well:
    the loss is C times too small, so that its weight depends on the number of classes. TinyBERT's
    released code does it.

    And with logits (B, T, V) of tokens? batchmean divides by B alone: flatten to rows first, and
    leave out padding."""
    rng = np.random.default_rng(6)
    student, teacher = rng.normal(size=(2, 8, 5))
    keep = np.ones((8, 3), bool)
    s, t = models.ModelOutput(logits=student), models.ModelOutput(logits=teacher)
    right, _ = PredictionTerm(kind="kl").forward(s, t, keep)
    wrong, _ = PredictionTerm(kind="kl", divide_by_classes=True).forward(s, t, keep)
    p, q = ops.softmax_forward(teacher)[0], ops.softmax_forward(student)[0]
    elements = p * np.log(p / q)
    assert np.isclose(right, elements.sum(axis=-1).mean())  # "batchmean"
    assert np.isclose(wrong, elements.mean())  # "mean", the default
    assert np.isclose(right / wrong, 5)


@card("hard-label-weight", exercises=("soft-targets", "cross-entropy"), docs="interview.md")
def one_mixed_target():
    """Loss = alpha hard + (1 - alpha) soft: what does alpha do, and what must it not weigh?

    At tau = 1 it is the cross-entropy with one target, `alpha onehot + (1 - alpha) p_T`: labels
    correct the teacher's mistakes. It weighs two losses. Mixing the teacher's logits into the
    student's makes the loss small without learning.

    When is alpha = 0 right? Where the teacher is good or there are no labels, as on augmented data,
    where the copied label may be wrong."""
    rng = np.random.default_rng(7)
    student, teacher = rng.normal(size=(2, 6, 4))
    labels, alpha = rng.integers(0, 4, size=6), 0.3
    _, hard = ops.cross_entropy_forward(student, labels)
    _, soft = ops.soft_cross_entropy_forward(student, teacher, 1.0)
    total = ops.cross_entropy_backward(alpha, hard) + ops.soft_cross_entropy_backward(
        1 - alpha, soft
    )
    mixed = alpha * np.eye(4)[labels] + (1 - alpha) * ops.softmax_forward(teacher)[0]
    assert np.allclose(total, (ops.softmax_forward(student)[0] - mixed) / 6)
    blend = alpha * student + (1 - alpha) * teacher  # logits mixed instead of losses
    loss = ops.kl_forward(blend, teacher, 1.0)[0]
    assert loss < ops.kl_forward(student, teacher, 1.0)[0] / 2  # less, and nothing was learned

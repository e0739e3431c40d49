"""Losses on logits: what they are divided by, and what they are multiplied by."""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.text import Text


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def soft_cross_entropy(student, teacher):
    """Return the cross-entropy of student with teacher, mean over the B rows; logits (B, C)."""
    loss, _ = ops.soft_cross_entropy_forward(student, teacher, 1.0)
    return loss


def soft_mean_over_classes(student, teacher):
    return float((-np.exp(log_softmax(teacher)) * log_softmax(student)).mean())


def test_a_student_that_knows_nothing(fn):
    teacher = np.random.default_rng(0).normal(size=(3, 5))
    assert np.isclose(fn(np.zeros((3, 5)), teacher), np.log(5))


SOFT_CE_MEAN = Bug(
    id="soft-cross-entropy-over-classes",
    title=Text("A cross-entropy divided by the number of classes", "交叉熵除以了类别数"),
    story=Text(
        "A distillation script takes `.mean()` of a (B, C) array of products, which divides by B "
        "and by C. Beside another term, its weight then depends on the task: a third with three "
        "classes, a thirty-thousandth with a vocabulary.",
        "一个蒸馏脚本对 (B, C) 的乘积数组取 `.mean()`，既除以 B 又除以 C。"
        "与其他项相加时，它的权重就随任务而变：三个类别时是三分之一，对整个词表时是三万分之一。",
    ),
    statement=Text(
        "`soft_cross_entropy(student, teacher)` returns "
        "$-\\frac1B\\sum_i\\sum_c p^T_{ic}\\log p^S_{ic}$ as a float, in nats, with p the softmax of "
        "the logits; both arrays are (B, C).",
        "`soft_cross_entropy(student, teacher)` 返回浮点数 "
        "$-\\frac1B\\sum_i\\sum_c p^T_{ic}\\log p^S_{ic}$（单位 nat），p 是 logits 的 softmax；"
        "两个数组都是 (B, C)。",
    ),
    right=soft_cross_entropy,
    wrong=soft_mean_over_classes,
    symptom=Text(
        "With all student logits equal the loss is log C, whatever the teacher says.",
        "学生的 logits 全部相等时，无论教师说什么，损失都是 log C。",
    ),
    witness=test_a_student_that_knows_nothing,
    topic="distillation",
    tracks=("interview", "class"),
    exercise="soft-targets",
)


def kl_divergence(student, teacher):
    """Return KL(teacher || student), mean over the B rows, in nats; logits (B, C)."""
    loss, _ = ops.kl_forward(student, teacher, 1.0)
    return loss


def kl_mean_over_classes(student, teacher):
    log_p, log_q = log_softmax(teacher), log_softmax(student)
    return float((np.exp(log_p) * (log_p - log_q)).mean())


def test_a_sure_teacher_and_a_student_that_knows_nothing(fn):
    teacher = np.zeros((2, 7))
    teacher[:, 3] = 50.0
    assert np.isclose(fn(np.zeros((2, 7)), teacher), np.log(7))


KL_MEAN = Bug(
    id="kl-default-reduction",
    title=Text("A default that is not the KL divergence", "默认值算出来的不是 KL 散度"),
    story=Text(
        "PyTorch's `KLDivLoss` divides, by default, by the number of entries, not of rows. Its "
        'documentation warns: `reduction="mean"` is not the divergence, use `"batchmean"`. '
        "Distillation code forgets it again and again.",
        "PyTorch 的 `KLDivLoss` 默认除以元素个数，而不是行数。它的文档提醒："
        '`reduction="mean"` 得到的不是 KL 散度，应当用 `"batchmean"`。蒸馏代码里这个错误一再出现。',
    ),
    statement=Text(
        "`kl_divergence(student, teacher)` returns "
        "$\\frac1B\\sum_i\\sum_c p^T_{ic}(\\log p^T_{ic} - \\log p^S_{ic})$ as a float, in nats, "
        "with p the softmax of the logits; both arrays are (B, C).",
        "`kl_divergence(student, teacher)` 返回浮点数 "
        "$\\frac1B\\sum_i\\sum_c p^T_{ic}(\\log p^T_{ic} - \\log p^S_{ic})$（单位 nat），"
        "p 是 logits 的 softmax；两个数组都是 (B, C)。",
    ),
    right=kl_divergence,
    wrong=kl_mean_over_classes,
    symptom=Text(
        "A sure teacher and equal student logits give log C. That it is 0 for equal models shows "
        "nothing: 0 divided by C is 0.",
        "教师完全确定、学生 logits 全部相等时，结果是 log C。两个模型相同时为 0 说明不了问题：0 除以 C 还是 0。",
    ),
    witness=test_a_sure_teacher_and_a_student_that_knows_nothing,
    topic="distillation",
    tracks=("interview", "class"),
    exercise="kl-backward",
    acknowledged="PyTorch, documentation of torch.nn.KLDivLoss",
)


def kd_loss(student, teacher, labels, tau, alpha):
    """Return alpha * CE(labels) + (1 - alpha) * tau^2 * KL at tau; logits (B, C), labels (B,)."""
    hard, _ = ops.cross_entropy_forward(student, labels)
    soft, _ = ops.kl_forward(student, teacher, tau, tau_squared=True)
    return alpha * hard + (1 - alpha) * soft


def tau_squared_with_labels_only(student, teacher, labels, tau, alpha):
    log_p, log_q = log_softmax(teacher / tau), log_softmax(student / tau)
    soft = float((np.exp(log_p) * (log_p - log_q)).sum(axis=-1).mean())
    if alpha == 0:
        return soft
    hard = -float(log_softmax(student)[np.arange(len(labels)), labels].mean())
    return alpha * hard + (1 - alpha) * tau**2 * soft


def test_alpha_zero_is_the_limit(fn):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 3, 4))
    labels = np.array([0, 3, 1])
    assert np.isclose(
        fn(student, teacher, labels, 3.0, 0.0), fn(student, teacher, labels, 3.0, 1e-9)
    )


TAU_SQUARED_SKIPPED = Bug(
    id="tau-squared-skipped",
    title=Text("tau^2 depends on alpha", "tau^2 取决于 alpha"),
    story=Text(
        "A toolkit multiplies the soft term by tau^2, but returns early where the hard labels have "
        "no weight, without the factor. Switching the labels off makes the gradient sixteen times "
        "smaller at tau = 4.",
        "一个工具包给软标签项乘了 tau^2，但硬标签权重为零时提前返回，没有乘这个因子。"
        "tau = 4 时，关掉硬标签会让梯度缩小到十六分之一。",
    ),
    statement=Text(
        "`kd_loss(student, teacher, labels, tau, alpha)` returns "
        "$\\alpha\\,\\mathrm{CE} + (1 - \\alpha)\\,\\tau^2\\,\\mathrm{KL}$ as a float. CE is the "
        "cross-entropy of `student` (B, C) with integer `labels` (B,), without temperature; KL is "
        "KL(teacher || student) of the softmaxes of logits/tau. Both are means over B, in nats; "
        "alpha is from 0 to 1, both included.",
        "`kd_loss(student, teacher, labels, tau, alpha)` 返回浮点数 "
        "$\\alpha\\,\\mathrm{CE} + (1 - \\alpha)\\,\\tau^2\\,\\mathrm{KL}$。CE 是 `student` (B, C) 与"
        "整数 `labels` (B,) 的交叉熵，不带温度；KL 是 logits/tau 的 softmax 之间的 "
        "KL(teacher || student)。二者都对 B 取平均，单位 nat；alpha 取 0 到 1，含两端。",
    ),
    right=kd_loss,
    wrong=tau_squared_with_labels_only,
    symptom=Text(
        "alpha = 0 must be the limit of a small alpha; at tau = 1 nothing shows.",
        "alpha = 0 应当是 alpha 很小时的极限；tau = 1 时看不出问题。",
    ),
    witness=test_alpha_zero_is_the_limit,
    topic="distillation",
    tracks=("interview", "class"),
    exercise="soft-targets",
)

BUGS = (SOFT_CE_MEAN, KL_MEAN, TAU_SQUARED_SKIPPED)

"""Distillation: what the student is compared with."""

import numpy as np

from npformer import ops
from npformer.distill.terms import HiddenTerm, LogitMseTerm
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.text import Text
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


def compared_with_the_label(student, teacher, labels):
    return float(((student[:, 0] - labels) ** 2).mean())


def test_the_teacher_is_the_target(fn):
    teacher = np.array([[1.5], [4.0], [2.0]])
    assert abs(fn(teacher, teacher, np.array([5.0, 0.0, 3.0]))) < 1e-9


REGRESSION_LABEL = Bug(
    id="regression-against-the-label",
    title=Text("Distillation without the teacher", "没有教师的蒸馏"),
    story=Text(
        "For STS-B, where the model predicts a number, TinyBERT's released script compares the "
        "student with the label: the teacher runs, and its answer is thrown away. Its authors say in "
        "issue 128 that this is a mistake and that the paper's figures used the teacher's answer.",
        "STS-B 任务要预测一个数。TinyBERT 发布的脚本在这里把学生与标签比较：教师照样运行，答案却被丢掉。"
        "作者在 issue 128 中承认这是错误，论文中的结果用的是教师的答案。",
    ),
    statement=Text(
        "`regression_loss(student, teacher, labels)` is the distillation loss of a regressor: the "
        "mean squared difference of `student` and `teacher`, both (B, 1), as a float. `labels` (B,) "
        "are handed over by the trainer and are not part of it.",
        "`regression_loss(student, teacher, labels)` 是回归模型的蒸馏损失：`student` 与 `teacher`"
        "（均为 (B, 1)）之差的平方的平均值（浮点数）。`labels` (B,) 由训练循环一并传入，不参与计算。",
    ),
    right=regression_loss,
    wrong=compared_with_the_label,
    symptom=Text(
        "Labels that differ from the teacher's answers. In the data they are close, so no curve "
        "gives it away.",
        "让标签与教师的答案不同。真实数据里二者很接近，损失曲线看不出来。",
    ),
    witness=test_the_teacher_is_the_target,
    topic="distillation",
    tracks=("interview", "class"),
    exercise="hidden-loss",
    acknowledged="huawei-noah/Pretrained-Language-Model, issue 128",
)


def hidden_loss(student, teacher, w, keep):
    """Return the mean squared error of student (B, T, I) @ w (I, O) with teacher (B, T, O)."""
    term = HiddenTerm(levels=((0, 0),), projections=("fit",), params={"fit.w": w})
    loss, _ = term.forward(ModelOutput(hidden=(student,)), ModelOutput(hidden=(teacher,)), keep)
    return loss


def padding_is_distilled(student, teacher, w, keep):
    return float(((student @ w - teacher) ** 2).mean())


def test_padding_changes_nothing(fn):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4, 5))
    w = rng.normal(size=(3, 5))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    other = np.where(keep[:, :, None], student, 9.0)
    assert np.isclose(fn(other, teacher, w, keep), fn(student, teacher, w, keep))


HIDDEN_PADDING = Bug(
    id="hidden-loss-counts-padding",
    title=Text("The student learns the teacher's padding", "学生在学教师的填充"),
    story=Text(
        "A released script compares whole arrays of hidden states. What a teacher computes at a "
        "padded place is read by nobody, but the student spends its capacity on it, and the more "
        "the longer the other sentences of the batch are.",
        "一个公开的脚本直接比较整个隐藏状态数组。教师在填充位置算出的东西没人使用，学生却要耗费容量去模仿，"
        "而且同批的其他句子越长，浪费得越多。",
    ),
    statement=Text(
        "`hidden_loss(student, teacher, w, keep)` returns the mean of "
        "$(h^S W - h^T)^2$ over the real tokens and the teacher's O features, as a float. `student` "
        "is (B, T, I), `w` (I, O), `teacher` (B, T, O), `keep` boolean (B, T), True = real token.",
        "`hidden_loss(student, teacher, w, keep)` 返回 $(h^S W - h^T)^2$ 在真实词元和教师的 O 个特征上的"
        "平均值（浮点数）。`student` 为 (B, T, I)，`w` 为 (I, O)，`teacher` 为 (B, T, O)，"
        "`keep` 为布尔数组 (B, T)，True = 真实词元。",
    ),
    right=hidden_loss,
    wrong=padding_is_distilled,
    symptom=Text(
        "Change the hidden states of padding: the loss must stay.",
        "改动填充位置的隐藏状态，损失应当不变。",
    ),
    witness=test_padding_changes_nothing,
    topic="distillation",
    tracks=("class",),
    exercise="hidden-loss",
)


def logits_of_both(x, w_student, w_teacher, p_drop, rng):
    """Return the logits (B, C) of student and teacher in a training step; x: (B, D), w: (D, C)."""
    dropped, _ = ops.dropout_forward(x, p_drop, rng)
    student, _ = ops.linear_forward(dropped, w_student)
    teacher, _ = ops.linear_forward(x, w_teacher)
    return student, teacher


def the_teacher_drops_too(x, w_student, w_teacher, p_drop, rng):
    def logits(w):
        return (x * (rng.random(x.shape) >= p_drop) / (1 - p_drop)) @ w

    return logits(w_student), logits(w_teacher)


def test_the_teacher_does_not_depend_on_chance(fn):
    x, w = np.ones((4, 6)), np.ones((6, 2))
    _, teacher = fn(x, w, w, 0.5, np.random.default_rng(0))
    assert np.allclose(teacher, 6)


TEACHER_IN_TRAINING = Bug(
    id="teacher-in-training-mode",
    title=Text("A teacher left in training mode", "教师还处在训练模式"),
    story=Text(
        "A script switches the student between training and evaluation and never thinks of the "
        "teacher, which is in training mode from the start: it drops a tenth of its features, "
        "another tenth at every step, and the student learns from a noisy teacher.",
        "一个脚本会在训练与评估之间切换学生，却忘了教师：它从一开始就处于训练模式，每一步都随机丢掉十分之一的"
        "特征，学生面对的是一个带噪声的教师。",
    ),
    statement=Text(
        "`logits_of_both(x, w_student, w_teacher, p_drop, rng)` returns `(student, teacher)`, the "
        "logits of two linear classifiers in a training step. `x` is (B, D), the weights (D, C). The "
        "student sees x after dropout with probability `p_drop`, drawn from `rng`; the teacher is "
        "evaluated: `x @ w_teacher`.",
        "`logits_of_both(x, w_student, w_teacher, p_drop, rng)` 返回训练步中两个线性分类器的 logits "
        "`(student, teacher)`。`x` 为 (B, D)，权重为 (D, C)。学生看到的是经过 dropout 的 x，概率为 "
        "`p_drop`，由 `rng` 抽取；教师处于评估状态：`x @ w_teacher`。",
    ),
    right=logits_of_both,
    wrong=the_teacher_drops_too,
    symptom=Text(
        "With p_drop above 0 the teacher must give the same answer whatever the generator.",
        "p_drop 大于 0 时，无论生成器如何，教师的回答都应当相同。",
    ),
    witness=test_the_teacher_does_not_depend_on_chance,
    topic="distillation",
    tracks=("interview", "class"),
    exercise="tinybert-step",
)

BUGS = (REGRESSION_LABEL, HIDDEN_PADDING, TEACHER_IN_TRAINING)

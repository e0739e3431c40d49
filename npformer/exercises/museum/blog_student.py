"""The blog post's TinyBERT: its output, its loss and its training loop."""

import numpy as np

from npformer import ops, optim
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.museum.losses import log_softmax, soft_cross_entropy
from npformer.exercises.text import Text
from npformer.layers.init import normal


def student(hidden, num_classes, rng, labels=None):
    """Return logits (B, C) of hidden (B, D) under fresh weights, or with labels (B,) the loss."""
    w_out = normal(rng, hidden.shape[1], num_classes, dtype=hidden.dtype)
    logits, _ = ops.linear_forward(hidden, w_out)
    if labels is None:
        return logits
    loss, _ = ops.cross_entropy_forward(logits, labels)
    return loss


def without_output_layer(hidden, num_classes, rng, labels=None):
    width = hidden.shape[1]
    params = {"w_last": rng.normal(size=(width, width)) * 0.02}
    hidden = hidden @ params["w_last"]
    if labels is None:
        return hidden
    logits = hidden @ params["w_out"]
    return -float(log_softmax(logits)[np.arange(len(labels)), labels].mean())


def test_one_logit_for_each_class(fn):
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(3, 5))
    assert fn(hidden, 2, rng).shape == (3, 2)
    assert abs(fn(hidden, 2, rng, np.array([0, 1, 1])) - np.log(2)) < 0.5


NO_OUTPUT_LAYER = Bug(
    id="blog-no-output-layer",
    title=Text("An output layer that is never built", "从未创建的输出层"),
    story=Text(
        "The loss of the blog post's student calls an output layer that its constructor does not "
        "make. Without a teacher the layer is not called, and the student returns D hidden "
        "features where C logits belong; with one, the first step of training stops.",
        "博客中学生模型的损失要调用一个输出层，构造函数却没有创建它。不给教师时用不到这一层，学生返回 D 个"
        "隐藏特征而不是 C 个 logits；给了教师，训练第一步就中断。",
    ),
    statement=Text(
        "`student(hidden, num_classes, rng, labels=None)` draws a small output layer (D, C) from "
        "`rng` (standard deviation 0.02, no bias) and returns the logits (B, C) of `hidden` (B, D). "
        "With integer `labels` (B,) it returns their mean cross-entropy, a float.",
        "`student(hidden, num_classes, rng, labels=None)` 用 `rng` 抽取一个小的输出层 (D, C)（标准差 "
        "0.02，无偏置），返回 `hidden` (B, D) 的 logits (B, C)。给出整数 `labels` (B,) 时返回平均交叉熵"
        "（浮点数）。",
    ),
    right=student,
    wrong=without_output_layer,
    symptom=Text(
        "Call it once each way and look at the shapes. Code that was never run is found by running it.",
        "两种方式各调用一次，看看形状。从没运行过的代码，运行一次就能发现问题。",
    ),
    witness=test_one_logit_for_each_class,
    topic="programs",
    tracks=("interview", "class"),
    exercise="tinybert-step",
)


def teacher_mixed_in(student, teacher):
    mixed = 0.7 * student + 0.3 * teacher
    return float(-(np.exp(log_softmax(teacher)) * log_softmax(mixed)).sum(axis=-1).mean())


def test_a_loss_does_not_see_what_the_student_lacks(fn):
    teacher = 8 * np.random.default_rng(0).normal(size=(3, 5))
    assert np.isclose(fn(np.zeros((3, 5)), teacher), np.log(5))


TEACHER_MIXED_IN = Bug(
    id="blog-teacher-mixed-in",
    title=Text("The teacher's logits are mixed into the student's", "把教师的 logits 掺进学生的"),
    story=Text(
        "The blog post's student answers with 0.7 of its own logits and 0.3 of the teacher's, and "
        "that mixture is compared with the teacher. A student that knows nothing gets a good mark, "
        "the gradient is cut to 0.7, and without a teacher at hand the mixture is gone.",
        "博客中的学生用自己 0.7 的 logits 加教师 0.3 的 logits 作答，再拿这个混合结果与教师比较。什么都不会的"
        "学生也能得高分，梯度被缩小到 0.7 倍；等到没有教师可用，混合也就不存在了。",
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
    wrong=teacher_mixed_in,
    symptom=Text(
        "A student of all equal logits has the loss log C whatever the teacher says. Here a surer "
        "teacher lowers it: the loss falls and nobody has learnt.",
        "logits 全部相等的学生，无论教师说什么，损失都是 log C。而这里教师越自信，损失就越低："
        "损失降了，却谁也没学到东西。",
    ),
    witness=test_a_loss_does_not_see_what_the_student_lacks,
    topic="programs",
    tracks=("interview", "class"),
    exercise="soft-targets",
)


def cross_entropy(logits, labels):
    """Return the cross-entropy, mean over the B rows, in nats; logits: (B, C), labels: (B,)."""
    loss, _ = ops.cross_entropy_forward(logits, labels)
    return loss


def index_taken_for_a_probability(logits, labels):
    return float(-(labels[:, None] * log_softmax(logits)).sum(axis=-1).mean())


def test_a_wrong_answer_costs_also_in_class_zero(fn):
    logits = np.array([[0.0, 6.0, 0.0]])
    assert fn(logits, np.array([0])) > fn(logits, np.array([1])) + 5


INDEX_AS_PROBABILITY = Bug(
    id="blog-index-as-probability",
    title=Text("A class index taken for a probability", "把类别编号当作概率"),
    story=Text(
        "The blog post's training loop hands over labels where its loss expects the teacher's "
        "distribution. An index is then a weight: class 0 costs nothing, class 2 pulls all logits "
        "of its row towards each other twice as hard as class 1.",
        "博客的训练循环把标签交给了损失，而损失期待的是教师的分布。于是编号成了权重：0 类没有代价，"
        "2 类把该行所有 logits 拉向相等的力度是 1 类的两倍。",
    ),
    statement=Text(
        "`cross_entropy(logits, labels)` returns $-\\frac1B\\sum_i \\log p_{i,\\mathrm{label}_i}$ as "
        "a float, in nats, with p the softmax of `logits` (B, C); `labels` are B integers from 0 to "
        "C - 1.",
        "`cross_entropy(logits, labels)` 返回浮点数 $-\\frac1B\\sum_i \\log p_{i,\\mathrm{label}_i}$"
        "（单位 nat），p 是 `logits` (B, C) 的 softmax；`labels` 是 B 个 0 到 C - 1 的整数。",
    ),
    right=cross_entropy,
    wrong=index_taken_for_a_probability,
    symptom=Text(
        "A wrong answer in class 0 must cost something; a right and sure one in class 2 nearly nothing.",
        "0 类答错应当有代价；2 类答对且有把握，代价应接近零。",
    ),
    witness=test_a_wrong_answer_costs_also_in_class_zero,
    topic="programs",
    tracks=("interview", "class"),
    exercise="cross-entropy",
)


def train(w, batches, num_epochs, lr):
    """Return w (D, C) after plain gradient descent, an update for each (x, labels) of each epoch."""
    params, sgd = {"w": w.copy()}, optim.Sgd(momentum=0.0)
    state = sgd.init(params)
    for _ in range(num_epochs):
        for x, labels in batches:
            logits, linear = ops.linear_forward(x, params["w"])
            _, loss = ops.cross_entropy_forward(logits, labels)
            _, dw, _ = ops.linear_backward(ops.cross_entropy_backward(1.0, loss), linear)
            sgd.update(params, {"w": dw}, state, lr)
    return params["w"]


def names_of_nothing(w, batches, num_epochs, lr):
    for _ in range(epochs):  # noqa: F821
        for x, labels in data_loader:  # noqa: F821
            dlogits = np.exp(log_softmax(x @ w))
            dlogits[np.arange(len(labels)), labels] -= 1
            w = w - lr * x.T @ dlogits / len(labels)
    return w


def test_no_epoch_trains_nothing(fn):
    w = np.random.default_rng(0).normal(size=(3, 2))
    assert np.allclose(fn(w, [(np.ones((4, 3)), np.array([0, 1, 1, 0]))], 0, 0.1), w)


UNDEFINED_NAMES = Bug(
    id="blog-undefined-names",
    title=Text("A training loop over nothing", "循环变量从未定义的训练循环"),
    story=Text(
        "The blog post's last lines loop over a number of epochs and a data loader that no line "
        "defines. Python looks a name up when the line runs: the file imports, and a reader sees "
        "nothing wrong.",
        "博客的最后几行遍历训练轮数和数据加载器，而这两个变量从未定义。Python 运行到该行才查找变量名：文件可以导入，"
        "读者也看不出问题。",
    ),
    statement=Text(
        "`train(w, batches, num_epochs, lr)` goes `num_epochs` times through the list `batches` of "
        "pairs `(x, labels)`, x (B, D), labels B integers, and each time lowers the mean "
        "cross-entropy of the logits `x @ w` by one step of plain gradient descent with rate `lr`. "
        "Returns the last `w` (D, C); the given one is not written to.",
        "`train(w, batches, num_epochs, lr)` 把列表 `batches` 遍历 `num_epochs` 遍，其元素为 "
        "`(x, labels)`，x 为 (B, D)，labels 是 B 个整数；每次对 logits `x @ w` 的平均交叉熵做一步学习率为 "
        "`lr` 的普通梯度下降。返回最后的 `w` (D, C)；传入的 `w` 不被改写。",
    ),
    right=train,
    wrong=names_of_nothing,
    symptom=Text(
        "Any call. The shortest test of a program is to run it.",
        "随便调用一次即可。对程序最短的测试，就是运行它。",
    ),
    witness=test_no_epoch_trains_nothing,
    topic="programs",
    tracks=("class",),
    exercise="tinybert-step",
)

BUGS = (NO_OUTPUT_LAYER, TEACHER_MIXED_IN, INDEX_AS_PROBABILITY, UNDEFINED_NAMES)

"""Cross-entropy with hard labels, and its gradient."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def cross_entropy(logits, labels):
    """Return the mean loss and dlogits; logits and dlogits: (..., C), labels: (...), -100 = ignored."""
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


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


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


def not_divided(logits, labels):
    return divided_by(1, logits, labels)


def divided_by_all_rows(logits, labels):
    return divided_by(labels.size, logits, labels)


def divided_by_the_batch(logits, labels):
    return divided_by(len(labels), logits, labels)


def divided_by_rows_and_classes(logits, labels):
    return divided_by(kept_count(labels) * logits.shape[-1], logits, labels)


def nothing_kept_not_guarded(logits, labels):
    return divided_by((labels != -100).sum(), logits, labels)


def ignored_rows_pushed(logits, labels):
    loss, _ = divided_by(kept_count(labels), logits, labels)
    dlogits = np.exp(log_softmax(logits)) - one_hot(logits, labels)
    return loss, dlogits / kept_count(labels)


def ignored_taken_for_class_0(logits, labels):
    return divided_by(labels.size, logits, np.maximum(labels, 0))


def labels_forgotten_in_the_gradient(logits, labels):
    loss, _ = divided_by(kept_count(labels), logits, labels)
    kept = (labels != -100)[..., None]
    return loss, np.exp(log_softmax(logits)) * kept / kept_count(labels)


def gradient_of_the_probabilities(logits, labels):
    loss, _ = divided_by(kept_count(labels), logits, labels)
    y, probs = one_hot(logits, labels), np.exp(log_softmax(logits))
    return loss, -y / probs / kept_count(labels)


def through_the_softmax_again(logits, labels):
    loss, dlogits = divided_by(kept_count(labels), logits, labels)
    probs = np.exp(log_softmax(logits))
    return loss, probs * (dlogits - (dlogits * probs).sum(axis=-1, keepdims=True))


def logarithm_of_the_softmax(logits, labels):
    _, dlogits = divided_by(kept_count(labels), logits, labels)
    log_probs, kept = np.log(np.exp(log_softmax(logits))), labels != -100
    picked = np.take_along_axis(log_probs, np.where(kept, labels, 0)[..., None], axis=-1)[..., 0]
    return -picked[kept].sum() / kept_count(labels), dlogits


def logarithm_with_a_small_number(logits, labels):
    _, dlogits = divided_by(kept_count(labels), logits, labels)
    log_probs = np.log(np.exp(log_softmax(logits)) + 1e-12)
    return -(one_hot(logits, labels) * log_probs).sum() / kept_count(labels), dlogits


def logits_not_shifted(logits, labels):
    e, y = np.exp(logits), one_hot(logits, labels)
    probs = e / e.sum(axis=-1, keepdims=True)
    kept = (labels != -100)[..., None]
    loss = -np.log(np.where(y == 1, probs, 1)).sum() / kept_count(labels)
    return loss, np.where(kept, probs - y, 0) / kept_count(labels)


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
    title=Text("Cross-entropy from logits, with its gradient", "由 logits 计算交叉熵及其梯度"),
    statement=Text(
        "`logits` is (..., C), with one or more axes in front, and `labels` (...) holds a class 0 ... C - 1 "
        "for each row, or **-100: the row is ignored**. With $p_i$ the softmax of row $i$ and $n$ the number "
        "of labels that are not ignored, the loss in nats is the mean over these:\n\n"
        "$$L = -\\frac1n \\sum_{i\\ \\mathrm{kept}} \\log p_{i,\\mathrm{label}_i}$$\n\n"
        "Return `loss, dlogits`: the number L, and its gradient with respect to the logits, (..., C). Ignored "
        "rows get a zero gradient. If nothing is kept, the loss is 0.0 and the gradient zero. Logits of size "
        "1000 must give neither infinity nor NaN.",
        "`logits` 的形状为 (..., C)，前面有一个或多个轴；`labels` 的形状为 (...)，每行是一个类别 0 ... C - 1，"
        "或者 **-100：忽略该行**。记 $p_i$ 为第 $i$ 行的 softmax，$n$ 为未被忽略的标签个数，"
        "损失是对这些行的平均，单位为 nat：\n\n"
        "$$L = -\\frac1n \\sum_{i\\ \\mathrm{kept}} \\log p_{i,\\mathrm{label}_i}$$\n\n"
        "返回 `loss, dlogits`：数值 L，以及它对 logits 的梯度，形状 (..., C)。被忽略的行梯度为零。"
        "若一行都没有保留，损失为 0.0，梯度为零。logits 达到 1000 时不能出现无穷大或 NaN。",
    ),
    reference=cross_entropy,
    library=(ops.cross_entropy_forward, ops.cross_entropy_backward),
    outputs=("loss", "dlogits"),
    cases=cross_entropy_cases,
    hints=(
        Text(
            "Never compute the logarithm of a softmax in two steps: the log-softmax is "
            "$x_j - m - \\log\\sum_l e^{x_l - m}$, with m the maximum of the row.",
            "不要分两步先算 softmax 再取对数：log-softmax 是 $x_j - m - \\log\\sum_l e^{x_l - m}$，m 为该行的最大值。",
        ),
        Text(
            "The gradient of a kept row is $(p - y)/n$, with y the one-hot row of its label; that of an "
            "ignored row is 0.",
            "保留的行，梯度为 $(p - y)/n$，y 是标签的 one-hot 行；被忽略的行为 0。",
        ),
        Text(
            "`kept = labels != -100`, `n = max(int(kept.sum()), 1)`, "
            "`y = np.arange(C) == labels[..., None]`: a row of -100 is all False. Then the loss is "
            "`-log_probs[y].sum() / n`, and the gradient `(np.exp(log_probs) - y) * kept[..., None] / n`, "
            "in the type of the logits.",
            "`kept = labels != -100`，`n = max(int(kept.sum()), 1)`，`y = np.arange(C) == labels[..., None]`："
            "标签为 -100 的行全是 False。于是损失是 `-log_probs[y].sum() / n`，"
            "梯度是 `(np.exp(log_probs) - y) * kept[..., None] / n`，类型与 logits 相同。",
        ),
    ),
    misconceptions=(
        Misconception(
            "sum-instead-of-mean",
            not_divided,
            Text(
                "the rows are summed: the loss is their mean, so that it and its gradient are divided by the "
                "number of kept labels.",
                "对各行求了和。损失是平均值，它和梯度都要除以保留的标签个数。",
            ),
        ),
        Misconception(
            "mean-over-all-rows",
            divided_by_all_rows,
            Text(
                "the mean counts the ignored rows: divide by the number of labels that are not -100.",
                "取平均时把被忽略的行也算进去了：应除以不等于 -100 的标签个数。",
            ),
        ),
        Misconception(
            "mean-over-the-batch",
            divided_by_the_batch,
            Text(
                "the sum is divided by the batch size. With tokens, (B, T, C), every kept label counts as one.",
                "和除以了批次大小。对词元 (B, T, C)，每个保留的标签都算一个。",
            ),
        ),
        Misconception(
            "mean-over-classes",
            divided_by_rows_and_classes,
            Text(
                "the mean runs over the classes as well, so that the result is C times too small: sum over the "
                "classes, and take the mean over the rows.",
                "对类别也取了平均，结果只有应有值的 1/C：应对类别求和，对行取平均。",
            ),
        ),
        Misconception(
            "nothing-kept-not-guarded",
            nothing_kept_not_guarded,
            Text(
                "where every label is ignored it divides 0 by 0: divide by `max(n, 1)`.",
                "标签全被忽略时出现 0 除以 0：应除以 `max(n, 1)`。",
            ),
        ),
        Misconception(
            "ignored-rows-pushed",
            ignored_rows_pushed,
            Text(
                "ignored rows have a gradient p, which pushes all their classes down. They are not in the loss: "
                "set their gradient to zero.",
                "被忽略的行梯度是 p，会把所有类别往下压。它们不在损失里：梯度应置零。",
            ),
        ),
        Misconception(
            "ignored-taken-for-class-0",
            ignored_taken_for_class_0,
            Text(
                "-100 was replaced by class 0 and counted. Such a replacement only keeps the index legal; its "
                "loss and gradient have to be masked afterwards, and n counts the others.",
                "-100 被换成了类别 0，并算进了损失。这种替换只是让下标合法；之后还要把它的损失和梯度屏蔽掉，n 也只数其余的行。",
            ),
        ),
        Misconception(
            "label-not-subtracted",
            labels_forgotten_in_the_gradient,
            Text(
                "the gradient is p alone: subtract 1 at the label, p - y.",
                "梯度只有 p：在标签处要减 1，即 p - y。",
            ),
        ),
        Misconception(
            "gradient-of-the-probabilities",
            gradient_of_the_probabilities,
            Text(
                "-y/p is the gradient with respect to the probabilities. One step is left: through the softmax "
                "it becomes p - y.",
                "-y/p 是对概率的梯度，还差一步：经过 softmax 后它变成 p - y。",
            ),
        ),
        Misconception(
            "softmax-backward-again",
            through_the_softmax_again,
            Text(
                "p - y is the gradient with respect to the logits already; it went through the softmax's backward "
                "once more.",
                "p - y 已经是对 logits 的梯度，却又经过了一次 softmax 的反向传播。",
            ),
        ),
        Misconception(
            "log-of-softmax",
            logarithm_of_the_softmax,
            Text(
                "the softmax is computed first and its logarithm taken then: a probability that rounds to 0 gives "
                "an infinite loss. Compute the log-softmax directly.",
                "先算 softmax 再取对数：概率舍入为 0 时损失变成无穷大。应直接计算 log-softmax。",
            ),
        ),
        Misconception(
            "small-number-in-the-log",
            logarithm_with_a_small_number,
            Text(
                "log(p + 1e-12) hides the infinity, but a sure mistake then costs 27.6 nats at most, whatever the "
                "logits. Compute the log-softmax directly.",
                "log(p + 1e-12) 掩盖了无穷大，但再离谱的错误，损失最多也只有 27.6 nat，与 logits 无关。应直接计算 log-softmax。",
            ),
        ),
        Misconception(
            "no-shift",
            logits_not_shifted,
            Text(
                "exp overflows: subtract the maximum of each row before it.",
                "exp 溢出了：先减去每行的最大值。",
            ),
        ),
    ),
    topic="calculus",
    tracks=("interview", "class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=cross_entropy_terms,
    steps=lambda logits, labels: {
        "log_probs": log_softmax(logits),
        "n": kept_count(labels),
    },
    factors=lambda logits, labels: {
        "C": logits.shape[-1],
        "n": kept_count(labels),
        "the number of rows": labels.size,
        "B": len(labels),
        "log 2": np.log(2),
    },
    docs="derivations/softmax.md",
)

EXERCISES = (CROSS_ENTROPY,)

"""Cross-entropy with smoothed labels, and its gradient."""

import numpy as np

from npformer import ops
from npformer.exercises.calculus.cross_entropy import log_softmax, one_hot
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def mass_on_the_others(logits, labels, alpha):
    y = one_hot(logits, labels)
    return with_target((1 - alpha) * y + alpha / max(y.shape[-1] - 1, 1) * (1 - y), logits)


def true_class_without_its_share(logits, labels, alpha):
    y = one_hot(logits, labels)
    return with_target((1 - alpha) * y + alpha / y.shape[-1] * (1 - y), logits)


def alpha_not_divided(logits, labels, alpha):
    return with_target((1 - alpha) * one_hot(logits, labels) + alpha, logits)


def label_not_lowered(logits, labels, alpha):
    return with_target(one_hot(logits, labels) + alpha / logits.shape[-1], logits)


def nothing_for_the_others(logits, labels, alpha):
    return with_target((1 - alpha) * one_hot(logits, labels), logits)


def alpha_the_wrong_way_round(logits, labels, alpha):
    return with_target(smoothed(logits, labels, 1 - alpha), logits)


def gradient_of_hard_labels(logits, labels, alpha):
    loss, _ = with_target(smoothed(logits, labels, alpha), logits)
    return loss, with_target(one_hot(logits, labels), logits)[1]


def loss_of_hard_labels(logits, labels, alpha):
    _, dlogits = with_target(smoothed(logits, labels, alpha), logits)
    return with_target(one_hot(logits, labels), logits)[0], dlogits


def as_a_divergence(logits, labels, alpha):
    target = smoothed(logits, labels, alpha)
    loss, dlogits = with_target(target, logits)
    entropy = -(target * np.log(np.where(target > 0, target, 1))).sum() / labels.size
    return loss - entropy, dlogits


def smoothed_and_summed(logits, labels, alpha):
    loss, dlogits = with_target(smoothed(logits, labels, alpha), logits)
    return loss * labels.size, dlogits * labels.size


def smoothed_logarithm_of_the_softmax(logits, labels, alpha):
    target = smoothed(logits, labels, alpha)
    _, dlogits = with_target(target, logits)
    return -(target * np.log(np.exp(log_softmax(logits)))).sum() / labels.size, dlogits


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
    title=Text("Label smoothing, with its gradient", "标签平滑及其梯度"),
    statement=Text(
        "Instead of 1 at its label and 0 elsewhere, the target of row $i$ is mixed with equal shares for all C "
        "classes, the label's own among them:\n\n"
        "$$t_{ic} = (1 - \\alpha)\\,[c = \\mathrm{label}_i] + \\alpha/C, \\qquad "
        "L = -\\frac1n \\sum_i \\sum_c t_{ic} \\log p_{ic}$$\n\n"
        "with $p_i$ the softmax of row $i$ and $n$ the number of rows. `logits` is (..., C), with one or more axes "
        "in front, `labels` (...) has a class for each row (none is ignored here), `alpha` is a number in [0, 1).\n\n"
        "Return `loss, dlogits`: the number L in nats, and its gradient with respect to the logits, (..., C). "
        "Logits of size 1000 must give neither infinity nor NaN.",
        "第 $i$ 行的目标不再是标签处为 1、其余为 0，而是与均匀分布混合，C 个类别各得一份，标签自己也有一份：\n\n"
        "$$t_{ic} = (1 - \\alpha)\\,[c = \\mathrm{label}_i] + \\alpha/C, \\qquad "
        "L = -\\frac1n \\sum_i \\sum_c t_{ic} \\log p_{ic}$$\n\n"
        "其中 $p_i$ 是第 $i$ 行的 softmax，$n$ 是行数。`logits` 为 (..., C)，前面有一个或多个轴；`labels` 为 (...)，每行一个类别"
        "（这里没有被忽略的行），`alpha` 是 [0, 1) 中的数。\n\n"
        "返回 `loss, dlogits`：以 nat 为单位的数值 L，以及它对 logits 的梯度，形状 (..., C)。"
        "logits 达到 1000 时不能出现无穷大或 NaN。",
    ),
    reference=label_smoothing,
    library=(ops.cross_entropy_forward, ops.cross_entropy_backward),
    outputs=("loss", "dlogits"),
    cases=label_smoothing_cases,
    hints=(
        Text(
            "Only the target is new: the derivation of p - y used nothing of y but that it sums to 1.",
            "变的只有目标：推导 p - y 时，只用到了 y 的和为 1。",
        ),
        Text(
            "$d\\mathrm{logits} = (p - t)/n$.",
            "$d\\mathrm{logits} = (p - t)/n$。",
        ),
        Text(
            "`y = np.arange(C) == labels[..., None]`, `t = (1 - alpha) * y + alpha / C`; the loss is "
            "`-(t * log_probs).sum() / n`, with the log-softmax computed directly; cast `t` to the type of the "
            "logits.",
            "`y = np.arange(C) == labels[..., None]`，`t = (1 - alpha) * y + alpha / C`；损失为 "
            "`-(t * log_probs).sum() / n`，log-softmax 要直接计算；把 `t` 转成 logits 的类型。",
        ),
    ),
    misconceptions=(
        Misconception(
            "mass-on-the-others",
            mass_on_the_others,
            Text(
                "alpha is shared among the C - 1 wrong classes. In the formula asked for, all C get alpha/C, the "
                "label too: t is 1 - alpha + alpha/C there.",
                "alpha 只分给了 C - 1 个错误类别。题目的公式里 C 个类别都得到 alpha/C，标签也有，即标签处 t 为 1 - alpha + alpha/C。",
            ),
        ),
        Misconception(
            "label-without-its-share",
            true_class_without_its_share,
            Text(
                "the label has 1 - alpha and misses its own share alpha/C: the target must sum to 1.",
                "标签处只有 1 - alpha，少了它自己的一份 alpha/C：目标之和必须为 1。",
            ),
        ),
        Misconception(
            "alpha-not-divided",
            alpha_not_divided,
            Text(
                "every class got the whole of alpha: each gets alpha/C, so that the target sums to 1.",
                "每个类别都得到了整个 alpha：应各得 alpha/C，目标之和才为 1。",
            ),
        ),
        Misconception(
            "label-not-lowered",
            label_not_lowered,
            Text(
                "what the classes get was not taken away from the label: it keeps 1 - alpha of its 1.",
                "分给各类别的部分没有从标签处扣除：标签的 1 只应保留 1 - alpha。",
            ),
        ),
        Misconception(
            "no-share-at-all",
            nothing_for_the_others,
            Text(
                "the label is lowered to 1 - alpha, but nothing is given to the classes: add alpha/C to each.",
                "标签降到了 1 - alpha，但没有分给各个类别：每一类都要加上 alpha/C。",
            ),
        ),
        Misconception(
            "alpha-and-its-complement",
            alpha_the_wrong_way_round,
            Text(
                "alpha and 1 - alpha are exchanged: alpha is the small part that is spread.",
                "alpha 和 1 - alpha 用反了：alpha 是被摊开的那一小部分。",
            ),
        ),
        Misconception(
            "gradient-not-smoothed",
            gradient_of_hard_labels,
            Text(
                "the gradient is p - y, of the hard labels. The target of the loss is t: p - t.",
                "梯度是 p - y，用的是硬标签。损失的目标是 t，应为 p - t。",
            ),
        ),
        Misconception(
            "loss-not-smoothed",
            loss_of_hard_labels,
            Text(
                "the loss looks at the label alone. Every class counts, with weight t.",
                "损失只看了标签。每个类别都要算，权重为 t。",
            ),
        ),
        Misconception(
            "divergence-instead",
            as_a_divergence,
            Text(
                "this is the divergence KL(t, p), the cross-entropy minus the entropy of t. The gradient is the "
                "same, the value is not.",
                "这是散度 KL(t, p)，即交叉熵减去 t 的熵。梯度相同，数值不同。",
            ),
        ),
        Misconception(
            "sum-instead-of-mean",
            smoothed_and_summed,
            Text(
                "the rows are summed: the loss is their mean, so that it and its gradient are divided by the number "
                "of rows.",
                "对各行求了和。损失是平均值，它和梯度都要除以行数。",
            ),
        ),
        Misconception(
            "log-of-softmax",
            smoothed_logarithm_of_the_softmax,
            Text(
                "the softmax is computed first and its logarithm taken then: a probability that rounds to 0 gives an "
                "infinite loss, here in every sure row, since all classes count. Compute the log-softmax directly.",
                "先算 softmax 再取对数：概率舍入为 0 时损失变成无穷大；这里所有类别都参与，只要某行很确定就会发生。"
                "应直接计算 log-softmax。",
            ),
        ),
    ),
    topic="calculus",
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

EXERCISES = (LABEL_SMOOTHING,)

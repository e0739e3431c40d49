"""Soft targets: the teacher's probabilities at a temperature, and tau^2."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def soft(student, teacher, tau):
    """The steps, as they should be."""
    student_probs, teacher_probs = softmax(student / tau), softmax(teacher / tau)
    rows = -(teacher_probs * log_softmax(student / tau)).sum(axis=-1)
    return student_probs, teacher_probs, rows


def without_tau_squared(student_logits, teacher_logits, tau):
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return rows.mean(), (p - q) / (tau * len(p))


def gradient_without_one_over_tau(student_logits, teacher_logits, tau):
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return tau**2 * rows.mean(), tau**2 * (p - q) / len(p)


def gradient_without_tau_squared(student_logits, teacher_logits, tau):
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return tau**2 * rows.mean(), (p - q) / (tau * len(p))


def mean_over_classes_too(student_logits, teacher_logits, tau):
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return tau**2 * rows.mean() / p.shape[1], tau * (p - q) / p.size


def summed_over_the_batch(student_logits, teacher_logits, tau):
    p, q, rows = soft(student_logits, teacher_logits, tau)
    return tau**2 * rows.sum(), tau * (p - q)


def student_without_temperature(student_logits, teacher_logits, tau):
    p, q = softmax(student_logits), softmax(teacher_logits / tau)
    rows = -(q * log_softmax(student_logits)).sum(axis=-1)
    return tau**2 * rows.mean(), tau**2 * (p - q) / len(p)


def teacher_without_temperature(student_logits, teacher_logits, tau):
    p, q = softmax(student_logits / tau), softmax(teacher_logits)
    rows = -(q * log_softmax(student_logits / tau)).sum(axis=-1)
    return tau**2 * rows.mean(), tau * (p - q) / len(p)


def student_and_teacher_swapped(student_logits, teacher_logits, tau):
    p, q, rows = soft(teacher_logits, student_logits, tau)
    return tau**2 * rows.mean(), tau * (p - q) / len(p)


def hard_label_of_the_teacher(student_logits, teacher_logits, tau):
    p, log_probs = softmax(student_logits / tau), log_softmax(student_logits / tau)
    label = np.eye(p.shape[1])[teacher_logits.argmax(axis=1)]
    return -(tau**2) * (label * log_probs).sum() / len(p), tau * (p - label) / len(p)


def teacher_mixed_into_the_student(student_logits, teacher_logits, tau):
    alpha = 0.3
    mixed = (1 - alpha) * student_logits + alpha * teacher_logits
    p, q, rows = soft(mixed, teacher_logits, tau)
    return tau**2 * rows.mean(), (1 - alpha) * tau * (p - q) / len(p)


def teachers_entropy_taken_away(student_logits, teacher_logits, tau):
    p, q, rows = soft(student_logits, teacher_logits, tau)
    entropy = -(q * log_softmax(teacher_logits / tau)).sum(axis=-1)
    return tau**2 * (rows - entropy).mean(), tau * (p - q) / len(p)


def softmax_taken_twice(student_logits, teacher_logits, tau):
    p, q, _ = soft(student_logits, teacher_logits, tau)
    return -(tau**2) * (q * log_softmax(p)).sum() / len(p), tau * (p - q) / len(p)


def logarithm_of_a_rounded_zero(student_logits, teacher_logits, tau):
    p, q, _ = soft(student_logits, teacher_logits, tau)
    return -(tau**2) * (q * np.log(p)).sum() / len(p), tau * (p - q) / len(p)


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
    title=Text("Soft targets and tau^2", "软目标与 tau^2"),
    statement=Text(
        "The student learns the teacher's probabilities, both softened by a temperature `tau`: "
        "`student_probs` = softmax(student_logits / tau), `teacher_probs` = "
        "softmax(teacher_logits / tau), over the last axis. Return the cross-entropy, times "
        "$\\tau^2$,\n\n"
        "$$L = -\\frac{\\tau^2}{B} \\sum_{b} \\sum_c p^T_{bc} \\log p^S_{bc},$$\n\n"
        "and its gradient `dstudent_logits`; the teacher is a constant. All arrays are (B, C). The "
        "sum runs over the classes, the mean over the B rows. Logits of size 2000 must give "
        "neither infinity nor NaN.",
        "学生学习教师的概率，两者都用温度 `tau` 软化：`student_probs` = softmax(student_logits / tau)，"
        "`teacher_probs` = softmax(teacher_logits / tau)，softmax 沿最后一个轴。返回乘以 $\\tau^2$ 的交叉熵\n\n"
        "$$L = -\\frac{\\tau^2}{B} \\sum_{b} \\sum_c p^T_{bc} \\log p^S_{bc},$$\n\n"
        "以及它的梯度 `dstudent_logits`；教师是常量。数组形状都是 (B, C)。对类别求和，对 B 行求平均。"
        "logits 达到 2000 时不能出现无穷大或 NaN。",
    ),
    reference=soft_targets,
    library=(ops.soft_cross_entropy_forward, ops.soft_cross_entropy_backward),
    outputs=("loss", "dstudent_logits"),
    cases=soft_targets_cases,
    hints=(
        Text(
            "With z = student_logits / tau this is an ordinary cross-entropy whose target is a row "
            "of probabilities. Its gradient at z is well known; one step of the chain rule is left.",
            "令 z = student_logits / tau，这就是普通的交叉熵，只是标签换成了一行概率。它对 z 的梯度你已经知道，"
            "再用一次链式法则即可。",
        ),
        Text(
            "$dz^S = \\frac{\\tau^2}{B} \\cdot \\frac{1}{\\tau}\\,(p^S - p^T)$: the 1/tau comes from "
            "z / tau. The probabilities differ by about 1/tau too, so without $\\tau^2$ the gradient "
            "falls as $1/\\tau^2$.",
            "$dz^S = \\frac{\\tau^2}{B} \\cdot \\frac{1}{\\tau}\\,(p^S - p^T)$：1/tau 来自 z / tau。两组概率之差"
            "本身也约为 1/tau 量级，所以没有 $\\tau^2$ 时梯度按 $1/\\tau^2$ 衰减。",
        ),
        Text(
            "`z = student_logits / tau`, `z = z - z.max(-1, keepdims=True)`, `log_probs = z - "
            "np.log(np.exp(z).sum(-1, keepdims=True))`; then `loss = -tau**2 * (teacher_probs * "
            "log_probs).sum() / B` and `tau * (np.exp(log_probs) - teacher_probs) / B`.",
            "`z = student_logits / tau`，`z = z - z.max(-1, keepdims=True)`，`log_probs = z - "
            "np.log(np.exp(z).sum(-1, keepdims=True))`；然后 `loss = -tau**2 * (teacher_probs * "
            "log_probs).sum() / B`，梯度为 `tau * (np.exp(log_probs) - teacher_probs) / B`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "tau-squared-missing",
            without_tau_squared,
            Text(
                "the factor $\\tau^2$ is missing. The gradient of softened logits falls as "
                "$1/\\tau^2$; the factor keeps its size as tau grows. TinyBERT's released code has "
                "none.",
                "缺少因子 $\\tau^2$。软化后的梯度按 $1/\\tau^2$ 衰减，乘上它，梯度才不会随 tau 增大而变小。TinyBERT "
                "发布的代码里就没有这个因子。",
            ),
        ),
        Misconception(
            "chain-rule-of-the-temperature",
            gradient_without_one_over_tau,
            Text(
                "the gradient is that at student_logits / tau; the chain rule gives a further 1/tau.",
                "这是对 student_logits / tau 的梯度；按链式法则还要再乘 1/tau。",
            ),
        ),
        Misconception(
            "tau-squared-in-the-loss-alone",
            gradient_without_tau_squared,
            Text(
                "the loss is multiplied by $\\tau^2$, its gradient is not: they must belong together.",
                "损失乘了 $\\tau^2$，梯度却没有：两者必须一致。",
            ),
        ),
        Misconception(
            "mean-over-classes",
            mean_over_classes_too,
            Text(
                "`.mean()` over (B, C) divides by the number of classes as well: sum over the "
                'classes, then mean over the rows. TinyBERT\'s released code and `KLDivLoss(reduction="mean")` '
                "have this bug.",
                "对 (B, C) 取 `.mean()` 会多除以类别数：应先对类别求和，再对行求平均。TinyBERT 发布的代码和 "
                '`KLDivLoss(reduction="mean")` 都有这个问题。',
            ),
        ),
        Misconception(
            "sum-over-the-batch",
            summed_over_the_batch,
            Text(
                "the rows are summed: divide by B, or a larger batch takes a larger step.",
                "对各行求了和：要除以 B，否则批次越大，步长就越大。",
            ),
        ),
        Misconception(
            "student-not-softened",
            student_without_temperature,
            Text(
                "only the teacher is divided by tau: a student that has the teacher's logits would "
                "not be at the minimum. Both need the temperature.",
                "只有教师除以了 tau：即使学生的 logits 与教师完全相同也不在最小值处。两边都要用温度。",
            ),
        ),
        Misconception(
            "teacher-not-softened",
            teacher_without_temperature,
            Text(
                "only the student is divided by tau: the targets must be softened with the same tau.",
                "只有学生除以了 tau：目标概率也要用同一个 tau 软化。",
            ),
        ),
        Misconception(
            "student-and-teacher-swapped",
            student_and_teacher_swapped,
            Text(
                "the two are exchanged: the teacher gives the weights p, the student the logarithm.",
                "两者用反了：教师给出权重 p，学生给出对数。",
            ),
        ),
        Misconception(
            "hard-label",
            hard_label_of_the_teacher,
            Text(
                "the teacher's argmax is taken for a label: what it says of the other classes, the "
                "soft part, is lost.",
                "把教师的 argmax 当成了硬标签：教师对其他类别的判断（软的部分）全丢了。",
            ),
        ),
        Misconception(
            "teacher-mixed-in",
            teacher_mixed_into_the_student,
            Text(
                "the teacher's logits are mixed into the student's before the loss. The student is "
                "then helped with its answer, and at test time there is no teacher: compare, do not mix.",
                "把教师的 logits 混进了学生的 logits 再算损失。这等于替学生答题，而测试时没有教师：应当比较，不应混合。",
            ),
        ),
        Misconception(
            "kl-instead",
            teachers_entropy_taken_away,
            Text(
                "this is the KL divergence, less than the cross-entropy by the teacher's entropy. Its "
                "gradient is the same, its value is not: here the cross-entropy is asked for.",
                "这是 KL 散度，比交叉熵少了教师的熵。梯度相同，数值不同：这里要的是交叉熵。",
            ),
        ),
        Misconception(
            "softmax-twice",
            softmax_taken_twice,
            Text(
                "log-softmax is applied to probabilities: it expects logits, here student_logits / tau.",
                "对概率又做了一次 log-softmax：它的输入应是 logits，即 student_logits / tau。",
            ),
        ),
        Misconception(
            "log-of-zero",
            logarithm_of_a_rounded_zero,
            Text(
                "a small probability is rounded to 0 and its logarithm is infinite: compute the "
                "log-softmax from the logits, never `np.log(softmax)`.",
                "很小的概率被舍入成 0，取对数就成了无穷大：要直接从 logits 算 log-softmax，不要写 "
                "`np.log(softmax)`。",
            ),
        ),
    ),
    topic="distillation",
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

EXERCISES = (SOFT_TARGETS,)

"""The gradient of the KL divergence, over the kept tokens of a batch."""

import numpy as np

from npformer import ops
from npformer.exercises.distillation.soft_targets import log_softmax, softmax
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def kl_backward(dloss, student_logits, teacher_logits, keep, tau):
    """Return dstudent_logits, the gradient of dloss times the KL divergence.

    Logits and result: (B, T, C). keep: (B, T), True = real token. dloss, tau: numbers.
    """
    _, cache = ops.kl_forward(student_logits, teacher_logits, tau, tau_squared=True, keep=keep)
    return ops.kl_backward(dloss, cache)


def kl_backward_cases(rng):
    """Return logits of tokens, with and without padding."""

    def case(lengths, t, c, low, part=""):
        shape = len(lengths), t, c
        student, teacher = 1.5 * rng.normal(size=(2, *shape))
        return Case(
            {
                "dloss": float(rng.uniform(0.2, 0.7)),
                "student_logits": student,
                "teacher_logits": teacher,
                "keep": np.arange(t) < np.array(lengths)[:, None],
                "tau": float(rng.uniform(low, low + 0.4)),
            },
            part,
        )

    return [
        case([3, 3], 3, 4, 1.5),
        case([4, 4, 4], 4, 7, 2.2),
        case([5, 5], 5, 3, 0.4),
        case([3, 5, 1, 4], 6, 3, 2.2, "padding"),
        case([4, 0, 2], 5, 6, 1.5, "all-padding row"),
        case([0, 0], 3, 4, 1.5, "nothing kept"),
        case([1, 1], 1, 5, 2.2, "length 1"),
        case([3, 2], 4, 1, 1.5, "one class"),
    ]


def probabilities(student_logits, teacher_logits, tau):
    return softmax(student_logits / tau), softmax(teacher_logits / tau)


def kept_only(dlogits, keep):
    return dlogits * keep[..., None]


def tokens(keep):
    return max(int(keep.sum()), 1)


def direction_reversed(dloss, student_logits, teacher_logits, keep, tau):
    p, _ = probabilities(student_logits, teacher_logits, tau)
    surprise = log_softmax(student_logits / tau) - log_softmax(teacher_logits / tau)
    d = p * (surprise - (p * surprise).sum(axis=-1, keepdims=True))
    return dloss * tau * kept_only(d, keep) / tokens(keep)


def stopped_at_the_log_probabilities(dloss, student_logits, teacher_logits, keep, tau):
    _, q = probabilities(student_logits, teacher_logits, tau)
    return -dloss * tau * kept_only(q, keep) / tokens(keep)


def stopped_at_the_probabilities(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return -dloss * tau * kept_only(q / p, keep) / tokens(keep)


def mean_over_classes(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(p - q, keep) / (tokens(keep) * p.shape[-1])


def mean_over_sequences(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(p - q, keep) / len(keep)


def mean_over_padding_too(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(p - q, keep) / keep.size


def mask_in_the_count_alone(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * (p - q) / tokens(keep)


def mean_of_means(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    lengths = np.maximum(keep.sum(axis=1), 1)[:, None, None]
    return dloss * tau * kept_only(p - q, keep) / (lengths * len(keep))


def logits_masked(dloss, student_logits, teacher_logits, keep, tau):
    mask = keep[..., None]
    p, q = probabilities(student_logits * mask, teacher_logits, tau)
    return dloss * tau * (p - q) / keep.size


def cotangent_forgotten(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return tau * kept_only(p - q, keep) / tokens(keep)


def tau_squared_forgotten(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * kept_only(p - q, keep) / (tau * tokens(keep))


def chain_rule_forgotten(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau**2 * kept_only(p - q, keep) / tokens(keep)


def temperature_forgotten(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, 1.0)
    return dloss * tau * kept_only(p - q, keep) / tokens(keep)


def truth_minus_prediction(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(q - p, keep) / tokens(keep)


def nothing_kept_divides_by_zero(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return dloss * tau * kept_only(p - q, keep) / keep.sum()


def kl_backward_terms(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    factor = dloss * tau / tokens(keep)
    return {
        "dstudent_logits": {
            "student_probs": factor * kept_only(p, keep),
            "- teacher_probs": -factor * kept_only(q, keep),
        }
    }


def kl_backward_steps(dloss, student_logits, teacher_logits, keep, tau):
    p, q = probabilities(student_logits, teacher_logits, tau)
    return {"student_probs": p, "teacher_probs": q, "n": tokens(keep)}


KL_BACKWARD = Exercise(
    id="kl-backward",
    title=Text("KL divergence of tokens: the gradient", "词元上 KL 散度的梯度"),
    statement=Text(
        "Every token has logits, (B, T, C), and `keep` (B, T) says which tokens are real; $k_{bt}$ is "
        "`keep` as 0 or 1. With "
        "`student_probs` = softmax(student_logits / tau) and `teacher_probs` = "
        "softmax(teacher_logits / tau) the loss is\n\n"
        "$$L = \\frac{\\tau^2}{n} \\sum_{b,t} k_{bt} \\operatorname{KL}(p^T_{bt} \\,\\Vert\\, "
        "p^S_{bt}) = \\frac{\\tau^2}{n} \\sum_{b,t} k_{bt} \\sum_c p^T_{btc} "
        "(\\log p^T_{btc} - \\log p^S_{btc}), \\qquad n = \\sum_{b,t} k_{bt}.$$\n\n"
        "The weight of this loss in the total is the number `dloss`. Return `dstudent_logits`, "
        "(B, T, C), the gradient of `dloss` times L; the teacher is a constant. Padded tokens get "
        "zero. If nothing is kept, all is zero. Logits are finite and of moderate size, at padding too.",
        "每个词元都有 logits，形状 (B, T, C)；`keep` (B, T) 为 True 的是真实词元，$k_{bt}$ 即取 0/1 的 `keep`。设 `student_probs` = "
        "softmax(student_logits / tau)，`teacher_probs` = softmax(teacher_logits / tau)，损失为\n\n"
        "$$L = \\frac{\\tau^2}{n} \\sum_{b,t} k_{bt} \\operatorname{KL}(p^T_{bt} \\,\\Vert\\, "
        "p^S_{bt}) = \\frac{\\tau^2}{n} \\sum_{b,t} k_{bt} \\sum_c p^T_{btc} "
        "(\\log p^T_{btc} - \\log p^S_{btc}), \\qquad n = \\sum_{b,t} k_{bt}.$$\n\n"
        "`dloss` 是这个损失在总损失中的权重（一个数）。返回 `dstudent_logits`，形状 (B, T, C)，即 `dloss` 乘以 L "
        "的梯度；教师是常量。填充词元的梯度为零；如果一个词元也不保留，则全部为零。"
        "logits（包括填充处）都是有限的，也不会很大。",
    ),
    reference=kl_backward,
    library=(ops.kl_forward, ops.kl_backward, ops.soft_cross_entropy_backward),
    outputs=("dstudent_logits",),
    cases=kl_backward_cases,
    hints=(
        Text(
            "The teacher's part, $p^T \\log p^T$, is a constant. What is left is a cross-entropy.",
            "教师那部分 $p^T \\log p^T$ 是常量，剩下的就是交叉熵。",
        ),
        Text(
            "$dz^S_{btc} = dL\\,\\frac{\\tau^2}{n}\\,\\frac{1}{\\tau}\\,k_{bt}\\,(p^S_{btc} - "
            "p^T_{btc})$.",
            "$dz^S_{btc} = dL\\,\\frac{\\tau^2}{n}\\,\\frac{1}{\\tau}\\,k_{bt}\\,(p^S_{btc} - "
            "p^T_{btc})$。",
        ),
        Text(
            "`n = max(int(keep.sum()), 1)`; then `(student_probs - teacher_probs) * keep[..., None] * "
            "(dloss * tau / n)`.",
            "`n = max(int(keep.sum()), 1)`，然后 `(student_probs - teacher_probs) * keep[..., None] * "
            "(dloss * tau / n)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "direction-reversed",
            direction_reversed,
            Text(
                "this is the gradient of KL(student, teacher). The teacher's probabilities are the "
                "weights: KL(teacher, student), which makes the student cover all the teacher does.",
                "这是 KL(学生‖教师) 的梯度。作权重的应是教师的概率：KL(教师‖学生)，它要求学生覆盖教师的全部分布。",
            ),
        ),
        Misconception(
            "stops-at-log-probs",
            stopped_at_the_log_probabilities,
            Text(
                "$-p^T$ is the gradient at the logarithms. The log-softmax is still to be undone: it adds "
                "$p^S$ times the sum of $p^T$, which is 1.",
                "$-p^T$ 是对 log 概率的梯度，还没有经过 log-softmax 的反向：要再加上 $p^S$ 乘以 $p^T$ 之和（即 1）。",
            ),
        ),
        Misconception(
            "stops-at-probs",
            stopped_at_the_probabilities,
            Text(
                "$-p^T/p^S$ is the gradient at the student's probabilities. The softmax is still to "
                "be undone.",
                "$-p^T/p^S$ 是对学生概率的梯度，还没有经过 softmax 的反向。",
            ),
        ),
        Misconception(
            "mean-over-classes",
            mean_over_classes,
            Text(
                'divided by C as well, as PyTorch\'s `KLDivLoss(reduction="mean")` does: the sum over '
                "classes is a sum.",
                '又除以了类别数 C（PyTorch 的 `KLDivLoss(reduction="mean")` 就是这样）：对类别是求和。',
            ),
        ),
        Misconception(
            "batchmean-of-tokens",
            mean_over_sequences,
            Text(
                "divided by the number of sequences B: `batchmean` divides by the first axis alone. "
                "Here the mean is over the kept tokens.",
                "只除以了序列数 B：`batchmean` 只除以第一个轴的长度。这里要对保留的词元求平均。",
            ),
        ),
        Misconception(
            "padding-in-the-mean",
            mean_over_padding_too,
            Text(
                "divided by B T: padding has no gradient here but is counted, so the loss depends on "
                "how long the batch was padded. Divide by `keep.sum()`.",
                "除以了 B T：填充虽无梯度却被计数，损失就会随填充长度变化。应除以 `keep.sum()`。",
            ),
        ),
        Misconception(
            "padding-has-a-gradient",
            mask_in_the_count_alone,
            Text(
                "the mean is over the kept tokens, but the padded ones get a gradient too: multiply by "
                "`keep[..., None]`.",
                "平均是对保留的词元取的，但填充词元也有梯度：要乘以 `keep[..., None]`。",
            ),
        ),
        Misconception(
            "mean-of-means",
            mean_of_means,
            Text(
                "each sequence is averaged by itself and then the sequences: a token of a short one "
                "counts more. All kept tokens count alike.",
                "先对每个序列求平均，再对序列求平均：短序列的词元权重更大。所有保留的词元应同等对待。",
            ),
        ),
        Misconception(
            "logits-masked",
            logits_masked,
            Text(
                "the student's logits are set to zero in the padding, which makes a uniform prediction of "
                "them, not none. Mask the loss of a token, or its gradient.",
                "把填充处的学生 logits 置零，这只是变成均匀预测，并没有去掉它。应当屏蔽的是词元的损失或梯度。",
            ),
        ),
        Misconception(
            "cotangent-forgotten",
            cotangent_forgotten,
            Text(
                "dloss is not used: it is the weight of this loss in the total.",
                "没有用到 dloss：它是该损失在总损失中的权重。",
            ),
        ),
        Misconception(
            "tau-squared-missing",
            tau_squared_forgotten,
            Text(
                "the factor $\\tau^2$ is missing; what is there is the 1/tau of the chain rule.",
                "缺少因子 $\\tau^2$；现在只有链式法则的 1/tau。",
            ),
        ),
        Misconception(
            "chain-rule-of-the-temperature",
            chain_rule_forgotten,
            Text(
                "the chain rule through z / tau gives a further 1/tau, so $\\tau^2$ becomes $\\tau$.",
                "z / tau 的链式法则还给出 1/tau，所以 $\\tau^2$ 变成 $\\tau$。",
            ),
        ),
        Misconception(
            "temperature-forgotten",
            temperature_forgotten,
            Text(
                "the probabilities are those of tau = 1: both must be softened.",
                "概率是按 tau = 1 算的：两边都要用 tau 软化。",
            ),
        ),
        Misconception(
            "sign",
            truth_minus_prediction,
            Text(
                "truth minus prediction: the gradient is prediction minus truth, student minus teacher.",
                "成了真值减预测：梯度是预测减真值，即学生减教师。",
            ),
        ),
        Misconception(
            "nothing-kept",
            nothing_kept_divides_by_zero,
            Text(
                "with nothing kept this is 0/0: divide by at least 1.",
                "一个词元也不保留时是 0/0：除数至少取 1。",
            ),
        ),
    ),
    topic="distillation",
    tracks=("class", "gradcheck"),
    difficulty=2,
    minutes=12,
    terms=kl_backward_terms,
    steps=kl_backward_steps,
    factors=lambda dloss, student_logits, teacher_logits, keep, tau: {
        "tau": tau,
        "dloss": dloss,
        "n": tokens(keep),
        "B": keep.shape[0],
        "T": keep.shape[1],
        "C": student_logits.shape[2],
    },
    docs="derivations/distillation.md",
)

EXERCISES = (KL_BACKWARD,)

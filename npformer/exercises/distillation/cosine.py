"""DistilBERT's cosine loss on the last hidden states."""

import numpy as np

from npformer import ops
from npformer.exercises.distillation.pkd import unit
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def cosine_loss(student_hidden, teacher_hidden, keep):
    """Return the mean of one minus the cosine, and its gradient dstudent_hidden.

    Hidden states and gradient: (B, T, D). keep: (B, T), True = real token.
    """
    loss, cache = ops.cosine_forward(student_hidden, teacher_hidden, keep)
    return loss, ops.cosine_backward(1.0, cache)


def cosine_loss_cases(rng):
    """Return hidden states of one width, with and without padding."""

    def case(lengths, t, d, part="", scale=1.0):
        student, teacher = rng.normal(size=(2, len(lengths), t, d))
        keep = np.arange(t) < np.array(lengths)[:, None]
        return Case(
            {"student_hidden": scale * student, "teacher_hidden": teacher + 0.5, "keep": keep}, part
        )

    return [
        case([3, 3], 3, 5),
        case([4, 4, 4], 4, 7),
        case([5] * 4, 5, 6, scale=3.0),
        case([2, 5, 1], 6, 4, "padding"),
        case([3, 4], 5, 7, "padding"),
        case([3, 0, 5, 2], 5, 6, "all-padding row"),
        case([0, 0], 3, 4, "nothing kept"),
        case([1, 1], 1, 5, "length 1"),
        case([4, 2, 3], 5, 7, "long vectors", 1e4),
    ]


def parts(student_hidden, teacher_hidden, keep):
    """Unit vectors, cosines and the number of kept tokens."""
    x, t = unit(student_hidden), unit(teacher_hidden)
    return x, t, (x * t).sum(axis=-1, keepdims=True), max(int(keep.sum()), 1)


def right(student_hidden, teacher_hidden, keep):
    x, t, cos, n = parts(student_hidden, teacher_hidden, keep)
    mask = keep[..., None]
    length = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    return (mask * (1 - cos)).sum() / n, mask * (cos * x - t) / (length * n)


def one_minus_forgotten(student_hidden, teacher_hidden, keep):
    _, _, cos, n = parts(student_hidden, teacher_hidden, keep)
    return (keep[..., None] * cos).sum() / n, -right(student_hidden, teacher_hidden, keep)[1]


def minus_the_cosine(student_hidden, teacher_hidden, keep):
    _, _, cos, n = parts(student_hidden, teacher_hidden, keep)
    return -(keep[..., None] * cos).sum() / n, right(student_hidden, teacher_hidden, keep)[1]


def gradient_sign(student_hidden, teacher_hidden, keep):
    loss, d = right(student_hidden, teacher_hidden, keep)
    return loss, -d


def plain_product(student_hidden, teacher_hidden, keep):
    mask, n = keep[..., None], max(int(keep.sum()), 1)
    product = (student_hidden * teacher_hidden).sum(axis=-1, keepdims=True)
    return (mask * (1 - product)).sum() / n, mask * -teacher_hidden / n


def length_as_a_constant(student_hidden, teacher_hidden, keep):
    _, t, _, n = parts(student_hidden, teacher_hidden, keep)
    length = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    loss, _ = right(student_hidden, teacher_hidden, keep)
    return loss, keep[..., None] * -t / (length * n)


def one_over_length_forgotten(student_hidden, teacher_hidden, keep):
    loss, d = right(student_hidden, teacher_hidden, keep)
    return loss, d * np.linalg.norm(student_hidden, axis=-1, keepdims=True)


def teachers_length(student_hidden, teacher_hidden, keep):
    loss, d = right(student_hidden, teacher_hidden, keep)
    lengths = [np.linalg.norm(a, axis=-1, keepdims=True) for a in (student_hidden, teacher_hidden)]
    return loss, d * lengths[0] / lengths[1]


def difference_of_unit_vectors(student_hidden, teacher_hidden, keep):
    x, t, _, n = parts(student_hidden, teacher_hidden, keep)
    length = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    loss, _ = right(student_hidden, teacher_hidden, keep)
    return loss, keep[..., None] * (x - t) / (length * n)


def for_the_teacher(student_hidden, teacher_hidden, keep):
    loss, _ = right(student_hidden, teacher_hidden, keep)
    return loss, right(teacher_hidden, student_hidden, keep)[1]


def padding_counted(student_hidden, teacher_hidden, keep):
    return right(student_hidden, teacher_hidden, np.ones_like(keep))


def divided_by_all_tokens(student_hidden, teacher_hidden, keep):
    loss, d = right(student_hidden, teacher_hidden, keep)
    share = keep.sum() / keep.size
    return loss * share, d * share


def padding_has_a_gradient(student_hidden, teacher_hidden, keep):
    loss, _ = right(student_hidden, teacher_hidden, keep)
    _, d = right(student_hidden, teacher_hidden, np.ones_like(keep))
    return loss, d * keep.size / max(int(keep.sum()), 1)


def padding_is_a_miss(student_hidden, teacher_hidden, keep):
    _, _, cos, n = parts(student_hidden, teacher_hidden, keep)
    _, d = right(student_hidden, teacher_hidden, keep)
    return (1 - keep[..., None] * cos).sum() / n, d


def summed(student_hidden, teacher_hidden, keep):
    loss, d = right(student_hidden, teacher_hidden, keep)
    return loss * keep.sum(), d * keep.sum()


def mean_of_means(student_hidden, teacher_hidden, keep):
    each = [
        right(student_hidden[i : i + 1], teacher_hidden[i : i + 1], keep[i : i + 1])
        for i in range(len(keep))
    ]
    return np.mean([loss for loss, _ in each]), np.concatenate([d for _, d in each]) / len(keep)


def whole_sequences_compared(student_hidden, teacher_hidden, keep):
    b, mask = len(keep), keep[..., None]
    flat = [(a * mask).reshape(b, 1, -1) for a in (student_hidden, teacher_hidden)]
    some = keep.any(axis=1)
    d = np.zeros_like(student_hidden)
    if not some.any():
        return 0.0, d
    loss, dflat = right(flat[0][some], flat[1][some], np.ones((some.sum(), 1), bool))
    d[some] = dflat.reshape(-1, *student_hidden.shape[1:])
    return loss, d


def cosine_loss_terms(student_hidden, teacher_hidden, keep):
    x, t, cos, n = parts(student_hidden, teacher_hidden, keep)
    length = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    factor = keep[..., None] / (length * n)
    return {"dstudent_hidden": {"- t_unit": -factor * t, "cos x_unit": factor * cos * x}}


def cosine_loss_steps(student_hidden, teacher_hidden, keep):
    x, t, cos, n = parts(student_hidden, teacher_hidden, keep)
    return {"x_unit": x, "t_unit": t, "cos": cos[..., 0], "n": n}


COSINE_LOSS = Exercise(
    id="distilbert-cosine",
    title=Text("DistilBERT's cosine loss", "DistilBERT 的余弦损失"),
    statement=Text(
        "DistilBERT adds to its losses one that turns the student's last hidden states into the "
        "directions of the teacher's. `student_hidden` and `teacher_hidden` are (B, T, D), `keep` (B, T) "
        "is True for real tokens, and $k_{bt}$ is `keep` as 0 or 1. With `x_unit` = x / |x| and `t_unit` = "
        "t / |t|, (B, T, D), and `cos` = x_unit · t_unit, (B, T),\n\n"
        "$$L = \\frac1n \\sum_{b,t} k_{bt} (1 - \\cos_{bt}), \\qquad n = \\sum_{b,t} k_{bt}.$$\n\n"
        "Return `loss` and its gradient `dstudent_hidden`, (B, T, D); the teacher is a constant. No vector "
        "is zero. If nothing is kept, the loss is 0 and so is the gradient.",
        "DistilBERT 的损失里有一项，让学生最后一层隐藏状态转向教师的方向。`student_hidden` 与 `teacher_hidden` 为 "
        "(B, T, D)，`keep` (B, T) 为 True 的是真实词元，$k_{bt}$ 即取 0/1 的 `keep`。"
        "记 `x_unit` = x / |x|，`t_unit` = t / |t|，形状 (B, T, D)，`cos` = "
        "x_unit · t_unit，形状 (B, T)，\n\n"
        "$$L = \\frac1n \\sum_{b,t} k_{bt} (1 - \\cos_{bt}), \\qquad n = \\sum_{b,t} k_{bt}.$$\n\n"
        "返回 `loss` 及其梯度 `dstudent_hidden`，形状 (B, T, D)；教师是常量。不会出现零向量。如果什么都不保留，损失和梯度都是 0。",
    ),
    reference=cosine_loss,
    library=(ops.cosine_forward, ops.cosine_backward),
    outputs=("loss", "dstudent_hidden"),
    cases=cosine_loss_cases,
    hints=(
        Text(
            "The cosine does not change if x grows longer: its gradient is perpendicular to x, and "
            "smaller for a longer x.",
            "x 变长时余弦不变：它的梯度与 x 垂直，而且 x 越长梯度越小。",
        ),
        Text(
            "$\\partial \\cos / \\partial x = (\\hat t - \\cos\\,\\hat x) / \\lVert x \\rVert$.",
            "$\\partial \\cos / \\partial x = (\\hat t - \\cos\\,\\hat x) / \\lVert x \\rVert$。",
        ),
        Text(
            "`keep[..., None] * (cos[..., None] * x_unit - t_unit) / (length * n)`, with `length` = |x| of "
            "shape (B, T, 1) and `n = max(int(keep.sum()), 1)`.",
            "`keep[..., None] * (cos[..., None] * x_unit - t_unit) / (length * n)`，其中 `length` = |x|，形状 "
            "(B, T, 1)，`n = max(int(keep.sum()), 1)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "one-minus-missing",
            one_minus_forgotten,
            Text(
                "the cosine itself is taken for the loss: to make it small is to turn the student away. "
                "It is 1 - cos.",
                "把余弦本身当成了损失：减小它会让学生背离教师。应为 1 - cos。",
            ),
        ),
        Misconception(
            "minus-the-cosine",
            minus_the_cosine,
            Text(
                "the 1 is missing: the gradient is right, but a loss of 0 should mean that the directions "
                "agree.",
                "漏了 1：梯度是对的，但损失为 0 应表示方向一致。",
            ),
        ),
        Misconception(
            "sign",
            gradient_sign,
            Text(
                "this is the gradient of the cosine; the loss is 1 - cos, so there is a minus.",
                "这是余弦的梯度；损失是 1 - cos，要加负号。",
            ),
        ),
        Misconception(
            "plain-product",
            plain_product,
            Text(
                "the vectors are not divided by their lengths: a product is a cosine only of unit vectors.",
                "向量没有除以长度：只有单位向量的内积才是余弦。",
            ),
        ),
        Misconception(
            "length-a-constant",
            length_as_a_constant,
            Text(
                "the length of x is treated as a constant: the part of t_unit along x, cos x_unit, is to be "
                "taken away.",
                "把 x 的长度当成了常量：要从 t_unit 里减去它沿 x 的分量 cos x_unit。",
            ),
        ),
        Misconception(
            "one-over-length-missing",
            one_over_length_forgotten,
            Text(
                "1/|x| is missing: a longer vector turns less.",
                "漏了 1/|x|：向量越长，转动越小。",
            ),
        ),
        Misconception(
            "teachers-length",
            teachers_length,
            Text(
                "divided by the teacher's length, expected the student's: it is x that moves.",
                "除以了教师向量的长度，应除以学生的：移动的是 x。",
            ),
        ),
        Misconception(
            "difference-of-unit-vectors",
            difference_of_unit_vectors,
            Text(
                "t_unit - x_unit has a part along x: subtract cos x_unit, the projection, instead of x_unit.",
                "t_unit - x_unit 仍有沿 x 的分量：应减去投影 cos x_unit，而不是 x_unit。",
            ),
        ),
        Misconception(
            "gradient-for-the-teacher",
            for_the_teacher,
            Text(
                "this is the gradient for the teacher's states, which are constants.",
                "这是对教师状态的梯度，而教师是常量。",
            ),
        ),
        Misconception(
            "padding-counted",
            padding_counted,
            Text(
                "padded tokens count like real ones: keep is not used.",
                "填充词元也一样计入：没有用到 keep。",
            ),
        ),
        Misconception(
            "padding-in-the-mean",
            divided_by_all_tokens,
            Text(
                "padding is left out of the sum, but the sum is divided by B T: divide by `keep.sum()`.",
                "求和时去掉了填充，却除以 B T：应除以 `keep.sum()`。",
            ),
        ),
        Misconception(
            "padding-has-a-gradient",
            padding_has_a_gradient,
            Text(
                "the loss is masked, its gradient is not: padded tokens get zero.",
                "损失用了掩码，梯度没有：填充词元的梯度应为零。",
            ),
        ),
        Misconception(
            "padding-is-a-miss",
            padding_is_a_miss,
            Text(
                "the mask is on the cosine, not on 1 - cos: every padded token adds 1 to the loss.",
                "掩码乘在了余弦上，而不是 1 - cos 上：每个填充词元都给损失加了 1。",
            ),
        ),
        Misconception(
            "sum-over-tokens",
            summed,
            Text(
                "the tokens are summed: divide by how many are kept.",
                "对词元求了和：要除以保留的个数。",
            ),
        ),
        Misconception(
            "mean-of-means",
            mean_of_means,
            Text(
                "each sequence is averaged by itself and then the sequences: tokens of short ones count "
                "more. All kept tokens count alike.",
                "先对每个序列求平均，再对序列求平均：短序列的词元权重更大。所有保留的词元应同等对待。",
            ),
        ),
        Misconception(
            "one-vector-a-sequence",
            whole_sequences_compared,
            Text(
                "each sequence is flattened to one long vector: every token has a cosine of its own.",
                "把整个序列展平成了一个长向量：每个词元有自己的余弦。",
            ),
        ),
    ),
    topic="distillation",
    tracks=("class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=cosine_loss_terms,
    steps=cosine_loss_steps,
    factors=lambda student_hidden, teacher_hidden, keep: {
        "B": keep.shape[0],
        "T": keep.shape[1],
        "D": student_hidden.shape[2],
        "n": max(int(keep.sum()), 1),
    },
    docs="derivations/distillation.md",
)

EXERCISES = (COSINE_LOSS,)

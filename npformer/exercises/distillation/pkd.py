"""PKD: the directions of the [CLS] states of chosen layers."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def pkd_loss(student_hidden, teacher_hidden, levels):
    """Return the patient loss and its gradient dstudent_hidden.

    student_hidden and the gradient: (M + 1, B, T, D), the output of the embeddings first.
    teacher_hidden: (N + 1, B, T, D). levels: integers (P, 2), rows (m, g(m)).
    """
    m, g = levels.T
    loss, cache = ops.patient_forward(student_hidden[m, :, 0], teacher_hidden[g, :, 0])
    dstudent_hidden = np.zeros_like(student_hidden)
    np.add.at(dstudent_hidden, (m, slice(None), 0), ops.patient_backward(1.0, cache))
    return loss, dstudent_hidden


def pkd_loss_cases(rng):
    """Return hidden states of a shallow student and a deep teacher."""

    def case(levels, deep, b, t, d, part="", scale=1.0):
        shallow = max(m for m, _ in levels)
        return Case(
            {
                "student_hidden": scale * rng.normal(size=(shallow + 1, b, t, d)),
                "teacher_hidden": scale * rng.normal(size=(deep + 1, b, t, d)),
                "levels": np.array(levels),
            },
            part,
        )

    return [
        case([(1, 3)], 6, 2, 3, 5),
        case([(1, 2), (2, 4)], 6, 3, 4, 7),
        case([(1, 3), (2, 6), (3, 9)], 10, 4, 2, 6),
        case([(1, 5), (3, 2)], 7, 3, 5, 8),
        case([(1, 2), (1, 4), (2, 3)], 5, 4, 3, 6, "one layer learns from two"),
        case([(1, 2), (2, 4)], 5, 1, 3, 4, "one row"),
        case([(1, 2), (2, 4)], 5, 3, 1, 6, "length 1"),
        case([(1, 2), (2, 4)], 5, 3, 4, 7, "long vectors", 1e4),
    ]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def undo_unit(dunit, x):
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    along = (dunit * x).sum(axis=-1, keepdims=True) / length
    return (dunit - along * x / length) / length


def put(student_hidden, m, dx):
    d = np.zeros_like(student_hidden)
    np.add.at(d, (m, slice(None), 0), dx)
    return d


def cls(student_hidden, teacher_hidden, levels):
    m, g = levels.T
    return student_hidden[m, :, 0], teacher_hidden[g, :, 0], m


def not_normalised(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = x - target
    return (error**2).mean(), put(student_hidden, m, 2 * error / error.size)


def normalised_over_the_batch(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    x, target = x.swapaxes(1, 2), target.swapaxes(1, 2)
    error = unit(x) - unit(target)
    dx = undo_unit(2 * error / error.size, x).swapaxes(1, 2)
    return (error**2).mean(), put(student_hidden, m, dx)


def only_the_student_normalised(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = unit(x) - target
    return (error**2).mean(), put(student_hidden, m, undo_unit(2 * error / error.size, x))


def divided_by_the_squared_length(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    square = (x**2).sum(axis=-1, keepdims=True)
    error = x / square - target / (target**2).sum(axis=-1, keepdims=True)
    d = 2 * error / error.size
    dx = (d - 2 * x * (d * x).sum(axis=-1, keepdims=True) / square) / square
    return (error**2).mean(), put(student_hidden, m, dx)


def length_as_a_constant(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = unit(x) - unit(target)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return (error**2).mean(), put(student_hidden, m, 2 * error / error.size / length)


def one_over_length_forgotten(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = unit(x) - unit(target)
    return (error**2).mean(), put(student_hidden, m, undo_unit(2 * error / error.size, unit(x)))


def gradient_at_the_unit_vectors(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = unit(x) - unit(target)
    return (error**2).mean(), put(student_hidden, m, 2 * error / error.size)


def patient(x, target):
    error = unit(x) - unit(target)
    return (error**2).mean(), undo_unit(2 * error / error.size, x)


def all_tokens(student_hidden, teacher_hidden, levels):
    m, g = levels.T
    loss, dx = patient(student_hidden[m], teacher_hidden[g])
    d = np.zeros_like(student_hidden)
    np.add.at(d, m, dx)
    return loss, d


def mean_over_tokens_first(student_hidden, teacher_hidden, levels):
    m, g = levels.T
    loss, dx = patient(student_hidden[m].mean(axis=2), teacher_hidden[g].mean(axis=2))
    d = np.zeros_like(student_hidden)
    np.add.at(d, m, dx[:, :, None] / student_hidden.shape[2])
    return loss, d


def teacher_one_lower(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels - np.array([0, 1]))
    loss, dx = patient(x, target)
    return loss, put(student_hidden, m, dx)


def both_one_lower(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels - 1)
    loss, dx = patient(x, target)
    return loss, put(student_hidden, m, dx)


def summed_over_features(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    loss, dx = patient(x, target)
    return loss * x.shape[-1], put(student_hidden, m, dx * x.shape[-1])


def layers_summed(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    loss, dx = patient(x, target)
    return loss * len(m), put(student_hidden, m, dx * len(m))


def overwritten(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    loss, dx = patient(x, target)
    d = np.zeros_like(student_hidden)
    d[m, :, 0] = dx
    return loss, d


def pkd_loss_terms(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    d = 2 * (unit(x) - unit(target)) / x.size
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    along = (d * unit(x)).sum(axis=-1, keepdims=True) * unit(x)
    return {
        "dstudent_hidden": {
            "dx_unit / |x|": put(student_hidden, m, d / length),
            "- along x_unit": put(student_hidden, m, -along / length),
        }
    }


def pkd_loss_steps(student_hidden, teacher_hidden, levels):
    x, target, _ = cls(student_hidden, teacher_hidden, levels)
    d = 2 * (unit(x) - unit(target)) / x.size
    return {"x_unit": unit(x), "target_unit": unit(target), "dx_unit": d, "dx": undo_unit(d, x)}


PKD_LOSS = Exercise(
    id="pkd-loss",
    title=Text("Patient knowledge distillation", "耐心知识蒸馏（PKD）"),
    statement=Text(
        "PKD (Sun et al. 2019) compares the **directions** of the [CLS] states of chosen layers. "
        "`student_hidden` is (M + 1, B, T, D) and `teacher_hidden` (N + 1, B, T, D): entry 0 is the "
        "output of the embeddings, entry m that of layer m. [CLS] is token 0. The rows of `levels`, "
        "integers (P, 2), are pairs (m, g): the student's layer m learns from the teacher's layer g; a "
        "layer may stand in several rows. With `x_unit` = x / |x| and likewise `target_unit`, of "
        "shape (P, B, D),\n\n"
        "$$L = \\frac{1}{P B D} \\sum_{p,b} \\Bigl\\lVert \\frac{x_{pb}}{\\lVert x_{pb} \\rVert} - "
        "\\frac{t_{pb}}{\\lVert t_{pb} \\rVert} \\Bigr\\rVert^2, \\qquad x_{pb} = h^S_{m_p,b,0}, "
        "\\quad t_{pb} = h^T_{g_p,b,0}.$$\n\n"
        "Return `loss` and its gradient `dstudent_hidden`, (M + 1, B, T, D), zero wherever the loss does "
        "not look; the teacher is a constant. No vector is zero.",
        "PKD（Sun et al. 2019）比较所选各层 [CLS] 状态的**方向**。`student_hidden` 为 (M + 1, B, T, D)，"
        "`teacher_hidden` 为 (N + 1, B, T, D)：第 0 项是嵌入层的输出，第 m 项是第 m 层的输出。[CLS] 是第 0 个词元。"
        "`levels` 是整数数组 (P, 2)，每行 (m, g) 表示学生第 m 层学习教师第 g 层；同一层可以出现在多行里。记 `x_unit` = "
        "x / |x|，`target_unit` 同理，形状 (P, B, D)，\n\n"
        "$$L = \\frac{1}{P B D} \\sum_{p,b} \\Bigl\\lVert \\frac{x_{pb}}{\\lVert x_{pb} \\rVert} - "
        "\\frac{t_{pb}}{\\lVert t_{pb} \\rVert} \\Bigr\\rVert^2, \\qquad x_{pb} = h^S_{m_p,b,0}, "
        "\\quad t_{pb} = h^T_{g_p,b,0}.$$\n\n"
        "返回 `loss` 及其梯度 `dstudent_hidden`，形状 (M + 1, B, T, D)，损失没有用到的地方为零；教师是常量。不会出现零向量。",
    ),
    reference=pkd_loss,
    library=(ops.patient_forward, ops.patient_backward),
    outputs=("loss", "dstudent_hidden"),
    cases=pkd_loss_cases,
    hints=(
        Text(
            "Making x longer does not change its direction, so its gradient is perpendicular to x.",
            "把 x 拉长不改变方向，所以它的梯度与 x 垂直。",
        ),
        Text(
            "$d\\hat x = \\frac{2}{PBD} (\\hat x - \\hat t)$ and $dx = (d\\hat x - (d\\hat x \\cdot "
            "\\hat x)\\,\\hat x) / \\lVert x \\rVert$. A layer that stands in two rows gets the sum.",
            "$d\\hat x = \\frac{2}{PBD} (\\hat x - \\hat t)$，$dx = (d\\hat x - (d\\hat x \\cdot "
            "\\hat x)\\,\\hat x) / \\lVert x \\rVert$。出现在两行里的层，梯度要相加。",
        ),
        Text(
            "`m, g = levels.T`; `x = student_hidden[m, :, 0]`; at the end `d = "
            "np.zeros_like(student_hidden)` and `np.add.at(d, (m, slice(None), 0), dx)`.",
            "`m, g = levels.T`；`x = student_hidden[m, :, 0]`；最后 `d = np.zeros_like(student_hidden)`，"
            "`np.add.at(d, (m, slice(None), 0), dx)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "not-normalised",
            not_normalised,
            Text(
                "the states are compared as they are: PKD divides each by its length first, so that only "
                "the direction counts.",
                "直接比较了原始状态：PKD 先把每个向量除以自己的长度，只比较方向。",
            ),
        ),
        Misconception(
            "wrong-axis",
            normalised_over_the_batch,
            Text(
                "the length is taken over the batch: `axis=-1`, each state has a length of its own.",
                "长度是沿批次轴算的：应当 `axis=-1`，每个状态有自己的长度。",
            ),
        ),
        Misconception(
            "teacher-not-normalised",
            only_the_student_normalised,
            Text(
                "only the student's states are normalised: the teacher's need it as well.",
                "只归一化了学生的状态：教师的也要归一化。",
            ),
        ),
        Misconception(
            "square-root-missing",
            divided_by_the_squared_length,
            Text(
                "divided by the squared length: the square root is missing.",
                "除以了长度的平方：漏了开方。",
            ),
        ),
        Misconception(
            "length-a-constant",
            length_as_a_constant,
            Text(
                "the length of x is treated as a constant. It depends on x too: take the part of the "
                "gradient along x away.",
                "把 x 的长度当成了常量。它也依赖 x：要减去梯度沿 x 方向的分量。",
            ),
        ),
        Misconception(
            "one-over-length-missing",
            one_over_length_forgotten,
            Text(
                "the part along x is gone, but 1/|x| is missing: a longer vector turns less.",
                "沿 x 的分量去掉了，但漏了 1/|x|：向量越长，转动越小。",
            ),
        ),
        Misconception(
            "stops-at-the-unit-vectors",
            gradient_at_the_unit_vectors,
            Text(
                "this is the gradient at the unit vectors: the normalisation is still to be undone.",
                "这是对单位向量的梯度：还没有经过归一化的反向。",
            ),
        ),
        Misconception(
            "all-tokens",
            all_tokens,
            Text(
                "all tokens are compared: PKD looks at [CLS] alone, token 0.",
                "比较了所有词元：PKD 只看 [CLS]，即第 0 个词元。",
            ),
        ),
        Misconception(
            "mean-over-tokens",
            mean_over_tokens_first,
            Text(
                "the tokens are averaged to one state: PKD takes the state of [CLS], token 0.",
                "对所有词元求了平均：PKD 用的是 [CLS]（第 0 个词元）的状态。",
            ),
        ),
        Misconception(
            "teacher-one-lower",
            teacher_one_lower,
            Text(
                "the teacher's layers are one too low: entry 0 is the output of the embeddings, so layer g "
                "is entry g, not g - 1.",
                "教师的层号小了 1：第 0 项是嵌入层的输出，所以第 g 层是下标 g，不是 g - 1。",
            ),
        ),
        Misconception(
            "both-one-lower",
            both_one_lower,
            Text(
                "both layers are one too low: entry 0 is the output of the embeddings, so layer m is entry m.",
                "两边的层号都小了 1：第 0 项是嵌入层的输出，所以第 m 层就是下标 m。",
            ),
        ),
        Misconception(
            "sum-over-features",
            summed_over_features,
            Text(
                "the squared distance is not divided by D: it is a mean squared error.",
                "距离的平方没有除以 D：这里是均方误差。",
            ),
        ),
        Misconception(
            "layers-summed",
            layers_summed,
            Text(
                "the pairs of layers are summed: here the mean is over them too.",
                "对各层对求了和：这里对层对也取平均。",
            ),
        ),
        Misconception(
            "overwritten",
            overwritten,
            Text(
                "a student layer with two teacher layers keeps only the last gradient: add them up, "
                "`np.add.at`.",
                "学习两个教师层的学生层只留下了最后一个梯度：要相加，用 `np.add.at`。",
            ),
        ),
    ),
    topic="distillation",
    tracks=("class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=pkd_loss_terms,
    steps=pkd_loss_steps,
    factors=lambda student_hidden, teacher_hidden, levels: {
        "P": len(levels),
        "B": student_hidden.shape[1],
        "D": student_hidden.shape[3],
        "T": student_hidden.shape[2],
    },
    docs="derivations/distillation.md",
)

EXERCISES = (PKD_LOSS,)

"""Which teacher layer a student layer learns from."""

import math

import numpy as np

from npformer import distill
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def layer_mapping(strategy, num_student, num_teacher):
    """Return g(0) .. g(M) as an integer array (M + 1,), or an empty one if there is no mapping.

    strategy: "uniform", "top" or "bottom". num_student, num_teacher: M and N.
    """
    try:
        levels = distill.layer_mapping(strategy, num_student, num_teacher)
    except ValueError:
        levels = ()
    return np.array([g for _, g in levels], dtype=int)


def layer_mapping_cases(rng):
    """Return depths of students and teachers that fit, and some that do not."""

    def case(strategy, m, n, part=""):
        return Case({"strategy": strategy, "num_student": m, "num_teacher": n}, part)

    m, times = int(rng.integers(3, 6)), int(rng.integers(3, 5))
    return [
        case("uniform", 2, 6),
        case("uniform", m, m * times),
        case("uniform", 4, 12),
        case("top", m, m + int(rng.integers(2, 5))),
        case("top", 4, 12),
        case("bottom", m, m + int(rng.integers(2, 5))),
        case("uniform", 5, 5, "same depth"),
        case("top", 3, 3, "same depth"),
        case("bottom", 4, 4, "same depth"),
        case("uniform", 1, 7, "one layer"),
        case("top", 1, 6, "one layer"),
        case("bottom", 1, 5, "one layer"),
        case("uniform", 5, 12, "does not divide"),
        case("uniform", m, m * times + 1, "does not divide"),
        case("uniform", 4, 2, "student too deep"),
        case("uniform", 5, 3, "student too deep"),
        case("top", 5, 3, "student too deep"),
        case("bottom", 4, 2, "student too deep"),
    ]


NONE = np.zeros(0, dtype=int)


def right(strategy, num_student, num_teacher):
    m = np.arange(num_student + 1)
    if strategy == "uniform":
        return NONE if num_teacher % num_student else m * (num_teacher // num_student)
    if num_student > num_teacher:
        return NONE
    return np.where(m > 0, m + num_teacher - num_student, 0) if strategy == "top" else m


def counted_from_zero(strategy, num_student, num_teacher):
    g = right(strategy, num_student, num_teacher)
    return np.where(g > 0, g - 1, 0)


def everything_one_lower(strategy, num_student, num_teacher):
    return right(strategy, num_student, num_teacher) - 1


def embeddings_left_out(strategy, num_student, num_teacher):
    return right(strategy, num_student, num_teacher)[1:]


def embeddings_shifted_at_the_top(strategy, num_student, num_teacher):
    g = right(strategy, num_student, num_teacher)
    if strategy == "top" and g.size:
        return g + np.eye(len(g), dtype=int)[0] * (num_teacher - num_student)
    return g


def top_and_bottom_swapped(strategy, num_student, num_teacher):
    other = {"top": "bottom", "bottom": "top"}.get(strategy, strategy)
    return right(other, num_student, num_teacher)


def step_rounded_down(strategy, num_student, num_teacher):
    if strategy == "uniform" and num_student <= num_teacher:
        return np.arange(num_student + 1) * (num_teacher // num_student)
    return right(strategy, num_student, num_teacher)


def each_rounded_down(strategy, num_student, num_teacher):
    if strategy == "uniform" and num_student <= num_teacher:
        return np.arange(num_student + 1) * num_teacher // num_student
    return right(strategy, num_student, num_teacher)


def step_rounded_up(strategy, num_student, num_teacher):
    if strategy == "uniform" and num_student <= num_teacher:
        return np.arange(num_student + 1) * math.ceil(num_teacher / num_student)
    return right(strategy, num_student, num_teacher)


def first_of_each_group(strategy, num_student, num_teacher):
    g = right(strategy, num_student, num_teacher)
    if strategy == "uniform" and g.size:
        return np.where(g > 0, g - num_teacher // num_student + 1, 0)
    return g


def top_too_deep(strategy, num_student, num_teacher):
    if strategy == "top":
        m = np.arange(num_student + 1)
        return np.where(m > 0, m + num_teacher - num_student, 0)
    return right(strategy, num_student, num_teacher)


def bottom_too_deep(strategy, num_student, num_teacher):
    if strategy == "bottom":
        return np.arange(num_student + 1)
    return right(strategy, num_student, num_teacher)


LAYER_MAPPING = Exercise(
    id="layer-mapping",
    title=Text("Layer mapping", "层映射"),
    statement=Text(
        "A student of M = `num_student` layers learns from a teacher of N = `num_teacher` layers. "
        "Return the integer array g(0), g(1), ..., g(M), of shape (M + 1,): layer m learns from the "
        "teacher's layer g(m). Layers are counted from 1; 0 is the output of the embeddings, which "
        "learns from the embeddings: g(0) = 0. M and N are at least 1, and `strategy` is one of three; "
        "for m = 1 .. M\n\n"
        '- `"uniform"`: $g(m) = m N / M$, only if M divides N;\n'
        '- `"top"`: the last M layers, $g(m) = m + N - M$, only if $M \\le N$;\n'
        '- `"bottom"`: the first M layers, $g(m) = m$, only if $M \\le N$.\n\n'
        "Where a strategy has no mapping, return an empty integer array, of shape (0,), and do not round. "
        "(In the library that is an error.)",
        "M = `num_student` 层的学生向 N = `num_teacher` 层的教师学习。返回整数数组 g(0), g(1), ..., g(M)，形状 "
        "(M + 1,)：学生第 m 层学习教师第 g(m) 层。层从 1 数起；0 表示嵌入层的输出，它向教师的嵌入层学习：g(0) = 0。"
        "M 和 N 至少为 1，`strategy` 是以下三者之一；对 m = 1 .. M：\n\n"
        '- `"uniform"`：$g(m) = m N / M$，仅当 M 整除 N；\n'
        '- `"top"`：最后 M 层，$g(m) = m + N - M$，仅当 $M \\le N$；\n'
        '- `"bottom"`：最前 M 层，$g(m) = m$，仅当 $M \\le N$。\n\n'
        "策略给不出映射时，返回空的整数数组，形状 (0,)，不要取整凑数。（库里这是一个错误。）",
    ),
    reference=layer_mapping,
    library=(distill.layer_mapping,),
    outputs=("g",),
    cases=layer_mapping_cases,
    hints=(
        Text(
            "A model of L layers has L + 1 hidden states: hidden[0] comes before the first layer. What is "
            "hidden[m] learning from?",
            "L 层的模型有 L + 1 个隐藏状态：hidden[0] 在第一层之前。hidden[m] 应当学习哪一个？",
        ),
        Text(
            "With `m = np.arange(M + 1)`, uniform is `m * (N // M)` and top is `m + N - M`, but for "
            "m = 0.",
            "令 `m = np.arange(M + 1)`，uniform 为 `m * (N // M)`，top 为 `m + N - M`，但 m = 0 除外。",
        ),
        Text(
            "`np.where(m > 0, m + N - M, 0)` for top; `np.zeros(0, dtype=int)` if `N % M` (uniform) or "
            "M > N.",
            "top：`np.where(m > 0, m + N - M, 0)`；若 `N % M` 不为 0（uniform）或 M > N，则 "
            "`np.zeros(0, dtype=int)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "counted-from-zero",
            counted_from_zero,
            Text(
                "layers are counted from 0 here. The list of scores begins with layer 1, so there the "
                "index is g - 1; the list of hidden states begins with the embeddings, so there it is g.",
                "这里把层从 0 数起了。分数列表从第 1 层开始，下标是 g - 1；隐藏状态列表从嵌入层开始，下标就是 g。",
            ),
        ),
        Misconception(
            "all-one-lower",
            everything_one_lower,
            Text(
                "all of g is one too low, g(0) = -1 too, which Python takes for the last layer.",
                "所有 g 都小了 1，连 g(0) 也成了 -1，而 Python 会把它当作最后一层。",
            ),
        ),
        Misconception(
            "embeddings-left-out",
            embeddings_left_out,
            Text(
                "g(0) is missing: the output of the embeddings learns too.",
                "漏了 g(0)：嵌入层的输出也要学习。",
            ),
        ),
        Misconception(
            "embeddings-from-a-layer",
            embeddings_shifted_at_the_top,
            Text(
                '"top" moves the embeddings too: g(0) is 0 in every strategy.',
                '"top" 把嵌入层也移动了：任何策略中 g(0) 都是 0。',
            ),
        ),
        Misconception(
            "top-and-bottom-swapped",
            top_and_bottom_swapped,
            Text(
                '"top" is the layers next to the output, "bottom" those next to the embeddings.',
                '"top" 是靠近输出的层，"bottom" 是靠近嵌入的层。',
            ),
        ),
        Misconception(
            "step-rounded-down",
            step_rounded_down,
            Text(
                "N // M is taken for N / M where M does not divide N: the last layer then learns from one "
                "below the teacher's last. Return an empty array.",
                "M 不整除 N 时用 N // M 代替了 N / M：最后一层就学不到教师的最后一层。应返回空数组。",
            ),
        ),
        Misconception(
            "each-rounded-down",
            each_rounded_down,
            Text(
                "m N / M is rounded down where M does not divide N: uneven steps are no uniform mapping. "
                "Return an empty array.",
                "M 不整除 N 时把 m N / M 向下取整：步长不等就不是 uniform。应返回空数组。",
            ),
        ),
        Misconception(
            "step-rounded-up",
            step_rounded_up,
            Text(
                "N / M is rounded up where M does not divide N: the last layers ask for teacher layers "
                "that do not exist. Return an empty array.",
                "M 不整除 N 时把 N / M 向上取整：后面的层会用到教师不存在的层。应返回空数组。",
            ),
        ),
        Misconception(
            "first-of-each-group",
            first_of_each_group,
            Text(
                "each student layer has the first of its N/M teacher layers, expected the last: the "
                "student's last layer learns from the teacher's last.",
                "每个学生层取了对应 N/M 层中的第一层，应取最后一层：学生最后一层学习教师最后一层。",
            ),
        ),
        Misconception(
            "top-too-deep",
            top_too_deep,
            Text(
                '"top" with M > N gives layers below 1: return an empty array.',
                'M > N 时 "top" 给出了小于 1 的层号：应返回空数组。',
            ),
        ),
        Misconception(
            "bottom-too-deep",
            bottom_too_deep,
            Text(
                '"bottom" with M > N asks for layers above the teacher\'s last: return an empty array.',
                'M > N 时 "bottom" 用到了超过教师最后一层的层号：应返回空数组。',
            ),
        ),
    ),
    topic="distillation",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=8,
    float32=False,
    docs="derivations/distillation.md",
)

EXERCISES = (LAYER_MAPPING,)

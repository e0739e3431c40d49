"""Which teacher layer a student layer learns from."""

import math

import numpy as np

from npformer import distill
from npformer.exercises.exercise import Case, Exercise


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


LAYER_MAPPING = Exercise(
    id="layer-mapping",
    title="Layer mapping",
    statement=r"""
        A student of M = `num_student` layers learns from a teacher of N = `num_teacher` layers.
        Return the integer array g(0), g(1), ..., g(M), of shape (M + 1,): layer m learns from the
        teacher's layer g(m). Layers are counted from 1; 0 is the output of the embeddings, which
        learns from the embeddings: g(0) = 0. M and N are at least 1, and `strategy` is one of
        three; for m = 1 .. M

        - `"uniform"`: $g(m) = m N / M$, only if M divides N;
        - `"top"`: the last M layers, $g(m) = m + N - M$, only if $M \le N$;
        - `"bottom"`: the first M layers, $g(m) = m$, only if $M \le N$.

        Where a strategy has no mapping, return an empty integer array, of shape (0,), and do not
        round. (In the library that is an error.)""",
    reference=layer_mapping,
    library=(distill.layer_mapping,),
    outputs=("g",),
    cases=layer_mapping_cases,
    hints=(
        """A model of L layers has L + 1 hidden states: hidden[0] comes before the first layer. What
        is hidden[m] learning from?""",
        """With `m = np.arange(M + 1)`, uniform is `m * (N // M)` and top is `m + N - M`, but for m
        = 0.""",
        """`np.where(m > 0, m + N - M, 0)` for top; `np.zeros(0, dtype=int)` if `N % M` (uniform) or
        M > N.""",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=8,
    float32=False,
    docs="derivations/distillation.md",
)


@LAYER_MAPPING.mistake("counted-from-zero")
def counted_from_zero(strategy, num_student, num_teacher):
    """layers are counted from 0 here. The list of scores begins with layer 1, so there the index is
    g - 1; the list of hidden states begins with the embeddings, so there it is g."""
    g = right(strategy, num_student, num_teacher)
    return np.where(g > 0, g - 1, 0)


@LAYER_MAPPING.mistake("all-one-lower")
def everything_one_lower(strategy, num_student, num_teacher):
    """all of g is one too low, g(0) = -1 too, which Python takes for the last layer."""
    return right(strategy, num_student, num_teacher) - 1


@LAYER_MAPPING.mistake("embeddings-left-out")
def embeddings_left_out(strategy, num_student, num_teacher):
    """g(0) is missing: the output of the embeddings learns too."""
    return right(strategy, num_student, num_teacher)[1:]


@LAYER_MAPPING.mistake("embeddings-from-a-layer")
def embeddings_shifted_at_the_top(strategy, num_student, num_teacher):
    """ "top" moves the embeddings too: g(0) is 0 in every strategy."""
    g = right(strategy, num_student, num_teacher)
    if strategy == "top" and g.size:
        return g + np.eye(len(g), dtype=int)[0] * (num_teacher - num_student)
    return g


@LAYER_MAPPING.mistake("top-and-bottom-swapped")
def top_and_bottom_swapped(strategy, num_student, num_teacher):
    """ "top" is the layers next to the output, "bottom" those next to the embeddings."""
    other = {"top": "bottom", "bottom": "top"}.get(strategy, strategy)
    return right(other, num_student, num_teacher)


@LAYER_MAPPING.mistake("step-rounded-down")
def step_rounded_down(strategy, num_student, num_teacher):
    """N // M is taken for N / M where M does not divide N: the last layer then learns from one
    below the teacher's last. Return an empty array."""
    if strategy == "uniform" and num_student <= num_teacher:
        return np.arange(num_student + 1) * (num_teacher // num_student)
    return right(strategy, num_student, num_teacher)


@LAYER_MAPPING.mistake("each-rounded-down")
def each_rounded_down(strategy, num_student, num_teacher):
    """m N / M is rounded down where M does not divide N: uneven steps are no uniform mapping.
    Return an empty array."""
    if strategy == "uniform" and num_student <= num_teacher:
        return np.arange(num_student + 1) * num_teacher // num_student
    return right(strategy, num_student, num_teacher)


@LAYER_MAPPING.mistake("step-rounded-up")
def step_rounded_up(strategy, num_student, num_teacher):
    """N / M is rounded up where M does not divide N: the last layers ask for teacher layers that do
    not exist. Return an empty array."""
    if strategy == "uniform" and num_student <= num_teacher:
        return np.arange(num_student + 1) * math.ceil(num_teacher / num_student)
    return right(strategy, num_student, num_teacher)


@LAYER_MAPPING.mistake("first-of-each-group")
def first_of_each_group(strategy, num_student, num_teacher):
    """each student layer has the first of its N/M teacher layers, expected the last: the student's
    last layer learns from the teacher's last."""
    g = right(strategy, num_student, num_teacher)
    if strategy == "uniform" and g.size:
        return np.where(g > 0, g - num_teacher // num_student + 1, 0)
    return g


@LAYER_MAPPING.mistake("top-too-deep")
def top_too_deep(strategy, num_student, num_teacher):
    """ "top" with M > N gives layers below 1: return an empty array."""
    if strategy == "top":
        m = np.arange(num_student + 1)
        return np.where(m > 0, m + num_teacher - num_student, 0)
    return right(strategy, num_student, num_teacher)


@LAYER_MAPPING.mistake("bottom-too-deep")
def bottom_too_deep(strategy, num_student, num_teacher):
    """ "bottom" with M > N asks for layers above the teacher's last: return an empty array."""
    if strategy == "bottom":
        return np.arange(num_student + 1)
    return right(strategy, num_student, num_teacher)

r"""Which teacher layer a student layer learns from.

A mapping is a tuple of pairs :math:`(m, g(m))` for :math:`m = 0 \dots M`, layers counted from 1,
with :math:`g(0) = 0`: the embeddings learn from the embeddings.

**The +1 question.** A model of L layers has L + 1 hidden states, because the output of the
embeddings comes before that of the first layer, but only L arrays of attention scores. So layer
m's hidden state is ``hidden[m]`` and its scores are ``scores[m - 1]``, and the two index formulas
of TinyBERT's released code, ``reps[i * N / M]`` for i = 0 .. M and ``atts[i * N / M + N / M - 1]``
for i = 0 .. M - 1, pick the *same* teacher layers N/M, 2N/M, ..., N. Nothing is shifted: the lists
start at different things (huawei-noah/Pretrained-Language-Model issue 166).

References
----------
Jiao et al. 2020, "TinyBERT", section 3 (the definition of g) and table 4 (the three strategies).
"""

from collections.abc import Callable, Sequence

from npformer.checks import InputError
from npformer.layers.config import check_sizes

LayerMapping = tuple[tuple[int, int], ...]  # (m, g(m)), m = 0 .. M


def uniform_mapping(num_student: int, num_teacher: int) -> LayerMapping:
    """Spread the student's layers evenly: g(m) = m N / M, TinyBERT's choice.

    Raises
    ------
    InputError
        If the student's depth does not divide the teacher's.
    """
    check_sizes(num_student=num_student, num_teacher=num_teacher)
    if num_teacher % num_student:
        divisors = [str(n) for n in range(1, num_teacher + 1) if num_teacher % n == 0]
        raise InputError(
            f"mapping: got {num_student} student and {num_teacher} teacher layers, which 'uniform' "
            f"cannot spread evenly; expected a student of {', '.join(divisors)} layers, or 'top', "
            f"'bottom' or a list of {num_student} teacher layers instead of 'uniform'"
        )
    step = num_teacher // num_student
    return tuple((m, m * step) for m in range(num_student + 1))


def top_mapping(num_student: int, num_teacher: int) -> LayerMapping:
    """Learn from the last M layers: g(m) = m + N - M."""
    _check_not_deeper(num_student, num_teacher)
    above = num_teacher - num_student
    return ((0, 0), *((m, m + above) for m in range(1, num_student + 1)))


def bottom_mapping(num_student: int, num_teacher: int) -> LayerMapping:
    """Learn from the first M layers: g(m) = m."""
    _check_not_deeper(num_student, num_teacher)
    return tuple((m, m) for m in range(num_student + 1))


def explicit_mapping(layers: Sequence[int], num_student: int, num_teacher: int) -> LayerMapping:
    """Use the given teacher layers, g(1) .. g(M), counted from 1.

    Raises
    ------
    InputError
        If there is not one for each student layer, or one is no layer of the teacher.
    """
    if len(layers) != num_student:
        raise InputError(
            f"mapping: got {len(layers)} teacher layers, expected {num_student}, "
            "one for each student layer (the embeddings need none)"
        )
    for layer in layers:
        if not 1 <= layer <= num_teacher:
            raise InputError(
                f"mapping: got teacher layer {layer}, expected 1 to {num_teacher} "
                "(layers are counted from 1)"
            )
    return ((0, 0), *enumerate((int(layer) for layer in layers), start=1))


STRATEGIES: dict[str, Callable[[int, int], LayerMapping]] = {
    "uniform": uniform_mapping,
    "top": top_mapping,
    "bottom": bottom_mapping,
}


def layer_mapping(
    strategy: str | Sequence[int], num_student: int, num_teacher: int
) -> LayerMapping:
    """Return the mapping of a strategy's name, or of an explicit list of teacher layers."""
    if not isinstance(strategy, str):
        return explicit_mapping(strategy, num_student, num_teacher)
    if strategy not in STRATEGIES:
        raise InputError(
            f"mapping: got {strategy!r}, expected {', '.join(STRATEGIES)} or a list of layers"
        )
    return STRATEGIES[strategy](num_student, num_teacher)


def _check_not_deeper(num_student: int, num_teacher: int) -> None:
    check_sizes(num_student=num_student, num_teacher=num_teacher)
    if num_student > num_teacher:
        raise InputError(
            f"mapping: got a student of {num_student} layers and a teacher of {num_teacher}, "
            "expected no more than the teacher's; a list of layers may name one twice"
        )

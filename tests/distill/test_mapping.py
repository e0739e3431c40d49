"""Layer mappings: which layer learns from which, and what cannot be mapped."""

import pytest

from npformer.checks import InputError
from npformer.distill.mapping import layer_mapping


def test_tinybert_4_learns_from_every_third_layer_of_bert_base():
    assert layer_mapping("uniform", 4, 12) == ((0, 0), (1, 3), (2, 6), (3, 9), (4, 12))


@pytest.mark.parametrize(
    ("strategy", "layers"), [("top", (10, 11, 12)), ("bottom", (1, 2, 3)), ([7, 2, 7], (7, 2, 7))]
)
def test_the_other_strategies(strategy, layers):
    assert layer_mapping(strategy, 3, 12) == ((0, 0), *enumerate(layers, start=1))


@pytest.mark.parametrize(("num_student", "num_teacher"), [(4, 12), (6, 12), (2, 4), (5, 5)])
def test_the_released_codes_two_index_formulas_pick_the_same_layers(num_student, num_teacher):
    step = num_teacher // num_student
    states = [i * step for i in range(num_student + 1)]  # of a list that starts at the embeddings
    scores = [i * step + step - 1 for i in range(num_student)]  # of one that starts at layer 1
    mapping = layer_mapping("uniform", num_student, num_teacher)
    assert [g for _, g in mapping] == states
    assert [g - 1 for m, g in mapping if m] == scores


@pytest.mark.parametrize(
    ("strategy", "sizes", "message"),
    [
        ("uniform", (4, 6), r"got 4 student and 6 teacher layers.*of 1, 2, 3, 6 layers, or 'top'"),
        ("uniform", (6, 4), "expected a student of 1, 2, 4 layers"),
        ("top", (6, 4), "expected no more than the teacher's"),
        ("bottom", (6, 4), "expected no more than the teacher's"),
        ("middle", (2, 4), "got 'middle', expected uniform, top, bottom or a list"),
        ([1, 2], (3, 4), "got 2 teacher layers, expected 3"),
        ([0, 2], (2, 4), "got teacher layer 0, expected 1 to 4"),
        ([5, 2], (2, 4), "got teacher layer 5, expected 1 to 4"),
        ("uniform", (0, 4), "num_student: got 0"),
    ],
)
def test_what_cannot_be_mapped_says_what_to_do(strategy, sizes, message):
    with pytest.raises(InputError, match=message):
        layer_mapping(strategy, *sizes)

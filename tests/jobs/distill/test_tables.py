"""The student's first tables: principal directions of the teacher's."""

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.jobs.distill.tables import initial_tables, principal_directions, projected_tables

rng = np.random.default_rng(41)
# Falling spread along turned axes, and a mean that is not zero.
TABLE = (rng.standard_normal((60, 9)) * np.linspace(3, 0.2, 9)) @ rng.standard_normal((9, 9)) + 1.5


def test_what_is_lost_is_the_sum_of_the_eigenvalues_left_out():
    values = np.sort(np.linalg.eigvalsh(TABLE.T @ TABLE))[::-1]
    for width in (1, 4, 9):
        v = principal_directions(TABLE, width)
        np.testing.assert_allclose(v.T @ v, np.eye(width), atol=1e-12)
        lost = ((TABLE - TABLE @ v @ v.T) ** 2).sum()
        np.testing.assert_allclose(lost, values[width:].sum(), rtol=1e-9, atol=1e-9)


def test_the_directions_are_those_of_the_singular_value_decomposition():
    _, _, rows = np.linalg.svd(TABLE, full_matrices=False)
    ours = principal_directions(TABLE, 4)
    signs = np.sign((ours * rows[:4].T).sum(axis=0))
    np.testing.assert_allclose(ours, rows[:4].T * signs, atol=1e-10)
    largest = np.abs(ours).argmax(axis=0)
    assert (ours[largest, np.arange(4)] > 0).all()


def test_no_other_directions_keep_the_inner_products_better():
    gram = TABLE @ TABLE.T

    def error(v):
        return np.linalg.norm(gram - (TABLE @ v) @ (TABLE @ v).T)

    least = error(principal_directions(TABLE, 3))
    centred = principal_directions(TABLE - TABLE.mean(axis=0), 3)
    others = [np.linalg.qr(rng.standard_normal((9, 3)))[0] for _ in range(20)]
    assert all(least < error(v) for v in (centred, *others))


def student(width, dtype=np.float32):
    sizes = {"token": 60, "position": 7, "segment": 2}
    tables = {f"embeddings.{n}": rng.standard_normal((s, width)) for n, s in sizes.items()}
    tables |= {"embeddings.gamma": np.ones(width), "layers.0.w": np.ones((width, width))}
    return {name: a.astype(dtype) for name, a in tables.items()}


def test_the_sum_of_the_tables_is_the_teachers_sum_projected():
    teacher = student(9, np.float64) | {"embeddings.token": TABLE}
    made = projected_tables(student(4), teacher)
    assert {name: a.shape for name, a in made.items()} == {
        "embeddings.token": (60, 4),
        "embeddings.position": (7, 4),
        "embeddings.segment": (2, 4),
    }
    assert {a.dtype for a in made.values()} == {np.dtype(np.float32)}
    whole = TABLE[11] + teacher["embeddings.position"][3] + teacher["embeddings.segment"][1]
    ours = made["embeddings.token"][11] + made["embeddings.position"][3]
    ours = ours + made["embeddings.segment"][1]
    np.testing.assert_allclose(ours, whole @ principal_directions(TABLE, 4), rtol=1e-5)


def test_a_model_without_a_table_gets_none():
    teacher = student(9)
    small = {n: a for n, a in student(4).items() if n != "embeddings.segment"}
    assert set(projected_tables(small, teacher)) == {"embeddings.token", "embeddings.position"}


def test_drawn_tables_stay_and_others_are_refused():
    assert initial_tables("drawn", student(4), student(9)) == {}
    with pytest.raises(InputError, match="--init-table: got 'svd', expected one of drawn, pca"):
        initial_tables("svd", student(4), student(9))
    with pytest.raises(InputError, match="10 wide, expected at most the teacher's 9"):
        initial_tables("pca", student(10), student(9))

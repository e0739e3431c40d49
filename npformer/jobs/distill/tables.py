r"""A student's first tables, from its teacher's: the directions in which words differ most.

A word table holds most of what a small model knows about words before it has seen any. A student
narrower than its teacher takes the best table of its width,

.. math:: E_S = E_T V, \qquad E_T^\top E_T = U \Lambda U^\top, \quad V = U_{:, 1 \dots D_S},

with the eigenvalues in falling order. No table of that width keeps the inner products of the words
better: :math:`E_S E_S^\top` is the closest matrix of rank D_S to :math:`E_T E_T^\top` (Eckart and
Young), and the squared error of :math:`E_S V^\top` is the sum of the eigenvalues left out.
"""

import numpy as np

from npformer.checks import InputError, check_shape
from npformer.layers.config import check_choice
from npformer.types import FloatArray, Params

INITIAL_TABLES = ("drawn", "pca")
TABLES = tuple(f"embeddings.{name}" for name in ("token", "position", "segment"))


def principal_directions(table: FloatArray, width: int) -> FloatArray:
    r"""Return the first eigenvectors of :math:`E^\top E`, as columns.

    The mean is not taken away: that would keep distances as well, but not inner products.

    Parameters
    ----------
    table : ndarray of shape (V, D)
    width : int
        At most D.

    Returns
    -------
    directions : ndarray of shape (D, W)
        Orthonormal, in float64; the largest entry of each is positive, so that they are the same
        wherever they are computed.

    Raises
    ------
    InputError
        If ``width`` is larger than D.
    """
    check_shape("table", table, ("V", "D"))
    check_width(width, table.shape[1])
    table = table.astype(np.float64)
    _, vectors = np.linalg.eigh(table.T @ table)  # the smallest eigenvalue first
    directions = vectors[:, ::-1][:, :width]  # (D, W)
    largest = np.abs(directions).argmax(axis=0)
    signed: FloatArray = directions * np.sign(directions[largest, np.arange(width)])
    return signed


def check_width(student: int, teacher: int) -> None:
    """Require a student's table that is no wider than the teacher's, of which it is made."""
    if student > teacher:
        raise InputError(
            f"--init-table: got pca for a student whose words are {student} wide, expected at most "
            f"the teacher's {teacher}"
        )


def projected_tables(student: Params, teacher: Params) -> Params:
    """Return the student's word, position and segment tables, made from the teacher's.

    All three along the directions of the *words*, since they are added up: the sum is then the
    teacher's, projected. Nothing is scaled, because the layer norm after the sum would undo it.

    Parameters
    ----------
    student, teacher : dict
        Arrays of two encoders with equal vocabularies, positions and segments. The student's word
        table says how wide the new ones are, whatever the width of its layers.

    Returns
    -------
    dict
        Those of `TABLES` that both have.

    References
    ----------
    Eckart and Young 1936. Deviations: TinyBERT's students start from random tables.
    """
    token = student[TABLES[0]]
    directions = principal_directions(teacher[TABLES[0]], token.shape[1])
    return {
        name: (teacher[name] @ directions).astype(token.dtype)
        for name in TABLES
        if name in student and name in teacher
    }


def initial_tables(how: str, student: Params, teacher: Params) -> Params:
    """Return what replaces the student's drawn tables: nothing, or `projected_tables`."""
    check_choice("--init-table", how, INITIAL_TABLES)
    return projected_tables(student, teacher) if how == "pca" else {}

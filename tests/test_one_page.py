"""The whole thing on one page: it stands alone, and its own check notices a wrong backward."""

import ast
from typing import Any

import nbformat
import pytest

from notebooks.lessons import MASTERS, target

CELLS = [
    cell.source
    for cell in nbformat.read(target(MASTERS[0], "en"), as_version=4).cells
    if cell.cell_type == "code"
]
# All that the check needs: whatever stands above it.
CHECKED = "\n\n".join(CELLS[: next(i for i, c in enumerate(CELLS) if "def check_grad" in c) + 1])


def imports(code: str) -> set[str]:
    """Return the packages that a cell imports."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_it_stands_alone_until_its_last_cell() -> None:
    *page, comparison = CELLS
    assert imports("\n".join(page)) == {"math", "itertools", "numpy", "matplotlib"}
    assert imports(comparison) == {"npformer"}


def test_its_gradients_are_right() -> None:
    exec(CHECKED, {})


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("dy @ w.T, rows(x).T", "-dy @ w.T, rows(x).T"),
        ("rows(dy).sum(axis=0)  # dx", "rows(dy).mean(axis=0)  # dx"),
        ("dxhat - mean(dxhat) - xhat", "dxhat - xhat"),
        ("- xhat * mean(dxhat * xhat))", ")"),
        ("cdf + x * density", "cdf"),
        ("(dprobs * probs).sum(", "dprobs.mean("),
        ("dscores + softmax_backward(", "softmax_backward("),
        ("dscaled = dscores / math.sqrt(q.shape[-1])", "dscaled = dscores"),
        ("dscaled @ k, swap(dscaled) @ q", "dscaled @ k, dscaled @ q"),
        ("return dx_q + dx_k + dx_v, g", "return dx_q + dx_k, g"),
        ("norm_backward(df + du,", "norm_backward(du,"),
        ("return da + dx, g", "return dx, g"),
        ("dpooled * (1 - pooled**2)", "dpooled"),
        ("dh[:, 0] += dcls", "dh += dcls[:, None]"),
        ("dh = dh + dhidden[i]", ""),
        ('np.add.at(g["token"], ids, dx)', 'g["token"][ids] += dx'),
        ("dlogits[picked] -= 1", ""),
        ("2 * error / n", "error / n"),
        ("tau * (p_s - p_t)", "(p_s - p_t)"),
        ("projections[name] += rows", "projections[name] = rows"),
    ],
)
def test_its_own_check_notices_a_wrong_line(right: str, wrong: str) -> None:
    assert CHECKED.count(right) == 1
    namespace: dict[str, Any] = {}
    with pytest.raises(AssertionError, match=r"the gradient of [\w.]+ is wrong"):
        exec(CHECKED.replace(right, wrong), namespace)

"""Each line of a backward names the line of the forward that it undoes, as it stands there."""

import ast
import inspect
import re
import sys

import pytest

from npformer import ops

BACKWARDS = [f for name, f in vars(ops).items() if name.endswith("_backward")]


def derives(statement):
    """Tell whether a statement computes a gradient: not zeros, and not a sum of two of them."""
    if isinstance(statement, ast.Return):
        value = statement.value
        parts = value.elts if isinstance(value, ast.Tuple) else [value]
        return not all(
            isinstance(node, ast.Name | ast.BinOp | ast.Add | ast.Load)
            for part in parts
            for node in ast.walk(part)
        )
    if not isinstance(statement, ast.Assign):
        return False
    names = {n.id for n in ast.walk(statement.targets[0]) if isinstance(n, ast.Name)}
    value = ast.unparse(statement.value)
    return any(re.match(r"d(?!rop)", name) for name in names) and "np.zeros_like" not in value


def said(lines, statement):
    """Return what the comment of a statement names: behind it, or on the line above."""
    text = lines[statement.end_lineno - 1].partition("  # ")[2]
    above = lines[statement.lineno - 2].strip()
    pieces = [text] if text else []
    if above.startswith("# "):
        pieces.insert(0, above.removeprefix("# ").rpartition(". ")[2])
    pieces = [re.sub(r"^\([\w.,/ ]+\) ?", "", piece) for piece in pieces]  # the shape
    return [part for piece in pieces if piece for part in piece.split("; ")]


@pytest.mark.parametrize("backward", BACKWARDS, ids=lambda f: f.__name__)
def test_every_line_names_the_forward_line_it_undoes(backward):
    source = inspect.getsource(backward)
    module = inspect.getsource(sys.modules[backward.__module__]).replace(source, "")
    code = "\n".join(line.partition("# ")[0] for line in module.splitlines())
    lines = source.splitlines()
    statements = [node for node in ast.walk(ast.parse(source)) if derives(node)]
    assert statements
    for statement in statements:
        named = said(lines, statement)
        assert named, f"{ast.unparse(statement)} names nothing"
        for text in named:
            pattern = ".{0,100}?".join(map(re.escape, text.split("...")))
            assert re.search(pattern, code, re.DOTALL), f"{text} is not in the forward"

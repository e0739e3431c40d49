"""Functions as text: with what they say, or without."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from npformer.checks import InputError
from npformer.exercises.text import unwrapped


def source_of(function: Callable[..., Any]) -> str:
    """Return the source, from the left margin."""
    return textwrap.dedent(inspect.getsource(function))


def bare_source(function: Callable[..., Any]) -> str:
    """Return the source without decorators and docstring: the code that a reader is to judge."""
    source = source_of(function)
    node = ast.parse(source).body[0]
    if not isinstance(node, ast.FunctionDef):
        raise TypeError(f"{function.__name__}: it is not written as a function")
    lines = source.splitlines(keepends=True)
    first = node.body[0]
    if ast.get_docstring(node) is None:
        return "".join(lines[node.lineno - 1 :])
    body = "".join(lines[first.end_lineno :]).lstrip("\n")
    return "".join(lines[node.lineno - 1 : first.lineno - 1]) + body


def paragraphs(function: Callable[..., Any], *names: str) -> dict[str, str]:
    """Return the paragraphs of a docstring by these names.

    Raises
    ------
    InputError
        If there are fewer or more.
    """
    found = unwrapped(function.__doc__ or "").split("\n\n")
    if len(found) != len(names):
        raise InputError(
            f"{function.__name__}: got a docstring of {len(found)} paragraphs, expected "
            f"{len(names)}: {', '.join(names)}"
        )
    return dict(zip(names, found, strict=True))

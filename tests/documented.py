"""Reads the shapes that docstrings and cache comments state, and holds arrays against them."""

import inspect
import re

import numpy as np

KINDS = {"": np.floating, "integer": np.integer, "boolean": np.bool_}


class Shapes:
    """Statements about shapes that must all be true with one size for each letter."""

    def __init__(self):
        self.sizes = {}
        self.waiting = []

    @staticmethod
    def sections(function):
        """Return the entries of Parameters and of Returns: name to what follows its colon."""
        found = {"Parameters": {}, "Returns": {}}
        entries = {}
        lines = inspect.cleandoc(function.__doc__).splitlines()
        for line, below in zip(lines, [*lines[1:], ""], strict=True):
            if below and set(below) == {"-"}:
                entries = found.setdefault(line, {})
            elif entry := re.match(r"(\w[\w, ]*) : (.*)", line):
                entries |= dict.fromkeys(entry[1].split(", "), entry[2])
        return found["Parameters"], found["Returns"]

    @staticmethod
    def fields(cache):
        """Return the fields of a NamedTuple with the comment on their line."""
        source = inspect.getsource(cache)
        return dict(re.findall(r"^    (\w+): [^#\n]*(?:# *(.*))?$", source, re.MULTILINE))

    def later(self, name, text, array):
        """Check now, or in `settle` if the shape is one to broadcast to."""
        if "broadcasts" in text:
            self.waiting.append((name, text, array))
        else:
            self.check(name, text, array)

    def settle(self):
        for statement in self.waiting:
            self.check(*statement)

    def check(self, name, text, value):
        """Assert one statement, such as ``integer ndarray of shape (..., T)``."""
        if isinstance(value, float):
            assert text == "float", name
            return
        kind = re.match(r"(integer|boolean)? ?ndarray", text)
        if kind:
            assert np.issubdtype(value.dtype, KINDS[kind[1] or ""]), f"{name}: {value.dtype}"
        if "of the shape of" in text:
            return  # check_pair holds every gradient against its argument
        axes = re.search(r"\(([^()]*)\)", text)
        assert axes, f"{name}: no shape in {text!r}"
        letters = [a.strip() for a in axes[1].split(",") if a.strip()]
        if "broadcasts" in text:
            shape = self._known(letters)
            assert np.broadcast_shapes(value.shape, shape) == shape, f"{name}: {text}"
        else:
            self._bind(f"{name}: {value.shape} is not {text}", letters, value.shape)

    def _known(self, letters):
        shape = ()
        for letter in letters:
            shape += self.sizes["..."] if letter == "..." else (self.sizes[letter],)
        return shape

    def _bind(self, message, letters, shape):
        free = "..." in letters
        trailing = [a for a in letters if a != "..."]
        assert len(shape) >= len(trailing) if free else len(shape) == len(trailing), message
        cut = len(shape) - len(trailing)
        if free:
            assert letters[0] == "...", message
            assert self.sizes.setdefault("...", shape[:cut]) == shape[:cut], message
        for letter, size in zip(trailing, shape[cut:], strict=True):
            expected = int(letter) if letter.isdigit() else self.sizes.setdefault(letter, size)
            assert expected == size, message

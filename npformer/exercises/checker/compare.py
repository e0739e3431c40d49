"""A learner's value against the expected one."""

from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.text import Text
from npformer.exercises.translation import message

TOLERANCE = 1e-7


class Difference(NamedTuple):
    """How far a value is from what was expected; ``message`` if it cannot even be compared."""

    error: float
    message: Text | None = None

    @property
    def right(self) -> bool:
        """Whether it is near enough; a NaN is not."""
        return self.message is None and self.error <= TOLERANCE


def difference(got: Any, expected: Any, name: str) -> Difference:
    """Compare two values, arrays or numbers, or dicts, lists and tuples of these.

    The error of an array is the largest difference over the largest entry expected, or over 1.
    """
    if isinstance(expected, dict):
        return _dicts(got, expected, name)
    if isinstance(expected, list | tuple):
        return _sequences(got, expected, name)
    if isinstance(expected, str | bool | np.bool_) or expected is None:
        return _exactly(got, expected, name)
    return _arrays(got, expected, name)


def _exactly(got: Any, expected: Any, name: str) -> Difference:
    bools = bool | np.bool_
    kinds = (isinstance(got, bools), isinstance(expected, bools))
    if (kinds == (True, True) or type(got) is type(expected)) and got == expected:
        return Difference(0.0)
    return _mismatch(name, *[Text(repr(value)[:60], repr(value)[:60]) for value in (got, expected)])


def _dicts(got: Any, expected: dict[str, Any], name: str) -> Difference:
    if not isinstance(got, dict):
        return _mismatch(name, _kind(got), message("a dict"))
    if got.keys() != expected.keys():
        keys = [", ".join(map(str, each)) or "-" for each in (got, expected)]
        return _mismatch(name, *[message("keys {each}", each=each) for each in keys])
    return _worst([difference(got[k], expected[k], f"{name}[{k!r}]") for k in expected])


def _sequences(got: Any, expected: "list[Any] | tuple[Any, ...]", name: str) -> Difference:
    if not isinstance(got, list | tuple):
        kind = type(expected).__name__
        return _mismatch(name, _kind(got), Text(f"a {kind}", kind))
    if len(got) != len(expected):
        lengths = [message("length {length}", length=len(each)) for each in (got, expected)]
        return _mismatch(name, *lengths)
    pairs = enumerate(zip(got, expected, strict=True))
    return _worst([difference(a, r, f"{name}[{i}]") for i, (a, r) in pairs])


def _arrays(got: Any, expected: Any, name: str) -> Difference:
    target = np.asarray(expected)
    scalar = target.ndim == 0
    if not isinstance(got, np.ndarray | np.generic | int | float | complex):
        wanted = message("a number") if scalar else message("an ndarray")
        return _mismatch(name, _kind(got), wanted)
    value = np.asarray(got)
    if value.shape != target.shape:
        shapes = [message("shape {shape}", shape=a.shape) for a in (value, target)]
        return _mismatch(name, *shapes)
    same = value.dtype == target.dtype or value.dtype.kind == target.dtype.kind != "f"
    if value.dtype.kind not in "fiub" or not (same or scalar):
        return _mismatch(name, *[Text(str(a.dtype), str(a.dtype)) for a in (value, target)])
    if not target.size:
        return Difference(0.0)
    value, target = value.astype(np.float64), target.astype(np.float64)
    strange = ~np.isfinite(value) & np.isfinite(target)
    if strange.any():
        first = tuple(int(i) for i in np.argwhere(strange)[0])
        nan = bool(np.isnan(value[first]))
        at = f" at index {first}, {strange.sum()} in all" if first else ""
        zh = f"，第一个在 {first}，共 {strange.sum()} 个" if first else ""
        said = Text(
            f"{name}: got {'NaN' if nan else 'infinity'}{at}, expected finite numbers",
            f"{name}：出现 {'NaN' if nan else '无穷大'}{zh}，应为有限的数",
        )
        return Difference(float("nan"), said)
    with np.errstate(invalid="ignore"):
        apart = np.where(value == target, 0.0, np.abs(value - target))
    scale = np.abs(target[np.isfinite(target)]).max(initial=1.0)
    return Difference(float(apart.max() / scale))


def _worst(differences: list[Difference]) -> Difference:
    for one in differences:
        if one.message is not None:
            return one
    return Difference(max((one.error for one in differences), default=0.0))


def _mismatch(name: str, got: Text, expected: Text) -> Difference:
    said = Text(
        f"{name}: got {got.en}, expected {expected.en}",
        f"{name}：得到的是{_spaced(got.zh)}，应为{_spaced(expected.zh)}",
    )
    return Difference(np.inf, said)


def _spaced(zh: str) -> str:
    """Put a space between Chinese and Latin letters."""
    return f" {zh}" if zh[:1].isascii() else zh


def _kind(value: Any) -> Text:
    if value is None:
        return message("None (is there a return?)")
    if isinstance(value, np.ndarray):
        return message("an array of shape {shape}", shape=value.shape)
    return Text(f"a {type(value).__name__}", type(value).__name__)

"""By which number an array is off, and where that number comes from."""

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from npformer.exercises.checker.compare import TOLERANCE
from npformer.exercises.checker.pairs import SAME, Pair, close, same_shapes
from npformer.exercises.text import Text
from npformer.exercises.translation import message
from npformer.types import FloatArray

# Factors that are what they are at every size.
PLAIN = {2.0: "2", 0.5: "1/2", 4.0: "4", 0.25: "1/4", 3.0: "3"}


def factor(name: str, pairs: list[Pair]) -> Text | None:
    ratios = _ratios(pairs)
    if ratios is None or np.allclose(ratios, 1, rtol=0, atol=SAME):
        return None
    said = name_factor(
        ratios, [pair.factors for pair in pairs if np.abs(pair.expected).max() > TOLERANCE]
    )
    if said == "-1":
        return message("{name} has the wrong sign", name=name)
    if said is None:
        if np.ptp(ratios) > SAME * np.abs(ratios).max():
            said = ", ".join(f"{ratio:.6g}" for ratio in ratios)
            return message(
                "{name} is right but for a number, which differs from case to case: {said}",
                name=name,
                said=said,
            )
        said = f"{ratios[0]:.6g}"
    return message(
        "{name} is the right result times {said}: that factor does not belong there, or "
        "its inverse is missing",
        name=name,
        said=said,
    )


def _ratios(pairs: list[Pair]) -> list[float] | None:
    """Return by what number each case is off, if every one is off by a number."""
    if not same_shapes(pairs):
        return None
    ratios = []
    for got, expected, *_ in pairs:
        if np.abs(expected).max() <= TOLERANCE:  # zero, or the rounding of a zero
            if np.abs(got).max() > TOLERANCE:
                return None
            continue
        ratio = float((got * expected).sum() / (expected * expected).sum())
        if not ratio or not close(got, ratio * expected):
            return None
        ratios.append(ratio)
    return ratios or None


def name_factor(ratios: list[float], factors: list[Mapping[str, float]]) -> str | None:
    """Return the name of what these numbers are in every case: "sqrt(K)", "1/B", "-1".

    A size is named only if the cases differ in it: in one case 3 may be anything.
    """
    signs = {np.sign(ratio) for ratio in ratios}
    if len(signs) != 1:
        return None
    sign = "-" if signs == {-1.0} else ""
    sizes = np.abs(ratios)
    if np.allclose(sizes, 1, rtol=SAME):
        return "-1" if sign else None
    for value, text in PLAIN.items():
        if np.allclose(sizes, value, rtol=SAME):
            return sign + text
    for text, values in _expressions(factors):
        if np.allclose(sizes, values, rtol=1e-7, atol=0):
            return sign + text
    return None


def _names_something(values: FloatArray) -> bool:
    """Whether numbers are positive, and not one and the same size in all cases."""
    return bool((values > 0).all() and (np.ptp(values) or values[0] % 1))


def _expressions(factors: list[Mapping[str, float]]) -> Iterator[tuple[str, FloatArray]]:
    names = (
        [name for name in factors[0] if all(name in each for each in factors)] if factors else []
    )
    values = {name: np.array([each[name] for each in factors], dtype=np.float64) for name in names}
    values = {name: array for name, array in values.items() if _names_something(array)}
    for name, array in values.items():
        yield name, array
        yield f"1/{inside(name)}", 1 / array
    for name, array in values.items():
        yield f"{inside(name)}^2", array**2
        yield f"1/{inside(name)}^2", 1 / array**2
        yield f"sqrt({name})", np.sqrt(array)
        yield f"1/sqrt({name})", 1 / np.sqrt(array)
    for (a, x), (b, y) in itertools.combinations(values.items(), 2):
        yield f"{inside(a)} {inside(b)}", x * y
        yield f"1/({inside(a)} {inside(b)})", 1 / (x * y)
        yield f"{inside(a)}/{inside(b)}", x / y
        yield f"{inside(b)}/{inside(a)}", y / x


def inside(name: str) -> str:
    return f"({name})" if " " in name else name

"""What a wrong array looks like beside the right one, whatever the exercise."""

import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from npformer.exercises.text import Text
from npformer.types import FloatArray

SAME = 1e-8
# Factors that are what they are at every size.
PLAIN = {2.0: "2", 0.5: "1/2", 4.0: "4", 0.25: "1/4", 3.0: "3"}


class Pair(NamedTuple):
    """A learner's array of one case beside the right one."""

    got: FloatArray
    expected: FloatArray
    factors: Mapping[str, float]  # numbers of this case that a result may be off by
    terms: Mapping[str, FloatArray]  # the addends, if the array is a sum
    others: Mapping[str, FloatArray]  # arguments and intermediate results


def describe(name: str, pairs: list[Pair]) -> Text | None:
    """Return what is wrong in all cases alike, or None if it is nothing simple.

    Parameters
    ----------
    name : str
        Of the output.
    pairs : list of Pair
        Of several cases, of different sizes.
    """
    pairs = [pair for pair in pairs if pair.expected.size]
    for look in (_shape, _zero, _factor, _term, _transpose, _product, _offset, _ratio):
        found = look(name, pairs)
        if found is not None:
            return found
    return None


def close(a: FloatArray, b: FloatArray) -> bool:
    """Whether two arrays are the same, relative to their own size."""
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0), 1e-12)
    return bool(np.abs(a - b).max(initial=0.0) <= SAME * scale)


def _all_close(pairs: "Iterator[tuple[FloatArray, FloatArray]]") -> bool:
    return all(close(a, b) for a, b in pairs)


def _shape(name: str, pairs: list[Pair]) -> Text | None:
    if all(pair.got.shape == pair.expected.shape for pair in pairs):
        return None
    if all(pair.got.ndim == pair.expected.ndim >= 2 for pair in pairs) and _all_close(
        (pair.got.swapaxes(-1, -2), pair.expected) for pair in pairs
    ):
        return _transposed(name)
    if all(_summed(pair.got, pair.expected) for pair in pairs):
        return Text(
            f"{name} has the shape of the output: its argument was broadcast, so the gradient must be "
            "summed over the axes along which that happened",
            f"{name} 的形状是输出的形状：该参数曾被广播，所以梯度要沿被广播的轴求和",
        )
    return None


def _summed(got: FloatArray, expected: FloatArray) -> bool:
    """Whether summing over leading axes, or those of length 1, gives what was expected."""
    if got.ndim < expected.ndim:
        return False
    lead = got.ndim - expected.ndim
    total = got.sum(axis=tuple(range(lead)))
    ones = tuple(
        i for i, n in enumerate(expected.shape) if n == 1 and total.shape[i : i + 1] != (1,)
    )
    total = total.sum(axis=ones, keepdims=True) if ones else total
    return got.shape != expected.shape and close(np.asarray(total), expected)


def _zero(name: str, pairs: list[Pair]) -> Text | None:
    if _same_shapes(pairs) and all(not pair.got.any() for pair in pairs):
        return Text(f"{name} is zero everywhere", f"{name} 处处为零")
    return None


def _same_shapes(pairs: list[Pair]) -> bool:
    return all(pair.got.shape == pair.expected.shape for pair in pairs)


def _ratios(pairs: list[Pair]) -> list[float] | None:
    """Return by what number each case is off, if every one is off by a number."""
    if not _same_shapes(pairs):
        return None
    ratios = []
    for got, expected, *_ in pairs:
        square = float((expected * expected).sum())
        if not square:
            if got.any():
                return None
            continue
        ratio = float((got * expected).sum()) / square
        if not ratio or not close(got, ratio * expected):
            return None
        ratios.append(ratio)
    return ratios or None


def _factor(name: str, pairs: list[Pair]) -> Text | None:
    ratios = _ratios(pairs)
    if ratios is None or np.allclose(ratios, 1, atol=SAME):
        return None
    said = name_factor(ratios, [pair.factors for pair in pairs if pair.expected.any()])
    if said == "-1":
        return Text(f"{name} has the wrong sign", f"{name} 的符号反了")
    if said is None:
        if len(pairs) < 2 or np.ptp(ratios) > SAME:
            said = ", ".join(f"{ratio:.6g}" for ratio in ratios)
            return Text(
                f"{name} is right but for a number, which differs from case to case: {said}",
                f"{name} 只差一个数，且各例不同：{said}",
            )
        said = f"{ratios[0]:.6g}"
    return Text(
        f"{name} is the right result times {said}: that factor does not belong there, or its inverse "
        "is missing",
        f"{name} 是正确结果乘以 {said}：多了这个因子，或少了它的倒数",
    )


def name_factor(ratios: list[float], factors: list[Mapping[str, float]]) -> str | None:
    """Return the name of what these numbers are in every case: "sqrt(K)", "1/B", "-1"."""
    signs = {np.sign(ratio) for ratio in ratios}
    if len(signs) != 1:
        return None
    sign = "-" if signs == {-1.0} else ""
    sizes = np.abs(ratios)
    if np.allclose(sizes, 1, rtol=SAME):
        return "-1" if sign else None
    for value, text in PLAIN.items():
        # Only if the cases have other sizes: in one case 2 may be anything.
        if np.allclose(sizes, value, rtol=SAME) and not _moving(factors, value):
            return sign + text
    for text, values in _expressions(factors):
        if np.allclose(sizes, values, rtol=1e-7):
            return sign + text
    for value, text in PLAIN.items():
        if np.allclose(sizes, value, rtol=SAME):
            return sign + text
    return None


def _moving(factors: list[Mapping[str, float]], value: float) -> bool:
    """Whether there is but one case, and a number of it has this value."""
    return len(factors) == 1 and any(abs(f - value) < SAME for f in factors[0].values())


def _expressions(factors: list[Mapping[str, float]]) -> Iterator[tuple[str, FloatArray]]:
    names = (
        [name for name in factors[0] if all(name in each for each in factors)] if factors else []
    )
    values = {name: np.array([each[name] for each in factors], dtype=np.float64) for name in names}
    values = {name: array for name, array in values.items() if (array > 0).all()}
    for name, array in values.items():
        yield name, array
        yield f"1/{_in(name)}", 1 / array
    for name, array in values.items():
        yield f"{_in(name)}^2", array**2
        yield f"1/{_in(name)}^2", 1 / array**2
        yield f"sqrt({name})", np.sqrt(array)
        yield f"1/sqrt({name})", 1 / np.sqrt(array)
    for (a, x), (b, y) in itertools.combinations(values.items(), 2):
        yield f"{_in(a)} {_in(b)}", x * y
        yield f"1/({_in(a)} {_in(b)})", 1 / (x * y)
        yield f"{_in(a)}/{_in(b)}", x / y
        yield f"{_in(b)}/{_in(a)}", y / x


def _in(name: str) -> str:
    return f"({name})" if " " in name else name


def _term(name: str, pairs: list[Pair]) -> Text | None:
    """Find the coefficients of the formula's terms that give what the learner has."""
    names = list(pairs[0].terms)
    if not names or not _same_shapes(pairs):
        return None
    columns = [
        np.concatenate([np.ravel(pair.terms[n] + 0 * pair.expected) for pair in pairs])
        for n in names
    ]
    matrix, target = np.stack(columns, axis=1), np.concatenate([np.ravel(p.got) for p in pairs])
    if not np.isfinite(matrix).all() or not np.isfinite(target).all():
        return None
    scale = np.sqrt((matrix**2).sum(axis=0))
    if not scale.all() or len(target) <= len(names):
        return None
    coefficients, _, rank, _ = np.linalg.lstsq(matrix / scale, target, rcond=1e-10)
    coefficients = coefficients / scale
    if rank < len(names) or not close(matrix @ coefficients, target):
        return None
    said = [_coefficient(n, float(c)) for n, c in zip(names, coefficients, strict=True)]
    wrong = [text for text in said if text is not None]
    if not wrong:
        return None
    return Text(
        f"{name}: " + "; ".join(text.en for text in wrong),
        f"{name}：" + "；".join(text.zh for text in wrong),
    )


def _coefficient(term: str, c: float) -> Text | None:
    if abs(c - 1) < 1e-6:
        return None
    if abs(c) < 1e-6:
        return Text(f"the term {term} is missing", f"缺少 {term} 这一项")
    if abs(c + 1) < 1e-6:
        return Text(f"the term {term} has the wrong sign", f"{term} 这一项的符号反了")
    if abs(c - 2) < 1e-6:
        return Text(f"the term {term} is counted twice", f"{term} 这一项算了两次")
    return Text(f"the term {term} is multiplied by {c:.4g}", f"{term} 这一项被乘了 {c:.4g}")


def _transpose(name: str, pairs: list[Pair]) -> Text | None:
    for a, b in ((-1, -2), (-2, -3), (-1, -3), (-1, -4)):
        least = max(-a, -b)
        if all(pair.expected.ndim >= least for pair in pairs) and _all_close(
            (pair.got.swapaxes(a, b), pair.expected) for pair in pairs
        ):
            return _transposed(name)
        if all(
            pair.expected.ndim >= least and pair.got.shape == pair.expected.shape for pair in pairs
        ) and _all_close(
            (pair.got, pair.expected.swapaxes(a, b).reshape(pair.expected.shape)) for pair in pairs
        ):
            return Text(
                f"{name} has the right numbers in the wrong places: a reshape where a transpose belongs, or "
                "one without the other",
                f"{name} 的数都对，位置不对：该转置的地方用了 reshape，或者两者缺了一个",
            )
    return None


def _product(name: str, pairs: list[Pair]) -> Text | None:
    """An argument or an intermediate result as a factor too many or too few."""
    if not _same_shapes(pairs):
        return None
    for other in pairs[0].others:
        if not all(_spreads(pair.others.get(other), pair.expected.shape) for pair in pairs):
            continue
        if _all_close((pair.got * pair.others[other], pair.expected) for pair in pairs):
            return Text(f"{name} lacks the factor {other}", f"{name} 少乘了 {other}")
        if _all_close((pair.got, pair.expected * pair.others[other]) for pair in pairs):
            return Text(
                f"{name} is multiplied by {other} once too often", f"{name} 多乘了一次 {other}"
            )
    return None


def _spreads(array: FloatArray | None, shape: tuple[int, ...]) -> bool:
    if array is None or not array.any():
        return False
    try:
        return np.broadcast_shapes(array.shape, shape) == shape
    except ValueError:
        return False


def _transposed(name: str) -> Text:
    return Text(
        f"{name} is transposed: two of its axes are exchanged", f"{name} 被转置了：有两个轴互换了"
    )


def _offset(name: str, pairs: list[Pair]) -> Text | None:
    """A term that is the same along an axis, such as a mean, is missing or wrong."""
    if not _same_shapes(pairs) or not all(pair.expected.ndim for pair in pairs):
        return None
    for axis in (-1, 0):
        if all(pair.expected.shape[axis] > 1 for pair in pairs) and all(
            _constant(pair.got - pair.expected, axis) for pair in pairs
        ):
            which = (Text("last", "最后一个"), Text("first", "第一个"))[axis == 0]
            return Text(
                f"{name} is off by a number that is the same along the {which.en} axis: a sum or mean over that "
                "axis is missing or wrong",
                f"{name} 的误差沿{which.zh}轴是常数：沿该轴的求和或平均漏了或错了",
            )
    return None


def _ratio(name: str, pairs: list[Pair]) -> Text | None:
    """A factor of each row's own is missing or wrong, such as a deviation."""
    if not _same_shapes(pairs) or not all(pair.expected.ndim >= 1 for pair in pairs):
        return None
    if any((pair.expected == 0).any() or not np.isfinite(pair.got).all() for pair in pairs):
        return None
    for axis in (-1, 0):
        if all(pair.expected.shape[axis] > 1 for pair in pairs) and all(
            _constant(pair.got / pair.expected, axis) for pair in pairs
        ):
            which = (Text("last", "最后一个"), Text("first", "第一个"))[axis == 0]
            return Text(
                f"{name} is off by a factor that is the same along the {which.en} axis: something there is one "
                "number for each row (a deviation, a norm, a count, a weight) and is missing or wrong",
                f"{name} 的误差是一个沿{which.zh}轴不变的因子：每行一个的量（标准差、范数、个数、权重）漏了或错了",
            )
    return None


def _constant(array: FloatArray, axis: int) -> bool:
    spread = np.ptp(array, axis=axis).max(initial=0.0)
    return bool(np.isfinite(array).all() and spread <= SAME * max(np.abs(array).max(), 1e-12))

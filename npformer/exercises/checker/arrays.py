"""What a wrong array looks like beside the right one, whatever the exercise."""

import numpy as np

from npformer.exercises.checker.compare import difference
from npformer.exercises.checker.factors import factor
from npformer.exercises.checker.pairs import SAME, Pair, all_close, close, same_shapes, spreads
from npformer.exercises.checker.terms import term, term_product
from npformer.exercises.text import Text
from npformer.exercises.translation import message
from npformer.types import FloatArray


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
    if not all(np.isfinite(pair.got).all() and np.isfinite(pair.expected).all() for pair in pairs):
        return None  # what is not finite has been named already
    if all(difference(pair.got, pair.expected, name).right for pair in pairs):
        return None
    for look in (
        _shape,
        _zero,
        factor,
        term,
        _transpose,
        _product,
        term_product,
        _where,
        _shift,
        _offset,
        _ratio,
    ):
        found = look(name, pairs)
        if found is not None:
            return found
    return None


def _shape(name: str, pairs: list[Pair]) -> Text | None:
    if all(pair.got.shape == pair.expected.shape for pair in pairs):
        return None
    if all(pair.got.ndim == pair.expected.ndim >= 2 for pair in pairs) and all_close(
        (pair.got.swapaxes(-1, -2), pair.expected) for pair in pairs
    ):
        return _transposed(name)
    if all(_summed(pair.got, pair.expected) for pair in pairs):
        return message(
            "{name} is larger than its argument, which was broadcast: the gradient must be "
            "summed over all axes along which that happened",
            name=name,
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
    return close(np.asarray(total), expected)


def _zero(name: str, pairs: list[Pair]) -> Text | None:
    if same_shapes(pairs) and all(not pair.got.any() for pair in pairs):
        return message("{name} is zero everywhere", name=name)
    return None


def _transpose(name: str, pairs: list[Pair]) -> Text | None:
    for a, b in ((-1, -2), (-2, -3), (-1, -3)):
        least = max(-a, -b)
        if not all(pair.got.ndim == pair.expected.ndim >= least for pair in pairs):
            continue
        if all_close((pair.got.swapaxes(a, b), pair.expected) for pair in pairs):
            return _transposed(name)
        if same_shapes(pairs) and all_close(
            (pair.got, pair.expected.swapaxes(a, b).reshape(pair.got.shape)) for pair in pairs
        ):
            return message(
                "{name} has the right numbers in the wrong places: a reshape where a transpose "
                "belongs, or one without the other",
                name=name,
            )
    return None


def _transposed(name: str) -> Text:
    return message("{name} is transposed: two of its axes are exchanged", name=name)


def _product(name: str, pairs: list[Pair]) -> Text | None:
    """An argument or an intermediate result as a factor too many or too few."""
    if not same_shapes(pairs):
        return None
    for other in pairs[0].others:
        if not all(spreads(pair.others.get(other), pair.expected.shape) for pair in pairs):
            continue
        if all_close((pair.got * pair.others[other], pair.expected) for pair in pairs):
            return message("{name} lacks the factor {other}", name=name, other=other)
        if all_close((pair.got, pair.expected * pair.others[other]) for pair in pairs):
            return message("{name} is multiplied by {other} once too often", name=name, other=other)
    return None


def _where(name: str, pairs: list[Pair]) -> Text | None:
    """Right wherever a mask is True, wrong elsewhere."""
    if not same_shapes(pairs):
        return None
    for mask in pairs[0].masks:
        if all(mask in pair.masks and _wrong_only_outside(pair, mask) for pair in pairs):
            return message(
                "{name} is wrong only where {mask} is False: it is not applied there, or in the "
                "wrong step",
                name=name,
                mask=mask,
            )
    return None


def _wrong_only_outside(pair: Pair, name: str) -> bool:
    """Whether all that is wrong is where a mask over the leading axes is False."""
    mask, shape = pair.masks[name], pair.expected.shape
    if mask.shape != shape[: mask.ndim] or mask.all() or not mask.any():
        return False
    scale = np.abs(pair.expected).max(initial=1.0)
    wrong = np.abs(pair.got - pair.expected) > SAME * scale
    return bool(wrong.any() and not wrong[mask].any())


def _shift(name: str, pairs: list[Pair]) -> Text | None:
    """Everything is one place too far along an axis."""
    if not same_shapes(pairs):
        return None
    for axis in range(min(pair.expected.ndim for pair in pairs)):
        for got_at, right_at in ((slice(1, None), slice(-1)), (slice(-1), slice(1, None))):
            cut = [
                (np.moveaxis(p.got, axis, 0)[got_at], np.moveaxis(p.expected, axis, 0)[right_at])
                for p in pairs
            ]
            if all(len(b) > 1 and b.any() for _, b in cut) and all_close(cut):
                return message("{name} is shifted by one along axis {axis}", name=name, axis=axis)
    return None


def _offset(name: str, pairs: list[Pair]) -> Text | None:
    """A term that is the same along an axis, such as a mean, is missing or wrong."""
    if not same_shapes(pairs) or not all(pair.expected.ndim for pair in pairs):
        return None
    for axis in (-1, 0):
        if all(pair.expected.shape[axis] > 1 for pair in pairs) and all(
            _constant(pair.got - pair.expected, axis) for pair in pairs
        ):
            which = (message("last"), message("first"))[axis == 0]
            return message(
                "{name} is off by a number that is the same along the {which} axis: a sum or mean "
                "over that axis is missing or wrong",
                name=name,
                which=which,
            )
    return None


def _ratio(name: str, pairs: list[Pair]) -> Text | None:
    """A factor of each row's own is missing or wrong, such as a deviation."""
    if not same_shapes(pairs) or not all(pair.expected.ndim >= 1 for pair in pairs):
        return None
    if any((pair.expected == 0).any() or not np.isfinite(pair.got).all() for pair in pairs):
        return None
    for axis in (-1, 0):
        if all(pair.expected.shape[axis] > 1 for pair in pairs) and all(
            _constant(pair.got / pair.expected, axis) for pair in pairs
        ):
            which = (message("last"), message("first"))[axis == 0]
            return message(
                "{name} is off by a factor that is the same along the {which} axis: something "
                "there is one number for each row (a deviation, a norm, a count, a weight) and is "
                "missing or wrong",
                name=name,
                which=which,
            )
    return None


def _constant(array: FloatArray, axis: int) -> bool:
    spread = np.ptp(array, axis=axis).max(initial=0.0)
    return bool(np.isfinite(array).all() and spread <= SAME * max(np.abs(array).max(), 1e-12))

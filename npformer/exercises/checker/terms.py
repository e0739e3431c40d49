"""Which addend of a formula is missing, doubled or flipped."""

from collections.abc import Mapping

import numpy as np

from npformer.exercises.checker.factors import name_factor
from npformer.exercises.checker.pairs import Pair, close, same_shapes, spreads
from npformer.exercises.text import Text
from npformer.exercises.translation import message


def term(name: str, pairs: list[Pair]) -> Text | None:
    """Find by which numbers the formula's terms are multiplied in what the learner has."""
    if not pairs[0].terms or not same_shapes(pairs):
        return None
    together = _coefficients(pairs)  # the same numbers in all cases
    each = [together] * len(pairs) if together else [_coefficients([pair]) for pair in pairs]
    if not all(each):
        return None
    said = []
    for term in pairs[0].terms:
        numbers = [found[term] for found in each if found]
        if not np.allclose(numbers, 1, atol=1e-6):
            said.append(_said_of_term(term, numbers, [pair.factors for pair in pairs]))
    if not said:
        return None
    return Text(
        f"{name}: " + "; ".join(text.en for text in said),
        f"{name}：" + "；".join(text.zh for text in said),
    )


def term_product(name: str, pairs: list[Pair]) -> Text | None:
    """Find a term that lacks a factor, an argument or an intermediate result, or has it twice."""
    if not same_shapes(pairs):
        return None
    for term in pairs[0].terms:
        # What stands in the term's place, if all others are right.
        instead = [pair.got - pair.expected + pair.terms[term] for pair in pairs]
        for other in pairs[0].others:
            if not all(spreads(pair.others.get(other), pair.expected.shape) for pair in pairs):
                continue
            three = [
                (put, pair.others[other], np.broadcast_to(pair.terms[term], put.shape))
                for put, pair in zip(instead, pairs, strict=True)
            ]
            if all(close(put * factor, right) for put, factor, right in three):
                return message(
                    "{name}: the term {term} lacks the factor {other}",
                    name=name,
                    term=term,
                    other=other,
                )
            if all(close(put, right * factor) for put, factor, right in three):
                return message(
                    "{name}: the term {term} is multiplied by {other} once too often",
                    name=name,
                    term=term,
                    other=other,
                )
    return None


def _coefficients(pairs: list[Pair]) -> dict[str, float] | None:
    """Solve for the numbers that make the terms add up to the learner's arrays, if any do."""
    names = list(pairs[0].terms)
    columns = [
        np.concatenate([np.broadcast_to(pair.terms[n], pair.got.shape).ravel() for pair in pairs])
        for n in names
    ]
    matrix = np.stack(columns, axis=1)  # (entries, terms)
    target = np.concatenate([pair.got.ravel() for pair in pairs])  # (entries,)
    scale = np.sqrt((matrix**2).sum(axis=0))  # (terms,)
    finite = np.isfinite(matrix).all() and np.isfinite(target).all()
    if not finite or not scale.all() or len(target) <= len(names):
        return None
    solution, _, rank, _ = np.linalg.lstsq(matrix / scale, target, rcond=1e-10)
    if rank < len(names) or not close(matrix @ (solution / scale), target):
        return None
    return dict(zip(names, (solution / scale).tolist(), strict=True))


def _said_of_term(term: str, numbers: list[float], factors: list[Mapping[str, float]]) -> Text:
    if np.allclose(numbers, 0, atol=1e-6):
        return message("the term {term} is missing", term=term)
    if np.allclose(numbers, -1, atol=1e-6):
        return message("the term {term} has the wrong sign", term=term)
    if np.allclose(numbers, 2, atol=1e-6):
        return message("the term {term} is counted twice", term=term)
    number = name_factor(numbers, factors)
    if number is None and np.allclose(numbers, numbers[0]):
        number = f"{numbers[0]:.4g}"
    if number is None:
        listed = ", ".join(f"{each:.4g}" for each in numbers)
        return message(
            "the term {term} is multiplied by a number which differs from case to case: {listed}",
            term=term,
            listed=listed,
        )
    return message("the term {term} is multiplied by {number}", term=term, number=number)

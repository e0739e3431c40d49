"""Attention with linear biases."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def alibi(num_heads, query_len, key_len):
    """Return slopes (H,) and bias (1, H, T, S); H, T and S are the arguments, T <= S."""
    bias = ops.alibi_bias(num_heads, query_len, key_len, offset=key_len - query_len)
    return ops.alibi_slopes(num_heads), bias


def alibi_cases(rng):
    """Return numbers of heads that are powers of two and not, and queries after a past."""
    length = int(rng.integers(6, 10))
    sizes = [
        (4, 5, 5, ""),
        (8, length, length + 3, ""),
        (2, 1, 7, "one new token"),
        (1, 5, 5, "one head"),
        (3, 5, 7, "three heads"),
        (12, 5, 7, "twelve heads"),
    ]
    return [Case({"num_heads": h, "query_len": t, "key_len": s}, part) for h, t, s, part in sizes]


def _slopes(num_heads):
    power = 2 ** int(np.log2(num_heads))
    slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)
    between = 2.0 ** (-4 * np.arange(1, 2 * power, 2) / power)
    return np.concatenate((slopes, between[: num_heads - power]))


def _distance(query_len, key_len):
    return np.arange(key_len - query_len, key_len)[:, None] - np.arange(key_len)  # (T, S) t - s


def _bias(slopes, distance):
    return -slopes[None, :, None, None] * distance


def alibi_steps(num_heads, query_len, key_len):
    return {"slopes": _slopes(num_heads), "distance": _distance(query_len, key_len)}


ALIBI = Exercise(
    id="alibi",
    title="ALiBi",
    statement=r"""
        Attention with linear biases: each head $h$ lowers a score by its slope $m_h$ times the
        distance. The T queries are the last T of the S tokens, $T \le S$, so query $t$ stands at
        position $S - T + t$:

        $$\mathrm{bias}_{hts} = -m_h\,(S - T + t - s), \qquad m_h = 2^{-8h/H}, \quad h = 1, \ldots,
        H$$

        for H a power of two. Otherwise, with P the largest power of two below H: the slopes of P
        heads, then the 1st, 3rd, 5th, ... slope of 2P heads until there are H. For keys after the
        query return the formula's positive number; the causal mask will hide it. `num_heads` is H,
        `query_len` T, `key_len` S. Return `slopes` (H,) and `bias` (1, H, T, S), in this order,
        both float64.""",
    reference=alibi,
    library=(ops.alibi_slopes, ops.alibi_bias),
    outputs=("slopes", "bias"),
    cases=alibi_cases,
    hints=(
        """Two parts: a matrix of distances (T, S), the same for all heads, and one number a head.
        Nothing is learned.""",
        """For 4 heads: 1/4, 1/16, 1/64, 1/256. For 3: those of 2 heads, 1/16 and 1/256, then the
        first of 4, 1/4.""",
        """`power = 2 ** int(np.log2(num_heads))`, `slopes = 2.0 ** (-8 * np.arange(1, power + 1) /
        power)`, then those of 2P heads, `[::2]`, as many as are missing; `distance =
        np.arange(s - t, s)[:, None] - np.arange(s)`; `bias = -slopes[None, :, None, None] *
        distance`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=12,
    steps=alibi_steps,
    factors=lambda num_heads, query_len, key_len: {"H": num_heads, "T": query_len, "S": key_len},
    float32=False,
    docs="derivations/positions.md",
)


@ALIBI.mistake("a-reward")
def reward(num_heads, query_len, key_len):
    """the bias has the wrong sign: a key that is further back must be lowered, here it is
    raised."""
    slopes = _slopes(num_heads)
    return slopes, -_bias(slopes, _distance(query_len, key_len))


@ALIBI.mistake("offset-missing")
def without_offset(num_heads, query_len, key_len):
    """the first query is taken to stand at position 0: the T queries are the last of the S tokens,
    so it stands at S - T."""
    slopes = _slopes(num_heads)
    return slopes, _bias(slopes, np.arange(query_len)[:, None] - np.arange(key_len))


@ALIBI.mistake("symmetric")
def symmetric(num_heads, query_len, key_len):
    """the distance is taken without its sign, as for an encoder: here the formula of causal
    attention is asked for, also where the mask will hide it."""
    slopes = _slopes(num_heads)
    return slopes, _bias(slopes, np.abs(_distance(query_len, key_len)))


@ALIBI.mistake("by-key-alone")
def by_key_alone(num_heads, query_len, key_len):
    """the bias is $m_h s$, as in BLOOM's code: it differs by a number that is the same along a row,
    which the softmax does not see but a loss on the scores would. Here it is $-m_h$ times the
    distance."""
    slopes = _slopes(num_heads)
    return slopes, _bias(slopes, -np.arange(key_len) + np.zeros((query_len, 1)))


@ALIBI.mistake("heads-from-zero")
def heads_from_zero(num_heads, query_len, key_len):
    """heads are counted from 0, so that the first slope is 1: h runs from 1 to H."""
    power = 2 ** int(np.log2(num_heads))
    slopes = np.concatenate(([1.0], _slopes(power)[:-1], _slopes(num_heads)[power:]))
    return slopes, _bias(slopes, _distance(query_len, key_len))


@ALIBI.mistake("one-formula-for-all")
def one_formula_for_all(num_heads, query_len, key_len):
    """$2^{-8h/H}$ is used though H is no power of two: then the slopes are those of P heads and
    every other one of 2P."""
    slopes = 2.0 ** (-8 * np.arange(1, num_heads + 1) / num_heads)
    return slopes, _bias(slopes, _distance(query_len, key_len))


@ALIBI.mistake("every-one-of-2P")
def the_first_of_twice_as_many(num_heads, query_len, key_len):
    """the missing slopes are the first ones of 2P heads: it is every other one, the 1st, 3rd, 5th;
    those between are there already."""
    power = 2 ** int(np.log2(num_heads))
    slopes = np.concatenate((_slopes(power), _slopes(2 * power)[: num_heads - power]))
    return slopes, _bias(slopes, _distance(query_len, key_len))


@ALIBI.mistake("8-missing")
def without_the_eight(num_heads, query_len, key_len):
    """the slopes are $2^{-h/H}$: the exponent is $-8h/H$."""
    slopes = _slopes(num_heads) ** (1 / 8)
    return slopes, _bias(slopes, _distance(query_len, key_len))

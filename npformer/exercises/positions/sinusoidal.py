"""The fixed table of sines and cosines."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def sinusoidal(length, d_model):
    """Return the table (T, D) of sinusoidal positions; length: T, d_model: D."""
    return ops.sinusoidal_table(length, d_model)


def sinusoidal_cases(rng):
    """Return tables of several sizes, of odd width too."""
    length, half = int(rng.integers(5, 9)), int(rng.integers(5, 9))
    return [
        Case({"length": 3, "d_model": 8}),
        Case({"length": length, "d_model": 2 * half}),
        Case({"length": 5, "d_model": 7}, "odd width"),
        Case({"length": 1, "d_model": 4}, "one position"),
        Case({"length": 1000, "d_model": 6}, "a long text"),
    ]


def _table(angles, d_model):
    """Return sines of the angles (T, ceil(D / 2)) in even columns, cosines in odd ones."""
    table = np.empty((len(angles), d_model))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : d_model // 2])
    return table


def _angles(length, d_model):
    return np.arange(length)[:, None] * 10000 ** (-np.arange(0, d_model, 2) / d_model)


SINUSOIDAL = Exercise(
    id="sinusoidal",
    title="Sinusoidal positions",
    statement=r"""
        Build the table that the original Transformer adds to its embeddings:

        $$P_{t,2i} = \sin(t\,\omega_i), \qquad P_{t,2i+1} = \cos(t\,\omega_i), \qquad \omega_i =
        10000^{-2i/D}$$

        with $t = 0, \ldots, T-1$. `length` is T, `d_model` is D. Sine and cosine of one frequency
        stand side by side. If D is odd, the last column is a sine without its cosine. Return the
        table (T, D), float64.""",
    reference=sinusoidal,
    library=(ops.sinusoidal_table,),
    outputs=("table",),
    cases=sinusoidal_cases,
    hints=(
        """Make all angles at once, positions times frequencies, then fill the even columns with
        their sines and the odd ones with their cosines.""",
        """2i runs over the even columns 0, 2, 4, ...: that many frequencies, $10000^{-2i/D}$. For
        odd D there is one cosine less.""",
        """`even = np.arange(0, d_model, 2)`, `angles = np.arange(length)[:, None] * 10000 **
        (-even / d_model)`; into an empty table (T, D): `table[:, 0::2] = np.sin(angles)` and
        `table[:, 1::2] = np.cos(angles[:, : d_model // 2])`.""",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=8,
    steps=lambda length, d_model: {"angles": _angles(length, d_model)},
    float32=False,
    docs="derivations/positions.md",
)


@SINUSOIDAL.mistake("i-over-D")
def i_over_d(length, d_model):
    """the exponent is -i/D, expected -2i/D: i counts pairs of columns, 2i is the column of the
    sine."""
    i = np.arange((d_model + 1) // 2)
    return _table(np.arange(length)[:, None] * 10000 ** (-i / d_model), d_model)


@SINUSOIDAL.mistake("2-twice")
def two_i_doubled(length, d_model):
    """the exponent is -4i/D: the even columns 0, 2, 4, ... are 2i already."""
    i = np.arange(0, d_model, 2)
    return _table(np.arange(length)[:, None] * 10000 ** (-2 * i / d_model), d_model)


@SINUSOIDAL.mistake("a-frequency-a-column")
def a_rate_for_each_column(length, d_model):
    """each column has a frequency of its own: a sine and the cosine beside it share one, so that a
    shift of t is a rotation of the pair."""
    angles = np.arange(length)[:, None] * 10000 ** (-np.arange(d_model) / d_model)
    table = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, 1::2])
    return table


@SINUSOIDAL.mistake("sines-first")
def sines_first(length, d_model):
    """all sines stand before all cosines (Marian has it so): here they alternate."""
    angles = _angles(length, d_model)
    return np.concatenate((np.sin(angles), np.cos(angles[:, : d_model // 2])), axis=1)


@SINUSOIDAL.mistake("cosine-first")
def cosine_first(length, d_model):
    """sine and cosine are exchanged: even columns are sines."""
    angles = _angles(length, d_model)
    table = np.empty((length, d_model))
    table[:, 0::2] = np.cos(angles)
    table[:, 1::2] = np.sin(angles[:, : d_model // 2])
    return table


@SINUSOIDAL.mistake("from-one")
def from_one(length, d_model):
    """positions start at 1, expected 0: the first row is 0, 1, 0, 1, ..."""
    return _table(_angles(length + 1, d_model)[1:], d_model)


@SINUSOIDAL.mistake("exponent-sign")
def multiplied_by_the_rate(length, d_model):
    """the exponent has the wrong sign: frequencies fall from 1 to nearly 1/10000, they do not
    rise."""
    return _table(
        np.arange(length)[:, None] * 10000 ** (np.arange(0, d_model, 2) / d_model), d_model
    )


@SINUSOIDAL.mistake("base-100000")
def base_100000(length, d_model):
    """the base is 100000, expected 10000."""
    rates = 100000 ** (-np.arange(0, d_model, 2) / d_model)
    return _table(np.arange(length)[:, None] * rates, d_model)

"""The tricks: what is computed in another way than its formula says.

Everywhere else in `npformer.ops` a line of code is a line of the derivation in its docstring. Each
function here names its plain form, and how many times as long that takes: ``python -m
benchmarks.tricks`` runs the two in turn on one core and measures their memory (the numbers here
are of a machine that had other work too). ``python -m benchmarks ablation`` measures what each
buys in a whole training step.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from npformer.types import BoolArray, FloatArray, IntArray

# erf(x / sqrt 2) = tanh(x P(x^2)) to float32 accuracy: a least-squares fit of P, low order first.
# The leading coefficient is positive, so that large |x| saturates instead of turning back.
ERF_FIT = (
    0.7978849414603578,
    0.03633308457410234,
    -3.259497586754635e-05,
    -5.530619353767497e-05,
    3.964744377581292e-06,
    -1.3226333571945747e-07,
    1.7561706146890437e-09,
)
# Floats in a block of `normal_cdf`, which goes over them twenty times: they stay in cache.
BLOCK = 32_768


def mean(x: FloatArray) -> FloatArray:
    """Return the mean over the last axis, kept as an axis: a product with a vector of 1/D.

    Plain: ``x.mean(axis=-1, keepdims=True)``, 4 times as long.
    """
    return (x @ _shares(x.shape[-1], x.dtype))[..., None]  # (..., 1)


@lru_cache  # for few rows it takes longer to make than the product itself
def _shares(size: int, dtype: "np.dtype[Any]") -> FloatArray:
    shares = np.full(size, 1 / max(size, 1), dtype)
    shares.flags.writeable = False  # it is everybody's
    return shares


def sum_rows(x: FloatArray) -> FloatArray:
    """Sum an array of shape (..., D) over all its rows: a product with a vector of ones.

    Plain: ``x.reshape(-1, D).sum(axis=0)``, twice as long.
    """
    rows = x.reshape(-1, x.shape[-1])  # (N, D)
    return np.ones(len(rows), x.dtype) @ rows  # (D,)


def dot_rows(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return a b^T, every row of a with every row of b, as the transpose of b a^T.

    Plain: ``a @ b.swapaxes(-1, -2)``, with a softmax after it 1.3 times as long. With queries and
    keys the result, of shape (..., T, S), lies in memory with the keys first. A softmax takes a
    maximum and a sum over the keys: over the last axis in memory NumPy does that row by row, over
    the one before it in long vectors.
    """
    return (b @ a.swapaxes(-1, -2)).swapaxes(-1, -2)  # (..., T, S)


def exp_kept(scores: FloatArray, keep: BoolArray | None) -> FloatArray:
    """Return keep e^(a - m), with m the largest kept score of each row, in a single array.

    Plain: ``keep * np.exp(a - m)``, 1.3 times as long: it makes three of them, the largest arrays
    of a model, and overflows where a masked score is far above the others.
    """
    if keep is None:
        weights = scores - scores.max(axis=-1, keepdims=True)
        return np.exp(weights, out=weights)
    low = hide(scores, keep)
    weights = exp_over(low, low.max(axis=-1, keepdims=True))
    some = keep.any(axis=-1, keepdims=True)
    if not some.all():  # a row that keeps nothing has been all lowest numbers, so now all ones
        weights *= some
    return weights


def exp_over(x: FloatArray, level: FloatArray) -> FloatArray:
    """Return e^(x - level), written over x, which the caller has just made.

    Plain: ``np.exp(x - level)``, 1.2 times as long, in two arrays more. For the blocks of
    `blockwise_attention_forward` that is the difference between a core's cache and memory.
    """
    x -= level
    return np.exp(x, out=x)


def hide(scores: FloatArray, keep: BoolArray) -> FloatArray:
    """Return the scores, those not kept so low that their exponential is 0."""
    # Half of the lowest number, so that subtracting a maximum cannot overflow to infinity.
    return np.where(keep, scores, np.finfo(scores.dtype).min / 2)


def sum_by_id(x: FloatArray, ids: IntArray, number: int) -> FloatArray:
    """Sum the rows of x, of shape (..., D), that have the same id: one row for each of ``number``.

    Plain: ``np.add.at(sums, ids, x)``, which adds one row at a time, 1.5 times as long. Sorted,
    equal ids stand side by side, and each run of them is one sum.
    """
    sums = np.zeros_like(x, shape=(number, x.shape[-1]))
    if ids.size:
        order = np.argsort(ids, axis=None, kind="stable")  # (N,)
        seen, first = np.unique(ids.reshape(-1)[order], return_index=True)
        sums[seen] = np.add.reduceat(x.reshape(-1, x.shape[-1])[order], first, axis=0)
    return sums


def normal_cdf(x: FloatArray) -> FloatArray:
    """Return the normal distribution function: exact in float64, to float32 accuracy below.

    Plain: ``0.5 * (1 + erf(x / sqrt(2)))`` with ``math.erf`` entry by entry, as float64 has it, 50
    times as long. The polynomial inside a tanh goes over blocks that stay in cache.
    """
    if x.dtype == np.float64:
        erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2))
        return 0.5 * (1 + np.asarray(erf, dtype=np.float64))
    flat = x.astype(np.float32, copy=False).reshape(-1)  # (N,)
    whole = np.empty_like(flat)
    with np.errstate(over="ignore"):  # of a power of x^2: tanh(inf) is 1
        for i in range(0, len(flat), BLOCK):
            block, cdf = flat[i : i + BLOCK], whole[i : i + BLOCK]
            square = block * block
            np.multiply(square, ERF_FIT[-1], out=cdf)
            for coefficient in ERF_FIT[-2:0:-1]:
                cdf += coefficient
                cdf *= square
            cdf += ERF_FIT[0]
            cdf *= block
            np.tanh(cdf, out=cdf)
            cdf += 1
            cdf *= 0.5
    return whole.reshape(x.shape).astype(x.dtype, copy=False)


def normal_pdf(x: FloatArray) -> FloatArray:
    """Return the normal density, the derivative of `normal_cdf`, in a single array.

    Plain: ``np.exp(-0.5 * x * x) / sqrt(2 * pi)``, 1.2 times as long; it warns of an overflow
    where x^2 is infinite.
    """
    with np.errstate(over="ignore"):  # x^2 may be infinite: the density is 0 there
        density = x * x
    density *= -0.5
    np.exp(density, out=density)
    density *= 1 / math.sqrt(2 * math.pi)
    return density


def saturated(x: FloatArray) -> FloatArray:
    """Return x cut to [-20, 20]: beyond, tanh u is 1 or -1, and a power of x may be infinite."""
    return np.clip(x, -20, 20)

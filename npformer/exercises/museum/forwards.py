"""Wrong values in the forward pass: layer norm, dropout, positions."""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import bug


def layer_norm(x, gamma, beta):
    """Return the layer norm of x over the last axis, eps 1e-12; x: (..., D), gamma, beta: (D,)."""
    y, _ = ops.layernorm_forward(x, gamma, beta)
    return y


def test_two_features_become_one_and_minus_one(fn):
    y = fn(np.array([[3.0, 7.0]]), np.ones(2), np.zeros(2))
    assert np.allclose(y, [[-1, 1]])


@bug(
    "layer-norm-bessel",
    right=layer_norm,
    witness=test_two_features_become_one_and_minus_one,
    exercise="layer-norm",
    tracks=("interview", "class"),
)
def with_bessels_correction(x, gamma, beta):
    r"""A variance divided by D - 1

    A tutorial took the standard deviation of its framework, whose default divides by D - 1, as one
    does to estimate a variance from a sample. Its readers asked about it again and again. At D =
    512 the outputs are 0.1 % too small, which no training notices; loaded weights do.

    `layer_norm(x, gamma, beta)` returns $\gamma\,(x - \mu)/\sqrt{\sigma^2 + 10^{-12}} + \beta$ with
    $\mu = \frac1D\sum_j x_j$ and $\sigma^2 = \frac1D\sum_j (x_j - \mu)^2$ over the last axis. `x`
    and the result are (..., D), `gamma` and `beta` (D,).

    A small D. Two features become -1 and 1, whatever they were; divided by D - 1 they become -0.71
    and 0.71."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, ddof=1, keepdims=True)
    return gamma * centred / np.sqrt(variance + 1e-12) + beta


def test_equal_features_give_beta(fn):
    beta = np.array([0.5, -1.0, 2.0, 0.0])
    y = fn(np.full((2, 4), 3.0), np.ones(4), beta)
    assert np.allclose(y, beta)


@bug(
    "layer-norm-without-eps",
    right=layer_norm,
    witness=test_equal_features_give_beta,
    exercise="layer-norm",
    tracks=("interview", "class"),
)
def without_eps(x, gamma, beta):
    r"""Zero divided by zero

    A notebook left eps out of its layer norm: random activations have no variance of zero. A
    padding row of zeros has, and one NaN in it reaches every parameter within a step.

    `layer_norm(x, gamma, beta)` returns $\gamma\,(x - \mu)/\sqrt{\sigma^2 + 10^{-12}} + \beta$ with
    $\mu = \frac1D\sum_j x_j$ and $\sigma^2 = \frac1D\sum_j (x_j - \mu)^2$ over the last axis. `x`
    and the result are (..., D), `gamma` and `beta` (D,).

    A row of equal numbers: right is beta; wrong is NaN, or a rounding error blown up to 1."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return gamma * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True)) + beta


def dropout(x, p_drop, rng=None):
    """Drop entries with probability p_drop, scale up the rest by 1/(1 - p_drop); x: (...)."""
    y, _ = ops.dropout_forward(x, p_drop, rng)
    return y


def test_nothing_is_dropped_without_a_generator(fn):
    x = np.random.default_rng(0).normal(size=(20, 30))
    assert np.allclose(fn(x, 0.5), x)


@bug(
    "dropout-never-off",
    right=dropout,
    witness=test_nothing_is_dropped_without_a_generator,
    exercise="dropout-backward",
    tracks=("class",),
)
def never_off(x, p_drop, rng=None):
    """Dropout that cannot be turned off

    A library had no switch between training and evaluation: every forward pass dropped, also where
    the model was measured or asked to write. What it says then is a matter of luck.

    `dropout(x, p_drop, rng=None)`: with a generator each entry of `x` becomes 0 with probability
    `p_drop`, else it is divided by 1 - p_drop. Without one (evaluation) the result is `x`. Any
    shape.

    Called without a generator, the result must be the input."""
    rng = np.random.default_rng(0) if rng is None else rng
    return x * (rng.random(x.shape) >= p_drop) / (1 - p_drop)


def sinusoidal(length, d_model):
    """Return the table (T, D) of sines (even columns) and cosines (odd ones); T = length."""
    return ops.sinusoidal_table(length, d_model)


def test_the_second_frequency(fn):
    table = fn(8, 4)  # frequencies 1 and 10000 ** -0.5
    assert np.allclose(table[:, 2], np.sin(np.arange(8) / 100))


@bug(
    "sinusoidal-one-zero-too-many",
    right=sinusoidal,
    witness=test_the_second_frequency,
    exercise="sinusoidal",
    tracks=("interview", "class"),
)
def base_of_a_hundred_thousand(length, d_model):
    r"""One zero too many

    A notebook wrote 100000 for the 10000 of the sinusoidal positions. The table looks right in a
    plot, its first two columns are right, and a model can learn with it: nothing crashes. Weights
    trained elsewhere do not fit it.

    `sinusoidal(length, d_model)` returns the table of Vaswani et al. (2017), of shape (T, D), T =
    `length`, D = `d_model`: $P_{t,2i} = \sin(t\,\omega_i)$, $P_{t,2i+1} = \cos(t\,\omega_i)$,
    $\omega_i = 10000^{-2i/D}$, t from 0.

    Any column from the third on. At D = 4 the third is sin(t/100)."""
    even = np.arange(0, d_model, 2)
    angles = np.arange(length)[:, None] / 100_000 ** (even / d_model)
    table = np.empty((length, d_model))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : d_model // 2])
    return table

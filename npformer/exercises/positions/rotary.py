"""Rotary positions, forward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def rotary(x, positions):
    """Return x (B, H, T, K) turned by its positions, integers of shape (T,)."""
    y, _ = ops.rotary_forward(x, positions)
    return y


def _cases(rng, name):
    def case(b, h, t, k, first=None, part=""):
        positions = np.arange(t) + first if first is not None else rng.integers(0, 50, size=t)
        return Case({name: rng.normal(size=(b, h, t, k)), "positions": positions}, part)

    return [
        case(2, 3, 5, 4, first=0),
        case(3, 2, 7, 10),
        case(2, 3, 5, 2, part="one plane"),
        case(2, 1, 5, 6, first=3, part="one head"),
        case(2, 3, 1, 8, first=11, part="one new token"),
        case(2, 3, 5, 8, first=100000, part="far positions"),
    ]


def rotary_cases(rng):
    """Return queries from the start, in any order, and far from it."""
    return _cases(rng, "x")


def _cos_sin(positions, k):
    angles = positions[:, None] * 10000 ** (-np.arange(0, k, 2) / k)  # (T, K/2)
    return np.cos(angles), np.sin(angles)


def _turned(x, cos, sin):
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate((a * cos - b * sin, a * sin + b * cos), axis=-1)


def rotary_steps(x, positions):
    k = x.shape[-1]
    angles = positions[:, None] * 10000 ** (-np.arange(0, k, 2) / k)
    return {"angles": angles, "cos": np.cos(angles), "sin": np.sin(angles)}


ROTARY = Exercise(
    id="rotary",
    title="Rotary positions (RoPE)",
    statement=r"""
        A query or key at position $t$ is turned, two features at a time, by angles proportional to
        $t$. Plane $i$ has the features $i$ and $i + K/2$ (the half-split layout of Llama and
        GPT-NeoX), $i = 0, \ldots, K/2 - 1$; with

        $$\theta_{ti} = \mathrm{positions}_t\,\omega_i, \qquad \omega_i = 10000^{-2i/K}$$

        $$y_{ti} = x_{ti}\cos\theta_{ti} - x_{t,\,i+K/2}\sin\theta_{ti}, \qquad y_{t,\,i+K/2} =
        x_{ti}\sin\theta_{ti} + x_{t,\,i+K/2}\cos\theta_{ti}$$

        `x` is (B, H, T, K), K even; `positions` are integers of shape (T,), the same for all
        sequences and heads, not always 0 to T - 1. Return `y` (B, H, T, K).""",
    reference=rotary,
    library=(ops.rotary_forward,),
    outputs=("y",),
    cases=rotary_cases,
    hints=(
        """Angles are (T, K/2); cut x into its two halves a and b of the same width, and turn all
        planes at once.""",
        r"""$(a, b) \to (a\cos\theta - b\sin\theta,\; a\sin\theta + b\cos\theta)$. (T, K/2)
        broadcasts over B and H.""",
        """`angles = positions[:, None] * 10000 ** (-np.arange(0, k, 2) / k)`; cos and sin of it,
        `.astype(x.dtype)`; `a, b = x[..., : k // 2], x[..., k // 2 :]`; `np.concatenate((a * cos -
        b * sin, a * sin + b * cos), axis=-1)`.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=10,
    steps=rotary_steps,
    docs="derivations/positions.md",
)


@ROTARY.mistake("interleaved")
def interleaved(x, positions):
    """features 2i and 2i + 1 are turned together, the layout of the paper and GPT-J: here plane i
    has the features i and i + K/2."""
    cos, sin = _cos_sin(positions, x.shape[-1])
    y = np.empty_like(x)
    y[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    y[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
    return y


@ROTARY.mistake("layouts-mixed")
def layouts_mixed(x, positions):
    """the angles are repeated as for the interleaved layout (0, 0, 1, 1, ...) but the features are
    paired as for the half-split one. Here the angles are 0, 1, ..., 0, 1, ...: tile them."""
    cos, sin = (np.repeat(c, 2, axis=-1) for c in _cos_sin(positions, x.shape[-1]))
    half = x.shape[-1] // 2
    return x * cos + np.concatenate((-x[..., half:], x[..., :half]), axis=-1) * sin


@ROTARY.mistake("turned-backwards")
def turned_backwards(x, positions):
    """it turns the other way: the minus sign belongs to b sin in the first half."""
    cos, sin = _cos_sin(positions, x.shape[-1])
    return _turned(x, cos, -sin)


@ROTARY.mistake("minus-missing")
def without_the_minus(x, positions):
    """the minus sign is missing: without it this is no rotation, and the norm changes."""
    cos, sin = _cos_sin(positions, x.shape[-1])
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate((a * cos + b * sin, a * sin + b * cos), axis=-1)


@ROTARY.mistake("i-over-K")
def i_over_k(x, positions):
    """the exponent is -i/K, expected -2i/K: the frequencies fall only half as far."""
    k = x.shape[-1]
    angles = positions[:, None] * 10000 ** (-np.arange(k // 2) / k)
    return _turned(x, np.cos(angles), np.sin(angles))


@ROTARY.mistake("exponent-sign")
def frequencies_rise(x, positions):
    """the exponent has the wrong sign: frequencies fall from 1 to nearly 1/10000, they do not
    rise."""
    k = x.shape[-1]
    angles = positions[:, None] * 10000 ** (np.arange(0, k, 2) / k)
    return _turned(x, np.cos(angles), np.sin(angles))


@ROTARY.mistake("positions-ignored")
def positions_from_zero(x, positions):
    """positions are taken as 0 to T - 1: with a KV cache the new tokens stand elsewhere."""
    return _turned(x, *_cos_sin(np.arange(len(positions)), x.shape[-1]))


@ROTARY.mistake("half-turned-already")
def rotation_in_place(x, positions):
    """the second half is computed from the first half that was turned already: keep the old a and b
    until both are done."""
    cos, sin = _cos_sin(positions, x.shape[-1])
    half = x.shape[-1] // 2
    y = x.copy()
    y[..., :half] = y[..., :half] * cos - y[..., half:] * sin
    y[..., half:] = y[..., :half] * sin + y[..., half:] * cos
    return y

"""Rotary positions, backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Exercise
from npformer.exercises.positions.rotary import _cases, _cos_sin, _turned


def rotary_backward(dy, positions):
    """Return dx (B, H, T, K); dy: (B, H, T, K), positions: integers of shape (T,)."""
    _, cache = ops.rotary_forward(dy, positions)  # the angles are all that is needed of it
    return ops.rotary_backward(dy, cache)


def rotary_backward_cases(rng):
    """Return gradients at positions from the start, in any order, and far from it."""
    return _cases(rng, "dy")


def rotary_backward_terms(dy, positions):
    cos, sin = _cos_sin(positions, dy.shape[-1])
    half = dy.shape[-1] // 2
    swapped = np.concatenate((dy[..., half:], -dy[..., :half]), axis=-1)
    cos, sin = np.concatenate((cos, cos), axis=-1), np.concatenate((sin, sin), axis=-1)
    return {"dx": {"dy cos": dy * cos, "(dy_b, -dy_a) sin": swapped * sin}}


ROTARY_BACKWARD = Exercise(
    id="rotary-backward",
    title="Rotary positions backward",
    statement=r"""
        The forward, rotary positions, turned each plane $(a, b)$, the features $i$ and $i + K/2$ at
        position $t$, by $\theta = \mathrm{positions}_t\,10000^{-2i/K}$:

        $$y_a = x_a\cos\theta - x_b\sin\theta, \qquad y_b = x_a\sin\theta + x_b\cos\theta$$

        Given `dy` (B, H, T, K), K even, and the integer `positions` (T,), return `dx` (B, H, T, K).
        x itself is not needed: why?""",
    reference=rotary_backward,
    library=(ops.rotary_backward,),
    outputs=("dx",),
    cases=rotary_backward_cases,
    hints=(
        """The forward is linear in x, and positions are constants. The gradient of a linear map is
        its transpose.""",
        r"""$x_a$ is in both lines: $dx_a = dy_a\cos\theta + dy_b\sin\theta$, $dx_b =
        -dy_a\sin\theta + dy_b\cos\theta$. It is the rotation by $-\theta$.""",
        """Your forward with the other sign of the sine: `np.concatenate((da * cos + db * sin, db *
        cos - da * sin), axis=-1)`, with the two halves da and db of dy.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=8,
    terms=rotary_backward_terms,
    docs="derivations/positions.md",
)


@ROTARY_BACKWARD.mistake("turned-again")
def turned_again(dy, positions):
    """dy is turned forward once more: the gradient is turned back, with the other sign of the
    sine."""
    return _turned(dy, *_cos_sin(positions, dy.shape[-1]))


@ROTARY_BACKWARD.mistake("passed-on")
def passed_on(dy, positions):
    """dy is passed on unchanged: positions have no gradient, but x was turned on the way."""
    return dy.copy()


@ROTARY_BACKWARD.mistake("sine-missing")
def cosine_only(dy, positions):
    """only dy cos is there: each feature is in two outputs, so its gradient has two terms."""
    cos, _ = _cos_sin(positions, dy.shape[-1])
    return dy * np.concatenate((cos, cos), axis=-1)


@ROTARY_BACKWARD.mistake("derivative-of-the-angle")
def derivative_of_the_angle(dy, positions):
    """cos and sin were differentiated: the angle is a constant, the derivative is with respect to
    x."""
    cos, sin = _cos_sin(positions, dy.shape[-1])
    return _turned(dy, -sin, cos)


@ROTARY_BACKWARD.mistake("interleaved")
def interleaved_backward(dy, positions):
    """features 2i and 2i + 1 are turned back together: here plane i has the features i and i +
    K/2."""
    cos, sin = _cos_sin(positions, dy.shape[-1])
    dx = np.empty_like(dy)
    dx[..., 0::2] = dy[..., 0::2] * cos + dy[..., 1::2] * sin
    dx[..., 1::2] = -dy[..., 0::2] * sin + dy[..., 1::2] * cos
    return dx


@ROTARY_BACKWARD.mistake("minus-missing")
def both_signs_plus(dy, positions):
    r"""the minus sign is missing: $dx_b = -dy_a\sin\theta + dy_b\cos\theta$."""
    cos, sin = _cos_sin(positions, dy.shape[-1])
    half = dy.shape[-1] // 2
    da, db = dy[..., :half], dy[..., half:]
    return np.concatenate((da * cos + db * sin, da * sin + db * cos), axis=-1)


@ROTARY_BACKWARD.mistake("positions-ignored")
def backward_from_zero(dy, positions):
    """positions are taken as 0 to T - 1."""
    cos, sin = _cos_sin(np.arange(len(positions)), dy.shape[-1])
    return _turned(dy, cos, -sin)

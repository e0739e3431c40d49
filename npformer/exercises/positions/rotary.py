"""Rotary positions, forward and backward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def interleaved(x, positions):
    cos, sin = _cos_sin(positions, x.shape[-1])
    y = np.empty_like(x)
    y[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
    y[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
    return y


def layouts_mixed(x, positions):
    cos, sin = (np.repeat(c, 2, axis=-1) for c in _cos_sin(positions, x.shape[-1]))
    half = x.shape[-1] // 2
    return x * cos + np.concatenate((-x[..., half:], x[..., :half]), axis=-1) * sin


def turned_backwards(x, positions):
    cos, sin = _cos_sin(positions, x.shape[-1])
    return _turned(x, cos, -sin)


def without_the_minus(x, positions):
    cos, sin = _cos_sin(positions, x.shape[-1])
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate((a * cos + b * sin, a * sin + b * cos), axis=-1)


def i_over_k(x, positions):
    k = x.shape[-1]
    angles = positions[:, None] * 10000 ** (-np.arange(k // 2) / k)
    return _turned(x, np.cos(angles), np.sin(angles))


def frequencies_rise(x, positions):
    k = x.shape[-1]
    angles = positions[:, None] * 10000 ** (np.arange(0, k, 2) / k)
    return _turned(x, np.cos(angles), np.sin(angles))


def positions_from_zero(x, positions):
    return _turned(x, *_cos_sin(np.arange(len(positions)), x.shape[-1]))


def rotation_in_place(x, positions):
    cos, sin = _cos_sin(positions, x.shape[-1])
    half = x.shape[-1] // 2
    y = x.copy()
    y[..., :half] = y[..., :half] * cos - y[..., half:] * sin
    y[..., half:] = y[..., :half] * sin + y[..., half:] * cos
    return y


def rotary_steps(x, positions):
    k = x.shape[-1]
    angles = positions[:, None] * 10000 ** (-np.arange(0, k, 2) / k)
    return {"angles": angles, "cos": np.cos(angles), "sin": np.sin(angles)}


ROTARY = Exercise(
    id="rotary",
    title=Text("Rotary positions (RoPE)", "旋转位置编码 (RoPE)"),
    statement=Text(
        "A query or key at position $t$ is turned, two features at a time, by angles proportional "
        "to $t$. Plane $i$ has the features $i$ and $i + K/2$ (the half-split layout of Llama and "
        "GPT-NeoX), $i = 0, \\ldots, K/2 - 1$; with\n\n"
        "$$\\theta_{ti} = \\mathrm{positions}_t\\,\\omega_i, \\qquad \\omega_i = 10000^{-2i/K}$$\n\n"
        "$$y_{ti} = x_{ti}\\cos\\theta_{ti} - x_{t,\\,i+K/2}\\sin\\theta_{ti}, \\qquad "
        "y_{t,\\,i+K/2} = x_{ti}\\sin\\theta_{ti} + x_{t,\\,i+K/2}\\cos\\theta_{ti}$$\n\n"
        "`x` is (B, H, T, K), K even; `positions` are integers of shape (T,), the same for all "
        "sequences and heads, not always 0 to T - 1. Return `y` (B, H, T, K).",
        "位置 $t$ 处的 query 或 key，每次取两个特征，旋转一个与 $t$ 成正比的角度。第 $i$ 个平面由特征 $i$ 和 $i + K/2$ 组成"
        "（Llama 和 GPT-NeoX 的前后半布局），$i = 0, \\ldots, K/2 - 1$；\n\n"
        "$$\\theta_{ti} = \\mathrm{positions}_t\\,\\omega_i, \\qquad \\omega_i = "
        "10000^{-2i/K}$$\n\n"
        "$$y_{ti} = x_{ti}\\cos\\theta_{ti} - x_{t,\\,i+K/2}\\sin\\theta_{ti}, \\qquad "
        "y_{t,\\,i+K/2} = x_{ti}\\sin\\theta_{ti} + x_{t,\\,i+K/2}\\cos\\theta_{ti}$$\n\n"
        "`x` 的形状为 (B, H, T, K)，K 为偶数；`positions` 是形状为 (T,) 的整数，对所有序列和头相同，不一定是 0 到 T - 1。"
        "返回 `y` (B, H, T, K)。",
    ),
    reference=rotary,
    library=(ops.rotary_forward,),
    outputs=("y",),
    cases=rotary_cases,
    hints=(
        Text(
            "Angles are (T, K/2); cut x into its two halves a and b of the same width, and turn all "
            "planes at once.",
            "角度的形状为 (T, K/2)；把 x 切成同样宽的两半 a 和 b，一次旋转所有平面。",
        ),
        Text(
            "$(a, b) \\to (a\\cos\\theta - b\\sin\\theta,\\; a\\sin\\theta + b\\cos\\theta)$. (T, K/2) "
            "broadcasts over B and H.",
            "$(a, b) \\to (a\\cos\\theta - b\\sin\\theta,\\; a\\sin\\theta + b\\cos\\theta)$。"
            "(T, K/2) 沿 B 和 H 广播。",
        ),
        Text(
            "`angles = positions[:, None] * 10000 ** (-np.arange(0, k, 2) / k)`; cos and sin of "
            "it, `.astype(x.dtype)`; `a, b = x[..., : k // 2], x[..., k // 2 :]`; "
            "`np.concatenate((a * cos - b * sin, a * sin + b * cos), axis=-1)`.",
            "`angles = positions[:, None] * 10000 ** (-np.arange(0, k, 2) / k)`；求 cos 和 sin 并 "
            "`.astype(x.dtype)`；`a, b = x[..., : k // 2], x[..., k // 2 :]`；"
            "`np.concatenate((a * cos - b * sin, a * sin + b * cos), axis=-1)`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "interleaved",
            interleaved,
            Text(
                "features 2i and 2i + 1 are turned together, the layout of the paper and GPT-J: "
                "here plane i has the features i and i + K/2.",
                "把特征 2i 和 2i + 1 配成了一对，这是论文和 GPT-J 的布局：这里第 i 个平面是特征 i 和 i + K/2。",
            ),
        ),
        Misconception(
            "layouts-mixed",
            layouts_mixed,
            Text(
                "the angles are repeated as for the interleaved layout (0, 0, 1, 1, ...) but the "
                "features are paired as for the half-split one. Here the angles are 0, 1, ..., "
                "0, 1, ...: tile them.",
                "角度按交错布局重复 (0, 0, 1, 1, ...)，特征却按前后半布局配对。这里的角度应为 0, 1, ..., 0, 1, ...：用 tile。",
            ),
        ),
        Misconception(
            "turned-backwards",
            turned_backwards,
            Text(
                "it turns the other way: the minus sign belongs to b sin in the first half.",
                "转反了方向：负号应当在前一半的 b sin 上。",
            ),
        ),
        Misconception(
            "minus-missing",
            without_the_minus,
            Text(
                "the minus sign is missing: without it this is no rotation, and the norm changes.",
                "少了负号：没有它就不是旋转，范数会改变。",
            ),
        ),
        Misconception(
            "i-over-K",
            i_over_k,
            Text(
                "the exponent is -i/K, expected -2i/K: the frequencies fall only half as far.",
                "指数是 -i/K，应为 -2i/K：频率下降的数量级只有一半。",
            ),
        ),
        Misconception(
            "exponent-sign",
            frequencies_rise,
            Text(
                "the exponent has the wrong sign: frequencies fall from 1 to nearly 1/10000, they "
                "do not rise.",
                "指数的符号反了：频率从 1 降到接近 1/10000，而不是上升。",
            ),
        ),
        Misconception(
            "positions-ignored",
            positions_from_zero,
            Text(
                "positions are taken as 0 to T - 1: with a KV cache the new tokens stand elsewhere.",
                "把位置当成了 0 到 T - 1：使用 KV 缓存时，新词元的位置并不从 0 开始。",
            ),
        ),
        Misconception(
            "half-turned-already",
            rotation_in_place,
            Text(
                "the second half is computed from the first half that was turned already: keep "
                "the old a and b until both are done.",
                "计算后一半时用到了已经旋转过的前一半：两半都算完之前要保留旧的 a 和 b。",
            ),
        ),
    ),
    topic="positions",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=10,
    steps=rotary_steps,
    docs="derivations/positions.md",
)


def rotary_backward(dy, positions):
    """Return dx (B, H, T, K); dy: (B, H, T, K), positions: integers of shape (T,)."""
    _, cache = ops.rotary_forward(dy, positions)  # the angles are all that is needed of it
    return ops.rotary_backward(dy, cache)


def rotary_backward_cases(rng):
    """Return gradients at positions from the start, in any order, and far from it."""
    return _cases(rng, "dy")


def turned_again(dy, positions):
    return _turned(dy, *_cos_sin(positions, dy.shape[-1]))


def passed_on(dy, positions):
    return dy.copy()


def cosine_only(dy, positions):
    cos, _ = _cos_sin(positions, dy.shape[-1])
    return dy * np.concatenate((cos, cos), axis=-1)


def derivative_of_the_angle(dy, positions):
    cos, sin = _cos_sin(positions, dy.shape[-1])
    return _turned(dy, -sin, cos)


def interleaved_backward(dy, positions):
    cos, sin = _cos_sin(positions, dy.shape[-1])
    dx = np.empty_like(dy)
    dx[..., 0::2] = dy[..., 0::2] * cos + dy[..., 1::2] * sin
    dx[..., 1::2] = -dy[..., 0::2] * sin + dy[..., 1::2] * cos
    return dx


def both_signs_plus(dy, positions):
    cos, sin = _cos_sin(positions, dy.shape[-1])
    half = dy.shape[-1] // 2
    da, db = dy[..., :half], dy[..., half:]
    return np.concatenate((da * cos + db * sin, da * sin + db * cos), axis=-1)


def backward_from_zero(dy, positions):
    cos, sin = _cos_sin(np.arange(len(positions)), dy.shape[-1])
    return _turned(dy, cos, -sin)


def rotary_backward_terms(dy, positions):
    cos, sin = _cos_sin(positions, dy.shape[-1])
    half = dy.shape[-1] // 2
    swapped = np.concatenate((dy[..., half:], -dy[..., :half]), axis=-1)
    cos, sin = np.concatenate((cos, cos), axis=-1), np.concatenate((sin, sin), axis=-1)
    return {"dx": {"dy cos": dy * cos, "(dy_b, -dy_a) sin": swapped * sin}}


ROTARY_BACKWARD = Exercise(
    id="rotary-backward",
    title=Text("Rotary positions backward", "旋转位置编码的反向传播"),
    statement=Text(
        "The forward, rotary positions, turned each plane $(a, b)$, the features $i$ and "
        "$i + K/2$ at position $t$, by $\\theta = \\mathrm{positions}_t\\,10000^{-2i/K}$:\n\n"
        "$$y_a = x_a\\cos\\theta - x_b\\sin\\theta, \\qquad "
        "y_b = x_a\\sin\\theta + x_b\\cos\\theta$$\n\n"
        "Given `dy` (B, H, T, K), K even, and the integer `positions` (T,), return `dx` "
        "(B, H, T, K). x itself is not needed: why?",
        "旋转位置编码的前向把每个平面 $(a, b)$，即位置 $t$ 处的特征 $i$ 和 $i + K/2$，旋转了 "
        "$\\theta = \\mathrm{positions}_t\\,10000^{-2i/K}$：\n\n"
        "$$y_a = x_a\\cos\\theta - x_b\\sin\\theta, \\qquad "
        "y_b = x_a\\sin\\theta + x_b\\cos\\theta$$\n\n"
        "给定 `dy` (B, H, T, K)（K 为偶数）和整数 `positions` (T,)，返回 `dx` (B, H, T, K)。这里不需要 x 本身，为什么？",
    ),
    reference=rotary_backward,
    library=(ops.rotary_backward,),
    outputs=("dx",),
    cases=rotary_backward_cases,
    hints=(
        Text(
            "The forward is linear in x, and positions are constants. The gradient of a linear map "
            "is its transpose.",
            "前向对 x 是线性的，位置是常数。线性映射的梯度就是它的转置。",
        ),
        Text(
            "$x_a$ is in both lines: $dx_a = dy_a\\cos\\theta + dy_b\\sin\\theta$, "
            "$dx_b = -dy_a\\sin\\theta + dy_b\\cos\\theta$. It is the rotation by $-\\theta$.",
            "$x_a$ 出现在两行里：$dx_a = dy_a\\cos\\theta + dy_b\\sin\\theta$，"
            "$dx_b = -dy_a\\sin\\theta + dy_b\\cos\\theta$。这就是旋转 $-\\theta$。",
        ),
        Text(
            "Your forward with the other sign of the sine: "
            "`np.concatenate((da * cos + db * sin, db * cos - da * sin), axis=-1)`, with the two "
            "halves da and db of dy.",
            "把你的前向中正弦的符号反过来："
            "`np.concatenate((da * cos + db * sin, db * cos - da * sin), axis=-1)`，da 和 db 是 dy 的两半。",
        ),
    ),
    misconceptions=(
        Misconception(
            "turned-again",
            turned_again,
            Text(
                "dy is turned forward once more: the gradient is turned back, with the other sign "
                "of the sine.",
                "dy 又向前旋转了一次：梯度应当转回去，正弦取相反的符号。",
            ),
        ),
        Misconception(
            "passed-on",
            passed_on,
            Text(
                "dy is passed on unchanged: positions have no gradient, but x was turned on the "
                "way.",
                "dy 原样传了下去：位置确实没有梯度，但 x 在途中被旋转过。",
            ),
        ),
        Misconception(
            "sine-missing",
            cosine_only,
            Text(
                "only dy cos is there: each feature is in two outputs, so its gradient has two "
                "terms.",
                "只有 dy cos：每个特征出现在两个输出里，梯度应有两项。",
            ),
        ),
        Misconception(
            "derivative-of-the-angle",
            derivative_of_the_angle,
            Text(
                "cos and sin were differentiated: the angle is a constant, the derivative is with "
                "respect to x.",
                "对 cos 和 sin 求了导：角度是常数，求导是对 x 的。",
            ),
        ),
        Misconception(
            "interleaved",
            interleaved_backward,
            Text(
                "features 2i and 2i + 1 are turned back together: here plane i has the features i "
                "and i + K/2.",
                "把特征 2i 和 2i + 1 配成了一对：这里第 i 个平面是特征 i 和 i + K/2。",
            ),
        ),
        Misconception(
            "minus-missing",
            both_signs_plus,
            Text(
                "the minus sign is missing: $dx_b = -dy_a\\sin\\theta + dy_b\\cos\\theta$.",
                "少了负号：$dx_b = -dy_a\\sin\\theta + dy_b\\cos\\theta$。",
            ),
        ),
        Misconception(
            "positions-ignored",
            backward_from_zero,
            Text(
                "positions are taken as 0 to T - 1.",
                "把位置当成了 0 到 T - 1。",
            ),
        ),
    ),
    topic="positions",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=8,
    terms=rotary_backward_terms,
    docs="derivations/positions.md",
)

EXERCISES = (ROTARY, ROTARY_BACKWARD)

"""The fixed table of sines and cosines."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def i_over_d(length, d_model):
    i = np.arange((d_model + 1) // 2)
    return _table(np.arange(length)[:, None] * 10000 ** (-i / d_model), d_model)


def two_i_doubled(length, d_model):
    i = np.arange(0, d_model, 2)
    return _table(np.arange(length)[:, None] * 10000 ** (-2 * i / d_model), d_model)


def a_rate_for_each_column(length, d_model):
    angles = np.arange(length)[:, None] * 10000 ** (-np.arange(d_model) / d_model)
    table = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, 1::2])
    return table


def sines_first(length, d_model):
    angles = _angles(length, d_model)
    return np.concatenate((np.sin(angles), np.cos(angles[:, : d_model // 2])), axis=1)


def cosine_first(length, d_model):
    angles = _angles(length, d_model)
    table = np.empty((length, d_model))
    table[:, 0::2] = np.cos(angles)
    table[:, 1::2] = np.sin(angles[:, : d_model // 2])
    return table


def from_one(length, d_model):
    return _table(_angles(length + 1, d_model)[1:], d_model)


def multiplied_by_the_rate(length, d_model):
    return _table(
        np.arange(length)[:, None] * 10000 ** (np.arange(0, d_model, 2) / d_model), d_model
    )


def base_100000(length, d_model):
    rates = 100000 ** (-np.arange(0, d_model, 2) / d_model)
    return _table(np.arange(length)[:, None] * rates, d_model)


SINUSOIDAL = Exercise(
    id="sinusoidal",
    title=Text("Sinusoidal positions", "正弦位置编码"),
    statement=Text(
        "Build the table that the original Transformer adds to its embeddings:\n\n"
        "$$P_{t,2i} = \\sin(t\\,\\omega_i), \\qquad P_{t,2i+1} = \\cos(t\\,\\omega_i), \\qquad "
        "\\omega_i = 10000^{-2i/D}$$\n\n"
        "with $t = 0, \\ldots, T-1$. `length` is T, `d_model` is D. Sine and cosine of one "
        "frequency stand side by side. If D is odd, the last column is a sine without its cosine. "
        "Return the table (T, D), float64.",
        "构造原始 Transformer 加到词嵌入上的位置表：\n\n"
        "$$P_{t,2i} = \\sin(t\\,\\omega_i), \\qquad P_{t,2i+1} = \\cos(t\\,\\omega_i), \\qquad "
        "\\omega_i = 10000^{-2i/D}$$\n\n"
        "其中 $t = 0, \\ldots, T-1$。`length` 即 T，`d_model` 即 D。同一频率的正弦和余弦相邻。"
        "若 D 为奇数，最后一列是没有余弦与之配对的正弦。返回 float64 的表 (T, D)。",
    ),
    reference=sinusoidal,
    library=(ops.sinusoidal_table,),
    outputs=("table",),
    cases=sinusoidal_cases,
    hints=(
        Text(
            "Make all angles at once, positions times frequencies, then fill the even columns "
            "with their sines and the odd ones with their cosines.",
            "先一次算出所有角度，即位置乘以频率，再把正弦填入偶数列，余弦填入奇数列。",
        ),
        Text(
            "2i runs over the even columns 0, 2, 4, ...: that many frequencies, "
            "$10000^{-2i/D}$. For odd D there is one cosine less.",
            "2i 取遍偶数列 0、2、4……，每个对应一个频率 $10000^{-2i/D}$。D 为奇数时余弦少一个。",
        ),
        Text(
            "`even = np.arange(0, d_model, 2)`, "
            "`angles = np.arange(length)[:, None] * 10000 ** (-even / d_model)`; into an empty "
            "table (T, D): `table[:, 0::2] = np.sin(angles)` and "
            "`table[:, 1::2] = np.cos(angles[:, : d_model // 2])`.",
            "`even = np.arange(0, d_model, 2)`，"
            "`angles = np.arange(length)[:, None] * 10000 ** (-even / d_model)`；在空表 (T, D) 中填入 "
            "`table[:, 0::2] = np.sin(angles)` 和 "
            "`table[:, 1::2] = np.cos(angles[:, : d_model // 2])`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "i-over-D",
            i_over_d,
            Text(
                "the exponent is -i/D, expected -2i/D: i counts pairs of columns, 2i is the "
                "column of the sine.",
                "指数是 -i/D，应为 -2i/D：i 数的是列对，2i 才是正弦所在的列。",
            ),
        ),
        Misconception(
            "2-twice",
            two_i_doubled,
            Text(
                "the exponent is -4i/D: the even columns 0, 2, 4, ... are 2i already.",
                "指数成了 -4i/D：偶数列 0、2、4……已经是 2i 了。",
            ),
        ),
        Misconception(
            "a-frequency-a-column",
            a_rate_for_each_column,
            Text(
                "each column has a frequency of its own: a sine and the cosine beside it share "
                "one, so that a shift of t is a rotation of the pair.",
                "每一列各有一个频率：相邻的正弦与余弦应共用一个，这样 t 的平移才是这一对的旋转。",
            ),
        ),
        Misconception(
            "sines-first",
            sines_first,
            Text(
                "all sines stand before all cosines (Marian has it so): here they alternate.",
                "所有正弦排在所有余弦之前（Marian 是这样排的）：这里要求交替排列。",
            ),
        ),
        Misconception(
            "cosine-first",
            cosine_first,
            Text(
                "sine and cosine are exchanged: even columns are sines.",
                "正弦和余弦互换了：偶数列应当是正弦。",
            ),
        ),
        Misconception(
            "from-one",
            from_one,
            Text(
                "positions start at 1, expected 0: the first row is 0, 1, 0, 1, ...",
                "位置从 1 开始了，应当从 0 开始：第一行是 0, 1, 0, 1, ……",
            ),
        ),
        Misconception(
            "exponent-sign",
            multiplied_by_the_rate,
            Text(
                "the exponent has the wrong sign: frequencies fall from 1 to nearly 1/10000, they "
                "do not rise.",
                "指数的符号反了：频率从 1 降到接近 1/10000，而不是上升。",
            ),
        ),
        Misconception(
            "base-100000",
            base_100000,
            Text(
                "the base is 100000, expected 10000.",
                "底数写成了 100000，应为 10000。",
            ),
        ),
    ),
    topic="positions",
    tracks=("interview", "class"),
    difficulty=1,
    minutes=8,
    steps=lambda length, d_model: {"angles": _angles(length, d_model)},
    float32=False,
    docs="derivations/positions.md",
)

EXERCISES = (SINUSOIDAL,)

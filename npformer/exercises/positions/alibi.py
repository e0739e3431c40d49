"""Attention with linear biases."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


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


def reward(num_heads, query_len, key_len):
    slopes = _slopes(num_heads)
    return slopes, -_bias(slopes, _distance(query_len, key_len))


def without_offset(num_heads, query_len, key_len):
    slopes = _slopes(num_heads)
    return slopes, _bias(slopes, np.arange(query_len)[:, None] - np.arange(key_len))


def symmetric(num_heads, query_len, key_len):
    slopes = _slopes(num_heads)
    return slopes, _bias(slopes, np.abs(_distance(query_len, key_len)))


def by_key_alone(num_heads, query_len, key_len):
    slopes = _slopes(num_heads)
    return slopes, _bias(slopes, -np.arange(key_len) + np.zeros((query_len, 1)))


def heads_from_zero(num_heads, query_len, key_len):
    power = 2 ** int(np.log2(num_heads))
    slopes = np.concatenate(([1.0], _slopes(power)[:-1], _slopes(num_heads)[power:]))
    return slopes, _bias(slopes, _distance(query_len, key_len))


def one_formula_for_all(num_heads, query_len, key_len):
    slopes = 2.0 ** (-8 * np.arange(1, num_heads + 1) / num_heads)
    return slopes, _bias(slopes, _distance(query_len, key_len))


def the_first_of_twice_as_many(num_heads, query_len, key_len):
    power = 2 ** int(np.log2(num_heads))
    slopes = np.concatenate((_slopes(power), _slopes(2 * power)[: num_heads - power]))
    return slopes, _bias(slopes, _distance(query_len, key_len))


def without_the_eight(num_heads, query_len, key_len):
    slopes = _slopes(num_heads) ** (1 / 8)
    return slopes, _bias(slopes, _distance(query_len, key_len))


def alibi_steps(num_heads, query_len, key_len):
    return {"slopes": _slopes(num_heads), "distance": _distance(query_len, key_len)}


ALIBI = Exercise(
    id="alibi",
    title=Text("ALiBi", "ALiBi"),
    statement=Text(
        "Attention with linear biases: each head $h$ lowers a score by its slope $m_h$ times the "
        "distance. The T queries are the last T of the S tokens, $T \\le S$, so query $t$ stands "
        "at position $S - T + t$:\n\n"
        "$$\\mathrm{bias}_{hts} = -m_h\\,(S - T + t - s), \\qquad m_h = 2^{-8h/H}, \\quad "
        "h = 1, \\ldots, H$$\n\n"
        "for H a power of two. Otherwise, with P the largest power of two below H: the slopes of P "
        "heads, then the 1st, 3rd, 5th, ... slope of 2P heads until there are H. For keys after "
        "the query return the formula's positive number; the causal mask will hide it. "
        "`num_heads` is H, `query_len` T, `key_len` S. Return `slopes` (H,) and `bias` "
        "(1, H, T, S), in this order, both float64.",
        "带线性偏置的注意力：第 $h$ 个头把分数降低，降低量等于斜率 $m_h$ 乘以距离。T 个 query 是 S 个词元中的最后 T 个，"
        "$T \\le S$，所以 query $t$ 位于位置 $S - T + t$：\n\n"
        "$$\\mathrm{bias}_{hts} = -m_h\\,(S - T + t - s), \\qquad m_h = 2^{-8h/H}, \\quad "
        "h = 1, \\ldots, H$$\n\n"
        "此式适用于 H 为 2 的幂。否则，设 P 为小于 H 的最大的 2 的幂：先取 P 个头的斜率，再依次取 2P 个头的第 1、3、5……个斜率"
        "，直到凑满 H 个。对 query 之后的 key，返回公式给出的正数即可，因果掩码会把它屏蔽掉。"
        "`num_heads` 即 H，`query_len` 即 T，`key_len` 即 S。依次返回 `slopes` (H,) 和 `bias` (1, H, T, S)，"
        "都是 float64。",
    ),
    reference=alibi,
    library=(ops.alibi_slopes, ops.alibi_bias),
    outputs=("slopes", "bias"),
    cases=alibi_cases,
    hints=(
        Text(
            "Two parts: a matrix of distances (T, S), the same for all heads, and one number a "
            "head. Nothing is learned.",
            "分两部分：一个所有头共用的距离矩阵 (T, S)，以及每个头一个数。没有任何可学习的参数。",
        ),
        Text(
            "For 4 heads: 1/4, 1/16, 1/64, 1/256. For 3: those of 2 heads, 1/16 and 1/256, then "
            "the first of 4, 1/4.",
            "4 个头：1/4、1/16、1/64、1/256。3 个头：先是 2 个头的 1/16 和 1/256，再是 4 个头的第一个 1/4。",
        ),
        Text(
            "`power = 2 ** int(np.log2(num_heads))`, "
            "`slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)`, then those of 2P heads, "
            "`[::2]`, as many as are missing; "
            "`distance = np.arange(s - t, s)[:, None] - np.arange(s)`; "
            "`bias = -slopes[None, :, None, None] * distance`.",
            "`power = 2 ** int(np.log2(num_heads))`，"
            "`slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)`，再取 2P 个头的斜率的 `[::2]`，缺几个补几个；"
            "`distance = np.arange(s - t, s)[:, None] - np.arange(s)`；"
            "`bias = -slopes[None, :, None, None] * distance`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "a-reward",
            reward,
            Text(
                "the bias has the wrong sign: a key that is further back must be lowered, here it "
                "is raised.",
                "偏置的符号反了：越远的 key 应当降得越多，这里却升高了。",
            ),
        ),
        Misconception(
            "offset-missing",
            without_offset,
            Text(
                "the first query is taken to stand at position 0: the T queries are the last of "
                "the S tokens, so it stands at S - T.",
                "把第一个 query 放在了位置 0：T 个 query 是 S 个词元中的最后 T 个，它应当位于 S - T。",
            ),
        ),
        Misconception(
            "symmetric",
            symmetric,
            Text(
                "the distance is taken without its sign, as for an encoder: here the formula of "
                "causal attention is asked for, also where the mask will hide it.",
                "距离取了绝对值，那是编码器的做法：这里要的是因果注意力的公式，会被掩码屏蔽的地方也照公式计算。",
            ),
        ),
        Misconception(
            "by-key-alone",
            by_key_alone,
            Text(
                "the bias is $m_h s$, as in BLOOM's code: it differs by a number that is the same "
                "along a row, which the softmax does not see but a loss on the scores would. Here "
                "it is $-m_h$ times the distance.",
                "偏置是 $m_h s$，即 BLOOM 代码的写法：每一行只差一个常数，softmax 不受影响，但作用在分数上的损失会受影响。"
                "这里要求的是 $-m_h$ 乘以距离。",
            ),
        ),
        Misconception(
            "heads-from-zero",
            heads_from_zero,
            Text(
                "heads are counted from 0, so that the first slope is 1: h runs from 1 to H.",
                "头从 0 开始编号，第一个斜率成了 1：h 应从 1 取到 H。",
            ),
        ),
        Misconception(
            "one-formula-for-all",
            one_formula_for_all,
            Text(
                "$2^{-8h/H}$ is used though H is no power of two: then the slopes are those of P "
                "heads and every other one of 2P.",
                "H 不是 2 的幂时也用了 $2^{-8h/H}$：此时应取 P 个头的斜率，再从 2P 个头的斜率中隔一个取一个。",
            ),
        ),
        Misconception(
            "every-one-of-2P",
            the_first_of_twice_as_many,
            Text(
                "the missing slopes are the first ones of 2P heads: it is every other one, the "
                "1st, 3rd, 5th; those between are there already.",
                "补上的是 2P 个头的前几个斜率：应当隔一个取一个，即第 1、3、5 个；中间的已经有了。",
            ),
        ),
        Misconception(
            "8-missing",
            without_the_eight,
            Text(
                "the slopes are $2^{-h/H}$: the exponent is $-8h/H$.",
                "斜率写成了 $2^{-h/H}$：指数应为 $-8h/H$。",
            ),
        ),
    ),
    topic="positions",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=12,
    steps=alibi_steps,
    factors=lambda num_heads, query_len, key_len: {"H": num_heads, "T": query_len, "S": key_len},
    float32=False,
    docs="derivations/positions.md",
)

EXERCISES = (ALIBI,)

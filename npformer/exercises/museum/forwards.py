"""Wrong values in the forward pass: layer norm, dropout, positions."""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.text import Text


def layer_norm(x, gamma, beta):
    """Return the layer norm of x over the last axis, eps 1e-12; x: (..., D), gamma, beta: (D,)."""
    y, _ = ops.layernorm_forward(x, gamma, beta)
    return y


def with_bessels_correction(x, gamma, beta):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, ddof=1, keepdims=True)
    return gamma * centred / np.sqrt(variance + 1e-12) + beta


def test_two_features_become_one_and_minus_one(fn):
    y = fn(np.array([[3.0, 7.0]]), np.ones(2), np.zeros(2))
    assert np.allclose(y, [[-1, 1]])


LAYER_NORM_STATEMENT = Text(
    "`layer_norm(x, gamma, beta)` returns "
    "$\\gamma\\,(x - \\mu)/\\sqrt{\\sigma^2 + 10^{-12}} + \\beta$ with "
    "$\\mu = \\frac1D\\sum_j x_j$ and $\\sigma^2 = \\frac1D\\sum_j (x_j - \\mu)^2$ over the last "
    "axis. `x` and the result are (..., D), `gamma` and `beta` (D,).",
    "`layer_norm(x, gamma, beta)` 返回 "
    "$\\gamma\\,(x - \\mu)/\\sqrt{\\sigma^2 + 10^{-12}} + \\beta$，其中 "
    "$\\mu = \\frac1D\\sum_j x_j$，$\\sigma^2 = \\frac1D\\sum_j (x_j - \\mu)^2$，沿最后一个轴计算。"
    "`x` 与结果为 (..., D)，`gamma` 与 `beta` 为 (D,)。",
)

LAYER_NORM_BESSEL = Bug(
    id="layer-norm-bessel",
    title=Text("A variance divided by D - 1", "方差除以了 D - 1"),
    story=Text(
        "A tutorial took the standard deviation of its framework, whose default divides by D - 1, "
        "as one does to estimate a variance from a sample. Its readers asked about it again and "
        "again. At D = 512 the outputs are 0.1 % too small, which no training notices; loaded "
        "weights do.",
        "一份教程直接调用了框架的标准差函数，其默认是除以 D - 1，即由样本估计方差的做法。"
        "读者一再问起。D = 512 时输出只小了 0.1%，训练察觉不到；加载现成权重时就对不上了。",
    ),
    statement=LAYER_NORM_STATEMENT,
    right=layer_norm,
    wrong=with_bessels_correction,
    symptom=Text(
        "A small D. Two features become -1 and 1, whatever they were; divided by D - 1 they become "
        "-0.71 and 0.71.",
        "用小的 D。两个特征无论取何值都会变成 -1 和 1；若除以 D - 1，则变成 -0.71 和 0.71。",
    ),
    witness=test_two_features_become_one_and_minus_one,
    topic="calculus",
    tracks=("interview", "class"),
    exercise="layer-norm",
)


def without_eps(x, gamma, beta):
    centred = x - x.mean(axis=-1, keepdims=True)
    return gamma * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True)) + beta


def test_equal_features_give_beta(fn):
    beta = np.array([0.5, -1.0, 2.0, 0.0])
    y = fn(np.full((2, 4), 3.0), np.ones(4), beta)
    assert np.allclose(y, beta)


LAYER_NORM_EPS = Bug(
    id="layer-norm-without-eps",
    title=Text("Zero divided by zero", "零除以零"),
    story=Text(
        "A notebook left eps out of its layer norm: random activations have no variance of zero. "
        "A padding row of zeros has, and one NaN in it reaches every parameter within a step.",
        "一个笔记本的层归一化省掉了 eps：随机的激活值方差不会是零。可是全零的填充行方差就是零，"
        "其中出现一个 NaN，一步之内就传遍所有参数。",
    ),
    statement=LAYER_NORM_STATEMENT,
    right=layer_norm,
    wrong=without_eps,
    symptom=Text(
        "A row of equal numbers: right is beta; wrong is NaN, or a rounding error blown up to 1.",
        "取一行相等的数：正确的结果是 beta；错误的结果是 NaN，或是被放大到 1 的舍入误差。",
    ),
    witness=test_equal_features_give_beta,
    topic="calculus",
    tracks=("interview", "class"),
    exercise="layer-norm",
)


def dropout(x, p_drop, rng=None):
    """Drop entries with probability p_drop, scale up the rest by 1/(1 - p_drop); x: (...)."""
    y, _ = ops.dropout_forward(x, p_drop, rng)
    return y


def never_off(x, p_drop, rng=None):
    rng = np.random.default_rng(0) if rng is None else rng
    return x * (rng.random(x.shape) >= p_drop) / (1 - p_drop)


def test_nothing_is_dropped_without_a_generator(fn):
    x = np.random.default_rng(0).normal(size=(20, 30))
    assert np.allclose(fn(x, 0.5), x)


DROPOUT_ALWAYS_ON = Bug(
    id="dropout-never-off",
    title=Text("Dropout that cannot be turned off", "关不掉的 dropout"),
    story=Text(
        "A library had no switch between training and evaluation: every forward pass dropped, also "
        "where the model was measured or asked to write. What it says then is a matter of luck.",
        "一个库没有训练与评估的开关：每次前向都会丢弃，评估和生成时也不例外。"
        "这时模型说什么就看运气了。",
    ),
    statement=Text(
        "`dropout(x, p_drop, rng=None)`: with a generator each entry of `x` becomes 0 with "
        "probability `p_drop`, else it is divided by 1 - p_drop. Without one (evaluation) the "
        "result is `x`. Any shape.",
        "`dropout(x, p_drop, rng=None)`：给出生成器时，`x` 的每个元素以概率 `p_drop` 置零，"
        "否则除以 1 - p_drop；不给生成器（评估时）结果就是 `x`。形状任意。",
    ),
    right=dropout,
    wrong=never_off,
    symptom=Text(
        "Called without a generator, the result must be the input.",
        "不给生成器时，结果应当等于输入。",
    ),
    witness=test_nothing_is_dropped_without_a_generator,
    topic="calculus",
    tracks=("class",),
    exercise="dropout-backward",
)


def sinusoidal(length, d_model):
    """Return the table (T, D) of sines (even columns) and cosines (odd ones); T = length."""
    return ops.sinusoidal_table(length, d_model)


def base_of_a_hundred_thousand(length, d_model):
    even = np.arange(0, d_model, 2)
    angles = np.arange(length)[:, None] / 100_000 ** (even / d_model)
    table = np.empty((length, d_model))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles[:, : d_model // 2])
    return table


def test_the_second_frequency(fn):
    table = fn(8, 4)  # frequencies 1 and 10000 ** -0.5
    assert np.allclose(table[:, 2], np.sin(np.arange(8) / 100))


SINUSOIDAL_BASE = Bug(
    id="sinusoidal-one-zero-too-many",
    title=Text("One zero too many", "多了一个零"),
    story=Text(
        "A notebook wrote 100000 for the 10000 of the sinusoidal positions. The table looks right "
        "in a plot, its first two columns are right, and a model can learn with it: nothing "
        "crashes. Weights trained elsewhere do not fit it.",
        "一个笔记本把正弦位置编码里的 10000 写成了 100000。画出来看不出问题，前两列完全正确，"
        "模型也照样能用它学习，不会报错；但别处训练的权重装进来就对不上了。",
    ),
    statement=Text(
        "`sinusoidal(length, d_model)` returns the table of Vaswani et al. (2017), of shape (T, D), "
        "T = `length`, D = `d_model`: $P_{t,2i} = \\sin(t\\,\\omega_i)$, "
        "$P_{t,2i+1} = \\cos(t\\,\\omega_i)$, $\\omega_i = 10000^{-2i/D}$, t from 0.",
        "`sinusoidal(length, d_model)` 返回 Vaswani 等（2017）的表，形状为 (T, D)，"
        "T = `length`，D = `d_model`：$P_{t,2i} = \\sin(t\\,\\omega_i)$，"
        "$P_{t,2i+1} = \\cos(t\\,\\omega_i)$，$\\omega_i = 10000^{-2i/D}$，t 从 0 开始。",
    ),
    right=sinusoidal,
    wrong=base_of_a_hundred_thousand,
    symptom=Text(
        "Any column from the third on. At D = 4 the third is sin(t/100).",
        "检查第三列以后的任意一列。D = 4 时第三列是 sin(t/100)。",
    ),
    witness=test_the_second_frequency,
    topic="positions",
    tracks=("interview", "class"),
    exercise="sinusoidal",
)

BUGS = (LAYER_NORM_BESSEL, LAYER_NORM_EPS, DROPOUT_ALWAYS_ON, SINUSOIDAL_BASE)

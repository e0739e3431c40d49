"""Wrong gradients that a weak check lets through: each is right on convenient inputs."""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.text import Text


def layer_norm_dx(dy, x, gamma):
    """Return the gradient dx of a layer norm over the last axis; dy, x: (..., D), gamma: (D,)."""
    _, cache = ops.layernorm_forward(x, gamma, np.zeros_like(gamma))
    dx, _, _ = ops.layernorm_backward(dy, cache)
    return dx


def gamma_outside_the_means(dy, x, gamma):
    centred = x - x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    xhat = centred * rstd
    mean = dy.mean(axis=-1, keepdims=True)
    mean_along = (dy * xhat).mean(axis=-1, keepdims=True)
    return gamma * rstd * (dy - mean - xhat * mean_along)


def test_slope_with_unequal_gamma(fn):
    rng = np.random.default_rng(0)
    x, dy, u = rng.normal(size=(3, 2, 5))
    gamma = rng.normal(size=5)  # not the ones it starts from

    def loss(x):
        centred = x - x.mean(axis=-1, keepdims=True)
        return (dy * gamma * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True))).sum()

    slope = (loss(x + 1e-6 * u) - loss(x - 1e-6 * u)) / 2e-6
    assert abs((fn(dy, x, gamma) * u).sum() - slope) < 1e-6


LAYER_NORM_GAMMA = Bug(
    id="layer-norm-gamma-outside",
    title=Text(
        "A layer norm gradient that is right at the start", "训练开始时才正确的层归一化梯度"
    ),
    story=Text(
        "A Transformer with hand-written gradients multiplied by gamma at the end of the layer "
        "norm's backward pass, after its two means. A check on a fresh layer, whose gamma is all "
        "ones, measures an error of 1e-10 and is content. With unequal gamma it is above 20 %.",
        "一个手写梯度的 Transformer 在层归一化的反向传播里，先求两个平均，最后才乘 gamma。"
        "在刚初始化的层上检查，gamma 全为 1，误差只有 1e-10，看起来没有问题；gamma 各不相等时，误差超过 20%。",
    ),
    statement=Text(
        "`layer_norm_dx(dy, x, gamma)` returns the gradient of "
        "$y = \\gamma\\,(x - \\mu)/\\sqrt{\\sigma^2 + 10^{-12}} + \\beta$ with respect to `x`. The "
        "mean and the (biased) variance run over the last axis. `dy` and `x` are (..., D), `gamma` "
        "is (D,), the result is (..., D).",
        "`layer_norm_dx(dy, x, gamma)` 返回 "
        "$y = \\gamma\\,(x - \\mu)/\\sqrt{\\sigma^2 + 10^{-12}} + \\beta$ 对 `x` 的梯度。"
        "均值与（有偏）方差沿最后一个轴计算。`dy`、`x` 为 (..., D)，`gamma` 为 (D,)，结果为 (..., D)。",
    ),
    right=layer_norm_dx,
    wrong=gamma_outside_the_means,
    symptom=Text(
        "A gamma whose entries differ, and finite differences. The means must be of dy * gamma.",
        "让 gamma 各元素不相等，再用有限差分检查。两个平均都应当对 dy * gamma 求。",
    ),
    witness=test_slope_with_unequal_gamma,
    topic="calculus",
    tracks=("class", "gradcheck"),
    exercise="layer-norm-backward",
)


def cross_entropy_dlogits(logits, labels):
    """Return the gradient of the mean cross-entropy; logits: (B, C), labels: (B,) integers."""
    _, cache = ops.cross_entropy_forward(logits, labels)
    return ops.cross_entropy_backward(1.0, cache)


def label_found_by_its_value(logits, labels):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    picked = logits[np.arange(len(labels)), labels]
    return (probs - np.isin(logits, picked)) / len(labels)


def test_gradient_at_equal_logits(fn):
    dlogits = fn(np.zeros((2, 4)), np.array([1, 3]))  # an untrained model: all logits equal
    want = np.full((2, 4), 0.25)
    want[0, 1] -= 1
    want[1, 3] -= 1
    assert np.allclose(dlogits, want / 2)


CROSS_ENTROPY_VALUES = Bug(
    id="cross-entropy-label-by-value",
    title=Text("The label is looked up by its logit's value", "按 logit 的数值去找标签"),
    story=Text(
        "Prediction minus truth needs a one where the label is. Hand-written code found that place "
        "by comparing values: wherever a logit equals the logit of a label, there it put a one. "
        "Random logits never coincide, so with them nothing shows.",
        "交叉熵的梯度是预测减真值，标签处要减 1。一段手写代码靠比较数值来找这个位置：凡是与标签的 "
        "logit 相等的地方都减 1。随机的 logits 不会相等，用它们测试什么也看不出来。",
    ),
    statement=Text(
        "`cross_entropy_dlogits(logits, labels)` returns the gradient, with respect to `logits` "
        "(B, C), of the cross-entropy, mean over the B rows, in nats. `labels` are B integers from "
        "0 to C - 1. The result is (B, C).",
        "`cross_entropy_dlogits(logits, labels)` 返回交叉熵对 `logits` (B, C) 的梯度；"
        "交叉熵对 B 行取平均，单位为 nat。`labels` 是 B 个 0 到 C - 1 的整数。结果为 (B, C)。",
    ),
    right=cross_entropy_dlogits,
    wrong=label_found_by_its_value,
    symptom=Text(
        "Two equal logits, in one row or in two. Each row of the gradient then no longer sums to 0.",
        "只要有两个 logits 相等（同一行或不同行都行），梯度各行之和就不再是 0。",
    ),
    witness=test_gradient_at_equal_logits,
    topic="calculus",
    tracks=("class", "gradcheck"),
    exercise="cross-entropy",
)


def embedding_dtable(dy, ids, num_rows):
    """Return the gradient (V, D) of a table of V = num_rows; dy: (..., D), ids: (...) integers."""
    table = np.zeros((num_rows, dy.shape[-1]), dy.dtype)
    return ops.embedding_backward(dy, ops.EmbeddingCache(ids, table))


def last_occurrence_wins(dy, ids, num_rows):
    dtable = np.zeros((num_rows, dy.shape[-1]), dy.dtype)
    dtable[ids] += dy
    return dtable


def test_an_id_that_occurs_twice(fn):
    dtable = fn(np.array([[1.0, 2.0], [10.0, 20.0], [5.0, 5.0]]), np.array([3, 3, 0]), 4)
    assert np.allclose(dtable, [[5, 5], [0, 0], [0, 0], [11, 22]])


EMBEDDING_REPEATED = Bug(
    id="embedding-repeated-ids",
    title=Text("A word that occurs twice learns once", "出现两次的词只学了一次"),
    story=Text(
        "The gradient of an embedding table adds up over all places where an id occurs. An "
        "assignment `+=` with an array of ids looks like that sum, but NumPy reads, adds and writes "
        "each row once: of repeated ids only the last one counts. With ids that all differ, as "
        "tests draw them from a large vocabulary, nothing shows.",
        "嵌入表的梯度要把一个 id 每次出现处的梯度加起来。用 id 数组做 `+=` 看起来正是这样，"
        "但 NumPy 对每行只读、加、写一次：重复的 id 只有最后一次算数。"
        "测试若从大词表里抽取互不相同的 id，就什么也看不出来。",
    ),
    statement=Text(
        "`embedding_dtable(dy, ids, num_rows)` returns the gradient of a lookup `table[ids]` with "
        "respect to the table (V, D), V = `num_rows`. `ids` is an integer array of any shape, `dy` "
        "has that shape and D behind it.",
        "`embedding_dtable(dy, ids, num_rows)` 返回查表 `table[ids]` 对表 (V, D) 的梯度，"
        "V = `num_rows`。`ids` 是任意形状的整数数组，`dy` 在该形状后面再加一个轴 D。",
    ),
    right=embedding_dtable,
    wrong=last_occurrence_wins,
    symptom=Text(
        "One id twice. `np.add.at(dtable, ids, dy)` adds both.",
        "让同一个 id 出现两次。`np.add.at(dtable, ids, dy)` 会把两次都加上。",
    ),
    witness=test_an_id_that_occurs_twice,
    topic="calculus",
    tracks=("class", "gradcheck"),
    exercise="embedding-backward",
)


def dropped_mix_backward(dctx, probs, r, v):
    """Return (dprobs, dv) of (probs * r) @ v; dctx: (B, T, K), probs, r: (B, T, S), v: (B, S, K)."""
    ddropped, dv = ops.attention_mix_backward(
        dctx[:, None], ops.AttentionMixCache((probs * r)[:, None], v[:, None])
    )
    return ops.dropout_backward(ddropped[:, 0], ops.DropoutCache(r)), dv[:, 0]


def dv_from_undropped_probs(dctx, probs, r, v):
    dprobs = (dctx @ v.swapaxes(-1, -2)) * r
    return dprobs, probs.swapaxes(-1, -2) @ dctx


def test_a_dropped_key_gets_no_gradient(fn):
    rng = np.random.default_rng(0)
    dctx, v = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 5, 3))
    probs = rng.dirichlet(np.ones(5), size=(2, 4))
    r = 2.0 * (rng.random((2, 4, 5)) < 0.5)
    r[:, :, 1] = 0  # nobody reads the second value
    _, dv = fn(dctx, probs, r, v)
    assert np.abs(dv[:, 1]).max() < 1e-9


DV_BEFORE_DROPOUT = Bug(
    id="dv-from-undropped-probs",
    title=Text("dv from the probabilities before dropout", "用 dropout 之前的概率求 dv"),
    story=Text(
        "A GPT with hand-written gradients kept the attention weights from before dropout and used "
        "them for dv. Its finite-difference tests covered eight operations, attention not among them. "
        "Without dropout the gradient is right to 1e-9; with it, it is off by 30 %.",
        "一个手写梯度的 GPT 保存了 dropout 之前的注意力权重，并用它求 dv。它的有限差分测试覆盖了八个"
        "算子，偏偏没有注意力。不开 dropout 时误差只有 1e-9，打开以后误差达 30%。",
    ),
    statement=Text(
        "The context of attention is `ctx = (probs * r) @ v`, where `r` holds the dropout's factors, "
        "0 or 1/(1 - p). `dropped_mix_backward(dctx, probs, r, v)` returns `(dprobs, dv)`, the "
        "gradients with respect to `probs` and `v`. Shapes: `dctx` (B, T, K), `probs` and `r` "
        "(B, T, S), `v` (B, S, K).",
        "注意力的上下文是 `ctx = (probs * r) @ v`，`r` 是 dropout 的系数，取 0 或 1/(1 - p)。"
        "`dropped_mix_backward(dctx, probs, r, v)` 返回 `(dprobs, dv)`，即对 `probs` 和 `v` 的梯度。"
        "形状：`dctx` (B, T, K)，`probs` 与 `r` (B, T, S)，`v` (B, S, K)。",
    ),
    right=dropped_mix_backward,
    wrong=dv_from_undropped_probs,
    symptom=Text(
        "A value that dropout hid from every query must get no gradient. Finite differences with a "
        "fixed r show it too; with r all ones nothing does.",
        "被 dropout 对所有 query 都隐藏的 value 不应有梯度。固定 r 做有限差分也能发现；r 全为 1 则发现不了。",
    ),
    witness=test_a_dropped_key_gets_no_gradient,
    topic="attention",
    tracks=("class", "gradcheck"),
    exercise="attention-backward",
)

BUGS = (LAYER_NORM_GAMMA, CROSS_ENTROPY_VALUES, EMBEDDING_REPEATED, DV_BEFORE_DROPOUT)

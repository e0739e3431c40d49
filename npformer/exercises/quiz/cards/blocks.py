"""The parts of a block beside attention: norms, residuals, feed-forward, dropout."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text
from npformer.models import cost

TOPIC = "blocks"


def layer_norm_sees_one_token():
    rng = np.random.default_rng(0)
    x, gamma, beta = rng.normal(size=(4, 6, 8)), rng.normal(size=8), rng.normal(size=8)
    y, _ = ops.layernorm_forward(x, gamma, beta)
    alone, _ = ops.layernorm_forward(x[2:3, 4:5], gamma, beta)
    assert np.allclose(alone, y[2:3, 4:5], atol=1e-12)  # whatever it is batched with

    def batch_norm(tokens):
        flat = tokens.reshape(-1, 8)
        return gamma * (tokens - flat.mean(axis=0)) / flat.std(axis=0) + beta

    padded = np.concatenate([x, np.zeros((4, 5, 8))], axis=1)
    assert np.abs(batch_norm(padded)[:, :6] - batch_norm(x)).max() > 0.1  # padding moves all
    assert np.allclose(ops.layernorm_forward(padded, gamma, beta)[0][:, :6], y, atol=1e-12)


LAYER_OR_BATCH_NORM = Card(
    id="layer-or-batch-norm",
    topic=TOPIC,
    question=Text(
        "Why layer norm and not batch norm for text?",
        "处理文本为什么用层归一化而不是批归一化？",
    ),
    answer=Text(
        "Layer norm takes mean and variance over the D features of one token: nothing depends on "
        "the batch, the length or the padding, and training and prediction are the same. Batch "
        "norm takes them over tokens: padding, lengths and rare words move the statistics, and "
        "prediction needs running averages.",
        "层归一化对单个词元的 D 个特征求均值和方差：与批次、长度、填充都无关，训练和预测完全一致。"
        "批归一化跨词元统计：填充、长度和罕见词都会影响统计量，预测时还要用滑动平均。",
    ),
    trap=Text(
        "Is eps inside or outside the root? Inside: `1 / sqrt(var + eps)`. And the variance divides "
        "by D, not by D - 1.",
        "eps 在根号里还是外？在里面：`1 / sqrt(var + eps)`。另外方差除以 D，不是 D - 1。",
    ),
    check=layer_norm_sees_one_token,
    exercises=("layer-norm",),
    docs="derivations/layernorm.md",
)


def the_open_path():
    rng = np.random.default_rng(1)
    sizes = {"d_model": 12, "num_heads": 3, "d_ff": 20}
    x, dy = rng.normal(size=(2, 2, 5, 12))
    for norm_first in (True, False):
        config = layers.BlockConfig(norm_first=norm_first, **sizes)
        block = layers.EncoderBlock.init(config, rng, np.float64)
        silent = {
            name: np.zeros_like(p) if name.endswith(("w_o", "w_2")) else p
            for name, p in block.params.items()
        }  # both parts give zero
        block = layers.EncoderBlock(config, silent)
        output, cache = block.forward(x)
        (dx, _), _ = block.backward(layers.AttentionOutput(dy, None), cache)
        if norm_first:
            assert np.array_equal(output.y, x)
            assert np.array_equal(dx, dy)  # the gradient passes as it is
        else:
            assert np.abs(output.y.mean(axis=-1)).max() < 1e-12  # every layer normalises again
            assert np.abs(dx - dy).max() > 0.1
            assert np.abs(dx.sum(axis=-1)).max() < 1e-9  # and takes directions out


PRE_OR_POST_LN = Card(
    id="pre-or-post-ln",
    topic=TOPIC,
    question=Text(
        "Pre-LN or post-LN: what is the difference, and why does post-LN need warm-up?",
        "Pre-LN 与 post-LN 有何区别？为什么 post-LN 需要学习率预热？",
    ),
    answer=Text(
        "Post-LN: `norm(x + f(x))`, BERT. Pre-LN: `x + f(norm(x))` and one norm at the end, GPT-2. In "
        "pre-LN the sum of residuals runs unbroken from top to bottom, so gradients pass as they "
        "are. In post-LN each norm rescales them: at the start those near the output are large, "
        "and a full rate from step one diverges. Warm-up goes through that phase slowly.",
        "Post-LN 是 `norm(x + f(x))`，BERT 用它；pre-LN 是 `x + f(norm(x))`，末尾再加一个归一化，GPT-2 用它。"
        "Pre-LN 的残差通路从顶到底不被打断，梯度原样通过。Post-LN 每层都会重新缩放梯度：训练初期靠近输出的层梯度很大，"
        "一上来就用满学习率会发散，预热让这一阶段慢慢过去。",
    ),
    trap=Text(
        "Then why not always pre-LN? Its stream of states grows with depth, so that later layers "
        "change it less and less; trained well, post-LN often ends better. DeepNorm scales the "
        "residual to have both.",
        "那为什么不一律用 pre-LN？残差流的幅度随深度增大，靠后的层对它的改变越来越小；训练得当时 post-LN 往往最终更好。"
        "DeepNorm 通过缩放残差兼得两者。",
    ),
    check=the_open_path,
    exercises=("pre-ln-backward", "post-ln-backward", "warmup-schedule"),
    docs="derivations/layernorm.md",
)


def rms_is_layer_norm_of_centred():
    rng = np.random.default_rng(2)
    x, gamma = rng.normal(size=(5, 8)) + 3, rng.normal(size=8)
    eps = 1e-12
    centred = x - x.mean(axis=-1, keepdims=True)
    rms, _ = ops.rmsnorm_forward(centred, gamma, eps=eps)
    layer, _ = ops.layernorm_forward(x, gamma, np.zeros(8), eps=eps)
    assert np.allclose(rms, layer)
    plain = ops.rmsnorm_forward(x, gamma, eps=eps)[0]
    assert np.allclose(ops.rmsnorm_forward(10 * x, gamma, eps=eps)[0], plain)  # scale: not seen
    assert np.abs(ops.rmsnorm_forward(x + 10, gamma, eps=eps)[0] - plain).max() > 0.1  # shift: seen
    assert np.allclose(ops.layernorm_forward(x + 10, gamma, np.zeros(8), eps=eps)[0], layer)


RMS_NORM = Card(
    id="rms-norm",
    topic=TOPIC,
    question=Text(
        "What does RMSNorm leave out, and what is lost by it?",
        "RMSNorm 省掉了什么？损失了什么？",
    ),
    answer=Text(
        "The mean and beta: `y = gamma x / sqrt(mean(x^2) + eps)`. Still invariant to scale, no "
        "longer to a shift. On centred inputs it is layer norm. One reduction less, and one term "
        "less in the backward; quality hardly changes.",
        "省掉减均值和 beta：`y = gamma x / sqrt(mean(x^2) + eps)`。仍对缩放不变，但对平移不再不变。"
        "输入已中心化时它就是层归一化。少一次归约，反向少一项，效果几乎不变。",
    ),
    trap=Text(
        "Which of the three terms of layer norm's dx goes away? The mean of dxhat; the projection "
        "on xhat stays.",
        "层归一化 dx 的三项中哪一项消失？dxhat 的均值那一项；沿 xhat 的投影仍在。",
    ),
    check=rms_is_layer_norm_of_centred,
    exercises=("rms-norm-backward",),
    docs="derivations/layernorm.md",
)


def residuals_keep_the_gradient():
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(40, 16, 16)) * 0.5 / np.sqrt(16)  # 40 layers

    def size_of_gradient(residual):
        x, caches = rng.normal(size=(3, 16)), []
        for w in weights:
            h, linear = ops.linear_forward(x, w)
            y, tanh = ops.tanh_forward(h)
            caches.append((linear, tanh))
            x = x + y if residual else y
        dx = start = rng.normal(size=x.shape)
        for linear, tanh in reversed(caches):
            dx_f, _, _ = ops.linear_backward(ops.tanh_backward(dx, tanh), linear)
            dx = dx + dx_f if residual else dx_f  # the fan-out is a sum
        return np.linalg.norm(dx) / np.linalg.norm(start)

    assert size_of_gradient(residual=False) < 1e-8
    assert size_of_gradient(residual=True) > 0.5


RESIDUAL = Card(
    id="residual-gradient",
    topic=TOPIC,
    question=Text(
        "What do residual connections do to the gradient?",
        "残差连接对梯度有什么作用？",
    ),
    answer=Text(
        "y = x + f(x) gives dx = dy + J^T dy: x is used twice, so two gradients are added. Through L "
        "layers the product of (I + J) contains the identity, where a plain stack has the product "
        "of the J alone, which vanishes or explodes.",
        "y = x + f(x) 给出 dx = dy + J^T dy：x 被用了两次，所以两份梯度相加。经过 L 层，(I + J) 的连乘里含有恒等项；"
        "而普通堆叠只有 J 的连乘，会消失或爆炸。",
    ),
    trap=Text(
        "What is the usual bug? Overwriting dx instead of adding: in code, `dx = f_backward(dy)` "
        "where `dx = dy + f_backward(dy)` belongs.",
        "常见的 bug 是什么？把 dx 覆盖掉而不是累加：写成 `dx = f_backward(dy)`，应当是 `dx = dy + f_backward(dy)`。",
    ),
    check=residuals_keep_the_gradient,
    exercises=("residual-backward",),
    docs="derivations/linear.md",
)


def two_thirds_of_a_layer():
    work = cost.Workload(kind=models.Encoder, config=models.preset("bert-base"), pooler=True)
    counts = cost.count_parameters(work)
    fed, attended = counts["layers: feed-forward"], counts["layers: projections"]
    assert abs(fed / (fed + attended) - 2 / 3) < 0.001
    rng = np.random.default_rng(4)
    config = layers.FeedForwardConfig(d_model=6, d_ff=10, initializer_range=0.5)
    layer = layers.FeedForward.init(config, rng, np.float64)
    x = rng.normal(size=(1, 5, 6))
    other = x.copy()
    other[0, 2] += 1
    change = np.abs(layer.forward(other)[0] - layer.forward(x)[0]).max(axis=-1)[0]
    assert np.flatnonzero(change).tolist() == [2]  # each position on its own


FEED_FORWARD = Card(
    id="feed-forward",
    topic=TOPIC,
    question=Text(
        "What is the feed-forward layer for, and what share of a layer's parameters has it?",
        "前馈层有什么作用？占一层参数的多少？",
    ),
    answer=Text(
        "Attention only averages; the feed-forward layer `act(x w_1) w_2` is where each position is "
        "transformed nonlinearly, the same map everywhere. With F = 4D it has 8 D^2 of 12 D^2 "
        "weights: two thirds.",
        "注意力只做平均；前馈层 `act(x w_1) w_2` 才对每个位置做非线性变换，各位置用同一个映射。"
        "F = 4D 时，它占 12 D^2 个权重中的 8 D^2，即三分之二。",
    ),
    trap=Text(
        "Does it mix tokens? No. It can be seen as a memory: rows of w_1 are patterns, rows of w_2 "
        "what is written when they match.",
        "它会混合词元吗？不会。可以把它看成一种记忆：w_1 存放模式，w_2 的行是匹配后写入的内容。",
    ),
    check=two_thirds_of_a_layer,
    exercises=("feed-forward-backward",),
    docs="cost.md",
)


def activations_below_zero():
    rng = np.random.default_rng(5)
    x = -rng.uniform(0.1, 2, size=1000)
    dy = rng.normal(size=1000)
    assert not ops.relu_backward(dy, ops.relu_forward(x)[1]).any()  # dead
    assert np.abs(ops.gelu_backward(dy, ops.gelu_forward(x)[1])).mean() > 0.01
    grid = np.linspace(-5, 5, 10001)
    y, _ = ops.gelu_forward(grid)
    assert -0.171 < y.min() < -0.169  # not monotone
    assert abs(grid[y.argmin()] + 0.7518) < 0.001
    gated = layers.FeedForwardConfig(
        d_model=96, d_ff=256, activation="silu", gated=True, use_bias=False
    )  # F = 8/3 D: three matrices
    plain = layers.FeedForwardConfig(d_model=96, d_ff=384, use_bias=False)  # 4 D: two
    sizes = [
        sum(p.size for p in layers.FeedForward.init(c, rng).params.values()) for c in (gated, plain)
    ]
    assert sizes[0] == sizes[1]


ACTIVATIONS = Card(
    id="activations",
    topic=TOPIC,
    question=Text(
        "ReLU, GELU, SwiGLU: what are they, and what differs?",
        "ReLU、GELU、SwiGLU 分别是什么？有何区别？",
    ),
    answer=Text(
        "ReLU is max(0, x): no gradient below zero, a unit can die. GELU is `x Phi(x)`, smooth, "
        "slightly negative down to -0.17, with a gradient below zero. SwiGLU gates: "
        "`(silu(x w_1) * x w_3) w_2`, three matrices, so F is cut to 8/3 D to keep the parameters.",
        "ReLU 是 max(0, x)：负半轴没有梯度，单元可能“死掉”。GELU 是 `x Phi(x)`，光滑，最低到 -0.17，负半轴也有梯度。"
        "SwiGLU 带门控：`(silu(x w_1) * x w_3) w_2`，有三个矩阵，为保持参数量把 F 降到 8/3 D。",
    ),
    trap=Text(
        "The derivative of GELU? `Phi(x) + x phi(x)`: the product rule; the second term is what is "
        "forgotten.",
        "GELU 的导数？`Phi(x) + x phi(x)`：乘积法则，常被漏掉的是第二项。",
    ),
    check=activations_below_zero,
    exercises=("relu-backward", "gelu-backward"),
    docs="deviations.md",
)


def dropout_keeps_the_mean():
    rng = np.random.default_rng(6)
    x = rng.uniform(1, 2, size=(300, 300))
    y, cache = ops.dropout_forward(x, 0.3, rng)
    assert abs((y == 0).mean() - 0.3) < 0.01
    assert abs(y.mean() / x.mean() - 1) < 0.01  # those kept are divided by 0.7
    assert ops.dropout_forward(x, 0.3, None)[0] is x  # prediction: nothing to do
    dy = rng.normal(size=x.shape)
    assert np.array_equal(ops.dropout_backward(dy, cache) == 0, y == 0)  # the same mask
    probs, _ = ops.softmax_forward(rng.normal(size=(200, 8)))
    dropped, _ = ops.dropout_forward(probs, 0.3, rng)
    sums = dropped.sum(axis=-1)
    assert sums.std() > 0.05  # weights after dropout are no average any more
    assert abs(sums.mean() - 1) < 0.1


DROPOUT = Card(
    id="dropout",
    topic=TOPIC,
    question=Text(
        "Where is dropout in BERT, and what differs between training and prediction?",
        "BERT 在哪些地方用 dropout？训练和预测有什么不同？",
    ),
    answer=Text(
        "After the embeddings, on the attention weights, on the output of each part before the "
        "residual sum, and before the classifier. Training zeroes entries with probability p and "
        "divides the rest by 1 - p; so the expectation is right and prediction changes nothing.",
        "在嵌入之后、注意力权重上、每个子层输出与残差相加之前，以及分类器之前。训练时以概率 p 置零，其余除以 1 - p；"
        "期望不变，所以预测时什么都不用做。",
    ),
    trap=Text(
        "In the backward of attention with dropout, which weights does dv use? Those *after* "
        "dropout, which the values saw; the softmax is undone with those *before*.",
        "带 dropout 的注意力反向，dv 用哪一份权重？用丢弃*之后*的，前向里与 value 相乘的就是它；softmax 的反向用丢弃*之前*的。",
    ),
    check=dropout_keeps_the_mean,
    exercises=("dropout-backward", "attention-backward"),
    docs="derivations/activations.md",
)

CARDS = (
    LAYER_OR_BATCH_NORM,
    PRE_OR_POST_LN,
    RMS_NORM,
    RESIDUAL,
    FEED_FORWARD,
    ACTIVATIONS,
    DROPOUT,
)

# %% [markdown] lang="en"
# # 7. The encoder: a road for gradients
#
# One idea: **a block adds to what comes in; the addition is a road on which gradients reach the
# first layer.** Everything else in a block (attention, feed-forward, norm, dropout) hangs on it.

# %% [markdown] lang="zh"
# # 7. 编码器：给梯度修的路
#
# 一个思想：**每个块只是在输入上做加法；这条加法通路让梯度能到达第一层。**
# 块里的其他部件（注意力、前馈、归一化、dropout）都挂在这条路上。

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot
from npformer.models.cost import Workload, count_parameters

rng = np.random.default_rng(7)

# %% [markdown] lang="en"
# ## With and without the addition
#
# Twenty-four feed-forward layers, once as $y = f(x)$, once as $y = x + f(x)$. Backward, a value used
# twice gets the sum of two gradients: $dx = dy + f'(x)^\top dy$. The first term passes untouched.

# %% [markdown] lang="zh"
# ## 有加法与没有加法
#
# 24 个前馈层，一次用 $y = f(x)$，一次用 $y = x + f(x)$。反向时，一个值被用了两次，梯度就是两项之和：
# $dx = dy + f'(x)^\top dy$。第一项原封不动地通过。

# %%
config = nf.FeedForwardConfig(d_model=32, d_ff=128, initializer_range=0.09)
layers = [nf.FeedForward.init(config, rng, np.float64) for _ in range(24)]


def gradient_norms(residual):
    x, caches = rng.normal(size=(40, 1, 32)), []
    for layer in layers:
        y, cache = layer.forward(x)
        caches.append(cache)
        x = x + y if residual else y
    d = rng.normal(size=x.shape)
    norms = [np.linalg.norm(d)]
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        dx, _ = layer.backward(d, cache)
        d = d + dx if residual else dx
        norms.append(np.linalg.norm(d))
    return np.array(norms[::-1])  # of the gradient that reaches the input of each layer


plain, residual = gradient_norms(False), gradient_norms(True)
plt.figure(figsize=(7, 3.6), layout="constrained")
plt.semilogy(plain, "o--", color=plot.COLOURS[1], label="y = f(x)")
plt.semilogy(residual, "o-", color=plot.COLOURS[0], label="y = x + f(x)")
plt.xlabel("layer (24: the loss)")
plt.ylabel("gradient norm")
plt.legend()
plt.show()
print(f"what reaches layer 0: plain {plain[0]:.0e}, residual {residual[0]:.0f}")
assert plain[0] < 1e-6 * plain[-1]
assert residual[0] > 0.5 * residual[-1]

# %% [markdown] lang="en"
# ## Norm after or before
#
# **Post-LN** (the first Transformer, BERT): $y = \operatorname{norm}(x + f(x))$; the norm stands on
# the road. **Pre-LN** (GPT-2 and later): $y = x + f(\operatorname{norm}(x))$; the road is free. How
# large is the gradient of the *last* layer's weights at the start, as models get deeper?

# %% [markdown] lang="zh"
# ## 归一化放后还是放前
#
# **Post-LN**（最初的 Transformer、BERT）：$y = \operatorname{norm}(x + f(x))$，归一化挡在路上。
# **Pre-LN**（GPT-2 及以后）：$y = x + f(\operatorname{norm}(x))$，道路畅通。模型变深时，初始时刻**最后一层**权重的梯度有多大？

# %%
depths = [1, 2, 4, 8, 16, 32]


def last_layer_gradient(num_layers, norm_first, seed):
    config = nf.EncoderConfig(
        vocab_size=50,
        max_len=16,
        d_model=32,
        num_heads=4,
        num_layers=num_layers,
        d_ff=128,
        initializer_range=32**-0.5,
        norm_first=norm_first,
    )
    rng = np.random.default_rng(seed)
    encoder = nf.Encoder.init(config, rng, np.float64)
    output, cache = encoder.forward(rng.integers(0, 50, (8, 12)))
    dlast = rng.normal(size=output.hidden[-1].shape) / 96
    silent = (None,) * num_layers
    _, grads = encoder.backward(nf.ModelOutput(hidden=(*silent, dlast)), cache)
    return np.linalg.norm(grads[f"layers.{num_layers - 1}.feedforward.w_2"])


post, pre = (
    np.array([np.mean([last_layer_gradient(L, first, seed) for seed in range(3)]) for L in depths])
    for first in (False, True)
)
plt.figure(figsize=(7, 3.6), layout="constrained")
plt.loglog(depths, post, "o--", base=2, color=plot.COLOURS[1], label="post-LN")
plt.loglog(depths, pre, "o-", base=2, color=plot.COLOURS[0], label="pre-LN")
plt.loglog(depths, pre[0] / np.sqrt(depths), ":", base=2, color="0.5", label="1 / √L")
plt.xticks(depths, depths)
plt.xlabel("L, number of layers")
plt.ylabel("gradient norm of the last w_2")
plt.legend()
plt.show()

print("post-LN:", post.round(2))
print("pre-LN: ", pre.round(2))
assert 0.75 < post[-1] / post[0] < 1.33  # the same at any depth
assert pre[-1] / pre[0] < 0.3  # falls with depth

# %% [markdown] lang="en"
# In pre-LN the stream grows with every addition and the final norm divides by its length: deeper
# models start with smaller gradients at the top. In post-LN they stay large, which is why BERT needs
# a warm-up (lesson 8). This is the observation of Xiong et al. (2020), in a few seconds.
#
# ## Dropout: the same mask twice
#
# Forward multiplies by $r$, which is 0 or $1/(1 - p)$; backward by *the same* $r$. Dividing when
# training means that nothing changes when predicting.

# %% [markdown] lang="zh"
# Pre-LN 中残差流每加一次就变大，最后的归一化再除以它的长度：越深，顶层初始梯度越小。Post-LN 中则始终很大，
# 这就是 BERT 需要学习率预热的原因（第 8 课）。这是 Xiong 等人（2020）的观察，几秒钟即可重现。
#
# ## Dropout：同一个掩码用两次
#
# 前向乘 $r$（0 或 $1/(1 - p)$），反向乘**同一个** $r$。训练时除以 $1 - p$，预测时就什么都不用改。

# %%
x = rng.normal(size=(1000, 50))
y, cache = ops.dropout_forward(x, 0.4, np.random.default_rng(0))
dx = ops.dropout_backward(np.ones_like(x), cache)
print("kept:", (y != 0).mean().round(3), "| mean factor:", dx.mean().round(3))
assert np.allclose(y, x * dx)  # dx of ones is r itself
assert np.allclose(np.unique(dx), [0, 1 / 0.6])
assert abs(dx.mean() - 1) < 0.02
assert np.array_equal(ops.dropout_forward(x, 0.4, None)[0], x)  # no generator: no dropout

# %% [markdown] lang="en"
# ## Embeddings: rows that are read twice
#
# A lookup copies rows; its backward *adds* gradients to the rows. If a word occurs twice, its row gets
# both. NumPy's `dtable[ids] += dy` keeps only the last one: a famous silent bug.

# %% [markdown] lang="zh"
# ## 嵌入：被读了两次的行
#
# 查表是复制行，反向是把梯度**加**到行上。一个词出现两次，它那一行就得两份梯度。
# NumPy 的 `dtable[ids] += dy` 只保留最后一份：著名的静默错误。

# %%
ids, table = np.array([3, 1, 3]), rng.normal(size=(5, 2))
_, cache = ops.embedding_forward(ids, table)
dy = np.array([[1.0, 1.0], [10.0, 10.0], [100.0, 100.0]])
right = ops.embedding_backward(dy, cache)
wrong = np.zeros_like(table)
wrong[ids] += dy
print("row 3, added up:", right[3], "| with +=:", wrong[3])
assert np.array_equal(right[3], [101, 101])
assert np.array_equal(wrong[3], [100, 100])

# %% [markdown] lang="en"
# ## The whole encoder, before the referee
#
# A loss may look at every hidden state and every array of scores; the classifier's pooler looks at
# the first position alone. Everything together against finite differences, padding included.

# %% [markdown] lang="zh"
# ## 整个编码器接受检查
#
# 损失可以看每一层的隐藏状态和每一层的分数；分类器的 pooler 只看第一个位置。全部放在一起，带填充，与有限差分对照。

# %%
config = nf.ClassifierConfig(
    vocab_size=50,
    max_len=16,
    d_model=12,
    num_heads=3,
    num_layers=2,
    d_ff=20,
    num_classes=4,
    initializer_range=0.3,
)
model = nf.SequenceClassifier.init(config, rng, np.float64)
ids = rng.integers(0, 50, (2, 7))
keep = np.arange(7) < np.array([[7], [5]])  # two tokens of padding in the second sentence
report = nf.check_model(model, (ids, keep), {"output_scores": True})
print(f"{report.name}: {len(report.errors)} arrays, worst error {report.error:.0e}")

output, cache = model.forward(ids, keep)
changed = np.where(keep, ids, 9)  # something else in the padding
assert np.array_equal(model.forward(changed, keep)[0].logits, output.logits)

# %% [markdown] lang="en"
# ## Where the parameters are
#
# A layer has $4(D^2 + D)$ in attention, $2DF + F + D$ in the feed-forward network and $4D$ in its two
# norms. "How many has BERT-base?" is this sum, the tables, and the pooler.

# %% [markdown] lang="zh"
# ## 参数在哪里
#
# 一层：注意力 $4(D^2 + D)$，前馈网络 $2DF + F + D$，两个归一化 $4D$。
# “BERT-base 有多少参数？”就是各层之和，加上嵌入表和 pooler。

# %%
bert = nf.preset("bert-base")
d, f = bert.d_model, bert.d_ff
a_layer = 4 * (d * d + d) + (2 * d * f + f + d) + 4 * d
tables = (bert.vocab_size + bert.max_len + 2) * d + 2 * d
total = tables + 12 * a_layer + d * d + d
print(f"{total:,}, of which the 12 layers {12 * a_layer / total:.0%}")
assert total == 109_482_240
assert total == sum(count_parameters(Workload(kind=nf.Encoder, config=bert, pooler=True)).values())

# %% [markdown] lang="en"
# ## What to take along
#
# * Residual forward is a sum; backward, the gradient passes unchanged *and* through the branch.
# * Post-LN puts the norm on the road and wants a warm-up; pre-LN keeps it free.
# * Scatter-add for lookups; the same mask for dropout.

# %% [markdown] lang="zh"
# ## 小结
#
# * 残差前向是相加；反向时梯度一份直通，**另**一份经过支路。
# * Post-LN 把归一化放在路上，需要学习率预热；Pre-LN 让路畅通。
# * 查表的反向是累加；dropout 的反向用同一个掩码。

# %% [markdown] exercises="dropout-backward embedding-backward residual-backward feed-forward-backward post-ln-backward pre-ln-backward pooler-backward"

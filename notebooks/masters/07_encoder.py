# %% [markdown]
# # 7. The encoder: a road for gradients
#
# One idea: **a block adds to what comes in; the addition is a road on which gradients reach the
# first layer.** Everything else in a block (attention, feed-forward, norm, dropout) hangs on it.

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot
from npformer.models.cost import Workload, count_parameters

rng = np.random.default_rng(7)

# %% [markdown]
# ## With and without the addition
#
# Twenty-four feed-forward layers, once as $y = f(x)$, once as $y = x + f(x)$. Backward, a value used
# twice gets the sum of two gradients: $dx = dy + f'(x)^\top dy$. The first term passes untouched.

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

# %% [markdown]
# ## Norm after or before
#
# **Post-LN** (the first Transformer, BERT): $y = \operatorname{norm}(x + f(x))$; the norm stands on
# the road. **Pre-LN** (GPT-2 and later): $y = x + f(\operatorname{norm}(x))$; the road is free. How
# large is the gradient of the *last* layer's weights at the start, as models get deeper?

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

# %% [markdown]
# In pre-LN the stream grows with every addition and the final norm divides by its length: deeper
# models start with smaller gradients at the top. In post-LN they stay large, which is why BERT needs
# a warm-up (lesson 8). This is the observation of Xiong et al. (2020), in a few seconds.
#
# ## Dropout: the same mask twice
#
# Forward multiplies by $r$, which is 0 or $1/(1 - p)$; backward by *the same* $r$. Dividing when
# training means that nothing changes when predicting.

# %%
x = rng.normal(size=(1000, 50))
y, cache = ops.dropout_forward(x, 0.4, np.random.default_rng(0))
dx = ops.dropout_backward(np.ones_like(x), cache)
print("kept:", (y != 0).mean().round(3), "| mean factor:", dx.mean().round(3))
assert np.allclose(y, x * dx)  # dx of ones is r itself
assert np.allclose(np.unique(dx), [0, 1 / 0.6])
assert abs(dx.mean() - 1) < 0.02
assert np.array_equal(ops.dropout_forward(x, 0.4, None)[0], x)  # no generator: no dropout

# %% [markdown]
# ## Embeddings: rows that are read twice
#
# A lookup copies rows; its backward *adds* gradients to the rows. If a word occurs twice, its row gets
# both. NumPy's `dtable[ids] += dy` keeps only the last one: a famous silent bug.

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

# %% [markdown]
# ## The whole encoder, before the referee
#
# A loss may look at every hidden state and every array of scores; the classifier's pooler looks at
# the first position alone. Everything together against finite differences, padding included.

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

# %% [markdown]
# ## Where the parameters are
#
# A layer has $4(D^2 + D)$ in attention, $2DF + F + D$ in the feed-forward network and $4D$ in its two
# norms. "How many has BERT-base?" is this sum, the tables, and the pooler.

# %%
bert = nf.preset("bert-base")
d, f = bert.d_model, bert.d_ff
a_layer = 4 * (d * d + d) + (2 * d * f + f + d) + 4 * d
tables = (bert.vocab_size + bert.max_len + 2) * d + 2 * d
total = tables + 12 * a_layer + d * d + d
print(f"{total:,}, of which the 12 layers {12 * a_layer / total:.0%}")
assert total == 109_482_240
assert total == sum(count_parameters(Workload(kind=nf.Encoder, config=bert, pooler=True)).values())

# %% [markdown]
# ## What to take along
#
# * Residual forward is a sum; backward, the gradient passes unchanged *and* through the branch.
# * Post-LN puts the norm on the road and wants a warm-up; pre-LN keeps it free.
# * Scatter-add for lookups; the same mask for dropout.

# %% [markdown] exercises="dropout-backward embedding-backward residual-backward feed-forward-backward post-ln-backward pre-ln-backward pooler-backward"

# %% [markdown]
# # 12. Interview drills: say it, then prove it
#
# One idea: **an answer that you can turn into an assertion is an answer you understand.** Cover the
# answer, say yours aloud in half a minute, then read and run the proof.

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot
from npformer.models.cost import Workload, count_multiply_adds, count_parameters
from npformer.models.cost_memory import count_memory

rng = np.random.default_rng(12)

# %% [markdown]
# ## 1. Why divide the scores by √K, and not by K?
#
# The entries of q and k have variance 1, so $q \cdot k$ has *variance* K and *standard deviation*
# √K. Dividing by K would make all scores tiny and attention an average.
#
# **Trap:** "to avoid overflow". The softmax subtracts the maximum anyway; it is about gradients.

# %%
q, k = rng.normal(size=(2, 2000, 1, 8, 64))
scores, _ = ops.attention_scores_forward(q, k, scale=1.0)
print(f"variance {scores.var():.1f}, after / √K {(scores / 8).var():.2f}, after / K", end=" ")
print(f"{(scores / 64).var():.3f}")
assert abs(scores.var() - 64) < 2
flat, _ = ops.softmax_forward(scores / 64)
assert flat.max(axis=-1).mean() < 0.2  # of 8 keys an average gives 0.125

# %% [markdown]
# ## 2. What changes if all logits of a row grow by the same number?
#
# Nothing: the factor cancels. Therefore the gradient of the logits sums to zero in every row, and
# therefore a bias added to all keys learns nothing.

# %%
x = rng.normal(size=(3, 7))
probs, cache = ops.softmax_forward(x)
assert np.allclose(ops.softmax_forward(x + 100)[0], probs)
dx = ops.softmax_backward(rng.normal(size=x.shape), cache)
print("row sums of the gradient:", np.abs(dx.sum(axis=1)).max())
assert np.abs(dx.sum(axis=1)).max() < 1e-12

# %% [markdown]
# ## 3. How does the cost of a layer grow with the length?
#
# The four projections and the feed-forward network: linear in T. Scores and mixing: $4BT^2D$
# operations. Against the projections' $8BTD^2$ they draw level at $T = 2D$; against the whole layer
# ($F = 4D$) at $T = 6D$.
#
# **Trap:** "attention is the bottleneck because it is quadratic". For BERT-base at 512 tokens it is
# a small share.

# %%
D, F = 768, 3072
lengths = np.array([128, 256, 512, 1024, 2048, 4096, 8192])
quadratic = 4 * lengths**2 * D
projections = 8 * lengths * D**2
feed_forward = 4 * lengths * D * F
share = quadratic / (quadratic + projections + feed_forward)
plt.figure(figsize=(7, 3.5), layout="constrained")
plt.semilogx(lengths, share, "o-", base=2, color=plot.COLOURS[0])
for at, name in ((2 * D, "T = 2D"), (6 * D, "T = 6D")):
    plt.axvline(at, color="0.6", linestyle=":")
    plt.text(at, 0.02, f" {name}", color="0.3")
plt.xticks(lengths, lengths)
plt.xlabel("T, BERT-base")
plt.ylabel("share of the T² part in a layer")
plt.show()

long = nf.preset("bert-base", max_len=8192)
for length, ours in zip(lengths, quadratic + projections + feed_forward, strict=True):
    counts = count_multiply_adds(Workload(kind=nf.Encoder, config=long, seq_len=int(length)))
    assert 2 * sum(n for name, n in counts.items() if name != "pooler") == 12 * ours
print(f"at 512 tokens: {share[2]:.0%}")
assert share[2] < 0.11
assert np.isclose(4 * (6 * D) ** 2 * D, 8 * 6 * D * D**2 + 4 * 6 * D * D * F)

# %% [markdown]
# ## 4. How many parameters has BERT-base? TinyBERT-4?
#
# 109 million (110 in the paper) and 14.35 million. The famous "7.5 times smaller" counts a projection
# that is only there while training.

# %%
size = {
    name: sum(
        count_parameters(Workload(kind=nf.Encoder, config=nf.preset(name), pooler=True)).values()
    )
    for name in ("bert-base", "tinybert-4")
}
fit_dense = 312 * 768 + 768
print(size, f"| {size['bert-base'] / size['tinybert-4']:.2f} times", end="; ")
print(f"with the projection {size['bert-base'] / (size['tinybert-4'] + fit_dense):.2f}")
assert size == {"bert-base": 109_482_240, "tinybert-4": 14_350_248}
assert round(size["bert-base"] / (size["tinybert-4"] + fit_dense), 1) == 7.5

# %% [markdown]
# ## 5. How much memory does training with Adam take before any activation?
#
# Weights, gradients, $m$ and $v$: four numbers a parameter, 16 bytes in float32. Activations come on
# top and grow with the batch.

# %%
memory = count_memory(Workload(kind=nf.Encoder, config=nf.preset("bert-base"), batch_size=8))
weights, optimizer = memory.parameters, memory.optimizer
print(f"weights {weights / 1e9:.2f} GB, gradients {memory.gradients / 1e9:.2f} GB, ", end="")
print(f"m and v {optimizer / 1e9:.2f} GB, kept for backward {memory.kept / 1e9:.2f} GB")
assert optimizer == 2 * weights == 2 * memory.gradients

# %% [markdown]
# ## 6. Cross-entropy with soft labels, or KL?
#
# They differ by the teacher's entropy, a constant: same gradient. Only KL is 0 at agreement, so log KL.
#
# **Trap:** a mean over classes as well (PyTorch's default for `KLDivLoss`) is too small by C.

# %%
z_student, z_teacher = rng.normal(size=(2, 6, 4))
kl, kl_cache = ops.kl_forward(z_student, z_teacher, 2.0)
ce, ce_cache = ops.soft_cross_entropy_forward(z_student, z_teacher, 2.0)
p = ops.softmax_forward(z_teacher / 2)[0]
entropy = -(p * np.log(p)).sum(axis=-1).mean()
print(f"cross-entropy {ce:.4f} = KL {kl:.4f} + entropy {entropy:.4f}")
assert np.isclose(ce, kl + entropy)
assert np.array_equal(
    ops.kl_backward(1.0, kl_cache), ops.soft_cross_entropy_backward(1.0, ce_cache)
)
assert np.isclose(ops.kl_forward(z_teacher, z_teacher, 2.0)[0], 0)

# %% [markdown]
# ## 7. What does −10,000 on padded scores do to TinyBERT's attention loss?
#
# The loss compares scores *before* the softmax. If they contain the mask, the padding compares
# −10,000 with −10,000 + noise: it adds error where nobody looks, and where the two models were
# masked by different numbers it drowns everything.

# %%
a_student, a_teacher = rng.normal(size=(2, 1, 2, 5, 5))
keep = np.arange(5)[None, None, None] < 3
pairs = keep & keep.swapaxes(-1, -2)
right, _ = ops.mse_forward(a_student, a_teacher, pairs)
naive, _ = ops.mse_forward(
    np.where(keep, a_student, a_student - 10_000), np.where(keep, a_teacher, a_teacher - 30_000)
)
print(f"kept pairs only {right:.2f}; with two kinds of mask {naive:.2e}")
assert naive > 1e6 * right

# %% [markdown]
# ## 8. Is layer norm's output Gaussian? Is its length fixed?
#
# It is not made Gaussian. Before $\gamma$ and $\beta$ every row has mean 0 and length √D: fixed
# length, any shape.

# %%
skewed = rng.exponential(size=(200, 50))
y, _ = ops.layernorm_forward(skewed, np.ones(50), np.zeros(50))
print("lengths:", np.linalg.norm(y, axis=1)[:3].round(4), "| skewness:", (y**3).mean().round(2))
assert np.allclose(np.linalg.norm(y, axis=1), np.sqrt(50))
assert (y**3).mean() > 0.5  # as skewed as before

# %% [markdown]
# ## And now the whiteboard
#
# The two programs that are asked for most, checked as whole programs. Give yourself twenty minutes
# each. For spaced repetition of short questions there is `npformer quiz`.

# %% [markdown] exercises="multi-head-attention tinybert-step"

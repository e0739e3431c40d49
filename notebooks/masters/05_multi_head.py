# %% [markdown]
# # 5. Many heads: one array seen differently
#
# One idea: **a head is attention on its own K columns, and the output matrix adds the heads up.**
# Splitting costs nothing, neither time nor parameters; what it buys is that one token can look at
# several places for several reasons.

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot
from npformer.layers.attention import join_heads, split_heads

rng = np.random.default_rng(5)

# %% [markdown]
# ## Split: reshape, then transpose
#
# Cut the last axis, D = H · K, and only *then* bring the heads forward. A reshape straight to
# (B, H, T, K) has the right shape and the wrong content: it cuts the sentence, not the features.

# %%
B, T, H, K = 1, 4, 2, 3
x = np.arange(T)[None, :, None] + np.zeros((B, T, H * K))  # every entry is its token's number
right = split_heads(x, H)
wrong = x.reshape(B, H, T, K)
figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
for ax, heads, title in zip(
    axes, (right, wrong), ("reshape, transpose", "reshape only"), strict=True
):
    image = ax.imshow(heads[0, 0], cmap="cividis", vmin=0, vmax=3, aspect="auto")
    ax.set(title=f"head 0: {title}", xlabel="feature of the head", ylabel="row t", yticks=range(T))
figure.colorbar(image, ax=axes, label="token it came from", ticks=range(T))
plt.show()

assert np.all(right == np.arange(T)[:, None])  # row t of every head is token t
assert not np.array_equal(right, wrong)
assert np.shares_memory(x, right)  # a view: nothing was copied
assert np.array_equal(join_heads(right), x)

# %% [markdown]
# ## Two heads, two jobs
#
# Weights written by hand. Each token is a word (one-hot, 8 columns) and a place (one-hot, 8 columns).
# Head 0 asks with its place for the place before; head 1 asks with its word for the same word. In
# one layer, the second "cat" looks at "the" before it *and* at the first "cat". (Two such steps in a
# row make an induction head: "what came after the last cat?")

# %%
sentence = "the cat saw the dog and the cat".split()
words = sorted(set(sentence))
word = np.eye(8)[[words.index(w) for w in sentence]]
place = np.eye(8)
x = np.concatenate([word, place], axis=1)[None]  # (1, 8, 16)

layer = nf.MultiHeadAttention.init(nf.AttentionConfig(d_model=16, num_heads=2), rng, np.float64)
w = layer.params
for name in ("w_q", "w_k"):
    w[name][...] = 0.0
w["w_q"][9:, 0:7] = 20 * np.eye(7)  # head 0, columns 0 to 7: place t asks for t - 1
w["w_k"][8:16, 0:8] = np.eye(8)
w["w_q"][0:8, 8:16] = 20 * np.eye(8)  # head 1, columns 8 to 15: a word asks for itself
w["w_k"][0:8, 8:16] = np.eye(8)

output, cache = layer.forward(x, output_scores=True)
probs, _ = ops.softmax_forward(output.scores)
figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
for h, (ax, job) in enumerate(zip(axes, ("the place before", "the same word"), strict=True)):
    plot.plot_attention(probs[0, h], sentence, sentence, ax=ax)
    ax.set_title(f"head {h} looks for {job}")
plt.show()

assert np.array_equal(probs[0, 0, 1:].argmax(axis=1), np.arange(7))
assert np.allclose(probs[0, 1, 7, [1, 7]], 0.5, atol=0.01)  # "cat": half here, half there

# %% [markdown]
# The first row of head 0 has no place before it; all its scores are equal, so it takes the mean.
#
# ## Concatenate and multiply = add up
#
# The heads are put side by side and multiplied by $w_o$. By blocks that is a *sum*: head $h$ writes
# through its own K rows of $w_o$. Without $w_o$ the heads would never meet.

# %%
config = nf.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.3)
layer = nf.MultiHeadAttention.init(config, rng, np.float64)
x = rng.normal(size=(2, 7, 12))
output, _ = layer.forward(x)
w, total = layer.params, 0.0
for h in range(3):
    own = slice(4 * h, 4 * (h + 1))
    q, k, v = ((x @ w[name][:, own])[:, None] for name in ("w_q", "w_k", "w_v"))  # (B, 1, T, K)
    total = total + ops.attention_forward(q, k, v)[0][:, 0] @ w["w_o"][own]
print("sum over the heads: off by", np.abs(total - output.y).max())
assert np.allclose(total, output.y)

for num_heads in (1, 3, 12):
    sizes = nf.MultiHeadAttention.init(
        nf.AttentionConfig(d_model=12, num_heads=num_heads), rng
    ).params.values()
    assert sum(a.size for a in sizes) == 4 * (12 * 12 + 12)  # whatever H is
print("parameters with 1, 3 and 12 heads:", 4 * (12 * 12 + 12))

# %% [markdown]
# ## Backward
#
# In self-attention $x$ feeds q, k and v: its gradient is the sum of three. In cross-attention the
# queries come from $x$ and keys and values from a memory of another length, so $x$ gets one part
# and the memory two. The referee checks both, padding and a loss on the scores included.

# %%
keep = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0]], dtype=bool)
report = nf.check_model(layer, (x, None, keep), {"output_scores": True}, name="self-attention")
print(f"{report.name}: worst error {report.error:.0e}")
cross = nf.MultiHeadAttention.init(config, rng, np.float64, cross=True)
memory = rng.normal(size=(2, 5, 12))
report = nf.check_model(cross, (x, memory), {"output_scores": True}, name="cross-attention")
print(f"{report.name}: worst error {report.error:.0e}")

output, cache = cross.forward(x, memory)
(dx, dmemory, _), _ = cross.backward(nf.AttentionOutput(rng.normal(size=x.shape), None), cache)
assert dx.shape == (2, 7, 12)
assert dmemory.shape == (2, 5, 12)

# %% [markdown]
# ## Step by step: the KV cache
#
# A decoder writes one token at a time. The keys and values of the past never change under a causal
# mask, so they are kept, and a step projects *one* token. The result is the causal pass, row by row.

# %%
q, k, v = (split_heads(x @ layer.params[name], 3) for name in ("w_q", "w_k", "w_v"))
at_once, _, _ = ops.attention_forward(q, k, v, np.tri(7, dtype=bool)[None, None])

past_k, past_v = k[:, :, :0], v[:, :, :0]
for t in range(7):
    new_q, new_k, new_v = (
        split_heads(x[:, t : t + 1] @ layer.params[name], 3) for name in ("w_q", "w_k", "w_v")
    )
    past_k = np.concatenate([past_k, new_k], axis=2)
    past_v = np.concatenate([past_v, new_v], axis=2)
    step, _, _ = ops.attention_forward(new_q, past_k, past_v)  # no mask: there is no future yet
    assert np.allclose(step[:, :, 0], at_once[:, :, t])
print("tokens projected: with a cache", 7, "| again at each step", sum(range(1, 8)))

# %% [markdown]
# ## What to take along
#
# * Split is reshape *and* transpose; it is a view.
# * Concatenate and multiply by $w_o$ is a sum over heads.
# * Fan-out forward is a sum backward: three parts into $x$, or one and two.

# %% [markdown] exercises="split-heads multi-head-backward cross-attention kv-cache-step"

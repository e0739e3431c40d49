# %% [markdown]
# # 4. Attention: a soft lookup
#
# One idea: **attention is a dictionary that answers with an average.** A query is compared with all
# keys, the softmax turns the fits into weights, and the answer is the weighted mean of the values.

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot

rng = np.random.default_rng(4)

# %% [markdown]
# ## From an average to a lookup
#
# $$\text{scores} = c\,q k^\top, \qquad \text{probs} = \operatorname{softmax}(\text{scores}), \qquad
#   \text{ctx} = \text{probs}\;v$$
#
# Eight keys on a circle, and queries that are the same eight directions. The scale $c$ is how
# picky the lookup is.

# %%
angles = 2 * np.pi * np.arange(8) / 8
keys = np.stack([np.cos(angles), np.sin(angles)], axis=1)[None, None]  # (1, 1, 8, 2)
values = np.arange(8.0)[None, None, :, None]  # (1, 1, 8, 1): each key's answer is its number

figure, axes = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained")
answers = {}
for ax, c in zip(axes, (0.1, 2.0, 40.0), strict=True):
    ctx, _, cache = ops.attention_forward(keys, keys, values, scale=c)
    answers[c] = ctx[0, 0, :, 0]
    image = ax.imshow(cache.softmax.probs[0, 0], cmap="cividis", vmin=0, vmax=1)
    ax.set(title=f"c = {c:g}", xlabel="key", ylabel="query")
figure.colorbar(image, ax=axes, label="weight")
plt.show()

print("answers at c = 0.1:", answers[0.1].round(2))
print("answers at c = 40: ", answers[40.0].round(2))
assert np.abs(answers[0.1] - 3.5).max() < 0.3  # nearly the mean of all
assert np.allclose(answers[40.0], np.arange(8), atol=1e-3)  # nearly a dictionary

# %% [markdown]
# ## Why divide by √K
#
# If the K entries of q and k are independent with variance 1, then $q \cdot k$ has variance K. At
# K = 64 the scores have a standard deviation of 8 and the softmax is already close to the right picture
# above, before anything was learnt. A saturated softmax passes hardly any gradient (lesson 2).

# %%
widths = [4, 16, 64, 256]
spread, passed = {}, {}
for width in widths:
    q, k = rng.normal(size=(2, 300, 1, 16, width))  # (B, H, T, K)
    for name, scale in (("q·k", 1.0), ("q·k / √K", None)):
        scores, _ = ops.attention_scores_forward(q, k, scale=scale)
        probs, softmax_cache = ops.softmax_forward(scores)
        dscores = ops.softmax_backward(rng.normal(size=probs.shape), softmax_cache)
        spread[name, width] = scores.var()
        passed[name, width] = np.sqrt((dscores**2).sum(axis=-1)).mean()

plt.figure(figsize=(6.5, 3.6), layout="constrained")
for i, name in enumerate(("q·k", "q·k / √K")):
    norms = [passed[name, width] for width in widths]
    plt.semilogx(widths, norms, "o-", base=2, color=plot.COLOURS[1 - i], label=name)
plt.xticks(widths, widths)
plt.ylim(0, None)
plt.xlabel("K, width of a head")
plt.ylabel("gradient through the softmax")
plt.legend()
plt.show()

for width in widths:
    assert abs(spread["q·k", width] / width - 1) < 0.1
    assert abs(spread["q·k / √K", width] - 1) < 0.1
print(f"at K = 64: {passed['q·k / √K', 64] / passed['q·k', 64]:.1f} times less without the scale")
assert passed["q·k / √K", 64] > 1.5 * passed["q·k", 64]

# %% [markdown]
# ## Three masks
#
# `keep` says who may be looked at, True for yes. Padding hides columns; causality hides the future;
# and sometimes a row is left with nothing. There $-\infty$ everywhere gives $0/0$; in this library
# the row is zero.

# %%
tokens = ["a", "fine", "film", "[PAD]", "[PAD]"]
q, k, v = rng.normal(size=(3, 1, 1, 5, 4))
real = np.array([token != "[PAD]" for token in tokens])
masks = {
    "padding": real[None, None, None, :],  # (1, 1, 1, S)
    "causal": np.tri(5, dtype=bool)[None, None],  # (1, 1, T, S)
    "nothing left in row 2": (np.arange(5) != 2)[None, None, :, None] & real,
}
figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
weights = {}
for ax, (name, keep) in zip(axes, masks.items(), strict=True):
    _, _, cache = ops.attention_forward(q, k, v, keep)
    weights[name] = cache.softmax.probs[0, 0]
    plot.plot_attention(weights[name], tokens, tokens, ax=ax)
    ax.set_title(name)
plt.show()

# %%
assert np.all(weights["padding"][:, 3:] == 0)  # exactly zero, not merely small
assert np.allclose(weights["padding"].sum(axis=1), 1)
assert np.all(np.triu(weights["causal"], 1) == 0)
assert np.all(weights["nothing left in row 2"][2] == 0)

with np.errstate(invalid="ignore"):
    row = np.full(5, -np.inf)
    print("-inf everywhere:", np.exp(row - row.max()) / np.exp(row - row.max()).sum())

later = v.copy()
later[..., 4, :] = 100.0  # the last token says something else
ctx, _, _ = ops.attention_forward(q, k, v, masks["causal"])
other, _, _ = ops.attention_forward(q, k, later, masks["causal"])
assert np.array_equal(ctx[..., :4, :], other[..., :4, :])  # the past does not notice
assert not np.allclose(ctx[..., 4, :], other[..., 4, :])

# %% [markdown]
# ## Backward
#
# Two matrix products, a softmax, a scale: the rule of lesson 1, four times.
#
# $$dv = p^\top\,d\text{ctx}, \quad dp = d\text{ctx}\,v^\top, \quad
#   da = p \odot (dp - \textstyle\sum_s dp\,p), \quad dq = c\,da\,k, \quad dk = c\,da^\top q$$
#
# Below line by line, with a mask, against the library and against finite differences.

# %%
q, k, v = (
    rng.normal(size=(2, 3, 4, 5)),
    rng.normal(size=(2, 3, 6, 5)),
    rng.normal(size=(2, 3, 6, 7)),
)
keep = rng.random((2, 1, 4, 6)) < 0.7
ctx, scores, cache = ops.attention_forward(q, k, v, keep)
dctx = rng.normal(size=ctx.shape)

p, c = cache.softmax.probs, 1 / np.sqrt(5)
dv = p.swapaxes(-1, -2) @ dctx
dp = dctx @ v.swapaxes(-1, -2)
da = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
dq = c * da @ k
dk = c * da.swapaxes(-1, -2) @ q

for mine, theirs in zip((dq, dk, dv), ops.attention_backward(dctx, None, cache), strict=False):
    assert np.allclose(mine, theirs)
report = nf.check_pair(ops.attention_forward, ops.attention_backward, (q, k, v, keep, None))
print(f"{report.name}: worst error {report.error:.0e}")

# %% [markdown]
# **The gradient of masked scores is zero by itself**: $p = 0$ there, and $p$ is a factor of $da$. And
# since the softmax does not see a shift of a row, every row of $da$ sums to zero; so a bias added
# to *all keys* has no gradient. Until a loss looks at the scores themselves, as TinyBERT's does: its
# cotangent is added where the scores left, and the key bias wakes up.

# %%
assert np.all(da[~np.broadcast_to(keep, da.shape)] == 0)
_, dk, _, _ = ops.attention_backward(dctx, None, cache)
_, dk_scores, _, _ = ops.attention_backward(dctx, rng.normal(size=scores.shape), cache)
print("key bias, loss on ctx:          ", np.abs(dk.sum(axis=2)).max())
print("key bias, loss on scores as well:", np.abs(dk_scores.sum(axis=2)).max().round(2))
assert np.abs(dk.sum(axis=2)).max() < 1e-12
assert np.abs(dk_scores.sum(axis=2)).max() > 0.1

# %% [markdown]
# ## Long sequences: the online softmax
#
# The (T, S) weights need not exist all at once. Walk over blocks of keys with a running maximum and
# a running sum; whenever the maximum grows, what was collected is scaled down. Memory is then linear
# in T, and the result is the same.

# %%
q, k, v = rng.normal(size=(3, 1, 2, 12, 5))
full, _, _ = ops.attention_forward(q, k, v)
top, total, collected = np.full((1, 2, 12, 1), -np.inf), 0.0, 0.0
for start in range(0, 12, 5):  # blocks of 5, 5 and 2 keys
    block = slice(start, start + 5)
    a = q @ k[:, :, block].swapaxes(-1, -2) / np.sqrt(5)
    new_top = np.maximum(top, a.max(axis=-1, keepdims=True))
    shrink, e = np.exp(top - new_top), np.exp(a - new_top)
    total = shrink * total + e.sum(axis=-1, keepdims=True)
    collected = shrink * collected + e @ v[:, :, block]
    top = new_top
print("block by block: off by", np.abs(collected / total - full).max())
assert np.allclose(collected / total, full)

# %% [markdown]
# ## What to take along
#
# * Scores, softmax, average; the scale keeps the softmax unsaturated.
# * A mask gives weight *zero*; a row without keys must not be NaN.
# * Backward: four products and one softmax. Rows of $da$ sum to zero.

# %% [markdown] exercises="scaled-dot-product padding-mask causal-mask fully-masked-row attention-backward scores-gradient online-softmax"

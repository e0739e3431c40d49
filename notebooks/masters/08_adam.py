# %% [markdown]
# # 8. Adam: a step of the size you ask for
#
# One idea: **Adam divides the running mean of the gradient by its running size, so a step is about
# as long as the learning rate, whatever the gradient's scale.** The rest (bias correction, decoupled
# decay, warm-up, clipping) keeps that promise where it would break.

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot
from npformer.optim import (
    clip_by_global_norm,
    clip_by_tensor_norm,
    cosine_schedule,
    linear_schedule,
    noam_schedule,
)

rng = np.random.default_rng(8)

# %% [markdown]
# ## A valley
#
# $L = \tfrac12 (a^2 + 50\,b^2)$: flat along $a$, steep along $b$. Plain gradient descent is limited by
# the steep direction and crawls along the flat one.

# %%
curvature = np.array([1.0, 50.0])


def descend(optimizer, lr, steps=60):
    params = {"p": np.array([-4.0, 1.0])}
    state, path = optimizer.init(params), [params["p"].copy()]
    for _ in range(steps):
        optimizer.update(params, {"p": curvature * params["p"]}, state, lr)
        path.append(params["p"].copy())
    return np.array(path)


paths = {
    "SGD": descend(nf.Sgd(momentum=0.0), 0.03),
    "SGD, momentum 0.9": descend(nf.Sgd(momentum=0.9), 0.02),
    "Adam": descend(nf.Adam(), 0.3),
}
a, b = np.meshgrid(np.linspace(-4.5, 2.5, 100), np.linspace(-1.5, 1.5, 100))
plt.figure(figsize=(8, 4), layout="constrained")
plt.contour(a, b, 0.5 * (a**2 + 50 * b**2), levels=12, colors="0.85")
for i, (name, path) in enumerate(paths.items()):
    plt.plot(*path.T, plot.STYLES[i], marker=".", color=plot.COLOURS[i], label=name)
plt.xlabel("a: flat")
plt.ylabel("b: steep")
plt.legend()
plt.show()

first = paths["Adam"][1] - paths["Adam"][0]
print("Adam's first step:", first.round(4), "for a gradient of", curvature * paths["Adam"][0])
assert np.allclose(np.abs(first), 0.3)  # lr in every direction, whatever the gradient
assert np.abs(paths["Adam"][14, 0]) < np.abs(paths["SGD"][14, 0])

# %% [markdown]
# ## Why the bias correction
#
# $m$ and $v$ start at zero and are too small at first, by $1 - \beta_1^t$ and $1 - \beta_2^t$. Without
# a correction a step is $(1 - \beta_1^t)/\sqrt{1 - \beta_2^t}$ times as long. Since $v$ is slower than
# $m$, that is *more* than 1. The optimizer of BERT's and TinyBERT's released code does this.


# %%
def step_lengths(optimizer, steps):
    params = {"p": np.zeros(1)}
    state, lengths = optimizer.init(params), []
    for _ in range(steps):
        before = params["p"].copy()
        optimizer.update(params, {"p": np.ones(1)}, state, 1.0)  # the same gradient for ever
        lengths.append(abs(float((params["p"] - before)[0])))
    return np.array(lengths)


t = np.arange(1, 2001)
corrected = step_lengths(nf.Adam(), 2000)
uncorrected = step_lengths(nf.BertAdam(weight_decay=0.0), 2000)
plt.figure(figsize=(7, 3.5), layout="constrained")
plt.semilogx(t, uncorrected, color=plot.COLOURS[1], label="without correction (BertAdam)")
plt.semilogx(t, corrected, "--", color=plot.COLOURS[0], label="Adam")
plt.xlabel("step t")
plt.ylabel("step length / learning rate")
plt.ylim(0, None)
plt.legend()
plt.show()

formula = (1 - 0.9**t) / np.sqrt(1 - 0.999**t)
print(f"largest: {uncorrected.max():.2f} times, at t = {t[uncorrected.argmax()]}")
assert np.allclose(corrected, 1, atol=1e-6)
assert np.allclose(uncorrected, formula, rtol=1e-4)
assert t[uncorrected.argmax()] == 12
assert np.isclose(uncorrected.max(), 6.57, atol=0.01)

# %% [markdown]
# ## Decoupled decay
#
# An L2 penalty puts $\lambda\theta$ into the gradient, where Adam divides it by the gradient's size:
# weights with *large* gradients hardly decay. AdamW shrinks $\theta$ directly, all at one rate. Two
# weights with noisy gradients of size 0.1 and 10:

# %%
noise = rng.normal(size=(400, 1, 2)) * [0.1, 10.0]
noise -= noise.mean(axis=0)


def decayed(optimizer):
    params = {"w": np.ones((1, 2))}  # two axes: decay is for matrices
    state, path = optimizer.init(params), []
    for g in noise:
        optimizer.update(params, {"w": g}, state, 1e-3)
        path.append(params["w"][0].copy())
    return np.array(path)


l2, decoupled = decayed(nf.Adam(weight_decay=1.0)), decayed(nf.AdamW(weight_decay=1.0))
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained", sharey=True)
for ax, path, title in zip(axes, (l2, decoupled), ("Adam, L2 penalty", "AdamW"), strict=True):
    ax.plot(path[:, 0], color=plot.COLOURS[0], label="gradients of size 0.1")
    ax.plot(path[:, 1], "--", color=plot.COLOURS[1], label="gradients of size 10")
    ax.set(title=title, xlabel="step")
axes[0].set_ylabel("weight")
axes[0].legend()
plt.show()
print("after 400 steps: L2", l2[-1].round(2), "| AdamW", decoupled[-1].round(2))
assert l2[-1, 1] - l2[-1, 0] > 0.2  # unequal
assert abs(decoupled[-1, 1] - decoupled[-1, 0]) < 0.1  # nearly equal

# %% [markdown]
# ## Warm-up, clipping
#
# A schedule multiplies the rate; it starts near zero because the first estimates of $v$ are poor and
# post-LN's first gradients are large (lesson 7). Clipping by the *global* norm shortens the step
# and keeps its direction; clipping each array by itself turns it.

# %%
steps = np.arange(1, 400)
curves = {
    "linear": [linear_schedule(int(s), warmup=40, total=400) for s in steps],
    "cosine": [cosine_schedule(int(s), warmup=40, total=400) for s in steps],
    "Noam": [noam_schedule(int(s), warmup=40, d_model=512) for s in steps],
}
plt.figure(figsize=(7, 3.2), layout="constrained")
for i, (name, curve) in enumerate(curves.items()):
    plt.plot(steps, curve / np.max(curve), plot.STYLES[i], color=plot.COLOURS[i], label=name)
plt.xlabel("step")
plt.ylabel("rate / peak")
plt.legend()
plt.show()
assert all(steps[int(np.argmax(curve))] == 40 for curve in curves.values())

grads = {"a": np.array([30.0, 40.0]), "b": np.array([0.3, 0.4])}
together = {name: g.copy() for name, g in grads.items()}
apart = {name: g.copy() for name, g in grads.items()}
norm = clip_by_global_norm(together, 1.0)
clip_by_tensor_norm(apart, 1.0)


def cosine(u, v):
    u, v = (np.concatenate(list(g.values())) for g in (u, v))
    return u @ v / np.linalg.norm(u) / np.linalg.norm(v)


print(f"norm {norm:.2f}; cosine with the gradient: global {cosine(together, grads):.3f}, ", end="")
print(f"per array {cosine(apart, grads):.3f}")
assert np.isclose(cosine(together, grads), 1)
assert cosine(apart, grads) < 0.95

# %% [markdown]
# ## Gradient accumulation
#
# A batch of eight in parts of five and three. The mean of the two means is *not* the mean: a
# sentence in the small part counts for more. Divide every part by the count of the whole.

# %%
logits, labels = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)


def gradient(rows, count=None):
    _, cache = ops.cross_entropy_forward(logits[rows], labels[rows], count=count)
    return ops.cross_entropy_backward(1.0, cache)


whole = gradient(slice(0, 8))
by_count = np.concatenate([gradient(slice(0, 5), 8), gradient(slice(5, 8), 8)])
mean_of_means = np.concatenate([gradient(slice(0, 5)), gradient(slice(5, 8))]) / 2
print("divided by the whole count: off by", np.abs(by_count - whole).max())
print("mean of means: off by", np.abs(mean_of_means - whole).max().round(4))
assert np.allclose(by_count, whole)
assert np.abs(mean_of_means - whole).max() > 1e-3

# %% [markdown]
# ## What to take along
#
# * A step of Adam is about the learning rate; uncorrected, up to 6.57 times that.
# * L2 in Adam is not weight decay; AdamW's is.
# * Global clipping keeps the direction; accumulation divides by the whole count.

# %% [markdown] exercises="sgd-momentum adam adamw warmup-schedule clip-global-norm gradient-accumulation"

# %% [markdown]
# # 3. Layer norm: two directions that no gradient has
#
# One idea: **layer norm forgets the mean and the length of a row, so its gradient has nothing along
# these two directions.** That is the whole backward, and it is why the usual tests cannot see a
# wrong one.

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot

rng = np.random.default_rng(3)

# %% [markdown]
# ## See it
#
# $\hat x = (x - \mu)/\sqrt{\sigma^2 + \epsilon}$, then $y = \gamma \hat x + \beta$. With three
# features we can look: centring moves every point into the plane $\sum_i x_i = 0$, dividing by
# $\sigma$ puts it on a circle of radius $\sqrt D = \sqrt 3$ in it.

# %%
cloud = rng.normal(size=(60, 3)) * [1.5, 2.0, 1.0] + [0.5, 0.0, -0.5]
on_circle, _ = ops.layernorm_forward(cloud, np.ones(3), np.zeros(3))
plane = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])  # two unit vectors that span it
before, after = cloud @ plane.T, on_circle @ plane.T

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.4), layout="constrained")
for i in range(60):
    right.plot(*np.stack([before[i], after[i]]).T, color="0.85", linewidth=0.8)
for ax in (left, right):
    ax.scatter(*before.T, s=14, color=plot.COLOURS[1], label="centred")
    ax.set(aspect="equal", xlim=(-4.5, 4.5), ylim=(-4.5, 4.5))
right.scatter(*after.T, s=14, color=plot.COLOURS[0], label="layer norm")
left.set_title("Rows, seen along (1, 1, 1)")
right.set_title("Divided by their standard deviation")
right.legend()
plt.show()

assert np.allclose(np.linalg.norm(on_circle, axis=1), np.sqrt(3))
assert np.allclose(on_circle.sum(axis=1), 0)

# %% [markdown]
# A shift of the whole row, or a stretch, is gone afterwards. So no loss can ask for one: the gradient
# must be orthogonal to $(1, \dots, 1)$ and to $\hat x$. Take $d\hat x = \gamma\,dy$, subtract its part
# along each of the two, and divide by the standard deviation:
#
# $$dx = \frac{1}{\sqrt{\sigma^2+\epsilon}}\Bigl(d\hat x
#   - \underbrace{\tfrac1D \textstyle\sum_i d\hat x_i}_{\text{along } 1}
#   - \hat x\,\underbrace{\tfrac1D \textstyle\sum_i d\hat x_i \hat x_i}_{\text{along } \hat x}\Bigr)$$

# %%
x, gamma, beta = rng.normal(size=(4, 7)), rng.normal(size=7), rng.normal(size=7)
y, cache = ops.layernorm_forward(x, gamma, beta)
dy = rng.normal(size=y.shape)
dx, dgamma, dbeta = ops.layernorm_backward(dy, cache)

print("shifted and stretched:", np.abs(ops.layernorm_forward(3 * x + 5, gamma, beta)[0] - y).max())
print("dx along 1:           ", np.abs(dx.sum(axis=1)).max())
print("dx along x̂:           ", np.abs((dx * cache.xhat).sum(axis=1)).max())
assert np.allclose(ops.layernorm_forward(3 * x + 5, gamma, beta)[0], y)
assert np.abs(dx.sum(axis=1)).max() < 1e-12
assert np.abs((dx * cache.xhat).sum(axis=1)).max() < 1e-10
assert np.allclose(dgamma, (dy * cache.xhat).sum(axis=0))  # broadcast forward, summed backward
assert np.allclose(dbeta, dy.sum(axis=0))
assert np.isclose(cache.rstd[0, 0], 1 / x[0].std())  # the biased one: divided by D, not D - 1
nf.check_pair(ops.layernorm_forward, ops.layernorm_backward, (x, gamma, beta))

# %% [markdown]
# ## The trap
#
# Many tests take `layernorm(x).sum()` with fresh parameters: $dy = 1$ and $\gamma = 1$. Then
# $d\hat x$ lies along $(1, \dots, 1)$, and the true gradient is **zero**. Five wrong backwards
# before two judges: that test, and one with random $dy$ and random $\gamma$.


# %%
def centred(d):
    return d - d.mean(axis=1, keepdims=True)


def along(d, xhat):
    return xhat * (d * xhat).mean(axis=1, keepdims=True)


wrong = {
    "dx = 0": lambda dy, c: np.zeros_like(dy),
    "no gamma": lambda dy, c: (centred(dy) - along(dy, c.xhat)) * c.rstd,
    "no 1/std": lambda dy, c: centred(dy * c.gamma) - along(dy * c.gamma, c.xhat),
    "no variance term": lambda dy, c: centred(dy * c.gamma) * c.rstd,
    "no mean term": lambda dy, c: (dy * c.gamma - along(dy * c.gamma, c.xhat)) * c.rstd,
}


def error(backward, dy, gamma):
    _, cache = ops.layernorm_forward(x, gamma, beta)
    numeric = nf.numeric_gradient(lambda z: ops.layernorm_forward(z, gamma, beta)[0], x, dy)
    return np.abs(backward(dy, cache) - numeric).max()


judges = {"dy = 1, gamma = 1": (np.ones_like(dy), np.ones(7)), "dy and gamma random": (dy, gamma)}
candidates = {"right": lambda dy, c: ops.layernorm_backward(dy, c)[0], **wrong}
errors = {
    judge: np.array([error(backward, *given) for backward in candidates.values()]) + 1e-16
    for judge, given in judges.items()
}

plt.figure(figsize=(9, 4), layout="constrained")
for i, (judge, values) in enumerate(errors.items()):
    place = np.arange(len(candidates)) + 0.4 * i - 0.2
    plt.bar(place, values, 0.38, bottom=1e-17, color=plot.COLOURS[1 - i], label=judge)
plt.axhline(1e-7, color="0.3", linestyle=":", label="tolerance")
plt.yscale("log")
plt.xticks(range(len(candidates)), candidates)
plt.ylabel("largest error of dx")
plt.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
plt.show()

# %% [markdown]
# The first judge (orange) accepts four of the five. It condemns "no mean term" only because that
# one fails to be zero. The second sees all of them.

# %%
naive, honest = errors.values()
assert (naive[1:] < 1e-7).sum() == 4
assert (honest[1:] > 1e-2).all()
assert naive[0] < 1e-7
assert honest[0] < 1e-7

# %% [markdown]
# ## RMS norm
#
# Leave out the centring and you have the RMS norm of Llama and T5. One direction fewer is
# forgotten, so one term fewer is subtracted. Layer norm is RMS norm after centring:

# %%
by_rms, rms_cache = ops.rmsnorm_forward(x - x.mean(axis=1, keepdims=True), gamma, eps=1e-12)
assert np.allclose(by_rms + beta, y)
drms, _ = ops.rmsnorm_backward(dy, rms_cache)
print("RMS norm, dx along 1: ", np.abs(drms.sum(axis=1)).max().round(3))
print("RMS norm, dx along x̂: ", np.abs((drms * rms_cache.xhat).sum(axis=1)).max())
assert np.abs(drms.sum(axis=1)).max() > 0.1
assert np.abs((drms * rms_cache.xhat).sum(axis=1)).max() < 1e-10

# %% [markdown]
# ## What to take along
#
# * Three paths lead from $x_j$ to $\hat x_i$: direct, through the mean, through the variance.
# * What a forward forgets, its gradient cannot have.
# * Random cotangents and parameters off their initial values, or a test proves nothing.

# %% [markdown] exercises="layer-norm layer-norm-backward rms-norm-backward"

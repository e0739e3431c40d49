# %% [markdown]
# # 1. The linear map: a gradient is a sum
#
# One idea: **the gradient of a factor is the incoming gradient times the other factor, summed over
# every index that the factor does not have.** With it nobody has to remember where a transpose
# goes. And one habit: no gradient is believed before finite differences have agreed with it.

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot

rng = np.random.default_rng(1)

# %% [markdown]
# ## The rule
#
# The forward of a linear layer, with $n$ running over the rows (all tokens of the batch):
#
# $$y_{no} = \sum_i x_{ni}\,w_{io} + b_o$$
#
# The backward is given $dy_{no}$, the gradient of the loss with respect to $y$. By the rule,
#
# $$dx_{ni} = \sum_o dy_{no}\,w_{io}, \qquad dw_{io} = \sum_n x_{ni}\,dy_{no}, \qquad
#   db_o = \sum_n dy_{no}.$$
#
# $b$ has no index $n$, so its gradient is summed over the rows: what was *broadcast* forward is
# *summed* backward. Here are the three sums as loops, against the library.

# %%
x, w, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 5)), rng.normal(size=5)
y, cache = ops.linear_forward(x, w, b)
dy = rng.normal(size=y.shape)
dx, dw, db = ops.linear_backward(dy, cache)

dx_loops, dw_loops, db_loops = np.zeros((4, 3)), np.zeros((3, 5)), np.zeros(5)
for n in range(4):
    for o in range(5):
        db_loops[o] += dy[n, o]
        for i in range(3):
            dx_loops[n, i] += dy[n, o] * w[i, o]
            dw_loops[i, o] += x[n, i] * dy[n, o]

for name, fast, slow in (("dx", dx, dx_loops), ("dw", dw, dw_loops), ("db", db, db_loops)):
    print(f"{name}: largest difference {np.abs(fast - slow).max():.1e}")
    assert np.allclose(fast, slow)
assert np.allclose(dx, dy @ w.T)
assert np.allclose(dw, x.T @ dy)

# %% [markdown]
# A matrix product sums over *neighbouring* indices. In $\sum_o dy_{no} w_{io}$ the summed index is
# last in both, so $w$ is turned over; in $\sum_n x_{ni} dy_{no}$ it is first in both, so $x$ is.
#
# ## The referee, and how far to trust it
#
# Move one entry by $h$ both ways and see how $L = \sum dy \cdot y$ changes. How large should $h$ be?
# A difference is wrong by its own curvature (grows with $h$) and by rounding (grows with $1/h$).


# %%
def f(x):
    return float((dy * ops.gelu_forward(x @ w + b)[0]).sum())


u, gelu_cache = ops.gelu_forward(x @ w + b)
exact = ops.linear_backward(ops.gelu_backward(dy, gelu_cache), cache)[0][0, 0]

steps = 10.0 ** np.arange(-14, 0.1, 0.5)
step = np.zeros_like(x)
one_sided, centred = [], []
for h in steps:
    step[0, 0] = h
    one_sided.append(abs((f(x + step) - f(x)) / h - exact) + 1e-17)
    centred.append(abs((f(x + step) - f(x - step)) / (2 * h) - exact) + 1e-17)

plt.figure(figsize=(7, 4), layout="constrained")
plt.loglog(steps, one_sided, "o--", color=plot.COLOURS[1], label="(f(x + h) - f(x)) / h")
plt.loglog(steps, centred, "o-", color=plot.COLOURS[0], label="(f(x + h) - f(x - h)) / 2h")
plt.axvline(np.finfo(float).eps ** (1 / 3), color="0.5", linestyle=":", label="h = ε^(1/3)")
plt.xlabel("step h")
plt.ylabel("error of the slope")
plt.legend()
plt.show()

# %% [markdown]
# Read the slopes on the right: halving $h$ halves the one-sided error and quarters the centred one.
# On the left everything drowns in rounding. The best centred step is near $\epsilon^{1/3}$, and it
# is hundreds of times more exact than the best one-sided one. In float32, where
# $\epsilon = 10^{-7}$, even the best step proves little: check in float64.

# %%
best = steps[int(np.argmin(centred))]
print(f"best: one-sided {min(one_sided):.0e}, centred {min(centred):.0e} at h = {best:.0e}")
assert min(centred) < min(one_sided) / 100
at = {h: i for i, h in enumerate(steps.round(15))}
assert 80 < centred[at[1e-2]] / centred[at[1e-3]] < 120  # h ten times smaller: 100 times better
assert 8 < one_sided[at[1e-2]] / one_sided[at[1e-3]] < 12

report = nf.check_pair(ops.linear_forward, ops.linear_backward, (x, w, b))
print(f"{report.name}: worst error {report.error:.0e}, allowed {report.tolerance:.0e}")

# %% [markdown]
# ## Square hides mistakes
#
# Forget the transpose of `w`. With a square matrix the shapes fit and nothing complains; with three
# different sizes NumPy refuses at once. That is why every check in this library has axes of
# different sizes.


# %%
def without_transpose(dy, cache):
    _, dw, db = ops.linear_backward(dy, cache)
    return dy @ cache.w, dw, db


square = rng.normal(size=(4, 3)), rng.normal(size=(3, 3)), rng.normal(size=3)
try:
    nf.check_pair(ops.linear_forward, without_transpose, square)
except nf.GradientError as error:
    print("square:", error)
else:
    raise AssertionError("the mistake went through")

try:
    without_transpose(dy, cache)
except ValueError as error:
    print("3 by 5:", str(error)[:60], "...")
else:
    raise AssertionError("the shapes fit")

# %% [markdown]
# ## Activations: the gradient passes a gate
#
# An activation works entry by entry, so its backward multiplies $dy$ by the slope at that entry,
# $dx = dy \odot f'(x)$. The slope decides how much gradient a deep stack lets through.

# %%
grid = np.linspace(-4, 4, 401)
pairs = {
    "relu": (ops.relu_forward, ops.relu_backward),
    "sigmoid": (ops.sigmoid_forward, ops.sigmoid_backward),
    "tanh": (ops.tanh_forward, ops.tanh_backward),
    "gelu": (ops.gelu_forward, ops.gelu_backward),
}
slopes = {}
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for i, (name, (forward, backward)) in enumerate(pairs.items()):
    value, activation_cache = forward(grid)
    slopes[name] = backward(np.ones_like(grid), activation_cache)
    style = {"color": plot.COLOURS[i], "linestyle": plot.STYLES[i], "label": name}
    left.plot(grid, value, **style)
    right.plot(grid, slopes[name], **style)
left.set(title="f(x)", xlabel="x", ylim=(-1.2, 3))
right.set(title="slope f'(x): what dy is multiplied by", xlabel="x")
right.legend()
plt.show()

# %%
assert np.isclose(slopes["sigmoid"].max(), 0.25)  # ten layers: at most 0.25 ** 10, a millionth
assert np.isclose(slopes["tanh"].max(), 1.0)
assert slopes["gelu"].max() > 1.1  # GELU's slope goes above 1
assert slopes["gelu"].min() < -0.1  # and below 0
assert np.all(slopes["relu"][grid < 0] == 0)  # a dead unit gets no gradient at all
for name, (forward, backward) in pairs.items():
    nf.check_pair(forward, backward, (rng.normal(size=(3, 5)),), name=name)
print("all slopes agree with finite differences")

# %% [markdown]
# ## What to take along
#
# * Write the forward with indices; the backward follows by summing over what is missing.
# * A broadcast forward is a sum backward.
# * Centred differences, float64, random incoming gradients, all axes of different size.

# %% [markdown] exercises="linear-backward broadcast-bias relu-backward sigmoid-backward tanh-backward gelu-backward"

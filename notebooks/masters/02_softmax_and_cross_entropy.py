# %% [markdown]
# # 2. Softmax and cross-entropy: prediction minus truth
#
# One idea: **softmax and cross-entropy belong together. Alone, the softmax starves gradients; under
# the logarithm of the cross-entropy all that remains is $p - y$.**

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot

rng = np.random.default_rng(2)

# %% [markdown]
# ## The Jacobian of one row
#
# $p_j = e^{x_j} / \sum_l e^{x_l}$, and
# $\partial p_j/\partial x_l = p_j(\delta_{jl} - p_l)$. Raising one logit lowers all *other*
# probabilities: the entries beside the diagonal are not zero. Below, the matrix for three rows of
# logits: the same numbers times 1, 4 and 16.

# %%
logits = np.array([0.3, 1.0, -0.5, 0.8, 0.0])
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
sizes = []
for ax, factor in zip(axes, (1, 4, 16), strict=True):
    p, _ = ops.softmax_forward(factor * logits)
    jacobian = np.diag(p) - np.outer(p, p)
    sizes.append(np.linalg.norm(jacobian))
    image = ax.imshow(jacobian, cmap="RdBu", vmin=-0.25, vmax=0.25)
    ax.set(title=f"logits × {factor}: largest p = {p.max():.3f}", xlabel="l", ylabel="j")
    assert np.allclose(jacobian.sum(axis=1), 0)  # a shift of all logits changes nothing
figure.colorbar(image, ax=axes, label="∂p_j / ∂x_l")
plt.show()

# %% [markdown]
# On the right the softmax is *saturated*: one probability is nearly 1, every entry of the Jacobian
# is nearly 0, and hardly any gradient comes through. (Attention divides its scores by $\sqrt K$ to
# stay on the left: lesson 4.)
#
# Nobody builds this matrix; the vector-Jacobian product needs one sum:
# $dx_l = p_l\,(dp_l - \sum_j dp_j p_j)$.

# %%
p, cache = ops.softmax_forward(logits)
dp = rng.normal(size=5)
dx = ops.softmax_backward(dp, cache)
assert np.allclose(dx, (np.diag(p) - np.outer(p, p)) @ dp)
assert sizes[2] < sizes[0] / 4
print("norm of the Jacobian:", np.round(sizes, 4))

diagonal_only = dp * p * (1 - p)  # "the derivative is p (1 - p)": a sigmoid's
print("with the diagonal only, dx is wrong by", np.abs(diagonal_only - dx).max().round(3))
assert np.abs(diagonal_only - dx).max() > 0.05

# %% [markdown]
# ## Under the logarithm
#
# Cross-entropy takes $-\log p_y$ of the right class. Multiply its gradient by the Jacobian and
# the saturation cancels: $d\,\text{logits} = p - y$, where $y$ is the one-hot truth. The mean over
# $n$ rows divides by $n$.

# %%
batch, labels = rng.normal(size=(4, 3)), np.array([2, 0, 1, 1])
loss, loss_cache = ops.cross_entropy_forward(batch, labels)
dlogits = ops.cross_entropy_backward(1.0, loss_cache)
p_minus_y = (ops.softmax_forward(batch)[0] - np.eye(3)[labels]) / 4
numeric = nf.numeric_gradient(lambda z: ops.cross_entropy_forward(z, labels)[0], batch)
print(f"p - y: off by {np.abs(dlogits - p_minus_y).max():.0e}")
print(f"finite differences: off by {np.abs(dlogits - numeric).max():.0e}")
assert np.allclose(dlogits, p_minus_y)
assert np.abs(dlogits - numeric).max() < 1e-9

# %% [markdown]
# ## Why not the squared error of the probabilities?
#
# A favourite question. Take two classes and let the model be wrong with growing confidence. The
# gradient of the cross-entropy tends to 1: the more wrong, the stronger the push. The squared error
# still has the softmax's Jacobian in its gradient and falls silent just where it is most needed.

# %%
margin = np.linspace(-4, 12, 200)  # logit of the wrong class over the right one
two = np.stack([np.zeros_like(margin), margin], axis=1)  # class 0 is right
probs, softmax_cache = ops.softmax_forward(two)
truth = np.array([1.0, 0.0])
by_cross_entropy = np.abs(probs - truth)[:, 0]
by_squared_error = np.abs(ops.softmax_backward(2 * (probs - truth), softmax_cache))[:, 0]

plt.figure(figsize=(7, 3.8), layout="constrained")
plt.plot(margin, by_cross_entropy, color=plot.COLOURS[0], label="cross-entropy: |p - y|")
plt.plot(margin, by_squared_error, "--", color=plot.COLOURS[1], label="squared error of p")
plt.axvline(0, color="0.6", linewidth=0.8)
plt.xlabel("margin by which the wrong class leads")
plt.ylabel("|gradient| of a logit")
plt.legend()
plt.show()

assert by_cross_entropy[-1] > 0.999
assert by_squared_error[-1] < 1e-4

# %% [markdown]
# ## Never log(softmax(x))
#
# A probability below $10^{-308}$ is 0 in float64, and its logarithm is $-\infty$. The log-softmax
# subtracts before it exponentiates: $\log p_j = x_j - m - \log\sum_l e^{x_l - m}$ with the row's
# maximum $m$.

# %%
huge = np.array([[1000.0, 0.0, -1000.0]])
with np.errstate(divide="ignore"):
    naive = np.log(ops.softmax_forward(huge)[0])
stable, _ = ops.log_softmax_forward(huge)
print("naive: ", naive)
print("stable:", stable)
assert np.isinf(naive).any()
assert np.allclose(stable, [[0, -1000, -2000]])

# %% [markdown]
# ## Label smoothing: when to stop pushing
#
# With hard labels $p - y$ is never zero: the logits grow for ever. Smoothing gives every class
# $\alpha/C$ of the truth. Then the gradient vanishes at a *finite* margin,
# $\log\frac{1-\alpha+\alpha/C}{\alpha/C}$.

# %%
alpha, classes = 0.1, 4
goal = np.log((1 - alpha + alpha / classes) / (alpha / classes))
at_goal = np.array([[goal, 0.0, 0.0, 0.0]])
zero = np.array([0])
_, smooth = ops.cross_entropy_forward(at_goal, zero, label_smoothing=alpha)
_, hard = ops.cross_entropy_forward(at_goal, zero)
print(f"margin {goal:.2f}")
print("smoothed gradient:", ops.cross_entropy_backward(1.0, smooth).round(12))
print("hard gradient:    ", ops.cross_entropy_backward(1.0, hard).round(3))
assert np.abs(ops.cross_entropy_backward(1.0, smooth)).max() < 1e-12
assert ops.cross_entropy_backward(1.0, hard)[0, 0] < -0.07

# %% [markdown]
# ## Mean over what?
#
# Padding and unmasked tokens carry the label −100 and count for nothing, neither in the sum nor in
# the number it is divided by. Dividing by all rows instead makes the loss depend on the padding.

# %%
two_rows, _ = ops.cross_entropy_forward(batch[:2], labels[:2])
padded = np.where(np.arange(4) < 2, labels, -100)
with_padding, padded_cache = ops.cross_entropy_forward(batch, padded)
print(f"two rows {two_rows:.4f}, the same and two ignored rows {with_padding:.4f}")
assert np.isclose(two_rows, with_padding)
assert np.all(ops.cross_entropy_backward(1.0, padded_cache)[2:] == 0)

# %% [markdown]
# ## What to take along
#
# * The softmax's Jacobian has entries beside the diagonal, and vanishes when saturated.
# * Through cross-entropy the gradient is $p - y$: never write the two apart.
# * Say what a mean is over.

# %% [markdown] exercises="softmax softmax-backward log-softmax-backward cross-entropy label-smoothing"

# %% [markdown]
# # 11. Find the bug: a test is worth what it kills
#
# One idea: **a test that has never failed has never been tested.** Here are ten wrong backwards of
# the kind found in published code, and five ways of testing them that are in common use. Which test
# kills which bug?

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops

rng = np.random.default_rng(11)

# %% [markdown]
# ## The bugs
#
# Three functions: softmax, layer norm, attention with dropout and a padding mask. Read each bug and
# say what is wrong before you look at the picture.


# %%
def mean(x):
    return x.mean(axis=-1, keepdims=True)


def layer_norm(dxhat, c):
    return (dxhat - mean(dxhat) - c.xhat * mean(dxhat * c.xhat)) * c.rstd


def attention(dctx, c, probs_for_dv=None, dropped=True, scaled=True, rows=True):
    p, r = c.softmax.probs, 1.0 if c.dropout.r is None else c.dropout.r
    dv = (p * r if probs_for_dv is None else probs_for_dv).swapaxes(-1, -2) @ dctx
    dp = dctx @ c.mix.v.swapaxes(-1, -2) * (r if dropped else 1.0)
    da = p * (dp - (dp * p).sum(axis=-1, keepdims=True)) if rows else p * dp
    dq, dk, _ = ops.attention_scores_backward(da, c.scores)
    return (dq, dk, dv) if scaled else (dq / c.scores.scale, dk, dv)


bugs = {
    "softmax: p (1 - p)": lambda dy, c: (dy * c.probs * (1 - c.probs),),
    "softmax: plain sum": lambda dy, c: (c.probs * (dy - dy.sum(axis=-1, keepdims=True)),),
    "softmax: p - dy": lambda dy, c: (c.probs - dy,),
    "norm: dx = 0": lambda dy, c: (np.zeros_like(dy),),
    "norm: forgets gamma": lambda dy, c: (layer_norm(dy, c),),
    "norm: no variance path": lambda dy, c: ((dy * c.gamma - mean(dy * c.gamma)) * c.rstd,),
    "attention: dq not scaled": lambda dy, c: attention(dy, c, scaled=False),
    "attention: no row sum": lambda dy, c: attention(dy, c, rows=False),
    "attention: dv from p before dropout": lambda dy, c: attention(dy, c, c.softmax.probs),
    "attention: dropout not undone": lambda dy, c: attention(dy, c, dropped=False),
}
right = {
    "softmax": lambda dy, c: (ops.softmax_backward(dy, c),),
    "norm": lambda dy, c: (ops.layernorm_backward(dy, c)[0],),
    "attention": lambda dy, c: ops.attention_backward(dy, None, c)[:3],
}

# %% [markdown]
# ## The tests
#
# All but the first two compare with centred differences. They differ in what they feed.


# %%
def setting(kind, *, ones, fresh, dropout):
    """Return forward, its arguments and dy. Fresh: gamma 1, beta 0. Ones: dy is all ones."""
    rng = np.random.default_rng(3)
    gamma, beta = (np.ones(5), np.zeros(5)) if fresh else rng.normal(size=(2, 5))
    keep = np.array([True, True, False, True, True])[None, None, None]
    p_drop = 0.3 if dropout else 0.0

    def attention_forward(q, k, v):
        rng = np.random.default_rng(5)  # the same dropout mask at every call
        ctx, _, cache = ops.attention_forward(q, k, v, keep, p_drop=p_drop, rng=rng)
        return ctx, cache

    forward, args = {
        "softmax": (ops.softmax_forward, (rng.normal(size=(4, 5)),)),
        "norm": (lambda x: ops.layernorm_forward(x, gamma, beta), (rng.normal(size=(4, 5)),)),
        "attention": (
            attention_forward,
            (
                rng.normal(size=(1, 2, 3, 4)),
                rng.normal(size=(1, 2, 5, 4)),
                rng.normal(size=(1, 2, 5, 6)),
            ),
        ),
    }[kind]
    y, cache = forward(*args)
    return forward, args, cache, np.ones_like(y) if ones else rng.normal(size=y.shape)


def runs(kind, backward):  # "a gradient comes out"
    _, _, cache, dy = setting(kind, ones=True, fresh=True, dropout=False)
    return all(np.isfinite(g).all() for g in backward(dy, cache))


def shapes(kind, backward):
    _, args, cache, dy = setting(kind, ones=True, fresh=True, dropout=False)
    return [g.shape for g in backward(dy, cache)] == [a.shape for a in args]


def differences(*, ones, fresh, dropout):
    def test(kind, backward):
        forward, args, cache, dy = setting(kind, ones=ones, fresh=fresh, dropout=dropout)
        for i, given in enumerate(backward(dy, cache)):
            numeric = nf.numeric_gradient(
                lambda a, i=i: forward(*args[:i], a, *args[i + 1 :])[0], args[i], dy
            )
            if np.abs(given - numeric).max() > 1e-7 * max(1.0, np.abs(numeric).max()):
                return False
        return True

    return test


tests = {
    "it runs": runs,
    "shapes": shapes,
    "dy = 1": differences(ones=True, fresh=True, dropout=False),
    "dy random": differences(ones=False, fresh=True, dropout=False),
    "all random, dropout on": differences(ones=False, fresh=False, dropout=True),
}
killed = np.array(
    [[not test(name.split(":")[0], bug) for test in tests.values()] for name, bug in bugs.items()]
)
for test in tests.values():
    assert all(test(kind, backward) for kind, backward in right.items())  # no false alarm

figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
ax.imshow(killed, cmap="cividis", vmin=0, vmax=1, aspect="auto")
for i, j in np.ndindex(killed.shape):
    word, colour = ("killed", "black") if killed[i, j] else ("lives", "white")
    ax.text(j, i, word, ha="center", va="center", color=colour, fontsize=8)
ax.set_xticks(range(len(tests)), tests, rotation=20, ha="right")
ax.set_yticks(range(len(bugs)), bugs)
plt.show()

# %%
survivors = dict(zip(tests, (~killed).sum(axis=0).tolist(), strict=True))
print("bugs that live:", survivors)
assert survivors["it runs"] == survivors["shapes"] == len(bugs)
assert 0 < survivors["dy random"] < survivors["dy = 1"]
assert survivors["all random, dropout on"] == 0

# %% [markdown]
# * "It runs" and "the shapes fit" kill nothing.
# * With $dy = 1$ the true gradients of softmax and layer norm are zero, because their rows sum to a
#   constant: `dx = 0` passes.
# * With $\gamma = 1$ nobody sees whether gamma was used; without dropout nobody sees where its mask
#   belongs.
# * The last column: random incoming gradients, parameters off their initial values, a fixed dropout
#   mask, a padding mask, all axes of different size.
#
# ## What a mistake looks like
#
# A wrong gradient leaves a fingerprint. `check_pair` reports a constant factor, a sign, a transpose
# where it sees one:


# %%
def not_scaled(dscores, cache):
    dq, dk, dbias = ops.attention_scores_backward(dscores, cache)
    return dq / cache.scale, dk, dbias


def wrong_sign(dy, cache):
    return -ops.tanh_backward(dy, cache)


q, k = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 6, 5))
cases = (
    (ops.attention_scores_forward, not_scaled, (q, k, None), "factor"),
    (ops.tanh_forward, wrong_sign, (rng.normal(size=(3, 4)),), "sign"),
)
for forward, backward, args, said in cases:
    try:
        nf.check_pair(forward, backward, args)
        message = "accepted"
    except nf.GradientError as error:
        message = str(error)
    print(message, "\n")
    assert said in message

# %% [markdown]
# ## Bugs that no gradient check can find
#
# Forward and backward may agree perfectly and both be wrong. Attention that lets padding in has a
# correct gradient. For these one tests what must *not* change: put something else in the padding
# and compare.

# %%
v = rng.normal(size=(2, 3, 6, 7))
keep = np.arange(6)[None, None, None] < 4
nf.check_pair(ops.attention_forward, ops.attention_backward, (q, k, v, None, None))  # no mask: fine

other_k = np.where(keep.swapaxes(-1, -2), k, 9.0)
for name, mask in (("mask forgotten", None), ("mask given", keep)):
    before, after = (ops.attention_forward(q, keys, v, mask)[0] for keys in (k, other_k))
    print(f"{name}: the padding moves the output by {np.abs(before - after).max():.2g}")
    assert (np.abs(before - after).max() == 0) == (mask is not None)

# %% [markdown]
# ## The museum
#
# `npformer.exercises.museum` keeps real bugs of published code. You get what the function should do
# and the title of the bug, but neither version; you write the test. It must pass on the right code
# and fail on the bug. Take a layer norm that is right only while gamma is all ones. The first try
# below walks into the trap of lesson 3:

# %%
from npformer.exercises.museum import BUGS, check_test


def differs(fn, gamma):
    """How far fn is from centred differences."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(2, 3, 5))
    numeric = nf.numeric_gradient(
        lambda z: ops.layernorm_forward(z, gamma, np.zeros(5), eps=1e-12)[0], x, dy
    )
    return np.abs(fn(dy, x, gamma) - numeric).max()


def first_try(fn):
    assert differs(fn, np.ones(5)) < 1e-7


def second_try(fn):
    assert differs(fn, np.arange(1.0, 6.0)) < 1e-7


for test in (first_try, second_try):
    report = check_test("layer-norm-gamma-outside", test)
    print(report.text("en"), "\n")
    assert report.passed == (test is second_try)

print(f"{len(BUGS)} bugs:", ", ".join(bug.id for bug in BUGS))

# %% [markdown]
# ## What to take along
#
# * See every test red once.
# * Cotangents random, parameters moved, masks on, axes of different size.
# * Invariances find what gradient checks cannot.
#
# The first exercise turns it round: you write the checker, and it is run against right and wrong
# backwards. Then eight bugs of the museum; `npformer learn` has them all.

# %% [markdown] exercises="gradient-checker embedding-repeated-ids dv-from-undropped-probs cross-attention-swapped fully-masked-row-of-nan adam-without-bias-correction soft-cross-entropy-over-classes attention-loss-after-the-mask teacher-in-training-mode"

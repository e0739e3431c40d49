# %% [markdown]
# # The whole thing on one page
#
# A Transformer, trained, then distilled as TinyBERT does it: every line of it is here, in NumPy, and each backward
# stands right under its forward. There is no library of layers and no automatic differentiation. npformer is
# imported once, at the end, and must give the same numbers.
#
# How to read: `dx` is the gradient of the loss with respect to `x` and has the shape of `x`. A forward
# returns its result and what its backward needs. A backward takes the gradient of the result and
# goes through the lines of its forward in reverse. A value that was used twice gets two gradients, and they add up.
#
# Shapes: `B` sentences of `T` tokens, `D` numbers for each token, `H` heads of `K = D / H` numbers,
# `F` numbers inside the feed-forward network, `V` words, `C` classes.

# %%
import math
from itertools import product

import matplotlib.pyplot as plt
import numpy as np

HEADS = 4  # in the teacher and in the student: TinyBERT compares them head by head


def rows(x):
    return x.reshape(-1, x.shape[-1])  # (..., D) -> (N, D)


def swap(x):
    return x.swapaxes(-1, -2)


def mean(x):
    return x.mean(axis=-1, keepdims=True)


# %% [markdown]
# ## Four small functions
#
# **Linear**, $y = xw + b$. All `B T` rows went through the same `w`, so its gradient sums over them.
#
# **Layer norm**, $y = \gamma \hat x + \beta$ with $\hat x = (x - \bar x) / \sigma$. Nothing changes if a
# constant is added to `x`, or if `x` is stretched: the two means take these two directions out of the gradient.
#
# **GELU**, $y = x\,\Phi(x)$ with the normal distribution $\Phi$, and $y' = \Phi(x) + x\,\varphi(x)$.
#
# **Softmax**, $p_i = e^{x_i} / \sum_j e^{x_j}$. Adding the same number to all $x_i$ changes
# nothing, so the gradient's mean, weighted by `p`, is taken out. `keep` is False where a token is only padding.


# %%
def linear(x, w, b):
    return x @ w + b  # (..., I) -> (..., O)


def linear_backward(dy, x, w):
    return dy @ w.T, rows(x).T @ rows(dy), rows(dy).sum(axis=0)  # dx, dw, db


def norm(x, p):
    centred = x - mean(x)
    rstd = 1 / np.sqrt(mean(centred**2) + 1e-12)  # (B, T, 1)
    xhat = centred * rstd
    return xhat * p["gamma"] + p["beta"], (xhat, rstd)


def norm_backward(dy, cache, p):
    xhat, rstd = cache
    grads = {"gamma": rows(dy * xhat).sum(axis=0), "beta": rows(dy).sum(axis=0)}
    dxhat = dy * p["gamma"]
    dx = rstd * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))
    return dx, grads


def gelu(x):
    # NumPy has no erf.
    cdf = 0.5 * (1 + np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype(float))
    return x * cdf, (x, cdf)


def gelu_backward(dy, cache):
    x, cdf = cache
    density = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    return dy * (cdf + x * density)


def softmax(x, keep=True):
    e = np.exp(x - x.max(axis=-1, keepdims=True)) * keep
    return e / e.sum(axis=-1, keepdims=True)


def softmax_backward(dprobs, probs):
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))


# %% [markdown]
# ## Attention
#
# Each token asks (`q`), says what it can be asked for (`k`), and has something to give (`v`):
#
# $$A = q k^\top / \sqrt K, \qquad P = \operatorname{softmax}(A), \qquad \mathrm{ctx} = P v.$$
#
# Heads are columns: split `D` into `H` groups of `K`, let each attend alone, put them side by side again.
# The scores `A` are a second result, because TinyBERT's student imitates them; so the backward takes a
# gradient for them too.


# %%
def split(x):  # (B, T, D) -> (B, H, T, K)
    return x.reshape(*x.shape[:2], HEADS, -1).swapaxes(1, 2)


def join(x):  # (B, H, T, K) -> (B, T, D)
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def attention(x, keep, p):
    q = split(linear(x, p["w_q"], p["b_q"]))  # (B, H, T, K)
    k = split(linear(x, p["w_k"], p["b_k"]))
    v = split(linear(x, p["w_v"], p["b_v"]))
    scores = q @ swap(k) / math.sqrt(q.shape[-1])  # (B, H, T, T): query, key
    probs = softmax(scores, keep[:, None, None, :])  # nobody looks at padding
    ctx = join(probs @ v)  # (B, T, D)
    y = linear(ctx, p["w_o"], p["b_o"])
    return y, scores, (x, q, k, v, probs, ctx)


def attention_backward(dy, dscores, cache, p):
    x, q, k, v, probs, ctx = cache
    g = {}
    dctx, g["w_o"], g["b_o"] = linear_backward(dy, ctx, p["w_o"])
    dmixed = split(dctx)  # (B, H, T, K)
    dprobs, dv = dmixed @ swap(v), swap(probs) @ dmixed
    dscores = dscores + softmax_backward(dprobs, probs)  # one gradient from each use
    dscaled = dscores / math.sqrt(q.shape[-1])
    dq, dk = dscaled @ k, swap(dscaled) @ q
    dx_v, g["w_v"], g["b_v"] = linear_backward(join(dv), x, p["w_v"])
    dx_k, g["w_k"], g["b_k"] = linear_backward(join(dk), x, p["w_k"])
    dx_q, g["w_q"], g["b_q"] = linear_backward(join(dq), x, p["w_q"])
    return dx_q + dx_k + dx_v, g


# %% [markdown]
# ## A block
#
# Attention moves things between tokens, the feed-forward network works on each token by itself. Both *add*
# to what comes in, and a layer norm follows. Backward, an addition sends its gradient both ways.


# %%
def feedforward(x, p):
    u = linear(x, p["w_1"], p["b_1"])  # (B, T, F)
    a, gelu_cache = gelu(u)
    return linear(a, p["w_2"], p["b_2"]), (x, gelu_cache, a)  # (B, T, D)


def feedforward_backward(dy, cache, p):
    x, gelu_cache, a = cache
    g = {}
    da, g["w_2"], g["b_2"] = linear_backward(dy, a, p["w_2"])
    du = gelu_backward(da, gelu_cache)
    dx, g["w_1"], g["b_1"] = linear_backward(du, x, p["w_1"])
    return dx, g


def block(x, keep, p):
    a, scores, c_a = attention(x, keep, p["attention"])
    u, c_1 = norm(x + a, p["norm_1"])
    f, c_f = feedforward(u, p["feedforward"])
    y, c_2 = norm(u + f, p["norm_2"])
    return y, scores, (c_a, c_1, c_f, c_2)


def block_backward(dy, dscores, cache, p):
    c_a, c_1, c_f, c_2 = cache
    g = {}
    df, g["norm_2"] = norm_backward(dy, c_2, p["norm_2"])
    du, g["feedforward"] = feedforward_backward(df, c_f, p["feedforward"])
    da, g["norm_1"] = norm_backward(df + du, c_1, p["norm_1"])
    dx, g["attention"] = attention_backward(da, dscores, c_a, p["attention"])
    return da + dx, g


# %% [markdown]
# ## The model
#
# A row for each word plus a row for each position, `L` blocks, and a classifier that looks at the first
# token, `[CLS]`, alone. The result is everything that a loss may look at: `L + 1` hidden states, `L` arrays of
# scores, the logits. The gradient has the same form, 0 where the loss does not look.
#
# A lookup copies rows; backward, every copy brings its gradient home. A word that occurs twice gets
# both: `np.add.at` adds, `+=` would keep one of them.


# %%
def model(ids, keep, p):
    tables = p["encoder"]["embeddings"]
    x = tables["token"][ids] + tables["position"][: ids.shape[1]]  # (B, T, D)
    h, c = norm(x, tables)
    hidden, scores, caches = [h], [], [c]
    for layer in p["encoder"]["layers"]:
        h, a, c = block(h, keep, layer)
        hidden, scores, caches = [*hidden, h], [*scores, a], [*caches, c]
    cls = h[:, 0]  # (B, D)
    pooled = np.tanh(linear(cls, **p["pooler"]))
    logits = linear(pooled, **p["classifier"])  # (B, C)
    return (hidden, scores, logits), (ids, caches, cls, pooled)


def model_backward(dhidden, dscores, dlogits, cache, p):
    ids, caches, cls, pooled = cache
    tables, layers = p["encoder"]["embeddings"], p["encoder"]["layers"]
    dpooled, *classifier = linear_backward(dlogits, pooled, p["classifier"]["w"])
    dcls, *pooler = linear_backward(dpooled * (1 - pooled**2), cls, p["pooler"]["w"])
    dh = np.zeros((*ids.shape, cls.shape[-1])) + dhidden[-1]  # (B, T, D)
    dh[:, 0] += dcls
    blocks = []
    for i in reversed(range(len(layers))):
        dh, g = block_backward(dh, dscores[i], caches[i + 1], layers[i])
        dh = dh + dhidden[i]
        blocks.insert(0, g)
    dx, g = norm_backward(dh, caches[0], tables)
    g["token"], g["position"] = np.zeros_like(tables["token"]), np.zeros_like(tables["position"])
    np.add.at(g["token"], ids, dx)
    g["position"][: ids.shape[1]] = dx.sum(axis=0)
    return {
        "encoder": {"embeddings": g, "layers": blocks},
        "pooler": dict(zip("wb", pooler, strict=True)),
        "classifier": dict(zip("wb", classifier, strict=True)),
    }


def new_model(V, length, D, L, F, C, rng):
    def w(*shape):  # biases too: at 0 the referee would see less
        return rng.normal(0, 0.1, shape)

    def unit():
        return {"gamma": np.ones(D), "beta": np.zeros(D)}

    layers = [
        {
            "attention": {f"w_{n}": w(D, D) for n in "qkvo"} | {f"b_{n}": w(D) for n in "qkvo"},
            "norm_1": unit(),
            "feedforward": {"w_1": w(D, F), "b_1": w(F), "w_2": w(F, D), "b_2": w(D)},
            "norm_2": unit(),
        }
        for _ in range(L)
    ]
    tables = {"token": w(V, D), "position": w(length, D), **unit()}
    return {
        "encoder": {"embeddings": tables, "layers": layers},
        "pooler": {"w": w(D, D), "b": w(D)},
        "classifier": {"w": w(D, C), "b": w(C)},
    }


# %% [markdown]
# ## Two ways to learn
#
# **From labels**: cross-entropy, whose gradient is $p - y$.
#
# **From a teacher** (TinyBERT). The student has $M$ layers and the teacher $N$; student layer $m$ learns from
# teacher layer $mN/M$. Where the widths differ, learned matrices translate, $W_e$ for the embeddings and one $W_h$
# for all layers:
#
# $$\operatorname{MSE}(E^S W_e, E^T), \quad \operatorname{MSE}(H^S W_h, H^T), \quad
#   \operatorname{MSE}(A^S, A^T), \quad \tau^2 \operatorname{KL}(p^T_\tau \,\|\, p^S_\tau).$$
#
# The losses of layers add up. Means are over real tokens, or pairs of real tokens: padding counts nowhere. Each
# function below returns a loss together with its gradient.


# %%
def cross_entropy(logits, labels):
    probs = softmax(logits)  # (B, C)
    picked = (np.arange(len(labels)), labels)
    dlogits = probs.copy()
    dlogits[picked] -= 1
    return -np.log(probs[picked]).mean(), dlogits / len(labels)


def mse(x, target, counted):
    error = (x - target) * counted
    n = np.broadcast_to(counted, x.shape).sum()
    return (error**2).sum() / n, 2 * error / n


def kl(logits, target, tau):
    p_t, p_s = softmax(target / tau), softmax(logits / tau)
    value = tau**2 * (p_t * np.log(p_t / p_s)).sum() / len(logits)
    return value, tau * (p_s - p_t) / len(logits)


def learn(ids, keep, labels, p):
    (hidden, _, logits), cache = model(ids, keep, p)
    loss, dlogits = cross_entropy(logits, labels)
    silent = [0.0] * len(hidden)
    return {"labels": loss}, model_backward(silent, silent, dlogits, cache, p)


def imitate(teacher, ids, keep, weights, p, tau=1.0):
    t_hidden, t_scores, t_logits = teacher
    (hidden, scores, logits), cache = model(ids, keep, p["student"])
    tokens = keep[:, :, None]  # (B, T, 1)
    pairs = keep[:, None, :, None] & keep[:, None, None, :]  # (B, 1, T, T)
    every = len(t_scores) // len(scores)  # N / M

    losses = dict.fromkeys(("embedding", "hidden", "scores"), 0.0)
    projections = {name: np.zeros_like(w) for name, w in p["projections"].items()}
    dhidden, dscores = [], []
    for m, h in enumerate(hidden):
        name = "hidden" if m else "embedding"
        w = p["projections"][name]  # (D of the student, D of the teacher)
        loss, dprojected = mse(h @ w, t_hidden[m * every], tokens)
        losses[name] += loss
        dprojected *= weights.get(name, 0)
        dhidden.append(dprojected @ w.T)
        projections[name] += rows(h).T @ rows(dprojected)
    for m, a in enumerate(scores, start=1):
        loss, da = mse(a, t_scores[m * every - 1], pairs)
        losses["scores"] += loss
        dscores.append(weights.get("scores", 0) * da)
    losses["prediction"], dlogits = kl(logits, t_logits, tau)
    dlogits *= weights.get("prediction", 0)

    student = model_backward(dhidden, dscores, dlogits, cache, p["student"])
    losses = {name: losses[name] for name in weights}
    return losses, {"student": student, "projections": projections}


# %% [markdown]
# ## The referee: finite differences
#
# Is every line of backward right? Move each parameter a little, up and down, and see how the loss moves:
# $\partial L / \partial \theta \approx (L(\theta + h) - L(\theta - h)) / 2h$. First for the labels, then
# for TinyBERT's four losses together, with padding and a word that repeats. Change one line of a backward and run it again.
#
# (The bias `b_k` adds the same to all scores of a query, and softmax does not see it: from labels its gradient is 0.
# Hence the `1e-4`.)


# %%
def flat(tree, name=""):
    """{"a": [x, y]} -> {"a.0": x, "a.1": y}: the same arrays under dotted names."""
    if isinstance(tree, np.ndarray | float):
        return {name: tree}
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {n: a for key, t in parts for n, a in flat(t, f"{name}.{key}".lstrip(".")).items()}


def check_gradients(objective, params, h=1e-5):
    """Hold the gradients of every array against differences of the loss."""
    _, grads = objective()
    worst = 0.0
    for name, a in flat(params).items():
        numeric = np.zeros_like(a)
        for i in np.ndindex(a.shape):
            old = a[i]
            a[i] = old + h
            above, _ = objective()
            a[i] = old - h
            below, _ = objective()
            a[i] = old
            numeric[i] = (above - below) / (2 * h)
        analytic = flat(grads)[name]
        size = max(abs(analytic).max(), abs(numeric).max(), 1e-4)
        error = abs(analytic - numeric).max() / size
        assert error < 1e-6, f"the gradient of {name} is wrong, error {error:.0e}"
        worst = max(worst, error)
    return worst


rng = np.random.default_rng(0)
ids = np.array([[1, 5, 3, 5], [1, 2, 0, 0]])  # 0 is padding
keep, labels = ids > 0, np.array([2, 0])
teacher = new_model(V=6, length=5, D=12, L=4, F=10, C=3, rng=rng)
student = new_model(V=6, length=5, D=8, L=2, F=7, C=3, rng=rng)
w_e, w_h = rng.normal(size=(2, 8, 12))
both = {"student": student, "projections": {"embedding": w_e, "hidden": w_h}}
weights = {"embedding": 0.7, "hidden": 0.4, "scores": 2.0, "prediction": 3.0}
answers, _ = model(ids, keep, teacher)


def labels_loss():
    losses, grads = learn(ids, keep, labels, student)
    return losses["labels"], grads


def teacher_loss():
    losses, grads = imitate(answers, ids, keep, weights, both, tau=2.0)
    return sum(weights[name] * loss for name, loss in losses.items()), grads


print(f"from labels: worst error {check_gradients(labels_loss, student):.0e}")
print(f"from a teacher: worst error {check_gradients(teacher_loss, both):.0e}")

# %% [markdown]
# ## A task
#
# Is "the plot was never that weak" praise? No word alone says so; attention has to bring "never" and "weak"
# together. A third of the sentences is kept aside.

# %%
things = "film plot cast music ending acting".split()
turns = ("was", "surely was", "was not", "was never")
opinions = {"good": 1, "great": 1, "moving": 1, "bad": 0, "dull": 0, "weak": 0}
sentences, labels = [], []
for thing, turn, adverb, opinion in product(things, turns, ("very", "quite", "that"), opinions):
    sentences.append(["[CLS]", "the", thing, *turn.split(), adverb, opinion])
    labels.append(opinions[opinion] ^ (turn in ("was not", "was never")))
words = ["[PAD]", *sorted({word for sentence in sentences for word in sentence})]
longest = max(map(len, sentences))
ids = np.array([[words.index(w) for w in s] + [0] * (longest - len(s)) for s in sentences])
keep, labels = ids > 0, np.array(labels)
unseen, known = np.split(np.random.default_rng(0).permutation(len(ids)), [len(ids) // 3])

# %% [markdown]
# ## Adam
#
# A running mean of the gradient, divided by the root of the running mean of its square: a step is about as long as
# the rate, however large the gradient. Both means start at 0; the two divisions correct for that. The rate
# rises at the start and then falls to 0.


# %%
def adam(params, grads, m, v, step, rate):
    for name, g in grads.items():
        m[name] = 0.9 * m[name] + 0.1 * g
        v[name] = 0.999 * v[name] + 0.001 * g**2
        mhat, vhat = m[name] / (1 - 0.9**step), v[name] / (1 - 0.999**step)
        params[name] -= rate * mhat / (np.sqrt(vhat) + 1e-8)


def train(objective, params, steps, rate, rng):
    arrays = flat(params)
    m, v = ({name: np.zeros_like(a) for name, a in arrays.items()} for _ in range(2))
    history = []
    for step in range(1, steps + 1):
        losses, grads = objective(rng.choice(known, 32, replace=False))
        warm = min(10 * step / steps, 1) * (1 - step / (steps + 1))
        adam(arrays, flat(grads), m, v, step, rate * warm)
        history.append(losses)
    return history


# %% [markdown]
# ## A teacher


# %%
def right(name, p):
    """Print and return the share of unseen sentences that a model gets right."""
    (_, _, logits), _ = model(ids[unseen], keep[unseen], p)
    share = (logits.argmax(axis=-1) == labels[unseen]).mean()
    print(f"{name}: {sum(a.size for a in flat(p).values()):,} parameters, {share:.1%} right")
    return share


def from_labels(i):
    return learn(ids[i], keep[i], labels[i], teacher)


rng = np.random.default_rng(1)
teacher = new_model(len(words), longest, D=32, L=4, F=64, C=2, rng=rng)
teacher_losses = train(from_labels, teacher, 200, 3e-3, rng)
assert right("teacher", teacher) > 0.95

# %% [markdown]
# ## A student
#
# Half the layers, half the width. As in TinyBERT it first imitates the way (embeddings, hidden states, scores),
# then the answer. It reads no label.


# %%
def from_teacher(i):
    answers, _ = model(ids[i], keep[i], teacher)
    return imitate(answers, ids[i], keep[i], weights, both)


student = new_model(len(words), longest, D=16, L=2, F=32, C=2, rng=rng)
w_e, w_h = rng.normal(0, 0.1, (2, 16, 32))
both = {"student": student, "projections": {"embedding": w_e, "hidden": w_h}}

weights = {"embedding": 1, "hidden": 1, "scores": 1}
way_losses = train(from_teacher, both, 150, 5e-3, rng)
weights = {"prediction": 1}
answer_losses = train(from_teacher, both, 150, 5e-3, rng)
assert right("student", student) > 0.9

# %% [markdown]
# ## What they learned
#
# The teacher's loss stays on a plateau until attention finds the pair; then it falls. The student gets there
# along the way it is shown.

# %%
colours = ["0.3", "#009E73", "#D55E00", "#0072B2", "#CC79A7"]
plt.figure(figsize=(10, 3.6), layout="constrained").add_subplot().set_prop_cycle(color=colours)
histories = {
    "teacher, from labels": teacher_losses,
    "student, the way": way_losses,
    "student, the answer": answer_losses,
}
start = 0
for title, history in histories.items():
    for name in history[0]:
        values = [losses[name] for losses in history]
        plt.semilogy(range(start, start + len(history)), values, label=name)
    plt.axvline(start, color="0.7", linewidth=0.8)
    plt.text(start + 5, 30, title)
    start += len(history)
plt.xlabel("step")
plt.ylabel("loss")
plt.ylim(3e-5, 90)
plt.legend(loc="lower left")
plt.show()

# %% [markdown]
# The last layer of both, on a sentence that neither has seen. Rows ask, columns are asked. In this teacher `[CLS]` looks at
# the negation and at the opinion (with another seed an earlier layer may do it), and head by head the student does as it does.

# %%
i = next(i for i in unseen if "not" in sentences[i])
sentence, n = sentences[i], len(sentences[i])
fig, axes = plt.subplots(2, HEADS, figsize=(10, 5.6), sharex=True, sharey=True)
last = {}
for row, (name, p) in zip(axes, (("teacher", teacher), ("student", student)), strict=True):
    (_, scores, _), _ = model(ids[[i]], keep[[i]], p)
    last[name] = scores[-1][0, :, :n, :n]  # (H, T, T)
    for head, ax in enumerate(row):
        ax.imshow(softmax(last[name][head]), cmap="cividis", vmin=0, vmax=1)
        ax.set_title(f"{name}, head {head + 1}", fontsize=10)
        ax.set_xticks(range(n), sentence, rotation=90)
        ax.set_yticks(range(n), sentence)
fig.tight_layout()
plt.show()

alike = np.corrcoef(last["teacher"].ravel(), last["student"].ravel())[0, 1]
print(f"correlation of the scores: {alike:.2f}")
assert alike > 0.7

# %% [markdown]
# ## The same in npformer
#
# Only now is the library imported. The same parameters, one batch, all losses at once at τ = 2: every hidden state, score,
# logit, loss and gradient, and each parameter after one step of Adam, to twelve digits.

# %%
import npformer as nf
from npformer import ops
from npformer.distill.objective import combine
from npformer.distill.terms import AttentionScoresTerm, EmbeddingTerm, HiddenTerm, PredictionTerm


def same(ours, theirs):
    ours, theirs = flat(ours), flat(theirs)
    assert ours.keys() == theirs.keys()
    for name, a in ours.items():
        error = abs(a - theirs[name]).max() / max(1, abs(a).max())
        assert error < 1e-12, f"{name} differs by {error:.0e}"
    print(f"{len(ours)} arrays are the same")


def twin(p, **sizes):
    common = {"vocab_size": len(words), "max_len": longest, "num_segments": 0}
    config = nf.ClassifierConfig(**common, **sizes, num_heads=HEADS, num_classes=2)
    return nf.SequenceClassifier(config, flat(p))


# The teacher, and what it learns from labels.
some, real, y = ids[unseen[:8]], keep[unseen[:8]], labels[unseen[:8]]
their_teacher = twin(teacher, d_model=32, num_layers=4, d_ff=64)
target, cache = their_teacher.forward(some, real, output_scores=True)
answers, _ = model(some, real, teacher)
same(answers, (target.hidden, target.scores, target.logits))

loss, loss_cache = ops.cross_entropy_forward(target.logits, y)
dlogits = ops.cross_entropy_backward(1.0, loss_cache)
_, their_grads = their_teacher.backward(nf.ModelOutput(logits=dlogits), cache)
same(learn(some, real, y, teacher), ({"labels": loss}, their_grads))

# The student, and what it learns from the teacher: four terms, each with a weight.
their_student = twin(student, d_model=16, num_layers=2, d_ff=32)
output, cache = their_student.forward(some, real, output_scores=True)
mapping = ((1, 2), (2, 4))  # student's layer, teacher's layer
terms = {
    "embedding": (0.7, EmbeddingTerm("embedding", {"embedding.w": w_e})),
    "hidden": (0.4, HiddenTerm(mapping, ("hidden", "hidden"), {"hidden.w": w_h})),
    "scores": (2.0, AttentionScoresTerm(mapping)),
    "prediction": (3.0, PredictionTerm(tau=2.0, tau_squared=True, kind="kl")),
}
total = combine(terms, output, target, real)
_, their_grads = their_student.backward(total.dstudent, cache)
weights = {name: weight for name, (weight, _) in terms.items()}
losses, grads = imitate(answers, some, real, weights, both, tau=2.0)
same(losses, {name: total.values[name] for name in terms})
same(grads["student"], their_grads)
same({f"{name}.w": g for name, g in grads["projections"].items()}, total.grads)

# One step of Adam.
their_params = {name: a.copy() for name, a in flat(student).items()}
optimizer = nf.Adam()
optimizer.update(their_params, their_grads, optimizer.init(their_params), 1e-3)
m, v = ({name: np.zeros_like(a) for name, a in their_params.items()} for _ in range(2))
adam(flat(student), flat(grads["student"]), m, v, 1, 1e-3)
same(student, their_params)

# %% [markdown]
# ## Where to go on
#
# * [Lesson 4](04_attention.ipynb) and [5](05_multi_head.ipynb) take attention apart, [7](07_encoder.ipynb) the encoder, [10](10_distil_it.ipynb) distillation,
#   with the same student trained without a teacher beside it.
# * [Lesson 11](11_find_the_bug.ipynb) breaks backwards on purpose: which check notices?
# * In the source every function of this page has its docstring, its derivation and its checks: `npformer/ops`, then
#   `npformer/layers`, `npformer/models`, `npformer/distill`.

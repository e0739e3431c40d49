# %% [markdown]
# # 13. A blog post under review
#
# A Chinese blog post answers five interview questions about Transformers and TinyBERT and gives two
# programs in PyTorch. It is typical of what circulates, faults included. Here are the five
# questions answered anew, the two programs corrected and run, and every fault shown failing. One
# idea: **review an answer by making it fail.**

# %%
from functools import partial
from itertools import product

import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot
from npformer.data.batches import batch_stream, collate
from npformer.data.tokenizer import encode_examples, special_ids, train_wordpiece
from npformer.distill.build import build_terms, init_projections
from npformer.distill.objective import DistillObjective, combine, joint_params, trainable
from npformer.distill.recipes import find_recipe
from npformer.models.cost import Workload, count_parameters
from npformer.optim import clip_by_global_norm, linear_schedule
from npformer.train.loop import train
from npformer.train.objective import SupervisedObjective

rng = np.random.default_rng(13)

# %% [markdown]
# ## Question 1: the core idea of the Transformer
#
# Every position looks at every other one **in a single step**, weighted by how well its query fits
# their keys. Any two tokens are one step apart, and all positions are computed at once; the price is
# time and memory that grow with T². A feed-forward network, residuals and layer norm complete the
# block.
#
# *Fault:* "a Transformer is an encoder-decoder". The first one was. BERT is an encoder alone, GPT a
# decoder alone.
#
# Proof of the single step: the gradient of the *last* output with respect to every input, in one
# layer. Attention reaches all of them; a layer that sees its neighbours only (a convolution,
# imitated here by a mask) reaches two.

# %%
layer = nf.MultiHeadAttention.init(
    nf.AttentionConfig(d_model=16, num_heads=4, initializer_range=0.3), rng, np.float64
)
x = rng.normal(size=(1, 20, 16))
near = np.abs(np.subtract.outer(np.arange(20), np.arange(20)))[None, None] <= 1
plt.figure(figsize=(7, 3), layout="constrained")
reached = {}
for i, (name, keep) in enumerate((("attention", None), ("neighbours only", near))):
    output, cache = layer.forward(x, keep=keep)
    dy = np.zeros_like(output.y)
    dy[0, -1] = rng.normal(size=16)
    (dx, _, _), _ = layer.backward(nf.AttentionOutput(dy, None), cache)
    reached[name] = np.linalg.norm(dx[0], axis=-1)
    plt.plot(reached[name], plot.STYLES[i], marker="o", color=plot.COLOURS[i], label=name)
plt.yscale("symlog", linthresh=1e-3)
plt.xticks(range(0, 20, 3))
plt.xlabel("input position")
plt.ylabel("gradient of the last output")
plt.legend(loc="center left", bbox_to_anchor=(0, 0.35))
plt.show()
assert (reached["attention"] > 0).all()
assert (reached["neighbours only"] > 0).sum() == 2

# %% [markdown]
# ## Question 2: how multi-head attention works
#
# Project to q, k, v; cut each into H heads of K = D/H; in each head $qk^\top/\sqrt K$, mask, softmax
# over the keys, average the values; put the heads side by side and multiply by $w_o$.
#
# *Faults:* the answer has no scale, no mask and no output matrix. Without $w_o$ the heads never meet:
# nothing that head 1 reads can reach a column of head 0.

# %%
own = slice(0, 4)  # the columns of head 0
other = {name: a.copy() for name, a in layer.params.items()}
other["w_v"][:, 4:] += 1.0  # heads 1 to 3 read something else
for name, w_o in (("with w_o", layer.params["w_o"]), ("without", np.eye(16))):
    before, after = (
        nf.MultiHeadAttention(layer.config, {**params, "w_o": w_o}).forward(x)[0].y
        for params in (layer.params, other)
    )
    moved = np.abs(before - after)[..., own].max()
    print(f"{name}: the columns of head 0 move by {moved:.2f}")
    assert (moved > 0.01) == (name == "with w_o")

# %% [markdown]
# ## Question 3: positions
#
# *Absolute:* a vector for each place, added to the token: fixed sines, or a learned table (BERT).
# *Relative:* the score of a query and a key depends on their offset: a learned vector or bias, or q
# and k rotated.
#
# *Faults:* "Transformers use no position embeddings" (BERT does just that), and "relative: the
# difference of neighbouring indices, added to the embedding". That difference is always 1: the same
# vector for every token. The model stays blind to order:

# %%
order = rng.permutation(20)
vectors = rng.normal(size=(20, 16))  # one for each possible difference
differences = np.diff(np.arange(21))
schemes = {
    "neighbouring differences": vectors[differences],
    "absolute (sinusoidal)": ops.sinusoidal_table(20, 16),
}
for name, added in schemes.items():
    y = layer.forward(x + added)[0].y
    shuffled = layer.forward(x[:, order] + added)[0].y
    seen = np.abs(shuffled - y[:, order]).max()
    print(f"{name}: shuffling the words changes their states by {seen:.1e}")
    assert (seen > 1e-3) == name.startswith("absolute")
assert set(differences) == {1}

# %% [markdown]
# ## Question 4: what distillation is
#
# A small student imitates a large, frozen teacher: its probabilities say which wrong answers are
# nearly right. A temperature makes them audible; beside a hard-label loss the soft one is
# multiplied by τ².
#
# *Fault:* "the student will perform like the teacher". That is the hope; it has to be measured, and
# against the same student trained without (lesson 10).

# %%
teacher_logits = np.array([[8.0, 5.0, -1.0]])  # of "cat", "tiger", "lorry"
for tau in (1.0, 4.0):
    p, _ = ops.softmax_forward(teacher_logits / tau)
    print(f"tau = {tau:g}: {p[0].round(3)}")
assert p[0, 1] > 0.2 > 4 * ops.softmax_forward(teacher_logits)[0][0, 1]  # the tiger is heard

# %% [markdown]
# ## Question 5: how TinyBERT distils
#
# 1. *General distillation* on unlabelled text, from the **pretrained** teacher: intermediate layers.
# 2. Fine-tune the teacher; augment the sentences.
# 3. *Task distillation* from the **fine-tuned** teacher: first intermediate layers, then the
#    prediction.
#
# *Faults:* the answer matches outputs only, names no layers and no attention, and has neither the
# two stages nor augmentation. The corrected program below shows the losses.
#
# ## Program 1: multi-head attention at (768, 12)
#
# In npformer, forward and backward, at the post's sizes, with a padding mask:

# %%
attention = nf.MultiHeadAttention.init(nf.AttentionConfig(d_model=768, num_heads=12), rng)
x = rng.standard_normal((2, 16, 768), dtype=np.float32)
keep = np.arange(16) < np.array([[16], [11]])  # (B, T)
output, cache = attention.forward(x, keep=keep, output_scores=True)
dy = rng.standard_normal(x.shape, dtype=np.float32)
(dx, _, _), grads = attention.backward(nf.AttentionOutput(dy, None), cache)
print("y", output.y.shape, "scores", output.scores.shape, "dx", dx.shape)
assert output.scores.shape == (2, 12, 16, 16)
assert {name: g.shape for name, g in grads.items()} == {
    name: p.shape for name, p in attention.params.items()
}

w, h = attention.params, slice(5 * 64, 6 * 64)  # head 5 by hand
q, k = x @ w["w_q"][:, h], x @ w["w_k"][:, h]
assert np.allclose(output.scores[:, 5], q @ k.swapaxes(1, 2) / 8, atol=1e-4)
other = np.where(keep[..., None], x, 5.0)
assert np.array_equal(attention.forward(other, keep=keep)[0].y[keep], output.y[keep])

# %% [markdown]
# **Fault 1: −∞ in a row without keys.** The post fills masked scores with −∞. A row with nothing left
# is $0/0$, and from one NaN row *every* weight becomes NaN.

# %%
scores, nobody = output.scores[:1, :1], np.zeros((1, 1, 16, 16), dtype=bool)
with np.errstate(invalid="ignore"):
    masked = np.where(nobody, scores, -np.inf)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True))
    filled = e / e.sum(axis=-1, keepdims=True)
dw = x[0].T @ (filled[0, 0] @ x[0])  # any gradient that passes through it
print("filled with -inf:", filled[0, 0, 0, :3], "| NaN weights:", np.isnan(dw).mean())
assert np.isnan(dw).all()
assert np.all(ops.masked_softmax_forward(scores, nobody)[0] == 0)

# %% [markdown]
# **Fault 2: a (B, S) mask.** Against scores (B, H, T, S) NumPy and PyTorch align it with the last two
# axes, (T, S). With B = 2 and T = 16 that is an error; with B = T it runs and hides the wrong
# things.

# %%
lengths = np.array([4, 3, 2, 1])
padding = np.arange(4) < lengths[:, None]  # (B, S) with B = T = S = 4
silently = np.broadcast_to(padding, (4, 2, 4, 4))
meant = np.broadcast_to(padding[:, None, None, :], (4, 2, 4, 4))
print("pairs hidden wrongly:", (silently != meant).mean().round(2))
assert (silently != meant).any()
try:
    ops.masked_softmax_forward(rng.normal(size=(4, 2, 4, 4)), padding)
except nf.InputError as error:
    print("npformer:", error)
else:
    raise AssertionError("the mask was accepted")

# %% [markdown]
# **Fault 3: sizes unchecked.** With d_model = 770 and 12 heads the post builds its layers, and fails
# only in the first forward, in a reshape. **Fault 4:** the scores are thrown away, so TinyBERT's
# attention loss cannot be computed.

# %%
try:
    np.zeros((2, 16, 770)).reshape(2, -1, 12, 770 // 12)
except ValueError as error:
    print("late: ", error)
else:
    raise AssertionError("it fits")
try:
    nf.AttentionConfig(d_model=770, num_heads=12)
except nf.InputError as error:
    print("early:", error)
else:
    raise AssertionError("it was accepted")
assert attention.forward(x)[0].scores is None  # only where asked for:
assert attention.forward(x, output_scores=True)[0].scores is not None

# %% [markdown]
# ## Program 2: what is wrong with it
#
# The post's "TinyBERT" does not run, and if it ran it would not distil. One fault after the other.
#
# **Token ids as vectors.** There is no embedding: ids (B, T) go into a (768, 768) map. The shapes do
# not fit; and where T happens to be 768, word 2000 counts as twice word 1000.

# %%
w = rng.normal(size=(768, 768)) / np.sqrt(768)
ids = rng.integers(1, 1000, (2, 16))
try:
    ids @ w
except ValueError:
    print("ids (2, 16) into a (768, 768) map: the shapes do not fit")
else:
    raise AssertionError("it fits")
long = rng.integers(1, 1000, (2, 768))
assert np.allclose((2 * long) @ w, 2 * (long @ w))  # "twice the word"
table = rng.normal(size=(30522, 8))
rows, _ = ops.embedding_forward(np.array([1000, 2000]), table)
assert not np.allclose(rows[1], 2 * rows[0])  # an embedding: any vector for any word

# %% [markdown]
# **One attention, then plain feed-forward layers without residual and norm.** Eleven of them, at the
# post's sizes, with PyTorch's usual initial weights: whatever goes in, nearly the same comes out.
# npformer's block keeps tokens apart.


# %%
def spread(x):
    """How far tokens differ from their mean, relative to their size."""
    return np.linalg.norm(x - x.mean(axis=0)) / np.linalg.norm(x)


def uniform(fan_in, *shape):
    return np.float32(fan_in**-0.5) * (2 * rng.random(shape, dtype=np.float32) - 1)


x = rng.standard_normal((8, 768), dtype=np.float32)
plain, kept = [spread(x)], [spread(x)]
h, u = x, x
norm = np.ones(768, np.float32), np.zeros(768, np.float32)
for _ in range(11):
    w_1, b_1 = uniform(768, 768, 3072), uniform(768, 3072)
    w_2, b_2 = uniform(3072, 3072, 768), uniform(3072, 768)
    h = np.maximum(h @ w_1 + b_1, 0) @ w_2 + b_2
    u, _ = ops.layernorm_forward(u + np.maximum(u @ w_1 + b_1, 0) @ w_2 + b_2, *norm)
    plain.append(spread(h))
    kept.append(spread(u))
plt.figure(figsize=(7, 3.4), layout="constrained")
plt.semilogy(plain, "o--", color=plot.COLOURS[1], label="the post: f(x)")
plt.semilogy(kept, "o-", color=plot.COLOURS[0], label="norm(x + f(x))")
plt.xlabel("feed-forward layers")
plt.ylabel("difference between tokens")
plt.legend()
plt.show()
assert plain[-1] < 0.01
assert kept[-1] > 0.5

# %% [markdown]
# **An output layer that is never built, an undefined loader, undefined epochs.** The prediction uses
# an attribute that no line creates; the loop uses two names that do not exist.


# %%
class Student:
    def __init__(self):
        self.layers = [np.eye(4)]

    def predict(self, hidden):
        return hidden @ self.output  # nobody made it


try:
    Student().predict(np.ones((2, 4)))
except AttributeError as error:
    print(error)
else:
    raise AssertionError("it ran")
try:
    for _ in range(num_epochs):
        pass
except NameError as error:
    print(error)
else:
    raise AssertionError("it ran")

# %% [markdown]
# **Logits as wide as the model.** Two classes, but 768 logits: the loss of a clueless model is
# $\ln 768$ instead of $\ln 2$, and 766 of the classes do not exist. **A student as large as
# BERT-base**, with 12 layers of width 768: nothing is tiny.

# %%
label = np.array([1])
clueless = [ops.cross_entropy_forward(np.zeros((1, c)), label)[0] for c in (768, 2)]
print("loss of a clueless model:", np.round(clueless, 2))
assert np.allclose(clueless, np.log([768, 2]))


def parameters(name):
    work = Workload(kind=nf.Encoder, config=nf.preset(name), pooler=True)
    return sum(count_parameters(work).values())


print(f"BERT-base {parameters('bert-base'):,}; TinyBERT-4 {parameters('tinybert-4'):,}")
assert parameters("bert-base") > 7 * parameters("tinybert-4")

# %% [markdown]
# **The teacher mixed into the student.** The post replaces the student's logits by
# $(1-\alpha) z^S + \alpha z^T$ before the loss. Here is a student of pure noise that *never learns*.
# With growing α its loss falls and its accuracy rises; at test time there is no teacher to mix in.
# α belongs between two *losses*.

# %%
truth = rng.integers(0, 2, 500)
z_teacher = 4.0 * (2 * np.eye(2)[truth] - 1) + rng.normal(size=(500, 2))
z_noise = rng.normal(size=(500, 2))
alphas = np.linspace(0, 1, 11)
losses, shown = [], []
for alpha in alphas:
    mixed = (1 - alpha) * z_noise + alpha * z_teacher
    losses.append(ops.cross_entropy_forward(mixed, truth)[0])
    shown.append(np.mean(mixed.argmax(axis=1) == truth))
alone = np.mean(z_noise.argmax(axis=1) == truth)
plt.figure(figsize=(7, 3.4), layout="constrained")
plt.plot(alphas, losses, "o-", color=plot.COLOURS[0], label="loss of the mixture")
plt.plot(alphas, shown, "o--", color=plot.COLOURS[1], label="accuracy of the mixture")
plt.axhline(alone, color="0.5", linestyle=":", label="accuracy of the student alone")
plt.axvline(0.3, color="0.8", zorder=0)
plt.xlabel("alpha (the post: 0.3)")
plt.legend()
plt.show()
print(f"at 0.3 the mixture is right in {shown[3]:.2f}, the student in {alone:.2f}")
assert losses[3] < 0.6 * losses[0]
assert shown[3] > 0.9
assert abs(alone - 0.5) < 0.07

# %% [markdown]
# **Class indices and raw numbers as probabilities.** The loss is a cross-entropy with whatever is
# passed as "teacher": labels, or logits. Targets that do not sum to one make
# $-\sum_c t_c \log p_c$ meaningless: for negative entries it has no lower end. And for the one-number
# target "class 0" it is always 0.


# %%
def with_raw_targets(logits, targets):
    return -float((targets * ops.log_softmax_forward(logits)[0]).sum())


raw = np.array([[2.0, -3.0]])  # a teacher's logits, taken for probabilities
for size in (1.0, 10.0, 100.0):
    print(f"student logits ± {size:g}: loss {with_raw_targets(np.array([[size, -size]]), raw):.0f}")
assert with_raw_targets(np.array([[100.0, -100.0]]), raw) < -100
assert with_raw_targets(np.array([[-5.0, 5.0]]), np.array([[0.0, 0.0]])) == 0  # any answer
right, _ = ops.kl_forward(np.array([[100.0, -100.0]]), raw, 1.0)
assert right > 0  # never below 0
assert np.isclose(ops.kl_forward(raw, raw, 1.0)[0], 0)  # and 0 at agreement

# %% [markdown]
# What else is missing: a padding mask, positions, dropout; intermediate losses, projections, layer
# mapping; a *teacher*; stages and augmentation; any evaluation.
#
# ## Program 2, corrected: a step at full size
#
# A teacher of BERT-base's shape and a student of TinyBERT-4's (random weights, a small vocabulary to
# save memory). Teacher forward, student forward, every term apart, backward, AdamW: three times.

# %%
size = {"vocab_size": 500, "max_len": 32, "dropout": 0.0}
big = nf.Encoder.init(nf.preset("bert-base", **size), rng)
tiny = nf.Encoder.init(nf.preset("tinybert-4", **size), rng)
print(
    f"widths {big.config.d_model}, {tiny.config.d_model}; layers {big.config.num_layers}, ", end=""
)
print(f"{tiny.config.num_layers}; heads {big.config.num_heads}, {tiny.config.num_heads}")

recipe = find_recipe("corrected")
ids = rng.integers(5, 500, (2, 16))
target, _ = big.forward(ids, keep, output_scores=True, recompute=True)
projections = init_projections(recipe, tiny.config, big.config, rng)
terms = build_terms(recipe, "general", tiny.config, big.config, projections)
params = joint_params(tiny.params, projections)
optimizer, history = nf.AdamW(), []
state = optimizer.init(params)
for _ in range(3):
    output, cache = tiny.forward(ids, keep, output_scores=True)
    total = combine(terms, output, target, keep)
    _, grads = tiny.backward(total.dstudent, cache)
    optimizer.update(params, joint_params(grads, total.grads), state, lr=1e-3)
    history.append(total.values)
    print({name: round(value, 4) for name, value in total.values.items()})
assert history[0].keys() == {"loss", "embedding", "hidden", "attention"}
assert history[2]["loss"] < history[0]["loss"]
del big, target

# %% [markdown]
# ## Program 2, corrected: the whole way, small
#
# Lesson 10's task in short: fine-tune a teacher, distil the intermediate layers, then the prediction,
# with a loader, with epochs, and with an evaluation on sentences that nobody has seen.

# %%
opinions = {"good": 1, "great": 1, "moving": 1, "bad": 0, "dull": 0, "weak": 0}
turns = {"was": 0, "surely was": 0, "was not": 1, "was never": 1}
texts, labels = [], []
for thing, turn, adverb, opinion in product(
    "film plot cast music ending acting".split(), turns, ("very", "quite", "that"), opinions
):
    texts.append(f"the {thing} {turn} {adverb} {opinion}")
    labels.append(opinions[opinion] ^ turns[turn])
order = np.random.default_rng(0).permutation(len(texts))
tokenizer = train_wordpiece(texts, 200)
pad = special_ids(tokenizer).pad


def encode(rows):
    chosen, truth = [texts[i] for i in rows], np.array(labels)[rows]
    return encode_examples(tokenizer, chosen, labels=truth, max_len=12)[0]


unseen, known = encode(order[:144]), encode(order[144:])
dev = collate(unseen, range(144), pad)


def new_model(num_layers, d_model, seed):
    config = nf.ClassifierConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_len=12,
        d_model=d_model,
        num_heads=4,
        num_layers=num_layers,
        d_ff=4 * d_model,
        num_classes=2,
        initializer_range=0.1,
    )
    return nf.SequenceClassifier.init(config, np.random.default_rng(seed))


def fit(objective, params, epochs, lr):
    steps, optimizer = 9 * epochs, nf.AdamW()  # 288 sentences in batches of 32
    for _ in train(
        objective,
        params,
        optimizer,
        optimizer.init(params),
        batch_stream(known, 32, pad, seed=[1], steps=steps),
        learning_rate=lambda step: lr * linear_schedule(step, warmup=steps // 10, total=steps),
        clip=partial(clip_by_global_norm, max_norm=1.0),
        seed=[2],
        shards=1,
    ):
        pass


def evaluate(model):
    logits = model.forward(dev.ids, dev.keep)[0].logits
    return float(np.mean(logits.argmax(axis=-1) == dev.labels))


teacher, student = new_model(4, 32, seed=1), new_model(2, 16, seed=100)
fit(SupervisedObjective(teacher), teacher.params, epochs=33, lr=3e-3)
projections = init_projections(recipe, student.config, teacher.config, rng)
both = joint_params(student.params, projections)
reached = {"teacher": evaluate(teacher), "student, before": evaluate(student)}
for phase, epochs, lr in (("intermediate", 25, 5e-3), ("prediction", 12, 2e-3)):
    terms = build_terms(recipe, phase, student.config, teacher.config, projections)
    moving = {name: both[name] for name in trainable(both, phase)}
    fit(DistillObjective(student, teacher, terms), moving, epochs, lr)
reached["student, distilled"] = evaluate(student)
print({name: round(value, 3) for name, value in reached.items()})
assert reached["teacher"] > 0.95
assert reached["student, distilled"] > 0.9

# %% [markdown]
# ## What to take along
#
# Run what you read, at a size that takes seconds. Ask what would have to be true for it to be right,
# and assert that. Both programs are exercises of lesson 12, `multi-head-attention` and
# `tinybert-step`; here the faults are: write the test that finds each.

# %% [markdown] exercises="blog-ids-as-vectors blog-one-attention-layer blog-no-residuals-no-norms blog-no-output-layer blog-teacher-mixed-in blog-index-as-probability blog-undefined-names"

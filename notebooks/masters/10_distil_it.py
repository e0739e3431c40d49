# %% [markdown]
# # 10. Distil it: imitate the way, not only the answer
#
# One idea: **a teacher says more than a label does; TinyBERT's student listens at every level:
# embeddings, hidden states, attention scores, and last the logits.** And one duty: compare with the
# same student trained without a teacher.

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
from npformer.distill.mapping import uniform_mapping
from npformer.distill.objective import DistillObjective, combine, joint_params, trainable
from npformer.distill.recipes import find_recipe
from npformer.optim import clip_by_global_norm, linear_schedule
from npformer.train.loop import train
from npformer.train.objective import SupervisedObjective

# %% [markdown]
# ## The task and the teacher
#
# Lesson 9's sentences ("the plot was not very good"), and a teacher of 4 layers, 32 wide.

# %%
things = "film plot cast music ending acting".split()
opinions = {"good": 1, "great": 1, "moving": 1, "bad": 0, "dull": 0, "weak": 0}
texts, labels = [], []
for thing, turn, adverb, opinion in product(
    things, ("was", "surely was", "was not", "was never"), ("very", "quite", "that"), opinions
):
    texts.append(f"the {thing} {turn} {adverb} {opinion}")
    labels.append(opinions[opinion] ^ (turn in ("was not", "was never")))
labels = np.array(labels)
order = np.random.default_rng(0).permutation(len(texts))

tokenizer = train_wordpiece(texts, 200)
special = special_ids(tokenizer)


def encode(rows):
    chosen = [texts[i] for i in rows]
    return encode_examples(tokenizer, chosen, labels=labels[rows], max_len=12)[0]


unseen, known = encode(order[:144]), encode(order[144:])
dev = collate(unseen, range(144), special.pad)


def new_model(num_layers, d_model, seed):
    config = nf.ClassifierConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_len=12,
        d_model=d_model,
        num_heads=4,  # the same in both: scores are compared head by head
        num_layers=num_layers,
        d_ff=4 * d_model,
        num_classes=2,
        initializer_range=0.1,
    )
    return nf.SequenceClassifier.init(config, np.random.default_rng(seed))


def fit(objective, params, examples, seed, steps, lr):
    optimizer = nf.AdamW()
    return list(
        train(
            objective,
            params,
            optimizer,
            optimizer.init(params),
            batch_stream(examples, 32, special.pad, seed=[seed, 1], steps=steps),
            learning_rate=lambda step: lr * linear_schedule(step, warmup=steps // 10, total=steps),
            clip=partial(clip_by_global_norm, max_norm=1.0),
            seed=[seed, 2],
            shards=1,
        )
    )


def accuracy(model):
    logits = model.forward(dev.ids, dev.keep)[0].logits
    return float(np.mean(logits.argmax(axis=-1) == dev.labels))


teacher = new_model(4, 32, seed=1)
fit(SupervisedObjective(teacher), teacher.params, known, 0, steps=300, lr=3e-3)
size = sum(a.size for a in teacher.params.values())
print(f"teacher: {size:,} parameters, dev accuracy {accuracy(teacher):.3f}")
assert accuracy(teacher) > 0.95

# %% [markdown]
# ## Four losses
#
# The student has 2 layers and is 16 wide. Its layer $m$ learns from the teacher's $g(m) = mN/M$;
# learned matrices $W_e$, $W_h$ translate from 16 to 32:
#
# $$\operatorname{MSE}(E^S W_e, E^T), \quad \operatorname{MSE}(H^S W_h, H^T), \quad
#   \operatorname{MSE}(A^S, A^T), \quad \operatorname{KL}(p^T \| p^S)$$
#
# $A$ are the scores *before* the softmax. First the intermediate losses, then the prediction, never
# in one sum. No label is read.

# %%
recipe = find_recipe("corrected")
print("(m, g(m)):", uniform_mapping(2, 4))


def distil(seed):
    student = new_model(2, 16, seed=100 + seed)
    rng = np.random.default_rng(50 + seed)
    projections = init_projections(recipe, student.config, teacher.config, rng)
    both, records = joint_params(student.params, projections), []
    for phase, steps, lr in (("intermediate", 200, 5e-3), ("prediction", 100, 2e-3)):
        terms = build_terms(recipe, phase, student.config, teacher.config, projections)
        moving = {name: both[name] for name in trainable(both, phase)}
        objective = DistillObjective(student, teacher, terms)
        for update in fit(objective, moving, known, seed, steps, lr):
            records.append({"step": update.step, "phase": phase, **update.values})
    return student, projections, records


distilled = [distil(seed) for seed in range(3)]
student, projections, records = distilled[0]
plot.plot_losses(records, terms=["embedding", "hidden", "attention", "prediction"])
plt.show()

first, last = records[0], records[199]
print({name: (round(first[name], 3), round(last[name], 3)) for name in ("hidden", "attention")})
assert last["hidden"] < first["hidden"] / 2
assert records[-1]["prediction"] < 0.1

# %% [markdown]
# Does it attend like its teacher? The last layers of both, before the softmax, on one sentence that
# neither has seen:

# %%
row = next(i for i, r in enumerate(order[:144]) if " not " in texts[r])
n = int(dev.keep[row].sum())
tokens = [tokenizer.id_to_token(int(i)) for i in dev.ids[row, :n]]
theirs, _ = teacher.forward(dev.ids, dev.keep, output_scores=True)
ours, _ = student.forward(dev.ids, dev.keep, output_scores=True)
a_teacher, a_student = theirs.scores[3][row, :, :n, :n], ours.scores[1][row, :, :n, :n]
head = a_teacher.std(axis=(1, 2)).argmax()
plot.plot_attention_pair(a_teacher[head], a_student[head], tokens)
plt.show()
alike = np.corrcoef(a_teacher[head].ravel(), a_student[head].ravel())[0, 1]
print(f"correlation of the two maps: {alike:.3f}")
assert alike > 0.9

# %% [markdown]
# ## Was it worth it?
#
# The same student from scratch, with the same number of updates, on 24, 72 and all 288 labels.
# The distilled one used none (its teacher used all). Three seeds each.

# %%
amounts = (24, 72, 288)
scratch = {}
for amount in amounts:
    labelled = encode(order[144 : 144 + amount])
    for seed in range(3):
        model = new_model(2, 16, seed=100 + seed)
        fit(SupervisedObjective(model), model.params, labelled, seed, steps=300, lr=5e-3)
        scratch[amount, seed] = accuracy(model)
with_teacher = [accuracy(student) for student, _, _ in distilled]

plt.figure(figsize=(7, 3.6), layout="constrained")
for seed in range(3):
    label = {"label": "from scratch"} if seed == 0 else {}
    values = [scratch[amount, seed] for amount in amounts]
    plt.semilogx(amounts, values, "o--", color=plot.COLOURS[1], **label)
    label = {"label": "distilled, no labels"} if seed == 0 else {}
    plt.axhline(with_teacher[seed], color=plot.COLOURS[0], **label)
plt.xticks(amounts, amounts)
plt.minorticks_off()
plt.xlabel("labels")
plt.ylabel("dev accuracy")
plt.legend()
plt.show()

means = {amount: np.mean([scratch[amount, seed] for seed in range(3)]) for amount in amounts}
print("from scratch:", {amount: round(float(mean), 3) for amount, mean in means.items()})
print("distilled:   ", round(float(np.mean(with_teacher)), 3))
assert np.mean(with_teacher) > means[24] + 0.1

# %% [markdown]
# An honest reading: with few labels the teacher's help is large. With *all* labels the small student
# learns this toy task by itself, and distilling buys nothing. Whether it does on your task is an
# experiment, not a theorem; `npformer distill` always runs the scratch student beside it.
#
# ## Temperature, and why τ²
#
# $p = \operatorname{softmax}(z/\tau)$ with τ > 1 makes the teacher's small probabilities audible. The
# gradient shrinks like $1/\tau^2$: once from dividing the logits, once because the two softened
# distributions come closer. Multiplying by τ² restores it, and the limit is familiar: the difference
# of the centred logits, i.e. regression.

# %%
rng = np.random.default_rng(10)
z_student, z_teacher = 2 * rng.normal(size=(2, 32, 4))


def gradient(tau, tau_squared):
    _, cache = ops.kl_forward(z_student, z_teacher, tau, tau_squared=tau_squared)
    return ops.kl_backward(1.0, cache)


difference = z_student - z_teacher
limit = (difference - difference.mean(axis=-1, keepdims=True)) / (32 * 4)
taus = [1, 2, 4, 8, 16, 32, 64]
plt.figure(figsize=(7, 3.5), layout="constrained")
for i, tau_squared in enumerate((False, True)):
    norms = [np.linalg.norm(gradient(tau, tau_squared)) for tau in taus]
    label = "KL × τ²" if tau_squared else "KL"
    plt.loglog(taus, norms, "o-", base=2, color=plot.COLOURS[1 - i], label=label)
plt.axhline(np.linalg.norm(limit), color="0.5", linestyle=":", label="regression on logits")
plt.xticks(taus, taus)
plt.xlabel("temperature τ")
plt.ylabel("gradient norm")
plt.legend()
plt.show()

shrunk = np.linalg.norm(gradient(32, False)) / np.linalg.norm(gradient(64, False))
print(f"from τ = 32 to 64 the plain gradient shrinks {shrunk:.2f} times")
assert abs(shrunk - 4) < 0.2
assert np.linalg.norm(gradient(64, True) - limit) < 0.05 * np.linalg.norm(limit)

# %% [markdown]
# ## Padding must not count
#
# One more column of padding must change no loss. In the corrected recipe nothing changes; TinyBERT's
# released code leaves padded queries in and divides by the padded area.


# %%
def attention_loss(name, columns):
    ids = np.pad(dev.ids[:8, :n], ((0, 0), (0, columns)), constant_values=special.pad)
    keep = ids != special.pad
    r = find_recipe(name)
    chosen = init_projections(r, student.config, teacher.config, np.random.default_rng(0))
    terms = build_terms(r, "intermediate", student.config, teacher.config, chosen)
    own, _ = student.forward(ids, keep, output_scores=True)
    target, _ = teacher.forward(ids, keep, output_scores=True)
    return combine(terms, own, target, keep).values["attention"]


for name in ("corrected", "released"):
    print(f"{name:9}: {[round(attention_loss(name, columns), 4) for columns in (0, 1, 2)]}")
assert np.isclose(attention_loss("corrected", 0), attention_loss("corrected", 2), rtol=1e-5)
assert not np.isclose(attention_loss("released", 0), attention_loss("released", 2), rtol=1e-2)

# %% [markdown]
# ## What to take along
#
# * Layers by g(m) = mN/M, projections that are thrown away, scores before the softmax.
# * Intermediate first, prediction after; padding out of both axes of the scores.
# * τ² only matters beside another loss; measure against the student from scratch.

# %% [markdown] exercises="soft-targets kl-backward attention-loss hidden-loss layer-mapping pkd-loss distilbert-cosine minilm-relations"

# %% [markdown]
# # 6. Positions: what may a score depend on?
#
# One idea: **attention cannot see order; a position scheme is the decision what the score of query
# t and key s may depend on: on t and s, or on t − s alone.** One picture shows the difference.

# %%
import matplotlib.pyplot as plt
import numpy as np

import npformer as nf
from npformer import ops, plot

rng = np.random.default_rng(6)

# %% [markdown]
# ## Blind to order
#
# Shuffle the tokens and the outputs are shuffled likewise, nothing else: *permutation-equivariant*.
# "Dog bites man" and "man bites dog" have the same states.

# %%
layer = nf.MultiHeadAttention.init(
    nf.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.3), rng, np.float64
)
x = rng.normal(size=(2, 7, 12))
order = rng.permutation(7)
y = layer.forward(x)[0].y
shuffled = layer.forward(x[:, order])[0].y
assert np.allclose(shuffled, y[:, order])

placed = layer.forward(ops.sinusoidal_forward(x)[0])[0].y
placed_shuffled = layer.forward(ops.sinusoidal_forward(x[:, order])[0])[0].y
print("without positions, moved by", np.abs(shuffled - y[:, order]).max())
print("with positions, moved by   ", np.abs(placed_shuffled - placed[:, order]).max().round(2))
assert np.abs(placed_shuffled - placed[:, order]).max() > 0.01

# %% [markdown]
# ## Five schemes in one figure
#
# How the position moves the score of (t, s), with the same content everywhere:
#
# * **learned** (BERT): a table row is added to the token; $P_t \cdot P_s$ may be anything;
# * **sinusoidal** (Vaswani et al.): the same with fixed sines;
# * **T5**: a learned number for each *bucket* of s − t is added to the score;
# * **ALiBi**: $-m_h\,|t - s|$ is added to the score;
# * **rotary** (RoPE): q and k are turned by angles proportional to their places.

# %%
T, D = 32, 16
learned = rng.normal(size=(T, D))
sines = ops.sinusoidal_table(T, D)
t5, _ = ops.t5_bias_forward(rng.normal(size=(32, 1)), T, T, max_distance=32)
content = np.ones((1, 1, T, D))  # the same query and the same key at all places
turned, _ = ops.rotary_forward(content)
schemes = {
    "learned": learned @ learned.T,
    "sinusoidal": sines @ sines.T,
    "T5": t5[0, 0],
    "ALiBi": ops.alibi_bias(8, T, T, symmetric=True)[0, 2],
    "rotary": (turned @ turned.swapaxes(-1, -2))[0, 0],
}
figure, axes = plt.subplots(1, 5, figsize=(14, 3.1), layout="constrained")
for ax, (name, scores) in zip(axes, schemes.items(), strict=True):
    ax.imshow(scores, cmap="cividis")
    ax.set(title=name, xlabel="key s", xticks=[0, 15, 31], yticks=[0, 15, 31])
axes[0].set_ylabel("query t")
plt.show()


# %%
def depends_on_distance_alone(scores):
    return all(np.ptp(np.diagonal(scores, offset)) < 1e-9 for offset in range(1 - T, T))


relative = {name: depends_on_distance_alone(scores) for name, scores in schemes.items()}
print(relative)
assert relative == {"learned": False, "sinusoidal": True, "T5": True, "ALiBi": True, "rotary": True}

# %% [markdown]
# Diagonal stripes: the score depends on s − t alone. The learned table has none to begin with and
# must find them. The sinusoidal product has stripes here, but in a model $w_q$ and $w_k$ stand
# between, and content is mixed in: added vectors give *absolute* positions. T5, ALiBi and RoPE act
# on the score itself, where a *pair* is at hand; that is what makes them relative.
#
# ## Rotary: turn, and only the difference is left
#
# Turning q by $t\,\omega$ and k by $s\,\omega$ leaves the angle $(t - s)\,\omega$ between them. A
# rotation keeps lengths, and the gradient of a rotation is the rotation back.

# %%
q, k = rng.normal(size=(2, 1, 1, 1, D))


def rotated_score(t, s):
    a, _ = ops.rotary_forward(q, np.array([t]))
    b, _ = ops.rotary_forward(k, np.array([s]))
    return float((a * b).sum())


print("q at 5, k at 3:    ", rotated_score(5, 3))
print("q at 905, k at 903:", rotated_score(905, 903))
assert np.isclose(rotated_score(5, 3), rotated_score(905, 903))
assert not np.isclose(rotated_score(5, 3), rotated_score(3, 5))  # before and after differ

many = rng.normal(size=(2, 3, 7, 8))
turned, cache = ops.rotary_forward(many)
assert np.allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(many, axis=-1))
assert np.allclose(ops.rotary_backward(turned, cache), many)  # back again: the transpose
nf.check_pair(ops.rotary_forward, ops.rotary_backward, (many,))

# %% [markdown]
# ## ALiBi: how far does a head look?
#
# Each head has its own slope $m_h = 2^{-8h/H}$. With equal content the attention falls off
# exponentially; steep heads are near-sighted. Nothing is learnt, and no length is too long.

# %%
slopes = ops.alibi_slopes(8)
causal = np.tri(64, dtype=bool)[None, None]
seen, _ = ops.masked_softmax_forward(ops.alibi_bias(8, 64, 64), causal)
plt.figure(figsize=(7, 3.6), layout="constrained")
for i, h in enumerate((0, 2, 4, 7)):
    label = f"head {h}, slope 1/{round(1 / slopes[h])}"
    plt.plot(seen[0, h, -1, ::-1], plot.STYLES[i], color=plot.COLOURS[i], label=label)
plt.xlabel("distance t - s from the last query")
plt.ylabel("weight")
plt.legend()
plt.show()
assert seen[0, 0, -1, -1] > 0.35  # the steepest head: mostly itself
assert seen[0, 7, -1].max() < 0.03  # the flattest: nearly all alike
assert np.allclose(slopes, 2.0 ** -np.arange(1, 9))

# %% [markdown]
# ## Gradients of tables
#
# A learned row t was added at place t of *every* sentence: its gradient is the sum over the batch.
# T5's number of a bucket was read by *every pair* in it: the sum over the pairs.

# %%
dx = rng.normal(size=(3, 5, D))  # the gradient of x + P[:5]
places = np.broadcast_to(np.arange(5), (3, 5))
_, lookup = ops.embedding_forward(places, learned)
dtable = ops.embedding_backward(dx, lookup)
assert np.allclose(dtable[:5], dx.sum(axis=0))
assert np.all(dtable[5:] == 0)

table = rng.normal(size=(8, 2))
options = {"num_buckets": 8, "max_distance": 16}
_, cache = ops.t5_bias_forward(table, 4, 6, **options)
dbias = rng.normal(size=(1, 2, 4, 6))
bucket = ops.relative_bucket(np.arange(6) - np.arange(4)[:, None], **options)
by_hand = np.array([dbias[0][:, bucket == r].sum(axis=1) for r in range(8)])
print("pairs a bucket:", np.bincount(bucket.ravel(), minlength=8))
assert np.allclose(ops.t5_bias_backward(dbias, cache), by_hand)

# %% [markdown]
# A learned table has an end. BERT's has 512 rows, and there is no 513th:

# %%
config = nf.EncoderConfig(vocab_size=50, max_len=16, d_model=12, num_heads=3, num_layers=1, d_ff=20)
try:
    nf.Encoder.init(config, rng).forward(np.ones((1, 17), dtype=int))
except nf.InputError as error:
    print(error)
else:
    raise AssertionError("17 tokens were accepted")

# %% [markdown]
# ## What to take along
#
# * Without positions attention is permutation-equivariant.
# * Added to tokens: absolute. Acting on scores: relative.
# * RoPE turns q and k; the score keeps t − s; backward turns back.

# %% [markdown] exercises="sinusoidal learned-positions-backward relative-bias-backward rotary rotary-backward alibi"

"""The blog post's TinyBERT: its encoder. Written anew in NumPy as what it does, a fault a bug.

The post is the one this project was begun to answer. Its sixth fault, the softmax of a row without
keys, is `fully-masked-row`.
"""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import bug
from npformer.layers import BlockConfig, EncoderBlock


def queries(ids, table, w_q):
    """Return the queries (B, T, K) of tokens; ids: (B, T) integers, table: (V, D), w_q: (D, K)."""
    x, _ = ops.embedding_forward(ids, table)
    q, _ = ops.linear_forward(x, w_q)
    return q


def test_every_token_has_a_query(fn):
    rng = np.random.default_rng(0)
    ids = rng.integers(10, size=(2, 4))  # as many tokens as features, or the bug crashes
    q = fn(ids, rng.normal(size=(10, 4)), rng.normal(size=(4, 3)))
    assert q.shape == (2, 4, 3)


@bug(
    "blog-ids-as-vectors",
    right=queries,
    witness=test_every_token_has_a_query,
    exercise="embedding-backward",
    tracks=("interview", "class"),
)
def ids_taken_for_features(ids, table, w_q):
    """Token ids fed as vectors

    The blog post's encoder has no embeddings. Its first linear map gets the token ids
    themselves: a sentence of D tokens becomes one vector whose features are ids, and word 2000
    is twice word 1000. A sentence of any other length crashes.

    `queries(ids, table, w_q)` looks up the rows of `table` (V, D) for the integers `ids` (B, T) and
    multiplies each by `w_q` (D, K). The result is (B, T, K): a query for each token.

    The shape of the result, or any T that is not D. And another table must give other queries."""
    return (ids.astype(float) @ w_q).reshape(len(ids), -1, w_q.shape[1])


def encode(x, w_q, w_k, w_v, w_o, w_1, w_2):
    """Return the output (B, T, D) of L post-LN layers; weights (L, D, D), w_1 (L, D, F),
    w_2 (L, F, D).
    """
    _, width, inner = w_1.shape
    config = BlockConfig(d_model=width, num_heads=1, d_ff=inner, activation="relu", use_bias=False)
    norms = {
        f"norm_{i}.{name}": np.full(width, value)
        for i in (1, 2)
        for name, value in (("gamma", 1.0), ("beta", 0.0))
    }
    for q, k, v, o, first, second in zip(w_q, w_k, w_v, w_o, w_1, w_2, strict=True):
        attention = {"w_q": q, "w_k": k, "w_v": v, "w_o": o}
        params = {f"attention.{name}": w for name, w in attention.items()}
        params |= {"feedforward.w_1": first, "feedforward.w_2": second} | norms
        output, _ = EncoderBlock(config, params).forward(x)
        x = output.y
    return x


def attend(x, w_q, w_k, w_v, w_o):
    scores = (x @ w_q) @ (x @ w_k).swapaxes(-1, -2) / np.sqrt(x.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ (x @ w_v) @ w_o


def norm(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)


def test_the_second_layer_sees_other_tokens(fn):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 3, 4))
    w_q, w_k, w_v, w_o = rng.normal(size=(4, 2, 4, 4))
    w_1, w_2 = rng.normal(size=(2, 4, 5)), rng.normal(size=(2, 5, 4))
    w_o[0] = 0  # the first layer does not look around
    other = x.copy()
    other[0, 2] = rng.normal(size=4)
    y, z = (fn(a, w_q, w_k, w_v, w_o, w_1, w_2) for a in (x, other))
    assert np.abs(y[0, 0] - z[0, 0]).max() > 1e-6


@bug(
    "blog-one-attention-layer",
    right=encode,
    witness=test_the_second_layer_sees_other_tokens,
    exercise="post-ln-backward",
    tracks=("interview", "class"),
)
def attention_in_the_first_layer_only(x, w_q, w_k, w_v, w_o, w_1, w_2):
    r"""Twelve layers, one of them with attention

    The blog post's encoder puts one attention layer at the bottom; the parameter for the number of
    layers only adds feed-forward layers. After the first layer no token hears of another, and
    nothing crashes.

    `encode(x, w_q, w_k, w_v, w_o, w_1, w_2)` applies L encoder layers to `x` (B, T, D), one head,
    no mask, no biases. Layer l has `w_q[l]`, `w_k[l]`, `w_v[l]`, `w_o[l]`, each (D, D), `w_1[l]`
    (D, F) and `w_2[l]` (F, D): $u = \operatorname{norm}(x +
    \operatorname{softmax}(q k^\top/\sqrt D)\,v\,w_o)$, $x \leftarrow \operatorname{norm}(u +
    \operatorname{relu}(u w_1)\,w_2)$, with norm the layer norm over D with gamma 1, beta 0, eps
    1e-12.

    Make the first layer's w_o zero: another token must still matter. Or: other weights in the
    second layer's attention must change the result."""
    for i in range(len(w_1)):
        a = attend(x, w_q[i], w_k[i], w_v[i], w_o[i]) if i == 0 else 0
        u = norm(x + a)
        x = norm(u + np.maximum(u @ w_1[i], 0) @ w_2[i])
    return x


def test_silent_layers_pass_x_on(fn):
    x = np.array([[[1.0, -1.0, 1.0, -1.0], [2.0, 2.0, -2.0, -2.0]]])
    square, w_1, w_2 = np.zeros((3, 4, 4)), np.zeros((3, 4, 5)), np.zeros((3, 5, 4))
    y = fn(x, square, square, square, square, w_1, w_2)
    assert np.allclose(y, np.sign(x))


@bug(
    "blog-no-residuals-no-norms",
    right=encode,
    witness=test_silent_layers_pass_x_on,
    exercise="residual-backward",
    tracks=("interview", "class"),
)
def neither_residual_nor_norm(x, w_q, w_k, w_v, w_o, w_1, w_2):
    r"""No residuals, no layer norms

    The blog post's layers feed each other directly. The gradient reaches the bottom only as a
    product of all weights, and nothing holds the size of the activations.

    `encode(x, w_q, w_k, w_v, w_o, w_1, w_2)` applies L encoder layers to `x` (B, T, D), one head,
    no mask, no biases. Layer l has `w_q[l]`, `w_k[l]`, `w_v[l]`, `w_o[l]`, each (D, D), `w_1[l]`
    (D, F) and `w_2[l]` (F, D): $u = \operatorname{norm}(x +
    \operatorname{softmax}(q k^\top/\sqrt D)\,v\,w_o)$, $x \leftarrow \operatorname{norm}(u +
    \operatorname{relu}(u w_1)\,w_2)$, with norm the layer norm over D with gamma 1, beta 0, eps
    1e-12.

    With all weights zero a layer must still hand on x, normalised; without a residual the result
    is 0. Any result must have mean 0 and variance 1 along D."""
    for i in range(len(w_1)):
        u = attend(x, w_q[i], w_k[i], w_v[i], w_o[i])
        x = np.maximum(u @ w_1[i], 0) @ w_2[i]
    return x

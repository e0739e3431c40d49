"""The blog post's TinyBERT: its encoder. Written anew in NumPy as what it does, a fault a bug.

The post is the one this project was begun to answer. Its sixth fault, the softmax of a row without
keys, is `fully-masked-row`.
"""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.text import Text
from npformer.layers import BlockConfig, EncoderBlock


def queries(ids, table, w_q):
    """Return the queries (B, T, K) of tokens; ids: (B, T) integers, table: (V, D), w_q: (D, K)."""
    x, _ = ops.embedding_forward(ids, table)
    q, _ = ops.linear_forward(x, w_q)
    return q


def ids_taken_for_features(ids, table, w_q):
    return (ids.astype(float) @ w_q).reshape(len(ids), -1, w_q.shape[1])


def test_every_token_has_a_query(fn):
    rng = np.random.default_rng(0)
    ids = rng.integers(10, size=(2, 4))  # as many tokens as features, or the bug crashes
    q = fn(ids, rng.normal(size=(10, 4)), rng.normal(size=(4, 3)))
    assert q.shape == (2, 4, 3)


IDS_AS_VECTORS = Bug(
    id="blog-ids-as-vectors",
    title=Text("Token ids fed as vectors", "把词元编号当作向量"),
    story=Text(
        "The blog post's encoder has no embeddings. Its first linear map gets the token ids "
        "themselves: a sentence of D tokens becomes one vector whose features are ids, and word "
        "2000 is twice word 1000. A sentence of any other length crashes.",
        "博客中的编码器没有嵌入层，第一个线性映射直接接收词元编号：一个 D 个词元的句子变成一个以编号为特征的"
        "向量，2000 号词是 1000 号词的两倍。句子长度不是 D 就会报错。",
    ),
    statement=Text(
        "`queries(ids, table, w_q)` looks up the rows of `table` (V, D) for the integers `ids` "
        "(B, T) and multiplies each by `w_q` (D, K). The result is (B, T, K): a query for each "
        "token.",
        "`queries(ids, table, w_q)` 按整数数组 `ids` (B, T) 查 `table` (V, D) 的行，再各乘以 `w_q` "
        "(D, K)。结果为 (B, T, K)：每个词元一个 query。",
    ),
    right=queries,
    wrong=ids_taken_for_features,
    symptom=Text(
        "The shape of the result, or any T that is not D. And another table must give other queries.",
        "检查结果的形状，或让 T 不等于 D。换一张表，query 也应当改变。",
    ),
    witness=test_every_token_has_a_query,
    topic="programs",
    tracks=("interview", "class"),
    exercise="embedding-backward",
)


def encode(x, w_q, w_k, w_v, w_o, w_1, w_2):
    """Return the output (B, T, D) of L post-LN layers; weights (L, D, D), w_1 (L, D, F), w_2 (L, F, D)."""
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
        (x, _), _ = EncoderBlock(config, params).forward(x)
    return x


ENCODE_STATEMENT = Text(
    "`encode(x, w_q, w_k, w_v, w_o, w_1, w_2)` applies L encoder layers to `x` (B, T, D), one head, "
    "no mask, no biases. Layer l has `w_q[l]`, `w_k[l]`, `w_v[l]`, `w_o[l]`, each (D, D), `w_1[l]` "
    "(D, F) and `w_2[l]` (F, D): "
    "$u = \\operatorname{norm}(x + \\operatorname{softmax}(q k^\\top/\\sqrt D)\\,v\\,w_o)$, "
    "$x \\leftarrow \\operatorname{norm}(u + \\operatorname{relu}(u w_1)\\,w_2)$, with norm the "
    "layer norm over D with gamma 1, beta 0, eps 1e-12.",
    "`encode(x, w_q, w_k, w_v, w_o, w_1, w_2)` 对 `x` (B, T, D) 依次作用 L 个编码器层，单头，无掩码，"
    "无偏置。第 l 层用 `w_q[l]`、`w_k[l]`、`w_v[l]`、`w_o[l]`（均为 (D, D)）、`w_1[l]` (D, F) 和 "
    "`w_2[l]` (F, D)："
    "$u = \\operatorname{norm}(x + \\operatorname{softmax}(q k^\\top/\\sqrt D)\\,v\\,w_o)$，"
    "$x \\leftarrow \\operatorname{norm}(u + \\operatorname{relu}(u w_1)\\,w_2)$，norm 是沿 D 的"
    "层归一化，gamma 为 1，beta 为 0，eps 为 1e-12。",
)


def attend(x, w_q, w_k, w_v, w_o):
    scores = (x @ w_q) @ (x @ w_k).swapaxes(-1, -2) / np.sqrt(x.shape[-1])
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ (x @ w_v) @ w_o


def norm(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)


def attention_in_the_first_layer_only(x, w_q, w_k, w_v, w_o, w_1, w_2):
    for i in range(len(w_1)):
        a = attend(x, w_q[i], w_k[i], w_v[i], w_o[i]) if i == 0 else 0
        u = norm(x + a)
        x = norm(u + np.maximum(u @ w_1[i], 0) @ w_2[i])
    return x


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


ONE_ATTENTION_LAYER = Bug(
    id="blog-one-attention-layer",
    title=Text("Twelve layers, one of them with attention", "十二层里只有一层有注意力"),
    story=Text(
        "The blog post's encoder puts one attention layer at the bottom; the parameter for the "
        "number of layers only adds feed-forward layers. After the first layer no token hears of "
        "another, and nothing crashes.",
        "博客中的编码器只在最底部放了一个注意力层，层数参数只是增加前馈层。第一层之后，词元之间再无交流，"
        "程序也不会报错。",
    ),
    statement=ENCODE_STATEMENT,
    right=encode,
    wrong=attention_in_the_first_layer_only,
    symptom=Text(
        "Make the first layer's w_o zero: another token must still matter. Or: other weights in the "
        "second layer's attention must change the result.",
        "把第一层的 w_o 置零，其他词元仍应有影响。或者：改动第二层注意力的权重，结果应当改变。",
    ),
    witness=test_the_second_layer_sees_other_tokens,
    topic="programs",
    tracks=("interview", "class"),
    exercise="post-ln-backward",
)


def neither_residual_nor_norm(x, w_q, w_k, w_v, w_o, w_1, w_2):
    for i in range(len(w_1)):
        u = attend(x, w_q[i], w_k[i], w_v[i], w_o[i])
        x = np.maximum(u @ w_1[i], 0) @ w_2[i]
    return x


def test_silent_layers_pass_x_on(fn):
    x = np.array([[[1.0, -1.0, 1.0, -1.0], [2.0, 2.0, -2.0, -2.0]]])
    square, w_1, w_2 = np.zeros((3, 4, 4)), np.zeros((3, 4, 5)), np.zeros((3, 5, 4))
    y = fn(x, square, square, square, square, w_1, w_2)
    assert np.allclose(y, np.sign(x))


NO_RESIDUALS = Bug(
    id="blog-no-residuals-no-norms",
    title=Text("No residuals, no layer norms", "没有残差，也没有层归一化"),
    story=Text(
        "The blog post's layers feed each other directly. The gradient reaches the bottom only as a "
        "product of all weights, and nothing holds the size of the activations.",
        "博客中的各层直接首尾相接。梯度只能经过所有权重的连乘才能到达底部，"
        "激活值的大小也没有任何约束。",
    ),
    statement=ENCODE_STATEMENT,
    right=encode,
    wrong=neither_residual_nor_norm,
    symptom=Text(
        "With all weights zero a layer must still hand on x, normalised; without a residual the "
        "result is 0. Any result must have mean 0 and variance 1 along D.",
        "所有权重为零时，层仍应把归一化后的 x 传下去；没有残差，结果就是 0。"
        "任何结果沿 D 的均值都应为 0，方差为 1。",
    ),
    witness=test_silent_layers_pass_x_on,
    topic="programs",
    tracks=("interview", "class"),
    exercise="residual-backward",
)

BUGS = (IDS_AS_VECTORS, ONE_ATTENTION_LAYER, NO_RESIDUALS)

"""Attention: what it computes, and why in this way."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text
from npformer.models import cost

TOPIC = "attention"


def one_step_whatever_the_distance():
    rng = np.random.default_rng(0)
    config = layers.BlockConfig(d_model=12, num_heads=3, d_ff=20, initializer_range=0.5)
    block = layers.EncoderBlock.init(config, rng, np.float64)
    x = rng.normal(size=(1, 60, 12))  # (B, T, D)
    _, cache = block.forward(x)
    dlast = np.zeros_like(x)
    dlast[:, -1] = rng.normal(size=12)  # only the last position has a loss
    (dx, _), _ = block.backward(layers.AttentionOutput(dlast, None), cache)
    assert np.abs(dx).max(axis=(0, 2)).min() > 1e-6  # one layer reaches every position

    kernel = rng.normal(size=3)  # a convolution sees its neighbours alone
    signal = rng.normal(size=60)
    moved = signal.copy()
    moved[0] += 1
    change = np.convolve(moved, kernel, "same") - np.convolve(signal, kernel, "same")
    assert np.flatnonzero(change).max() == 1


TRANSFORMER_IDEA = Card(
    id="transformer-idea",
    topic=TOPIC,
    question=Text(
        "What is the core idea of the Transformer?",
        "Transformer 的核心思想是什么？",
    ),
    answer=Text(
        "Every position reads every other one directly: its new state is an average of all values, "
        "weighted by how well its query matches their keys. Any two tokens are one step apart and "
        "all positions are computed at once; the price grows with T^2. Feed-forward layers, "
        "residuals and layer norm make it a deep network.",
        "每个位置直接读取所有其他位置：新状态是全部 value 的加权平均，权重取决于自己的 query 与各个 key 的匹配程度。"
        "任意两个词元只隔一步，所有位置可以并行计算；代价随 T^2 增长。再配上前馈层、残差和层归一化，才成为深层网络。",
    ),
    trap=Text(
        "Is a Transformer an encoder-decoder? The first one was. BERT is an encoder alone, GPT a "
        "decoder alone.",
        "Transformer 一定是编码器–解码器吗？最初的是；BERT 只有编码器，GPT 只有解码器。",
    ),
    check=one_step_whatever_the_distance,
    exercises=("scaled-dot-product",),
    docs="interview.md",
)


def multi_head_by_hand():
    rng = np.random.default_rng(1)
    batch, length, width, heads = 2, 5, 12, 3
    config = layers.AttentionConfig(d_model=width, num_heads=heads, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(batch, length, width))
    keep = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], bool)
    p, parts = layer.params, {}
    for name in "qkv":  # 1 project, 2 split: (B, T, D) -> (B, H, T, K)
        projected = x @ p[f"w_{name}"] + p[f"b_{name}"]
        parts[name] = projected.reshape(batch, length, heads, 4).transpose(0, 2, 1, 3)
    scores = parts["q"] @ parts["k"].swapaxes(2, 3) / np.sqrt(4)  # 3 scaled scores
    scores = np.where(keep[:, None, None, :], scores, -1e30)  # 4 no padded keys
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)  # 5 softmax over the keys
    context = (weights @ parts["v"]).transpose(0, 2, 1, 3).reshape(x.shape)  # 6 average, join
    expected = context @ p["w_o"] + p["b_o"]  # 7 mix the heads
    output, _ = layer.forward(x, keep=keep)
    assert np.allclose(output.y, expected, atol=1e-12)


MULTI_HEAD_STEPS = Card(
    id="multi-head-steps",
    topic=TOPIC,
    question=Text(
        "Go through multi-head self-attention step by step.",
        "请一步一步说明多头自注意力的计算过程。",
    ),
    answer=Text(
        "Project x to q, k, v; split each into H heads of K = D/H features; scores `q k^T / "
        "sqrt(K)`; hide padded keys; softmax over the keys; average the values with these weights; "
        "join the heads; multiply by w_o.",
        "把 x 投影成 q、k、v；各切成 H 个头，每头 K = D/H 维；计算分数 `q k^T / sqrt(K)`；屏蔽填充的 key；"
        "沿 key 方向做 softmax；用权重对 value 加权平均；拼接各头；乘 w_o。",
    ),
    trap=Text(
        "Which steps do circulating answers leave out? The scale, the mask and the output "
        "projection; and each head has D/H features, not D.",
        "流传的答案常漏掉哪几步？缩放、掩码和输出投影；另外每个头只有 D/H 维，不是 D 维。",
    ),
    check=multi_head_by_hand,
    exercises=("multi-head-attention", "split-heads"),
    docs="interview.md",
)


def context_is_an_average():
    rng = np.random.default_rng(2)
    q, k = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 6, 5))  # (B, H, T or S, K)
    v = rng.normal(size=(2, 3, 6, 7))
    context, scores, _ = ops.attention_forward(q, k, v)
    weights = np.exp(np.einsum("bhtd,bhsd->bhts", q, k) / np.sqrt(5))
    weights /= weights.sum(axis=-1, keepdims=True)
    assert np.allclose(context, np.einsum("bhts,bhsd->bhtd", weights, v))
    assert scores.shape == (2, 3, 4, 6)
    lowest, highest = v.min(axis=2, keepdims=True), v.max(axis=2, keepdims=True)
    assert np.all((lowest < context) & (context < highest))  # an average leaves no range


SCALED_DOT_PRODUCT = Card(
    id="scaled-dot-product",
    topic=TOPIC,
    question=Text(
        "Write down scaled dot-product attention, with shapes. What kind of object is its output?",
        "写出缩放点积注意力的公式和形状。它的输出是什么性质的量？",
    ),
    answer=Text(
        "`softmax(q k^T / sqrt(K)) v` with q (T, K), k (S, K), v (S, K'): weights (T, S), output "
        "(T, K'). Each row is a weighted average of the values: positive weights that sum to 1.",
        "`softmax(q k^T / sqrt(K)) v`，q 为 (T, K)，k 为 (S, K)，v 为 (S, K')：权重 (T, S)，输出 (T, K')。"
        "每一行都是 value 的加权平均，权重为正且和为 1。",
    ),
    trap=Text(
        "Over which axis is the softmax? Over the keys, the last one. Over the queries the shapes "
        "would fit as well, but the rows would no longer be averages.",
        "softmax 沿哪个轴？沿 key，也就是最后一个轴。沿 query 做形状也对得上，但每行就不再是平均了。",
    ),
    check=context_is_an_average,
    exercises=("scaled-dot-product", "softmax"),
    docs="derivations/attention.md",
)


def variance_of_a_dot_product():
    rng = np.random.default_rng(3)
    for size in (16, 64, 256):
        q, k = rng.normal(size=(1, 1, 900, size)), rng.normal(size=(1, 1, 12, size))
        raw, _ = ops.attention_scores_forward(q, k, scale=1.0)
        scaled, _ = ops.attention_scores_forward(q, k)
        assert abs(raw.var() / size - 1) < 0.2
        assert abs(scaled.var() - 1) < 0.2
    dprobs = rng.normal(size=raw.shape)  # of the largest size, 256
    back = []
    for scores in (raw, scaled):
        _, cache = ops.softmax_forward(scores)
        back.append(np.median(np.linalg.norm(ops.softmax_backward(dprobs, cache), axis=-1)))
    assert back[0] < back[1] / 10  # saturated: hardly anything comes back


SQRT_D = Card(
    id="why-sqrt-d",
    topic=TOPIC,
    question=Text(
        "Why are the scores divided by sqrt(d_k)? Give the argument, not the name.",
        "为什么分数要除以 sqrt(d_k)？请给出论证。",
    ),
    answer=Text(
        "If the entries of q and k are independent with mean 0 and variance 1, each product of two "
        "has variance 1 and their sum has variance d_k. Undivided, scores of size sqrt(d_k) drive "
        "the softmax towards one-hot, where its gradient vanishes; divided, the variance is 1 for "
        "every head size.",
        "若 q、k 的各分量独立、均值 0、方差 1，则每一项乘积的方差为 1，d_k 项之和的方差为 d_k。"
        "不缩放时分数的量级是 sqrt(d_k)，softmax 趋于 one-hot，梯度消失；除以 sqrt(d_k) 后，无论头有多大，方差都是 1。",
    ),
    trap=Text(
        "Why not divide by d_k? Then the variance would be 1/d_k: at the start all weights would "
        "be nearly equal. Dividing by d_k fits if q and k are aligned rather than independent.",
        "为什么不除以 d_k？那样方差是 1/d_k，初始时权重几乎相等。除以 d_k 对应的是 q、k 同向而非独立的情形。",
    ),
    check=variance_of_a_dot_product,
    exercises=("scaled-dot-product", "attention-backward"),
    docs="derivations/attention.md",
)


def one_matrix_is_symmetric():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(7, 5))
    w_q, w_k = rng.normal(size=(2, 5, 5))
    shared = (x @ w_q) @ (x @ w_q).T
    separate = (x @ w_q) @ (x @ w_k).T
    assert np.allclose(shared, shared.T)  # s matters to t as much as t to s
    assert np.linalg.eigvalsh(shared).min() > -1e-9  # and no token can turn away from itself
    assert np.diag(shared).min() > 0
    assert np.abs(separate - separate.T).max() > 1
    assert np.diag(separate).min() < 0


SEPARATE_Q_K = Card(
    id="separate-q-and-k",
    topic=TOPIC,
    question=Text(
        "Why do queries and keys have different weight matrices?",
        "为什么 query 和 key 要用不同的权重矩阵？",
    ),
    answer=Text(
        "With one matrix the scores `x W W^T x^T` are symmetric and positive semidefinite: t cares "
        "for s exactly as s for t, and each token always has a positive score with itself. Two "
        "matrices give any bilinear form of rank K: a verb can look for its subject without the "
        "converse.",
        "若共用一个矩阵，分数 `x W W^T x^T` 是对称半正定的：t 给 s 的分数等于 s 给 t 的分数，且每个词元对自己的分数总为正。"
        "两个矩阵可以表示任意秩为 K 的双线性型：动词可以去找主语，而反过来不必成立。",
    ),
    trap=Text(
        "Are the *weights* symmetric with one matrix? No: the scores are, but the softmax divides "
        "each row by its own sum.",
        "共用矩阵时，注意力*权重*对称吗？不对称：对称的是分数，softmax 让每行除以各自的和。",
    ),
    check=one_matrix_is_symmetric,
    exercises=("scores-gradient",),
    docs="derivations/attention.md",
)


def dot_grows_additive_does_not():
    rng = np.random.default_rng(5)
    q, k, u = rng.normal(size=(6, 8)), rng.normal(size=(9, 8)), rng.normal(size=8)

    def additive(factor):
        hidden = np.tanh(factor * q[:, None, :] + factor * k[None, :, :])  # (T, S, K)
        return hidden @ u, hidden

    scores, hidden = additive(1.0)
    assert hidden.size == 8 * scores.size  # K numbers for each pair instead of one
    assert np.abs(additive(100.0)[0]).max() <= np.abs(u).sum()  # bounded by tanh
    assert np.allclose((100 * q) @ (100 * k).T, 1e4 * (q @ k.T))  # grows with the square


DOT_OR_ADDITIVE = Card(
    id="dot-or-additive",
    topic=TOPIC,
    question=Text(
        "Dot-product or additive attention: how do cost and quality compare?",
        "点积注意力与加性注意力相比，代价和效果如何？",
    ),
    answer=Text(
        "The same order of multiply-adds, but the dot product is one matrix product, while "
        "`u . tanh(q + k)` needs K numbers for every pair in memory. Additive scores are bounded "
        "by tanh; dot products grow with the head size, so unscaled they do worse for large K. "
        "The factor 1/sqrt(K) mends that.",
        "乘加次数同阶，但点积就是一次矩阵乘法，而 `u . tanh(q + k)` 要为每一对位置保存 K 个数。"
        "加性分数被 tanh 限制住；点积随头的维度变大，不缩放时 K 大效果就差，乘 1/sqrt(K) 即可弥补。",
    ),
    trap=Text(
        "Is additive attention more expressive? Its score of a single pair is nonlinear, but the "
        "sum inside tanh sees q and k only through q + k; in practice scaled dot products lose "
        "nothing.",
        "加性注意力表达力更强吗？它对一对位置的打分是非线性的，但 tanh 里只见到 q + k；实践中缩放点积并不吃亏。",
    ),
    check=dot_grows_additive_does_not,
    exercises=("scaled-dot-product",),
    docs="derivations/attention.md",
)


def heads_add_up():
    rng = np.random.default_rng(6)
    config = layers.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(2, 5, 12))
    whole, _ = layer.forward(x)
    w_o, total = layer.params["w_o"], 0.0
    for head in range(3):
        only = np.zeros_like(w_o)
        rows = slice(4 * head, 4 * head + 4)
        only[rows] = w_o[rows]  # the rows that read this head
        one = layers.MultiHeadAttention(config, layer.params | {"w_o": only})
        total = total + one.forward(x)[0].y
    assert np.allclose(whole.y, total)  # b_o is 0 in a new layer


OUTPUT_PROJECTION = Card(
    id="output-projection",
    topic=TOPIC,
    question=Text(
        "Why several heads, and what does the output matrix W_O do?",
        "为什么要多个头？输出矩阵 W_O 起什么作用？",
    ),
    answer=Text(
        "A softmax row is one average; several heads give several averages at once, each with its "
        "own relation in its own subspace. W_O mixes them: cut into H blocks of rows, the output is "
        "the sum over heads of `ctx_h W_O[h]`. Without it the heads would only lie side by side.",
        "一行 softmax 只是一种平均；多个头同时给出多种平均，各自在自己的子空间里表示一种关系。W_O 负责融合："
        "按行切成 H 块，输出等于各头 `ctx_h W_O[h]` 之和。没有它，各头只是并排放着。",
    ),
    trap=Text(
        "Could W_V and W_O of a head be one matrix? Yes, their product is all that counts: a D x D "
        "matrix of rank K. Two factors cost 2 D K parameters instead of D^2.",
        "一个头的 W_V 和 W_O 能合成一个矩阵吗？可以，起作用的只是它们的乘积：秩为 K 的 D x D 矩阵；"
        "分成两个因子只需 2 D K 个参数，而不是 D^2。",
    ),
    check=heads_add_up,
    exercises=("split-heads", "multi-head-backward"),
    docs="interview.md",
)


def heads_are_free():
    sizes, counts = [], []
    for heads in (1, 2, 4, 8):
        config = layers.AttentionConfig(d_model=64, num_heads=heads)
        layer = layers.MultiHeadAttention.init(config, np.random.default_rng(7))
        sizes.append(sum(p.size for p in layer.params.values()))
        encoder = models.EncoderConfig(
            d_model=64, num_heads=heads, num_layers=2, d_ff=256, vocab_size=100, max_len=128
        )
        work = cost.Workload(kind=models.Encoder, config=encoder)
        counts.append(sum(cost.count_multiply_adds(work).values()))
    assert len(set(sizes)) == len(set(counts)) == 1
    rng = np.random.default_rng(8)
    w_q, w_k = rng.normal(size=(2, 64, 8))  # a head of eight has K = 8
    assert np.linalg.matrix_rank(w_q @ w_k.T) == 8


HEAD_SIZE = Card(
    id="head-size",
    topic=TOPIC,
    question=Text(
        "Why does each head get D/H features rather than D?",
        "为什么每个头只用 D/H 维，而不是 D 维？",
    ),
    answer=Text(
        "Then H heads cost what one head of full width costs: the same parameters and the same "
        "multiply-adds for every H. What is paid for it is rank: a head compares tokens by a "
        "bilinear form of rank D/H.",
        "这样 H 个头的代价等于一个全宽度的头：参数量和乘加次数与 H 无关。付出的是秩：每个头用秩为 D/H 的双线性型比较词元。",
    ),
    trap=Text(
        "Is then nothing more expensive with more heads? The softmax is: H arrays of (T, S) "
        "instead of one, in memory and in exponentials.",
        "那么头多了就没有任何额外代价吗？有，softmax：(T, S) 的数组有 H 个，显存和指数运算都乘以 H。",
    ),
    check=heads_are_free,
    exercises=("split-heads",),
    docs="derivations/attention.md",
)


def softmax_competes():
    rng = np.random.default_rng(9)
    scores = rng.normal(size=(1, 6))
    raised = scores.copy()
    raised[0, 2] += 1
    others = [0, 1, 3, 4, 5]
    before, after = (ops.softmax_forward(s)[0][0] for s in (scores, raised))
    assert np.all(after[others] < before[others])  # they pay for it
    before, after = (ops.sigmoid_forward(s)[0][0] for s in (scores, raised))
    assert np.array_equal(after[others], before[others])
    long = rng.normal(size=(1, 600))
    assert abs(ops.softmax_forward(long)[0].sum() - 1) < 1e-12  # whatever the length
    assert ops.sigmoid_forward(long)[0].sum() > 250


SOFTMAX_NOT_SIGMOID = Card(
    id="softmax-not-sigmoid",
    topic=TOPIC,
    question=Text(
        "Why softmax over the keys and not a sigmoid for each?",
        "为什么对 key 用 softmax，而不是对每个分数用 sigmoid？",
    ),
    answer=Text(
        "Softmax makes the keys compete: weights sum to 1, so the output has the size of a value "
        "whatever the length, and raising one score lowers all other weights. Independent "
        "sigmoids add up to something that grows with S.",
        "softmax 让各个 key 竞争：权重和为 1，所以无论序列多长，输出的量级都与一个 value 相当；提高一个分数会压低其他权重。"
        "各自独立的 sigmoid 之和会随 S 增长。",
    ),
    trap=Text(
        "What can softmax not do? Attend to nothing: the weights always sum to 1. Models use a "
        "token such as [SEP] or the first one as a sink.",
        "softmax 做不到什么？“谁都不看”：权重和总是 1。模型往往把 [SEP] 或首个词元当作“注意力汇”（attention sink）。",
    ),
    check=softmax_competes,
    exercises=("softmax", "softmax-backward"),
    docs="derivations/softmax.md",
)


def weights_depend_on_the_input():
    rng = np.random.default_rng(10)
    config = layers.AttentionConfig(d_model=6, num_heads=2, initializer_range=0.7, use_bias=False)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(1, 5, 6))
    mix = rng.normal(size=(5, 5))  # a dense layer over the positions
    assert np.allclose(mix @ (2 * x), 2 * (mix @ x))
    assert not np.allclose(layer.forward(2 * x)[0].y, 2 * layer.forward(x)[0].y, atol=0.01)
    longer = rng.normal(size=(1, 9, 6))
    assert layer.forward(longer)[0].y.shape == longer.shape  # the same weights, any length
    try:
        mix @ longer
    except ValueError:
        return
    raise AssertionError("a dense layer has one length")


ATTENTION_OR_DENSE = Card(
    id="attention-or-dense",
    topic=TOPIC,
    question=Text(
        "A dense layer over the positions mixes tokens too. What does attention have that it has "
        "not?",
        "沿位置做全连接同样能混合词元。注意力比它多了什么？",
    ),
    answer=Text(
        "The mixing weights of a dense layer are parameters: the same for every text, one for each "
        "pair of places, for one length. Attention computes them from the text: they depend on "
        "content, work for any length and need no parameter per place.",
        "全连接的混合权重是参数：对所有文本都一样，每对位置一个，长度固定。注意力的权重由文本算出：取决于内容，适用任意长度，"
        "也不需要逐位置的参数。",
    ),
    trap=Text(
        "Is attention linear in the values? Yes, for fixed weights; it is the weights that make it "
        "nonlinear in x.",
        "注意力对 value 是线性的吗？权重固定时是；对 x 的非线性来自权重本身。",
    ),
    check=weights_depend_on_the_input,
    exercises=("scaled-dot-product",),
    docs="derivations/attention.md",
)


def a_permutation_goes_through():
    rng = np.random.default_rng(11)
    config = layers.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(2, 7, 12))
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    y = layer.forward(x)[0].y
    assert np.allclose(layer.forward(x[:, order])[0].y, y[:, order])
    placed, _ = ops.sinusoidal_forward(x)
    moved, _ = ops.sinusoidal_forward(x[:, order])
    apart = layer.forward(moved)[0].y - layer.forward(placed)[0].y[:, order]
    assert np.abs(apart).max() > 0.01  # with positions the order counts


PERMUTATION = Card(
    id="permutation",
    topic=TOPIC,
    question=Text(
        "Show that self-attention does not know the order of its input.",
        "证明自注意力不知道输入的顺序。",
    ),
    answer=Text(
        "For a permutation matrix P, queries, keys and values become P q, P k, P v; scores become "
        "`P q k^T P^T`; the softmax works row by row, so it is permuted alike; and "
        "`P A P^T P v = P A v`. So f(P x) = P f(x): equivariant. Feed-forward layers work on each "
        "position alone and keep this.",
        "设 P 为置换矩阵，q、k、v 变为 P q、P k、P v；分数变为 `P q k^T P^T`；softmax 逐行进行，因此同样被置换；"
        "而 `P A P^T P v = P A v`。所以 f(P x) = P f(x)，即置换等变。前馈层逐位置计算，不改变这一点。",
    ),
    trap=Text(
        "Equivariant or invariant? Equivariant: the output moves along. It becomes invariant only "
        "if one pools over the positions. And a causal mask alone already breaks it.",
        "是等变还是不变？等变：输出跟着移动；对位置做池化之后才是不变。另外，单是因果掩码就会打破它。",
    ),
    check=a_permutation_goes_through,
    exercises=("sinusoidal",),
    docs="derivations/positions.md",
)

CARDS = (
    TRANSFORMER_IDEA,
    MULTI_HEAD_STEPS,
    SCALED_DOT_PRODUCT,
    SQRT_D,
    SEPARATE_Q_K,
    DOT_OR_ADDITIVE,
    OUTPUT_PROJECTION,
    HEAD_SIZE,
    SOFTMAX_NOT_SIGMOID,
    ATTENTION_OR_DENSE,
    PERMUTATION,
)

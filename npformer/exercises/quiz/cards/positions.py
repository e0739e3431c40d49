"""How a model knows where a token stands."""

import numpy as np

from npformer import layers, models, ops
from npformer.checks import InputError
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text

TOPIC = "positions"


def a_shift_tells_them_apart():
    rng = np.random.default_rng(0)
    text = rng.integers(0, 11, size=(1, 5))
    later = np.concatenate([np.zeros((1, 3), int), text], axis=1)  # behind three padded places
    keep = np.arange(8)[None] >= 3
    moved = {}
    for name, where in {
        "learned": {"positions": "learned"},
        "sinusoidal": {"positions": "sinusoidal"},
        "rotary": {"positions": "none", "relative": "rotary"},
        "alibi": {"positions": "none", "relative": "alibi"},
    }.items():
        config = models.EncoderConfig(
            d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=11, max_len=8,
            initializer_range=0.5, **where,
        )  # fmt: skip
        model = models.Encoder.init(config, rng, np.float64)
        here = model.forward(text)[0].hidden[-1]
        there = model.forward(later, keep)[0].hidden[-1][:, 3:]
        moved[name] = np.abs(there - here).max()
    assert min(moved["learned"], moved["sinusoidal"]) > 0.01  # absolute: the place counts
    assert max(moved["rotary"], moved["alibi"]) < 1e-12  # relative: only distances count


POSITION_ENCODINGS = Card(
    id="position-encodings",
    topic=TOPIC,
    question=Text(
        "How are positions encoded, absolutely and relatively?",
        "绝对位置编码和相对位置编码分别如何实现？",
    ),
    answer=Text(
        "Absolute: a vector of each place is added to the token's embedding, sines and cosines or a "
        "learned table (BERT). Relative: the score of a query and a key depends on t - s: a vector "
        "added to the key (Shaw), a bias on the score (T5, ALiBi), or q and k turned so that their "
        "product knows only the distance (RoPE). A text moved as a whole is the same to the "
        "second kind, not to the first.",
        "绝对：给每个位置一个向量，加到词嵌入上，可以是正弦余弦，也可以是可学习的表（BERT）。相对：query 与 key 的分数依赖 t - s："
        "给 key 加向量（Shaw）、给分数加偏置（T5、ALiBi），或旋转 q、k，使内积只取决于距离（RoPE）。"
        "整段文本平移后，对第二类毫无差别，对第一类则不同。",
    ),
    trap=Text(
        "Are relative positions the differences of neighbouring indices, added to the embeddings? "
        "No: that difference is always 1. A distance belongs to a pair, so it enters the scores.",
        "相对位置是把相邻索引之差加到嵌入上吗？不是：相邻之差恒为 1。距离属于一对位置，所以要进入注意力分数。",
    ),
    check=a_shift_tells_them_apart,
    exercises=("relative-bias-backward", "rotary", "sinusoidal"),
    docs="interview.md",
)


def a_shift_is_a_rotation():
    table = ops.sinusoidal_table(50, 16)
    rates = 10000.0 ** (-np.arange(0, 16, 2) / 16)
    shift = 7
    turn = np.zeros((16, 16))
    for i, angle in enumerate(shift * rates):
        block = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        turn[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    assert np.allclose(table[:-shift] @ turn.T, table[shift:])  # one matrix for every t
    products = table @ table.T
    for distance in (1, 5, 20):  # a product of two depends on the distance alone
        assert np.ptp(np.diag(products, distance)) < 1e-9
    assert products[0, 0] == products[0].max() > products[0, 20]


SINUSOIDAL = Card(
    id="sinusoidal",
    topic=TOPIC,
    question=Text(
        "Write down the sinusoidal encoding. What does a shift by k do to it?",
        "写出正弦位置编码。平移 k 个位置会怎样？",
    ),
    answer=Text(
        "`P[t, 2i] = sin(t w_i)`, `P[t, 2i+1] = cos(t w_i)`, `w_i = 10000^(-2i/D)`. A shift by k "
        "turns each pair (sin, cos) by k w_i: one linear map for all t. So `P_t . P_s` depends on "
        "t - s only.",
        "`P[t, 2i] = sin(t w_i)`，`P[t, 2i+1] = cos(t w_i)`，`w_i = 10000^(-2i/D)`。"
        "平移 k 相当于把每一对 (sin, cos) 旋转角度 k w_i：对所有 t 是同一个线性映射。因此 `P_t . P_s` 只依赖 t - s。",
    ),
    trap=Text(
        "So the model knows distances? Only before the projections: with w_q and w_k between them, "
        "`P_t W P_s` depends on t and s. And the product is even: it cannot tell left from right.",
        "那么模型就知道距离了吗？那是投影之前的事：中间隔着 w_q、w_k，`P_t W P_s` 依赖 t 和 s 本身。"
        "而且这个内积是偶函数，分不清左右。",
    ),
    check=a_shift_is_a_rotation,
    exercises=("sinusoidal",),
    docs="derivations/positions.md",
)


def untrained_rows_stay():
    rng = np.random.default_rng(2)
    config = layers.EmbeddingsConfig(d_model=6, max_len=8, vocab_size=11)
    embeddings = layers.Embeddings.init(config, rng, np.float64)
    ids = rng.integers(0, 11, size=(3, 5))
    y, cache = embeddings.forward(ids)
    _, grads = embeddings.backward(rng.normal(size=y.shape), cache)
    reached = np.abs(grads["position"]).sum(axis=1) > 0
    assert reached.tolist() == [True] * 5 + [False] * 3  # rows beyond the longest text
    try:
        embeddings.forward(rng.integers(0, 11, size=(1, 9)))
    except InputError:
        return
    raise AssertionError("there is no ninth row")


LEARNED_POSITIONS = Card(
    id="learned-positions",
    topic=TOPIC,
    question=Text(
        "Why does BERT stop at 512 tokens?",
        "BERT 为什么最长只能处理 512 个词元？",
    ),
    answer=Text(
        "Its position table has 512 rows of width D, learned like word embeddings: there is no row "
        "513. A row gets a gradient only from texts that long, so rows beyond the training length "
        "would be noise even if they existed.",
        "它的位置表只有 512 行，每行宽 D，像词嵌入一样学出来：没有第 513 行。只有足够长的文本才会给某一行梯度，"
        "所以即便有更多行，超出训练长度的行也只是噪声。",
    ),
    trap=Text(
        "How is it made longer? Interpolate or tile the table and go on training; or cut the text; "
        "or take relative positions.",
        "怎样加长？对位置表插值或平铺后继续训练；或者截断文本；或者改用相对位置。",
    ),
    check=untrained_rows_stay,
    exercises=("learned-positions-backward",),
    docs="derivations/positions.md",
)


def one_number_a_distance():
    rng = np.random.default_rng(3)
    table = rng.normal(size=(32, 4))  # (buckets, H)
    bias, _ = ops.t5_bias_forward(table, 300, 300)  # (1, H, T, S)
    for distance in (-40, -3, 0, 1, 7, 100):
        assert np.ptp(np.diagonal(bias[0, 0], distance)) == 0
    bucket = ops.relative_bucket(np.array([-3, 3, 50, 51, 128, 299]))
    assert bucket[0] != bucket[1]  # left and right differ
    assert bucket[2] == bucket[3]  # far ones share a bucket
    assert bucket[4] == bucket[5] == 31  # and from 128 on all do
    q = rng.normal(size=(1, 2, 6, 5))
    shaw, _ = ops.shaw_key_forward(q, rng.normal(size=(7, 5)), 6)  # asks the query as well
    assert np.ptp(np.diagonal(shaw[0, 0], 1)) > 0.1


RELATIVE_BIAS = Card(
    id="relative-bias",
    topic=TOPIC,
    question=Text(
        "Shaw, T5, DeBERTa: what does each add to the score of query t and key s?",
        "Shaw、T5、DeBERTa 分别给 query t 和 key s 的分数加了什么？",
    ),
    answer=Text(
        "T5: one learned number for each head and bucket of s - t, near distances alone, far ones "
        "in buckets that widen. Shaw: `q_t . r`, with a learned vector r of the clipped distance "
        "(and one for the value). DeBERTa: content to position and position to content, `q_t . kr` "
        "plus `k_s . qr`, scaled by 1/sqrt(3K).",
        "T5：每个头、每个 s - t 的桶一个可学习的数，近处每个距离一个桶，远处的桶越来越宽。"
        "Shaw：`q_t . r`，r 是截断距离的可学习向量（value 也有一个）。"
        "DeBERTa：内容到位置、位置到内容，`q_t . kr` 加 `k_s . qr`，缩放为 1/sqrt(3K)。",
    ),
    trap=Text(
        "T5 adds one bias in all layers: what is its gradient? The sum of dbias over the layers, "
        "the batch and all pairs that read the bucket.",
        "T5 的偏置在所有层共用，它的梯度是什么？对所有层、整个批次以及所有读到该桶的位置对求和。",
    ),
    check=one_number_a_distance,
    exercises=("relative-bias-backward",),
    docs="derivations/positions.md",
)


def rotation_sees_distance():
    rng = np.random.default_rng(4)
    q, k = rng.normal(size=(2, 1, 2, 6, 8))

    def scores(first):
        places = np.arange(first, first + 6)
        turned_q, _ = ops.rotary_forward(q, places)
        turned_k, _ = ops.rotary_forward(k, places)
        return turned_q @ turned_k.swapaxes(2, 3), turned_q

    here, turned = scores(0)
    there, _ = scores(1000)
    assert np.allclose(here, there)  # t - s alone
    assert not np.allclose(here, q @ k.swapaxes(2, 3))
    assert np.allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(q, axis=-1))
    dy = rng.normal(size=q.shape)
    back = ops.rotary_backward(dy, ops.rotary_forward(q, np.arange(6))[1])
    assert np.allclose(back, ops.rotary_forward(dy, -np.arange(6))[0])  # turned the other way


ROTARY = Card(
    id="rotary",
    topic=TOPIC,
    question=Text(
        "Derive RoPE: why does the product know only the distance? What is its backward?",
        "推导 RoPE：为什么内积只取决于距离？反向是什么？",
    ),
    answer=Text(
        "Turn each pair of features of q at t by t w_i, of k at s by s w_i: `(R_t q) . (R_s k) = "
        "q^T R_t^T R_s k = q^T R_(s-t) k`, since rotations of a plane add their angles. Norms stay. "
        "The transpose of a rotation turns back, so backward is the same with -t.",
        "把位置 t 处 q 的每对特征旋转角度 t w_i，位置 s 处 k 的旋转 s w_i："
        "`(R_t q) . (R_s k) = q^T R_t^T R_s k = q^T R_(s-t) k`，"
        "因为平面旋转的角度可加。范数不变。旋转的转置就是反向旋转，所以反向只需把 t 换成 -t。",
    ),
    trap=Text(
        "Is v turned too? No: only what is compared is turned. And in every layer, because nothing "
        "is added to the states.",
        "v 也要旋转吗？不要：只旋转参与比较的 q 和 k。每一层都要做，因为状态里并没有加入位置。",
    ),
    check=rotation_sees_distance,
    exercises=("rotary", "rotary-backward"),
    docs="derivations/positions.md",
)


def a_penalty_for_distance():
    assert np.allclose(ops.alibi_slopes(8), 0.5 ** np.arange(1, 9))  # 1/2 ... 1/256
    bias = ops.alibi_bias(8, 6, 6)[0]  # (H, T, S)
    assert np.allclose(bias[0, 5], -0.5 * np.array([5, 4, 3, 2, 1, 0]))
    rng = np.random.default_rng(5)
    scores, past = rng.normal(size=(8, 6, 6)), np.tri(6, dtype=bool)[None]
    by_key = ops.alibi_slopes(8)[:, None, None] * np.arange(6)  # m s, as BLOOM adds it
    probs = [ops.masked_softmax_forward(scores + b, past)[0] for b in (bias, by_key)]
    assert np.allclose(*probs)  # a constant along a row is not seen
    longer = ops.alibi_bias(8, 300, 300)[0]
    assert np.array_equal(longer[:, :6, :6], bias)  # nothing to learn, any length


ALIBI = Card(
    id="alibi",
    topic=TOPIC,
    question=Text(
        "What is ALiBi, and why does it go on to longer texts?",
        "ALiBi 是什么？为什么能外推到更长的文本？",
    ),
    answer=Text(
        "A bias -m_h (t - s) on the scores, with fixed slopes `m_h = 2^(-8h/H)`: 1/2 to 1/256 for "
        "8 heads. Nothing is learned and no place has a vector; far keys fade, so that a longer "
        "text looks to each query much like a short one.",
        "在分数上加偏置 -m_h (t - s)，斜率固定为 `m_h = 2^(-8h/H)`：8 个头时为 1/2 到 1/256。"
        "没有可学习的量，也没有位置向量；远处的 key 自然淡出，所以长文本在每个 query 看来与短文本差不多。",
    ),
    trap=Text(
        "Some code adds m_h s instead. Is that wrong? Along a row it differs by a constant, which "
        "the softmax does not see; a loss on the scores would.",
        "有的代码加的是 m_h s，错了吗？它在一行内只差一个常数，softmax 不受影响；但直接作用在分数上的损失会受影响。",
    ),
    check=a_penalty_for_distance,
    exercises=("alibi",),
    docs="derivations/positions.md",
)


def angles_never_seen():
    rates = 10000.0 ** (-np.arange(16) / 16)  # of a rotary head with K = 32
    seen, asked = 31 * rates, 127 * rates  # the largest angles at 32 and at 128 tokens
    new = (seen < 2 * np.pi) & (asked > seen)
    assert new.sum() == 13  # slow planes that training did not turn once around
    assert 31 * rates[0] > 4 * 2 * np.pi  # the fastest has been everywhere
    slope = ops.alibi_slopes(8)[0]
    far = np.exp(-slope * np.arange(32, 1000)).sum()
    assert far / np.exp(-slope * np.arange(1000)).sum() < 1e-6  # what a steep head leaves to them
    squeezed = 127 * rates * 32 / 128  # positions interpolated
    assert np.all(squeezed <= seen * 1.03)


EXTRAPOLATION = Card(
    id="extrapolation",
    topic=TOPIC,
    question=Text(
        "Which position encodings work beyond the training length, and why not all?",
        "哪些位置编码能用于超出训练长度的文本？为什么不是全部？",
    ),
    answer=Text(
        "A learned table has no trained rows there. Sines and RoPE are defined everywhere, but slow "
        "frequencies reach angles that training never saw. Distances with a last bucket (Shaw, "
        "T5) and ALiBi's fading stay within what was seen. RoPE is stretched by interpolating "
        "positions or raising the base, and a little more training.",
        "可学习的表在那里没有训练过的行。正弦和 RoPE 处处有定义，但慢频率会转到训练中没见过的角度。"
        "带“最后一桶”的距离（Shaw、T5）和 ALiBi 的衰减都不超出见过的范围。RoPE 可通过位置插值或增大 base，再稍加训练来延长。",
    ),
    trap=Text(
        "Does a low perplexity on long texts prove that they are used? No: a model that looks at "
        "its last 100 tokens has it too. Ask for something that stands far back.",
        "长文本上困惑度低就说明用到了远处吗？不能：只看最近 100 个词元的模型同样如此。要测需要远处信息的任务。",
    ),
    check=angles_never_seen,
    exercises=("alibi", "rotary"),
    docs="positions.md",
)


def adding_is_a_tied_concatenation():
    rng = np.random.default_rng(7)
    x, p = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    w = rng.normal(size=(8, 6))
    beside = np.concatenate([x, p], axis=1)  # (T, 2 D)
    assert np.allclose((x + p) @ w, beside @ np.concatenate([w, w]))
    assert np.concatenate([w, w]).size == 2 * w.size  # what concatenation would cost
    w_q, w_k = rng.normal(size=(2, 8, 6))
    scores = ((x + p) @ w_q) @ ((x + p) @ w_k).T
    terms = [(a @ w_q) @ (b @ w_k).T for a in (x, p) for b in (x, p)]
    assert np.allclose(scores, sum(terms))  # content and place in all four combinations


ADD_NOT_CONCATENATE = Card(
    id="add-not-concatenate",
    topic=TOPIC,
    question=Text(
        "Why are positions added to the embeddings and not concatenated?",
        "位置编码为什么是相加而不是拼接？",
    ),
    answer=Text(
        "Every layer begins with a linear map, and `[x, p] [W1; W2] = x W1 + p W2`: adding is "
        "concatenation with W1 = W2, at half the parameters. In D dimensions there is room for "
        "both: the model can keep them in nearly orthogonal subspaces.",
        "后面总是线性映射，而 `[x, p] [W1; W2] = x W1 + p W2`：相加就是 W1 = W2 的拼接，参数少一半。"
        "D 维空间足够大，模型可以把内容和位置放在近乎正交的子空间里。",
    ),
    trap=Text(
        "Which terms does the score then have? Four: content-content, content-position, "
        "position-content, position-position. DeBERTa keeps the first three apart.",
        "这时分数里有哪几项？四项：内容–内容、内容–位置、位置–内容、位置–位置。DeBERTa 把前三项分开处理。",
    ),
    check=adding_is_a_tied_concatenation,
    exercises=("sinusoidal", "learned-positions-backward"),
    docs="derivations/positions.md",
)


def tokens_as_large_as_positions():
    rng = np.random.default_rng(8)
    config = layers.TokenEmbeddingsConfig(d_model=256, max_len=64, vocab_size=500, positions="none")
    scaled = layers.TokenEmbeddings.init(config, rng, np.float64)
    table = scaled.params["token"]
    assert abs(table.std() * 16 - 1) < 0.05  # drawn with 1/sqrt(D)
    y, _ = scaled.forward(rng.integers(0, 500, size=(4, 64)))
    assert abs(y.std() - 1) < 0.05
    place = ops.sinusoidal_table(64, 256)
    assert np.isclose((place**2).mean(), 0.5)  # sin^2 + cos^2 = 1 for each pair
    assert (place**2).mean() > 50 * (table**2).mean()  # unscaled, the place would drown the token


EMBEDDING_SCALE = Card(
    id="embedding-scale",
    topic=TOPIC,
    question=Text(
        "Why does the first Transformer multiply embeddings by sqrt(D)? Why does BERT not?",
        "最初的 Transformer 为什么把词嵌入乘以 sqrt(D)？BERT 为什么不乘？",
    ),
    answer=Text(
        "Its table is also the output matrix, drawn with standard deviation 1/sqrt(D); sines and "
        "cosines have mean square 1/2. Unscaled, the position would drown the token; times "
        "sqrt(D) both have the same order. BERT learns its positions from the same small "
        "initial size and puts a layer norm behind the sum.",
        "它的词表同时是输出矩阵，初始标准差为 1/sqrt(D)；而正弦余弦的均方为 1/2。不缩放时位置会淹没词元，"
        "乘以 sqrt(D) 后两者同量级。BERT 的位置也是从同样小的初值学起，并且相加之后有层归一化。",
    ),
    trap=Text(
        "Would a layer norm after the sum alone have mended it? No: it scales token and position "
        "alike; their ratio stays.",
        "只在相加之后做层归一化能补救吗？不能：它同时缩放词元和位置，比例不变。",
    ),
    check=tokens_as_large_as_positions,
    exercises=("sinusoidal", "embedding-backward"),
    docs="derivations/positions.md",
)

CARDS = (
    POSITION_ENCODINGS,
    SINUSOIDAL,
    LEARNED_POSITIONS,
    RELATIVE_BIAS,
    ROTARY,
    ALIBI,
    EXTRAPOLATION,
    ADD_NOT_CONCATENATE,
    EMBEDDING_SCALE,
)

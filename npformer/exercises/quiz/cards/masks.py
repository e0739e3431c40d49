"""Masks, and where queries and keys come from."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text

TOPIC = "masks"


def padding_is_invisible():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 1, 1, 4, 5))
    keep = np.array([1, 1, 1, 0], bool)[None, None, None]
    context, _, _ = ops.attention_forward(q, k, v, keep)
    other_k, other_v = k.copy(), v.copy()
    other_k[..., 3, :], other_v[..., 3, :] = 50.0, -50.0  # whatever stands in the padding
    assert np.array_equal(ops.attention_forward(q, other_k, other_v, keep)[0], context)
    scores = q @ k.swapaxes(2, 3) / np.sqrt(5)
    late = ops.softmax_forward(scores)[0] * keep  # masked after the softmax
    assert np.all(late.sum(axis=-1) < 0.99)
    zeroed = ops.softmax_forward(scores * keep)[0]  # a score of 0 is not "nothing"
    assert zeroed[..., 3].min() > 0.05


PADDING_MASK = Card(
    id="padding-mask",
    topic=TOPIC,
    question=Text(
        "Where does the padding mask act, and with what value?",
        "填充掩码加在哪里？用什么值？",
    ),
    answer=Text(
        "On the scores of padded keys, before the softmax, with a value whose exponential is 0: "
        "-inf or the most negative number that does not overflow. The mask is (B, 1, 1, S), "
        "one for all heads and queries. Multiplying the weights afterwards leaves rows that do not "
        "sum to 1; setting the score to 0 hides nothing, for exp(0) = 1.",
        "加在填充 key 的分数上，在 softmax 之前，取指数为 0 的值：-inf，或绝对值极大但不会溢出的负数。掩码形状 (B, 1, 1, S)，"
        "所有头和 query 共用。softmax 之后再乘掩码，行和就不是 1；把分数置 0 等于没有屏蔽，因为 exp(0) = 1。",
    ),
    trap=Text(
        "Must padded *queries* be masked too? Not in attention, since nobody reads their rows; but "
        "in every loss and every pooling over tokens.",
        "填充的 *query* 也要屏蔽吗？注意力里不必，没有人读它们的行；但在每个损失和每次对词元的池化里都必须屏蔽。",
    ),
    check=padding_is_invisible,
    exercises=("padding-mask",),
    docs="derivations/softmax.md",
)


def a_row_without_keys():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(1, 1, 2, 3))
    keep = np.array([[1, 1, 0], [0, 0, 0]], bool)[None, None]
    with np.errstate(invalid="ignore"):
        x = np.where(keep, scores, -np.inf)
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        assert np.isnan(e[0, 0, 1]).all()  # -inf - -inf
    finite, _ = ops.softmax_forward(np.where(keep, scores, -1e9))
    assert np.allclose(finite[0, 0, 1], 1 / 3)  # uniform, over padding
    probs, cache = ops.masked_softmax_forward(scores, keep)
    assert not probs[0, 0, 1].any()
    dscores = ops.masked_softmax_backward(rng.normal(size=scores.shape), cache)
    assert not dscores[0, 0, 1].any()
    assert np.abs(dscores[0, 0, 0, :2]).min() > 0


FULLY_MASKED_ROW = Card(
    id="fully-masked-row",
    topic=TOPIC,
    question=Text(
        "A query may attend to no key at all. What happens?",
        "某个 query 没有任何可以关注的 key，会发生什么？",
    ),
    answer=Text(
        "With -inf the row is exp(-inf - -inf) = NaN, and backward spreads it to every weight. "
        "With a large finite number all shifted scores are equal, so the weights are uniform over "
        "padding. npformer gives zeros and zero gradients.",
        "用 -inf 时这一行是 exp(-inf - -inf) = NaN，反向时传播到所有参数。用有限但绝对值极大的负数，则各分数相等，"
        "权重在填充位置上均匀分布。npformer 给出全零，梯度也是零。",
    ),
    trap=Text(
        "When does it happen at all? With left padding under a causal mask, with empty sequences "
        "in a batch, with windows of local attention.",
        "什么时候会出现？左填充加因果掩码、批次中的空序列、局部注意力的窗口。",
    ),
    check=a_row_without_keys,
    exercises=("fully-masked-row",),
    docs="derivations/softmax.md",
)


def training_sees_all_prefixes():
    rng = np.random.default_rng(2)
    config = models.CausalLMConfig(
        d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=11, max_len=8,
        initializer_range=0.5,
    )  # fmt: skip
    model = models.CausalLM.init(config, rng, np.float64)
    ids = rng.integers(0, 11, size=(1, 6))
    logits = model.forward(ids)[0]  # (B, T, V)
    for length in range(1, 6):  # one pass predicts after every prefix
        prefix = model.forward(ids[:, :length])[0]
        assert np.allclose(prefix[:, -1], logits[:, length - 1])
    other = ids.copy()
    other[0, 4] = (ids[0, 4] + 1) % 11
    change = np.abs(model.forward(other)[0] - logits).max(axis=-1)[0]
    assert change[:4].max() == 0  # nobody looks ahead
    assert change[4:].min() > 0


CAUSAL_MASK = Card(
    id="causal-mask",
    topic=TOPIC,
    question=Text(
        "What is the causal mask for, and why can training be parallel when generation is not?",
        "因果掩码有什么用？为什么训练可以并行而生成不行？",
    ),
    answer=Text(
        "Query t may see keys s <= t only: `np.tri(T)`. So the state at t depends on the prefix "
        "alone, and one pass over a known text gives the prediction after every prefix (teacher "
        "forcing). In generation token t + 1 must be chosen before it can be read.",
        "query t 只能看 s <= t 的 key：`np.tri(T)`。于是位置 t 的状态只依赖前缀，对已知文本一次前向就得到每个前缀之后的预测"
        "（teacher forcing）。生成时，第 t + 1 个词元必须先选出来才能被读到。",
    ),
    trap=Text(
        "Which target belongs to position t? Token t + 1: inputs and targets are shifted by one. "
        "Forgotten, the model learns to copy.",
        "位置 t 的目标是哪个词元？第 t + 1 个：输入与目标错开一位。忘了错位，模型只会学会照抄输入。",
    ),
    check=training_sees_all_prefixes,
    exercises=("causal-mask",),
    docs="derivations/cross_attention.md",
)


def decoder_reads_encoder():
    rng = np.random.default_rng(3)
    config = layers.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64, cross=True)
    x, memory = rng.normal(size=(2, 4, 12)), rng.normal(size=(2, 7, 12))
    output, cache = layer.forward(x, memory, output_scores=True)
    assert output.y.shape == (2, 4, 12)  # as long as the queries
    assert output.scores.shape == (2, 3, 4, 7)  # (B, H, T, S)
    order = rng.permutation(7)
    assert np.allclose(layer.forward(x, memory[:, order])[0].y, output.y)
    dy = rng.normal(size=output.y.shape)
    (dx, dmemory, _), _ = layer.backward(layers.AttentionOutput(dy, None), cache)
    assert (dx.shape, dmemory.shape) == (x.shape, memory.shape)  # the encoder learns from it
    assert np.abs(dmemory).min(axis=(0, 2)).max() > 0


CROSS_ATTENTION = Card(
    id="cross-attention",
    topic=TOPIC,
    question=Text(
        "Cross-attention: what comes from where, and what are the shapes?",
        "交叉注意力：各部分来自哪里？形状是什么？",
    ),
    answer=Text(
        "Queries from the decoder (T of them), keys and values from the encoder's output (S of "
        "them). Scores are (B, H, T, S), the result has length T. The mask is the source's "
        "padding; nothing is causal. The gradient flows back into the encoder through k and v.",
        "query 来自解码器（T 个），key 和 value 来自编码器的输出（S 个）。分数为 (B, H, T, S)，结果长度为 T。"
        "掩码是源句的填充掩码，没有因果掩码。梯度经 k 和 v 流回编码器。",
    ),
    trap=Text(
        "A well-known mistake takes q and k from the encoder and v from the decoder. When does it "
        "go unnoticed? As long as T = S: test with different lengths.",
        "有个出名的错误：q、k 取自编码器，v 取自解码器。什么时候发现不了？T = S 时。测试要用不同的长度。",
    ),
    check=decoder_reads_encoder,
    exercises=("cross-attention",),
    docs="derivations/cross_attention.md",
)


def one_candidate_against_a_history():
    rng = np.random.default_rng(4)
    candidate = rng.normal(size=(1, 1, 1, 6))  # one query from outside
    history = rng.normal(size=(1, 1, 50, 6))
    interest, scores, _ = ops.attention_forward(candidate, history, history)  # k = v
    assert scores.size == 50  # linear in the history
    assert ops.attention_forward(history, history, history)[1].size == 2500
    low, high = history.min(axis=2), history.max(axis=2)
    assert np.all((low < interest[:, :, 0]) & (interest[:, :, 0] < high))
    other = ops.attention_forward(-candidate, history, history)[0]
    assert not np.allclose(other, interest, atol=0.1)  # each candidate reads it differently


TARGET_ATTENTION = Card(
    id="target-attention",
    topic=TOPIC,
    question=Text(
        "Self-attention and target attention (as in recommendation): what differs? May k = v?",
        "自注意力与目标注意力（推荐系统中）有何不同？可以令 k = v 吗？",
    ),
    answer=Text(
        "In self-attention every element asks: S^2 scores. In target attention only the candidate "
        "asks, the user's history answers: S scores, and each candidate gets its own summary. k = v "
        "is allowed: the output is then an average of the items themselves; separate maps let "
        "what is matched differ from what is passed on.",
        "自注意力中每个元素都提问：S^2 个分数。目标注意力只有候选物品提问，用户历史作答：S 个分数，每个候选得到各自的摘要。"
        "k = v 是允许的，此时输出就是历史物品的平均；分开投影则让“用来匹配的”与“传递出去的”可以不同。",
    ),
    trap=Text(
        "Why do some such models leave the softmax out? Its weights sum to 1, so it forgets how "
        "much of the history matches at all.",
        "为什么有些模型在这里不做 softmax？权重和恒为 1，历史中究竟有多少内容匹配就丢失了。",
    ),
    check=one_candidate_against_a_history,
    exercises=("scaled-dot-product", "cross-attention"),
    docs="derivations/cross_attention.md",
)

CARDS = (PADDING_MASK, FULLY_MASKED_ROW, CAUSAL_MASK, CROSS_ATTENTION, TARGET_ATTENTION)

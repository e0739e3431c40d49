"""What attention costs, and how the cost is cut."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text
from npformer.models import cost

TOPIC = "efficiency"


def where_the_square_takes_over():
    def parts(length):
        config = models.EncoderConfig(
            d_model=64, num_heads=4, num_layers=1, d_ff=256, vocab_size=100, max_len=length
        )
        work = cost.Workload(kind=models.Encoder, config=config, seq_len=length)
        return cost.count_multiply_adds(work)

    at = parts(2 * 64)
    assert at["layers: scores and mix"] == at["layers: projections"]  # T = 2 D
    at = parts(6 * 64)
    others = at["layers: projections"] + at["layers: feed-forward"]
    assert at["layers: scores and mix"] == others  # T = 6 D
    twice = parts(12 * 64)
    assert twice["layers: scores and mix"] == 4 * at["layers: scores and mix"]
    assert twice["layers: feed-forward"] == 2 * at["layers: feed-forward"]


ATTENTION_COST = Card(
    id="attention-cost",
    topic=TOPIC,
    question=Text(
        "Time and memory of a layer in the length T and the width D? From which length on does the "
        "square dominate?",
        "一层的时间和显存如何随长度 T 和宽度 D 增长？从多长开始平方项占主导？",
    ),
    answer=Text(
        "Multiply-adds: projections 4 T D^2, feed-forward 8 T D^2 (F = 4D), scores and mix "
        "2 T^2 D. The square equals the projections at T = 2D and everything else at T = 6D: for "
        "D = 768 at 4,608 tokens. Memory for the weights is H T^2.",
        "乘加次数：投影 4 T D^2，前馈 8 T D^2（F = 4D），分数与加权 2 T^2 D。T = 2D 时平方项等于投影，"
        "T = 6D 时等于其余全部：D = 768 时是 4608 个词元。注意力权重的显存为 H T^2。",
    ),
    trap=Text(
        "So is attention the bottleneck of BERT at 128 tokens? No: there it is about 3 % of the "
        "layer's multiply-adds.",
        "那么 128 个词元时注意力是 BERT 的瓶颈吗？不是，此时它约占一层乘加次数的 3%。",
    ),
    check=where_the_square_takes_over,
    exercises=("scaled-dot-product", "feed-forward-backward"),
    docs="cost.md",
)


def groups_share_keys():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 5, 24))
    made = {}
    for groups in (6, 2, 1):  # MHA, GQA, MQA
        config = layers.AttentionConfig(
            d_model=24, num_heads=6, num_kv_heads=groups, initializer_range=0.5
        )
        made[groups] = layers.MultiHeadAttention.init(config, rng, np.float64)
    assert [made[g].params["w_k"].size for g in (6, 2, 1)] == [24 * 24, 24 * 8, 24 * 4]
    grouped = made[2]
    copied = dict(grouped.params)
    for name in ("w_k", "b_k", "w_v", "b_v"):  # every head its own copy of the shared one
        heads = grouped.params[name].reshape(-1, 2, 4)
        copied[name] = np.repeat(heads, 3, axis=1).reshape(*grouped.params[name].shape[:-1], 24)
    full = layers.MultiHeadAttention(made[6].config, copied)
    assert np.allclose(full.forward(x)[0].y, grouped.forward(x)[0].y)


MQA_GQA = Card(
    id="mqa-and-gqa",
    topic=TOPIC,
    question=Text(
        "MHA, MQA, GQA: what is shared, and what is saved?",
        "MHA、MQA、GQA：共享了什么？省了什么？",
    ),
    answer=Text(
        "H heads of queries always; keys and values have H heads (MHA), one (MQA) or G (GQA), each "
        "read by H/G heads of queries. Saved are the KV cache and its memory traffic, by H/G, and "
        "parameters of w_k and w_v. GQA is MHA with equal weights within groups.",
        "query 始终有 H 个头；key 和 value 有 H 个头（MHA）、1 个（MQA）或 G 个（GQA），每个由 H/G 个 query 头共用。"
        "省下的是 KV 缓存及其访存（H/G 倍），以及 w_k、w_v 的参数。GQA 就是组内权重相等的 MHA。",
    ),
    trap=Text(
        "Does GQA save multiply-adds of the scores? No: there are still H heads of (T, S) scores. "
        "Generation is faster because it waits for memory, not for arithmetic.",
        "GQA 能减少计算分数的乘加次数吗？不能，分数仍有 H 个头。生成变快，是因为瓶颈在访存而不在计算。",
    ),
    check=groups_share_keys,
    exercises=("split-heads", "kv-cache-step"),
    docs="performance.md",
)


def cached_steps_give_the_same():
    rng = np.random.default_rng(2)
    config = models.CausalLMConfig(
        d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=11, max_len=8,
        initializer_range=0.5,
    )  # fmt: skip
    model = models.CausalLM.init(config, rng, np.float64)
    ids = rng.integers(0, 11, size=(2, 7))
    whole = model.forward(ids)[0]  # (B, T, V)
    state = models.start_decoding(model, ids)
    for t in range(7):  # each step gets one token, not the text
        logits, state = models.decode_step(model, ids[:, t : t + 1], state)
        assert np.allclose(logits, whole[:, t])
    held = [a for layer in state.layers for a in layer if isinstance(a, np.ndarray)]
    assert sum(a.size for a in held) == 2 * 2 * 2 * 7 * 12  # 2 B L T D


KV_CACHE = Card(
    id="kv-cache",
    topic=TOPIC,
    question=Text(
        "What does a KV cache keep, why is that enough, and how large is it?",
        "KV 缓存保存什么？为什么足够？有多大？",
    ),
    answer=Text(
        "Keys and values of all earlier tokens in each layer. Under a causal mask they never change "
        "when tokens are added, and of the queries only the newest is needed. Size: 2 B L T D "
        "numbers (with G heads of keys: 2 B L T G K). A step costs T instead of T^2.",
        "每层保存之前所有词元的 key 和 value。在因果掩码下，新增词元不会改变它们，而 query 只需要最新的一个。"
        "大小：2 B L T D 个数（key 有 G 个头时为 2 B L T G K）。每步代价从 T^2 降为 T。",
    ),
    trap=Text(
        "Why does BERT have none? Without a causal mask every new token changes all states, and so "
        "all keys of the layers above.",
        "BERT 为什么不能用？没有因果掩码，每来一个新词元，所有状态都会变，上面各层的 key 也就全变了。",
    ),
    check=cached_steps_give_the_same,
    exercises=("kv-cache-step",),
    docs="performance.md",
)


def softmax_in_one_sweep():
    rng = np.random.default_rng(3)
    scores, values = rng.normal(size=30) * 40, rng.normal(size=(30, 4))
    top, total, mixed = -np.inf, 0.0, np.zeros(4)
    for a, v in zip(scores, values, strict=True):
        higher = max(top, a)
        shrink = np.exp(top - higher)  # what was summed before a new maximum
        total = total * shrink + np.exp(a - higher)
        mixed = mixed * shrink + np.exp(a - higher) * v
        top = higher
    expected = ops.softmax_forward(scores)[0] @ values
    assert np.allclose(mixed / total, expected)

    q, k, v = rng.normal(size=(3, 1, 2, 33, 5))
    context, cache = ops.blockwise_attention_forward(q, k, v, block=8)
    plain, _, plain_cache = ops.attention_forward(q, k, v)
    assert np.allclose(context, plain)  # exact, not an approximation
    dcontext = rng.normal(size=plain.shape)
    grads = ops.blockwise_attention_backward(dcontext, cache)[:3]
    expected = ops.attention_backward(dcontext, None, plain_cache)[:3]
    for ours, theirs in zip(grads, expected, strict=True):
        assert np.allclose(ours, theirs)
    kept = [a for a in cache if isinstance(a, np.ndarray)]
    assert all(a.shape[-2:] != (33, 33) for a in kept)  # nothing of shape (T, S)


ONLINE_SOFTMAX = Card(
    id="flash-attention",
    topic=TOPIC,
    question=Text(
        "How does FlashAttention avoid the (T, S) array, and is it exact?",
        "FlashAttention 如何避免 (T, S) 的数组？结果精确吗？",
    ),
    answer=Text(
        "Keys come in blocks; each query carries a running maximum m, a running sum and a running "
        "mix. When a block raises the maximum, what was summed so far is multiplied by "
        "exp(m - m'). Exact to rounding. Backward computes the blocks again from the row's "
        "log-sum-exp. Memory is linear, and far less traffic to slow memory.",
        "key 分块处理；每个 query 维护当前最大值 m、当前和与当前加权和。新块抬高最大值时，已有的和乘以 exp(m - m')。"
        "除舍入外完全精确。反向时凭每行的 log-sum-exp 重新计算各块。显存线性增长，对慢速内存的读写大大减少。",
    ),
    trap=Text(
        "Does it do fewer multiply-adds? No, more: backward computes the scores once more. It is "
        "faster because it moves less memory.",
        "它的乘加次数更少吗？不，更多：反向要再算一遍分数。快在访存少。",
    ),
    check=softmax_in_one_sweep,
    exercises=("online-softmax",),
    docs="derivations/blockwise_attention.md",
)

CARDS = (ATTENTION_COST, MQA_GQA, KV_CACHE, ONLINE_SOFTMAX)

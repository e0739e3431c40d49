"""Making models smaller in other ways, and what smaller means."""

import numpy as np

from npformer import models, ops, optim
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text
from npformer.models import cost

TOPIC = "compression"


def three_ratios():
    small, large = (
        cost.Workload(kind=models.Encoder, config=models.preset(name), pooler=True)
        for name in ("tinybert-4", "bert-base")
    )
    sizes = [sum(cost.count_parameters(w).values()) for w in (small, large)]
    assert sizes == [14350248, 109482240]
    fit = cost.projection_parameters(small.config, large.config)
    assert round(sizes[1] / (sizes[0] + fit), 1) == 7.5  # with the map that only training needs
    assert round(sizes[1] / sizes[0], 1) == 7.6
    assert round(cost.layer_flops(large) / cost.layer_flops(small), 1) == 17.9
    assert cost.published_speed_up(small.config, large.config) == 9.4
    table = cost.count_parameters(small)["embeddings: token"]
    assert 0.6 < table / sizes[0] < 0.7  # two thirds of it are looked up, not multiplied


THREE_SIZES = Card(
    id="parameters-flops-latency",
    topic=TOPIC,
    question=Text(
        "TinyBERT-4 is 7.5 times smaller, does 18 times fewer operations and runs 9.4 times faster. "
        "Why three numbers?",
        "TinyBERT-4 的参数量是 BERT-base 的 1/7.5，计算量是 1/18，速度是 9.4 倍。为什么是三个不同的数？",
    ),
    answer=Text(
        "Parameters are stored: most of a small model is its token table, which shrinks with D only. "
        "Operations are computed: the table has none, layers shrink with D^2. Time: small matrix "
        "products use a processor less well, and softmax, norms and calls do not shrink as much.",
        "参数是存储量：小模型的参数大部分在词嵌入表里，只随 D 缩小。运算是计算量：查表没有运算，各层随 D^2 缩小。"
        "时间：小矩阵乘法对处理器的利用率低，softmax、归一化和调用开销缩小得没那么多。",
    ),
    trap=Text(
        "Where does 7.5 come from? From counting the training-only projection; without it 7.6. And "
        "the 9.4 is of one K80 GPU: on your machine, measure.",
        "7.5 是怎么来的？把只用于训练的投影也算进去；不算则是 7.6。而 9.4 是在一块 K80 上测的：换机器要自己测。",
    ),
    check=three_ratios,
    exercises=("tinybert-step",),
    docs="cost.md",
)


def rounding_to_eight_bits():
    rng = np.random.default_rng(1)

    def symmetric(x, axis=None):
        scale = np.abs(x).max(axis=axis, keepdims=True) / 127
        return np.round(x / scale) * scale, scale

    def asymmetric(x):
        scale = (x.max() - x.min()) / 255
        return np.round((x - x.min()) / scale) * scale + x.min()

    w = rng.normal(size=(32, 16)) * 10.0 ** rng.uniform(-2, 0, size=16)  # columns of unlike size
    whole, scale = symmetric(w)
    by_column, _ = symmetric(w, axis=0)
    assert np.abs(whole - w).max() <= scale.max() / 2 + 1e-15  # half a step
    assert np.abs(by_column - w).mean() < np.abs(whole - w).mean() / 2
    a, _ = ops.relu_forward(rng.normal(size=1000))  # never negative: half the range is unused
    assert np.abs(asymmetric(a) - a).mean() < 0.7 * np.abs(symmetric(a)[0] - a).mean()


QUANTIZATION = Card(
    id="quantization",
    topic=TOPIC,
    question=Text(
        "Quantization: PTQ or QAT, symmetric or asymmetric, per tensor or per channel?",
        "量化：PTQ 与 QAT、对称与非对称、按张量与按通道，如何选择？",
    ),
    answer=Text(
        "PTQ calibrates a trained model; QAT trains with rounding in the forward, better below 8 bits. "
        "Symmetric (zero at 0) for weights; asymmetric for one-sided activations, where it has "
        "twice as many levels. A scale per channel keeps small channels from vanishing under the "
        "largest one.",
        "PTQ 对训练好的模型做校准；QAT 在训练的前向里加入舍入，低于 8 位时更好。权重用对称量化（零点为 0）；"
        "单侧的激活用非对称，级数多一倍。按通道取缩放因子，小的通道才不会被最大的通道淹没。",
    ),
    trap=Text(
        "Which activations of a Transformer are hard? Outliers in a few features, and softmax "
        "outputs near 0: clip, or keep these parts in higher precision.",
        "Transformer 里哪些激活难量化？少数特征上的离群值，以及接近 0 的 softmax 输出：裁剪，或让这些部分保留高精度。",
    ),
    check=rounding_to_eight_bits,
    docs="cost.md",
)


def through_the_steps():
    rng = np.random.default_rng(2)
    x, truth = rng.normal(size=(200, 6)), rng.normal(size=(6, 1))
    target, step = x @ truth, 0.25

    def rounded(w):
        return step * np.round(w / step)

    w = np.full((6, 1), 0.1)
    h = 1e-4
    slope = [rounded(w + h * row) - rounded(w - h * row) for row in np.eye(6)[:, :, None]]
    assert not np.any(slope)  # the true derivative is 0 almost everywhere
    losses = []
    for _ in range(100):
        y, cache = ops.linear_forward(x, rounded(w))
        loss, error = ops.mse_forward(y, target)
        _, dw, _ = ops.linear_backward(ops.mse_backward(1.0, error), cache)
        w = w - 0.05 * dw  # as if rounding were the identity
        losses.append(loss)
    assert losses[-1] < losses[0] / 20
    assert np.abs(rounded(w) - truth).max() < step


STRAIGHT_THROUGH = Card(
    id="straight-through",
    topic=TOPIC,
    question=Text(
        "Rounding has derivative 0. How does quantization-aware training learn anything?",
        "取整的导数是 0，量化感知训练是怎么学的？",
    ),
    answer=Text(
        "Straight-through estimator: forward uses the rounded weight, backward passes the gradient as "
        "if rounding were the identity, to a full-precision copy that collects small updates until "
        "it crosses a step. Outside the clipping range the gradient is 0.",
        "直通估计（STE）：前向用取整后的权重，反向把取整当作恒等，把梯度传给一份全精度的副本，小更新在那里累积，直到跨过一个量化级。"
        "超出截断范围处梯度为 0。",
    ),
    trap=Text(
        "Would a gradient check pass? No, and it must not: STE is not the derivative. What can be "
        "checked is the backward of the rest.",
        "梯度检查能通过吗？不能，也不应该：STE 不是导数。能检查的是其余部分的反向。",
    ),
    check=through_the_steps,
    exercises=("gradient-checker",),
    docs="contract.md",
)


def zeros_are_multiplied_too():
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(5, 40)), rng.normal(size=(40, 30))
    sparse = np.where(np.abs(w) < np.quantile(np.abs(w), 0.9), 0, w)  # unstructured
    assert np.isclose((sparse == 0).mean(), 0.9)
    assert sparse.nbytes == w.nbytes  # a dense product still reads and multiplies every zero
    assert (x @ sparse).shape == (x @ w).shape
    strength = np.linalg.norm(w, axis=0)
    kept = np.sort(np.argsort(strength)[-3:])  # structured: whole columns
    narrow = w[:, kept]
    assert narrow.nbytes == w.nbytes // 10  # a smaller dense matrix, faster anywhere
    error = [np.linalg.norm(w - v) for v in (sparse, np.where(np.isin(np.arange(30), kept), w, 0))]
    assert error[0] < 0.85 * error[1]  # but for the same number of weights it loses more


PRUNING = Card(
    id="pruning",
    topic=TOPIC,
    question=Text(
        "Structured or unstructured pruning? Why may 90 % zeros not be faster?",
        "结构化与非结构化剪枝有何不同？为什么 90% 的零未必更快？",
    ),
    answer=Text(
        "Unstructured removes single weights: least loss for a given count, but dense products "
        "multiply the zeros as well, and sparse formats pay for their indices. Structured removes "
        "heads, neurons or layers: what is left is a smaller dense model, faster everywhere, at a "
        "greater loss.",
        "非结构化剪掉单个权重：同样数量下损失最小，但稠密乘法照样乘零，稀疏格式要为索引付出代价。"
        "结构化剪掉整个头、神经元或层：剩下的是更小的稠密模型，在任何硬件上都快，但损失更大。",
    ),
    trap=Text(
        "Magnitude or movement? For a pretrained model that is fine-tuned, a large weight need not "
        "matter to the task: score by weight times gradient.",
        "按幅值（magnitude）还是按变动（movement）剪？对预训练后微调的模型，权重大不等于对任务重要：应按权重乘梯度打分。",
    ),
    check=zeros_are_multiplied_too,
    docs="cost.md",
)


def two_thin_matrices():
    rng = np.random.default_rng(4)
    w = rng.normal(size=(60, 40)) @ np.diag(0.8 ** np.arange(40))
    u, s, v = np.linalg.svd(w, full_matrices=False)
    rank = 8
    a, b = u[:, :rank] * s[:rank], v[:rank]
    assert np.isclose(np.linalg.norm(w - a @ b), np.sqrt((s[rank:] ** 2).sum()))
    other = rng.normal(size=(60, rank))  # no other pair of that rank is nearer
    best = np.linalg.lstsq(other, w, rcond=None)[0]
    assert np.linalg.norm(w - other @ best) > np.linalg.norm(w - a @ b)
    assert a.size + b.size == rank * (60 + 40) < w.size
    assert w.size == 24 * (60 + 40)  # from mn / (m + n) on nothing is saved
    tables = [
        cost.count_parameters(
            cost.Workload(
                kind=models.Encoder,
                config=models.EncoderConfig(
                    d_model=768, num_heads=12, num_layers=12, d_ff=3072, vocab_size=30000,
                    max_len=512, embedding_size=e,
                ),
            )
        )
        for e in (None, 128)
    ]  # fmt: skip
    assert tables[0]["embeddings: token"] == 30000 * 768
    assert tables[1]["embeddings: token"] == 30000 * 128
    assert tables[1]["embeddings: projection"] == 128 * 768 + 768


LOW_RANK = Card(
    id="low-rank",
    topic=TOPIC,
    question=Text(
        "Low rank, factorised embeddings, weight sharing: what do they save?",
        "低秩分解、嵌入分解、权重共享各省什么？",
    ),
    answer=Text(
        "W (m, n) as A B of rank r: r (m + n) numbers, fewer if r < mn / (m + n); the truncated SVD is "
        "the nearest. ALBERT's V D table becomes V E + E D. Sharing layers divides their "
        "parameters by L. The first saves operations as well, the table's and sharing do not.",
        "把 W (m, n) 写成秩 r 的 A B：r (m + n) 个数，r < mn / (m + n) 时才省；截断 SVD 是最接近的。"
        "ALBERT 把 V D 的表变成 V E + E D。层间共享使参数除以 L。第一种也省运算，嵌入分解和共享不省。",
    ),
    trap=Text(
        "Is a weight matrix of BERT low-rank? Rarely: its spectrum is flat. Updates in fine-tuning "
        "are nearly low-rank, which LoRA uses.",
        "BERT 的权重矩阵是低秩的吗？多半不是，奇异值谱比较平。但微调的更新量近似低秩，LoRA 利用的就是这一点。",
    ),
    check=two_thin_matrices,
    exercises=("linear-backward",),
    docs="cost.md",
)


def small_updates_are_lost():
    rng = np.random.default_rng(5)
    w, g = rng.normal(size=(20, 10)), rng.normal(size=(20, 10))
    step = np.abs(w).max() / 127
    grid = step * np.round(w / step)

    def after_training(start):
        p = {"w": start.copy()}
        optimizer = optim.AdamW(weight_decay=0.0)
        optimizer.update(p, {"w": g}, optimizer.init(p), 1e-4)
        return p["w"]

    assert step / 2 > 1e-4
    assert not np.array_equal(after_training(w), w)
    assert np.array_equal(step * np.round(after_training(grid) / step), grid)  # rounded away
    limit = np.quantile(np.abs(w), 0.5)
    pruned_first = step * np.round(np.where(np.abs(w) < limit, 0, w) / step)
    assert (pruned_first == 0).mean() >= 0.5  # zero is a level: pruning survives quantization
    a = rng.normal(size=(10, 3))
    low = grid @ a @ np.linalg.pinv(a)  # low rank after quantization leaves the levels
    assert np.abs(low / step - np.round(low / step)).max() > 0.1


ORDER = Card(
    id="order-of-compression",
    topic=TOPIC,
    question=Text(
        "You may distil, prune and quantize. In which order?",
        "蒸馏、剪枝、量化都可以用，按什么顺序？",
    ),
    answer=Text(
        "Distil, prune, quantize. First the architecture, then which weights, then their bits. What "
        "needs gradients comes early: on a grid of 8 bits an update below half a step is rounded "
        "away. Zero is a level, so that pruning survives quantization; and the teacher can go on "
        "teaching through all steps.",
        "先蒸馏，再剪枝，最后量化：先定结构，再定留哪些权重，最后定比特数。需要梯度的放前面：在 8 位的格点上，不足半级的更新会被舍掉。"
        "0 本身就是一级，所以剪枝的结果量化后不变；教师可以在每一步继续指导。",
    ),
    trap=Text(
        "Do the gains multiply? In size roughly; in accuracy the losses add up, and a small model "
        "has less redundancy left to prune.",
        "收益能相乘吗？体积大致可以；精度损失会累加，而且模型越小，可剪的冗余越少。",
    ),
    check=small_updates_are_lost,
    exercises=("tinybert-step",),
    docs="cost.md",
)

CARDS = (THREE_SIZES, QUANTIZATION, STRAIGHT_THROUGH, PRUNING, LOW_RANK, ORDER)

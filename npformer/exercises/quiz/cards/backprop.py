"""Backward by hand: derivations, and how they are checked."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text
from npformer.gradcheck import GradientError, check_pair, numeric_gradient

TOPIC = "backprop"


def jacobian_without_a_matrix():
    rng = np.random.default_rng(0)
    x, dprobs = rng.normal(size=(2, 5))
    probs, cache = ops.softmax_forward(x)
    jacobian = np.diag(probs) - np.outer(probs, probs)
    columns = [numeric_gradient(lambda z, i=i: ops.softmax_forward(z)[0][i], x) for i in range(5)]
    assert np.allclose(jacobian, columns, atol=1e-8)
    assert np.allclose(jacobian.sum(axis=0), 0)  # a shift of all logits changes nothing
    assert np.linalg.matrix_rank(jacobian) == 4
    assert np.allclose(ops.softmax_backward(dprobs, cache), jacobian @ dprobs)
    assert np.abs(dprobs * probs * (1 - probs) - jacobian @ dprobs).max() > 0.01  # the diagonal


SOFTMAX_JACOBIAN = Card(
    id="softmax-jacobian",
    topic=TOPIC,
    question=Text(
        "The Jacobian of softmax, and its product with a vector without building it?",
        "softmax 的雅可比矩阵是什么？如何不显式构造就求它与向量的乘积？",
    ),
    answer=Text(
        "`J = diag(p) - p p^T`, symmetric. So `dx = p * (dp - sum(dp * p))`: subtract the mean of dp "
        "under p, multiply by p. O(C) instead of O(C^2).",
        "`J = diag(p) - p p^T`，对称。于是 `dx = p * (dp - sum(dp * p))`：先减去 dp 在 p 下的平均值，再乘 p。"
        "代价 O(C) 而不是 O(C^2)。",
    ),
    trap=Text(
        "What do the rows of J sum to, and why? To 0: adding a constant to all logits changes "
        "nothing, so J is singular and the logits' gradient always sums to 0.",
        "J 的各行之和是多少，为什么？是 0：所有 logits 同加一个常数，结果不变，所以 J 奇异，logits 的梯度之和总为 0。",
    ),
    check=jacobian_without_a_matrix,
    exercises=("softmax-backward",),
    docs="derivations/softmax.md",
)


def the_log_of_a_rounded_zero():
    x = np.array([[0.0, -800.0, 3.0]])
    probs, _ = ops.softmax_forward(x)
    assert probs[0, 1] == 0  # rounded off: its logarithm is -inf
    log_probs, cache = ops.log_softmax_forward(x)
    assert np.isclose(log_probs[0, 1], -803.0485873)
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(np.exp(x + 800) / np.exp(x + 800).sum()).any()  # without the shift
    dlog = np.random.default_rng(1).normal(size=x.shape)
    dx = ops.log_softmax_backward(dlog, cache)
    assert np.allclose(dx, dlog - np.exp(log_probs) * dlog.sum())
    assert abs(dx.sum()) < 1e-12


LOG_SOFTMAX = Card(
    id="log-softmax",
    topic=TOPIC,
    question=Text(
        "Why log_softmax instead of log(softmax(x)), and what is its gradient?",
        "为什么用 log_softmax 而不是 log(softmax(x))？它的梯度是什么？",
    ),
    answer=Text(
        "A small probability rounds to 0 and its logarithm is -inf. `x - max - log(sum(exp(x - "
        "max)))` never takes the logarithm of less than 1. Backward: `dx = dl - p sum(dl)`.",
        "小概率会舍入为 0，取对数得 -inf。`x - max - log(sum(exp(x - max)))` 里取对数的数不小于 1。"
        "反向：`dx = dl - p sum(dl)`。",
    ),
    trap=Text(
        "Does subtracting the maximum need a gradient of its own? No: any constant cancels, so its "
        "path contributes exactly 0.",
        "减去最大值这一步需要单独求梯度吗？不需要：任何常数都会约掉，这条路径的贡献恰为 0。",
    ),
    check=the_log_of_a_rounded_zero,
    exercises=("log-softmax-backward", "softmax"),
    docs="derivations/softmax.md",
)


def prediction_minus_truth():
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(5, 4)), np.array([1, 3, -100, 0, 1])
    _, cache = ops.cross_entropy_forward(logits, labels)
    dlogits = ops.cross_entropy_backward(1.0, cache)
    kept = labels != -100
    expected = ops.softmax_forward(logits)[0][kept] - np.eye(4)[labels[kept]]
    assert np.allclose(dlogits[kept], expected / 4)  # four labels count, of five
    assert not dlogits[~kept].any()
    numeric = numeric_gradient(lambda z: ops.cross_entropy_forward(z, labels)[0], logits)
    assert np.allclose(dlogits, numeric, atol=1e-8)


CROSS_ENTROPY = Card(
    id="cross-entropy-gradient",
    topic=TOPIC,
    question=Text(
        "The gradient of softmax with cross-entropy? Derive it.",
        "softmax 加交叉熵的梯度是什么？请推导。",
    ),
    answer=Text(
        "`L = -x_y + log(sum(exp(x)))`, so `dx = p - onehot(y)`, divided by the number of rows for a "
        "mean. Bounded and never saturated: a confident mistake has a gradient near 1.",
        "`L = -x_y + log(sum(exp(x)))`，所以 `dx = p - onehot(y)`，取平均时再除以行数。它有界且不饱和："
        "自信地答错时梯度接近 1。",
    ),
    trap=Text(
        "Some labels are ignored (-100): by what do you divide? By the number of labels that count, "
        "not by the batch's size.",
        "有些标签被忽略（-100）时除以几？除以真正计入的标签数，而不是批次大小。",
    ),
    check=prediction_minus_truth,
    exercises=("cross-entropy",),
    docs="derivations/softmax.md",
)


def smoothing_mixes_targets():
    rng = np.random.default_rng(3)
    logits, labels, alpha = rng.normal(size=(6, 4)), rng.integers(0, 4, size=6), 0.1
    smooth, cache = ops.cross_entropy_forward(logits, labels, label_smoothing=alpha)
    target = (1 - alpha) * np.eye(4)[labels] + alpha / 4
    log_probs = ops.log_softmax_forward(logits)[0]
    assert np.isclose(smooth, -(target * log_probs).sum() / 6)
    dlogits = ops.cross_entropy_backward(1.0, cache)
    assert np.allclose(dlogits, (np.exp(log_probs) - target) / 6)
    best, best_cache = ops.cross_entropy_forward(np.log(target), labels, label_smoothing=alpha)
    assert np.abs(ops.cross_entropy_backward(1.0, best_cache)).max() < 1e-12
    assert np.isclose(best, -(target[0] * np.log(target[0])).sum())  # not 0: the target's entropy


LABEL_SMOOTHING = Card(
    id="label-smoothing",
    topic=TOPIC,
    question=Text(
        "What does label smoothing change in loss and gradient?",
        "标签平滑对损失和梯度有什么改变？",
    ),
    answer=Text(
        "The target is `(1 - a) onehot + a/C`; the gradient is p minus that. It vanishes at a finite "
        "gap between logits, so confidence is bounded; the least loss is the entropy of the "
        "target, not 0.",
        "目标变成 `(1 - a) onehot + a/C`，梯度是 p 减去它。logits 之差有限时梯度就为 0，因此置信度有上限；"
        "损失的最小值是目标的熵，而不是 0。",
    ),
    trap=Text(
        "Is it distillation with a uniform teacher? In form yes; but it says the same of every "
        "wrong class, where a teacher says which is nearly right.",
        "它等于用均匀分布的教师做蒸馏吗？形式上是；但它对所有错误类别一视同仁，而教师会指出哪个“差一点就对”。",
    ),
    check=smoothing_mixes_targets,
    exercises=("label-smoothing", "soft-targets"),
    docs="derivations/softmax.md",
)


def attention_backward_in_five_lines():
    rng = np.random.default_rng(4)
    q, k, v = (rng.normal(size=(2, 3, n, 5)) for n in (4, 6, 6))
    context, _, cache = ops.attention_forward(q, k, v)
    dcontext = rng.normal(size=context.shape)
    probs, c = cache.softmax.probs, 1 / np.sqrt(5)
    dv = probs.swapaxes(2, 3) @ dcontext
    dprobs = dcontext @ v.swapaxes(2, 3)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = c * dscores @ k
    dk = c * dscores.swapaxes(2, 3) @ q
    expected = ops.attention_backward(dcontext, None, cache)[:3]
    for ours, theirs in zip((dq, dk, dv), expected, strict=True):
        assert np.allclose(ours, theirs)
    numeric = numeric_gradient(lambda z: ops.attention_forward(q, z, v)[0], k, dcontext)
    assert np.allclose(dk, numeric, atol=1e-7)


ATTENTION_BACKWARD = Card(
    id="attention-backward",
    topic=TOPIC,
    question=Text(
        "Write down dq, dk and dv of scaled dot-product attention.",
        "写出缩放点积注意力的 dq、dk、dv。",
    ),
    answer=Text(
        "`dv = A^T dctx`; `dA = dctx v^T`; `dS = A * (dA - rowsum(dA * A))`; `dq = dS k / sqrt(K)`; "
        "`dk = dS^T q / sqrt(K)`. The scale appears in both, for it stood before both.",
        "`dv = A^T dctx`；`dA = dctx v^T`；`dS = A * (dA - rowsum(dA * A))`；`dq = dS k / sqrt(K)`；"
        "`dk = dS^T q / sqrt(K)`。两处都有缩放，因为前向里缩放乘在 q 与 k 的内积上。",
    ),
    trap=Text(
        "A loss on the scores themselves, as TinyBERT's: where does it enter? It is added to dS, "
        "after the softmax has been undone, before dq and dk.",
        "如果损失直接作用在分数上（如 TinyBERT），在哪里加入？在 softmax 反向之后、求 dq 和 dk 之前，加到 dS 上。",
    ),
    check=attention_backward_in_five_lines,
    exercises=("attention-backward", "scores-gradient"),
    docs="derivations/attention.md",
)


def key_bias_gets_nothing():
    rng = np.random.default_rng(5)
    config = layers.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(2, 5, 12))
    output, cache = layer.forward(x, output_scores=True)
    dy, dscores = rng.normal(size=output.y.shape), rng.normal(size=output.scores.shape)
    _, grads = layer.backward(layers.AttentionOutput(dy, None), cache)
    largest = max(np.abs(g).max() for g in grads.values())
    assert np.abs(grads["b_k"]).max() < 1e-12 * largest
    assert np.abs(grads["b_q"]).max() > 1e-3 * largest  # the query's is not zero
    _, grads = layer.backward(layers.AttentionOutput(dy, dscores), cache)
    assert np.abs(grads["b_k"]).max() > 1e-3 * largest  # until a loss sees the scores


KEY_BIAS = Card(
    id="key-bias",
    topic=TOPIC,
    question=Text(
        "Why is the gradient of the key bias zero, and when is it not?",
        "key 的偏置梯度为什么是零？什么时候不是零？",
    ),
    answer=Text(
        "b_k adds `q_t . b_k` to all scores of row t alike, and the softmax does not see a shift: each "
        "row of dS sums to 0. A loss on the scores themselves (TinyBERT's) does "
        "see it.",
        "b_k 给第 t 行的所有分数都加上 `q_t . b_k`，softmax 对整行平移不变：dS 每行之和为 0。直接作用在分数上的损失（如 TinyBERT）则会受它影响。",
    ),
    trap=Text(
        "Is b_q useless too? No: it adds `b_q . k_s`, another number for each key. And a gradient "
        "checker with a relative error divides 0 by 0 at b_k: it must be declared zero.",
        "b_q 也没用吗？不是：它加的是 `b_q . k_s`，每个 key 不同。另外，用相对误差的梯度检查在 b_k 处是 0/0，要事先声明它为零。",
    ),
    check=key_bias_gets_nothing,
    exercises=("multi-head-backward", "scores-gradient"),
    docs="derivations/attention.md",
)


def two_directions_are_taken_out():
    rng = np.random.default_rng(6)
    x, dy = rng.normal(size=(2, 4, 7))
    gamma, beta = rng.normal(size=7), rng.normal(size=7)
    _, cache = ops.layernorm_forward(x, gamma, beta)
    dx, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    xhat = (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)
    dxhat = dy * gamma
    along = (dxhat * xhat).mean(axis=-1, keepdims=True)
    formula = dxhat - dxhat.mean(axis=-1, keepdims=True) - xhat * along
    assert np.allclose(dx, formula / x.std(axis=-1, keepdims=True))
    assert np.abs(dx.sum(axis=-1)).max() < 1e-10  # orthogonal to a shift of x
    assert np.abs((dx * xhat).sum(axis=-1)).max() < 1e-10  # and to a scaling of x
    assert np.allclose(dgamma, (dy * xhat).sum(axis=0))
    assert np.allclose(dbeta, dy.sum(axis=0))


LAYER_NORM_BACKWARD = Card(
    id="layer-norm-backward",
    topic=TOPIC,
    question=Text(
        "The backward of layer norm: which three terms, and why?",
        "层归一化的反向：有哪三项？为什么？",
    ),
    answer=Text(
        "With dxhat = gamma dy: `dx = (dxhat - mean(dxhat) - xhat mean(dxhat * xhat)) / std`. "
        "Directly, through the mean, through the variance. The two means take out the directions "
        "that the norm does not see: shifting and scaling x. dgamma and dbeta are sums over all "
        "tokens.",
        "令 dxhat = gamma dy：`dx = (dxhat - mean(dxhat) - xhat mean(dxhat * xhat)) / std`。"
        "三条路径：直接、经均值、经方差。减去的两项去掉了不影响归一化结果的两个方向：x 的平移和缩放。"
        "dgamma、dbeta 要对所有词元求和。",
    ),
    trap=Text(
        "What is forgotten most often? gamma in dxhat. A test at gamma = 1, its initial value, does "
        "not notice.",
        "最常漏掉什么？dxhat 里的 gamma。在初始值 gamma = 1 处测试发现不了。",
    ),
    check=two_directions_are_taken_out,
    exercises=("layer-norm-backward",),
    docs="derivations/layernorm.md",
)


def transpose_moves_across():
    rng = np.random.default_rng(7)
    x, w, b = rng.normal(size=(3, 4, 5)), rng.normal(size=(5, 6)), rng.normal(size=6)
    y, cache = ops.linear_forward(x, w, b)
    dy = rng.normal(size=y.shape)
    dx, dw, db = ops.linear_backward(dy, cache)
    step = rng.normal(size=x.shape)  # <dy, step w> = <dy w^T, step>
    assert np.isclose(np.vdot(dy, step @ w), np.vdot(dx, step))
    assert np.allclose(dx, dy @ w.T)
    assert np.allclose(dw, x.reshape(-1, 5).T @ dy.reshape(-1, 6))  # all tokens in one product
    assert np.allclose(db, dy.sum(axis=(0, 1)))


LINEAR_TRANSPOSE = Card(
    id="where-the-transpose-comes-from",
    topic=TOPIC,
    question=Text(
        "y = x w + b: derive dx, dw and db. Where does the transpose come from?",
        "y = x w + b：推导 dx、dw、db。转置从何而来？",
    ),
    answer=Text(
        "`y_j = sum_i x_i w_ij`, so `dx_i = sum_j dy_j w_ij`: the sum runs over the other index of w, "
        "which is `dy w^T`. In the same way `dw = x^T dy`, summed over all rows, and `db` is the "
        "sum of dy over the rows.",
        "`y_j = sum_i x_i w_ij`，所以 `dx_i = sum_j dy_j w_ij`：求和换到了 w 的另一个下标，这就是 `dy w^T`。"
        "同理 `dw = x^T dy`（对所有行求和），`db` 是 dy 的各行之和。",
    ),
    trap=Text(
        "How do you find it without deriving? By shapes: dx must have the shape of x, and only one "
        "product of dy and w has. Square matrices hide mistakes.",
        "不推导如何判断？看形状：dx 与 x 同形，dy 与 w 的乘法只有一种对得上。方阵会掩盖错误。",
    ),
    check=transpose_moves_across,
    exercises=("linear-backward",),
    docs="derivations/attention.md",
)


def broadcast_becomes_a_sum():
    rng = np.random.default_rng(8)
    q, k = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 6, 5))
    for shape in ((1, 3, 4, 6), (1, 1, 4, 6), (2, 1, 1, 6)):
        bias = rng.normal(size=shape)
        scores, cache = ops.attention_scores_forward(q, k, bias)
        dscores = rng.normal(size=scores.shape)
        dbias = ops.attention_scores_backward(dscores, cache)[2]
        axes = tuple(i for i, n in enumerate(shape) if n == 1)
        assert np.allclose(dbias, dscores.sum(axis=axes, keepdims=True))
        assert dbias.shape == shape
        numeric = numeric_gradient(
            lambda z: ops.attention_scores_forward(q, k, z)[0], bias, dscores
        )
        assert np.allclose(dbias, numeric, atol=1e-7)


BROADCAST = Card(
    id="broadcast-gradient",
    topic=TOPIC,
    question=Text(
        "What is the gradient of an array that was broadcast?",
        "被广播的数组，梯度是什么？",
    ),
    answer=Text(
        "One number was used at many places, so its gradient is the sum over them: sum dy along "
        "every axis that was broadcast, and keep the array's own shape. The bias of a linear layer "
        "is the simplest case.",
        "同一个数用在许多位置，梯度就是这些位置之和：把 dy 沿每个被广播的轴求和，并恢复数组自己的形状。"
        "线性层的偏置是最简单的例子。",
    ),
    trap=Text(
        "Sum or mean? The sum. A mean belongs to the loss, and is already in dy.",
        "求和还是求平均？求和。平均属于损失，已经包含在 dy 里了。",
    ),
    check=broadcast_becomes_a_sum,
    exercises=("broadcast-bias", "relative-bias-backward"),
    docs="derivations/linear.md",
)


def repeated_ids_add():
    rng = np.random.default_rng(9)
    ids, table = np.array([[2, 0, 2], [2, 1, 5]]), rng.normal(size=(7, 4))
    y, cache = ops.embedding_forward(ids, table)
    dy = rng.normal(size=y.shape)
    dtable = ops.embedding_backward(dy, cache)
    onehot = np.eye(7)[ids]  # a lookup is a product with one-hot rows
    assert np.allclose(dtable, np.einsum("btv,btd->vd", onehot, dy))
    wrong = np.zeros_like(table)
    wrong[ids] += dy  # NumPy writes each repeated row once
    assert np.allclose(wrong[[0, 1, 5]], dtable[[0, 1, 5]])
    assert not np.allclose(wrong[2], dtable[2])


EMBEDDING_SCATTER = Card(
    id="embedding-scatter",
    topic=TOPIC,
    question=Text(
        "The backward of an embedding lookup, and the bug in `dtable[ids] += dy`?",
        "词嵌入查表的反向是什么？`dtable[ids] += dy` 错在哪里？",
    ),
    answer=Text(
        "Scatter-add: row v gets the sum of dy over all places where id v stands. With a repeated id "
        "the fancy index writes once and loses the others: `np.add.at`, or sort and `add.reduceat`.",
        "散射累加（scatter-add）：第 v 行得到所有出现 v 的位置上 dy 之和。id 重复时，花式索引只写一次，其余丢失："
        "要用 `np.add.at`，或排序后用 `add.reduceat`。",
    ),
    trap=Text(
        "Do rows of words that did not occur change in a step? Not by the gradient; but weight decay "
        "and Adam's moving averages do move them.",
        "没有出现的词，对应的行会变吗？梯度不会让它变；但权重衰减和 Adam 的滑动平均会。",
    ),
    check=repeated_ids_add,
    exercises=("embedding-backward",),
    docs="derivations/linear.md",
)


def tied_table_gets_two():
    rng = np.random.default_rng(10)
    config = models.EncoderConfig(
        d_model=8, num_heads=2, num_layers=1, d_ff=12, vocab_size=9, max_len=6,
        initializer_range=0.5,
    )  # fmt: skip
    model = models.MaskedLM.init(config, rng, np.float64)
    name, ids = "encoder.embeddings.token", np.array([[1, 4, 4, 7]])
    output, cache = model.forward(ids)
    dlogits = rng.normal(size=output.logits.shape)
    _, grads = model.backward(models.ModelOutput(logits=dlogits), cache)
    dstates, head = model.head_backward(dlogits, cache.head)  # of the output matrix alone
    dlast = dstates.reshape(1, 4, 8)
    _, below = model.encoder.backward(models.ModelOutput(hidden=(None, dlast)), cache.encoder)
    assert np.allclose(grads[name], head[name] + below["embeddings.token"])
    step = rng.normal(size=(9, 8))

    def moved(h):
        params = model.params | {name: model.params[name] + h * step}
        return np.vdot(models.MaskedLM(config, params).forward(ids)[0].logits, dlogits)

    slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
    assert np.isclose(np.vdot(grads[name], step), slope, rtol=1e-6)
    assert not np.isclose(np.vdot(head[name], step), slope, rtol=1e-2)


TIED_WEIGHTS = Card(
    id="tied-weights",
    topic=TOPIC,
    question=Text(
        "The token table is also the output matrix of the masked-LM head. What is its gradient?",
        "词嵌入表同时是 MLM 头的输出矩阵，它的梯度是什么？",
    ),
    answer=Text(
        "The sum of two: the scatter-add from the lookup and the matrix gradient from the output, "
        "transposed to the table's shape. The second touches every row, also of words that did "
        "not occur.",
        "两份之和：查表处的散射累加，加上输出处的矩阵梯度（转置成表的形状）。后者会触及每一行，包括没有出现的词。",
    ),
    trap=Text(
        "Is the output's bias tied as well? No: b_decoder has a number for each word and one "
        "gradient.",
        "输出偏置也共享吗？不共享：b_decoder 每个词一个数，只有一份梯度。",
    ),
    check=tied_table_gets_two,
    exercises=("tied-head-backward", "embedding-backward"),
    docs="derivations/linear.md",
)


def the_best_step():
    rng = np.random.default_rng(11)
    x, dy = rng.normal(size=(2, 3, 5))
    exact = ops.tanh_backward(dy, ops.tanh_forward(x)[1])

    def error(h, dtype=np.float64):
        found = np.empty_like(x)
        for i in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[i] += h
            down[i] -= h
            rise = ops.tanh_forward(up.astype(dtype))[0] - ops.tanh_forward(down.astype(dtype))[0]
            found[i] = np.vdot(dy, rise) / (2 * h)
        return np.abs(found - exact).max() / np.abs(exact).max()

    assert error(6e-6) < 1e-8
    assert error(1e-1) > 1e-4  # the third derivative: h^2
    assert error(1e-12) > 1e-6  # rounding: eps / h
    assert error(6e-6, np.float32) > 1e-3  # float32 proves nothing


GRADIENT_CHECK = Card(
    id="gradient-check",
    topic=TOPIC,
    question=Text(
        "How do you check a gradient: which difference, which step, which error, which type?",
        "如何检查梯度：用哪种差分、多大的步长、什么误差、什么精度？",
    ),
    answer=Text(
        "Centred difference, error O(h^2) plus eps/h: best near `eps^(1/3)`, about 6e-6 in float64. "
        "Compare with a random cotangent, relative to the largest entry of the array; 1e-7 is a "
        "fair limit. float32 is useless: its rounding alone is 1e-2 at that step.",
        "中心差分，误差为 O(h^2) 加 eps/h：最佳步长约 `eps^(1/3)`，float64 下约 6e-6。用随机的上游梯度，误差按数组的最大元素取相对值；"
        "1e-7 是合理的界限。float32 没有用：在这个步长下，仅舍入误差就有 1e-2。",
    ),
    trap=Text(
        "And ReLU? At a kink the centred difference is the mean of both slopes: keep inputs away "
        "from 0. Dropout needs the same mask at every evaluation.",
        "ReLU 怎么办？在折点处中心差分是两侧斜率的平均：输入要避开 0。dropout 则要保证每次求值用同一个掩码。",
    ),
    check=the_best_step,
    exercises=("gradient-checker",),
    docs="derivations/gradcheck.md",
)


def checks_that_see_nothing():
    rng = np.random.default_rng(12)
    x, dy = rng.normal(size=(2, 4, 6))
    beta = rng.normal(size=6)

    def forgets_gamma(dy, cache):
        dx, _, _ = ops.layernorm_backward(dy, cache._replace(gamma=np.ones(6)))
        return dx, *ops.layernorm_backward(dy, cache)[1:]

    check_pair(ops.layernorm_forward, forgets_gamma, [x, np.ones(6), beta])  # passes
    found = ""
    try:
        check_pair(ops.layernorm_forward, forgets_gamma, [x, rng.normal(size=6), beta])
    except GradientError as error:
        found = str(error)
    assert "gradient of x" in found
    _, cache = ops.softmax_forward(x)  # a sum as the loss: its gradient is 0 whatever is wrong
    assert np.abs(ops.softmax_backward(np.ones_like(dy), cache)).max() < 1e-15
    assert np.abs(ops.softmax_backward(dy, cache)).max() > 0.01


BLIND_CHECKS = Card(
    id="blind-gradient-checks",
    topic=TOPIC,
    question=Text(
        "A gradient check passes and the gradient is wrong. How can that be?",
        "梯度检查通过了，梯度却是错的。怎么会这样？",
    ),
    answer=Text(
        "The point hid it: gamma = 1 and beta = 0, dropout 0, no padding, square shapes, one "
        "sequence, no repeated ids; or the loss did: the sum of a softmax or of a layer norm has "
        "gradient 0. Take random cotangents, parameters off their initial values, all sizes "
        "different.",
        "检查点掩盖了错误：gamma = 1、beta = 0、dropout 为 0、没有填充、形状是方的、只有一个序列、没有重复的 id；"
        "或者是损失掩盖了：softmax 或层归一化输出之和的梯度恒为 0。应当用随机的上游梯度、偏离初值的参数、各不相同的尺寸。",
    ),
    trap=Text(
        "And if an assertion compares with a tolerance of 1e-2? Then a missing eps or a dropped "
        "small term passes. Tighten until a planted mistake fails.",
        "如果容差是 1e-2 呢？那么漏掉 eps 或某个小项也能通过。要收紧到故意植入的错误能被发现为止。",
    ),
    check=checks_that_see_nothing,
    exercises=("gradient-checker", "layer-norm-backward"),
    docs="derivations/gradcheck.md",
)


def slopes_below_one():
    x = np.linspace(-8, 8, 2001)
    one = np.ones_like(x)
    sigmoid = ops.sigmoid_backward(one, ops.sigmoid_forward(x)[1])
    tanh = ops.tanh_backward(one, ops.tanh_forward(x)[1])
    assert sigmoid.max() == 0.25
    assert tanh.max() == 1.0
    y = ops.sigmoid_forward(x)[0]
    assert np.allclose(sigmoid, y * (1 - y))
    assert np.allclose(tanh, 1 - ops.tanh_forward(x)[0] ** 2)
    assert sigmoid.max() ** 10 < 1e-6  # ten layers, at best
    assert np.allclose(np.tanh(x), 2 * ops.sigmoid_forward(2 * x)[0] - 1)


SIGMOID_TANH = Card(
    id="sigmoid-and-tanh",
    topic=TOPIC,
    question=Text(
        "The derivatives of sigmoid and tanh by their outputs, and what they do to deep networks?",
        "用输出表示 sigmoid 和 tanh 的导数；它们对深层网络有什么影响？",
    ),
    answer=Text(
        "`s(1 - s)`, at most 1/4; `1 - t^2`, at most 1. Both vanish where the unit saturates. Ten "
        "sigmoids in a row shrink a gradient at least 4^10 = a million times, before any weight.",
        "`s(1 - s)`，最大 1/4；`1 - t^2`，最大 1。饱和处两者都趋于 0。连续十层 sigmoid 至少把梯度缩小 4^10 即一百万倍"
        "（还没算权重）。",
    ),
    trap=Text(
        "Where does BERT still have a tanh? In the pooler, once, in front of the classifier.",
        "BERT 里哪里还有 tanh？pooler 里有一个，在分类器之前。",
    ),
    check=slopes_below_one,
    exercises=("sigmoid-backward", "tanh-backward", "pooler-backward"),
    docs="derivations/activations.md",
)

CARDS = (
    LINEAR_TRANSPOSE,
    BROADCAST,
    SIGMOID_TANH,
    SOFTMAX_JACOBIAN,
    LOG_SOFTMAX,
    CROSS_ENTROPY,
    LABEL_SMOOTHING,
    LAYER_NORM_BACKWARD,
    EMBEDDING_SCATTER,
    TIED_WEIGHTS,
    ATTENTION_BACKWARD,
    KEY_BIAS,
    GRADIENT_CHECK,
    BLIND_CHECKS,
)

"""Optimizers, schedules and what stands around them."""

import numpy as np

from npformer import ops, optim
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text

TOPIC = "optimization"


def momentum_adds_up():
    p, g = {"w": np.zeros((2, 3))}, {"w": np.full((2, 3), 0.5)}
    optimizer = optim.Sgd(momentum=0.9)
    state = optimizer.init(p)
    steps = []
    for _ in range(200):
        before = p["w"][0, 0]
        optimizer.update(p, g, state, 0.01)
        steps.append(before - p["w"][0, 0])
    assert np.isclose(steps[0], 0.01 * 0.5)
    assert np.isclose(steps[1], 0.01 * 0.5 * 1.9)
    assert np.isclose(steps[-1], 0.01 * 0.5 / (1 - 0.9))  # ten times the first


MOMENTUM = Card(
    id="momentum",
    topic=TOPIC,
    question=Text(
        "SGD with momentum: the update, and the size of a step for a constant gradient?",
        "带动量的 SGD：如何更新？梯度恒定时步长是多少？",
    ),
    answer=Text(
        "`b = mu b + g; w = w - lr b`. For a constant gradient b tends to g / (1 - mu): ten times the "
        "plain step at mu = 0.9. Directions that change sign cancel.",
        "`b = mu b + g; w = w - lr b`。梯度恒定时 b 趋于 g / (1 - mu)：mu = 0.9 时是普通步长的十倍。来回变号的方向相互抵消。",
    ),
    trap=Text(
        "Some write `b = mu b + (1 - mu) g`. The same? Up to the rate: 1/(1 - mu) times as large. "
        "And keeping lr inside b differs once the rate changes.",
        "有人写 `b = mu b + (1 - mu) g`，一样吗？只差学习率的倍数 1/(1 - mu)。另外，把 lr 放进 b 里，一旦学习率变化就不同了。",
    ),
    check=momentum_adds_up,
    exercises=("sgd-momentum",),
    docs="derivations/optimizers.md",
)


def the_first_step_is_the_rate():
    rng = np.random.default_rng(1)
    for size in (1e-3, 1.0, 1e3):  # whatever the gradient's size
        p, g = {"w": np.zeros((3, 4))}, {"w": size * rng.normal(size=(3, 4))}
        optimizer = optim.Adam()
        optimizer.update(p, g, optimizer.init(p), 0.01)
        assert np.allclose(p["w"], -0.01 * np.sign(g["w"]), rtol=1e-2)
    p, g = {"w": np.zeros((3, 4))}, {"w": rng.normal(size=(3, 4))}
    uncorrected = optim.BertAdam(weight_decay=0.0)
    state, size = uncorrected.init(p), []
    for _ in range(1000):
        before = p["w"].copy()
        uncorrected.update(p, g, state, 0.01)
        size.append(np.abs(p["w"] - before).mean() / 0.01)
    assert np.isclose(size[0], 0.1 / np.sqrt(0.001), rtol=1e-3)  # 3.16
    assert int(np.argmax(size)) + 1 == 12
    assert abs(max(size) - 6.57) < 0.01
    assert abs(size[-1] - 1.26) < 0.01


ADAM = Card(
    id="adam-bias-correction",
    topic=TOPIC,
    question=Text(
        "Adam's two moments, and what is bias correction for?",
        "Adam 的两个矩是什么？偏差校正有什么用？",
    ),
    answer=Text(
        "m and v are running means of g and g^2; a step is `lr m / (sqrt(v) + eps)`. Both start at 0 "
        "and are too small by 1 - beta^t; divided by it, the first step is lr times the sign of g, "
        "whatever g's size.",
        "m、v 分别是 g 和 g^2 的滑动平均；步长为 `lr m / (sqrt(v) + eps)`。两者从 0 开始，只有应有值的 1 - beta^t 倍；除以它之后，"
        "第一步就是 lr 乘 g 的符号，与 g 的大小无关。",
    ),
    trap=Text(
        "BERT's released Adam has no correction. Are early steps smaller? Larger: v is behind more "
        "than m. 3.16 times at step 1, 6.57 times at step 12.",
        "BERT 发布的 Adam 没有校正，开头的步子会偏小吗？反而偏大：v 比 m 滞后得更多。第 1 步 3.16 倍，第 12 步 6.57 倍。",
    ),
    check=the_first_step_is_the_rate,
    exercises=("adam",),
    docs="derivations/optimizers.md",
)


def decay_beside_the_gradient():
    start = {"w": np.ones((1, 2))}
    sizes = np.array([[0.01, 10.0]])  # one weight with small gradients, one with large
    shrunk = {}
    for name, kind in (("l2", optim.Adam), ("decoupled", optim.AdamW)):
        ends = []
        for decay in (0.0, 0.1):
            p, draw = {"w": start["w"].copy()}, np.random.default_rng(3)
            optimizer = kind(weight_decay=decay)
            state = optimizer.init(p)
            for _ in range(100):
                optimizer.update(p, {"w": sizes * draw.normal(size=(1, 2))}, state, 1e-3)
            ends.append(p["w"])
        shrunk[name] = (ends[0] - ends[1])[0]
    assert np.isclose(*shrunk["decoupled"], rtol=0.1)  # the same share of both
    assert shrunk["l2"][0] > 20 * abs(shrunk["l2"][1])  # hardly any where gradients are large


ADAMW = Card(
    id="adamw-or-l2",
    topic=TOPIC,
    question=Text(
        "Adam with an L2 penalty, or AdamW: why is it not the same?",
        "Adam 加 L2 惩罚与 AdamW 为什么不同？",
    ),
    answer=Text(
        "In the gradient the penalty is divided by sqrt(v) like everything else: weights with large "
        "gradients hardly decay. AdamW multiplies the weight by 1 - lr * lambda apart from the "
        "gradient: all decay at one rate. For plain SGD the two are the same.",
        "惩罚写进梯度，就会和其他部分一样被 sqrt(v) 除：梯度大的权重几乎不衰减。AdamW 在梯度之外直接把权重乘以 "
        "1 - lr * lambda：所有权重衰减速率相同。对普通 SGD 两者等价。",
    ),
    trap=Text(
        "Does the penalty also enter m and v? With L2 yes, it changes the direction of later steps; "
        "decoupled no.",
        "惩罚会进入 m 和 v 吗？L2 会，因而影响之后各步的方向；解耦则不会。",
    ),
    check=decay_beside_the_gradient,
    exercises=("adamw",),
    docs="derivations/optimizers.md",
)


def early_steps_are_the_noisiest():
    rng = np.random.default_rng(4)
    p = {"w": np.zeros((200, 50))}
    optimizer = optim.Adam()
    state, size = optimizer.init(p), []
    for _ in range(300):  # gradients that are noise alone
        before = p["w"].copy()
        optimizer.update(p, {"w": rng.normal(size=(200, 50))}, state, 1.0)
        size.append(np.sqrt(((p["w"] - before) ** 2).mean()))
    assert np.isclose(size[0], 1, rtol=0.01)  # a full step in a random direction
    assert abs(size[-1] - np.sqrt(0.1 / 1.9)) < 0.02  # 0.23 once the means are filled
    linear = [optim.linear_schedule(t, warmup=10, total=100) for t in range(101)]
    assert linear[0] == 0
    assert linear[5] == 0.5
    assert linear[10] == 1 == max(linear)
    assert linear[100] == 0
    noam = [optim.noam_schedule(t, warmup=400, d_model=512) for t in range(1, 2000)]
    assert abs(int(np.argmax(noam)) + 1 - 400) <= 1
    cosine = [optim.cosine_schedule(t, warmup=10, total=110) for t in range(111)]
    assert np.isclose(cosine[60], 0.5)


WARMUP = Card(
    id="warmup",
    topic=TOPIC,
    question=Text(
        "Why warm up the learning rate, and which schedules follow?",
        "为什么要做学习率预热（warm-up）？之后用哪些调度？",
    ),
    answer=Text(
        "Adam's first steps have full size in every direction, also where the gradient is noise, for "
        "v rests on a few samples; and post-LN's gradients near the output are large at the start. "
        "Then linear to 0 (BERT), half a cosine, or Noam's `d^-0.5 min(t^-0.5, t w^-1.5)`, "
        "which peaks at t = w.",
        "Adam 最初几步在每个方向上都是满步长，哪怕梯度只是噪声，因为 v 只由几个样本估计；而且 post-LN 初期靠近输出的梯度很大。"
        "之后可以线性降到 0（BERT）、半个余弦，或 Noam 的 `d^-0.5 min(t^-0.5, t w^-1.5)`，峰值在 t = w。",
    ),
    trap=Text(
        "The first step of a warm-up has rate 0 if steps count from 0: does nothing happen? No "
        "weight moves, but Adam's moments are filled.",
        "步数从 0 计时，预热的第一步学习率为 0，等于什么都没做吗？权重不动，但 Adam 的矩已经开始累积。",
    ),
    check=early_steps_are_the_noisiest,
    exercises=("warmup-schedule",),
    docs="derivations/optimizers.md",
)


def matrices_decay_vectors_do_not():
    rng = np.random.default_rng(5)
    p = {"w": np.ones((2, 3)), "b": np.ones(3), "gamma": np.ones(3)}
    g = {name: np.zeros_like(a) for name, a in p.items()}
    optimizer = optim.AdamW(weight_decay=0.1)
    state = optimizer.init(p)
    for _ in range(50):
        optimizer.update(p, g, state, 0.01)
    assert np.allclose(p["w"], (1 - 0.01 * 0.1) ** 50)
    assert (p["b"] == 1).all()
    assert (p["gamma"] == 1).all()
    x = rng.normal(size=(4, 3))  # a norm makes the size of what stands before it irrelevant
    small, large = (ops.layernorm_forward(s * x, p["gamma"], np.zeros(3))[0] for s in (0.5, 1.0))
    assert np.allclose(small, large)


NO_DECAY = Card(
    id="no-decay-groups",
    topic=TOPIC,
    question=Text(
        "Which parameters are not decayed, and why?",
        "哪些参数不做权重衰减？为什么？",
    ),
    answer=Text(
        "Biases, gamma and beta. Decay keeps matrices small, since they multiply what passes "
        "through; a bias only shifts it, so a large one does no such harm. Pulling gamma to 0 would "
        "switch a layer off, for it belongs near 1. In code: "
        "arrays of one axis, or names with `bias` and `LayerNorm`.",
        "偏置、gamma、beta。衰减是为了约束矩阵的大小，因为矩阵会放大流过的数值；偏置只做平移，大一些并无这种害处。而 gamma 应在 1 附近，把它拉向 0 等于关掉这一层。"
        "代码里按一维数组，或按名字含 `bias`、`LayerNorm` 来区分。",
    ),
    trap=Text(
        "Is the embedding table decayed? Usually yes, it is a matrix. But rows of rare words then "
        "shrink at every step in which they do not occur.",
        "词嵌入表要衰减吗？通常要，它是矩阵。但罕见词的行在没出现的每一步也会缩小。",
    ),
    check=matrices_decay_vectors_do_not,
    exercises=("adamw",),
    docs="derivations/optimizers.md",
)


def one_factor_for_all():
    rng = np.random.default_rng(6)

    def draw():
        return {"a": 10 * rng.normal(size=(4, 5)), "b": 0.1 * rng.normal(size=7)}

    def flat(grads):
        return np.concatenate([g.ravel() for g in grads.values()])

    grads = draw()
    before = flat(grads)
    norm = optim.clip_by_global_norm(grads, 1.0)
    after = flat(grads)
    assert np.isclose(norm, np.linalg.norm(before))
    assert np.isclose(np.linalg.norm(after), 1)
    assert np.isclose(before @ after, np.linalg.norm(before))  # the same direction
    grads = draw()
    before = flat(grads)
    optim.clip_by_tensor_norm(grads, 1.0)
    after = flat(grads)
    cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
    assert cosine < 0.99  # each array by a factor of its own: another direction
    small = {"a": 0.01 * rng.normal(size=(4, 5))}
    kept = small["a"].copy()
    optim.clip_by_global_norm(small, 1.0)
    assert np.array_equal(small["a"], kept)  # below the limit nothing happens


CLIPPING = Card(
    id="gradient-clipping",
    topic=TOPIC,
    question=Text(
        "Exploding gradients: how does clipping by the global norm work, and why global?",
        "梯度爆炸：全局范数裁剪怎么做？为什么要全局？",
    ),
    answer=Text(
        "The norm of all gradients as one vector; if it exceeds c, all are multiplied by c / norm. "
        "One factor: the direction stays. Clipping each array on its own turns it, as TinyBERT's "
        "released optimizer does.",
        "把所有梯度看成一个向量求范数；超过 c 时全部乘以 c / norm。同一个系数，方向不变。逐个数组裁剪会改变方向，"
        "TinyBERT 发布的优化器就是这样。",
    ),
    trap=Text(
        "With gradient accumulation, when do you clip? Once, after the sum and before the step: "
        "the norm that counts is that of the whole batch.",
        "梯度累积时何时裁剪？累加完成之后、更新之前，只裁一次：起作用的是整个批次的范数。",
    ),
    check=one_factor_for_all,
    exercises=("clip-global-norm",),
    docs="derivations/optimizers.md",
)


def parts_divide_by_the_whole():
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(12, 5))
    labels = rng.integers(0, 5, size=12)
    labels[[1, 2, 3, 4]] = -100  # parts with unequal numbers of labels
    _, cache = ops.cross_entropy_forward(logits, labels)
    whole = ops.cross_entropy_backward(1.0, cache)
    count, parts, means = int((labels != -100).sum()), [], []
    for rows in (slice(0, 6), slice(6, 12)):
        _, cache = ops.cross_entropy_forward(logits[rows], labels[rows], count=count)
        parts.append(ops.cross_entropy_backward(1.0, cache))
        _, cache = ops.cross_entropy_forward(logits[rows], labels[rows])
        means.append(ops.cross_entropy_backward(0.5, cache))  # the mean of two means
    assert np.allclose(np.concatenate(parts), whole)
    assert not np.allclose(np.concatenate(means), whole)


ACCUMULATION = Card(
    id="gradient-accumulation",
    topic=TOPIC,
    question=Text(
        "Gradient accumulation: when does it equal the large batch?",
        "梯度累积在什么条件下等价于大批次？",
    ),
    answer=Text(
        "If the gradients of the parts are added and each loss is divided by the count of the whole "
        "batch: labels, tokens or pairs, whatever the loss averages over. A mean of means is "
        "wrong as soon as the parts have different counts, as with padding or masked-LM labels.",
        "各部分梯度相加，且每个损失都除以整个批次的计数（标签数、词元数或词元对数，看损失对什么取平均）。"
        "各部分计数不同时（有填充或 MLM 标签），“平均的平均”就错了。",
    ),
    trap=Text(
        "Which layers break the equality anyhow? Those that look at the batch: batch norm, "
        "in-batch negatives. And dropout draws other masks.",
        "哪些层无论如何都会破坏等价？依赖批次的：批归一化、批内负样本。另外 dropout 的掩码也不同。",
    ),
    check=parts_divide_by_the_whole,
    exercises=("gradient-accumulation",),
    docs="derivations/optimizers.md",
)

CARDS = (MOMENTUM, ADAM, ADAMW, WARMUP, NO_DECAY, CLIPPING, ACCUMULATION)

"""Knowledge distillation in general."""

import numpy as np

from npformer import models, ops
from npformer.checks import InputError
from npformer.distill.terms import AttentionScoresTerm, HiddenTerm, LogitMseTerm, PredictionTerm
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text

TOPIC = "distillation"


def soft_targets_rank_the_wrong_classes():
    student = np.zeros((1, 4))  # cat, dog, car, plane
    labels = np.array([0])
    _, cache = ops.cross_entropy_forward(student, labels)
    hard = -ops.cross_entropy_backward(1.0, cache)[0]
    assert hard[0] > 0
    assert hard[1] == hard[2] == hard[3] < 0  # a label says nothing of the others
    teacher = np.array([[6.0, 4.0, -1.0, -1.0]])
    _, cache = ops.soft_cross_entropy_forward(student, teacher, 4.0)
    soft = -ops.soft_cross_entropy_backward(1.0, cache)[0]
    assert soft[0] > soft[1] > 0 > soft[2]  # a teacher says that a dog is nearly right
    learner = student.copy()
    for _ in range(500):
        _, cache = ops.kl_forward(learner, teacher, 4.0, tau_squared=True)
        learner -= ops.kl_backward(1.0, cache)
    assert np.allclose(ops.softmax_forward(learner)[0], ops.softmax_forward(teacher)[0], atol=1e-3)


WHAT_IS_DISTILLATION = Card(
    id="what-is-distillation",
    topic=TOPIC,
    question=Text(
        "What is knowledge distillation, and what is dark knowledge?",
        "什么是知识蒸馏？什么是“暗知识”？",
    ),
    answer=Text(
        "A small student is trained to imitate a large frozen teacher, beside or instead of the "
        "labels. The teacher's probabilities say which wrong classes are nearly right: a label "
        "pushes all of them down alike. That ranking is the dark knowledge; a temperature brings "
        "it out.",
        "训练一个小的学生模型去模仿参数冻结的大教师模型，与标签并用或代替标签。教师的概率说明哪些错误类别“差一点就对”，"
        "而标签把所有错误类别一律压低。这种排序就是暗知识，温度让它显现出来。",
    ),
    trap=Text(
        "Will the student be as good as the teacher? That is the hope. Compare with the same student "
        "trained without a teacher for as long, over several seeds.",
        "学生会与教师一样好吗？那只是期望。要与同样训练量、没有教师的同一学生比较，并用多个随机种子。",
    ),
    check=soft_targets_rank_the_wrong_classes,
    exercises=("soft-targets",),
    docs="interview.md",
)


def temperature_spreads():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=6) * 3

    def probs(tau):
        return ops.softmax_forward(logits / tau)[0]

    entropies = [-(probs(t) * np.log(probs(t))).sum() for t in (0.5, 1, 2, 4, 8)]
    assert np.all(np.diff(entropies) > 0)
    assert probs(0.01).max() > 0.999  # towards one-hot
    assert np.allclose(probs(1e4), 1 / 6, atol=1e-3)  # towards uniform
    assert np.array_equal(np.argsort(probs(8)), np.argsort(logits))  # the order stays
    odds = probs(4)[:, None] / probs(4)
    assert np.allclose(odds, (probs(1)[:, None] / probs(1)) ** (1 / 4))  # odds to the power 1/tau


TEMPERATURE = Card(
    id="temperature",
    topic=TOPIC,
    question=Text(
        "What does the temperature do to the probabilities? And in its two limits?",
        "温度对概率有什么影响？两个极限是什么？",
    ),
    answer=Text(
        "`p = softmax(z / tau)`: the odds of two classes are raised to 1/tau. Larger tau: higher "
        "entropy, the small probabilities become visible, the order stays. tau -> 0: one-hot; tau "
        "-> infinity: uniform.",
        "`p = softmax(z / tau)`：任意两类的概率之比变为 tau = 1 时的 1/tau 次方。tau 越大熵越高，小概率显现出来，排序不变。"
        "tau -> 0 时为 one-hot，tau -> 无穷时为均匀分布。",
    ),
    trap=Text(
        "Which temperature does the student use when it predicts? 1. And in training both models "
        "need the same tau: the teacher's alone would ask for other logits.",
        "学生预测时用什么温度？1。训练时两个模型必须用同一个 tau：只给教师加温，等于要求学生学出别的 logits。",
    ),
    check=temperature_spreads,
    exercises=("soft-targets",),
    docs="interview.md",
)


def at_high_temperature_logits_are_matched():
    rng = np.random.default_rng(2)
    student, teacher = 2 * rng.normal(size=(2, 3, 5))

    def centred(z):
        return z - z.mean(axis=-1, keepdims=True)

    limit = (centred(student) - centred(teacher)) / 5 / 3  # of half the squared error, over C
    off = []
    for tau in (1.0, 10.0, 100.0, 1000.0):
        _, cache = ops.kl_forward(student, teacher, tau, tau_squared=True)
        dlogits = ops.kl_backward(1.0, cache)
        off.append(np.abs(dlogits - limit).max() / np.abs(limit).max())
    assert np.all(np.diff(off) < 0)
    assert off[0] > 0.1
    assert off[3] < 0.005


LOGIT_LIMIT = Card(
    id="high-temperature-limit",
    topic=TOPIC,
    question=Text(
        "What does distillation become as tau goes to infinity?",
        "tau 趋于无穷时，蒸馏变成什么？",
    ),
    answer=Text(
        "softmax(z / tau) is about 1/C + (z - mean z) / (C tau), so tau^2 times the gradient tends to "
        "`(z_S - z_T) / C` of centred logits: matching logits by squared error.",
        "softmax(z / tau) 约等于 1/C + (z - mean z) / (C tau)，所以乘 tau^2 后的梯度趋于中心化 logits 之差 "
        "`(z_S - z_T) / C`：即用平方误差匹配 logits。",
    ),
    trap=Text(
        "Then why not always match logits? A low temperature neglects very negative logits, which "
        "are mostly noise; a small student cannot spend capacity on them.",
        "那为何不一律匹配 logits？较低的温度会忽略那些很负的 logits，它们多半是噪声；学生模型小，没有余力去拟合。",
    ),
    check=at_high_temperature_logits_are_matched,
    exercises=("soft-targets", "kl-backward"),
    docs="derivations/distillation.md",
)


def tau_squared_keeps_the_size():
    rng = np.random.default_rng(3)
    student, teacher = 2 * rng.normal(size=(2, 6, 4))
    plain, scaled = [], []
    for tau in (4.0, 8.0, 16.0, 32.0):
        for sizes, squared in ((plain, False), (scaled, True)):
            _, cache = ops.soft_cross_entropy_forward(student, teacher, tau, tau_squared=squared)
            sizes.append(np.linalg.norm(ops.soft_cross_entropy_backward(1.0, cache)))
    assert np.allclose(np.array(plain[:-1]) / plain[1:], 4, rtol=0.15)  # twice tau, a quarter
    assert max(scaled) / min(scaled) < 1.15  # flat


TAU_SQUARED = Card(
    id="tau-squared",
    topic=TOPIC,
    question=Text(
        "Why is the soft loss multiplied by tau^2? And is the hard loss too?",
        "软损失为什么乘 tau^2？硬损失也要乘吗？",
    ),
    answer=Text(
        "Its gradient is `(p_S - p_T) / tau`, and the difference of the softened probabilities falls "
        "as 1/tau as well: 1/tau^2 together. The factor keeps the balance with the hard loss when "
        "tau is changed. The hard loss has tau = 1 and no factor.",
        "软损失的梯度是 `(p_S - p_T) / tau`，而软化后概率之差本身也按 1/tau 缩小，合起来是 1/tau^2。"
        "乘 tau^2 之后，改变 tau 不会破坏与硬损失的平衡。硬损失的 tau = 1，不乘。",
    ),
    trap=Text(
        "With the soft loss alone, does tau^2 matter? With SGD it is a learning rate; Adam hardly "
        "sees it, but for clipping, weight decay and eps.",
        "只有软损失时 tau^2 还重要吗？对 SGD 相当于学习率；对 Adam 几乎没有影响，除非有裁剪、权重衰减和 eps。",
    ),
    check=tau_squared_keeps_the_size,
    exercises=("soft-targets",),
    docs="derivations/distillation.md",
)


def same_gradient_other_zero():
    rng = np.random.default_rng(4)
    student, teacher = rng.normal(size=(2, 6, 4))
    soft, soft_cache = ops.soft_cross_entropy_forward(student, teacher, 2.0)
    kl, kl_cache = ops.kl_forward(student, teacher, 2.0)
    p = ops.softmax_forward(teacher / 2.0)[0]
    entropy = -(p * np.log(p)).sum() / 6
    assert np.isclose(soft - kl, entropy)  # a constant to the student
    grads = ops.soft_cross_entropy_backward(1.0, soft_cache), ops.kl_backward(1.0, kl_cache)
    assert np.allclose(*grads)
    assert abs(ops.kl_forward(teacher, teacher, 2.0)[0]) < 1e-12
    assert ops.soft_cross_entropy_forward(teacher, teacher, 2.0)[0] > 0.5


KL_OR_CROSS_ENTROPY = Card(
    id="kl-or-cross-entropy",
    topic=TOPIC,
    question=Text(
        "KL divergence, soft cross-entropy, MSE of logits: how do they differ?",
        "KL 散度、软交叉熵、logits 的 MSE 有何区别？",
    ),
    answer=Text(
        "CE = KL + the teacher's entropy, a constant: the same gradient, but only KL is 0 when the "
        "student agrees. MSE of logits is their limit for high temperature, and also sees what a "
        "shift of all logits would change.",
        "CE = KL + 教师的熵，后者是常数：梯度相同，但只有 KL 在学生与教师一致时为 0。"
        "logits 的 MSE 是它们的高温极限，但还会受 logits 整体平移的影响。",
    ),
    trap=Text(
        "Which is the better number to log? KL: one sees how far from perfect it is. And never "
        "compare losses at different temperatures.",
        "日志里记录哪个更好？KL，能看出离完美还有多远。不同温度下的损失不要互相比较。",
    ),
    check=same_gradient_other_zero,
    exercises=("kl-backward", "soft-targets"),
    docs="interview.md",
)


def covering_or_choosing():
    x = np.linspace(-6, 6, 601)

    def normal(mean, width):
        density = np.exp(-0.5 * ((x - mean) / width) ** 2)
        return density / density.sum()

    teacher = 0.5 * normal(-2.5, 0.7) + 0.5 * normal(2.5, 0.7)  # two modes
    log_teacher = np.log(teacher)[None]
    fits = {}
    for mean in np.linspace(-3, 3, 25):
        for width in np.linspace(0.5, 3.5, 25):
            log_student = np.log(normal(mean, width))[None]
            forward = ops.kl_forward(log_student, log_teacher, 1.0)[0]  # KL(T || S)
            reverse = ops.kl_forward(log_teacher, log_student, 1.0)[0]  # KL(S || T)
            fits[mean, width] = forward, reverse
    covers = min(fits, key=lambda at: fits[at][0])
    chooses = min(fits, key=lambda at: fits[at][1])
    assert abs(covers[0]) < 0.1
    assert covers[1] > 2  # wide, over both modes and the gap between them
    assert abs(abs(chooses[0]) - 2.5) < 0.1
    assert chooses[1] < 1  # narrow, on one of them


KL_DIRECTION = Card(
    id="kl-direction",
    topic=TOPIC,
    question=Text(
        "KL(T || S) or KL(S || T): what does the direction change?",
        "KL(T || S) 与 KL(S || T)，方向有什么影响？",
    ),
    answer=Text(
        "Forward KL averages under the teacher: the student must give mass wherever the teacher does "
        "(it covers). Reverse KL averages under the student: it must avoid what the teacher avoids "
        "(it chooses a mode). Classical distillation is forward; for generation, reverse keeps a "
        "small student from writing what the teacher never would.",
        "前向 KL 在教师分布下取平均：教师给了概率的地方，学生都必须给（覆盖）。反向 KL 在学生分布下取平均：教师不给概率的地方，学生必须避开（选一个峰）。"
        "经典蒸馏用前向；生成任务用反向，可避免小的学生模型写出教师绝不会写的东西。",
    ),
    trap=Text(
        "Which arguments does PyTorch's `KLDivLoss` take? Log-probabilities of the student first, "
        "probabilities of the teacher second; swapped, it trains something else in silence.",
        "PyTorch 的 `KLDivLoss` 参数顺序是什么？先学生的对数概率，后教师的概率；写反了不会报错，训练的却是别的东西。",
    ),
    check=covering_or_choosing,
    exercises=("kl-backward",),
    docs="derivations/softmax.md",
)


def mean_over_classes():
    rng = np.random.default_rng(6)
    student, teacher = rng.normal(size=(2, 8, 5))
    keep = np.ones((8, 3), bool)
    s, t = models.ModelOutput(logits=student), models.ModelOutput(logits=teacher)
    right, _ = PredictionTerm(kind="kl").forward(s, t, keep)
    wrong, _ = PredictionTerm(kind="kl", divide_by_classes=True).forward(s, t, keep)
    p, q = ops.softmax_forward(teacher)[0], ops.softmax_forward(student)[0]
    elements = p * np.log(p / q)
    assert np.isclose(right, elements.sum(axis=-1).mean())  # "batchmean"
    assert np.isclose(wrong, elements.mean())  # "mean", the default
    assert np.isclose(right / wrong, 5)


BATCHMEAN = Card(
    id="batchmean",
    topic=TOPIC,
    question=Text(
        'Why must `KLDivLoss` have reduction="batchmean"?',
        '`KLDivLoss` 为什么要用 reduction="batchmean"？',
    ),
    answer=Text(
        'KL is a sum over the classes; only rows are averaged. The default "mean" divides by C as '
        "well: the loss is C times too small, so that its weight depends on the number of classes. "
        "TinyBERT's released code does it.",
        'KL 对类别是求和，只对行取平均。默认的 "mean" 还会除以 C：损失只有应有值的 1/C，权重就随类别数变化。'
        "TinyBERT 发布的代码正是如此。",
    ),
    trap=Text(
        "And with logits (B, T, V) of tokens? batchmean divides by B alone: flatten to rows first, "
        "and leave out padding.",
        "如果 logits 是 (B, T, V) 的词元呢？batchmean 只除以 B：要先展平成行，并去掉填充。",
    ),
    check=mean_over_classes,
    exercises=("kl-backward",),
    docs="deviations.md",
)


def one_mixed_target():
    rng = np.random.default_rng(7)
    student, teacher = rng.normal(size=(2, 6, 4))
    labels, alpha = rng.integers(0, 4, size=6), 0.3
    _, hard = ops.cross_entropy_forward(student, labels)
    _, soft = ops.soft_cross_entropy_forward(student, teacher, 1.0)
    total = ops.cross_entropy_backward(alpha, hard) + ops.soft_cross_entropy_backward(
        1 - alpha, soft
    )
    mixed = alpha * np.eye(4)[labels] + (1 - alpha) * ops.softmax_forward(teacher)[0]
    assert np.allclose(total, (ops.softmax_forward(student)[0] - mixed) / 6)
    blend = alpha * student + (1 - alpha) * teacher  # logits mixed instead of losses
    loss = ops.kl_forward(blend, teacher, 1.0)[0]
    assert loss < ops.kl_forward(student, teacher, 1.0)[0] / 2  # less, and nothing was learned


HARD_LABEL_WEIGHT = Card(
    id="hard-label-weight",
    topic=TOPIC,
    question=Text(
        "Loss = alpha hard + (1 - alpha) soft: what does alpha do, and what must it not weigh?",
        "损失 = alpha 硬 + (1 - alpha) 软：alpha 起什么作用？它不该加权什么？",
    ),
    answer=Text(
        "At tau = 1 it is the cross-entropy with one target, `alpha onehot + (1 - alpha) p_T`: labels "
        "correct the teacher's mistakes. It weighs two losses. Mixing the teacher's logits into "
        "the student's makes the loss small without learning.",
        "tau = 1 时等价于用一个目标 `alpha onehot + (1 - alpha) p_T` 的交叉熵：标签纠正教师的错误。"
        "它加权的是两项损失。把教师的 logits 混进学生的 logits，损失变小却什么也没学到。",
    ),
    trap=Text(
        "When is alpha = 0 right? Where the teacher is good or there are no labels, as on augmented "
        "data, where the copied label may be wrong.",
        "什么时候 alpha = 0 合适？教师足够好，或没有标签；例如增强数据，照抄的标签可能是错的。",
    ),
    check=one_mixed_target,
    exercises=("soft-targets", "cross-entropy"),
    docs="interview.md",
)


def a_noisy_teacher():
    rng = np.random.default_rng(8)
    config = models.ClassifierConfig(
        d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=30, max_len=6, num_classes=3,
        dropout=0.1, attention_dropout=0.1, initializer_range=0.5,
    )  # fmt: skip
    teacher = models.SequenceClassifier.init(config, rng, np.float64)
    ids = rng.integers(0, 30, size=(4, 5))
    targets = [
        ops.softmax_forward(teacher.forward(ids, rng=np.random.default_rng(i))[0].logits)[0]
        for i in range(20)
    ]
    assert np.std(targets, axis=0).max() > 0.02  # in training mode no two targets agree
    quiet = [teacher.forward(ids)[0].logits for _ in range(2)]
    assert np.array_equal(*quiet)


TEACHER_FROZEN = Card(
    id="teacher-in-eval-mode",
    topic=TOPIC,
    question=Text(
        "In which state must the teacher be while the student learns?",
        "学生学习时，教师应处于什么状态？",
    ),
    answer=Text(
        "Frozen and in prediction mode: no gradient, no dropout, no running statistics. With dropout "
        "the targets are noise around what it knows. TinyBERT's released scripts never call "
        "`eval()` on it. And it must be fine-tuned on the task: check its score first.",
        "冻结且处于预测模式：无梯度、无 dropout、不更新统计量。开着 dropout，目标就是围绕教师真实判断抖动的噪声。"
        "TinyBERT 发布的脚本从未对教师调用 `eval()`。另外它必须先在任务上微调：先检查它的分数。",
    ),
    trap=Text(
        "Can its outputs be computed once and stored? Yes, if the student sees the same inputs: "
        "logits are small. With hidden states and scores, storage soon costs more than the forward.",
        "教师输出能预先算好存起来吗？只要学生看到的输入相同就可以，logits 很小；若还要隐藏状态和分数，存储很快就比重算更贵。",
    ),
    check=a_noisy_teacher,
    exercises=("tinybert-step",),
    docs="deviations.md",
)


def confidence_hides_the_rest():
    rng = np.random.default_rng(9)
    logits = rng.normal(size=(200, 5))

    def left_over(z):  # what the teacher says beside its first choice
        return (1 - ops.softmax_forward(z)[0].max(axis=-1)).mean()

    shares = [left_over(factor * logits) for factor in (1, 3, 10)]  # more and more certain
    assert shares[0] > 2 * shares[1] > 4 * shares[2]
    assert np.isclose(left_over(10 * logits / 10), shares[0])  # a temperature undoes it


CAPACITY_GAP = Card(
    id="capacity-gap",
    topic=TOPIC,
    question=Text(
        "Does a better teacher always make a better student?",
        "教师越强，学生就一定越好吗？",
    ),
    answer=Text(
        "No. A very large teacher computes what the student cannot represent, and is so certain that "
        "its soft targets are nearly labels. Remedies: a higher temperature, a teacher assistant "
        "of middle size, stopping early, matching relations instead of values.",
        "不一定。过大的教师算出的函数，学生表示不了；而且它过于自信，软目标几乎就是标签。对策：提高温度、用中等规模的助教模型、早停、匹配关系而不是数值。",
    ),
    trap=Text(
        "How do you tell a capacity gap from bad training? By the loss on the training set: if the "
        "student cannot even match the teacher there, it is capacity or optimization, not data.",
        "怎样区分容量差距与训练不当？看训练集上的损失：连训练集都拟合不了教师，是容量或优化问题，而不是数据问题。",
    ),
    check=confidence_hides_the_rest,
    exercises=("soft-targets",),
    docs="ablations.md",
)


def what_needs_equal_widths():
    rng = np.random.default_rng(10)
    narrow, wide = rng.normal(size=(1, 5, 8)), rng.normal(size=(1, 5, 12))  # hidden states
    keep = np.ones((1, 5), bool)
    same = {"w.w": np.eye(8)}
    outputs = [models.ModelOutput(hidden=(None, h)) for h in (narrow, wide)]
    refused = ""
    try:
        HiddenTerm(((1, 1),), ("w",), same).forward(*outputs, keep)  # feature
    except InputError as error:
        refused = str(error)
    assert "shape" in refused
    projected = HiddenTerm(((1, 1),), ("w",), {"w.w": rng.normal(size=(8, 12))})
    assert projected.forward(*outputs, keep)[0] > 0
    relations = [ops.softmax_forward(h @ h.swapaxes(1, 2))[0] for h in (narrow, wide)]  # relation
    assert relations[0].shape == relations[1].shape == (1, 5, 5)
    logits = models.ModelOutput(logits=rng.normal(size=(1, 3)))  # response
    dstudent, _ = PredictionTerm().backward(1.0, PredictionTerm().forward(logits, logits, keep)[1])
    assert (dstudent.hidden, dstudent.scores) == (None, None)


TAXONOMY = Card(
    id="response-feature-relation",
    topic=TOPIC,
    question=Text(
        "Three kinds of knowledge to distil: response, feature, relation. What does each demand?",
        "可蒸馏的三类知识：响应、特征、关系。各有什么要求？",
    ),
    answer=Text(
        "Response: outputs; demands only the same classes. Feature: hidden states; needs equal widths "
        "or a learned projection, and a layer mapping. Relation: how tokens or examples compare "
        "(attention maps, value relations, distances); free of widths.",
        "响应：输出，只要求类别一致。特征：隐藏状态，要求宽度相同或有可学习的投影，还要层映射。"
        "关系：词元或样本之间如何比较（注意力图、value 关系、距离），与宽度无关。",
    ),
    trap=Text(
        "Which kind is attention distillation? Relation: (T, T) maps. It is free of the width, but "
        "not of the number of heads.",
        "注意力蒸馏属于哪类？关系：(T, T) 的注意力图。它与宽度无关，但与头数有关。",
    ),
    check=what_needs_equal_widths,
    exercises=("minilm-relations", "hidden-loss", "pkd-loss"),
    docs="derivations/distillation.md",
)


def other_numbers_of_heads():
    rng = np.random.default_rng(11)
    keep = np.ones((2, 5), bool)
    student = models.ModelOutput(scores=(rng.normal(size=(2, 3, 5, 5)),))
    teacher = models.ModelOutput(scores=(None, rng.normal(size=(2, 6, 5, 5))))
    refused = ""
    try:
        AttentionScoresTerm(((1, 2),)).forward(student, teacher, keep)
    except InputError as error:
        refused = str(error)
    assert "num_heads" in refused
    value, _ = AttentionScoresTerm(((1, 2),), heads="group_mean").forward(student, teacher, keep)
    means = teacher.scores[1].reshape(2, 3, 2, 5, 5).mean(axis=2)
    assert np.isclose(value, ((student.scores[0] - means) ** 2).mean())
    q = rng.normal(size=(2, 5, 24))  # MiniLMv2: cut the width anew into as many relation heads
    cut = [q.reshape(2, 5, n, -1).transpose(0, 2, 1, 3) for n in (4, 6)]
    assert [(c @ c.swapaxes(2, 3)).shape[1] for c in cut] == [4, 6]


DIFFERENT_SHAPES = Card(
    id="different-shapes",
    topic=TOPIC,
    question=Text(
        "Teacher and student differ in width, depth, heads or vocabulary. What then?",
        "教师和学生的宽度、深度、头数或词表不同，怎么办？",
    ),
    answer=Text(
        "Width: a projection. Depth: a mapping of layers. Heads: means of groups, or relation heads "
        "cut anew from q, k, v (MiniLMv2). Vocabulary: outputs of tokens no longer correspond; "
        "align by characters, or distil on classes, sentences or generated text.",
        "宽度：加投影。深度：做层映射。头数：按组取平均，或把 q、k、v 重新切成同样数目的关系头（MiniLMv2）。"
        "词表：词元输出不再对应，可按字符对齐，或只在类别、句子、生成文本上蒸馏。",
    ),
    trap=Text(
        "Is a mean of score maps a score map of the teacher? No head of it has that map; its softmax "
        "is the normalised geometric mean of the group's attentions.",
        "几个分数图的平均还是教师的分数图吗？没有哪个头有这样的图；它的 softmax 是组内注意力的归一化几何平均。",
    ),
    check=other_numbers_of_heads,
    exercises=("layer-mapping", "minilm-relations", "attention-loss"),
    docs="tinybert.md",
)


def logits_suit_any_student():
    rng = np.random.default_rng(12)
    bags, weights = rng.poisson(1.0, size=(60, 20)).astype(float), rng.normal(size=(20, 3))
    teacher = models.ModelOutput(logits=np.tanh(bags @ weights))  # whatever it is inside
    w, b, keep = np.zeros((20, 3)), np.zeros(3), np.ones((60, 1), bool)
    term, losses = LogitMseTerm(), []
    for _ in range(300):
        y, linear = ops.linear_forward(bags, w, b)  # the student: a bag of words
        loss, cache = term.forward(models.ModelOutput(logits=y), teacher, keep)
        dstudent, _ = term.backward(1.0, cache)
        assert (dstudent.hidden, dstudent.scores) == (None, None)
        _, dw, db = ops.linear_backward(dstudent.logits, linear)
        w, b = w - 0.05 * dw, b - 0.05 * db
        losses.append(loss)
    assert losses[-1] < losses[0] / 3


OTHER_ARCHITECTURE = Card(
    id="bert-into-lstm",
    topic=TOPIC,
    question=Text(
        "How is BERT distilled into a BiLSTM or a text CNN?",
        "如何把 BERT 蒸馏到 BiLSTM 或 TextCNN？",
    ),
    answer=Text(
        "Through the logits alone, by squared error or soft targets: nothing inside corresponds. A "
        "small model overfits a small task, so most of the gain comes from much unlabelled or "
        "augmented text that the teacher labels.",
        "只通过 logits，用平方误差或软目标：内部结构没有对应关系。小模型在小数据上容易过拟合，"
        "所以收益主要来自大量由教师打标的无标注或增强文本。",
    ),
    trap=Text(
        "Why squared error of logits there, not KL? It also passes on how large the logits are; "
        "Tang et al. found it somewhat better. Try both.",
        "为什么那里常用 logits 的平方误差而非 KL？它还传递 logits 的大小，Tang 等人发现略好一些。两种都该试。",
    ),
    check=logits_suit_any_student,
    exercises=("soft-targets",),
    docs="tinybert.md",
)


def several_teachers():
    rng = np.random.default_rng(13)
    student, *teachers = rng.normal(size=(4, 6, 5)) * 2
    probs = np.mean([ops.softmax_forward(t)[0] for t in teachers], axis=0)

    def gradient(teacher):
        return ops.kl_backward(1.0, ops.kl_forward(student, teacher, 1.0)[1])

    mean_of_losses = np.mean([gradient(t) for t in teachers], axis=0)
    assert np.allclose(mean_of_losses, gradient(np.log(probs)))  # = loss with the mean of probs
    assert not np.allclose(mean_of_losses, gradient(np.mean(teachers, axis=0)), atol=1e-3)


MANY_TEACHERS = Card(
    id="self-mutual-multi-teacher",
    topic=TOPIC,
    question=Text(
        "Self-distillation, mutual and online distillation, several teachers: what are they?",
        "自蒸馏、互蒸馏与在线蒸馏、多教师蒸馏分别是什么？",
    ),
    answer=Text(
        "Self: teacher and student have one architecture, often generation after generation. Mutual: "
        "models learn from each other while both train, without a trained teacher (online). "
        "Several teachers: averaging their losses is the same gradient as one loss with the mean "
        "of their probabilities.",
        "自蒸馏：教师与学生结构相同，常一代代进行。互蒸馏：几个模型边训练边互相学习，没有训练好的教师（在线）。"
        "多教师：对各教师的损失取平均，梯度等于用概率的平均作目标的一个损失。",
    ),
    trap=Text(
        "Is the mean of the *logits* the same? No: that is a geometric mean of the probabilities, "
        "which a single dissenting teacher can pull to 0.",
        "对 *logits* 取平均也一样吗？不一样：那是概率的几何平均，一个持异议的教师就能把某类拉到 0。",
    ),
    check=several_teachers,
    exercises=("kl-backward",),
    docs="interview.md",
)


def samples_stand_for_the_distribution():
    rng = np.random.default_rng(14)
    teacher, student = rng.normal(size=(2, 1, 6))
    soft, _ = ops.soft_cross_entropy_forward(student, teacher, 1.0)
    p = ops.softmax_forward(teacher)[0][0]
    drawn = rng.choice(6, size=40000, p=p)  # what a black box writes
    hard, cache = ops.cross_entropy_forward(np.repeat(student, 40000, axis=0), drawn)
    assert abs(hard - soft) < 0.02
    sampled = ops.cross_entropy_backward(1.0, cache).sum(axis=0)
    exact = ops.softmax_forward(student)[0][0] - p
    assert np.abs(sampled - exact).max() < 0.01
    best = np.argmax(p)  # the most likely text only: another target
    greedy = ops.softmax_forward(student)[0][0] - np.eye(6)[best]
    assert np.abs(greedy - exact).max() > 0.1


LLM_DISTILLATION = Card(
    id="llm-distillation",
    topic=TOPIC,
    question=Text(
        "Distilling a large language model: black box, sequence level, on-policy?",
        "蒸馏大语言模型：黑盒、序列级、on-policy 各指什么？",
    ),
    answer=Text(
        "Black box: only texts come out, so one trains on them. Sequence level: the student learns "
        "the teacher's outputs; on samples this is forward KL, estimated. On-policy: the student "
        "writes, the teacher judges its tokens, often by reverse KL; so the student is trained on "
        "its own mistakes.",
        "黑盒：只能拿到文本，就在文本上训练。序列级：学生学习教师生成的序列；用采样的序列，就是前向 KL 的估计。"
        "On-policy：学生自己写，教师给它的词元打分，常用反向 KL；学生因此在自己的错误上得到训练。",
    ),
    trap=Text(
        "Beam search or samples of the teacher? Its best text is easier to learn and less varied: it "
        "is the mode, not the distribution.",
        "用教师的束搜索结果还是采样结果？最优文本更好学但更单一：那是众数，不是分布。",
    ),
    check=samples_stand_for_the_distribution,
    exercises=("soft-targets",),
    docs="results.md",
)

CARDS = (
    WHAT_IS_DISTILLATION,
    TEMPERATURE,
    TAU_SQUARED,
    LOGIT_LIMIT,
    KL_OR_CROSS_ENTROPY,
    KL_DIRECTION,
    BATCHMEAN,
    HARD_LABEL_WEIGHT,
    TEACHER_FROZEN,
    CAPACITY_GAP,
    TAXONOMY,
    DIFFERENT_SHAPES,
    OTHER_ARCHITECTURE,
    MANY_TEACHERS,
    LLM_DISTILLATION,
)

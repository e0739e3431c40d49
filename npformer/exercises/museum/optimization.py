"""Training: the optimizer, what is read from the settings, and what a stop forgets."""

import numpy as np

from npformer import optim
from npformer.data.masking import mask_tokens as mask_tokens_of_batch
from npformer.data.tokenizer import SpecialIds
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.text import Text


def adam_step(p, g, m, v, t, lr):
    """Return p, m and v after step t (from 1) of Adam: betas 0.9, 0.999, eps 1e-8; arrays alike."""
    p, m, v = p.copy(), m.copy(), v.copy()
    state = optim.OptimizerState(t - 1, {"m": {"p": m}, "v": {"p": v}})
    optim.Adam().update({"p": p}, {"p": g}, state, lr)
    return p, m, v


def without_bias_correction(p, g, m, v, t, lr):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g * g
    return p - lr * m / (np.sqrt(v) + 1e-8), m, v


def test_the_first_step_has_the_size_of_the_rate(fn):
    g = np.array([1e-3, -5.0, 200.0])
    p, _, _ = fn(np.zeros(3), g, np.zeros(3), np.zeros(3), 1, 0.01)
    assert np.allclose(p, -0.01 * np.sign(g), rtol=1e-4)


ADAM_BIAS = Bug(
    id="adam-without-bias-correction",
    title=Text(
        "Adam without bias correction, at a constant rate", "恒定学习率下没有偏差校正的 Adam"
    ),
    story=Text(
        "An optimizer released with a large model leaves Adam's bias correction out; its warm-up "
        "hides that. A later script took the optimizer and switched the warm-up off. Its first step "
        "is 3.16 times too long, its twelfth 6.57 times.",
        "随某个大模型发布的优化器省掉了 Adam 的偏差校正，靠学习率预热来掩盖。后来的一个脚本沿用了它，"
        "却关掉了预热：第一步是应有的 3.16 倍，第十二步达到 6.57 倍。",
    ),
    statement=Text(
        "`adam_step(p, g, m, v, t, lr)` returns the new `(p, m, v)` after step `t`, counted from 1, "
        "of Adam as published, with bias correction: $\\beta_1 = 0.9$, $\\beta_2 = 0.999$, "
        "$\\epsilon = 10^{-8}$ outside the root. All arrays have one shape; the given ones are not "
        "written to.",
        "`adam_step(p, g, m, v, t, lr)` 返回原始论文中的 Adam（含偏差校正）第 `t` 步（从 1 开始）之后的 "
        "`(p, m, v)`：$\\beta_1 = 0.9$，$\\beta_2 = 0.999$，$\\epsilon = 10^{-8}$ 加在根号外。"
        "所有数组形状相同；传入的数组不被改写。",
    ),
    right=adam_step,
    wrong=without_bias_correction,
    symptom=Text(
        "From zero moments the first step is lr times the sign of the gradient, whatever its size.",
        "矩从零开始时，第一步等于 lr 乘以梯度的符号，与梯度大小无关。",
    ),
    witness=test_the_first_step_has_the_size_of_the_rate,
    topic="optimization",
    tracks=("interview", "class"),
    exercise="adam",
)


def clip(grads, max_norm):
    """Return the gradients (a list of arrays), their common norm at most max_norm."""
    clipped = {str(i): g.copy() for i, g in enumerate(grads)}
    optim.clip_by_global_norm(clipped, max_norm)
    return list(clipped.values())


def each_tensor_by_itself(grads, max_norm):
    return [g * min(1.0, max_norm / (np.linalg.norm(g) + 1e-6)) for g in grads]


def test_the_direction_stays(fn):
    grads = [np.array([30.0, 40.0]), np.array([[0.5]])]
    a, b = fn(grads, 1.0)
    assert np.allclose(a[0] / b[0, 0], 60)


CLIP_EACH_TENSOR = Bug(
    id="clip-each-tensor",
    title=Text("Each tensor is clipped by itself", "每个张量各自裁剪"),
    story=Text(
        "A training script clips inside its optimizer, where only one tensor is at hand. Large "
        "gradients shrink, small ones stay: the step points elsewhere, and with two hundred tensors "
        "its norm may be fourteen times the limit.",
        "一个训练脚本在优化器内部裁剪梯度，那里每次只见到一个张量。大的梯度缩小，小的不变：更新的方向变了；"
        "若有两百个张量，总范数可达上限的十四倍。",
    ),
    statement=Text(
        "`clip(grads, max_norm)` takes a list of arrays of any shapes and returns the list scaled by "
        "one common number so that the Euclidean norm of all entries together is at most "
        "`max_norm`: $\\min(1, c/(\\lVert g \\rVert + 10^{-6}))$.",
        "`clip(grads, max_norm)` 接受由任意形状数组组成的列表，返回整体乘以同一个系数的列表，"
        "使所有元素合在一起的欧氏范数不超过 `max_norm`：系数为 "
        "$\\min(1, c/(\\lVert g \\rVert + 10^{-6}))$。",
    ),
    right=clip,
    wrong=each_tensor_by_itself,
    symptom=Text(
        "A large gradient beside a small one: their ratio must stay.",
        "一大一小两个梯度，它们的比值应当不变。",
    ),
    witness=test_the_direction_stays,
    topic="optimization",
    tracks=("interview", "class"),
    exercise="clip-global-norm",
)


def adamw_first_step(p, g, lr, weight_decay):
    """Return p after AdamW's first step; p, g: (I, O), betas 0.9, 0.999, eps 1e-8."""
    params = {"p": p.copy()}
    adamw = optim.AdamW(weight_decay=weight_decay)
    adamw.update(params, {"p": g}, adamw.init(params), lr)
    return params["p"]


def its_own_decay(p, g, lr, weight_decay):
    settings = {"lr": lr, "weight_decay": weight_decay}
    decay = settings.get("decay", 0.01)
    return p * (1 - settings["lr"] * decay) - settings["lr"] * g / (np.abs(g) + 1e-8)


def test_a_large_decay(fn):
    p, g = np.array([[2.0, -4.0, 8.0]]), np.ones((1, 3))
    assert np.allclose(fn(p, g, 0.1, 5.0), p * 0.5 - 0.1)


DECAY_NOT_READ = Bug(
    id="setting-never-read",
    title=Text("An option that is parsed and never read", "解析了却从未读取的选项"),
    story=Text(
        "A script has an option for the weight decay; the optimizer is built with a constant. "
        "In the same script a table of epochs for each task sets a field whose name lacks its last "
        "letter, and so is never read. Whoever tunes such a setting measures noise.",
        "一个脚本提供了权重衰减的选项，构造优化器时用的却是常数。同一个脚本里还有一张各任务训练轮数的表，"
        "写入的字段名少了最后一个字母，因此从未被读取。调这样的参数，测到的只是噪声。",
    ),
    statement=Text(
        "`adamw_first_step(p, g, lr, weight_decay)` returns the matrix `p` (I, O) after the first "
        "step of AdamW with gradient `g`, moments starting at zero: "
        "$p\\,(1 - \\eta\\lambda) - \\eta\\,g/(|g| + 10^{-8})$, with $\\eta$ = `lr` and $\\lambda$ = "
        "`weight_decay`.",
        "`adamw_first_step(p, g, lr, weight_decay)` 返回矩阵 `p` (I, O) 在梯度 `g` 下经过 AdamW 第一步"
        "之后的值，矩从零开始：$p\\,(1 - \\eta\\lambda) - \\eta\\,g/(|g| + 10^{-8})$，"
        "其中 $\\eta$ = `lr`，$\\lambda$ = `weight_decay`。",
    ),
    right=adamw_first_step,
    wrong=its_own_decay,
    symptom=Text(
        "Another decay than the usual 0.01 must change the result. Every option deserves a test "
        "that moves it.",
        "换一个不是 0.01 的衰减，结果应当改变。每个选项都该有一个改动它的测试。",
    ),
    witness=test_a_large_decay,
    topic="optimization",
    tracks=("class",),
    exercise="adamw",
)


def adam_with_a_stop(p, grads, lr, stop):
    """Return p (D,) after a step of Adam for each row of grads (N, D), saved and loaded at stop."""
    adam, params = optim.Adam(), {"p": p.copy()}
    state = adam.init(params)
    for step, g in enumerate(grads):
        if step == stop:
            arrays = {name: a.copy() for name, a in state.to_arrays().items()}
            state = optim.OptimizerState.from_arrays(arrays, state.step)
        adam.update(params, {"p": g}, state, lr)
    return params["p"]


def only_the_weights_are_saved(p, grads, lr, stop):
    for step, g in enumerate(grads):
        if step in (0, stop):
            m, v, t = np.zeros_like(p), np.zeros_like(p), 0
        t += 1
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - lr * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


def test_stopping_changes_nothing(fn):
    rng = np.random.default_rng(0)
    p, grads = rng.normal(size=3), rng.normal(size=(7, 3))
    assert np.allclose(fn(p, grads, 0.1, 4), fn(p, grads, 0.1, 0))


RESUME_FORGETS = Bug(
    id="resume-forgets-the-moments",
    title=Text("A resumed run that starts over", "恢复训练等于重新开始"),
    story=Text(
        "A distillation script can continue from a checkpoint, which holds the weights and nothing "
        "else. The optimizer's moments start at zero again and the schedule warms up once more: the "
        "run goes on, as another run.",
        "一个蒸馏脚本可以从检查点继续训练，但检查点里只有权重。优化器的矩又从零开始，学习率再次预热："
        "训练是继续了，却已不是同一次训练。",
    ),
    statement=Text(
        "`adam_with_a_stop(p, grads, lr, stop)` does one step of Adam (betas 0.9 and 0.999, eps "
        "1e-8) on `p` (D,) for each row of `grads` (N, D). Before row `stop` (from 0) all is saved "
        "to a checkpoint and loaded again. Returns the last p, which must be that of a run without "
        "a stop.",
        "`adam_with_a_stop(p, grads, lr, stop)` 对 `p` (D,) 用 `grads` (N, D) 的每一行做一步 Adam"
        "（beta 为 0.9 与 0.999，eps 为 1e-8）。在第 `stop` 行（从 0 开始）之前，一切都存入检查点再读回来。"
        "返回最后的 p，它应当与不停顿的训练完全一致。",
    ),
    right=adam_with_a_stop,
    wrong=only_the_weights_are_saved,
    symptom=Text(
        "A stop in the middle and a stop before the first step must end at the same weights.",
        "中途停一次，与在第一步之前停，最后的权重应当相同。",
    ),
    witness=test_stopping_changes_nothing,
    topic="optimization",
    tracks=("class",),
    exercise="adam",
)


def mask_tokens(ids, p_mask, vocab_size, rng):
    """Return (masked ids, labels), both (B, T); ids 0 .. 4 are special, 4 is [MASK]."""
    return mask_tokens_of_batch(
        ids,
        np.ones(ids.shape, bool),
        SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4),
        rng,
        vocab_size=vocab_size,
        p_mask=p_mask,
    )


def at_least_one(ids, p_mask, vocab_size, rng):
    masked, labels = ids.copy(), np.full(ids.shape, -100)
    for row in range(len(ids)):
        words = np.flatnonzero(ids[row] > 4)
        number = min(len(words), max(1, round(len(words) * p_mask)))
        for place in rng.choice(words, number, replace=False):
            labels[row, place] = ids[row, place]
            how = rng.random()
            if how < 0.8:
                masked[row, place] = 4
            elif how >= 0.9:
                masked[row, place] = rng.integers(5, vocab_size)
    return masked, labels


def test_nothing_is_masked_at_zero(fn):
    ids = np.array([[2, 7, 8, 9, 3], [2, 5, 6, 3, 0]])
    masked, labels = fn(ids, 0.0, 20, np.random.default_rng(0))
    assert (masked == ids).all()
    assert (labels == -100).all()


MASKS_AT_ZERO = Bug(
    id="masks-at-probability-zero",
    title=Text("At least one token, even at probability zero", "概率为零也至少掩码一个词元"),
    story=Text(
        "A script that prepares text for distillation sets the masking probability to 0, with a "
        "remark that the corpus needs no masks. The number of masked tokens is the larger of 1 and "
        "the rounded share: every sequence has one token masked or replaced all the same.",
        "一个为蒸馏准备语料的脚本把掩码概率设为 0，并注明语料里不需要掩码。但掩码的个数取 1 与四舍五入后的"
        "份额中较大的一个：每个序列照样有一个词元被换成 [MASK] 或被替换。",
    ),
    statement=Text(
        "`mask_tokens(ids, p_mask, vocab_size, rng)`: each of the integers `ids` (B, T) that is not "
        "special (ids 0 to 4 are) is chosen with probability `p_mask`. Of the chosen ones 80 % "
        "become 4, [MASK], 10 % a random id from 5 to V - 1, 10 % stay. Returns `(masked, labels)`, "
        "both (B, T); `labels` has the original id where chosen and -100 elsewhere.",
        "`mask_tokens(ids, p_mask, vocab_size, rng)`：整数数组 `ids` (B, T) 中每个非特殊词元（0 到 4 为"
        "特殊词元）以概率 `p_mask` 被选中。选中的有 80% 变为 4（[MASK]），10% 变为 5 到 V - 1 之间的随机 "
        "id，10% 不变。返回 `(masked, labels)`，形状都是 (B, T)；`labels` 在选中处为原来的 id，其余为 -100。",
    ),
    right=mask_tokens,
    wrong=at_least_one,
    symptom=Text(
        "At p_mask = 0 nothing may change. The ends of a range are the first thing to test.",
        "p_mask = 0 时什么都不该变。取值范围的两端最值得先测。",
    ),
    witness=test_nothing_is_masked_at_zero,
    topic="encoder",
    tracks=("class",),
    exercise="mlm-masking",
)

BUGS = (ADAM_BIAS, CLIP_EACH_TENSOR, DECAY_NOT_READ, RESUME_FORGETS, MASKS_AT_ZERO)

"""TinyBERT's attention loss: raw scores, and which pairs count."""

import numpy as np

from npformer import distill, models
from npformer.exercises.distillation.soft_targets import softmax
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text


def attention_loss(student_scores, teacher_scores, keep):
    """Return the mean squared error of the scores, and its gradient dstudent_scores.

    Scores and gradient: (B, H, T, T), before the mask. keep: (B, T), True = real token.
    """
    term = distill.AttentionScoresTerm(levels=((1, 1),))
    student, teacher = (models.ModelOutput(scores=(a,)) for a in (student_scores, teacher_scores))
    loss, cache = term.forward(student, teacher, keep)
    dstudent, _ = term.backward(1.0, cache)
    return loss, dstudent.scores[0]


def attention_loss_cases(rng):
    """Return scores with and without padding; those of padding are as large as the others."""

    def case(lengths, h, t, part=""):
        student, teacher = rng.normal(size=(2, len(lengths), h, t, t))
        keep = np.arange(t) < np.array(lengths)[:, None]
        return Case({"student_scores": student, "teacher_scores": teacher, "keep": keep}, part)

    return [
        case([4, 4], 3, 4),
        case([5, 5, 5], 2, 5),
        case([6] * 4, 5, 6),
        case([3, 5, 1], 2, 6, "padding"),
        case([2, 4], 3, 5, "padding"),
        case([3, 0, 5, 2], 3, 5, "all-padding row"),
        case([0, 0], 3, 4, "nothing kept"),
        case([4, 2, 3], 1, 5, "one head"),
        case([1, 1], 3, 1, "length 1"),
    ]


def pairs_of(keep):
    """(B, T) -> (B, 1, T, T): query and key are real tokens."""
    return keep[:, None, :, None] & keep[:, None, None, :]


def squared_error(student, teacher, mask, n):
    error = (student - teacher) * mask
    return (error**2).sum() / n, 2 * error / n


def kept(student_scores, pairs):
    return max(int(np.broadcast_to(pairs, student_scores.shape).sum()), 1)


def queries_not_masked(student_scores, teacher_scores, keep):
    keys = keep[:, None, None, :]
    return squared_error(student_scores, teacher_scores, keys, kept(student_scores, keys))


def divided_by_the_padded_area(student_scores, teacher_scores, keep):
    return squared_error(student_scores, teacher_scores, pairs_of(keep), student_scores.size)


def as_released(student_scores, teacher_scores, keep):
    keys = keep[:, None, None, :]
    return squared_error(student_scores, teacher_scores, keys, student_scores.size)


def mask_forgotten(student_scores, teacher_scores, keep):
    return squared_error(student_scores, teacher_scores, 1.0, student_scores.size)


def mask_in_the_count_alone(student_scores, teacher_scores, keep):
    n = kept(student_scores, pairs_of(keep))
    return squared_error(student_scores, teacher_scores, 1.0, n)


def mask_forgotten_in_the_gradient(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    n = kept(student_scores, pairs)
    loss, _ = squared_error(student_scores, teacher_scores, pairs, n)
    return loss, 2 * (student_scores - teacher_scores) / n


def compared_after_the_softmax(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    keys = np.where(keep, 0, -1e9)[:, None, None, :]
    p, q = softmax(student_scores + keys), softmax(teacher_scores + keys)
    loss, dp = squared_error(p, q, pairs, kept(student_scores, pairs))
    return loss, p * (dp - (dp * p).sum(axis=-1, keepdims=True))


def minus_10000_compared(student_scores, teacher_scores, keep):
    masked = np.where(keep[:, None, None, :], student_scores, -1e4)
    loss, d = squared_error(masked, teacher_scores, 1.0, student_scores.size)
    return loss, d * keep[:, None, None, :]


def every_negative_score_zeroed(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    positive = student_scores > -1e-3
    student = np.where(positive, student_scores, 0)
    teacher = np.where(teacher_scores > -1e-3, teacher_scores, 0)
    loss, d = squared_error(student, teacher, pairs, kept(student_scores, pairs))
    return loss, d * positive


def heads_averaged_first(student_scores, teacher_scores, keep):
    pairs, h = pairs_of(keep), student_scores.shape[1]
    student = student_scores.mean(axis=1, keepdims=True)
    teacher = teacher_scores.mean(axis=1, keepdims=True)
    loss, d = squared_error(student, teacher, pairs, max(int(pairs.sum()), 1))
    return loss, np.repeat(d / h, h, axis=1)


def heads_summed(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    return squared_error(student_scores, teacher_scores, pairs, max(int(pairs.sum()), 1))


def mean_of_means(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    each = np.maximum(pairs.sum(axis=(2, 3), keepdims=True), 1) * student_scores.shape[1]
    error = (student_scores - teacher_scores) * pairs
    n = each * len(keep)
    return (error**2 / n).sum(), 2 * error / n


def divided_by_tokens(student_scores, teacher_scores, keep):
    n = max(int(keep.sum()), 1) * student_scores.shape[1]
    return squared_error(student_scores, teacher_scores, pairs_of(keep), n)


def two_forgotten(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    loss, d = squared_error(student_scores, teacher_scores, pairs, kept(student_scores, pairs))
    return loss, d / 2


def nothing_kept_divides_by_zero(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    n = np.broadcast_to(pairs, student_scores.shape).sum()
    return squared_error(student_scores, teacher_scores, pairs, n)


def attention_loss_terms(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    factor = 2 * pairs / kept(student_scores, pairs)
    return {
        "dstudent_scores": {
            "student_scores": factor * student_scores,
            "- teacher_scores": -factor * teacher_scores,
        }
    }


def attention_loss_steps(student_scores, teacher_scores, keep):
    pairs = pairs_of(keep)
    n = kept(student_scores, pairs)
    return {"pairs": pairs, "n": n, "error": (student_scores - teacher_scores) * pairs}


ATTENTION_LOSS = Exercise(
    id="attention-loss",
    title=Text("TinyBERT's attention loss", "TinyBERT 的注意力损失"),
    statement=Text(
        "TinyBERT compares attention **scores**, $A = qk^\\top/\\sqrt K$, before mask and softmax. "
        "`student_scores` and `teacher_scores` are (B, H, T, T), head by head; `keep` (B, T) is True "
        "for real tokens, and $k_{bt}$ is `keep` as 0 or 1, not a key. A pair (`pairs`, (B, 1, T, T)) counts if its query *and* its key are real "
        "tokens:\n\n"
        "$$L = \\frac1n \\sum_{b,h,t,s} k_{bt} k_{bs} (A^S_{bhts} - A^T_{bhts})^2, \\qquad "
        "n = H \\sum_{b,t,s} k_{bt} k_{bs}.$$\n\n"
        "Return `loss` and its gradient `dstudent_scores`, (B, H, T, T); the teacher is a constant. "
        "If nothing is kept, the loss is 0 and so is the gradient.",
        "TinyBERT 比较的是掩码和 softmax **之前**的注意力分数 $A = qk^\\top/\\sqrt K$。`student_scores` 与 "
        "`teacher_scores` 形状为 (B, H, T, T)，逐头比较；`keep` (B, T) 为 True 的是真实词元，"
        "$k_{bt}$ 即取 0/1 的 `keep`（不是 key）。只有 query **和** key "
        "都是真实词元的一对（`pairs`，形状 (B, 1, T, T)）才计入：\n\n"
        "$$L = \\frac1n \\sum_{b,h,t,s} k_{bt} k_{bs} (A^S_{bhts} - A^T_{bhts})^2, \\qquad "
        "n = H \\sum_{b,t,s} k_{bt} k_{bs}.$$\n\n"
        "返回 `loss` 及其梯度 `dstudent_scores`，形状 (B, H, T, T)；教师是常量。如果什么都不保留，损失和梯度都是 0。",
    ),
    reference=attention_loss,
    library=(distill.AttentionScoresTerm.forward, distill.AttentionScoresTerm.backward),
    outputs=("loss", "dstudent_scores"),
    cases=attention_loss_cases,
    hints=(
        Text(
            "It is a mean squared error; all the work is in saying which entries count, and dividing by "
            "how many these are.",
            "这就是均方误差；关键在于哪些元素计入，以及除以它们的个数。",
        ),
        Text(
            "The pairs are $k_{bt} k_{bs}$, the same in every head. "
            "$dA^S = \\frac2n\\,k_{bt} k_{bs}\\,(A^S - A^T)$.",
            "各头的词元对相同，都是 $k_{bt} k_{bs}$。$dA^S = \\frac2n\\,k_{bt} k_{bs}\\,(A^S - A^T)$。",
        ),
        Text(
            "`pairs = keep[:, None, :, None] & keep[:, None, None, :]`; `n = max(H * int(pairs.sum()), 1)`; "
            "`error = (student_scores - teacher_scores) * pairs`.",
            "`pairs = keep[:, None, :, None] & keep[:, None, None, :]`；`n = max(H * int(pairs.sum()), 1)`；"
            "`error = (student_scores - teacher_scores) * pairs`。",
        ),
    ),
    misconceptions=(
        Misconception(
            "queries-not-masked",
            queries_not_masked,
            Text(
                "only padded keys are left out, with a mask (B, 1, 1, T): padded queries still count, "
                "though nobody reads what they attend to. Mask both.",
                "只去掉了填充的 key（掩码形状 (B, 1, 1, T)）；填充的 query 仍被计入，而没有人会用到它们的注意力。两者都要屏蔽。",
            ),
        ),
        Misconception(
            "padded-area",
            divided_by_the_padded_area,
            Text(
                "the sum is over the kept pairs, but it is divided by B H T T: padding dilutes the loss. "
                "Divide by the number of kept pairs.",
                "只对保留的词元对求和，却除以 B H T T：填充会稀释损失。应除以保留的词元对个数。",
            ),
        ),
        Misconception(
            "as-released",
            as_released,
            Text(
                "this is TinyBERT's released code: padded keys are zeroed in both models, padded queries "
                "count, and `.mean()` divides by B H T T. Mask the queries too, and divide by the kept "
                "pairs.",
                "这与 TinyBERT 发布的代码相同：两个模型里填充的 key 都置零，填充的 query 仍计入，`.mean()` 除以 "
                "B H T T。query 也要屏蔽，并且除以保留的词元对个数。",
            ),
        ),
        Misconception(
            "mask-forgotten",
            mask_forgotten,
            Text(
                "padding counts like real tokens: keep is not used.",
                "填充与真实词元一样被计入：没有用到 keep。",
            ),
        ),
        Misconception(
            "mask-in-the-count-alone",
            mask_in_the_count_alone,
            Text(
                "the sum runs over all pairs and is divided by the kept ones: mask the errors too.",
                "对所有词元对求和，却只除以保留的个数：误差也要屏蔽。",
            ),
        ),
        Misconception(
            "mask-forgotten-in-the-gradient",
            mask_forgotten_in_the_gradient,
            Text(
                "the loss is masked, its gradient is not: an entry that the loss does not read has "
                "gradient zero.",
                "损失用了掩码，梯度没有用：损失没有读到的元素梯度为零。",
            ),
        ),
        Misconception(
            "after-the-softmax",
            compared_after_the_softmax,
            Text(
                "the probabilities are compared. TinyBERT compares the scores before the softmax, which "
                "its authors found to converge faster.",
                "比较的是 softmax 之后的概率。TinyBERT 比较 softmax 之前的分数，作者发现这样收敛更快。",
            ),
        ),
        Misconception(
            "minus-10000-compared",
            minus_10000_compared,
            Text(
                "the student's masked scores, -10000, are compared with the teacher's: the loss is "
                "nothing but the mask. Leave the padded pairs out.",
                "把学生被屏蔽的分数 -10000 与教师的分数比较：损失里几乎只剩掩码。应去掉填充的词元对。",
            ),
        ),
        Misconception(
            "negative-scores-zeroed",
            every_negative_score_zeroed,
            Text(
                "masked scores are looked for by a threshold near zero (`<= -1e-3`), which zeroes every "
                "negative real score, about half of them. The mask is known: use keep.",
                "用接近零的阈值（`<= -1e-3`）来识别被屏蔽的分数，结果把所有负的真实分数（约一半）也置零了。掩码是已知的：用 keep。",
            ),
        ),
        Misconception(
            "heads-averaged-first",
            heads_averaged_first,
            Text(
                "the heads are averaged before they are compared: errors of opposite sign cancel. Compare "
                "head by head, then take the mean.",
                "先对各头求平均再比较：符号相反的误差会抵消。应逐头比较，再取平均。",
            ),
        ),
        Misconception(
            "heads-summed",
            heads_summed,
            Text(
                "the heads are summed: the formula has their mean, so n has the factor H.",
                "对各头求了和：公式里是平均，所以 n 里有因子 H。",
            ),
        ),
        Misconception(
            "mean-of-means",
            mean_of_means,
            Text(
                "each sequence is averaged by itself and then the sequences: pairs of short ones count "
                "more. All kept pairs count alike.",
                "先对每个序列求平均，再对序列求平均：短序列的词元对权重更大。所有保留的词元对应同等对待。",
            ),
        ),
        Misconception(
            "tokens-counted",
            divided_by_tokens,
            Text(
                "divided by the number of tokens: what is summed are pairs, $\\sum_b n_b^2$ of them in "
                "each head.",
                "除以了词元数：求和的是词元对，每个头有 $\\sum_b n_b^2$ 个。",
            ),
        ),
        Misconception(
            "two-of-the-square",
            two_forgotten,
            Text("the 2 of the square is missing from the gradient.", "梯度里漏了平方求导的 2。"),
        ),
        Misconception(
            "nothing-kept",
            nothing_kept_divides_by_zero,
            Text(
                "with nothing kept this is 0/0: divide by at least 1.",
                "什么都不保留时是 0/0：除数至少取 1。",
            ),
        ),
    ),
    topic="distillation",
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=12,
    terms=attention_loss_terms,
    steps=attention_loss_steps,
    factors=lambda student_scores, teacher_scores, keep: {
        "B": len(student_scores),
        "H": student_scores.shape[1],
        "T": student_scores.shape[2],
        "n": kept(student_scores, pairs_of(keep)),
    },
    docs="derivations/distillation.md",
)

EXERCISES = (ATTENTION_LOSS,)

"""TinyBERT's loss on attention scores: one function, four ways to count padding wrongly."""

import numpy as np

from npformer.distill.terms import AttentionScoresTerm
from npformer.exercises.museum.bugs import Bug
from npformer.exercises.text import Text
from npformer.models import ModelOutput


def attention_loss(student, teacher, keep):
    """Return the mean squared error of scores (B, H, T, T) over real pairs; keep: (B, T) booleans."""
    loss, _ = AttentionScoresTerm(levels=((1, 1),)).forward(
        ModelOutput(scores=(student,)), ModelOutput(scores=(teacher,)), keep
    )
    return loss


STATEMENT = Text(
    "`attention_loss(student, teacher, keep)` returns the mean of the squared differences of two "
    "arrays of attention scores before mask and softmax, both (B, H, T, T), as a float. The mean "
    "runs over all heads and over the pairs whose query *and* key are real tokens: `keep` is "
    "boolean, (B, T), True = real. With $n_b$ real tokens in sentence b it divides by "
    "$H\\sum_b n_b^2$.",
    "`attention_loss(student, teacher, keep)` 返回两组注意力分数之差的平方的平均值（浮点数）。"
    "分数取自掩码与 softmax 之前，形状均为 (B, H, T, T)。平均遍及所有头，以及 query 与 key *都*是真实词元的"
    "位置对：`keep` 为布尔数组 (B, T)，True = 真实词元。设句子 b 有 $n_b$ 个真实词元，除数为 "
    "$H\\sum_b n_b^2$。",
)


def mask_added_first(student, teacher, keep):
    mask = np.where(keep, 0.0, -1e4)[:, None, None, :]
    return float((((student + mask) - (teacher + mask)) ** 2).mean())


def test_padding_scores_do_not_count(fn):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2, 3, 4, 4))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    other = np.where(keep[:, None, None, :], student, 7.0)
    assert np.isclose(fn(other, teacher, keep), fn(student, teacher, keep))


MASK_IN_THE_SCORES = Bug(
    id="attention-loss-after-the-mask",
    title=Text("The loss is taken where the mask is already added", "在加了掩码的分数上算损失"),
    story=Text(
        "Models add -10000 to the scores of padding and hand on the sum. A squared error of two such "
        "arrays counts every padded key like a word; in float32 it also loses the digits of a score "
        "beside the 10000, and where two models mask with different numbers it explodes.",
        "模型给填充位置的分数加上 -10000，再把和传出来。对两组这样的分数求平方误差，每个填充的 key 都被当成"
        "词来计算；在 float32 里，分数的有效数字还会被 10000 吃掉；两个模型的掩码数值不同时，损失就会爆炸。",
    ),
    statement=STATEMENT,
    right=attention_loss,
    wrong=mask_added_first,
    symptom=Text(
        "Change the scores of padded keys: the loss must stay.",
        "改动填充 key 的分数，损失应当不变。",
    ),
    witness=test_padding_scores_do_not_count,
    topic="distillation",
    tracks=("interview", "class"),
    exercise="attention-loss",
)


def keys_only(student, teacher, keep):
    pairs = np.broadcast_to(keep[:, None, None, :], student.shape)
    return float(((student - teacher)[pairs] ** 2).mean())


def test_padded_queries_do_not_count(fn):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 2, 3, 4, 4))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    other = np.where(keep[:, None, :, None], student, 7.0)
    assert np.isclose(fn(other, teacher, keep), fn(student, teacher, keep))


QUERIES_NOT_MASKED = Bug(
    id="attention-loss-padded-queries",
    title=Text("Padded queries count", "填充的 query 也被计入"),
    story=Text(
        "A mask of shape (B, 1, 1, T) hides keys, which is all that attention needs. The loss on "
        "scores used the same mask, and so learned what padding would attend to. With 32 words "
        "padded to 128, three quarters of that loss come from rows nobody reads.",
        "形状 (B, 1, 1, T) 的掩码屏蔽 key，这对注意力已经足够。但分数上的损失也用了这个掩码，于是学生还要学习"
        "填充位置会关注什么。32 个词填充到 128 时，四分之三的损失来自没人读取的行。",
    ),
    statement=STATEMENT,
    right=attention_loss,
    wrong=keys_only,
    symptom=Text(
        "Change the scores of padded queries: the loss must stay.",
        "改动填充 query 的分数，损失应当不变。",
    ),
    witness=test_padded_queries_do_not_count,
    topic="distillation",
    tracks=("class",),
    exercise="attention-loss",
)


def divided_by_the_area(student, teacher, keep):
    pairs = keep[:, None, :, None] & keep[:, None, None, :]
    return float((((student - teacher) * pairs) ** 2).mean())


def test_a_difference_of_one_is_one(fn):
    scores = np.random.default_rng(0).normal(size=(2, 3, 4, 4))
    keep = np.array([[True, True, True, False], [True, True, False, False]])
    assert np.isclose(fn(scores + 1, scores, keep), 1.0)


DIVIDED_BY_AREA = Bug(
    id="attention-loss-padded-area",
    title=Text("Padding in the divisor", "除数里含有填充"),
    story=Text(
        "The scores of padding were set to zero in both models and the mean taken over all: they add "
        "nothing, but they are counted. The same sentence weighs less the longer its neighbours "
        "are; padded from 32 to 128 its loss on real pairs is sixteen times smaller.",
        "两个模型在填充处的分数都被置零，再对全部求平均：它们不贡献数值，却计入了个数。同一句话的分量取决于同批句子"
        "的长度；从 32 填充到 128，真实位置对上的损失缩小到十六分之一。",
    ),
    statement=STATEMENT,
    right=attention_loss,
    wrong=divided_by_the_area,
    symptom=Text(
        "If all scores differ by 1 the mean is 1, padding or not. Or: further padding changes nothing.",
        "所有分数都相差 1 时，平均就是 1，与填充无关。或者：再多填充一些，损失不变。",
    ),
    witness=test_a_difference_of_one_is_one,
    topic="distillation",
    tracks=("class",),
    exercise="attention-loss",
)


def negative_scores_taken_for_masked(student, teacher, keep):
    student, teacher = (np.where(x <= -1e-3, 0.0, x) for x in (student, teacher))
    pairs = np.broadcast_to(keep[:, None, :, None] & keep[:, None, None, :], student.shape)
    return float(((student - teacher)[pairs] ** 2).mean())


def test_negative_scores_count(fn):
    keep = np.ones((1, 3), bool)
    student, teacher = np.full((1, 2, 3, 3), -2.0), np.full((1, 2, 3, 3), -5.0)
    assert np.isclose(fn(student, teacher, keep), 9.0)


NEGATIVE_SCORES = Bug(
    id="attention-loss-threshold",
    title=Text("Every negative score is taken for a masked one", "把所有负分数都当成被屏蔽的"),
    story=Text(
        "To find the masked scores a toolkit compares with a threshold. Meant was a large negative "
        "number; written was -1e-3. Half of all real scores are below it: they become zero, in "
        "student and teacher, and their differences are never seen.",
        "一个工具包用阈值来识别被屏蔽的分数。本意应是一个很大的负数，写成的却是 -1e-3。真实分数有一半低于它："
        "在学生和教师中都被置零，它们的差异再也看不到了。",
    ),
    statement=STATEMENT,
    right=attention_loss,
    wrong=negative_scores_taken_for_masked,
    symptom=Text(
        "Negative scores, without any padding.",
        "用负的分数，一个填充也不需要。",
    ),
    witness=test_negative_scores_count,
    topic="distillation",
    tracks=("class",),
    exercise="attention-loss",
)

BUGS = (MASK_IN_THE_SCORES, QUERIES_NOT_MASKED, DIVIDED_BY_AREA, NEGATIVE_SCORES)

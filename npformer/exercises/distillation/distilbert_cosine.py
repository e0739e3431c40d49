"""DistilBERT's cosine loss on the last hidden states."""

import numpy as np

from npformer import ops
from npformer.exercises.distillation.pkd_loss import unit
from npformer.exercises.exercise import Case, Exercise


def cosine_loss(student_hidden, teacher_hidden, keep):
    """Return the mean of one minus the cosine, and its gradient dstudent_hidden.

    Hidden states and gradient: (B, T, D). keep: (B, T), True = real token.
    """
    loss, cache = ops.cosine_forward(student_hidden, teacher_hidden, keep)
    return loss, ops.cosine_backward(1.0, cache)


def cosine_loss_cases(rng):
    """Return hidden states of one width, with and without padding."""

    def case(lengths, t, d, part="", scale=1.0):
        student, teacher = rng.normal(size=(2, len(lengths), t, d))
        keep = np.arange(t) < np.array(lengths)[:, None]
        return Case(
            {"student_hidden": scale * student, "teacher_hidden": teacher + 0.5, "keep": keep}, part
        )

    return [
        case([3, 3], 3, 5),
        case([4, 4, 4], 4, 7),
        case([5] * 4, 5, 6, scale=3.0),
        case([2, 5, 1], 6, 4, "padding"),
        case([3, 4], 5, 7, "padding"),
        case([3, 0, 5, 2], 5, 6, "all-padding row"),
        case([0, 0], 3, 4, "nothing kept"),
        case([1, 1], 1, 5, "length 1"),
        case([4, 2, 3], 5, 7, "long vectors", 1e4),
    ]


def parts(student_hidden, teacher_hidden, keep):
    """Unit vectors, cosines and the number of kept tokens."""
    x, t = unit(student_hidden), unit(teacher_hidden)
    return x, t, (x * t).sum(axis=-1, keepdims=True), max(int(keep.sum()), 1)


def right(student_hidden, teacher_hidden, keep):
    x, t, cos, n = parts(student_hidden, teacher_hidden, keep)
    mask = keep[..., None]
    length = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    return (mask * (1 - cos)).sum() / n, mask * (cos * x - t) / (length * n)


def cosine_loss_terms(student_hidden, teacher_hidden, keep):
    x, t, cos, n = parts(student_hidden, teacher_hidden, keep)
    length = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    factor = keep[..., None] / (length * n)
    return {"dstudent_hidden": {"- t_unit": -factor * t, "cos x_unit": factor * cos * x}}


def cosine_loss_steps(student_hidden, teacher_hidden, keep):
    x, t, cos, n = parts(student_hidden, teacher_hidden, keep)
    return {"x_unit": x, "t_unit": t, "cos": cos[..., 0], "n": n}


COSINE_LOSS = Exercise(
    id="distilbert-cosine",
    title="DistilBERT's cosine loss",
    statement=r"""
        DistilBERT adds to its losses one that turns the student's last hidden states into the
        directions of the teacher's. `student_hidden` and `teacher_hidden` are (B, T, D), `keep`
        (B, T) is True for real tokens, and $k_{bt}$ is `keep` as 0 or 1. With `x_unit` = x / |x|
        and `t_unit` = t / |t|, (B, T, D), and `cos` = x_unit · t_unit, (B, T),

        $$L = \frac1n \sum_{b,t} k_{bt} (1 - \cos_{bt}), \qquad n = \sum_{b,t} k_{bt}.$$

        Return `loss` and its gradient `dstudent_hidden`, (B, T, D); the teacher is a constant. No
        vector is zero. If nothing is kept, the loss is 0 and so is the gradient.""",
    reference=cosine_loss,
    library=(ops.cosine_forward, ops.cosine_backward),
    outputs=("loss", "dstudent_hidden"),
    cases=cosine_loss_cases,
    hints=(
        """The cosine does not change if x grows longer: its gradient is perpendicular to x, and
        smaller for a longer x.""",
        r"$\partial \cos / \partial x = (\hat t - \cos\,\hat x) / \lVert x \rVert$.",
        """`keep[..., None] * (cos[..., None] * x_unit - t_unit) / (length * n)`, with `length`
        = |x| of shape (B, T, 1) and `n = max(int(keep.sum()), 1)`.""",
    ),
    tracks=("class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=cosine_loss_terms,
    steps=cosine_loss_steps,
    factors=lambda student_hidden, teacher_hidden, keep: {
        "B": keep.shape[0],
        "T": keep.shape[1],
        "D": student_hidden.shape[2],
        "n": max(int(keep.sum()), 1),
    },
    docs="derivations/distillation.md",
)


@COSINE_LOSS.mistake("one-minus-missing")
def one_minus_forgotten(student_hidden, teacher_hidden, keep):
    """the cosine itself is taken for the loss: to make it small is to turn the student away. It is
    1 - cos."""
    _, _, cos, n = parts(student_hidden, teacher_hidden, keep)
    return (keep[..., None] * cos).sum() / n, -right(student_hidden, teacher_hidden, keep)[1]


@COSINE_LOSS.mistake("minus-the-cosine")
def minus_the_cosine(student_hidden, teacher_hidden, keep):
    """the 1 is missing: the gradient is right, but a loss of 0 should mean that the directions
    agree."""
    _, _, cos, n = parts(student_hidden, teacher_hidden, keep)
    return -(keep[..., None] * cos).sum() / n, right(student_hidden, teacher_hidden, keep)[1]


@COSINE_LOSS.mistake("sign")
def gradient_sign(student_hidden, teacher_hidden, keep):
    """this is the gradient of the cosine; the loss is 1 - cos, so there is a minus."""
    loss, d = right(student_hidden, teacher_hidden, keep)
    return loss, -d


@COSINE_LOSS.mistake("plain-product")
def plain_product(student_hidden, teacher_hidden, keep):
    """the vectors are not divided by their lengths: a product is a cosine only of unit vectors."""
    mask, n = keep[..., None], max(int(keep.sum()), 1)
    product = (student_hidden * teacher_hidden).sum(axis=-1, keepdims=True)
    return (mask * (1 - product)).sum() / n, mask * -teacher_hidden / n


@COSINE_LOSS.mistake("length-a-constant")
def length_as_a_constant(student_hidden, teacher_hidden, keep):
    """the length of x is treated as a constant: the part of t_unit along x, cos x_unit, is to be
    taken away."""
    _, t, _, n = parts(student_hidden, teacher_hidden, keep)
    length = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    loss, _ = right(student_hidden, teacher_hidden, keep)
    return loss, keep[..., None] * -t / (length * n)


@COSINE_LOSS.mistake("one-over-length-missing")
def one_over_length_forgotten(student_hidden, teacher_hidden, keep):
    """1/|x| is missing: a longer vector turns less."""
    loss, d = right(student_hidden, teacher_hidden, keep)
    return loss, d * np.linalg.norm(student_hidden, axis=-1, keepdims=True)


@COSINE_LOSS.mistake("teachers-length")
def teachers_length(student_hidden, teacher_hidden, keep):
    """divided by the teacher's length, expected the student's: it is x that moves."""
    loss, d = right(student_hidden, teacher_hidden, keep)
    lengths = [np.linalg.norm(a, axis=-1, keepdims=True) for a in (student_hidden, teacher_hidden)]
    return loss, d * lengths[0] / lengths[1]


@COSINE_LOSS.mistake("difference-of-unit-vectors")
def difference_of_unit_vectors(student_hidden, teacher_hidden, keep):
    """t_unit - x_unit has a part along x: subtract cos x_unit, the projection, instead of
    x_unit."""
    x, t, _, n = parts(student_hidden, teacher_hidden, keep)
    length = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    loss, _ = right(student_hidden, teacher_hidden, keep)
    return loss, keep[..., None] * (x - t) / (length * n)


@COSINE_LOSS.mistake("gradient-for-the-teacher")
def for_the_teacher(student_hidden, teacher_hidden, keep):
    """this is the gradient for the teacher's states, which are constants."""
    loss, _ = right(student_hidden, teacher_hidden, keep)
    return loss, right(teacher_hidden, student_hidden, keep)[1]


@COSINE_LOSS.mistake("padding-counted")
def padding_counted(student_hidden, teacher_hidden, keep):
    """padded tokens count like real ones: keep is not used."""
    return right(student_hidden, teacher_hidden, np.ones_like(keep))


@COSINE_LOSS.mistake("padding-in-the-mean")
def divided_by_all_tokens(student_hidden, teacher_hidden, keep):
    """padding is left out of the sum, but the sum is divided by B T: divide by `keep.sum()`."""
    loss, d = right(student_hidden, teacher_hidden, keep)
    share = keep.sum() / keep.size
    return loss * share, d * share


@COSINE_LOSS.mistake("padding-has-a-gradient")
def padding_has_a_gradient(student_hidden, teacher_hidden, keep):
    """the loss is masked, its gradient is not: padded tokens get zero."""
    loss, _ = right(student_hidden, teacher_hidden, keep)
    _, d = right(student_hidden, teacher_hidden, np.ones_like(keep))
    return loss, d * keep.size / max(int(keep.sum()), 1)


@COSINE_LOSS.mistake("padding-is-a-miss")
def padding_is_a_miss(student_hidden, teacher_hidden, keep):
    """the mask is on the cosine, not on 1 - cos: every padded token adds 1 to the loss."""
    _, _, cos, n = parts(student_hidden, teacher_hidden, keep)
    _, d = right(student_hidden, teacher_hidden, keep)
    return (1 - keep[..., None] * cos).sum() / n, d


@COSINE_LOSS.mistake("sum-over-tokens")
def summed(student_hidden, teacher_hidden, keep):
    """the tokens are summed: divide by how many are kept."""
    loss, d = right(student_hidden, teacher_hidden, keep)
    return loss * keep.sum(), d * keep.sum()


@COSINE_LOSS.mistake("mean-of-means")
def mean_of_means(student_hidden, teacher_hidden, keep):
    """each sequence is averaged by itself and then the sequences: tokens of short ones count more.
    All kept tokens count alike."""
    each = [
        right(student_hidden[i : i + 1], teacher_hidden[i : i + 1], keep[i : i + 1])
        for i in range(len(keep))
    ]
    return np.mean([loss for loss, _ in each]), np.concatenate([d for _, d in each]) / len(keep)


@COSINE_LOSS.mistake("one-vector-a-sequence")
def whole_sequences_compared(student_hidden, teacher_hidden, keep):
    """each sequence is flattened to one long vector: every token has a cosine of its own."""
    b, mask = len(keep), keep[..., None]
    flat = [(a * mask).reshape(b, 1, -1) for a in (student_hidden, teacher_hidden)]
    some = keep.any(axis=1)
    d = np.zeros_like(student_hidden)
    if not some.any():
        return 0.0, d
    loss, dflat = right(flat[0][some], flat[1][some], np.ones((some.sum(), 1), bool))
    d[some] = dflat.reshape(-1, *student_hidden.shape[1:])
    return loss, d

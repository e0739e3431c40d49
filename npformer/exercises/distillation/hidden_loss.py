"""TinyBERT's loss of hidden states, through a learned projection of the student's."""

import numpy as np

from npformer import distill, models
from npformer.exercises.exercise import Case, Exercise


def hidden_loss(student_hidden, teacher_hidden, w_h, keep):
    """Return the loss, and its gradients dstudent_hidden and dw_h.

    student_hidden: (B, T, D_S). teacher_hidden: (B, T, D_T). w_h: (D_S, D_T).
    keep: (B, T), True = real token.
    """
    term = distill.HiddenTerm(((0, 0),), ("h",), {"h.w": w_h})
    student, teacher = (models.ModelOutput(hidden=(h,)) for h in (student_hidden, teacher_hidden))
    loss, cache = term.forward(student, teacher, keep)
    dstudent, grads = term.backward(1.0, cache)
    return loss, dstudent.hidden[0], grads["h.w"]


def hidden_loss_cases(rng):
    """Return hidden states of a narrow student and a wide teacher, with and without padding."""

    def case(lengths, t, narrow, wide, part=""):
        b = len(lengths)
        return Case(
            {
                "student_hidden": rng.normal(size=(b, t, narrow)),
                "teacher_hidden": rng.normal(size=(b, t, wide)),
                "w_h": rng.normal(size=(narrow, wide)),
                "keep": np.arange(t) < np.array(lengths)[:, None],
            },
            part,
        )

    return [
        case([4, 4], 4, 3, 5),
        case([5, 5, 5], 5, 4, 7),
        case([3] * 5, 3, 6, 4),
        case([2, 5, 1], 6, 4, 8, "padding"),
        case([3, 4], 5, 3, 7, "padding"),
        case([3, 0, 2, 5], 5, 3, 6, "all-padding row"),
        case([0, 0], 4, 3, 5, "nothing kept"),
        case([1, 1], 1, 3, 4, "length 1"),
    ]


def gradients(student_hidden, w_h, derror):
    """Undo the projection."""
    d_s, d_t = w_h.shape
    return derror @ w_h.T, student_hidden.reshape(-1, d_s).T @ derror.reshape(-1, d_t)


def masked_error(student_hidden, teacher_hidden, w_h, keep):
    return (student_hidden @ w_h - teacher_hidden) * keep[..., None]


def of_error(student_hidden, w_h, error, n):
    return ((error**2).sum() / n, *gradients(student_hidden, w_h, 2 * error / n))


def tokens(keep):
    return max(int(keep.sum()), 1)


def hidden_loss_terms(student_hidden, teacher_hidden, w_h, keep):
    factor = 2 * keep[..., None] / (tokens(keep) * w_h.shape[1])
    of_student = gradients(student_hidden, w_h, factor * (student_hidden @ w_h))
    of_teacher = gradients(student_hidden, w_h, -factor * teacher_hidden)
    names = "student_hidden @ w_h", "- teacher_hidden"
    return {
        "dstudent_hidden": dict(zip(names, (of_student[0], of_teacher[0]), strict=True)),
        "dw_h": dict(zip(names, (of_student[1], of_teacher[1]), strict=True)),
    }


def hidden_loss_steps(student_hidden, teacher_hidden, w_h, keep):
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    n = tokens(keep) * w_h.shape[1]
    return {"error": error, "n": n, "derror": 2 * error / n}


HIDDEN_LOSS = Exercise(
    id="hidden-loss",
    title="Hidden states through a projection",
    statement=r"""
        The student is narrower than the teacher, so its hidden states are projected by a learned
        matrix before they are compared. `student_hidden` is (B, T, D_S), `teacher_hidden`
        (B, T, D_T), `w_h` (D_S, D_T), `keep` (B, T) with True = real token, and $k_{bt}$ is `keep`
        as 0 or 1:

        $$L = \frac1n \sum_{b,t} k_{bt} \lVert h^S_{bt} W_h - h^T_{bt} \rVert^2, \qquad n = D_T
        \sum_{b,t} k_{bt}.$$

        With `error` = $k\,(h^S W_h - h^T)$, return `loss` and its gradients `dstudent_hidden` and
        `dw_h`, each of the shape of its argument; the teacher is a constant. If nothing is kept,
        all three are 0.""",
    reference=hidden_loss,
    library=(distill.HiddenTerm.forward, distill.HiddenTerm.backward),
    outputs=("loss", "dstudent_hidden", "dw_h"),
    cases=hidden_loss_cases,
    hints=(
        """Two steps: a linear map without bias, then a mean squared error among the kept tokens.
        Undo the second, then the first.""",
        r"""$dE = \frac2n E$ with $E = k\,(h^S W_h - h^T)$; then $dh^S = dE\,W_h^\top$ and $dW_h =
        \sum_{b,t} (h^S_{bt})^\top dE_{bt}$.""",
        """`derror = 2 * error / n`; `derror @ w_h.T`; `student_hidden.reshape(-1, D_S).T @
        derror.reshape(-1, D_T)`.""",
    ),
    tracks=("class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=hidden_loss_terms,
    steps=hidden_loss_steps,
    factors=lambda student_hidden, teacher_hidden, w_h, keep: {
        "B": keep.shape[0],
        "T": keep.shape[1],
        "D_S": w_h.shape[0],
        "D_T": w_h.shape[1],
        "n": tokens(keep) * w_h.shape[1],
    },
    docs="derivations/distillation.md",
)


@HIDDEN_LOSS.mistake("padding-counted")
def padding_counted(student_hidden, teacher_hidden, w_h, keep):
    """padded tokens count like any other, as in TinyBERT's released code: the loss of a sentence
    then depends on what it is batched with. Leave them out of sum and count."""
    error = student_hidden @ w_h - teacher_hidden
    return of_error(student_hidden, w_h, error, error.size)


@HIDDEN_LOSS.mistake("padding-in-the-mean")
def divided_by_all_tokens(student_hidden, teacher_hidden, w_h, keep):
    """the errors are masked, but they are divided by B T D_T: divide by the number of kept tokens
    times D_T."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    return of_error(student_hidden, w_h, error, error.size)


@HIDDEN_LOSS.mistake("mask-in-the-count-alone")
def mask_in_the_count_alone(student_hidden, teacher_hidden, w_h, keep):
    """the mean is over the kept tokens, but errors of padding are in the sum: multiply by
    `keep[..., None]`."""
    error = student_hidden @ w_h - teacher_hidden
    return of_error(student_hidden, w_h, error, tokens(keep) * w_h.shape[1])


@HIDDEN_LOSS.mistake("sum-over-features")
def summed_over_features(student_hidden, teacher_hidden, w_h, keep):
    """the squared length of the error is not divided by D_T: a mean squared error is a mean over
    features too."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    return of_error(student_hidden, w_h, error, tokens(keep))


@HIDDEN_LOSS.mistake("students-width")
def divided_by_the_students_width(student_hidden, teacher_hidden, w_h, keep):
    """divided by D_S: the error lives in the teacher's space and has D_T entries."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    return of_error(student_hidden, w_h, error, tokens(keep) * w_h.shape[0])


@HIDDEN_LOSS.mistake("mean-of-means")
def mean_of_means(student_hidden, teacher_hidden, w_h, keep):
    """each sequence is averaged by itself and then the sequences: tokens of short ones count more.
    All kept tokens count alike."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    n = np.maximum(keep.sum(axis=1), 1)[:, None, None] * (len(keep) * w_h.shape[1])
    return ((error**2 / n).sum(), *gradients(student_hidden, w_h, 2 * error / n))


@HIDDEN_LOSS.mistake("teacher-projected")
def teacher_projected(student_hidden, teacher_hidden, w_h, keep):
    """the projection is applied to the teacher. Then the student could match a teacher shrunk to
    zero, W = 0; TinyBERT's `fit_dense` is applied to the student."""
    error = (student_hidden - teacher_hidden @ w_h.T) * keep[..., None]
    n = tokens(keep) * w_h.shape[0]
    derror = 2 * error / n
    dw = -derror.reshape(-1, w_h.shape[0]).T @ teacher_hidden.reshape(-1, w_h.shape[1])
    return (error**2).sum() / n, derror, dw


@HIDDEN_LOSS.mistake("stops-at-the-projection")
def stopped_at_the_projection(student_hidden, teacher_hidden, w_h, keep):
    """dstudent_hidden is the gradient after the projection, of width D_T: multiply by the transpose
    of w_h."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    loss, _, dw = of_error(student_hidden, w_h, error, tokens(keep) * w_h.shape[1])
    return loss, 2 * error / (tokens(keep) * w_h.shape[1]), dw


@HIDDEN_LOSS.mistake("mask-forgotten-in-the-gradients")
def mask_forgotten_in_the_gradients(student_hidden, teacher_hidden, w_h, keep):
    """the loss is masked, the gradients are not: padding reaches dstudent_hidden and dw_h."""
    error = student_hidden @ w_h - teacher_hidden
    n = tokens(keep) * w_h.shape[1]
    kept = error * keep[..., None]
    return ((kept**2).sum() / n, *gradients(student_hidden, w_h, 2 * error / n))


@HIDDEN_LOSS.mistake("teacher-not-masked")
def student_masked_teacher_not(student_hidden, teacher_hidden, w_h, keep):
    """the student's padding is zeroed, the teacher's is not, so their difference there is the
    teacher's state. Mask the difference."""
    error = (student_hidden * keep[..., None]) @ w_h - teacher_hidden
    n = tokens(keep) * w_h.shape[1]
    loss, dx, dw = of_error(student_hidden * keep[..., None], w_h, error, n)
    return loss, dx * keep[..., None], dw


@HIDDEN_LOSS.mistake("teacher-missing-in-dw")
def dw_from_the_teacher(student_hidden, teacher_hidden, w_h, keep):
    """dw_h lacks the teacher: it is made from the projected states, where the error belongs."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    n = tokens(keep) * w_h.shape[1]
    loss, dx, _ = of_error(student_hidden, w_h, error, n)
    projected = (student_hidden @ w_h) * keep[..., None]
    return loss, dx, gradients(student_hidden, w_h, 2 * projected / n)[1]


@HIDDEN_LOSS.mistake("two-of-the-square")
def two_forgotten(student_hidden, teacher_hidden, w_h, keep):
    """the 2 of the square is missing from both gradients."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    loss, dx, dw = of_error(student_hidden, w_h, error, tokens(keep) * w_h.shape[1])
    return loss, dx / 2, dw / 2


@HIDDEN_LOSS.mistake("dw-averaged-again")
def dw_averaged(student_hidden, teacher_hidden, w_h, keep):
    """dw_h is divided by B once more: the mean is already in the error's gradient, so dw_h is a
    plain sum over tokens."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    loss, dx, dw = of_error(student_hidden, w_h, error, tokens(keep) * w_h.shape[1])
    return loss, dx, dw / len(keep)


@HIDDEN_LOSS.mistake("nothing-kept")
def nothing_kept_divides_by_zero(student_hidden, teacher_hidden, w_h, keep):
    """with nothing kept this is 0/0: divide by at least 1."""
    error = masked_error(student_hidden, teacher_hidden, w_h, keep)
    return of_error(student_hidden, w_h, error, keep.sum() * w_h.shape[1])

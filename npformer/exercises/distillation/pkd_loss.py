"""PKD: the directions of the [CLS] states of chosen layers."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def pkd_loss(student_hidden, teacher_hidden, levels):
    """Return the patient loss and its gradient dstudent_hidden.

    student_hidden and the gradient: (M + 1, B, T, D), the output of the embeddings first.
    teacher_hidden: (N + 1, B, T, D). levels: integers (P, 2), rows (m, g(m)).
    """
    m, g = levels.T
    loss, cache = ops.patient_forward(student_hidden[m, :, 0], teacher_hidden[g, :, 0])
    dstudent_hidden = np.zeros_like(student_hidden)
    np.add.at(dstudent_hidden, (m, slice(None), 0), ops.patient_backward(1.0, cache))
    return loss, dstudent_hidden


def pkd_loss_cases(rng):
    """Return hidden states of a shallow student and a deep teacher."""

    def case(levels, deep, b, t, d, part="", scale=1.0):
        shallow = max(m for m, _ in levels)
        return Case(
            {
                "student_hidden": scale * rng.normal(size=(shallow + 1, b, t, d)),
                "teacher_hidden": scale * rng.normal(size=(deep + 1, b, t, d)),
                "levels": np.array(levels),
            },
            part,
        )

    return [
        case([(1, 3)], 6, 2, 3, 5),
        case([(1, 2), (2, 4)], 6, 3, 4, 7),
        case([(1, 3), (2, 6), (3, 9)], 10, 4, 2, 6),
        case([(1, 5), (3, 2)], 7, 3, 5, 8),
        case([(1, 2), (1, 4), (2, 3)], 5, 4, 3, 6, "one layer learns from two"),
        case([(1, 2), (2, 4)], 5, 1, 3, 4, "one row"),
        case([(1, 2), (2, 4)], 5, 3, 1, 6, "length 1"),
        case([(1, 2), (2, 4)], 5, 3, 4, 7, "long vectors", 1e4),
    ]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def undo_unit(dunit, x):
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    along = (dunit * x).sum(axis=-1, keepdims=True) / length
    return (dunit - along * x / length) / length


def put(student_hidden, m, dx):
    d = np.zeros_like(student_hidden)
    np.add.at(d, (m, slice(None), 0), dx)
    return d


def cls(student_hidden, teacher_hidden, levels):
    m, g = levels.T
    return student_hidden[m, :, 0], teacher_hidden[g, :, 0], m


def patient(x, target):
    error = unit(x) - unit(target)
    return (error**2).mean(), undo_unit(2 * error / error.size, x)


def pkd_loss_terms(student_hidden, teacher_hidden, levels):
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    d = 2 * (unit(x) - unit(target)) / x.size
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    along = (d * unit(x)).sum(axis=-1, keepdims=True) * unit(x)
    return {
        "dstudent_hidden": {
            "dx_unit / |x|": put(student_hidden, m, d / length),
            "- along x_unit": put(student_hidden, m, -along / length),
        }
    }


def pkd_loss_steps(student_hidden, teacher_hidden, levels):
    x, target, _ = cls(student_hidden, teacher_hidden, levels)
    d = 2 * (unit(x) - unit(target)) / x.size
    return {"x_unit": unit(x), "target_unit": unit(target), "dx_unit": d, "dx": undo_unit(d, x)}


PKD_LOSS = Exercise(
    id="pkd-loss",
    title="Patient knowledge distillation",
    statement=r"""
        PKD (Sun et al. 2019) compares the **directions** of the [CLS] states of chosen layers.
        `student_hidden` is (M + 1, B, T, D) and `teacher_hidden` (N + 1, B, T, D): entry 0 is the
        output of the embeddings, entry m that of layer m. [CLS] is token 0. The rows of `levels`,
        integers (P, 2), are pairs (m, g): the student's layer m learns from the teacher's layer g;
        a layer may stand in several rows. With `x_unit` = x / |x| and likewise `target_unit`, of
        shape (P, B, D),

        $$L = \frac{1}{P B D} \sum_{p,b} \Bigl\lVert \frac{x_{pb}}{\lVert x_{pb} \rVert} -
        \frac{t_{pb}}{\lVert t_{pb} \rVert} \Bigr\rVert^2, \qquad x_{pb} = h^S_{m_p,b,0}, \quad
        t_{pb} = h^T_{g_p,b,0}.$$

        Return `loss` and its gradient `dstudent_hidden`, (M + 1, B, T, D), zero wherever the loss
        does not look; the teacher is a constant. No vector is zero.""",
    reference=pkd_loss,
    library=(ops.patient_forward, ops.patient_backward),
    outputs=("loss", "dstudent_hidden"),
    cases=pkd_loss_cases,
    hints=(
        "Making x longer does not change its direction, so its gradient is perpendicular to x.",
        r"""$d\hat x = \frac{2}{PBD} (\hat x - \hat t)$ and $dx = (d\hat x -
        (d\hat x \cdot \hat x)\,\hat x) / \lVert x \rVert$. A layer that stands in two rows gets the
        sum.""",
        """`m, g = levels.T`; `x = student_hidden[m, :, 0]`; at the end
        `d = np.zeros_like(student_hidden)` and `np.add.at(d, (m, slice(None), 0), dx)`.""",
    ),
    tracks=("class", "gradcheck"),
    difficulty=3,
    minutes=20,
    terms=pkd_loss_terms,
    steps=pkd_loss_steps,
    factors=lambda student_hidden, teacher_hidden, levels: {
        "P": len(levels),
        "B": student_hidden.shape[1],
        "D": student_hidden.shape[3],
        "T": student_hidden.shape[2],
    },
    docs="derivations/distillation.md",
)


@PKD_LOSS.mistake("not-normalised")
def not_normalised(student_hidden, teacher_hidden, levels):
    """the states are compared as they are: PKD divides each by its length first, so that only the
    direction counts."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = x - target
    return (error**2).mean(), put(student_hidden, m, 2 * error / error.size)


@PKD_LOSS.mistake("wrong-axis")
def normalised_over_the_batch(student_hidden, teacher_hidden, levels):
    """the length is taken over the batch: `axis=-1`, each state has a length of its own."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    x, target = x.swapaxes(1, 2), target.swapaxes(1, 2)
    error = unit(x) - unit(target)
    dx = undo_unit(2 * error / error.size, x).swapaxes(1, 2)
    return (error**2).mean(), put(student_hidden, m, dx)


@PKD_LOSS.mistake("teacher-not-normalised")
def only_the_student_normalised(student_hidden, teacher_hidden, levels):
    """only the student's states are normalised: the teacher's need it as well."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = unit(x) - target
    return (error**2).mean(), put(student_hidden, m, undo_unit(2 * error / error.size, x))


@PKD_LOSS.mistake("square-root-missing")
def divided_by_the_squared_length(student_hidden, teacher_hidden, levels):
    """divided by the squared length: the square root is missing."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    square = (x**2).sum(axis=-1, keepdims=True)
    error = x / square - target / (target**2).sum(axis=-1, keepdims=True)
    d = 2 * error / error.size
    dx = (d - 2 * x * (d * x).sum(axis=-1, keepdims=True) / square) / square
    return (error**2).mean(), put(student_hidden, m, dx)


@PKD_LOSS.mistake("length-a-constant")
def length_as_a_constant(student_hidden, teacher_hidden, levels):
    """the length of x is treated as a constant. It depends on x too: take the part of the gradient
    along x away."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = unit(x) - unit(target)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return (error**2).mean(), put(student_hidden, m, 2 * error / error.size / length)


@PKD_LOSS.mistake("one-over-length-missing")
def one_over_length_forgotten(student_hidden, teacher_hidden, levels):
    """the part along x is gone, but 1/|x| is missing: a longer vector turns less."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = unit(x) - unit(target)
    return (error**2).mean(), put(student_hidden, m, undo_unit(2 * error / error.size, unit(x)))


@PKD_LOSS.mistake("stops-at-the-unit-vectors")
def gradient_at_the_unit_vectors(student_hidden, teacher_hidden, levels):
    """this is the gradient at the unit vectors: the normalisation is still to be undone."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    error = unit(x) - unit(target)
    return (error**2).mean(), put(student_hidden, m, 2 * error / error.size)


@PKD_LOSS.mistake("all-tokens")
def all_tokens(student_hidden, teacher_hidden, levels):
    """all tokens are compared: PKD looks at [CLS] alone, token 0."""
    m, g = levels.T
    loss, dx = patient(student_hidden[m], teacher_hidden[g])
    d = np.zeros_like(student_hidden)
    np.add.at(d, m, dx)
    return loss, d


@PKD_LOSS.mistake("mean-over-tokens")
def mean_over_tokens_first(student_hidden, teacher_hidden, levels):
    """the tokens are averaged to one state: PKD takes the state of [CLS], token 0."""
    m, g = levels.T
    loss, dx = patient(student_hidden[m].mean(axis=2), teacher_hidden[g].mean(axis=2))
    d = np.zeros_like(student_hidden)
    np.add.at(d, m, dx[:, :, None] / student_hidden.shape[2])
    return loss, d


@PKD_LOSS.mistake("teacher-one-lower")
def teacher_one_lower(student_hidden, teacher_hidden, levels):
    """the teacher's layers are one too low: entry 0 is the output of the embeddings, so layer g is
    entry g, not g - 1."""
    x, target, m = cls(student_hidden, teacher_hidden, levels - np.array([0, 1]))
    loss, dx = patient(x, target)
    return loss, put(student_hidden, m, dx)


@PKD_LOSS.mistake("both-one-lower")
def both_one_lower(student_hidden, teacher_hidden, levels):
    """both layers are one too low: entry 0 is the output of the embeddings, so layer m is entry
    m."""
    x, target, m = cls(student_hidden, teacher_hidden, levels - 1)
    loss, dx = patient(x, target)
    return loss, put(student_hidden, m, dx)


@PKD_LOSS.mistake("sum-over-features")
def summed_over_features(student_hidden, teacher_hidden, levels):
    """the squared distance is not divided by D: it is a mean squared error."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    loss, dx = patient(x, target)
    return loss * x.shape[-1], put(student_hidden, m, dx * x.shape[-1])


@PKD_LOSS.mistake("layers-summed")
def layers_summed(student_hidden, teacher_hidden, levels):
    """the pairs of layers are summed: here the mean is over them too."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    loss, dx = patient(x, target)
    return loss * len(m), put(student_hidden, m, dx * len(m))


@PKD_LOSS.mistake("overwritten")
def overwritten(student_hidden, teacher_hidden, levels):
    """a student layer with two teacher layers keeps only the last gradient: add them up,
    `np.add.at`."""
    x, target, m = cls(student_hidden, teacher_hidden, levels)
    loss, dx = patient(x, target)
    d = np.zeros_like(student_hidden)
    d[m, :, 0] = dx
    return loss, d

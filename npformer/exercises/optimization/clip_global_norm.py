"""Clipping by the global norm."""

import numpy as np

from npformer import optim
from npformer.exercises.exercise import Case, Exercise


def clip_global_norm(grads, max_norm):
    """Return the clipped gradients, a new dict of new arrays, and the norm before, a float.

    grads: a dict from name to array; max_norm: a number above 0.
    """
    clipped = {name: grad.copy() for name, grad in grads.items()}
    norm = optim.clip_by_global_norm(clipped, max_norm)
    return clipped, norm


def clip_global_norm_cases(rng):
    """Return gradients of several arrays, above and below the bound."""

    def case(shapes, max_norm, scale=1.0, part=""):
        names = ("w_1", "b_1", "w_2", "gamma")
        grads = {n: scale * rng.normal(size=s) for n, s in zip(names, shapes, strict=False)}
        return Case({"grads": grads, "max_norm": max_norm}, part)

    def with_one_large_entry():
        made = case([(2, 5), (5,), (5, 3)], 2.7, scale=0.1)
        made.args["grads"]["w_1"][1, 2] = 3.0
        return made

    return [
        case([(2, 3), (3,)], 0.7),
        case([(2, 5), (5,), (5, 3), (7,)], 1.3, scale=3.0),
        with_one_large_entry(),
        case([(2, 3), (3,)], 50.0, part="below the bound"),
        case([(3, 7)], 0.3, part="one array"),
        case([(2, 3), (3,)], 1.0, scale=0.0, part="gradients of zero"),
        case([(2, 3), (3,)], 1.0, scale=1e6, part="extreme values"),
    ]


def common_norm(grads):
    """Return the norm of all arrays as one vector."""
    return float(np.sqrt(sum((g * g).sum() for g in grads.values())))


CLIP_GLOBAL_NORM = Exercise(
    id="clip-global-norm",
    title="Clipping by the global norm",
    statement=r"""
        One long step can undo a hundred short ones. Scale all gradients by **one** number, so that
        as one long vector they are at most c long and keep their direction:

        $$\lVert g \rVert = \sqrt{\textstyle\sum_i \lVert g_i \rVert^2}, \qquad g_i \leftarrow
        g_i\,\min\left(1, \frac{c}{\lVert g \rVert + 10^{-6}}\right)$$

        `grads` is a dict from name to array, not empty; `max_norm` is c > 0. Return
        `clipped, norm`: a new dict of new arrays with the same names, and $\lVert g \rVert$
        **before** clipping, a float. The $10^{-6}$ is PyTorch's and is graded.""",
    reference=clip_global_norm,
    library=(optim.clip_by_global_norm, optim.global_norm),
    outputs=("clipped", "norm"),
    cases=clip_global_norm_cases,
    hints=(
        "First one number from all arrays, then one factor for all arrays.",
        """Add the squares of all entries of all arrays and take one root at the end; the factor is
        never above 1.""",
        """`norm = float(np.sqrt(sum((g * g).sum() for g in grads.values())))`; `scale = min(1.0,
        max_norm / (norm + 1e-6))`; `{name: g * scale for name, g in grads.items()}`.""",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=10,
    steps=lambda grads, max_norm: {
        "norm": common_norm(grads),
        "scale": min(1.0, max_norm / (common_norm(grads) + 1e-6)),
    },
    factors=lambda grads, max_norm: {"max_norm": max_norm},
    docs="derivations/optimizers.md",
)


@CLIP_GLOBAL_NORM.mistake("each-array-alone")
def each_on_its_own(grads, max_norm):
    """each array is clipped by its own norm, as in TinyBERT's released code: the large ones shrink,
    the small ones do not, and the direction changes. All get one factor."""
    norms = {name: np.sqrt((g * g).sum()) for name, g in grads.items()}
    scales = {name: min(1.0, max_norm / (norm + 1e-6)) for name, norm in norms.items()}
    return {name: g * scales[name] for name, g in grads.items()}, common_norm(grads)


@CLIP_GLOBAL_NORM.mistake("always-scaled")
def always_scaling(grads, max_norm):
    """gradients below the bound are stretched to it: the factor is at most 1."""
    norm = common_norm(grads)
    return {name: g * (max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


@CLIP_GLOBAL_NORM.mistake("root-missing")
def without_the_root(grads, max_norm):
    """the norm is the sum of squares: the root is missing."""
    norm = common_norm(grads) ** 2
    return {name: g * min(1.0, max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


@CLIP_GLOBAL_NORM.mistake("norms-added")
def adding_norms(grads, max_norm):
    """the norms of the arrays are added: add their squares and take one root."""
    norm = float(sum(np.sqrt((g * g).sum()) for g in grads.values()))
    return {name: g * min(1.0, max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


@CLIP_GLOBAL_NORM.mistake("entries-clipped")
def entry_by_entry(grads, max_norm):
    """each entry is clipped: that is clipping by value, which changes the direction. Scale all
    entries by one factor."""
    return {name: np.clip(g, -max_norm, max_norm) for name, g in grads.items()}, common_norm(grads)


@CLIP_GLOBAL_NORM.mistake("norm-after-clipping")
def norm_afterwards(grads, max_norm):
    """the norm that is returned is the one after clipping: the one before shows whether training is
    getting out of hand."""
    scale = min(1.0, max_norm / (common_norm(grads) + 1e-6))
    clipped = {name: g * scale for name, g in grads.items()}
    return clipped, common_norm(clipped)


@CLIP_GLOBAL_NORM.mistake("largest-entry")
def largest_entry(grads, max_norm):
    """the largest entry is taken for the norm: it is the root of the sum of squares."""
    norm = float(max(np.abs(g).max() for g in grads.values()))
    return {name: g * min(1.0, max_norm / (norm + 1e-6)) for name, g in grads.items()}, norm


@CLIP_GLOBAL_NORM.mistake("mean-square")
def root_of_the_mean(grads, max_norm):
    """the root of the mean square is taken: the norm is of the sum, whatever the number of
    entries."""
    norm = common_norm(grads) / np.sqrt(sum(g.size for g in grads.values()))
    return {name: g * min(1.0, max_norm / (norm + 1e-6)) for name, g in grads.items()}, float(norm)


@CLIP_GLOBAL_NORM.mistake("eps-missing")
def without_eps(grads, max_norm):
    """the 1e-6 below the fraction is missing: max_norm / (norm + 1e-6)."""
    norm = common_norm(grads)
    scale = max_norm / norm if norm > max_norm else 1.0
    return {name: g * scale for name, g in grads.items()}, norm

"""Dropout, backward, with the mask of the forward."""

import numpy as np

from npformer import ops
from npformer.exercises.exercise import Case, Exercise


def dropout_backward(dy, keep, p_drop):
    """Return dx of y = x * keep / (1 - p_drop); dy, keep and the result: (...)."""
    r = keep.astype(dy.dtype) / (1 - p_drop)
    return ops.dropout_backward(dy, ops.DropoutCache(r))


def dropout_backward_cases(rng):
    """Return masks of several rates; with a rate of 0 all is kept."""

    def case(*shape, p_drop, part=""):
        # One entry is dropped and one kept, whatever was drawn.
        keep = rng.random(shape) >= p_drop
        keep.flat[:2] = [True, p_drop == 0]
        return Case({"dy": rng.normal(size=shape), "keep": keep, "p_drop": p_drop}, part)

    return [
        case(2, 3, p_drop=0.3),
        case(2, 3, 5, p_drop=0.1),
        case(5, 7, p_drop=0.6),
        case(11, p_drop=0.25),
        case(3, 5, p_drop=0.0, part="p_drop = 0"),
    ]


DROPOUT_BACKWARD = Exercise(
    id="dropout-backward",
    title="Dropout backward",
    statement=r"""
        The forward was inverted dropout: what is kept is scaled up, so that the expectation stays
        the same,

        $$y = \frac{x \odot \mathrm{keep}}{1 - p}.$$

        Given `dy` (...), the gradient of the loss with respect to y, the mask of the forward,
        `keep` (...), boolean, **True = kept**, and `p_drop`, the probability p of dropping, in
        [0, 1), return `dx` (...).""",
    reference=dropout_backward,
    library=(ops.dropout_backward,),
    outputs=("dx",),
    cases=dropout_backward_cases,
    hints=(
        "Once the mask is drawn, dropout is a product with a constant array.",
        """The gradient goes through the same product: the same mask, and the same factor
        $1/(1 - p)$.""",
        "`dy * keep / (1 - p_drop)`.",
    ),
    tracks=("interview", "class"),
    difficulty=1,
    minutes=5,
    steps=lambda dy, keep, p_drop: {"r": keep / (1 - p_drop)},
    factors=lambda dy, keep, p_drop: {"1 - p": 1 - p_drop, "p": p_drop},
    docs="derivations/activations.md",
)


@DROPOUT_BACKWARD.mistake("scale-forgotten")
def scale_forgotten(dy, keep, p_drop):
    """the factor 1/(1 - p) is missing. The forward scaled what it kept, so the gradient is scaled
    as well."""
    return dy * keep


@DROPOUT_BACKWARD.mistake("mask-forgotten")
def mask_forgotten(dy, keep, p_drop):
    """what was dropped gets a gradient, too. It did not reach y: multiply by keep."""
    return dy / (1 - p_drop)


@DROPOUT_BACKWARD.mistake("dropout-forgotten")
def dropout_forgotten(dy, keep, p_drop):
    """dy goes through as if there were no dropout: it needs the mask and the factor 1/(1 - p)."""
    return dy


@DROPOUT_BACKWARD.mistake("mask-inverted")
def mask_the_wrong_way_round(dy, keep, p_drop):
    """the mask is used the wrong way round: True means kept."""
    return dy * ~keep / (1 - p_drop)


@DROPOUT_BACKWARD.mistake("multiplied-by-1-p")
def multiplied_by_what_is_kept(dy, keep, p_drop):
    """it is multiplied by 1 - p. The forward divided by it, and the backward of a division by a
    constant is the same division."""
    return dy * keep * (1 - p_drop)


@DROPOUT_BACKWARD.mistake("divided-by-p")
def divided_by_what_is_dropped(dy, keep, p_drop):
    """it is divided by p, the probability of dropping. The factor is one over the probability of
    keeping, 1 - p."""
    return dy * keep / p_drop


@DROPOUT_BACKWARD.mistake("scaled-where-dropped")
def scaled_everywhere_but_where_kept(dy, keep, p_drop):
    """what was kept is left as it is, and what was dropped is scaled. Kept: dy/(1 - p); dropped:
    0."""
    return np.where(keep, dy, dy / (1 - p_drop))


@DROPOUT_BACKWARD.mistake("new-mask")
def scale_and_mask_of_its_own(dy, keep, p_drop):
    """a new mask is drawn. The gradient has to pass where the values passed: use the mask of the
    forward."""
    fresh = np.random.default_rng(0).random(dy.shape) >= p_drop
    return dy * fresh / (1 - p_drop)


@DROPOUT_BACKWARD.mistake("share-of-the-mask")
def scaled_by_the_mask_itself(dy, keep, p_drop):
    """the factor is one over the share that happened to be kept. The forward used the probability:
    1/(1 - p)."""
    return dy * keep * keep.size / max(keep.sum(), 1)

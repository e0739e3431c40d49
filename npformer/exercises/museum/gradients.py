"""Wrong gradients that a weak check lets through: each is right on convenient inputs."""

import numpy as np

from npformer import ops
from npformer.exercises.museum.bugs import bug


def layer_norm_dx(dy, x, gamma):
    """Return the gradient dx of a layer norm over the last axis; dy, x: (..., D), gamma: (D,)."""
    _, cache = ops.layernorm_forward(x, gamma, np.zeros_like(gamma))
    dx, _, _ = ops.layernorm_backward(dy, cache)
    return dx


def test_slope_with_unequal_gamma(fn):
    rng = np.random.default_rng(0)
    x, dy, u = rng.normal(size=(3, 2, 5))
    gamma = rng.normal(size=5)  # not the ones it starts from

    def loss(x):
        centred = x - x.mean(axis=-1, keepdims=True)
        return (dy * gamma * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True))).sum()

    slope = (loss(x + 1e-6 * u) - loss(x - 1e-6 * u)) / 2e-6
    assert abs((fn(dy, x, gamma) * u).sum() - slope) < 1e-6


@bug(
    "layer-norm-gamma-outside",
    right=layer_norm_dx,
    witness=test_slope_with_unequal_gamma,
    exercise="layer-norm-backward",
    tracks=("class", "gradcheck"),
)
def gamma_outside_the_means(dy, x, gamma):
    r"""A layer norm gradient that is right at the start

    A Transformer with hand-written gradients multiplied by gamma at the end of the layer norm's
    backward pass, after its two means. A check on a fresh layer, whose gamma is all ones, measures
    an error of 1e-10 and is content. With unequal gamma it is above 20 %.

    `layer_norm_dx(dy, x, gamma)` returns the gradient of $y = \gamma\,(x - \mu)/\sqrt{\sigma^2 +
    10^{-12}} + \beta$ with respect to `x`. The mean and the (biased) variance run over the last
    axis. `dy` and `x` are (..., D), `gamma` is (D,), the result is (..., D).

    A gamma whose entries differ, and finite differences. The means must be of dy * gamma."""
    centred = x - x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    xhat = centred * rstd
    mean = dy.mean(axis=-1, keepdims=True)
    mean_along = (dy * xhat).mean(axis=-1, keepdims=True)
    return gamma * rstd * (dy - mean - xhat * mean_along)


def cross_entropy_dlogits(logits, labels):
    """Return the gradient of the mean cross-entropy; logits: (B, C), labels: (B,) integers."""
    _, cache = ops.cross_entropy_forward(logits, labels)
    return ops.cross_entropy_backward(1.0, cache)


def test_gradient_at_equal_logits(fn):
    dlogits = fn(np.zeros((2, 4)), np.array([1, 3]))  # an untrained model: all logits equal
    want = np.full((2, 4), 0.25)
    want[0, 1] -= 1
    want[1, 3] -= 1
    assert np.allclose(dlogits, want / 2)


@bug(
    "cross-entropy-label-by-value",
    right=cross_entropy_dlogits,
    witness=test_gradient_at_equal_logits,
    exercise="cross-entropy",
    tracks=("class", "gradcheck"),
)
def label_found_by_its_value(logits, labels):
    """The label is looked up by its logit's value

    Prediction minus truth needs a one where the label is. Hand-written code found that place by
    comparing values: wherever a logit equals the logit of a label, there it put a one. Random
    logits never coincide, so with them nothing shows.

    `cross_entropy_dlogits(logits, labels)` returns the gradient, with respect to `logits` (B, C),
    of the cross-entropy, mean over the B rows, in nats. `labels` are B integers from 0 to C - 1.
    The result is (B, C).

    Two equal logits, in one row or in two. Each row of the gradient then no longer sums to 0."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    picked = logits[np.arange(len(labels)), labels]
    return (probs - np.isin(logits, picked)) / len(labels)


def embedding_dtable(dy, ids, num_rows):
    """Return the gradient (V, D) of a table of V = num_rows; dy: (..., D), ids: (...) integers."""
    table = np.zeros((num_rows, dy.shape[-1]), dy.dtype)
    return ops.embedding_backward(dy, ops.EmbeddingCache(ids, table))


def test_an_id_that_occurs_twice(fn):
    dtable = fn(np.array([[1.0, 2.0], [10.0, 20.0], [5.0, 5.0]]), np.array([3, 3, 0]), 4)
    assert np.allclose(dtable, [[5, 5], [0, 0], [0, 0], [11, 22]])


@bug(
    "embedding-repeated-ids",
    right=embedding_dtable,
    witness=test_an_id_that_occurs_twice,
    exercise="embedding-backward",
    tracks=("class", "gradcheck"),
)
def last_occurrence_wins(dy, ids, num_rows):
    """A word that occurs twice learns once

    The gradient of an embedding table adds up over all places where an id occurs. An assignment
    `+=` with an array of ids looks like that sum, but NumPy reads, adds and writes each row once:
    of repeated ids only the last one counts. With ids that all differ, as tests draw them from a
    large vocabulary, nothing shows.

    `embedding_dtable(dy, ids, num_rows)` returns the gradient of a lookup `table[ids]` with respect
    to the table (V, D), V = `num_rows`. `ids` is an integer array of any shape, `dy` has that shape
    and D behind it.

    One id twice. `np.add.at(dtable, ids, dy)` adds both."""
    dtable = np.zeros((num_rows, dy.shape[-1]), dy.dtype)
    dtable[ids] += dy
    return dtable


def dropped_mix_backward(dctx, probs, r, v):
    """Return (dprobs, dv) of (probs * r) @ v; dctx: (B, T, K), probs, r: (B, T, S),
    v: (B, S, K).
    """
    ddropped, dv = ops.attention_mix_backward(
        dctx[:, None], ops.AttentionMixCache((probs * r)[:, None], v[:, None])
    )
    return ops.dropout_backward(ddropped[:, 0], ops.DropoutCache(r)), dv[:, 0]


def test_a_dropped_key_gets_no_gradient(fn):
    rng = np.random.default_rng(0)
    dctx, v = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 5, 3))
    probs = rng.dirichlet(np.ones(5), size=(2, 4))
    r = 2.0 * (rng.random((2, 4, 5)) < 0.5)
    r[:, :, 1] = 0  # nobody reads the second value
    _, dv = fn(dctx, probs, r, v)
    assert np.abs(dv[:, 1]).max() < 1e-9


@bug(
    "dv-from-undropped-probs",
    right=dropped_mix_backward,
    witness=test_a_dropped_key_gets_no_gradient,
    exercise="attention-backward",
    tracks=("class", "gradcheck"),
)
def dv_from_undropped_probs(dctx, probs, r, v):
    """dv from the probabilities before dropout

    A GPT with hand-written gradients kept the attention weights from before dropout and used them
    for dv. Its finite-difference tests covered eight operations, attention not among them. Without
    dropout the gradient is right to 1e-9; with it, it is off by 30 %.

    The context of attention is `ctx = (probs * r) @ v`, where `r` holds the dropout's factors, 0 or
    1/(1 - p). `dropped_mix_backward(dctx, probs, r, v)` returns `(dprobs, dv)`, the gradients with
    respect to `probs` and `v`. Shapes: `dctx` (B, T, K), `probs` and `r` (B, T, S), `v` (B, S, K).

    A value that dropout hid from every query must get no gradient. Finite differences with a fixed
    r show it too; with r all ones nothing does."""
    dprobs = (dctx @ v.swapaxes(-1, -2)) * r
    return dprobs, probs.swapaxes(-1, -2) @ dctx

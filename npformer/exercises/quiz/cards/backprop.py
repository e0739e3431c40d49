"""Backward by hand: affine maps, activations and losses."""

import numpy as np

from npformer import ops
from npformer.exercises.quiz.card import card
from npformer.gradcheck import numeric_gradient


@card(
    "where-the-transpose-comes-from",
    exercises=("linear-backward",),
    docs="derivations/attention.md",
)
def transpose_moves_across():
    """y = x w + b: derive dx, dw and db. Where does the transpose come from?

    `y_j = sum_i x_i w_ij`, so `dx_i = sum_j dy_j w_ij`: the sum runs over the other index of w,
    which is `dy w^T`. In the same way `dw = x^T dy`, summed over all rows, and `db` is the sum of
    dy over the rows.

    How do you find it without deriving? By shapes: dx must have the shape of x, and only one
    product of dy and w has. Square matrices hide mistakes."""
    rng = np.random.default_rng(7)
    x, w, b = rng.normal(size=(3, 4, 5)), rng.normal(size=(5, 6)), rng.normal(size=6)
    y, cache = ops.linear_forward(x, w, b)
    dy = rng.normal(size=y.shape)
    dx, dw, db = ops.linear_backward(dy, cache)
    step = rng.normal(size=x.shape)  # <dy, step w> = <dy w^T, step>
    assert np.isclose(np.vdot(dy, step @ w), np.vdot(dx, step))
    assert np.allclose(dx, dy @ w.T)
    assert np.allclose(dw, x.reshape(-1, 5).T @ dy.reshape(-1, 6))  # all tokens in one product
    assert np.allclose(db, dy.sum(axis=(0, 1)))


@card(
    "broadcast-gradient",
    exercises=("broadcast-bias", "relative-bias-backward"),
    docs="derivations/linear.md",
)
def broadcast_becomes_a_sum():
    """What is the gradient of an array that was broadcast?

    One number was used at many places, so its gradient is the sum over them: sum dy along every
    axis that was broadcast, and keep the array's own shape. The bias of a linear layer is the
    simplest case.

    Sum or mean? The sum. A mean belongs to the loss, and is already in dy."""
    rng = np.random.default_rng(8)
    q, k = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 6, 5))
    for shape in ((1, 3, 4, 6), (1, 1, 4, 6), (2, 1, 1, 6)):
        bias = rng.normal(size=shape)
        scores, cache = ops.attention_scores_forward(q, k, bias)
        dscores = rng.normal(size=scores.shape)
        dbias = ops.attention_scores_backward(dscores, cache)[2]
        axes = tuple(i for i, n in enumerate(shape) if n == 1)
        assert np.allclose(dbias, dscores.sum(axis=axes, keepdims=True))
        assert dbias.shape == shape
        numeric = numeric_gradient(
            lambda z: ops.attention_scores_forward(q, k, z)[0], bias, dscores
        )
        assert np.allclose(dbias, numeric, atol=1e-7)


@card(
    "sigmoid-and-tanh",
    exercises=("sigmoid-backward", "tanh-backward", "pooler-backward"),
    docs="derivations/activations.md",
)
def slopes_below_one():
    """The derivatives of sigmoid and tanh by their outputs, and what they do to deep networks?

    `s(1 - s)`, at most 1/4; `1 - t^2`, at most 1. Both vanish where the unit saturates. Ten
    sigmoids in a row shrink a gradient at least 4^10 = a million times, before any weight.

    Where does BERT still have a tanh? In the pooler, once, in front of the classifier."""
    x = np.linspace(-8, 8, 2001)
    one = np.ones_like(x)
    sigmoid = ops.sigmoid_backward(one, ops.sigmoid_forward(x)[1])
    tanh = ops.tanh_backward(one, ops.tanh_forward(x)[1])
    assert sigmoid.max() == 0.25
    assert tanh.max() == 1.0
    y = ops.sigmoid_forward(x)[0]
    assert np.allclose(sigmoid, y * (1 - y))
    assert np.allclose(tanh, 1 - ops.tanh_forward(x)[0] ** 2)
    assert sigmoid.max() ** 10 < 1e-6  # ten layers, at best
    assert np.allclose(np.tanh(x), 2 * ops.sigmoid_forward(2 * x)[0] - 1)


@card("softmax-jacobian", exercises=("softmax-backward",), docs="derivations/softmax.md")
def jacobian_without_a_matrix():
    """The Jacobian of softmax, and its product with a vector without building it?

    `J = diag(p) - p p^T`, symmetric. So `dx = p * (dp - sum(dp * p))`: subtract the mean of dp
    under p, multiply by p. O(C) instead of O(C^2).

    What do the rows of J sum to, and why? To 0: adding a constant to all logits changes nothing, so
    J is singular and the logits' gradient always sums to 0."""
    rng = np.random.default_rng(0)
    x, dprobs = rng.normal(size=(2, 5))
    probs, cache = ops.softmax_forward(x)
    jacobian = np.diag(probs) - np.outer(probs, probs)
    columns = [numeric_gradient(lambda z, i=i: ops.softmax_forward(z)[0][i], x) for i in range(5)]
    assert np.allclose(jacobian, columns, atol=1e-8)
    assert np.allclose(jacobian.sum(axis=0), 0)  # a shift of all logits changes nothing
    assert np.linalg.matrix_rank(jacobian) == 4
    assert np.allclose(ops.softmax_backward(dprobs, cache), jacobian @ dprobs)
    assert np.abs(dprobs * probs * (1 - probs) - jacobian @ dprobs).max() > 0.01  # the diagonal


@card("log-softmax", exercises=("log-softmax-backward", "softmax"), docs="derivations/softmax.md")
def the_log_of_a_rounded_zero():
    """Why log_softmax instead of log(softmax(x)), and what is its gradient?

    A small probability rounds to 0 and its logarithm is -inf. `x - max - log(sum(exp(x - max)))`
    never takes the logarithm of less than 1. Backward: `dx = dl - p sum(dl)`.

    Does subtracting the maximum need a gradient of its own? No: any constant cancels, so its path
    contributes exactly 0."""
    x = np.array([[0.0, -800.0, 3.0]])
    probs, _ = ops.softmax_forward(x)
    assert probs[0, 1] == 0  # rounded off: its logarithm is -inf
    log_probs, cache = ops.log_softmax_forward(x)
    assert np.isclose(log_probs[0, 1], -803.0485873)
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(np.exp(x + 800) / np.exp(x + 800).sum()).any()  # without the shift
    dlog = np.random.default_rng(1).normal(size=x.shape)
    dx = ops.log_softmax_backward(dlog, cache)
    assert np.allclose(dx, dlog - np.exp(log_probs) * dlog.sum())
    assert abs(dx.sum()) < 1e-12


@card("cross-entropy-gradient", exercises=("cross-entropy",), docs="derivations/softmax.md")
def prediction_minus_truth():
    """The gradient of softmax with cross-entropy? Derive it.

    `L = -x_y + log(sum(exp(x)))`, so `dx = p - onehot(y)`, divided by the number of rows for a
    mean. Bounded and never saturated: a confident mistake has a gradient near 1.

    Some labels are ignored (-100): by what do you divide? By the number of labels that count, not
    by the batch's size."""
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(5, 4)), np.array([1, 3, -100, 0, 1])
    _, cache = ops.cross_entropy_forward(logits, labels)
    dlogits = ops.cross_entropy_backward(1.0, cache)
    kept = labels != -100
    expected = ops.softmax_forward(logits)[0][kept] - np.eye(4)[labels[kept]]
    assert np.allclose(dlogits[kept], expected / 4)  # four labels count, of five
    assert not dlogits[~kept].any()
    numeric = numeric_gradient(lambda z: ops.cross_entropy_forward(z, labels)[0], logits)
    assert np.allclose(dlogits, numeric, atol=1e-8)


@card(
    "label-smoothing", exercises=("label-smoothing", "soft-targets"), docs="derivations/softmax.md"
)
def smoothing_mixes_targets():
    """What does label smoothing change in loss and gradient?

    The target is `(1 - a) onehot + a/C`; the gradient is p minus that. It vanishes at a finite gap
    between logits, so confidence is bounded; the least loss is the entropy of the target, not 0.

    Is it distillation with a uniform teacher? In form yes; but it says the same of every wrong
    class, where a teacher says which is nearly right."""
    rng = np.random.default_rng(3)
    logits, labels, alpha = rng.normal(size=(6, 4)), rng.integers(0, 4, size=6), 0.1
    smooth, cache = ops.cross_entropy_forward(logits, labels, label_smoothing=alpha)
    target = (1 - alpha) * np.eye(4)[labels] + alpha / 4
    log_probs = ops.log_softmax_forward(logits)[0]
    assert np.isclose(smooth, -(target * log_probs).sum() / 6)
    dlogits = ops.cross_entropy_backward(1.0, cache)
    assert np.allclose(dlogits, (np.exp(log_probs) - target) / 6)
    best, best_cache = ops.cross_entropy_forward(np.log(target), labels, label_smoothing=alpha)
    assert np.abs(ops.cross_entropy_backward(1.0, best_cache)).max() < 1e-12
    assert np.isclose(best, -(target[0] * np.log(target[0])).sum())  # not 0: the target's entropy

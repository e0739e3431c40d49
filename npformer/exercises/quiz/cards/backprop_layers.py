"""Backward by hand: whole layers, and how a gradient is checked."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import card
from npformer.gradcheck import GradientError, check_pair, numeric_gradient


@card("layer-norm-backward", exercises=("layer-norm-backward",), docs="derivations/layernorm.md")
def two_directions_are_taken_out():
    """The backward of layer norm: which three terms, and why?

    With dxhat = gamma dy: `dx = (dxhat - mean(dxhat) - xhat mean(dxhat * xhat)) / std`. Directly,
    through the mean, through the variance. The two means take out the directions that the norm does
    not see: shifting and scaling x. dgamma and dbeta are sums over all tokens.

    What is forgotten most often? gamma in dxhat. A test at gamma = 1, its initial value, does not
    notice."""
    rng = np.random.default_rng(6)
    x, dy = rng.normal(size=(2, 4, 7))
    gamma, beta = rng.normal(size=7), rng.normal(size=7)
    _, cache = ops.layernorm_forward(x, gamma, beta)
    dx, dgamma, dbeta = ops.layernorm_backward(dy, cache)
    xhat = (x - x.mean(axis=-1, keepdims=True)) / x.std(axis=-1, keepdims=True)
    dxhat = dy * gamma
    along = (dxhat * xhat).mean(axis=-1, keepdims=True)
    formula = dxhat - dxhat.mean(axis=-1, keepdims=True) - xhat * along
    assert np.allclose(dx, formula / x.std(axis=-1, keepdims=True))
    assert np.abs(dx.sum(axis=-1)).max() < 1e-10  # orthogonal to a shift of x
    assert np.abs((dx * xhat).sum(axis=-1)).max() < 1e-10  # and to a scaling of x
    assert np.allclose(dgamma, (dy * xhat).sum(axis=0))
    assert np.allclose(dbeta, dy.sum(axis=0))


@card("embedding-scatter", exercises=("embedding-backward",), docs="derivations/linear.md")
def repeated_ids_add():
    """The backward of an embedding lookup, and the bug in `dtable[ids] += dy`?

    Scatter-add: row v gets the sum of dy over all places where id v stands. With a repeated id the
    fancy index writes once and loses the others: `np.add.at`, or sort and `add.reduceat`.

    Do rows of words that did not occur change in a step? Not by the gradient; but weight decay and
    Adam's moving averages do move them."""
    rng = np.random.default_rng(9)
    ids, table = np.array([[2, 0, 2], [2, 1, 5]]), rng.normal(size=(7, 4))
    y, cache = ops.embedding_forward(ids, table)
    dy = rng.normal(size=y.shape)
    dtable = ops.embedding_backward(dy, cache)
    onehot = np.eye(7)[ids]  # a lookup is a product with one-hot rows
    assert np.allclose(dtable, np.einsum("btv,btd->vd", onehot, dy))
    wrong = np.zeros_like(table)
    wrong[ids] += dy  # NumPy writes each repeated row once
    assert np.allclose(wrong[[0, 1, 5]], dtable[[0, 1, 5]])
    assert not np.allclose(wrong[2], dtable[2])


@card(
    "tied-weights",
    exercises=("tied-head-backward", "embedding-backward"),
    docs="derivations/linear.md",
)
def tied_table_gets_two():
    """The token table is also the output matrix of the masked-LM head. What is its gradient?

    The sum of two: the scatter-add from the lookup and the matrix gradient from the output,
    transposed to the table's shape. The second touches every row, also of words that did not occur.

    Is the output's bias tied as well? No: b_decoder has a number for each word and one gradient."""
    rng = np.random.default_rng(10)
    config = models.EncoderConfig(
        d_model=8, num_heads=2, num_layers=1, d_ff=12, vocab_size=9, max_len=6,
        initializer_range=0.5,
    )  # fmt: skip
    model = models.MaskedLM.init(config, rng, np.float64)
    name, ids = "encoder.embeddings.token", np.array([[1, 4, 4, 7]])
    output, cache = model.forward(ids)
    dlogits = rng.normal(size=output.logits.shape)
    _, grads = model.backward(models.ModelOutput(logits=dlogits), cache)
    dstates, head = model.head_backward(dlogits, cache.head)  # of the output matrix alone
    dlast = dstates.reshape(1, 4, 8)
    _, below = model.encoder.backward(models.ModelOutput(hidden=(None, dlast)), cache.encoder)
    assert np.allclose(grads[name], head[name] + below["embeddings.token"])
    step = rng.normal(size=(9, 8))

    def moved(h):
        params = model.params | {name: model.params[name] + h * step}
        return np.vdot(models.MaskedLM(config, params).forward(ids)[0].logits, dlogits)

    slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
    assert np.isclose(np.vdot(grads[name], step), slope, rtol=1e-6)
    assert not np.isclose(np.vdot(head[name], step), slope, rtol=1e-2)


@card(
    "attention-backward",
    exercises=("attention-backward", "scores-gradient"),
    docs="derivations/attention.md",
)
def attention_backward_in_five_lines():
    """Write down dq, dk and dv of scaled dot-product attention.

    `dv = A^T dctx`; `dA = dctx v^T`; `dS = A * (dA - rowsum(dA * A))`; `dq = dS k / sqrt(K)`;
    `dk = dS^T q / sqrt(K)`. The scale appears in both, for it stood before both.

    A loss on the scores themselves, as TinyBERT's: where does it enter? It is added to dS, after
    the softmax has been undone, before dq and dk."""
    rng = np.random.default_rng(4)
    q, k, v = (rng.normal(size=(2, 3, n, 5)) for n in (4, 6, 6))
    context, _, cache = ops.attention_forward(q, k, v)
    dcontext = rng.normal(size=context.shape)
    probs, c = cache.softmax.probs, 1 / np.sqrt(5)
    dv = probs.swapaxes(2, 3) @ dcontext
    dprobs = dcontext @ v.swapaxes(2, 3)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = c * dscores @ k
    dk = c * dscores.swapaxes(2, 3) @ q
    expected = ops.attention_backward(dcontext, None, cache)[:3]
    for ours, theirs in zip((dq, dk, dv), expected, strict=True):
        assert np.allclose(ours, theirs)
    numeric = numeric_gradient(lambda z: ops.attention_forward(q, z, v)[0], k, dcontext)
    assert np.allclose(dk, numeric, atol=1e-7)


@card(
    "key-bias",
    exercises=("multi-head-backward", "scores-gradient"),
    docs="derivations/attention.md",
)
def key_bias_gets_nothing():
    """Why is the gradient of the key bias zero, and when is it not?

    b_k adds `q_t . b_k` to all scores of row t alike, and the softmax does not see a shift: each
    row of dS sums to 0. A loss on the scores themselves (TinyBERT's) does see it.

    Is b_q useless too? No: it adds `b_q . k_s`, another number for each key. And a gradient checker
    with a relative error divides 0 by 0 at b_k: it must be declared zero."""
    rng = np.random.default_rng(5)
    config = layers.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(2, 5, 12))
    output, cache = layer.forward(x, output_scores=True)
    dy, dscores = rng.normal(size=output.y.shape), rng.normal(size=output.scores.shape)
    _, grads = layer.backward(layers.AttentionOutput(dy, None), cache)
    largest = max(np.abs(g).max() for g in grads.values())
    assert np.abs(grads["b_k"]).max() < 1e-12 * largest
    assert np.abs(grads["b_q"]).max() > 1e-3 * largest  # the query's is not zero
    _, grads = layer.backward(layers.AttentionOutput(dy, dscores), cache)
    assert np.abs(grads["b_k"]).max() > 1e-3 * largest  # until a loss sees the scores


@card("gradient-check", exercises=("gradient-checker",), docs="derivations/gradcheck.md")
def the_best_step():
    """How do you check a gradient: which difference, which step, which error, which type?

    Centred difference, error O(h^2) plus eps/h: best near `eps^(1/3)`, about 6e-6 in float64.
    Compare with a random cotangent, relative to the largest entry of the array; 1e-7 is a fair
    limit. float32 is useless: its rounding alone is 1e-2 at that step.

    And ReLU? At a kink the centred difference is the mean of both slopes: keep inputs away from 0.
    Dropout needs the same mask at every evaluation."""
    rng = np.random.default_rng(11)
    x, dy = rng.normal(size=(2, 3, 5))
    exact = ops.tanh_backward(dy, ops.tanh_forward(x)[1])

    def error(h, dtype=np.float64):
        found = np.empty_like(x)
        for i in np.ndindex(x.shape):
            up, down = x.copy(), x.copy()
            up[i] += h
            down[i] -= h
            rise = ops.tanh_forward(up.astype(dtype))[0] - ops.tanh_forward(down.astype(dtype))[0]
            found[i] = np.vdot(dy, rise) / (2 * h)
        return np.abs(found - exact).max() / np.abs(exact).max()

    assert error(6e-6) < 1e-8
    assert error(1e-1) > 1e-4  # the third derivative: h^2
    assert error(1e-12) > 1e-6  # rounding: eps / h
    assert error(6e-6, np.float32) > 1e-3  # float32 proves nothing


@card(
    "blind-gradient-checks",
    exercises=("gradient-checker", "layer-norm-backward"),
    docs="derivations/gradcheck.md",
)
def checks_that_see_nothing():
    """A gradient check passes and the gradient is wrong. How can that be?

    The point hid it: gamma = 1 and beta = 0, dropout 0, no padding, square shapes, one sequence, no
    repeated ids; or the loss did: the sum of a softmax or of a layer norm has gradient 0. Take
    random cotangents, parameters off their initial values, all sizes different.

    And if an assertion compares with a tolerance of 1e-2? Then a missing eps or a dropped small
    term passes. Tighten until a planted mistake fails."""
    rng = np.random.default_rng(12)
    x, dy = rng.normal(size=(2, 4, 6))
    beta = rng.normal(size=6)

    def forgets_gamma(dy, cache):
        dx, _, _ = ops.layernorm_backward(dy, cache._replace(gamma=np.ones(6)))
        return dx, *ops.layernorm_backward(dy, cache)[1:]

    check_pair(ops.layernorm_forward, forgets_gamma, [x, np.ones(6), beta])  # passes
    found = ""
    try:
        check_pair(ops.layernorm_forward, forgets_gamma, [x, rng.normal(size=6), beta])
    except GradientError as error:
        found = str(error)
    assert "gradient of x" in found
    _, cache = ops.softmax_forward(x)  # a sum as the loss: its gradient is 0 whatever is wrong
    assert np.abs(ops.softmax_backward(np.ones_like(dy), cache)).max() < 1e-15
    assert np.abs(ops.softmax_backward(dy, cache)).max() > 0.01

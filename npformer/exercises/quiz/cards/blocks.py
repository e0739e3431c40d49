"""The parts of a block beside attention: norms, residuals, feed-forward, dropout."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import card
from npformer.models import cost


@card("layer-or-batch-norm", exercises=("layer-norm",), docs="derivations/layernorm.md")
def layer_norm_sees_one_token():
    """Why layer norm and not batch norm for text?

    Layer norm takes mean and variance over the D features of one token: nothing depends on the
    batch, the length or the padding, and training and prediction are the same. Batch norm takes
    them over tokens: padding, lengths and rare words move the statistics, and prediction needs
    running averages.

    Is eps inside or outside the root? Inside: `1 / sqrt(var + eps)`. And the variance divides by D,
    not by D - 1."""
    rng = np.random.default_rng(0)
    x, gamma, beta = rng.normal(size=(4, 6, 8)), rng.normal(size=8), rng.normal(size=8)
    y, _ = ops.layernorm_forward(x, gamma, beta)
    alone, _ = ops.layernorm_forward(x[2:3, 4:5], gamma, beta)
    assert np.allclose(alone, y[2:3, 4:5], atol=1e-12)  # whatever it is batched with

    def batch_norm(tokens):
        flat = tokens.reshape(-1, 8)
        return gamma * (tokens - flat.mean(axis=0)) / flat.std(axis=0) + beta

    padded = np.concatenate([x, np.zeros((4, 5, 8))], axis=1)
    assert np.abs(batch_norm(padded)[:, :6] - batch_norm(x)).max() > 0.1  # padding moves all
    assert np.allclose(ops.layernorm_forward(padded, gamma, beta)[0][:, :6], y, atol=1e-12)


@card(
    "pre-or-post-ln",
    exercises=("pre-ln-backward", "post-ln-backward", "warmup-schedule"),
    docs="derivations/layernorm.md",
)
def the_open_path():
    """Pre-LN or post-LN: what is the difference, and why does post-LN need warm-up?

    Post-LN: `norm(x + f(x))`, BERT. Pre-LN: `x + f(norm(x))` and one norm at the end, GPT-2. In
    pre-LN the sum of residuals runs unbroken from top to bottom, so gradients pass as they are. In
    post-LN each norm rescales them: at the start those near the output are large, and a full rate
    from step one diverges. Warm-up goes through that phase slowly.

    Then why not always pre-LN? Its stream of states grows with depth, so that later layers change
    it less and less; trained well, post-LN often ends better. DeepNorm scales the residual to have
    both."""
    rng = np.random.default_rng(1)
    sizes = {"d_model": 12, "num_heads": 3, "d_ff": 20}
    x, dy = rng.normal(size=(2, 2, 5, 12))
    for norm_first in (True, False):
        config = layers.BlockConfig(norm_first=norm_first, **sizes)
        block = layers.EncoderBlock.init(config, rng, np.float64)
        silent = {
            name: np.zeros_like(p) if name.endswith(("w_o", "w_2")) else p
            for name, p in block.params.items()
        }  # both parts give zero
        block = layers.EncoderBlock(config, silent)
        output, cache = block.forward(x)
        (dx, _), _ = block.backward(layers.AttentionOutput(dy, None), cache)
        if norm_first:
            assert np.array_equal(output.y, x)
            assert np.array_equal(dx, dy)  # the gradient passes as it is
        else:
            assert np.abs(output.y.mean(axis=-1)).max() < 1e-12  # every layer normalises again
            assert np.abs(dx - dy).max() > 0.1
            assert np.abs(dx.sum(axis=-1)).max() < 1e-9  # and takes directions out


@card("rms-norm", exercises=("rms-norm-backward",), docs="derivations/layernorm.md")
def rms_is_layer_norm_of_centred():
    """What does RMSNorm leave out, and what is lost by it?

    The mean and beta: `y = gamma x / sqrt(mean(x^2) + eps)`. Still invariant to scale, no longer to
    a shift. On centred inputs it is layer norm. One reduction less, and one term less in the
    backward; quality hardly changes.

    Which of the three terms of layer norm's dx goes away? The mean of dxhat; the projection on xhat
    stays."""
    rng = np.random.default_rng(2)
    x, gamma = rng.normal(size=(5, 8)) + 3, rng.normal(size=8)
    eps = 1e-12
    centred = x - x.mean(axis=-1, keepdims=True)
    rms, _ = ops.rmsnorm_forward(centred, gamma, eps=eps)
    layer, _ = ops.layernorm_forward(x, gamma, np.zeros(8), eps=eps)
    assert np.allclose(rms, layer)
    plain = ops.rmsnorm_forward(x, gamma, eps=eps)[0]
    assert np.allclose(ops.rmsnorm_forward(10 * x, gamma, eps=eps)[0], plain)  # scale: not seen
    assert np.abs(ops.rmsnorm_forward(x + 10, gamma, eps=eps)[0] - plain).max() > 0.1  # shift: seen
    assert np.allclose(ops.layernorm_forward(x + 10, gamma, np.zeros(8), eps=eps)[0], layer)


@card("residual-gradient", exercises=("residual-backward",), docs="derivations/linear.md")
def residuals_keep_the_gradient():
    """What do residual connections do to the gradient?

    y = x + f(x) gives dx = dy + J^T dy: x is used twice, so two gradients are added. Through L
    layers the product of (I + J) contains the identity, where a plain stack has the product of the
    J alone, which vanishes or explodes.

    What is the usual bug? Overwriting dx instead of adding: in code, `dx = f_backward(dy)` where
    `dx = dy + f_backward(dy)` belongs."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(40, 16, 16)) * 0.5 / np.sqrt(16)  # 40 layers

    def size_of_gradient(residual):
        x, caches = rng.normal(size=(3, 16)), []
        for w in weights:
            h, linear = ops.linear_forward(x, w)
            y, tanh = ops.tanh_forward(h)
            caches.append((linear, tanh))
            x = x + y if residual else y
        dx = start = rng.normal(size=x.shape)
        for linear, tanh in reversed(caches):
            dx_f, _, _ = ops.linear_backward(ops.tanh_backward(dx, tanh), linear)
            dx = dx + dx_f if residual else dx_f  # the fan-out is a sum
        return np.linalg.norm(dx) / np.linalg.norm(start)

    assert size_of_gradient(residual=False) < 1e-8
    assert size_of_gradient(residual=True) > 0.5


@card("feed-forward", exercises=("feed-forward-backward",), docs="cost.md")
def two_thirds_of_a_layer():
    """What is the feed-forward layer for, and what share of a layer's parameters has it?

    Attention only averages; the feed-forward layer `act(x w_1) w_2` is where each position is
    transformed nonlinearly, the same map everywhere. With F = 4D it has 8 D^2 of 12 D^2 weights:
    two thirds.

    Does it mix tokens? No. It can be seen as a memory: rows of w_1 are patterns, rows of w_2 what
    is written when they match."""
    work = cost.Workload(kind=models.Encoder, config=models.preset("bert-base"), pooler=True)
    counts = cost.count_parameters(work)
    fed, attended = counts["layers: feed-forward"], counts["layers: projections"]
    assert abs(fed / (fed + attended) - 2 / 3) < 0.001
    rng = np.random.default_rng(4)
    config = layers.FeedForwardConfig(d_model=6, d_ff=10, initializer_range=0.5)
    layer = layers.FeedForward.init(config, rng, np.float64)
    x = rng.normal(size=(1, 5, 6))
    other = x.copy()
    other[0, 2] += 1
    change = np.abs(layer.forward(other)[0] - layer.forward(x)[0]).max(axis=-1)[0]
    assert np.flatnonzero(change).tolist() == [2]  # each position on its own


@card("activations", exercises=("relu-backward", "gelu-backward"), docs="deviations.md")
def activations_below_zero():
    """ReLU, GELU, SwiGLU: what are they, and what differs?

    ReLU is max(0, x): no gradient below zero, a unit can die. GELU is `x Phi(x)`, smooth, slightly
    negative down to -0.17, with a gradient below zero. SwiGLU gates: `(silu(x w_1) * x w_3) w_2`,
    three matrices, so F is cut to 8/3 D to keep the parameters.

    The derivative of GELU? `Phi(x) + x phi(x)`: the product rule; the second term is what is
    forgotten."""
    rng = np.random.default_rng(5)
    x = -rng.uniform(0.1, 2, size=1000)
    dy = rng.normal(size=1000)
    assert not ops.relu_backward(dy, ops.relu_forward(x)[1]).any()  # dead
    assert np.abs(ops.gelu_backward(dy, ops.gelu_forward(x)[1])).mean() > 0.01
    grid = np.linspace(-5, 5, 10001)
    y, _ = ops.gelu_forward(grid)
    assert -0.171 < y.min() < -0.169  # not monotone
    assert abs(grid[y.argmin()] + 0.7518) < 0.001
    gated = layers.FeedForwardConfig(
        d_model=96, d_ff=256, activation="silu", gated=True, use_bias=False
    )  # F = 8/3 D: three matrices
    plain = layers.FeedForwardConfig(d_model=96, d_ff=384, use_bias=False)  # 4 D: two
    sizes = [
        sum(p.size for p in layers.FeedForward.init(c, rng).params.values()) for c in (gated, plain)
    ]
    assert sizes[0] == sizes[1]


@card(
    "dropout",
    exercises=("dropout-backward", "attention-backward"),
    docs="derivations/activations.md",
)
def dropout_keeps_the_mean():
    """Where is dropout in BERT, and what differs between training and prediction?

    After the embeddings, on the attention weights, on the output of each part before the residual
    sum, and before the classifier. Training zeroes entries with probability p and divides the rest
    by 1 - p; so the expectation is right and prediction changes nothing.

    In the backward of attention with dropout, which weights does dv use? Those *after* dropout,
    which the values saw; the softmax is undone with those *before*."""
    rng = np.random.default_rng(6)
    x = rng.uniform(1, 2, size=(300, 300))
    y, cache = ops.dropout_forward(x, 0.3, rng)
    assert abs((y == 0).mean() - 0.3) < 0.01
    assert abs(y.mean() / x.mean() - 1) < 0.01  # those kept are divided by 0.7
    assert ops.dropout_forward(x, 0.3, None)[0] is x  # prediction: nothing to do
    dy = rng.normal(size=x.shape)
    assert np.array_equal(ops.dropout_backward(dy, cache) == 0, y == 0)  # the same mask
    probs, _ = ops.softmax_forward(rng.normal(size=(200, 8)))
    dropped, _ = ops.dropout_forward(probs, 0.3, rng)
    sums = dropped.sum(axis=-1)
    assert sums.std() > 0.05  # weights after dropout are no average any more
    assert abs(sums.mean() - 1) < 0.1

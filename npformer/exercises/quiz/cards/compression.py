"""Making models smaller in other ways, and what smaller means."""

import numpy as np

from npformer import models, ops, optim
from npformer.exercises.quiz.card import card
from npformer.models import cost


@card("parameters-flops-latency", exercises=("tinybert-step",), docs="cost.md")
def three_ratios():
    """TinyBERT-4 is 7.5 times smaller, does 18 times fewer operations and runs 9.4 times faster.
    Why three numbers?

    Parameters are stored: most of a small model is its token table, which shrinks with D only.
    Operations are computed: the table has none, layers shrink with D^2. Time: small matrix products
    use a processor less well, and softmax, norms and calls do not shrink as much.

    Where does 7.5 come from? From counting the training-only projection; without it 7.6. And the
    9.4 is of one K80 GPU: on your machine, measure."""
    small, large = (
        cost.Workload(kind=models.Encoder, config=models.preset(name), pooler=True)
        for name in ("tinybert-4", "bert-base")
    )
    sizes = [sum(cost.count_parameters(w).values()) for w in (small, large)]
    assert sizes == [14350248, 109482240]
    fit = cost.projection_parameters(small.config, large.config)
    assert round(sizes[1] / (sizes[0] + fit), 1) == 7.5  # with the map that only training needs
    assert round(sizes[1] / sizes[0], 1) == 7.6
    assert round(cost.layer_flops(large) / cost.layer_flops(small), 1) == 17.9
    assert cost.published_speed_up(small.config, large.config) == 9.4
    table = cost.count_parameters(small)["embeddings: token"]
    assert 0.6 < table / sizes[0] < 0.7  # two thirds of it are looked up, not multiplied


@card("quantization", docs="cost.md")
def rounding_to_eight_bits():
    """Quantization: PTQ or QAT, symmetric or asymmetric, per tensor or per channel?

    PTQ calibrates a trained model; QAT trains with rounding in the forward, better below 8 bits.
    Symmetric (zero at 0) for weights; asymmetric for one-sided activations, where it has twice as
    many levels. A scale per channel keeps small channels from vanishing under the largest one.

    Which activations of a Transformer are hard? Outliers in a few features, and softmax outputs
    near 0: clip, or keep these parts in higher precision."""
    rng = np.random.default_rng(1)

    def symmetric(x, axis=None):
        scale = np.abs(x).max(axis=axis, keepdims=True) / 127
        return np.round(x / scale) * scale, scale

    def asymmetric(x):
        scale = (x.max() - x.min()) / 255
        return np.round((x - x.min()) / scale) * scale + x.min()

    w = rng.normal(size=(32, 16)) * 10.0 ** rng.uniform(-2, 0, size=16)  # columns of unlike size
    whole, scale = symmetric(w)
    by_column, _ = symmetric(w, axis=0)
    assert np.abs(whole - w).max() <= scale.max() / 2 + 1e-15  # half a step
    assert np.abs(by_column - w).mean() < np.abs(whole - w).mean() / 2
    a, _ = ops.relu_forward(rng.normal(size=1000))  # never negative: half the range is unused
    assert np.abs(asymmetric(a) - a).mean() < 0.7 * np.abs(symmetric(a)[0] - a).mean()


@card("straight-through", exercises=("gradient-checker",), docs="contract.md")
def through_the_steps():
    """Rounding has derivative 0. How does quantization-aware training learn anything?

    Straight-through estimator: forward uses the rounded weight, backward passes the gradient as if
    rounding were the identity, to a full-precision copy that collects small updates until it
    crosses a step. Outside the clipping range the gradient is 0.

    Would a gradient check pass? No, and it must not: STE is not the derivative. What can be checked
    is the backward of the rest."""
    rng = np.random.default_rng(2)
    x, truth = rng.normal(size=(200, 6)), rng.normal(size=(6, 1))
    target, step = x @ truth, 0.25

    def rounded(w):
        return step * np.round(w / step)

    w = np.full((6, 1), 0.1)
    h = 1e-4
    slope = [rounded(w + h * row) - rounded(w - h * row) for row in np.eye(6)[:, :, None]]
    assert not np.any(slope)  # the true derivative is 0 almost everywhere
    losses = []
    for _ in range(100):
        y, cache = ops.linear_forward(x, rounded(w))
        loss, error = ops.mse_forward(y, target)
        _, dw, _ = ops.linear_backward(ops.mse_backward(1.0, error), cache)
        w = w - 0.05 * dw  # as if rounding were the identity
        losses.append(loss)
    assert losses[-1] < losses[0] / 20
    assert np.abs(rounded(w) - truth).max() < step


@card("pruning", docs="cost.md")
def zeros_are_multiplied_too():
    """Structured or unstructured pruning? Why may 90 % zeros not be faster?

    Unstructured removes single weights: least loss for a given count, but dense products multiply
    the zeros as well, and sparse formats pay for their indices. Structured removes heads, neurons
    or layers: what is left is a smaller dense model, faster everywhere, at a greater loss.

    Magnitude or movement? For a pretrained model that is fine-tuned, a large weight need not matter
    to the task: score by weight times gradient."""
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(5, 40)), rng.normal(size=(40, 30))
    sparse = np.where(np.abs(w) < np.quantile(np.abs(w), 0.9), 0, w)  # unstructured
    assert np.isclose((sparse == 0).mean(), 0.9)
    assert sparse.nbytes == w.nbytes  # a dense product still reads and multiplies every zero
    assert (x @ sparse).shape == (x @ w).shape
    strength = np.linalg.norm(w, axis=0)
    kept = np.sort(np.argsort(strength)[-3:])  # structured: whole columns
    narrow = w[:, kept]
    assert narrow.nbytes == w.nbytes // 10  # a smaller dense matrix, faster anywhere
    error = [np.linalg.norm(w - v) for v in (sparse, np.where(np.isin(np.arange(30), kept), w, 0))]
    assert error[0] < 0.85 * error[1]  # but for the same number of weights it loses more


@card("low-rank", exercises=("linear-backward",), docs="cost.md")
def two_thin_matrices():
    """Low rank, factorised embeddings, weight sharing: what do they save?

    W (m, n) as A B of rank r: r (m + n) numbers, fewer if r < mn / (m + n); the truncated SVD is
    the nearest. ALBERT's V D table becomes V E + E D. Sharing layers divides their parameters by L.
    The first saves operations as well, the table's and sharing do not.

    Is a weight matrix of BERT low-rank? Rarely: its spectrum is flat. Updates in fine-tuning are
    nearly low-rank, which LoRA uses."""
    rng = np.random.default_rng(4)
    w = rng.normal(size=(60, 40)) @ np.diag(0.8 ** np.arange(40))
    u, s, v = np.linalg.svd(w, full_matrices=False)
    rank = 8
    a, b = u[:, :rank] * s[:rank], v[:rank]
    assert np.isclose(np.linalg.norm(w - a @ b), np.sqrt((s[rank:] ** 2).sum()))
    other = rng.normal(size=(60, rank))  # no other pair of that rank is nearer
    best = np.linalg.lstsq(other, w, rcond=None)[0]
    assert np.linalg.norm(w - other @ best) > np.linalg.norm(w - a @ b)
    assert a.size + b.size == rank * (60 + 40) < w.size
    assert w.size == 24 * (60 + 40)  # from mn / (m + n) on nothing is saved
    tables = [
        cost.count_parameters(
            cost.Workload(
                kind=models.Encoder,
                config=models.EncoderConfig(
                    d_model=768, num_heads=12, num_layers=12, d_ff=3072, vocab_size=30000,
                    max_len=512, embedding_size=e,
                ),
            )
        )
        for e in (None, 128)
    ]  # fmt: skip
    assert tables[0]["embeddings: token"] == 30000 * 768
    assert tables[1]["embeddings: token"] == 30000 * 128
    assert tables[1]["embeddings: projection"] == 128 * 768 + 768


@card("order-of-compression", exercises=("tinybert-step",), docs="cost.md")
def small_updates_are_lost():
    """You may distil, prune and quantize. In which order?

    Distil, prune, quantize. First the architecture, then which weights, then their bits. What needs
    gradients comes early: on a grid of 8 bits an update below half a step is rounded away. Zero is
    a level, so that pruning survives quantization; and the teacher can go on teaching through all
    steps.

    Do the gains multiply? In size roughly; in accuracy the losses add up, and a small model has
    less redundancy left to prune."""
    rng = np.random.default_rng(5)
    w, g = rng.normal(size=(20, 10)), rng.normal(size=(20, 10))
    step = np.abs(w).max() / 127
    grid = step * np.round(w / step)

    def after_training(start):
        p = {"w": start.copy()}
        optimizer = optim.AdamW(weight_decay=0.0)
        optimizer.update(p, {"w": g}, optimizer.init(p), 1e-4)
        return p["w"]

    assert step / 2 > 1e-4
    assert not np.array_equal(after_training(w), w)
    assert np.array_equal(step * np.round(after_training(grid) / step), grid)  # rounded away
    limit = np.quantile(np.abs(w), 0.5)
    pruned_first = step * np.round(np.where(np.abs(w) < limit, 0, w) / step)
    assert (pruned_first == 0).mean() >= 0.5  # zero is a level: pruning survives quantization
    a = rng.normal(size=(10, 3))
    low = grid @ a @ np.linalg.pinv(a)  # low rank after quantization leaves the levels
    assert np.abs(low / step - np.round(low / step)).max() > 0.1

"""Attention: its heads, its softmax, and what stands beside it."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import card
from npformer.models import cost


@card("output-projection", exercises=("split-heads", "multi-head-backward"), docs="interview.md")
def heads_add_up():
    """Why several heads, and what does the output matrix W_O do?

    A softmax row is one average; several heads give several averages at once, each with its own
    relation in its own subspace. W_O mixes them: cut into H blocks of rows, the output is the sum
    over heads of `ctx_h W_O[h]`. Without it the heads would only lie side by side.

    Could W_V and W_O of a head be one matrix? Yes, their product is all that counts: a D x D matrix
    of rank K. Two factors cost 2 D K parameters instead of D^2."""
    rng = np.random.default_rng(6)
    config = layers.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(2, 5, 12))
    whole, _ = layer.forward(x)
    w_o, total = layer.params["w_o"], 0.0
    for head in range(3):
        only = np.zeros_like(w_o)
        rows = slice(4 * head, 4 * head + 4)
        only[rows] = w_o[rows]  # the rows that read this head
        one = layers.MultiHeadAttention(config, layer.params | {"w_o": only})
        total = total + one.forward(x)[0].y
    assert np.allclose(whole.y, total)  # b_o is 0 in a new layer


@card("head-size", exercises=("split-heads",), docs="derivations/attention.md")
def heads_are_free():
    """Why does each head get D/H features rather than D?

    Then H heads cost what one head of full width costs: the same parameters and the same
    multiply-adds for every H. What is paid for it is rank: a head compares tokens by a bilinear
    form of rank D/H.

    Is then nothing more expensive with more heads? The softmax is: H arrays of (T, S) instead of
    one, in memory and in exponentials."""
    sizes, counts = [], []
    for heads in (1, 2, 4, 8):
        config = layers.AttentionConfig(d_model=64, num_heads=heads)
        layer = layers.MultiHeadAttention.init(config, np.random.default_rng(7))
        sizes.append(sum(p.size for p in layer.params.values()))
        encoder = models.EncoderConfig(
            d_model=64, num_heads=heads, num_layers=2, d_ff=256, vocab_size=100, max_len=128
        )
        work = cost.Workload(kind=models.Encoder, config=encoder)
        counts.append(sum(cost.count_multiply_adds(work).values()))
    assert len(set(sizes)) == len(set(counts)) == 1
    rng = np.random.default_rng(8)
    w_q, w_k = rng.normal(size=(2, 64, 8))  # a head of eight has K = 8
    assert np.linalg.matrix_rank(w_q @ w_k.T) == 8


@card(
    "softmax-not-sigmoid", exercises=("softmax", "softmax-backward"), docs="derivations/softmax.md"
)
def softmax_competes():
    """Why softmax over the keys and not a sigmoid for each?

    Softmax makes the keys compete: weights sum to 1, so the output has the size of a value whatever
    the length, and raising one score lowers all other weights. Independent sigmoids add up to
    something that grows with S.

    What can softmax not do? Attend to nothing: the weights always sum to 1. Models use a token such
    as [SEP] or the first one as a sink."""
    rng = np.random.default_rng(9)
    scores = rng.normal(size=(1, 6))
    raised = scores.copy()
    raised[0, 2] += 1
    others = [0, 1, 3, 4, 5]
    before, after = (ops.softmax_forward(s)[0][0] for s in (scores, raised))
    assert np.all(after[others] < before[others])  # they pay for it
    before, after = (ops.sigmoid_forward(s)[0][0] for s in (scores, raised))
    assert np.array_equal(after[others], before[others])
    long = rng.normal(size=(1, 600))
    assert abs(ops.softmax_forward(long)[0].sum() - 1) < 1e-12  # whatever the length
    assert ops.sigmoid_forward(long)[0].sum() > 250


@card("attention-or-dense", exercises=("scaled-dot-product",), docs="derivations/attention.md")
def weights_depend_on_the_input():
    """A dense layer over the positions mixes tokens too. What does attention have that it has not?

    The mixing weights of a dense layer are parameters: the same for every text, one for each pair
    of places, for one length. Attention computes them from the text: they depend on content, work
    for any length and need no parameter per place.

    Is attention linear in the values? Yes, for fixed weights; it is the weights that make it
    nonlinear in x."""
    rng = np.random.default_rng(10)
    config = layers.AttentionConfig(d_model=6, num_heads=2, initializer_range=0.7, use_bias=False)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(1, 5, 6))
    mix = rng.normal(size=(5, 5))  # a dense layer over the positions
    assert np.allclose(mix @ (2 * x), 2 * (mix @ x))
    assert not np.allclose(layer.forward(2 * x)[0].y, 2 * layer.forward(x)[0].y, atol=0.01)
    longer = rng.normal(size=(1, 9, 6))
    assert layer.forward(longer)[0].y.shape == longer.shape  # the same weights, any length
    try:
        mix @ longer
    except ValueError:
        return
    raise AssertionError("a dense layer has one length")


@card("permutation", exercises=("sinusoidal",), docs="derivations/positions.md")
def a_permutation_goes_through():
    """Show that self-attention does not know the order of its input.

    For a permutation matrix P, queries, keys and values become P q, P k, P v; scores become
    `P q k^T P^T`; the softmax works row by row, so it is permuted alike; and `P A P^T P v = P A v`.
    So f(P x) = P f(x): equivariant. Feed-forward layers work on each position alone and keep this.

    Equivariant or invariant? Equivariant: the output moves along. It becomes invariant only if one
    pools over the positions. And a causal mask alone already breaks it."""
    rng = np.random.default_rng(11)
    config = layers.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64)
    x = rng.normal(size=(2, 7, 12))
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    y = layer.forward(x)[0].y
    assert np.allclose(layer.forward(x[:, order])[0].y, y[:, order])
    placed, _ = ops.sinusoidal_forward(x)
    moved, _ = ops.sinusoidal_forward(x[:, order])
    apart = layer.forward(moved)[0].y - layer.forward(placed)[0].y[:, order]
    assert np.abs(apart).max() > 0.01  # with positions the order counts

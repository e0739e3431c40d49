"""Masks, and where queries and keys come from."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import card


@card("padding-mask", exercises=("padding-mask",), docs="derivations/softmax.md")
def padding_is_invisible():
    """Where does the padding mask act, and with what value?

    On the scores of padded keys, before the softmax, with a value whose exponential is 0: -inf or
    the most negative number that does not overflow. The mask is (B, 1, 1, S), one for all heads and
    queries. Multiplying the weights afterwards leaves rows that do not sum to 1; setting the score
    to 0 hides nothing, for exp(0) = 1.

    Must padded *queries* be masked too? Not in attention, since nobody reads their rows; but in
    every loss and every pooling over tokens."""
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 1, 1, 4, 5))
    keep = np.array([1, 1, 1, 0], bool)[None, None, None]
    context, _, _ = ops.attention_forward(q, k, v, keep)
    other_k, other_v = k.copy(), v.copy()
    other_k[..., 3, :], other_v[..., 3, :] = 50.0, -50.0  # whatever stands in the padding
    assert np.array_equal(ops.attention_forward(q, other_k, other_v, keep)[0], context)
    scores = q @ k.swapaxes(2, 3) / np.sqrt(5)
    late = ops.softmax_forward(scores)[0] * keep  # masked after the softmax
    assert np.all(late.sum(axis=-1) < 0.99)
    zeroed = ops.softmax_forward(scores * keep)[0]  # a score of 0 is not "nothing"
    assert zeroed[..., 3].min() > 0.05


@card("fully-masked-row", exercises=("fully-masked-row",), docs="derivations/softmax.md")
def a_row_without_keys():
    """A query may attend to no key at all. What happens?

    With -inf the row is exp(-inf - -inf) = NaN, and backward spreads it to every weight. With a
    large finite number all shifted scores are equal, so the weights are uniform over padding.
    npformer gives zeros and zero gradients.

    When does it happen at all? With left padding under a causal mask, with empty sequences in a
    batch, with windows of local attention."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(1, 1, 2, 3))
    keep = np.array([[1, 1, 0], [0, 0, 0]], bool)[None, None]
    with np.errstate(invalid="ignore"):
        x = np.where(keep, scores, -np.inf)
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        assert np.isnan(e[0, 0, 1]).all()  # -inf - -inf
    finite, _ = ops.softmax_forward(np.where(keep, scores, -1e9))
    assert np.allclose(finite[0, 0, 1], 1 / 3)  # uniform, over padding
    probs, cache = ops.masked_softmax_forward(scores, keep)
    assert not probs[0, 0, 1].any()
    dscores = ops.masked_softmax_backward(rng.normal(size=scores.shape), cache)
    assert not dscores[0, 0, 1].any()
    assert np.abs(dscores[0, 0, 0, :2]).min() > 0


@card("causal-mask", exercises=("causal-mask",), docs="derivations/cross_attention.md")
def training_sees_all_prefixes():
    """What is the causal mask for, and why can training be parallel when generation is not?

    Query t may see keys s <= t only: `np.tri(T)`. So the state at t depends on the prefix alone,
    and one pass over a known text gives the prediction after every prefix (teacher forcing). In
    generation token t + 1 must be chosen before it can be read.

    Which target belongs to position t? Token t + 1: inputs and targets are shifted by one.
    Forgotten, the model learns to copy."""
    rng = np.random.default_rng(2)
    config = models.CausalLMConfig(
        d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=11, max_len=8,
        initializer_range=0.5,
    )  # fmt: skip
    model = models.CausalLM.init(config, rng, np.float64)
    ids = rng.integers(0, 11, size=(1, 6))
    logits = model.forward(ids)[0].logits  # (B, T, V)
    for length in range(1, 6):  # one pass predicts after every prefix
        prefix = model.forward(ids[:, :length])[0].logits
        assert np.allclose(prefix[:, -1], logits[:, length - 1])
    other = ids.copy()
    other[0, 4] = (ids[0, 4] + 1) % 11
    change = np.abs(model.forward(other)[0].logits - logits).max(axis=-1)[0]
    assert change[:4].max() == 0  # nobody looks ahead
    assert change[4:].min() > 0


@card("cross-attention", exercises=("cross-attention",), docs="derivations/cross_attention.md")
def decoder_reads_encoder():
    """Cross-attention: what comes from where, and what are the shapes?

    Queries from the decoder (T of them), keys and values from the encoder's output (S of them).
    Scores are (B, H, T, S), the result has length T. The mask is the source's padding; nothing is
    causal. The gradient flows back into the encoder through k and v.

    A well-known mistake takes q and k from the encoder and v from the decoder. When does it go
    unnoticed? As long as T = S: test with different lengths."""
    rng = np.random.default_rng(3)
    config = layers.AttentionConfig(d_model=12, num_heads=3, initializer_range=0.5)
    layer = layers.MultiHeadAttention.init(config, rng, np.float64, cross=True)
    x, memory = rng.normal(size=(2, 4, 12)), rng.normal(size=(2, 7, 12))
    output, cache = layer.forward(x, memory, output_scores=True)
    assert output.y.shape == (2, 4, 12)  # as long as the queries
    assert output.scores.shape == (2, 3, 4, 7)  # (B, H, T, S)
    order = rng.permutation(7)
    assert np.allclose(layer.forward(x, memory[:, order])[0].y, output.y)
    dy = rng.normal(size=output.y.shape)
    (dx, dmemory, _), _ = layer.backward(layers.AttentionOutput(dy, None), cache)
    assert (dx.shape, dmemory.shape) == (x.shape, memory.shape)  # the encoder learns from it
    assert np.abs(dmemory).min(axis=(0, 2)).max() > 0


@card(
    "target-attention",
    exercises=("scaled-dot-product", "cross-attention"),
    docs="derivations/cross_attention.md",
)
def one_candidate_against_a_history():
    """Self-attention and target attention (as in recommendation): what differs? May k = v?

    In self-attention every element asks: S^2 scores. In target attention only the candidate asks,
    the user's history answers: S scores, and each candidate gets its own summary. k = v is allowed:
    the output is then an average of the items themselves; separate maps let what is matched differ
    from what is passed on.

    Why do some such models leave the softmax out? Its weights sum to 1, so it forgets how much of
    the history matches at all."""
    rng = np.random.default_rng(4)
    candidate = rng.normal(size=(1, 1, 1, 6))  # one query from outside
    history = rng.normal(size=(1, 1, 50, 6))
    interest, scores, _ = ops.attention_forward(candidate, history, history)  # k = v
    assert scores.size == 50  # linear in the history
    assert ops.attention_forward(history, history, history)[1].size == 2500
    low, high = history.min(axis=2), history.max(axis=2)
    assert np.all((low < interest[:, :, 0]) & (interest[:, :, 0] < high))
    other = ops.attention_forward(-candidate, history, history)[0]
    assert not np.allclose(other, interest, atol=0.1)  # each candidate reads it differently

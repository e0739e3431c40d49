"""How a model knows where a token stands."""

import numpy as np

from npformer import layers, models, ops
from npformer.checks import InputError
from npformer.exercises.quiz.card import card


@card(
    "position-encodings",
    exercises=("relative-bias-backward", "rotary", "sinusoidal"),
    docs="interview.md",
)
def a_shift_tells_them_apart():
    """How are positions encoded, absolutely and relatively?

    Absolute: a vector of each place is added to the token's embedding, sines and cosines or a
    learned table (BERT). Relative: the score of a query and a key depends on t - s: a vector added
    to the key (Shaw), a bias on the score (T5, ALiBi), or q and k turned so that their product
    knows only the distance (RoPE). A text moved as a whole is the same to the second kind, not to
    the first.

    Are relative positions the differences of neighbouring indices, added to the embeddings? No:
    that difference is always 1. A distance belongs to a pair, so it enters the scores."""
    rng = np.random.default_rng(0)
    text = rng.integers(0, 11, size=(1, 5))
    later = np.concatenate([np.zeros((1, 3), int), text], axis=1)  # behind three padded places
    keep = np.arange(8)[None] >= 3
    moved = {}
    for name, where in {
        "learned": {"positions": "learned"},
        "sinusoidal": {"positions": "sinusoidal"},
        "rotary": {"positions": "none", "relative": "rotary"},
        "alibi": {"positions": "none", "relative": "alibi"},
    }.items():
        config = models.EncoderConfig(
            d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=11, max_len=8,
            initializer_range=0.5, **where,
        )  # fmt: skip
        model = models.Encoder.init(config, rng, np.float64)
        here = model.forward(text)[0].hidden[-1]
        there = model.forward(later, keep)[0].hidden[-1][:, 3:]
        moved[name] = np.abs(there - here).max()
    assert min(moved["learned"], moved["sinusoidal"]) > 0.01  # absolute: the place counts
    assert max(moved["rotary"], moved["alibi"]) < 1e-12  # relative: only distances count


@card("sinusoidal", exercises=("sinusoidal",), docs="derivations/positions.md")
def a_shift_is_a_rotation():
    """Write down the sinusoidal encoding. What does a shift by k do to it?

    `P[t, 2i] = sin(t w_i)`, `P[t, 2i+1] = cos(t w_i)`, `w_i = 10000^(-2i/D)`. A shift by k turns
    each pair (sin, cos) by k w_i: one linear map for all t. So `P_t . P_s` depends on t - s only.

    So the model knows distances? Only before the projections: with w_q and w_k between them,
    `P_t W P_s` depends on t and s. And the product is even: it cannot tell left from right."""
    table = ops.sinusoidal_table(50, 16)
    rates = 10000.0 ** (-np.arange(0, 16, 2) / 16)
    shift = 7
    turn = np.zeros((16, 16))
    for i, angle in enumerate(shift * rates):
        block = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        turn[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    assert np.allclose(table[:-shift] @ turn.T, table[shift:])  # one matrix for every t
    products = table @ table.T
    for distance in (1, 5, 20):  # a product of two depends on the distance alone
        assert np.ptp(np.diag(products, distance)) < 1e-9
    assert products[0, 0] == products[0].max() > products[0, 20]


@card(
    "learned-positions", exercises=("learned-positions-backward",), docs="derivations/positions.md"
)
def untrained_rows_stay():
    """Why does BERT stop at 512 tokens?

    Its position table has 512 rows of width D, learned like word embeddings: there is no row 513. A
    row gets a gradient only from texts that long, so rows beyond the training length would be noise
    even if they existed.

    How is it made longer? Interpolate or tile the table and go on training; or cut the text; or
    take relative positions."""
    rng = np.random.default_rng(2)
    config = layers.EmbeddingsConfig(d_model=6, max_len=8, vocab_size=11)
    embeddings = layers.Embeddings.init(config, rng, np.float64)
    ids = rng.integers(0, 11, size=(3, 5))
    y, cache = embeddings.forward(ids)
    _, grads = embeddings.backward(rng.normal(size=y.shape), cache)
    reached = np.abs(grads["position"]).sum(axis=1) > 0
    assert reached.tolist() == [True] * 5 + [False] * 3  # rows beyond the longest text
    try:
        embeddings.forward(rng.integers(0, 11, size=(1, 9)))
    except InputError:
        return
    raise AssertionError("there is no ninth row")


@card("relative-bias", exercises=("relative-bias-backward",), docs="derivations/positions.md")
def one_number_a_distance():
    """Shaw, T5, DeBERTa: what does each add to the score of query t and key s?

    T5: one learned number for each head and bucket of s - t, near distances alone, far ones in
    buckets that widen. Shaw: `q_t . r`, with a learned vector r of the clipped distance
    (and one for the value). DeBERTa: content to position and position to content, `q_t . kr` plus
    `k_s . qr`, scaled by 1/sqrt(3K).

    T5 adds one bias in all layers: what is its gradient? The sum of dbias over the layers, the
    batch and all pairs that read the bucket."""
    rng = np.random.default_rng(3)
    table = rng.normal(size=(32, 4))  # (buckets, H)
    bias, _ = ops.t5_bias_forward(table, 300, 300)  # (1, H, T, S)
    for distance in (-40, -3, 0, 1, 7, 100):
        assert np.ptp(np.diagonal(bias[0, 0], distance)) == 0
    bucket = ops.relative_bucket(np.array([-3, 3, 50, 51, 128, 299]))
    assert bucket[0] != bucket[1]  # left and right differ
    assert bucket[2] == bucket[3]  # far ones share a bucket
    assert bucket[4] == bucket[5] == 31  # and from 128 on all do
    q = rng.normal(size=(1, 2, 6, 5))
    shaw, _ = ops.shaw_key_forward(q, rng.normal(size=(7, 5)), 6)  # asks the query as well
    assert np.ptp(np.diagonal(shaw[0, 0], 1)) > 0.1


@card("rotary", exercises=("rotary", "rotary-backward"), docs="derivations/positions.md")
def rotation_sees_distance():
    """Derive RoPE: why does the product know only the distance? What is its backward?

    Turn each pair of features of q at t by t w_i, of k at s by s w_i: `(R_t q) . (R_s k) = q^T
    R_t^T R_s k = q^T R_(s-t) k`, since rotations of a plane add their angles. Norms stay. The
    transpose of a rotation turns back, so backward is the same with -t.

    Is v turned too? No: only what is compared is turned. And in every layer, because nothing is
    added to the states."""
    rng = np.random.default_rng(4)
    q, k = rng.normal(size=(2, 1, 2, 6, 8))

    def scores(first):
        places = np.arange(first, first + 6)
        turned_q, _ = ops.rotary_forward(q, places)
        turned_k, _ = ops.rotary_forward(k, places)
        return turned_q @ turned_k.swapaxes(2, 3), turned_q

    here, turned = scores(0)
    there, _ = scores(1000)
    assert np.allclose(here, there)  # t - s alone
    assert not np.allclose(here, q @ k.swapaxes(2, 3))
    assert np.allclose(np.linalg.norm(turned, axis=-1), np.linalg.norm(q, axis=-1))
    dy = rng.normal(size=q.shape)
    back = ops.rotary_backward(dy, ops.rotary_forward(q, np.arange(6))[1])
    assert np.allclose(back, ops.rotary_forward(dy, -np.arange(6))[0])  # turned the other way


@card("alibi", exercises=("alibi",), docs="derivations/positions.md")
def a_penalty_for_distance():
    """What is ALiBi, and why does it go on to longer texts?

    A bias -m_h (t - s) on the scores, with fixed slopes `m_h = 2^(-8h/H)`: 1/2 to 1/256 for 8
    heads. Nothing is learned and no place has a vector; far keys fade, so that a longer text looks
    to each query much like a short one.

    Some code adds m_h s instead. Is that wrong? Along a row it differs by a constant, which the
    softmax does not see; a loss on the scores would."""
    assert np.allclose(ops.alibi_slopes(8), 0.5 ** np.arange(1, 9))  # 1/2 ... 1/256
    bias = ops.alibi_bias(8, 6, 6)[0]  # (H, T, S)
    assert np.allclose(bias[0, 5], -0.5 * np.array([5, 4, 3, 2, 1, 0]))
    rng = np.random.default_rng(5)
    scores, past = rng.normal(size=(8, 6, 6)), np.tri(6, dtype=bool)[None]
    by_key = ops.alibi_slopes(8)[:, None, None] * np.arange(6)  # m s, as BLOOM adds it
    probs = [ops.masked_softmax_forward(scores + b, past)[0] for b in (bias, by_key)]
    assert np.allclose(*probs)  # a constant along a row is not seen
    longer = ops.alibi_bias(8, 300, 300)[0]
    assert np.array_equal(longer[:, :6, :6], bias)  # nothing to learn, any length


@card("extrapolation", exercises=("alibi", "rotary"), docs="positions.md")
def angles_never_seen():
    """Which position encodings work beyond the training length, and why not all?

    A learned table has no trained rows there. Sines and RoPE are defined everywhere, but slow
    frequencies reach angles that training never saw. Distances with a last bucket (Shaw, T5) and
    ALiBi's fading stay within what was seen. RoPE is stretched by interpolating positions or
    raising the base, and a little more training.

    Does a low perplexity on long texts prove that they are used? No: a model that looks at its last
    100 tokens has it too. Ask for something that stands far back."""
    rates = 10000.0 ** (-np.arange(16) / 16)  # of a rotary head with K = 32
    seen, asked = 31 * rates, 127 * rates  # the largest angles at 32 and at 128 tokens
    new = (seen < 2 * np.pi) & (asked > seen)
    assert new.sum() == 13  # slow planes that training did not turn once around
    assert 31 * rates[0] > 4 * 2 * np.pi  # the fastest has been everywhere
    slope = ops.alibi_slopes(8)[0]
    far = np.exp(-slope * np.arange(32, 1000)).sum()
    assert far / np.exp(-slope * np.arange(1000)).sum() < 1e-6  # what a steep head leaves to them
    squeezed = 127 * rates * 32 / 128  # positions interpolated
    assert np.all(squeezed <= seen * 1.03)


@card(
    "add-not-concatenate",
    exercises=("sinusoidal", "learned-positions-backward"),
    docs="derivations/positions.md",
)
def adding_is_a_tied_concatenation():
    """Why are positions added to the embeddings and not concatenated?

    Every layer begins with a linear map, and `[x, p] [W1; W2] = x W1 + p W2`: adding is
    concatenation with W1 = W2, at half the parameters. In D dimensions there is room for both: the
    model can keep them in nearly orthogonal subspaces.

    Which terms does the score then have? Four: content-content, content-position, position-content,
    position-position. DeBERTa keeps the first three apart."""
    rng = np.random.default_rng(7)
    x, p = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    w = rng.normal(size=(8, 6))
    beside = np.concatenate([x, p], axis=1)  # (T, 2 D)
    assert np.allclose((x + p) @ w, beside @ np.concatenate([w, w]))
    assert np.concatenate([w, w]).size == 2 * w.size  # what concatenation would cost
    w_q, w_k = rng.normal(size=(2, 8, 6))
    scores = ((x + p) @ w_q) @ ((x + p) @ w_k).T
    terms = [(a @ w_q) @ (b @ w_k).T for a in (x, p) for b in (x, p)]
    assert np.allclose(scores, sum(terms))  # content and place in all four combinations


@card(
    "embedding-scale",
    exercises=("sinusoidal", "embedding-backward"),
    docs="derivations/positions.md",
)
def tokens_as_large_as_positions():
    """Why does the first Transformer multiply embeddings by sqrt(D)? Why does BERT not?

    Its table is also the output matrix, drawn with standard deviation 1/sqrt(D); sines and cosines
    have mean square 1/2. Unscaled, the position would drown the token; times sqrt(D) both have the
    same order. BERT learns its positions from the same small initial size and puts a layer norm
    behind the sum.

    Would a layer norm after the sum alone have mended it? No: it scales token and position alike;
    their ratio stays."""
    rng = np.random.default_rng(8)
    config = layers.TokenEmbeddingsConfig(d_model=256, max_len=64, vocab_size=500, positions="none")
    scaled = layers.TokenEmbeddings.init(config, rng, np.float64)
    table = scaled.params["token"]
    assert abs(table.std() * 16 - 1) < 0.05  # drawn with 1/sqrt(D)
    y, _ = scaled.forward(rng.integers(0, 500, size=(4, 64)))
    assert abs(y.std() - 1) < 0.05
    place = ops.sinusoidal_table(64, 256)
    assert np.isclose((place**2).mean(), 0.5)  # sin^2 + cos^2 = 1 for each pair
    assert (place**2).mean() > 50 * (table**2).mean()  # unscaled, the place would drown the token

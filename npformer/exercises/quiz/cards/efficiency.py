"""What attention costs, and how the cost is cut."""

import numpy as np

from npformer import layers, models, ops
from npformer.exercises.quiz.card import card
from npformer.models import cost


@card("attention-cost", exercises=("scaled-dot-product", "feed-forward-backward"), docs="cost.md")
def where_the_square_takes_over():
    """Time and memory of a layer in the length T and the width D? From which length on does the
    square dominate?

    Multiply-adds: projections 4 T D^2, feed-forward 8 T D^2 (F = 4D), scores and mix 2 T^2 D. The
    square equals the projections at T = 2D and everything else at T = 6D: for D = 768 at 4,608
    tokens. Memory for the weights is H T^2.

    So is attention the bottleneck of BERT at 128 tokens? No: there it is about 3 % of the layer's
    multiply-adds."""

    def parts(length):
        config = models.EncoderConfig(
            d_model=64, num_heads=4, num_layers=1, d_ff=256, vocab_size=100, max_len=length
        )
        work = cost.Workload(kind=models.Encoder, config=config, seq_len=length)
        return cost.count_multiply_adds(work)

    at = parts(2 * 64)
    assert at["layers: scores and mix"] == at["layers: projections"]  # T = 2 D
    at = parts(6 * 64)
    others = at["layers: projections"] + at["layers: feed-forward"]
    assert at["layers: scores and mix"] == others  # T = 6 D
    twice = parts(12 * 64)
    assert twice["layers: scores and mix"] == 4 * at["layers: scores and mix"]
    assert twice["layers: feed-forward"] == 2 * at["layers: feed-forward"]


@card("mqa-and-gqa", exercises=("split-heads", "kv-cache-step"), docs="performance.md")
def groups_share_keys():
    """MHA, MQA, GQA: what is shared, and what is saved?

    H heads of queries always; keys and values have H heads (MHA), one (MQA) or G (GQA), each read
    by H/G heads of queries. Saved are the KV cache and its memory traffic, by H/G, and parameters
    of w_k and w_v. GQA is MHA with equal weights within groups.

    Does GQA save multiply-adds of the scores? No: there are still H heads of (T, S) scores.
    Generation is faster because it waits for memory, not for arithmetic."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 5, 24))
    made = {}
    for groups in (6, 2, 1):  # MHA, GQA, MQA
        config = layers.AttentionConfig(
            d_model=24, num_heads=6, num_kv_heads=groups, initializer_range=0.5
        )
        made[groups] = layers.MultiHeadAttention.init(config, rng, np.float64)
    assert [made[g].params["w_k"].size for g in (6, 2, 1)] == [24 * 24, 24 * 8, 24 * 4]
    grouped = made[2]
    copied = dict(grouped.params)
    for name in ("w_k", "b_k", "w_v", "b_v"):  # every head its own copy of the shared one
        heads = grouped.params[name].reshape(-1, 2, 4)
        copied[name] = np.repeat(heads, 3, axis=1).reshape(*grouped.params[name].shape[:-1], 24)
    full = layers.MultiHeadAttention(made[6].config, copied)
    assert np.allclose(full.forward(x)[0].y, grouped.forward(x)[0].y)


@card("kv-cache", exercises=("kv-cache-step",), docs="performance.md")
def cached_steps_give_the_same():
    """What does a KV cache keep, why is that enough, and how large is it?

    Keys and values of all earlier tokens in each layer. Under a causal mask they never change when
    tokens are added, and of the queries only the newest is needed. Size: 2 B L T D numbers (with G
    heads of keys: 2 B L T G K). A step costs T instead of T^2.

    Why does BERT have none? Without a causal mask every new token changes all states, and so all
    keys of the layers above."""
    rng = np.random.default_rng(2)
    config = models.CausalLMConfig(
        d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=11, max_len=8,
        initializer_range=0.5,
    )  # fmt: skip
    model = models.CausalLM.init(config, rng, np.float64)
    ids = rng.integers(0, 11, size=(2, 7))
    whole = model.forward(ids)[0].logits  # (B, T, V)
    state = model.start(ids)
    for t in range(7):  # each step gets one token, not the text
        logits, state = model.step(ids[:, t : t + 1], state)
        assert np.allclose(logits, whole[:, t])
    held = [a for layer in state.layers for a in layer if isinstance(a, np.ndarray)]
    assert sum(a.size for a in held) == 2 * 2 * 2 * 7 * 12  # 2 B L T D


@card("flash-attention", exercises=("online-softmax",), docs="derivations/blockwise_attention.md")
def softmax_in_one_sweep():
    """How does FlashAttention avoid the (T, S) array, and is it exact?

    Keys come in blocks; each query carries a running maximum m, a running sum and a running mix.
    When a block raises the maximum, what was summed so far is multiplied by exp(m - m'). Exact to
    rounding. Backward computes the blocks again from the row's log-sum-exp. Memory is linear, and
    far less traffic to slow memory.

    Does it do fewer multiply-adds? No, more: backward computes the scores once more. It is faster
    because it moves less memory."""
    rng = np.random.default_rng(3)
    scores, values = rng.normal(size=30) * 40, rng.normal(size=(30, 4))
    top, total, mixed = -np.inf, 0.0, np.zeros(4)
    for a, v in zip(scores, values, strict=True):
        higher = max(top, a)
        shrink = np.exp(top - higher)  # what was summed before a new maximum
        total = total * shrink + np.exp(a - higher)
        mixed = mixed * shrink + np.exp(a - higher) * v
        top = higher
    expected = ops.softmax_forward(scores)[0] @ values
    assert np.allclose(mixed / total, expected)

    q, k, v = rng.normal(size=(3, 1, 2, 33, 5))
    context, cache = ops.blockwise_attention_forward(q, k, v, block=8)
    plain, _, plain_cache = ops.attention_forward(q, k, v)
    assert np.allclose(context, plain)  # exact, not an approximation
    dcontext = rng.normal(size=plain.shape)
    grads = ops.blockwise_attention_backward(dcontext, cache)[:3]
    expected = ops.attention_backward(dcontext, None, plain_cache)[:3]
    for ours, theirs in zip(grads, expected, strict=True):
        assert np.allclose(ours, theirs)
    kept = [a for a in cache if isinstance(a, np.ndarray)]
    assert all(a.shape[-2:] != (33, 33) for a in kept)  # nothing of shape (T, S)

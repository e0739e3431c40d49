"""The encoder-decoder: what each position may see, and what it refuses."""

import numpy as np
import pytest
from models.small_seq2seq import SIZES, batch, make

from npformer.checks import InputError
from npformer.gradcheck import check_model
from npformer.layers import DecoderBlock
from npformer.layers.block import BlockConfig
from npformer.layers.masks import causal_keep
from npformer.models import ModelOutput, Seq2SeqConfig, shift_right


def logits_of(model, data, **more):
    return model.forward(*data[:4], **more)[0].logits


@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
def test_no_position_sees_a_later_one(norm_first):
    model, data = make(norm_first=norm_first), batch()
    before = logits_of(model, data)
    for t in range(1, 6):
        changed = data.target.copy()
        changed[:, t] = (changed[:, t] + 1) % 19
        after = logits_of(model, data._replace(target=changed))
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (after[0, t] != before[0, t]).any()


def test_padding_changes_nothing():
    """A sentence alone gives what it gives in a batch, padded at its start or its end."""
    model, data = make(positions="none"), batch()
    whole = logits_of(model, data)
    for b in range(4):
        source, target = data.source[b][data.source_keep[b]], data.target[b][data.target_keep[b]]
        alone = model.forward(source[None], target[None])[0].logits
        np.testing.assert_allclose(whole[b, : len(target)], alone[0], rtol=0, atol=1e-12)


def test_every_source_token_is_seen_and_no_padding():
    model, data = make(), batch()
    before = logits_of(model, data)
    for s in range(7):
        changed = data.source.copy()
        changed[:, s] = (changed[:, s] + 1) % 23
        after = logits_of(model, data._replace(source=changed))
        moved = (after != before).any(axis=(1, 2))
        np.testing.assert_array_equal(moved, data.source_keep[:, s])


def test_without_positions_the_order_of_the_source_is_lost_and_with_them_it_is_not():
    data = batch()
    source, target = data.source[1:2], data.target[1:2]
    for positions, same in (("none", True), ("sinusoidal", False), ("learned", False)):
        model = make(positions=positions)
        straight = model.forward(source, target)[0].logits
        turned = model.forward(source[:, ::-1], target)[0].logits
        assert np.allclose(straight, turned, rtol=0, atol=1e-12) is same, positions


T5 = {"relative": "t5", "num_buckets": 12, "max_distance": 7}


@pytest.mark.parametrize(
    "changes",
    [{"relative": "rotary"}, {"relative": "alibi"}, {"relative": "shaw", "relative_clip": 3}, T5],
    ids=lambda changes: changes["relative"],
)
def test_relative_positions_see_distances_alone(changes):
    """Padding at the start moves every token, and no distance."""
    model, data = make(positions="none", **changes), batch()
    source, target = data.source[1:2], data.target[:1]
    expected = model.forward(source, target)[0].logits
    moved = [np.concatenate((np.zeros((1, 2), int), ids), axis=1) for ids in (source, target)]
    keep = [np.arange(ids.shape[1])[None] >= 2 for ids in moved]
    found = model.forward(*moved, *keep)[0].logits
    np.testing.assert_allclose(found[:, 2:], expected, rtol=0, atol=1e-12)
    rolled = model.forward(np.roll(source, 2, axis=1), target)[0].logits
    assert not np.allclose(rolled, expected)
    # |t - s| is the same from the other end: with ALiBi alone a source and its reverse are one.
    turned = model.forward(source[:, ::-1], target)[0].logits
    assert np.allclose(turned, expected, rtol=0, atol=1e-12) is (changes["relative"] == "alibi")


def test_decoding_a_memory_is_forward():
    model, data = make(), batch()
    memory = model.encode(data.source, data.source_keep)[0].hidden[-1]
    output, _ = model.decode(
        data.target, memory, data.target_keep, data.source_keep, output_scores=True
    )
    np.testing.assert_array_equal(output.logits, logits_of(model, data))
    assert [a.shape for a in output.cross_scores] == [(4, 3, 6, 7)] * 3


def test_scores_change_nothing_and_dropout_is_drawn_from_the_generator():
    model, data = make(dropout=0.2, attention_dropout=0.1), batch()
    plain = logits_of(model, data)
    np.testing.assert_allclose(
        plain, logits_of(model, data, output_scores=True), rtol=0, atol=1e-12
    )
    first, again, other = (logits_of(model, data, rng=np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != plain).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])
def test_gradients_have_the_keys_shapes_and_types_of_the_parameters(dtype, shared):
    more = {"target_vocab_size": 23} if shared else {}
    model = make(dtype=dtype, norm_first=True, shared_embeddings=shared, **more)
    output, cache = model.forward(*batch()[:4])
    assert output.logits.dtype == dtype
    for dlogits in (np.ones_like(output.logits), None):
        _, grads = model.backward(ModelOutput(logits=dlogits), cache)
        assert {n: (g.shape, g.dtype) for n, g in grads.items()} == {
            n: (p.shape, p.dtype) for n, p in model.params.items()
        }
    assert not any(g.any() for g in grads.values())  # a silent cotangent


@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
def test_a_decoder_block_alone(norm_first):
    config = BlockConfig(
        d_model=12, num_heads=3, d_ff=10, norm_first=norm_first, dropout=0.2, attention_dropout=0.3
    )
    rng = np.random.default_rng(0)
    block = DecoderBlock.init(config, rng, np.float64)
    x, memory = rng.standard_normal((2, 4, 12)), rng.standard_normal((2, 5, 12))
    keep = np.array([[False, True, True, True], [True, True, True, False]])
    memory_keep = np.array([[True, True, False, False, False], [False, True, True, True, True]])
    report = check_model(
        block,
        (x, memory, keep, memory_keep),
        {"output_scores": True},
        make_rng=lambda: np.random.default_rng(3),
    )
    assert {"x", "memory"} <= set(report.errors)
    assert report.error <= 1e-6


def test_shift_right():
    np.testing.assert_array_equal(
        shift_right(np.array([[5, 6, 2], [7, 2, 0]]), 1), [[1, 5, 6], [1, 7, 2]]
    )
    assert shift_right(np.zeros((3, 0), int), 1).shape == (3, 0)


def test_causal_keep():
    keep = np.array([[True, True, False]])
    expected = [[True, False, False], [True, True, False], [True, True, False]]
    np.testing.assert_array_equal(causal_keep(keep, 3)[0, 0], expected)
    np.testing.assert_array_equal(causal_keep(None, 3)[0, 0], np.tri(3, dtype=bool))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shared_embeddings": True}, "target_vocab_size: got 19, expected vocab_size = 23"),
        ({"num_decoder_layers": 0}, "num_decoder_layers: got 0"),
        ({"positions": "absolute"}, "positions: got 'absolute', expected one of sinusoidal"),
        ({"relative": "xl"}, "relative: got 'xl', expected one of none, rotary, alibi, shaw, t5"),
        ({"relative_clip": 4}, "relative_clip: got 4, expected 16 without relative='shaw'"),
        ({**T5, "relative_clip": 4}, "relative_clip: got 4, expected 16 without relative='shaw'"),
        ({"num_buckets": 8}, "num_buckets: got 8, expected 32 without relative='t5'"),
        ({"relative": "shaw", "max_distance": 9}, "max_distance: got 9, expected 128 without"),
        ({"relative": "shaw", "relative_clip": 0}, "relative_clip: got 0, expected a whole number"),
        ({**T5, "num_buckets": 7}, "num_buckets: got 7, expected an even number"),
        ({**T5, "max_distance": 6}, "max_distance: got 6, expected more than 6"),
        ({**T5, "num_buckets": 8.0}, "num_buckets: got 8.0, expected a whole number"),
        (
            {"relative": "alibi", "rotary_layout": "interleaved"},
            "rotary_layout: got 'interleaved', expected 'half-split' without relative='rotary'",
        ),
        ({"rotary_size": 2}, "rotary_size: got 2, expected None without relative='rotary'"),
        (
            {"relative": "rotary", "rotary_layout": "split"},
            "rotary_layout: got 'split', expected one of half-split, interleaved",
        ),
        (
            {"relative": "rotary", "rotary_size": 6},
            "rotary_size: got 6, expected an even number up to d_model / num_heads = 4",
        ),
        ({"relative": "rotary", "rotary_size": 3}, "rotary_size: got 3, expected an even number"),
        ({"attention_scale": 0.0}, "attention_scale: got 0.0, expected a finite number above 0"),
        (
            {"attention": "average", "attention_scale": 1.0},
            "attention_scale: got 1.0, expected None with attention='average'",
        ),
        (
            {"relative": "rotary", "num_heads": 4},
            "d_model: got 12, expected d_model / num_heads even with rotary",
        ),
        ({"attention": "linear"}, "attention: got 'linear', expected one of softmax, average"),
        (
            {"attention": "average", "relative": "alibi"},
            "relative: got 'alibi', expected 'none' with attention='average'",
        ),
        ({"num_heads": 5}, "d_model: got 12, expected a multiple of num_heads = 5"),
        ({"d_ff": 2.5}, "d_ff: got 2.5"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(InputError, match=message):
        Seq2SeqConfig(**(SIZES | changes))


def test_bad_inputs():
    model, data = make(), batch()
    long = np.zeros((4, 10), int)
    bad = {
        "ids: got 10 tokens, expected at most max_len = 9": {"target": long},
        "source: got no token in sequence 2": {
            "source_keep": data.source_keep & (np.arange(4) != 2)[:, None]
        },
        "source: got no token in sequence 0": {
            "source": np.zeros((4, 0), int),
            "source_keep": np.zeros((4, 0), bool),
        },
        "ids: got 19, expected 0 to 18": {"target": np.full((4, 6), 19)},
        "keep: got int64 array, expected a boolean": {
            "target_keep": data.target_keep.astype(np.int64)
        },
        "memory: got shape": {"source": data.source[:3], "source_keep": data.source_keep[:3]},
    }
    for message, change in bad.items():
        with pytest.raises(InputError, match=message):
            model.forward(*data._replace(**change)[:4])
    with pytest.raises(InputError, match=r"memory: got shape \(4, 7, 8\), expected \(4, S, 12\)"):
        model.decode(data.target, np.zeros((4, 7, 8)))
    output, cache = model.forward(*data[:4], output_scores=True)
    with pytest.raises(InputError, match="cross_scores: got 2 cotangents, expected 3"):
        model.backward(ModelOutput(cross_scores=output.cross_scores[:2]), cache)

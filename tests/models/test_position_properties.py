"""What whole models know of positions: what moving, reordering and lengthening a text changes."""

from dataclasses import replace

import numpy as np
import pytest
from models import small_causal_lm, small_seq2seq

from npformer.models import CausalLM

ABSOLUTE = {
    "sinusoidal": {"positions": "sinusoidal"},
    "half-split": {"positions": "sinusoidal", "sinusoidal_layout": "half-split"},
    "learned": {"positions": "learned"},
}
RELATIVE = {
    "rotary": {"positions": "none", "relative": "rotary"},
    "interleaved": {"positions": "none", "relative": "rotary", "rotary_layout": "interleaved"},
    "partial": {"positions": "none", "relative": "rotary", "rotary_size": 2},
    "alibi": {"positions": "none", "relative": "alibi"},
    "shaw": {"positions": "none", "relative": "shaw", "relative_clip": 3},
    "t5": {"positions": "none", "relative": "t5", "num_buckets": 12, "max_distance": 7},
    "deberta": {"positions": "none", "relative": "deberta", "relative_clip": 3},
}
NONE = {"none": {"positions": "none"}}


def every(**encodings):
    return pytest.mark.parametrize(("name", "changes"), encodings.items(), ids=encodings)


def random_ids(length, *, seed=0):
    """Return a batch of two with no id twice: a permutation of it is always another text."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(19)[:length] for _ in range(2)])


def padded(ids, number):
    """Return the text behind so many tokens of padding, and its mask."""
    moved = np.concatenate((np.full((len(ids), number), 3), ids), axis=1)
    return moved, np.arange(moved.shape[1])[None].repeat(len(ids), 0) >= number


def close(a, b):
    return np.allclose(a, b, rtol=0, atol=1e-11)


# Moving: padding at the start moves every token, and no distance


@every(**NONE, **RELATIVE, **ABSOLUTE)
def test_moving_a_text_changes_absolute_positions_alone(name, changes):
    model, ids = small_causal_lm.make(**changes), random_ids(6)
    expected = model.forward(ids)[0].logits
    for number in (1, 3):
        found = model.forward(*padded(ids, number))[0].logits
        assert close(found[:, number:], expected) is (name not in ABSOLUTE)


@every(**NONE, **RELATIVE, **ABSOLUTE)
@pytest.mark.parametrize("side", ["source", "target"])
def test_moving_one_side_of_a_pair_changes_absolute_positions_alone(side, name, changes):
    """Cross-attention knows no positions: the two sides may stand anywhere to each other."""
    model, source, target = small_seq2seq.make(**changes), random_ids(6), random_ids(5, seed=1)
    expected = model.forward(source, target)[0].logits
    if side == "source":
        moved, keep = padded(source, 2)
        found = model.forward(moved, target, keep)[0].logits
    else:
        moved, keep = padded(target, 2)
        found = model.forward(source, moved, None, keep)[0].logits[:, 2:]
    assert close(found, expected) is (name not in ABSOLUTE)


# Reordering


@every(**NONE, **RELATIVE, **ABSOLUTE)
def test_an_encoder_without_positions_sees_a_bag_of_words(name, changes):
    """Permuting its source permutes its states, and the decoder does not notice."""
    model, source, target = small_seq2seq.make(**changes), random_ids(7), random_ids(5, seed=1)
    order = np.array([4, 0, 6, 2, 5, 1, 3])
    memory = model.encode(source)[0].hidden[-1]
    reordered = model.encode(source[:, order])[0].hidden[-1]
    assert close(reordered, memory[:, order]) is (name == "none")
    expected = model.forward(source, target)[0].logits
    found = model.forward(source[:, order], target)[0].logits
    assert close(found, expected) is (name == "none")


@pytest.mark.parametrize(("num_layers", "same"), [(1, True), (2, False)])
def test_a_causal_mask_tells_the_order_from_the_second_layer_on(num_layers, same):
    """One layer averages a bag of tokens; in the second each has a different past."""
    model = small_causal_lm.make(positions="none", num_layers=num_layers)
    ids, order = random_ids(7), np.array([4, 0, 2, 5, 1, 3, 6])  # the last token stays
    expected = model.forward(ids)[0].logits
    found = model.forward(ids[:, order])[0].logits
    assert close(found[:, -1], expected[:, -1]) is same


# Lengthening


@every(**NONE, **RELATIVE, sinusoidal=ABSOLUTE["sinusoidal"])
def test_only_learned_positions_set_a_longest_text(name, changes):
    """The same arrays serve a longer max_len, and say the same of the tokens that were there."""
    model, ids = small_causal_lm.make(**changes), random_ids(9)
    longer = CausalLM(replace(model.config, max_len=40), model.params)
    text = np.concatenate((ids, ids, ids, ids), axis=1)
    found = longer.forward(text)[0].logits
    np.testing.assert_allclose(found[:, :9], model.forward(ids)[0].logits, rtol=0, atol=1e-12)


def test_a_learned_table_has_a_row_a_position():
    table = small_causal_lm.make(positions="learned").params["embeddings.position"]
    assert table.shape == (9, 12)
    more = small_causal_lm.make(positions="learned", max_len=40).params["embeddings.position"]
    assert more.shape == (40, 12)


@pytest.mark.parametrize("clip", [1, 3])
def test_shaw_cannot_tell_far_tokens_apart(clip):
    """Two tokens beyond the clip of every query may change places: clipped distances are equal."""
    model = small_causal_lm.make(
        positions="none", relative="shaw", relative_clip=clip, num_layers=1
    )
    ids = random_ids(9)
    swapped = ids.copy()
    swapped[:, [0, 1]] = ids[:, [1, 0]]
    same = [close(*(model.forward(x)[0].logits[:, t] for x in (ids, swapped))) for t in range(9)]
    assert same == [t - 1 >= clip for t in range(9)]


def test_alibi_forgets_what_is_far():
    """What a token adds to a query falls with its distance, at a rate that needs no training."""
    model = small_causal_lm.make(positions="none", relative="alibi", num_layers=1, max_len=400)
    ids = np.random.default_rng(3).integers(0, 23, (1, 400))
    expected = model.forward(ids)[0].logits

    def effect(distance):
        changed = ids.copy()
        changed[:, -1 - distance] = (changed[:, -1 - distance] + 1) % 23
        return np.abs(model.forward(changed)[0].logits - expected)[:, -1].max()

    near, far, farther = (effect(d) for d in (1, 100, 399))
    assert near > 10 * far > 0
    assert far > 2 * farther > 0

"""The decoder-only model: what a position may see, and what it refuses."""

import numpy as np
import pytest
from models.small_causal_lm import make

from npformer.checks import InputError


def test_no_position_sees_a_later_one_and_a_long_text_is_refused():
    model, ids = make(), np.random.default_rng(2).integers(0, 23, (2, 6))
    before = model.forward(ids)[0].logits
    ids[:, 3] += 1
    after = model.forward(ids % 23)[0].logits
    np.testing.assert_array_equal(after[:, :3], before[:, :3])
    assert (after[:, 3:] != before[:, 3:]).any()
    with pytest.raises(InputError, match="ids: got 10 tokens, expected at most max_len = 9"):
        model.forward(np.zeros((1, 10), int))
